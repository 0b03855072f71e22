/*
 * guard.c - Client connections: caps, deadlines, and the framing guard before evhttp.
 *
 * The guard is a callback on the input buffer of each connection's bufferevent; libevent
 * calls it inside the read, before evhttp's own read callback. A connection goes
 *
 *   IDLE -> HEAD -> [BODY ->] BUSY -> IDLE ...    or  ... -> BUSY or REFUSED -> LEAVING -> closed
 *
 * In IDLE and HEAD evhttp's input is empty and the client's bytes are in ${pending}; at the
 * end of the block evhttp gets a canonical one and the body. Bytes beyond the body (the
 * next, pipelined request) wait in ${pending} until the reply has been written.
 *
 * evhttp turns reading off while a request is in work, and on again: two calls of the kernel for
 * each request. ${quiet} is an event of ours on the same descriptor that does nothing but keep it
 * in epoll meanwhile; bytes of a next request end it, so that they do not spin the loop.
 */
#include "api/guard_internal.h"

#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "api/guard_bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"

#define GUARD_PENDING_MAX   (64 * 1024) /* bytes of a next request held while one is in work */
#define GUARD_USUAL_BLOCK   "GET / HTTP/1.1\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
#define GUARD_REFUSED_BLOCK "GET / HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static bool
state_is_busy(enum guard_state state)
{
    return state == GUARD_BUSY || state == GUARD_REFUSED;
}

bool
guard_is_busy(const struct guard *g)
{
    return state_is_busy(g->state);
}

void
guard_set_state(struct guard *g, enum guard_state state)
{
    g->owner->n_busy -= state_is_busy(g->state) ? 1 : 0;
    g->owner->n_busy += state_is_busy(state) ? 1 : 0;
    g->state = state;
}

static void
start_deadline_timer(struct guard *g, int64_t in_ms)
{
    const struct timeval tv = {(time_t)(in_ms / 1000), (suseconds_t)(in_ms % 1000 * 1000)};

    event_add(g->deadline, &tv);
    g->deadline_ms = g->until_ms;
}

/* The timer is moved only to come earlier: most deadlines are taken back long before. */
void
guard_set_deadline(struct guard *g, double seconds)
{
    int64_t in_ms = (int64_t)(seconds * 1000);

    g->until_ms = clock_monotonic_ms() + in_ms;
    if (g->deadline_ms > g->until_ms)
        start_deadline_timer(g, in_ms);
}

static void
clear_deadline(struct guard *g)
{
    g->until_ms = INT64_MAX;
}

/* ---- moving bytes ---- */

/* Put ${text}, then ${n_body} bytes of ${pending}, where evhttp reads; ${n_more} follow. */
static void
give(struct guard *g, const char *text, size_t n_body, int64_t n_more)
{
    g->is_moving = true;
    bytes_give(g->bev, g->is_reading, text, g->pending, n_body, (uint64_t)n_more);
    g->is_moving = false;
}

/* The whole request is evhttp's now; nothing more is read until it is answered. */
static void
request_is_passed(struct guard *g)
{
    clear_deadline(g);
    guard_set_state(g, GUARD_BUSY);
    event_add(g->quiet, NULL); /* failing costs two calls of the kernel, no more */
}

static void
pass_request(struct guard *g)
{
    const struct head *head = g->head;
    size_t n_pending = evbuffer_get_length(g->pending);
    size_t n_body = 0;
    char block[160];

    if (head->content_length > 0) {
        n_body =
            (uint64_t)head->content_length < n_pending ? (size_t)head->content_length : n_pending;
        g->body_left = head->content_length - (int64_t)n_body;
    } else {
        g->body_left = 0;
    }
    if (head->content_length <= 0 && head->minor == 1 && !head->wants_close)
        strcpy(block, GUARD_USUAL_BLOCK); /* what most requests become, without printf() */
    else
        snprintf(block, sizeof(block), "%s / HTTP/1.%d\r\nContent-Length: %lld\r\n%s%s\r\n",
            head->content_length > 0 ? "POST" : "GET", (int)head->minor,
            (long long)(head->content_length > 0 ? head->content_length : 0),
            head->expects_continue && head->content_length > 0 ? "Expect: 100-continue\r\n" : "",
            head->wants_close ? "Connection: close\r\n" : "Connection: keep-alive\r\n");
    give(g, block, n_body, g->body_left);
    if (g->body_left > 0) {
        guard_set_state(g, GUARD_BODY);
        guard_set_deadline(g, g->owner->limits.body_seconds);
    } else {
        request_is_passed(g);
    }
}

