/*
 * models.h - Which models there are, and who serves them now.
 *
 * The default model always is one; the others are those a worker has registered. Both lists
 * are read from Redis once a second and kept when Redis is away.
 */
#ifndef API_MODELS_H
#define API_MODELS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/queue/queue.h"
#include "common/queue/queue_admin.h"

struct models;
struct store;

struct model { /* stays where it is until models_free() */
    struct queue queue;
    bool is_seen;     /* the fleet was read at least once */
    size_t n_live;    /* workers with a fresh heartbeat, when last read */
    uint32_t context; /* C as a worker last told it, 0 if none ever did */
    struct queue_load load;
    bool has_load;         /* the last time it was asked for it was told */
    int64_t load_asked_ms; /* on our clock, 0 never */
    uint64_t n_load_asked; /* how many times */
};

/** models_new(...): tasks of every model may wait ${max_queue_ms}. */
struct models *models_new(struct event_base *base, struct store *store, const char *default_model,
    int64_t max_queue_ms, struct error *err);
void models_free(struct models *models);

size_t models_count(const struct models *models);
struct model *models_at(const struct models *models, size_t i); /* 0 is the default model */
struct model *models_find(const struct models *models, const char *name);

typedef void (*models_fn)(void *cookie, bool is_redis_there);

/** models_refresh(models, fn, cookie): read the list of names now; ${fn} is called once, never before this returns. -1: not called, no memory. */
int models_refresh(struct models *models, models_fn fn, void *cookie);

/** ${fleet} is NULL while Redis is away, and without workers when it cannot be read. */
typedef void (*models_fleet_fn)(void *cookie, const struct queue_fleet *fleet);

/** models_ask_fleet(models, model, fn, cookie): who serves ${model} at this moment; as above. */
int models_ask_fleet(struct models *models, struct model *model, models_fleet_fn fn, void *cookie);

/* ---- how much there is to do, for estimates ---- */

/** models_want_load(models, model): ask for it unless it is as good as new; whoever asks Redis next has it in time. */
void models_want_load(struct models *models, struct model *model);

/** models_load(model): as it was last told, NULL when not known. */
const struct queue_load *models_load(const struct model *model);

/** models_recent_load(model): the same, NULL also when it is older than a tick or two. */
const struct queue_load *models_recent_load(const struct model *model);

/** ${load} is NULL when it is not known, which a Redis that is there may cause too. */
typedef void (*models_load_fn)(void *cookie, bool is_redis_there, const struct queue_load *load);

/** models_ask_load(models, model, fn, cookie): at this moment; as models_ask_fleet(). */
int models_ask_load(struct models *models, struct model *model, models_load_fn fn, void *cookie);

#endif /* API_MODELS_H */
