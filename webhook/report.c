/*
 * report.c - What this daemon has counted goes to Redis once a second, over a connection of its own.
 *
 * One batch is out at a time. One whose reply did not come goes again under its number, so it is
 * counted once; what happens meanwhile waits for the next.
 */
#include "webhook/report.h"

#include <stdlib.h>

#include "common/id.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/queue/queue_metrics.h"
#include "common/redis_link.h"

#define COMMAND_MS 1500

struct report {
    struct redis_link *link;
    struct event *tick;
    char process[ID_LEN + 1];
    uint64_t number; /* of the batch that is out */
    bool is_out, is_leaving, is_last_out;
};

static void flush(struct report *r);

/* Redis has the batch, or did not answer. */
static void
on_flushed(void *cookie, const redisReply *reply)
{
    struct report *r = cookie;
    int n_refused;
    struct error err;

    r->is_out = false;
    if (reply == NULL)
        return;
    if (queue_metrics_add_parse(reply, &n_refused, &err) == -1) {
        log_warning(
            "webhook.report", "metrics could not be stored", LOG_TEXT("error_message", err.text));
        return;
    }
    metrics_batch_arrived(r->number);
    if (r->is_leaving && !r->is_last_out)
        flush(r);
}

/* Without memory it stays for the next time. */
static void
flush(struct report *r)
{
    struct metrics_batch batch;
    struct queue_call call;
    struct error err;

    if (r->is_out || metrics_batch(&batch, &err) == -1)
        return;
    r->number = batch.number;
    r->is_last_out = r->is_leaving;
    if (batch.n > 0 && queue_metrics_add_call(r->process, &batch, r->is_leaving, &call, &err) == 0)
        r->is_out = queue_send(r->link, COMMAND_MS, &call, on_flushed, r) == 0;
    metrics_batch_clear(&batch);
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
    return !r->is_out;
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
        id_new(r->process);
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
    if (r->tick != NULL)
        event_free(r->tick);
    free(r);
}
