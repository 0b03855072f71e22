/*
 * everywhere.c - One question to the queues of all models, or of one.
 */
#include "api/everywhere.h"

#include <stdlib.h>
#include <string.h>

#include "api/reply.h"
#include "api/server.h"
#include "common/task.h"

struct everywhere {
    struct models *models;
    struct store *store;
    const struct everywhere_talk *talk;
    void *cookie;
    bool is_named;
    char name[TASK_MODEL_NAME_MAX + 1];
    size_t n_pending;
    struct error error; /* the first failure */
};

struct everywhere_part {
    struct everywhere *all;
    struct model *model;
};

static void
fail(struct everywhere *all, enum error_code code, const char *text)
{
    if (all->error.code == ERR_NONE)
        error_set(&all->error, code, "%s", text);
}

static void
conclude(struct everywhere *all)
{
    if (all->n_pending > 0)
        return;
    all->talk->done(all->cookie, all->error.code != ERR_NONE ? &all->error : NULL);
    free(all);
}

/* A model's queue answered, or Redis is away. */
static void
on_reply(void *cookie, const redisReply *reply)
{
    struct everywhere_part *part = cookie;
    struct everywhere *all = part->all;
    struct error err;

    all->n_pending--;
    if (reply == NULL)
        fail(all, ERR_UNAVAILABLE, "Redis does not answer");
    else if (all->talk->hear(all->cookie, part->model, reply, &err) == -1 &&
             all->error.code == ERR_NONE)
        all->error = err;
    free(part);
    conclude(all);
}

static void
ask(struct everywhere *all, struct model *model)
{
    struct everywhere_part *part = malloc(sizeof(*part));
    struct queue_call call;
    struct error err;

    if (part == NULL) {
        fail(all, ERR_MEMORY, "out of memory");
        return;
    }
    *part = (struct everywhere_part){.all = all, .model = model};
    if (all->talk->ask(all->cookie, model, &call, &err) == -1) {
        fail(all, err.code, err.text);
        free(part);
    } else if (store_send(all->store, &call, on_reply, part) == -1) {
        fail(all, ERR_MEMORY, "out of memory");
        free(part);
    } else {
        all->n_pending++;
    }
}

/* The list of models is as new as it gets. */
static void
on_refreshed(void *cookie, bool is_redis_there)
{
    struct everywhere *all = cookie;
    struct model *model;

    if (!is_redis_there) {
        fail(all, ERR_UNAVAILABLE, "Redis does not answer");
    } else if (all->is_named) {
        if ((model = models_find(all->models, all->name)) != NULL)
            ask(all, model);
    } else {
        for (size_t i = 0; i < models_count(all->models) && all->error.code == ERR_NONE; i++)
            ask(all, models_at(all->models, i));
    }
    conclude(all);
}

int
everywhere_ask(struct models *models, struct store *store, const char *name,
    const struct everywhere_talk *talk, void *cookie)
{
    struct everywhere *all = calloc(1, sizeof(*all));

    if (all == NULL)
        return -1;
    all->models = models;
    all->store = store;
    all->talk = talk;
    all->cookie = cookie;
    all->is_named = name != NULL;
    if (name != NULL && strlen(name) <= TASK_MODEL_NAME_MAX)
        strcpy(all->name, name); /* a longer one stays "", which is no model */
    if (models_refresh(models, on_refreshed, all) == -1) {
        free(all);
        return -1;
    }
    return 0;
}

int
everywhere_ask_for(
    struct exchange *e, const char *name, const struct everywhere_talk *talk, void *cookie)
{
    struct error err;

    if (cookie != NULL &&
        everywhere_ask(e->server->models, e->server->store, name, talk, cookie) == 0)
        return 0;
    error_set(&err, ERR_MEMORY, "no memory to ask all models");
    reply_error(e, &err);
    return -1;
}

/* ---- lists ---- */

void
everywhere_list_done(void *cookie, const struct error *err)
{
    struct everywhere_list *list = cookie;

    json_out_close(&list->body, ']');
    json_out_close(&list->body, '}');
    if (err != NULL) {
        json_out_clear(&list->body);
        reply_error(list->exchange, err);
    } else {
        reply_header(list->exchange, "Cache-Control", "no-store");
        reply_json(list->exchange, 200, &list->body);
    }
    free(list);
}

void
everywhere_list(struct exchange *e, const char *name, const struct everywhere_talk *talk)
{
    struct everywhere_list *list = calloc(1, sizeof(*list));

    if (everywhere_ask_for(e, NULL, talk, list) == -1) {
        free(list);
        return;
    }
    list->exchange = e;
    json_out_init(&list->body);
    json_out_open(&list->body, NULL, '{');
    json_out_open(&list->body, name, '[');
}
