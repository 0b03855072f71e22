/*
 * sweep.c - The API's share of the sweeping: retries, dead leases, deadlines, lost hints.
 */
#include "api/sweep.h"

#include <stdlib.h>
#include <sys/random.h>

#include "api/models.h"
#include "api/store.h"
#include "common/failpoint.h"
#include "common/log.h"

struct sweep {
    struct event_base *base;
    struct store *store;
    struct models *models;
    struct event *tick;
};

struct sweep_ask {
    struct sweep *sweep;
    struct model *model;
};

static void sweep_model(struct sweep *sweep, struct model *model);

/* QUEUE_SWEEP_MS +- 20 %, so that processes started together do not stay together. */
static void
schedule(struct sweep *sweep)
{
    uint32_t random = 0;
    long delay_ms;

    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK); /* without it: no jitter */
    delay_ms = QUEUE_SWEEP_MS * 4 / 5 + (long)(random % (QUEUE_SWEEP_MS * 2 / 5 + 1));
    event_add(sweep->tick, &(struct timeval){delay_ms / 1000, delay_ms % 1000 * 1000});
}

/* A model was swept, by us or just before us, or Redis is away: the next tick tries again. */
static void
on_swept(void *cookie, const redisReply *reply)
{
    struct sweep_ask *ask = cookie;
    struct queue_swept swept;
    struct error err;

    if (reply == NULL) {
        free(ask);
        return;
    }
    if (queue_sweep_parse(reply, &swept, &err) == -1) {
        log_warning("api.sweep", "sweep failed", LOG_TEXT("model", ask->model->queue.model),
            LOG_TEXT("error_message", err.text));
    } else if (!swept.throttled) {
        if (swept.leases > 0 || swept.expired > 0 || swept.hints > 0)
            log_info("api.sweep", "swept", LOG_TEXT("model", ask->model->queue.model),
                LOG_INT("due", swept.due), LOG_INT("leases", swept.leases),
                LOG_INT("expired", swept.expired), LOG_INT("hints", swept.hints));
        if (swept.more)
            sweep_model(ask->sweep, ask->model);
    }
    free(ask);
}

static void
sweep_model(struct sweep *sweep, struct model *model)
{
    struct sweep_ask *ask = malloc(sizeof(*ask));
    struct queue_call call;

    if (ask == NULL)
        return; /* the next tick comes */
    *ask = (struct sweep_ask){.sweep = sweep, .model = model};
    FAILPOINT(BEFORE_SWEEP, -1);
    if (queue_sweep_call(&model->queue, store_run_id(sweep->store), &call, NULL) == -1 ||
        store_send(sweep->store, &call, on_swept, ask) == -1)
        free(ask);
}

static void
on_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct sweep *sweep = cookie;

    (void)fd;
    (void)what;
    if (store_is_ready(sweep->store))
        for (size_t i = 0; i < models_count(sweep->models); i++)
            sweep_model(sweep, models_at(sweep->models, i));
    schedule(sweep);
}

struct sweep *
sweep_new(struct event_base *base, struct store *store, struct models *models, struct error *err)
{
    struct sweep *sweep = calloc(1, sizeof(*sweep));

    if (sweep == NULL || (sweep->tick = event_new(base, -1, 0, on_tick, sweep)) == NULL) {
        free(sweep);
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    sweep->base = base;
    sweep->store = store;
    sweep->models = models;
    schedule(sweep);
    return sweep;
}

void
sweep_free(struct sweep *sweep)
{
    if (sweep == NULL)
        return;
    event_free(sweep->tick);
    free(sweep);
}
