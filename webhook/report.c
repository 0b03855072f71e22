/*
 * report.c - What this daemon has counted goes to Redis once a second, over a connection of its own.
 */
#include "webhook/report.h"

#include <stdlib.h>

#include "common/queue/queue_metrics_out.h"
#include "common/redis_link.h"

#define COMMAND_MS 1500

struct report {
    struct redis_link *link;
    struct event *tick;
    struct queue_metrics_out out;
    bool is_leaving, is_last_out;
};

static int
send_call(void *cookie, struct queue_call *call, queue_reply_fn fn, void *fn_cookie)
{
    const struct report *r = cookie;

    return queue_send(r->link, COMMAND_MS, call, fn, fn_cookie);
}

/* Without memory it stays for the next time. */
static void
flush(struct report *r)
{
    if (r->out.is_out)
        return;
    r->is_last_out = r->is_leaving;
    (void)queue_metrics_out_flush(&r->out, r->is_leaving);
}

/* Redis has the batch, or did not answer. */
static void
on_flushed(void *cookie, const struct metrics_batch *batch)
{
    struct report *r = cookie;

    if (batch != NULL && r->is_leaving && !r->is_last_out)
        flush(r);
}

static void
on_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct report *r = cookie;

    (void)fd;
    (void)what;
    if (!r->is_leaving && redis_link_is_up(r->link))
        flush(r);
}

void
report_leave(struct report *r)
{
    if (r->is_leaving)
        return;
    r->is_leaving = true;
    flush(r);
}

bool
report_is_idle(const struct report *r)
{
    return !r->out.is_out;
}

struct report *
report_new(struct event_base *base, const struct redis_settings *redis, struct error *err)
{
    const struct timeval period = {QUEUE_METRICS_FLUSH_MS / 1000, 0};
    struct report *r = calloc(1, sizeof(*r));

    if (r == NULL || (r->tick = event_new(base, -1, EV_PERSIST, on_tick, r)) == NULL ||
        event_add(r->tick, &period) == -1)
        error_set(err, ERR_MEMORY, "out of memory");
    else if ((r->link = redis_link_new(base, redis, "kronosq-webhook:metrics", NULL, err)) !=
             NULL) {
        queue_metrics_out_init(&r->out,
            &(struct queue_metrics_out_events){
                .send = send_call, .ended = on_flushed, .cookie = r, .logger = "webhook.report"});
        return r;
    }
    report_free(r);
    return NULL;
}

void
report_free(struct report *r)
{
    if (r == NULL)
        return;
    if (r->link != NULL)
        redis_link_free(r->link);
    queue_metrics_out_clear(&r->out);
    if (r->tick != NULL)
        event_free(r->tick);
    free(r);
}
