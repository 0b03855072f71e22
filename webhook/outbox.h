/*
 * outbox.h - The outbox in Redis as this daemon sees it: leases taken, kept and given back.
 *
 * Every model has an outbox; they are looked at twice a second and when something happens to
 * a task. While Redis is away nothing is taken, and what became of a parcel is told when it is
 * back: twice told, or told too late, is refused by the fence and does no harm.
 */
#ifndef WEBHOOK_OUTBOX_H
#define WEBHOOK_OUTBOX_H

#include <event2/event.h>

#include "common/redis.h"
#include "webhook/parcel.h"

struct outbox;

struct outbox_events {
    /* A parcel was leased; it is the receiver's until outbox_done(). */
    void (*leased)(void *cookie, struct parcel *parcel);
    /* A parcel that is WAITING is another process's now: drop every pointer to it. */
    void (*lost)(void *cookie, struct parcel *parcel);
    void *cookie;
};

/** outbox_new(base, redis, default_model, events, err): at most ${max} parcels at a time. */
struct outbox *outbox_new(struct event_base *base, const struct redis_settings *redis,
    const char *default_model, size_t max, const struct outbox_events *events, struct error *err);
void outbox_free(struct outbox *outbox);

/** outbox_stop(outbox): lease nothing more. */
void outbox_stop(struct outbox *outbox);

bool outbox_is_up(const struct outbox *outbox);
size_t outbox_count(const struct outbox *outbox);

/** outbox_first(outbox), outbox_next(p): all parcels that are not OVER. */
struct parcel *outbox_first(const struct outbox *outbox);
struct parcel *outbox_next(const struct parcel *parcel);

const char *outbox_model_name(const struct outbox_model *model);

typedef void (*outbox_read_fn)(void *cookie, struct parcel *parcel, const redisReply *reply);

/**
 * outbox_read(outbox, p, with_output, fn): what ${p} tells of. ${fn} is called once, not before this
 * returns; with NULL when Redis is away. -1: no memory.
 */
int outbox_read(struct outbox *outbox, struct parcel *parcel, bool with_output, outbox_read_fn fn);

/** outbox_done(outbox, p, result): what became of it. Takes ${p} over. */
void outbox_done(
    struct outbox *outbox, struct parcel *parcel, const struct queue_hook_result *result);

#endif /* WEBHOOK_OUTBOX_H */
