/*
 * meter.c - What this process has counted goes to Redis once a second, and before a scrape.
 *
 * How it gets there is in common/queue/metrics_out.c. The sums of all processes are kept as they were last read, with what this process
 * has added since: when Redis is away a counter must not fall, or a graph would show a burst later.
 */
#include "api/meter.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "api/server.h"
#include "api/store.h"
#include "api/streams.h"
#include "api/wait.h"
#include "common/queue/queue_metrics_out.h"

struct meter {
    struct server *server;
    struct event *tick;
    struct queue_metrics_out out;
    bool is_leaving;
    bool is_wanted_again; /* more has happened that somebody wants there */
    meter_fn fn;          /* wants a flush that begins now or later; NULL: nobody */
    void *cookie;
    bool fn_is_served; /* by the batch that is out */
    struct metrics_set *known;
};

static void
note_gauges(const struct server *s)
{
    metrics_set(METRIC_CONCURRENT_REQUESTS, s->n_taken - s->n_answered);
    metrics_set(METRIC_HTTP_HELD, waiters_count(s->waiters));
    metrics_set(METRIC_HTTP_STREAMS, streams_count(s->streams));
    metrics_set(METRIC_HTTP_CONNECTIONS, s->guards != NULL ? guards_count(s->guards) : 0);
}

static void
tell(struct meter *m, bool has_arrived)
{
    meter_fn fn = m->fn;

    m->fn = NULL;
    if (fn != NULL)
        fn(m->cookie, has_arrived);
}

static void flush(struct meter *m);

static int
send_call(void *cookie, struct queue_call *call, queue_reply_fn fn, void *fn_cookie)
{
    const struct meter *m = cookie;

    return store_send(m->server->store, call, fn, fn_cookie);
}

/* Redis has the batch, or did not answer. */
static void
on_flushed(void *cookie, const struct metrics_batch *batch)
{
    struct meter *m = cookie;

    for (size_t i = 0; batch != NULL && m->known != NULL && i < batch->n; i++)
        metrics_set_add_change(m->known, &batch->changes[batch->n_gauges + i]);
    if (m->fn_is_served || batch == NULL)
        tell(m, batch != NULL);
    if (m->is_wanted_again && batch != NULL)
        flush(m);
}

static void
flush(struct meter *m)
{
    m->is_wanted_again = m->out.is_out;
    if (m->out.is_out)
        return;
    note_gauges(m->server);
    m->fn_is_served = true;
    if (queue_metrics_out_flush(&m->out, m->is_leaving) == -1)
        tell(m, false);
    else if (!m->out.is_out)
        tell(m, true);
}

static void
on_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct meter *m = cookie;

    (void)fd;
    (void)what;
    if (!m->is_leaving && !m->out.is_out && store_is_ready(m->server->store))
        flush(m);
}

void
meter_flush(struct meter *m, meter_fn fn, void *cookie)
{
    m->fn = fn;
    m->cookie = cookie;
    m->fn_is_served = false;
    flush(m);
}

void
meter_leave(struct meter *m)
{
    m->is_leaving = true;
    flush(m);
}

bool
meter_is_idle(const struct meter *m)
{
    return !m->out.is_out;
}

void
meter_learn(struct meter *m, struct metrics_set *sums)
{
    metrics_set_free(m->known);
    m->known = sums;
}

void
meter_add_known(struct meter *m, struct metrics_set *page)
{
    if (m->known != NULL)
        metrics_set_add_set(page, m->known);
}

struct meter *
meter_new(struct server *server, struct error *err)
{
    const struct timeval period = {QUEUE_METRICS_FLUSH_MS / 1000, 0};
    struct meter *m = calloc(1, sizeof(*m));

    if (m == NULL || (m->tick = event_new(server->base, -1, EV_PERSIST, on_tick, m)) == NULL ||
        event_add(m->tick, &period) == -1) {
        meter_free(m);
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    m->server = server;
    queue_metrics_out_init(
        &m->out, &(struct queue_metrics_out_events){
                     .send = send_call, .ended = on_flushed, .cookie = m, .logger = "api.meter"});
    return m;
}

void
meter_free(struct meter *m)
{
    if (m == NULL)
        return;
    if (m->tick != NULL)
        event_free(m->tick);
    queue_metrics_out_clear(&m->out);
    metrics_set_free(m->known);
    free(m);
}
