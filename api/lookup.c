/*
 * lookup.c - A task's id -> what is known of the task.
 *
 * All models are asked in one round trip. An id does not tell either whether it names a task or a
 * batch: batches are asked for when no model knows such a task, because most ids are of tasks and
 * a poll should cost one script. The first model that knows the id answers; the replies of the
 * others are awaited, because their callbacks hold the lookup, and ignored.
 */
#include "api/lookup.h"

#include <stdlib.h>
#include <string.h>

struct lookup {
    struct models *models;
    struct store *store;
    struct caller caller;
    char id[ID_LEN + 1];
    lookup_fn fn; /* NULL once answered */
    void *cookie;
    size_t n_pending;
    size_t n_asked;         /* models 0..n_asked-1 have been asked for a task, */
    size_t n_asked_batches; /* ... and these for a batch */
    struct model *only;     /* ask this model alone; NULL: all */
    bool with_results;
    bool is_refreshed; /* the list of models was read again */
    bool is_away;      /* somebody did not answer */
    struct error error;
};

struct lookup_part {
    struct lookup *lookup;
    struct model *model;
    bool is_batch;
};

static void
answer(struct lookup *l, const struct lookup_answer *a)
{
    lookup_fn fn = l->fn;

    l->fn = NULL;
    if (fn != NULL)
        fn(l->cookie, a);
}

static void conclude(struct lookup *l);
static void ask_for_tasks(struct lookup *l);
static void ask_for_batches(struct lookup *l);

/* The list of models is as new as it gets. */
static void
on_refreshed(void *cookie, bool is_redis_there)
{
    struct lookup *l = cookie;

    l->is_away = !is_redis_there;
    ask_for_tasks(l);
    conclude(l);
}

/* Is it still worth asking somebody? */
static bool
is_open(const struct lookup *l)
{
    return l->fn != NULL && !l->is_away && l->error.code == ERR_NONE;
}

/* Nobody is being asked any more: ask for batches, then the models that have appeared; or answer. */
static void
conclude(struct lookup *l)
{
    struct lookup_answer a = {.outcome = LOOKUP_ABSENT, .error = &l->error};

    if (l->n_pending == 0 && is_open(l) && l->n_asked_batches < l->n_asked)
        ask_for_batches(l);
    if (l->n_pending > 0)
        return;
    if (is_open(l) && !l->is_refreshed && l->only == NULL) {
        l->is_refreshed = true;
        if (models_refresh(l->models, on_refreshed, l) == 0)
            return;
        error_set(&l->error, ERR_MEMORY, "out of memory");
    }
    if (l->error.code != ERR_NONE)
        a.outcome = LOOKUP_FAILED;
    else if (l->is_away)
        a.outcome = LOOKUP_AWAY;
    answer(l, &a);
    free(l);
}

/* A model's queue told what it knows of the id, as a task or as a batch. */
static void
on_read(void *cookie, const redisReply *reply)
{
    struct lookup_part *part = cookie;
    struct lookup *l = part->lookup;
    struct queue_task_view view;
    struct error err = {.code = ERR_UNAVAILABLE};
    bool is_read = reply != NULL;
    size_t n_members;

    l->n_pending--;
    if (is_read && part->is_batch)
        is_read = queue_group_read_parse(reply, l->with_results, &view, &n_members, &err) == 0;
    else if (is_read)
        is_read = queue_read_parse(reply, true, &view, &err) == 0;
    /* one that others own is not there, and is looked for as long */
    if (is_read && (view.found || view.is_gone) &&
        caller_sees(&l->caller, view.owner, view.owner_len))
        answer(l, &(struct lookup_answer){.outcome = view.found ? LOOKUP_FOUND : LOOKUP_GONE,
                      .model = part->model,
                      .view = &view,
                      .batch = part->is_batch && view.found ? reply : NULL,
                      .with_results = l->with_results});
    else if (!is_read && err.code == ERR_UNAVAILABLE)
        l->is_away = true;
    else if (!is_read)
        l->error = err;
    free(part);
    conclude(l);
}

/* What fails here is told when those who were asked have answered. */
static void
ask(struct lookup *l, struct model *model, bool is_batch)
{
    struct lookup_part *part = malloc(sizeof(*part));
    struct queue_call call;

    if (part == NULL)
        goto no_memory;
    *part = (struct lookup_part){.lookup = l, .model = model, .is_batch = is_batch};
    if ((is_batch ? queue_group_read_call(&model->queue, l->id, l->with_results, &call, NULL)
                  : queue_read_call(&model->queue, l->id, true, &call, NULL)) == -1 ||
        store_send(l->store, &call, on_read, part) == -1)
        goto no_memory;
    l->n_pending++;
    return;

no_memory:
    free(part);
    error_set(&l->error, ERR_MEMORY, "out of memory");
}

static size_t
n_models(const struct lookup *l)
{
    return l->only != NULL ? 1 : models_count(l->models);
}

static struct model *
model_at(const struct lookup *l, size_t i)
{
    return l->only != NULL ? l->only : models_at(l->models, i);
}

static void
ask_for_tasks(struct lookup *l)
{
    for (; l->n_asked < n_models(l) && is_open(l); l->n_asked++) {
        models_want_load(l->models, model_at(l, l->n_asked)); /* first: there when the task is */
        ask(l, model_at(l, l->n_asked), false);
    }
}

static void
ask_for_batches(struct lookup *l)
{
    for (; l->n_asked_batches < l->n_asked && is_open(l); l->n_asked_batches++)
        ask(l, model_at(l, l->n_asked_batches), true);
}

static int
look_up(struct models *models, struct store *store, struct model *model,
    const struct caller *caller, const char *id, bool with_results, lookup_fn fn, void *cookie)
{
    struct lookup *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return -1;
    l->models = models;
    l->store = store;
    l->caller = *caller; /* it is needed longer than the exchange of whoever asks */
    memcpy(l->id, id, ID_LEN);
    l->fn = fn;
    l->cookie = cookie;
    l->only = model;
    l->with_results = with_results;
    ask_for_tasks(l);
    if (l->n_pending > 0)
        return 0;
    free(l);
    return -1;
}

int
lookup_task(struct models *models, struct store *store, struct model *model,
    const struct caller *caller, const char *id, lookup_fn fn, void *cookie)
{
    return look_up(models, store, model, caller, id, false, fn, cookie);
}

int
lookup_results(struct models *models, struct store *store, struct model *model,
    const struct caller *caller, const char *id, lookup_fn fn, void *cookie)
{
    return look_up(models, store, model, caller, id, true, fn, cookie);
}
