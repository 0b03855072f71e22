/*
 * models.c - Which models there are, and who serves them now.
 *
 * A model once known is never forgotten while the process lives: its tasks may still be
 * asked for. Their number is bounded by QUEUE_MODELS_MAX.
 */
#include "api/models.h"

#include <stdlib.h>
#include <string.h>

#include "api/store.h"
#include "common/clock.h"
#include "common/log.h"

#define MODELS_REFRESH_MS 1000
#define MODELS_LOAD_MS    20 /* a load is as good as new so long: polls of many clients share it */
#define MODELS_FIRST_MS   50 /* until the default model's fleet was seen for the first time */

struct models {
    struct store *store;
    struct event *tick;
    int64_t max_queue_ms; /* a task may wait so long; every sweeper of a queue must say the same */
    size_t n;
    struct model *all[QUEUE_MODELS_MAX + 1]; /* and the default one */
};

struct names_ask {
    struct models *models;
    models_fn fn;
    void *cookie;
};

struct fleet_ask {
    struct model *model;
    models_fleet_fn fn;
    void *cookie;
};

size_t
models_count(const struct models *models)
{
    return models->n;
}

struct model *
models_at(const struct models *models, size_t i)
{
    return models->all[i];
}

struct model *
models_find(const struct models *models, const char *name)
{
    for (size_t i = 0; i < models->n; i++)
        if (strcmp(models->all[i]->queue.model, name) == 0)
            return models->all[i];
    return NULL;
}