static void
refuse_request(struct guard *g)
{
    struct evbuffer *input = bufferevent_get_input(g->bev);

    clear_deadline(g);
    g->problem.closes = true;
    evbuffer_drain(g->pending, evbuffer_get_length(g->pending));
    g->is_moving = true;
    evbuffer_drain(input, evbuffer_get_length(input));
    g->is_moving = false;
    guard_set_state(g, GUARD_REFUSED);
    give(g, GUARD_REFUSED_BLOCK, 0, 0);
}

/* ---- judging ---- */

/* First byte of a request. */
static int
begin_head(struct guard *g)
{
    if ((g->head = head_new(g->owner->limits.body_bytes)) == NULL)
        return -1;
    g->request_id[0] = '\0';
    g->began_ms = clock_monotonic_ms();
    guard_set_state(g, GUARD_HEAD);
    clear_deadline(g);
    return 0;
}

/*
 * Read ${pending} up to the end of a block. True when evhttp got something to read. The
 * connection may not be touched by a caller that then triggers evhttp: it may be gone.
 */
static bool
read_pending(struct guard *g)
{
    size_t n;

    while ((n = evbuffer_get_contiguous_space(g->pending)) > 0) {
        const char *data = (const char *)evbuffer_pullup(g->pending, (ev_ssize_t)n);
        enum head_verdict verdict;
        size_t used = 0;

        if (g->state == GUARD_IDLE && begin_head(g) == -1) {
            problem_set(&g->problem, 500, "internal", "out of memory");
            refuse_request(g);
            return true;
        }
        verdict = head_feed(g->head, data, n, &used, &g->problem);
        if (verdict != HEAD_MORE)
            head_request_id(
                g->head, data + used, verdict == HEAD_REFUSED ? n - used : 0, g->request_id);
        evbuffer_drain(g->pending, used);
        if (verdict == HEAD_MORE)
            continue;
        if (verdict == HEAD_REFUSED)
            metrics_count(METRIC_HTTP_FRAMING_REJECTIONS, g->problem.code);
        if (verdict == HEAD_COMPLETE &&
            (g->owner->judge == NULL ||
                g->owner->judge(g->owner->cookie, g->head, g->peer, &g->problem) == 0))
            pass_request(g);
        else
            refuse_request(g);
        return true;
    }
    if (g->state == GUARD_HEAD && g->until_ms == INT64_MAX)
        guard_set_deadline(g, g->owner->limits.header_seconds);
    return false;
}

/* ${n} more bytes of a body are in the input, and perhaps some beyond it; more may be there. */
static void
read_body(struct guard *g, size_t n)
{
    if ((uint64_t)n > (uint64_t)g->body_left) {
        bytes_cut_tail(g->bev, n - (size_t)g->body_left, g->pending);
        g->body_left = 0;
    } else {
        g->body_left -= (int64_t)n;
        g->body_left -= (int64_t)bytes_read_ahead(g->bev, (uint64_t)g->body_left);
    }
    if (g->body_left == 0)
        request_is_passed(g);
}

/* libevent added bytes to the input buffer, or evhttp (or we) took some out. */
static void
on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *cookie)
{
    struct guard *g = cookie;
    size_t n = info->n_added;

    if (g->is_moving || n == 0)
        return;
    g->is_reading = true;
    g->is_moving = true;
    switch (g->state) {
    case GUARD_IDLE:
    case GUARD_HEAD:
        evbuffer_add_buffer(g->pending, input);
        read_pending(g);
        g->is_moving = true;
        if (g->state == GUARD_BODY)
            read_body(g, 0);
        break;
    case GUARD_BODY:
        read_body(g, n);
        break;
    case GUARD_BUSY: /* reading is off, but what was read in one go may arrive here */
        bytes_cut_tail(g->bev, n, g->pending);
        if (evbuffer_get_length(g->pending) <= GUARD_PENDING_MAX)
            break;
        bufferevent_disable(g->bev, EV_READ);
        if (g->stream.on_gone != NULL) { /* every write of a stream turns reading on again */
            log_warning("api.guard", "stream closed: the client sends too much",
                LOG_TEXT("client_host", g->peer));
            bufferevent_trigger_event(
                g->bev, BEV_EVENT_READING | BEV_EVENT_EOF, BEV_OPT_DEFER_CALLBACKS);
        }
        break;
    case GUARD_REFUSED:
        bytes_cut_tail(g->bev, n, NULL);
        break;
    case GUARD_LEAVING:
        evbuffer_drain(input, n);
        guard_set_deadline(g, drain_more(&g->drain, g->fd, n) ? DRAIN_SILENCE_SECONDS : 0);
        break;
    }
    g->is_moving = false;
    g->is_reading = false;
}

