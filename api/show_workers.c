/*
 * show_workers.c - GET /v1/workers, and POST /v1/workers/{id}/quiet and /resume.
 *
 * A worker hears of quiet at its next beat: then it finishes what it holds and claims nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "api/everywhere.h"
#include "api/handlers.h"
#include "api/models.h"
#include "api/reply.h"
#include "api/server.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/queue/queue_admin.h"

/* ---- the list ---- */

static int
ask_workers(void *cookie, struct model *model, struct queue_call *call, struct error *err)
{
    (void)cookie;
    return queue_workers_call(&model->queue, call, err);
}

static void
write_worker(struct json_out *out, const char *model, const struct queue_worker *w, int64_t now_ms)
{
    char heartbeat_at[CLOCK_RFC3339_MAX];

    clock_format_ms(w->beat_ms, heartbeat_at);
    json_out_open(out, NULL, '{');
    json_out_text(out, "worker_id", w->worker);
    json_out_text(out, "name", w->name);
    json_out_text(out, "host", w->host);
    json_out_integer(out, "pid", w->pid);
    json_out_text(out, "model", model);
    json_out_text(out, "state", queue_worker_state_name(queue_worker_state(w, now_ms)));
    json_out_integer(out, "slots", w->slots);
    json_out_integer(out, "slots_busy", w->busy);
    json_out_integer(out, "tasks", w->tasks);
    json_out_text(out, "heartbeat_at", heartbeat_at);
    json_out_integer(out, "rss_bytes", w->rss_bytes);
    json_out_text(out, "version", w->version);
    json_out_text(out, "model_version", w->model_version);
    json_out_text(out, "weights_sha256", w->weights_sha256);
    json_out_text(out, "kernel", w->kernel);
    json_out_integer(out, "done", w->done);
    json_out_integer(out, "failed", w->failed);
    json_out_close(out, '}');
}

static int
hear_workers(void *cookie, struct model *model, const redisReply *reply, struct error *err)
{
    struct everywhere_list *list = cookie;
    struct queue_worker worker;
    int64_t now_ms;
    size_t n;

    if (queue_workers_parse(reply, &now_ms, &n, err) == -1)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (queue_worker_parse(reply, i, &worker) == 0)
            write_worker(&list->body, model->queue.model, &worker, now_ms);
    return 0;
}

void
list_workers(struct exchange *e, const char *param)
{
    static const struct everywhere_talk talk = {ask_workers, hear_workers, everywhere_list_done};

    (void)param;
    everywhere_list(e, "workers", &talk);
}

/* ---- quiet and resume ---- */

struct telling {
    struct exchange *exchange;
    char worker[ID_LEN + 1];
    bool is_quiet, is_done;
};

static int
ask_quiet(void *cookie, struct model *model, struct queue_call *call, struct error *err)
{
    const struct telling *t = cookie;

    return queue_quiet_call(&model->queue, t->worker, t->is_quiet, call, err);
}

static int
hear_quiet(void *cookie, struct model *model, const redisReply *reply, struct error *err)
{
    struct telling *t = cookie;
    bool is_done;

    (void)model;
    if (queue_done_parse(reply, &is_done, err) == -1)
        return -1;
    t->is_done = t->is_done || is_done;
    return 0;
}

static void
refuse_unknown(struct exchange *e)
{
    reply_refuse(e, 404, "worker_not_found", "there is no worker of this id");
}

static void
quiet_done(void *cookie, const struct error *err)
{
    struct telling *t = cookie;

    if (t->is_done)
        reply_nothing(t->exchange, 204);
    else if (err != NULL)
        reply_error(t->exchange, err);
    else
        refuse_unknown(t->exchange);
    free(t);
}

static void
tell_worker(struct exchange *e, const char *worker, bool is_quiet)
{
    static const struct everywhere_talk talk = {ask_quiet, hear_quiet, quiet_done};
    struct telling *t;

    if (!id_is_valid(worker)) {
        refuse_unknown(e);
        return;
    }
    if ((t = calloc(1, sizeof(*t))) != NULL) {
        *t = (struct telling){.exchange = e, .is_quiet = is_quiet};
        memcpy(t->worker, worker, ID_LEN);
    }
    if (everywhere_ask_for(e, NULL, &talk, t) == -1)
        free(t);
}

void
quiet_worker(struct exchange *e, const char *param)
{
    tell_worker(e, param, true);
}

void
resume_worker(struct exchange *e, const char *param)
{
    tell_worker(e, param, false);
}
