/*
 * outbox_lease.c - Leases: taken for what is due, and renewed while a parcel waits or is sent.
 *
 * When to claim or renew is outbox.c's to say; a lease that cannot be read is closed at once.
 */
#include "webhook/outbox_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "common/redis_link.h"

#define CLAIM_LIMIT QUEUE_HOOK_CLAIM_MAX

/* ---- taken ---- */

/* What cannot be read can only be given up. */
static void
give_up_broken(struct outbox_model *model, const struct queue_delivery *d, const struct error *why)
{
    static const struct queue_hook_result broken = {
        .verdict = QUEUE_HOOK_GIVE_UP, .last_error = "corrupt"};
    struct parcel *p;

    log_error(OUTBOX_LOGGER, "a stored delivery is given up", LOG_TEXT("model", model->queue.model),
        LOG_TEXT("key", d->key), LOG_TEXT("error_message", why->text));
    if (d->key[0] == '\0' || (p = calloc(1, sizeof(*p))) == NULL)
        return; /* its lease runs out */
    p->model = model;
    p->fence = d->fence;
    memcpy(p->key, d->key, sizeof(p->key));
    TAILQ_INSERT_TAIL(&model->outbox->parcels, p, in_outbox);
    model->outbox->n_parcels++;
    outbox_done(model->outbox, p, &broken);
}

static void
take(struct outbox_model *model, const redisReply *reply, size_t i, int64_t now_ms)
{
    struct outbox *o = model->outbox;
    struct queue_delivery d;
    struct parcel *p;
    struct error err;

    if (queue_hook_delivery_parse(reply, i, &d, &err) == -1 ||
        (p = parcel_new(&d, now_ms, &err)) == NULL) {
        if (err.code == ERR_CORRUPT)
            give_up_broken(model, &d, &err);
        else
            log_error(
                OUTBOX_LOGGER, "a delivery was not taken", LOG_TEXT("error_message", err.text));
        return;
    }
    p->model = model;
    p->state = PARCEL_WAITING;
    TAILQ_INSERT_TAIL(&o->parcels, p, in_outbox);
    o->n_parcels++;
    o->events.leased(o->events.cookie, p);
}

/* Deliveries were leased, or none is due, or Redis is away. */
static void
on_claimed(void *cookie, const redisReply *reply)
{
    struct outbox_model *model = cookie;
    struct outbox *o = model->outbox;
    struct error err;
    int64_t now_ms;
    size_t n = 0;

    model->is_claiming = false;
    if (reply == NULL)
        return;
    if (queue_hook_claim_parse(reply, &now_ms, &n, &err) == -1) {
        log_error(OUTBOX_LOGGER, "deliveries cannot be leased",
            LOG_TEXT("model", model->queue.model), LOG_TEXT("error_message", err.text));
        return;
    }
    if (n > 0)
        FAILPOINT(AFTER_HOOK_CLAIM, -1);
    for (size_t i = 0; i < n; i++)
        take(model, reply, i, now_ms);
    if (n == CLAIM_LIMIT || (model->is_wanted && !o->is_stopped))
        outbox_claim(model);
}

void
outbox_claim(struct outbox_model *model)
{
    struct outbox *o = model->outbox;
    size_t room = o->max > o->n_parcels ? o->max - o->n_parcels : 0;
    struct queue_call call;

    model->is_wanted = model->is_claiming;
    if (o->is_stopped || model->is_claiming || room < CLAIM_LIMIT || !redis_link_is_up(o->link))
        return;
    if (queue_hook_claim_call(&model->queue, QUEUE_HOOK_LEASE_MS, (int)CLAIM_LIMIT, &call, NULL) ==
            0 &&
        queue_send(o->link, OUTBOX_COMMAND_MS, &call, on_claimed, model) == 0)
        model->is_claiming = true;
}

/* ---- renewed ---- */

struct renewing {
    struct outbox *outbox;
    size_t n;
    struct parcel *parcels[QUEUE_HOOK_RENEW_MAX];
};

static void
on_renewed(void *cookie, const redisReply *reply)
{
    struct renewing *r = cookie;
    struct outbox *o = r->outbox;
    bool kept[QUEUE_HOOK_RENEW_MAX];
    struct error err;
    bool is_known = reply != NULL && queue_hook_renew_parse(reply, r->n, kept, &err) == 0;

    if (reply != NULL && !is_known)
        log_error(OUTBOX_LOGGER, "leases cannot be renewed", LOG_TEXT("error_message", err.text));
    for (size_t i = 0; i < r->n; i++) {
        struct parcel *p = r->parcels[i];
        bool is_lost = is_known && !kept[i] && p->state == PARCEL_WAITING && !o->is_freeing;

        p->n_holds--;
        if (is_lost) { /* one that is being sent is told apart by its fence */
            o->events.lost(o->events.cookie, p);
            outbox_drop(p);
        } else if (p->state == PARCEL_OVER && p->n_holds == 0) {
            parcel_free(p);
        }
    }
    free(r);
}

/* Send what was gathered; false: no memory, the next time comes soon. */
static bool
send_renewal(struct outbox_model *model, struct renewing *r)
{
    struct queue_hook_lease leases[QUEUE_HOOK_RENEW_MAX];
    struct queue_call call;

    for (size_t i = 0; i < r->n; i++)
        leases[i] =
            (struct queue_hook_lease){.key = r->parcels[i]->key, .fence = r->parcels[i]->fence};
    if (queue_hook_renew_call(&model->queue, QUEUE_HOOK_LEASE_MS, leases, r->n, &call, NULL) ==
            -1 ||
        queue_send(model->outbox->link, OUTBOX_COMMAND_MS, &call, on_renewed, r) == -1)
        return false;
    for (size_t i = 0; i < r->n; i++)
        r->parcels[i]->n_holds++;
    return true;
}

void
outbox_renew(struct outbox_model *model)
{
    struct parcel *p = TAILQ_FIRST(&model->outbox->parcels);

    while (p != NULL) {
        struct renewing *r = malloc(sizeof(*r));

        if (r == NULL)
            return;
        r->outbox = model->outbox;
        for (r->n = 0; p != NULL && r->n < QUEUE_HOOK_RENEW_MAX; p = TAILQ_NEXT(p, in_outbox))
            if (p->model == model && p->state != PARCEL_CLOSING)
                r->parcels[r->n++] = p;
        if (r->n == 0 || !send_renewal(model, r)) {
            free(r);
            return;
        }
    }
}