/* ---- a connection's life ---- */

static void
guard_free(struct guard *g)
{
    if (g == NULL)
        return;
    evbuffer_remove_cb(bufferevent_get_input(g->bev), on_input, g);
    if (g->deadline != NULL)
        event_free(g->deadline);
    if (g->kick != NULL)
        event_free(g->kick);
    if (g->quiet != NULL)
        event_free(g->quiet);
    if (g->pending != NULL)
        evbuffer_free(g->pending);
    head_free(g->head);
    problem_clear(&g->problem);
    free(g);
}

/* The connection is being freed, by us or by evhttp. */
static void
on_closed(struct evhttp_connection *connection, void *cookie)
{
    struct guard *g = cookie;

    (void)connection;
    if (g->stream.on_gone != NULL)
        g->stream.on_gone(g->stream.cookie);
    guard_set_state(g, GUARD_IDLE);
    g->owner->by_fd[g->fd] = NULL;
    g->owner->n--;
    LIST_REMOVE(g, link);
    guard_free(g);
}

static int
remember_fd(struct guards *all, struct guard *g)
{
    size_t fd = (size_t)g->fd;

    if (fd >= all->n_fds) {
        size_t n = fd + 64;
        struct guard **by_fd = realloc(all->by_fd, n * sizeof(*by_fd));

        if (by_fd == NULL)
            return -1;
        memset(by_fd + all->n_fds, 0, (n - all->n_fds) * sizeof(*by_fd));
        all->by_fd = by_fd;
        all->n_fds = n;
    }
    all->by_fd[fd] = g;
    return 0;
}

static bool
is_over_a_limit(const struct guard *g)
{
    const struct guards *all = g->owner;
    const struct guard *other;
    size_t n_of_peer = 0;

    if (all->n > all->limits.max_connections)
        return true;
    if (g->is_exempt)
        return false;
    LIST_FOREACH(other, &all->all, link)
    if (strcmp(other->peer, g->peer) == 0)
        n_of_peer++;
    return n_of_peer > all->limits.max_per_peer;
}

/* A client sent more while its request is in work: that waits in the kernel. */
static void
on_early_bytes(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    (void)cookie;
}

