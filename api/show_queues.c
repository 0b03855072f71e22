/*
 * show_queues.c - GET /v1/queues, and POST /v1/queues/{model}/{priority}/pause and /resume.
 *
 * A pause stops dispatch, not submits: what runs goes on, what comes waits.
 */
#include <stdlib.h>
#include <string.h>

#include "api/everywhere.h"
#include "api/handlers.h"
#include "api/models.h"
#include "api/reply.h"
#include "api/server.h"
#include "common/queue/queue_admin.h"

#define ALL_PRIORITIES "all" /* in a path, where a priority may stand */

/* ---- the list ---- */

static int
ask_load(void *cookie, struct model *model, struct queue_call *call, struct error *err)
{
    (void)cookie;
    return queue_load_call(&model->queue, call, err);
}

static void
write_seconds(struct json_out *out, const char *name, double seconds, bool is_known)
{
    if (is_known)
        json_out_double(out, name, seconds);
    else
        json_out_null(out, name);
}

static int
hear_load(void *cookie, struct model *model, const redisReply *reply, struct error *err)
{
    struct everywhere_list *list = cookie;
    struct json_out *out = &list->body;
    struct queue_load load;

    if (queue_load_parse(reply, &load, err) == -1)
        return -1;
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++) {
        double backlog = queue_backlog_seconds(&load, p);

        json_out_open(out, NULL, '{');
        json_out_text(out, "model", model->queue.model);
        json_out_text(out, "priority", task_priority_name(p));
        json_out_integer(out, "depth", load.queues[p].depth);
        json_out_integer(out, "bytes", load.queues[p].bytes);
        write_seconds(out, "oldest_age_seconds", (double)load.queues[p].oldest_ms / 1000,
            load.queues[p].depth > 0);
        write_seconds(out, "backlog_seconds", backlog, backlog >= 0);
        json_out_bool(out, "paused", load.queues[p].is_paused);
        json_out_bool(out, "draining", load.queues[p].is_draining);
        json_out_close(out, '}');
    }
    return 0;
}

void
list_queues(struct exchange *e, const char *param)
{
    static const struct everywhere_talk talk = {ask_load, hear_load, everywhere_list_done};

    (void)param;
    everywhere_list(e, "queues", &talk);
}

/* ---- pause and resume ---- */

struct control {
    struct exchange *exchange;
    enum queue_action action;
    enum task_priority priority;
    bool is_done;
};

static int
ask_control(void *cookie, struct model *model, struct queue_call *call, struct error *err)
{
    const struct control *c = cookie;

    return queue_control_call(&model->queue, c->action, c->priority, call, err);
}

static int
hear_control(void *cookie, struct model *model, const redisReply *reply, struct error *err)
{
    struct control *c = cookie;

    (void)model;
    return queue_done_parse(reply, &c->is_done, err);
}

static void
control_done(void *cookie, const struct error *err)
{
    struct control *c = cookie;

    if (err != NULL)
        reply_error(c->exchange, err);
    else if (!c->is_done)
        reply_refuse(c->exchange, 404, "model_not_found", "there is no model of this name");
    else
        reply_nothing(c->exchange, 204);
    free(c);
}

static void
control_queue(struct exchange *e, const char *model, enum queue_action action)
{
    static const struct everywhere_talk talk = {ask_control, hear_control, control_done};
    const char *word = e->match.params[1];
    enum task_priority priority = QUEUE_ALL_PRIORITIES;
    struct control *c;

    if (strcmp(word, ALL_PRIORITIES) != 0 &&
        task_priority_from_name(word, strlen(word), &priority) == -1) {
        reply_refuse(e, 404, "route_not_found", "Not Found");
        return;
    }
    if ((c = calloc(1, sizeof(*c))) != NULL)
        *c = (struct control){.exchange = e, .action = action, .priority = priority};
    if (everywhere_ask_for(e, model, &talk, c) == -1)
        free(c);
}

void
pause_queue(struct exchange *e, const char *param)
{
    control_queue(e, param, QUEUE_PAUSE);
}

void
resume_queue(struct exchange *e, const char *param)
{
    control_queue(e, param, QUEUE_RESUME);
}