static int
add_model(struct models *models, const char *name, struct error *err)
{
    struct model *model;

    if (models_find(models, name) != NULL)
        return 0;
    if (models->n == QUEUE_MODELS_MAX + 1)
        return error_set(err, ERR_INVALID, "more than %d models", QUEUE_MODELS_MAX);
    if ((model = calloc(1, sizeof(*model))) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    if (queue_init(&model->queue, name, err) == -1) {
        free(model);
        return -1;
    }
    model->queue.tuning.max_queue_ms = models->max_queue_ms;
    models->all[models->n++] = model;
    return 0;
}

/* ---- names ---- */

static void
on_names(void *cookie, const redisReply *reply)
{
    static struct queue_models found; /* 16 KiB: not on the stack, and one loop has one at a time */
    struct names_ask *ask = cookie;
    struct error err = {.code = ERR_NONE};
    bool is_there = reply != NULL && queue_models_parse(reply, &found, &err) == 0;

    for (size_t i = 0; is_there && i < found.n; i++)
        if (add_model(ask->models, found.names[i], &err) == -1)
            break;
    if (err.code != ERR_NONE)
        log_error(
            "api.models", "the list of models cannot be read", LOG_TEXT("error_message", err.text));
    if (ask->fn != NULL)
        ask->fn(ask->cookie, is_there);
    free(ask);
}

int
models_refresh(struct models *models, models_fn fn, void *cookie)
{
    struct names_ask *ask = malloc(sizeof(*ask));
    struct queue_call call;

    if (ask == NULL)
        return -1;
    *ask = (struct names_ask){.models = models, .fn = fn, .cookie = cookie};
    if (queue_models_call(&call, NULL) == -1 ||
        store_send(models->store, &call, on_names, ask) == -1) {
        free(ask);
        return -1;
    }
    return 0;
}

/* ---- fleets ---- */

static void
on_fleet(void *cookie, const redisReply *reply)
{
    struct fleet_ask *ask = cookie;
    struct queue_fleet fleet;
    struct error err;

    if (reply != NULL && queue_presence_parse(reply, &fleet, &err) == -1) {
        log_error("api.models", "the fleet cannot be read",
            LOG_TEXT("model", ask->model->queue.model), LOG_TEXT("error_message", err.text));
        fleet = (struct queue_fleet){0}; /* Redis is there; who serves is not known */
    } else if (reply != NULL) {
        ask->model->is_seen = true;
        ask->model->n_live = fleet.n_live;
        if (fleet.context != 0)
            ask->model->context = fleet.context;
    }
    if (ask->fn != NULL)
        ask->fn(ask->cookie, reply != NULL ? &fleet : NULL);
    free(ask);
}

int
models_ask_fleet(struct models *models, struct model *model, models_fleet_fn fn, void *cookie)
{
    struct fleet_ask *ask = malloc(sizeof(*ask));
    struct queue_call call;

    if (ask == NULL)
        return -1;
    *ask = (struct fleet_ask){.model = model, .fn = fn, .cookie = cookie};
    if (queue_presence_call(&model->queue, &call, NULL) == -1 ||
        store_send(models->store, &call, on_fleet, ask) == -1) {
        free(ask);
        return -1;
    }
    return 0;
}

/* ---- load ---- */

struct load_ask {
    struct model *model;
    models_load_fn fn;
    void *cookie;
};

static void
on_load(void *cookie, const redisReply *reply)
{
    struct load_ask *ask = cookie;
    struct model *model = ask->model;
    struct error err;

    model->has_load = reply != NULL;
    if (reply != NULL && queue_load_parse(reply, &model->load, &err) == -1) {
        log_error("api.models", "the load cannot be read", LOG_TEXT("model", model->queue.model),
            LOG_TEXT("error_message", err.text));
        model->has_load = false;
    }
    if (ask->fn != NULL)
        ask->fn(ask->cookie, reply != NULL, models_load(model));
    free(ask);
}

int
models_ask_load(struct models *models, struct model *model, models_load_fn fn, void *cookie)
{
    struct load_ask *ask = malloc(sizeof(*ask));
    struct queue_call call;

    if (ask == NULL)
        return -1;
    *ask = (struct load_ask){.model = model, .fn = fn, .cookie = cookie};
    if (queue_load_call(&model->queue, &call, NULL) == -1 ||
        store_send(models->store, &call, on_load, ask) == -1) {
        free(ask);
        return -1;
    }
    model->load_asked_ms = clock_monotonic_ms();
    model->n_load_asked++;
    return 0;
}

void
models_want_load(struct models *models, struct model *model)
{
    if (model->load_asked_ms == 0 || clock_monotonic_ms() - model->load_asked_ms >= MODELS_LOAD_MS)
        (void)models_ask_load(models, model, NULL, NULL); /* else the one before goes on */
}

const struct queue_load *
models_load(const struct model *model)
{
    return model->has_load ? &model->load : NULL;
}

const struct queue_load *
models_recent_load(const struct model *model)
{
    bool is_recent = clock_monotonic_ms() - model->load_asked_ms <= 2 * MODELS_REFRESH_MS;

    return is_recent ? models_load(model) : NULL;
}

static void
schedule(struct models *models)
{
    int ms = models->all[0]->is_seen ? MODELS_REFRESH_MS : MODELS_FIRST_MS;

    event_add(models->tick, &(struct timeval){ms / 1000, ms % 1000 * 1000});
}

/* Once a second. What fails for want of memory is tried again at the next tick. */
static void
on_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct models *models = cookie;

    (void)fd;
    (void)what;
    if (store_is_ready(models->store)) {
        (void)models_refresh(models, NULL, NULL);
        for (size_t i = 0; i < models->n; i++)
            (void)models_ask_fleet(models, models->all[i], NULL, NULL);
        for (size_t i = 0; i < models->n; i++)
            models_want_load(models, models->all[i]); /* estimates of the next submits */
    }
    schedule(models);
}

struct models *
models_new(struct event_base *base, struct store *store, const char *default_model,
    int64_t max_queue_ms, struct error *err)
{
    struct models *models = calloc(1, sizeof(*models));

    if (models == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    models->store = store;
    models->max_queue_ms = max_queue_ms;
    if (add_model(models, default_model, err) == -1)
        goto free_it;
    if ((models->tick = event_new(base, -1, 0, on_tick, models)) == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        goto free_it;
    }
    schedule(models);
    return models;

free_it:
    models_free(models);
    return NULL;
}

void
models_free(struct models *models)
{
    if (models == NULL)
        return;
    if (models->tick != NULL)
        event_free(models->tick);
    for (size_t i = 0; i < models->n; i++)
        free(models->all[i]);
    free(models);
}