/* The connection exists: learn who it is and whether it may stay. */
static void
meet(struct guard *g)
{
    const int on = 1;
    char *peer = NULL;
    uint16_t port;
    void *connection = NULL;

    bufferevent_getcb(g->bev, NULL, NULL, NULL, &connection);
    g->connection = connection;
    g->fd = bufferevent_getfd(g->bev);
    evhttp_connection_get_peer(g->connection, &peer, &port);
    snprintf(g->peer, sizeof(g->peer), "%s", peer != NULL ? peer : "");
    g->is_exempt = strncmp(g->peer, "127.", 4) == 0 || strcmp(g->peer, "::1") == 0 ||
                   strncmp(g->peer, "::ffff:127.", 11) == 0 ||
                   peers_is_proxy(g->owner->limits.peers, g->peer);
    g->quiet = event_new(g->owner->base, g->fd, EV_READ, on_early_bytes, g);
    if (g->quiet == NULL || remember_fd(g->owner, g) == -1) {
        struct evhttp_connection *unknown = g->connection;

        guard_free(g);
        evhttp_connection_free(unknown);
        return;
    }
    evhttp_connection_set_closecb(g->connection, on_closed, g);
    g->owner->n++;
    LIST_INSERT_HEAD(&g->owner->all, g, link);
    if (is_over_a_limit(g)) {
        log_warning("api.guard", "connection refused: too many", LOG_TEXT("client_host", g->peer),
            LOG_INT("connections", g->owner->n));
        evhttp_connection_free(g->connection);
        return;
    }
    bufferevent_set_timeouts(g->bev, NULL, NULL); /* wait_for_room() sets them */
    /* a reply is one write: waiting for more would only delay it; failing changes nothing else */
    (void)setsockopt(g->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    guard_set_deadline(g, g->owner->limits.idle_seconds);
}

/* Soon after a connection was accepted, and after a reply if a next request is here already. */
static void
on_kick(evutil_socket_t fd, short what, void *cookie)
{
    struct guard *g = cookie;

    (void)fd;
    (void)what;
    if (g->connection == NULL)
        meet(g);
    else if (g->state == GUARD_IDLE && read_pending(g))
        bufferevent_trigger(g->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS); /* may free g */
}

/* Too long without a request, a whole header block, or a whole body. */
static void
on_deadline(evutil_socket_t fd, short what, void *cookie)
{
    struct guard *g = cookie;
    int64_t now_ms = clock_monotonic_ms();

    (void)fd;
    (void)what;
    g->deadline_ms = INT64_MAX;
    if (g->until_ms == INT64_MAX)
        return;
    if (g->until_ms > now_ms) {
        start_deadline_timer(g, g->until_ms - now_ms);
        return;
    }
    if (g->state == GUARD_HEAD) {
        problem_set(&g->problem, 408, "request_timeout",
            "the header block was not complete after %g s", g->owner->limits.header_seconds);
        metrics_count(METRIC_HTTP_FRAMING_REJECTIONS, g->problem.code);
        head_request_id(g->head, "", 0, g->request_id);
        refuse_request(g);
        bufferevent_trigger(g->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS);
    } else if (g->state == GUARD_IDLE || g->state == GUARD_BODY || g->state == GUARD_LEAVING) {
        if (g->state == GUARD_BODY) /* evhttp waits for the body: no reply can be made */
            log_warning("api.guard", "connection closed: the body took too long",
                LOG_TEXT("client_host", g->peer), LOG_TEXT("path", head_path(g->head)),
                LOG_INT("missing_bytes", g->body_left));
        evhttp_connection_free(g->connection);
    }
}

/* evhttp accepted a client and asks for its bufferevent; it is told nothing about it yet. */
static struct bufferevent *
on_accepted(struct event_base *base, void *cookie)
{
    struct guards *all = cookie;
    struct bufferevent *bev = bufferevent_socket_new(base, -1, 0);
    struct guard *g = calloc(1, sizeof(*g));

    if (bev == NULL || g == NULL)
        goto give_up; /* as empty as calloc() left it */
    g->owner = all;
    g->bev = bev;
    g->fd = -1;
    g->until_ms = g->deadline_ms = INT64_MAX;
    g->pending = evbuffer_new();
    g->deadline = event_new(base, -1, 0, on_deadline, g);
    g->kick = event_new(base, -1, 0, on_kick, g);
    if (g->pending == NULL || g->deadline == NULL || g->kick == NULL ||
        evbuffer_add_cb(bufferevent_get_input(bev), on_input, g) == NULL)
        goto give_up;
    /* runs before the next poll, so before the first byte: evhttp has made its connection by then */
    event_active(g->kick, EV_TIMEOUT, 1);
    return bev;

give_up: /* a connection without a guard is never served: guards_take() does not know it */
    if (bev != NULL)
        guard_free(g);
    else
        free(g);
    return bev;
}

void
guards_limit(struct guards *all, const struct guard_limits *limits)
{
    all->limits = *limits;
    evhttp_set_max_body_size(all->http, (ev_ssize_t)limits->body_bytes);
}

size_t
guards_count(const struct guards *all)
{
    return all->n;
}

size_t
guards_busy(const struct guards *all)
{
    return all->n_busy;
}

struct guards *
guards_new(struct event_base *base, struct evhttp *http, const struct guard_limits *limits,
    guard_judge_fn judge, void *cookie, struct error *err)
{
    struct guards *all = calloc(1, sizeof(*all));

    if (all == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    all->base = base;
    all->http = http;
    all->judge = judge;
    all->cookie = cookie;
    LIST_INIT(&all->all);
    evhttp_set_bevcb(http, on_accepted, all);
    evhttp_set_max_headers_size(http, 1024); /* of the blocks we write */
    guards_limit(all, limits);
    return all;
}

void
guards_free(struct guards *all)
{
    if (all == NULL)
        return;
    free(all->by_fd);
    free(all);
}
