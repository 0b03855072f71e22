/*
 * show_models.c - GET /v1/models and /v1/models/{name}, and the same for Open Inference Protocol
 * probes: /v2/models/{name} and /v2/models/{name}/ready.
 *
 * Two questions to each model: who serves it now, and how fast.
 */
#include <stdlib.h>
#include <string.h>

#include "api/everywhere.h"
#include "api/handlers.h"
#include "api/models.h"
#include "api/reply.h"
#include "api/server.h"
#include "common/queue/queue_admin.h"

#define V2_PLATFORM "kronos"

struct shown {
    struct model *model;
    struct queue_fleet fleet;
    struct queue_speed speed;
};

struct showing {
    struct exchange *exchange;
    bool is_list;
    char name[TASK_MODEL_NAME_MAX + 1];
    struct shown *models;
    size_t n;
    void (*write)(struct showing *s); /* answers the exchange, of a list or of models[0] */
};

static void
free_showing(struct showing *s)
{
    free(s->models);
    free(s);
}

/* ---- what there is to know ---- */

static int
ask_fleet(void *cookie, struct model *model, struct queue_call *call, struct error *err)
{
    (void)cookie;
    return queue_presence_call(&model->queue, call, err);
}

static int
hear_fleet(void *cookie, struct model *model, const redisReply *reply, struct error *err)
{
    struct showing *s = cookie;
    struct shown *models = reallocarray(s->models, s->n + 1, sizeof(*models));

    if (models == NULL)
        return error_set(err, ERR_MEMORY, "no memory for a list of models");
    s->models = models;
    models[s->n] = (struct shown){.model = model};
    if (queue_presence_parse(reply, &models[s->n].fleet, err) == -1)
        return -1;
    s->n++;
    return 0;
}

static int
ask_load(void *cookie, struct model *model, struct queue_call *call, struct error *err)
{
    (void)cookie;
    return queue_load_call(&model->queue, call, err);
}

static int
hear_load(void *cookie, struct model *model, const redisReply *reply, struct error *err)
{
    struct showing *s = cookie;
    struct queue_load load;

    if (queue_load_parse(reply, &load, err) == -1)
        return -1;
    for (size_t i = 0; i < s->n; i++)
        if (s->models[i].model == model)
            s->models[i].speed = load.speed;
    return 0;
}

static void
load_done(void *cookie, const struct error *err)
{
    struct showing *s = cookie;

    if (err != NULL)
        reply_error(s->exchange, err);
    else
        s->write(s);
    free_showing(s);
}

static void
fleet_done(void *cookie, const struct error *err)
{
    static const struct everywhere_talk load_talk = {ask_load, hear_load, load_done};
    struct showing *s = cookie;

    if (err != NULL)
        reply_error(s->exchange, err);
    else if (s->n == 0 && !s->is_list)
        reply_refuse(s->exchange, 404, "model_not_found", "there is no model of this name");
    else if (everywhere_ask_for(s->exchange, s->is_list ? NULL : s->name, &load_talk, s) == 0)
        return;
    free_showing(s);
}

/* ---- documents ---- */

static void
reply_document(struct exchange *e, int status, struct json_out *body)
{
    reply_header(e, "Cache-Control", "no-store");
    reply_json(e, status, body);
}

static void
write_number(struct json_out *out, const char *name, double value, bool is_known)
{
    if (is_known)
        json_out_double(out, name, value);
    else
        json_out_null(out, name);
}

static void
write_known_text(struct json_out *out, const char *name, const char *text)
{
    json_out_text(out, name, text[0] != '\0' ? text : NULL);
}

static void
write_model(struct json_out *out, const struct shown *m)
{
    const struct queue_fleet *f = &m->fleet;

    json_out_open(out, NULL, '{');
    json_out_text(out, "name", m->model->queue.model);
    write_number(out, "context", f->context, f->context > 0);
    write_number(out, "vocabulary", f->vocabulary, f->vocabulary > 0);
    write_known_text(out, "model_version", f->model_version);
    write_known_text(out, "tokenizer_version", f->tokenizer_version);
    write_known_text(out, "weights_sha256", f->weights_sha256);
    write_known_text(out, "tokenizer_sha256", f->tokenizer_sha256);
    json_out_bool(out, "uniform", f->is_uniform);
    json_out_integer(out, "workers", (int64_t)f->n_live);
    json_out_integer(out, "slots", f->slots);
    json_out_integer(out, "slots_busy", f->busy);
    write_number(out, "prefill_seconds", m->speed.prefill_seconds, m->speed.prefill_seconds > 0);
    write_number(out, "step_seconds", m->speed.step_seconds, m->speed.step_seconds > 0);
    json_out_close(out, '}');
}

static void
reply_list(struct showing *s)
{
    struct json_out body;

    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_open(&body, "models", '[');
    for (size_t i = 0; i < s->n; i++)
        write_model(&body, &s->models[i]);
    json_out_close(&body, ']');
    json_out_close(&body, '}');
    reply_document(s->exchange, 200, &body);
}

static void
reply_one(struct showing *s)
{
    struct json_out body;

    json_out_init(&body);
    write_model(&body, &s->models[0]);
    reply_document(s->exchange, 200, &body);
}

/* Metadata of the protocol; tensors are not how a forecast is asked for here. */
static void
reply_v2(struct showing *s)
{
    const struct queue_fleet *f = &s->models[0].fleet;
    struct json_out body;

    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_text(&body, "name", s->name);
    json_out_open(&body, "versions", '[');
    if (f->model_version[0] != '\0')
        json_out_text(&body, NULL, f->model_version);
    json_out_close(&body, ']');
    json_out_text(&body, "platform", V2_PLATFORM);
    json_out_open(&body, "inputs", '[');
    json_out_close(&body, ']');
    json_out_open(&body, "outputs", '[');
    json_out_close(&body, ']');
    json_out_close(&body, '}');
    reply_document(s->exchange, 200, &body);
}

static void
reply_v2_ready(struct showing *s)
{
    bool is_ready = s->models[0].fleet.n_live > 0;
    struct json_out body;

    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_text(&body, "name", s->name);
    json_out_bool(&body, "ready", is_ready);
    json_out_close(&body, '}');
    reply_document(s->exchange, is_ready ? 200 : 503, &body);
}

static void
show(struct exchange *e, const char *name, void (*write)(struct showing *s))
{
    static const struct everywhere_talk fleet_talk = {ask_fleet, hear_fleet, fleet_done};
    struct showing *s = calloc(1, sizeof(*s));

    if (s != NULL) {
        s->exchange = e;
        s->is_list = name == NULL;
        if (name != NULL && strlen(name) <= TASK_MODEL_NAME_MAX)
            strcpy(s->name, name);
        s->write = write;
    }
    if (everywhere_ask_for(e, name, &fleet_talk, s) == -1 && s != NULL)
        free_showing(s);
}

void
list_models(struct exchange *e, const char *param)
{
    (void)param;
    show(e, NULL, reply_list);
}

void
get_model(struct exchange *e, const char *param)
{
    show(e, param, reply_one);
}

void
get_v2_model(struct exchange *e, const char *param)
{
    show(e, param, reply_v2);
}

void
get_v2_model_ready(struct exchange *e, const char *param)
{
    show(e, param, reply_v2_ready);
}
