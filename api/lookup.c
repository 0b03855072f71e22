/*
 * lookup.c - A task's id -> what is known of the task.
 *
 * The first model that knows the id answers; the replies of the others are awaited, because
 * their callbacks hold the lookup, and ignored.
 */
#include "api/lookup.h"

#include <stdlib.h>
#include <string.h>

struct lookup {
    struct models *models;
    struct store *store;
    char id[ID_LEN + 1];
    lookup_fn fn; /* NULL once answered */
    void *cookie;
    size_t n_pending;
    size_t n_asked; /* models 0..n_asked-1 have been asked */
    bool is_one_model;
    bool is_refreshed; /* the list of models was read again */
    bool is_away;      /* somebody did not answer */
    struct error error;
};

struct lookup_part {
    struct lookup *lookup;
    struct model *model;
};

static void
answer(struct lookup *l, const struct lookup_answer *a)
{
    lookup_fn fn = l->fn;

    l->fn = NULL;
    if (fn != NULL)
        fn(l->cookie, a);
}

static void ask_new_models(struct lookup *l);

/* The list of models is as new as it gets. */
static void
on_refreshed(void *cookie, bool is_redis_there)
{
    struct lookup *l = cookie;

    l->is_away = !is_redis_there;
    ask_new_models(l);
}

/* Nobody is being asked any more: answer, or ask the models that have appeared. */
static void
conclude(struct lookup *l)
{
    struct lookup_answer a = {.outcome = LOOKUP_ABSENT, .error = &l->error};

    if (l->n_pending > 0)
        return;
    if (l->fn != NULL && !l->is_away && l->error.code == ERR_NONE && !l->is_refreshed &&
        !l->is_one_model) {
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

/* A model's queue told what it knows of the id. */
static void
on_read(void *cookie, const redisReply *reply)
{
    struct lookup_part *part = cookie;
    struct lookup *l = part->lookup;
    struct queue_task_view view;
    struct error err = {.code = ERR_UNAVAILABLE};
    bool is_read;

    l->n_pending--;
    is_read = reply != NULL && queue_read_parse(reply, true, &view, &err) == 0;
    if (is_read && view.found)
        answer(l,
            &(struct lookup_answer){.outcome = LOOKUP_FOUND, .model = part->model, .view = &view});
    else if (!is_read && err.code == ERR_UNAVAILABLE)
        l->is_away = true;
    else if (!is_read)
        l->error = err;
    free(part);
    conclude(l);
}

static int
ask(struct lookup *l, struct model *model)
{
    struct lookup_part *part = malloc(sizeof(*part));
    struct queue_call call;

    if (part == NULL)
        return -1;
    *part = (struct lookup_part){.lookup = l, .model = model};
    if (queue_read_call(&model->queue, l->id, true, &call, NULL) == -1 ||
        store_send(l->store, &call, on_read, part) == -1) {
        free(part);
        return -1;
    }
    l->n_pending++;
    return 0;
}

static void
ask_new_models(struct lookup *l)
{
    while (l->n_asked < models_count(l->models) && l->error.code == ERR_NONE)
        if (ask(l, models_at(l->models, l->n_asked++)) == -1)
            error_set(&l->error, ERR_MEMORY, "out of memory");
    conclude(l);
}

int
lookup_task(struct models *models, struct store *store, struct model *model, const char *id,
    lookup_fn fn, void *cookie)
{
    struct lookup *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return -1;
    l->models = models;
    l->store = store;
    memcpy(l->id, id, ID_LEN);
    l->fn = fn;
    l->cookie = cookie;
    l->is_one_model = model != NULL;
    if (model != NULL && ask(l, model) == -1)
        goto free_it;
    for (; model == NULL && l->n_asked < models_count(models); l->n_asked++)
        if (ask(l, models_at(models, l->n_asked)) == -1) {
            if (l->n_pending == 0)
                goto free_it;
            error_set(&l->error, ERR_MEMORY, "out of memory"); /* told when the others answered */
            break;
        }
    return 0;

free_it:
    free(l);
    return -1;
}
