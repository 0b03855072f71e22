/*
 * outbox_internal.h - What outbox.c, outbox_lease.c and outbox_close.c share.
 *
 * outbox.c says when, outbox_lease.c leases, outbox_close.c closes: each calls those after it.
 */
#ifndef WEBHOOK_OUTBOX_INTERNAL_H
#define WEBHOOK_OUTBOX_INTERNAL_H

#include "common/queue/queue.h"
#include "webhook/outbox.h"

#define OUTBOX_LOGGER     "webhook.outbox"
#define OUTBOX_COMMAND_MS 3000
#define OUTBOX_SOON_MS    20 /* between looks while something given back may be due */

struct outbox_model {
    struct outbox *outbox;
    struct queue queue;
    bool is_claiming, is_wanted;
};

struct outbox {
    struct event_base *base;
    struct redis_link *link, *events_link;
    struct outbox_events events;
    struct event *look, *wake, *renew, *soon;
    TAILQ_HEAD(, parcel) parcels;
    size_t n_parcels, max;
    struct outbox_model *models[QUEUE_MODELS_MAX + 1]; /* the default one first */
    size_t n_models;
    int64_t models_at_ms;  /* when they were read last */
    int64_t busy_until_ms; /* what was given back is due again by then, monotonic */
    bool is_reading_models, is_stopped, is_freeing;
};

/* Of outbox_lease.c. */

/** outbox_claim(model): lease what is due and there is room for; while a claim is out, after it. */
void outbox_claim(struct outbox_model *model);

/** outbox_renew(model): the leases of its parcels that wait or are under way. */
void outbox_renew(struct outbox_model *model);

/* Of outbox_close.c. */

/** outbox_tell_again(outbox): what became of those that Redis was away for. */
void outbox_tell_again(struct outbox *o);

/** outbox_drop(p): it is over, and nobody has a pointer to it but replies. */
void outbox_drop(struct parcel *p);

#endif /* WEBHOOK_OUTBOX_INTERNAL_H */
