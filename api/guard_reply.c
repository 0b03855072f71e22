/*
 * guard_reply.c - The other half of the guard: requests handed on, replies, and what follows them.
 *
 * A reply is written to the socket at once. Only what the kernel does not take waits for epoll.
 */
#include "api/guard_internal.h"

#include <event2/buffer.h>
#include <event2/http_struct.h>
#include <string.h>
#include <sys/socket.h>

#include "api/guard_bytes.h"

#define GUARD_WRITE_SECONDS 30 /* a reply nobody reads: no progress for that long */
#define GUARD_STREAM_BYTES                                                                         \
    (32 * 1024) /* of a stream the kernel may hold: who does not read is seen */

/* evhttp would close now; instead it waits for a next request, which the guard never gives it. */
static void
start_leaving(struct guard *g, struct evhttp_request *http)
{
    evhttp_remove_header(evhttp_request_get_input_headers(http), "Connection");
    evhttp_remove_header(evhttp_request_get_output_headers(http), "Connection");
    http->minor = 1; /* of 1.0 evhttp closes whatever is agreed on */
    evbuffer_drain(g->pending, evbuffer_get_length(g->pending));
    guard_set_state(g, GUARD_LEAVING);
    drain_start(&g->drain, g->fd);
    guard_set_deadline(g, DRAIN_SILENCE_SECONDS);
}

/* The last byte of the reply is in the kernel; evhttp now waits for a request. */
static void
on_reply_written(struct evhttp_request *http, void *cookie)
{
    struct guard *g = cookie;

    event_del(g->quiet);
    if (g->closes) {
        start_leaving(g, http);
        return;
    }
    guard_set_state(g, GUARD_IDLE);
    guard_set_deadline(g, g->owner->limits.idle_seconds);
    if (evbuffer_get_length(g->pending) > 0) /* a pipelined request */
        event_active(g->kick, EV_TIMEOUT, 1);
}

static struct guard *
find_guard(const struct guards *all, struct evhttp_request *http)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(http);
    evutil_socket_t fd;

    if (connection == NULL)
        return NULL; /* it failed while the request was in work */
    fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));
    if (fd < 0 || (size_t)fd >= all->n_fds || all->by_fd[fd] == NULL ||
        all->by_fd[fd]->connection != connection)
        return NULL;
    return all->by_fd[fd];
}

int
guards_take(struct guards *all, struct evhttp_request *http, struct guarded *out)
{
    struct guard *g = find_guard(all, http);

    if (g == NULL || !guard_is_busy(g) || g->head == NULL)
        return -1;
    out->head = g->head;
    out->problem = g->problem;
    out->began_ms = g->began_ms;
    memcpy(out->request_id, g->request_id, sizeof(out->request_id));
    memcpy(out->peer, g->peer, sizeof(out->peer));
    g->head = NULL;
    g->problem = (struct problem){0};
    return 0;
}

/* What is written from here on waits for a client that reads, but not for ever. */
static void
wait_for_room(struct guard *g)
{
    const struct timeval unread = {GUARD_WRITE_SECONDS, 0};

    bufferevent_set_timeouts(g->bev, NULL, &unread);
}

void
guards_send(struct guards *all, struct evhttp_request *http, int status, const char *reason,
    struct evbuffer *body, bool closes)
{
    struct guard *g = find_guard(all, http);

    if (g == NULL) {
        evhttp_send_reply(http, status, reason, body);
        return;
    }
    g->closes = closes;
    evhttp_request_set_on_complete_cb(http, on_reply_written, g);
    evhttp_send_reply(http, status, reason, body);
    if (bytes_write_now(g->bev)) {
        bufferevent_trigger(g->bev, EV_WRITE, 0); /* evhttp looks no further than this */
    } else {
        wait_for_room(g);
        bufferevent_disable(g->bev, EV_READ);
    }
}

void
guards_stream_begin(struct guards *all, struct evhttp_request *http, const char *reason,
    const struct guard_stream *stream)
{
    const int bytes = GUARD_STREAM_BYTES;
    struct guard *g = find_guard(all, http);

    if (g != NULL) {
        g->stream = *stream;
        /* failing only means that a client which does not read is noticed later */
        (void)setsockopt(g->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
        wait_for_room(g);
    }
    evhttp_send_reply_start(http, 200, reason);
}

/* What was sent of a stream is in the kernel. */
static void
on_chunk_written(struct evhttp_connection *connection, void *cookie)
{
    struct guard *g = cookie;

    (void)connection;
    if (g->stream.on_written != NULL)
        g->stream.on_written(g->stream.cookie);
}

void
guards_stream_send(struct guards *all, struct evhttp_request *http, struct evbuffer *data)
{
    struct guard *g = find_guard(all, http);

    if (g != NULL)
        evhttp_send_reply_chunk_with_cb(http, data, on_chunk_written, g);
}

void
guards_stream_end(struct guards *all, struct evhttp_request *http, bool closes)
{
    struct guard *g = find_guard(all, http);

    if (g != NULL) {
        g->stream = (struct guard_stream){0};
        g->closes = closes;
        if (closes) /* too late for the client, and evhttp looks there whether to close */
            evhttp_add_header(evhttp_request_get_output_headers(http), "Connection", "close");
        evhttp_request_set_on_complete_cb(http, on_reply_written, g);
    }
    evhttp_send_reply_end(http); /* may close, and free the guard */
}
