/*
 * outbox_close.c - What became of a parcel is told to Redis, and told again until it answers.
 *
 * Takes no lease and judges nothing. A parcel is in the list until Redis has confirmed its end;
 * replies may outlive what asked for them, so it is freed with the last reply that names it.
 */
#include "webhook/outbox_internal.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/queue/queue_admin.h"

#define SOON_MAX_MS 5000

static void
release_hold(struct parcel *p)
{
    p->n_holds--;
    if (p->state == PARCEL_OVER && p->n_holds == 0)
        parcel_free(p);
}

void
outbox_drop(struct parcel *p)
{
    struct outbox *o = p->model->outbox;

    TAILQ_REMOVE(&o->parcels, p, in_outbox);
    o->n_parcels--;
    p->state = PARCEL_OVER;
    if (p->n_holds == 0)
        parcel_free(p);
}

/* Redis knows what became of a parcel; or it is away, and will be told when it is back. */
static void
on_told(void *cookie, const redisReply *reply)
{
    struct parcel *p = cookie;
    struct error err;
    bool is_done;

    if (reply == NULL) {
        p->is_told = false;
        if (p->model->outbox->is_freeing) { /* nobody will come back for it */
            p->n_holds--;
            outbox_drop(p);
            return;
        }
        release_hold(p);
        return;
    }
    FAILPOINT(AFTER_HOOK_DONE, -1);
    if (queue_done_parse(reply, &is_done, &err) == -1)
        log_error(OUTBOX_LOGGER, "what became of a delivery was not noted",
            LOG_TEXT("webhook_id", p->event_id), LOG_TEXT("error_message", err.text));
    else if (!is_done && p->result.verdict != QUEUE_HOOK_RELEASE)
        log_info(OUTBOX_LOGGER, "a delivery was leased by another process, or its task erased",
            LOG_TEXT("webhook_id", p->event_id));
    p->n_holds--;
    outbox_drop(p);
}

static void
tell(struct parcel *p)
{
    struct outbox *o = p->model->outbox;
    struct queue_call call;

    if (queue_hook_done_call(&p->model->queue, p->key, p->fence, &p->result, &call, NULL) == -1 ||
        queue_send(o->link, OUTBOX_COMMAND_MS, &call, on_told, p) == -1)
        return; /* the next look tries again */
    p->is_told = true;
    p->n_holds++;
}

/* A receiver that is quick must not wait for the next look: look more often while it has a backlog. */
static void
expect_back(struct outbox *o, int64_t delay_ms)
{
    int64_t due_ms = clock_monotonic_ms() + delay_ms;

    if (o->is_stopped || delay_ms > SOON_MAX_MS)
        return;
    if (due_ms > o->busy_until_ms)
        o->busy_until_ms = due_ms;
    if (!event_pending(o->soon, EV_TIMEOUT, NULL))
        event_add(o->soon, &(struct timeval){0, OUTBOX_SOON_MS * 1000});
}

void
outbox_done(struct outbox *outbox, struct parcel *parcel, const struct queue_hook_result *result)
{
    if (result->verdict == QUEUE_HOOK_RELEASE)
        expect_back(outbox, result->delay_ms);
    parcel->state = PARCEL_CLOSING;
    parcel->host = NULL;
    parcel->result = *result;
    tell(parcel);
}

void
outbox_tell_again(struct outbox *o)
{
    struct parcel *p;

    TAILQ_FOREACH(p, &o->parcels, in_outbox)
    {
        if (p->state == PARCEL_CLOSING && !p->is_told)
            tell(p);
    }
}
