/*
 * meter.c - What this process has counted goes to Redis once a second, and before a scrape.
 *
 * One batch is out at a time. One whose reply did not come goes again under its number, so it is
 * counted once. The sums of all processes are kept as they were last read, with what this process
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
#include "common/id.h"
#include "common/log.h"
#include "common/queue/queue_metrics.h"

struct meter {
    struct server *server;
    struct event *tick;
    char process[ID_LEN + 1];
    struct metrics_batch batch; /* that is out */
    bool is_out, is_leaving;
    bool is_wanted_again; /* more has happened that somebody wants there */
    bool is_refusal_told;
    meter_fn fn; /* wants a flush that begins now or later; NULL: nobody */
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

/* Redis has the batch, or did not answer. */
static void
on_flushed(void *cookie, const redisReply *reply)
{
    struct meter *m = cookie;
    int n_refused;
    struct error err;
    bool has_arrived = reply != NULL && queue_metrics_add_parse(reply, &n_refused, &err) == 0;

    m->is_out = false;
    if (reply != NULL && !has_arrived)
        log_warning(
            "api.meter", "metrics could not be stored", LOG_TEXT("error_message", err.text));
    if (has_arrived) {
        metrics_batch_arrived(m->batch.number);
        for (size_t i = m->batch.n_gauges; i < m->batch.n_gauges + m->batch.n && m->known; i++)
            metrics_set_add_change(m->known, &m->batch.changes[i]);
        if (n_refused > 0 && !m->is_refusal_told)
            log_warning("api.meter", "Redis holds as many metrics as it may: new ones are lost",
                LOG_INT("lost", n_refused));
        m->is_refusal_told = n_refused > 0;
    }
    metrics_batch_clear(&m->batch);
    if (m->fn_is_served || !has_arrived)
        tell(m, has_arrived);
    if (m->is_wanted_again && has_arrived)
        flush(m);
}

static void
flush(struct meter *m)
{
    struct queue_call call;
    struct error err;

    m->is_wanted_again = m->is_out;
    if (m->is_out)
        return;
    note_gauges(m->server);
    m->fn_is_served = true;
    if (metrics_batch(&m->batch, &err) == -1 ||
        queue_metrics_add_call(m->process, &m->batch, m->is_leaving, &call, &err) == -1 ||
        store_send(m->server->store, &call, on_flushed, m) == -1) {
        metrics_batch_clear(&m->batch); /* no memory: it stays for the next time */
        tell(m, false);
        return;
    }
    m->is_out = true;
}

static void
on_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct meter *m = cookie;

    (void)fd;
    (void)what;
    if (!m->is_leaving && !m->is_out && store_is_ready(m->server->store))
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
    return !m->is_out;
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
    id_new(m->process);
    return m;
}

void
meter_free(struct meter *m)
{
    if (m == NULL)
        return;
    if (m->tick != NULL)
        event_free(m->tick);
    metrics_batch_clear(&m->batch);
    metrics_set_free(m->known);
    free(m);
}
