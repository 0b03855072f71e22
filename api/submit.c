/*
 * submit.c - POST /v1/predict/single and /batch: a body becomes queued tasks.
 *
 *   judge body -> store (one script) -> read the task -> 202
 *                                    `-> hold (Prefer: wait, sync mode) -> 200, 202, 504
 *
 * A deadline is compared with the estimate before anything is stored. A request with an
 * Idempotency-Key is sent even then, to a queue without room: only the script knows whether
 * it repeats an earlier one, which is answered whatever the queue looks like now.
 *
 * From the moment the task is stored the client gets its id, whatever happens after: a
 * refusal then would make it submit twice.
 */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/lookup.h"
#include "api/prefer.h"
#include "api/request.h"
#include "api/reply.h"
#include "api/server.h"
#include "api/store.h"
#include "api/submission.h"
#include "api/wait.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/metrics.h"

static void
submission_free(struct submission *s)
{
    request_clear(&s->request);
    free(s->task_ids);
    free(s);
}

static void
refuse_away(struct submission *s)
{
    reply_store_unavailable(s->exchange);
    submission_free(s);
}

/* ---- after the task is stored ---- */

/* A new task is `queued` to the client that made it, even if a worker was faster. */
static void
on_new_task_read(void *cookie, const struct lookup_answer *answer)
{
    struct submission *s = cookie;

    submit_reply_accepted(s, answer, true);
    submission_free(s);
}

/* The results of a batch whose hold is over. */
static void
on_results_read(void *cookie, const struct lookup_answer *answer)
{
    struct submission *s = cookie;

    if (answer->outcome == LOOKUP_FOUND && task_status_is_terminal(answer->view->status))
        submit_reply_end(s, answer);
    else
        submit_reply_accepted(s, answer, false);
    submission_free(s);
}

/* The hold is over. */
static void
on_waited(void *cookie, enum wait_end end, const struct lookup_answer *answer)
{
    struct submission *s = cookie;
    struct server *server = s->exchange->server;
    bool has_ended =
        answer->outcome == LOOKUP_FOUND && task_status_is_terminal(answer->view->status);

    /* while it was waited for they were not read; nor are they for a client that must poll */
    if (answer->outcome == LOOKUP_FOUND && answer->batch != NULL && (has_ended || !s->is_sync) &&
        lookup_results(server->models, server->store, s->model, &s->exchange->caller,
            s->exchange->task_id, on_results_read, s) == 0)
        return;
    if (has_ended)
        submit_reply_end(s, answer);
    else if (s->is_sync)
        submit_reply_sync_over(s, end);
    else
        submit_reply_accepted(s, answer, false);
    submission_free(s);
}

/* Hold the request, or answer as soon as the task was read. */
static void
follow_task(struct submission *s)
{
    struct exchange *e = s->exchange;
    struct server *server = e->server;
    double seconds = s->is_sync ? (double)config_integer(server->config, CONFIG_REQUEST_TIMEOUT)
                                : s->prefer.wait_seconds;
    struct lookup_answer unknown = {.outcome = LOOKUP_AWAY};

    /* with this task in it, as everything that was sent after the task: Redis keeps the order */
    if (s->model->n_load_asked == s->n_load_asked)
        (void)models_ask_load(server->models, s->model, NULL, NULL);
    if (seconds > 0 &&
        wait_for_task(server->waiters, e, s->model, e->task_id, seconds, on_waited, s) == 0)
        return;
    if (seconds > 0)
        s->prefer.has_wait = s->prefer.respond_async = false; /* not applied, so not claimed */
    if (lookup_task(server->models, server->store, s->model, &e->caller, e->task_id,
            on_new_task_read, s) == 0)
        return;
    submit_reply_accepted(s, &unknown, true);
    submission_free(s);
}

/* How long the queue is, as far as it is known. */
static void
on_backlog_known(void *cookie, bool is_redis_there, const struct queue_load *load)
{
    struct submission *s = cookie;

    (void)is_redis_there; /* the refusal stands without it */
    submit_refuse_full(s, load);
    submission_free(s);
}

static const char why_short[] = "the memory of the task store is nearly used up";

/* Nothing was stored: ${why}, a static text. */
static void
refuse_full(struct submission *s, const char *why)
{
    s->why_full = why;
    if (s->is_unmeetable) /* then there was no room for it to begin with */
        submit_refuse_deadline(s);
    else if (models_ask_load(s->exchange->server->models, s->model, on_backlog_known, s) == 0)
        return;
    else
        submit_refuse_full(s, NULL);
    submission_free(s);
}

/* The submit script answered, or Redis did not: then nobody knows whether it ran. */
static void
on_submitted(void *cookie, const redisReply *reply)
{
    struct submission *s = cookie;
    struct exchange *e = s->exchange;
    struct queue_submitted done;
    struct error err;

    if (reply == NULL) {
        reply_store_unavailable(e);
        goto free_it;
    }
    if (queue_submit_parse(reply, &done, &err) == -1) {
        reply_error(e, &err);
        goto free_it;
    }
    switch (done.outcome) {
    case QUEUE_SUBMITTED:
    case QUEUE_SAME_REQUEST:
    case QUEUE_JOINED_TWIN:
        FAILPOINT(AFTER_SUBMIT, -1);
        memcpy(e->task_id, done.id, sizeof(e->task_id));
        if (s->kind == REQUEST_BATCH)
            s->facts.batch_id = e->task_id;
        s->is_new = done.outcome == QUEUE_SUBMITTED;
        s->is_replay = done.outcome == QUEUE_SAME_REQUEST;
        follow_task(s);
        return;
    case QUEUE_FULL:
        refuse_full(s, s->is_short ? why_short : "the queue of this priority is full");
        return;
    case QUEUE_BYTES_FULL:
        refuse_full(s, "the queue of this model holds as many bytes as it may");
        return;
    case QUEUE_DRAINING:
        refuse_full(s, "the queue takes no new tasks while it is being emptied");
        return;
    case QUEUE_OUT_OF_MEMORY:
        refuse_full(s, "the task store has no memory left");
        return;
    case QUEUE_OTHER_REQUEST:
        submit_refuse_mismatch(e, done.id);
        break;
    case QUEUE_BAD_ARGUMENT:
        error_set(&err, ERR_INVALID, "submit: the script refused its arguments");
        reply_error(e, &err);
        break;
    }
free_it:
    submission_free(s);
}

/* ---- from the body to the script ---- */

/* Send, and keep only what a held request needs: `about`. */
static void
store_tasks(struct submission *s)
{
    struct queue_call call;
    struct error err;

    s->is_short = store_is_full(s->exchange->server->store);
    if (s->is_short && s->scope[0] == '\0') {
        refuse_full(s, why_short);
        return;
    }
    if (submit_build_call(s, &call, &err) == -1)
        goto refuse;
    FAILPOINT(BEFORE_SUBMIT, -1);
    if (store_send(s->exchange->server->store, &call, on_submitted, s) == -1) {
        error_set(&err, ERR_MEMORY, "no memory to store a task");
        goto refuse;
    }
    s->n_load_asked = s->model->n_load_asked;
    for (size_t i = 0; i < s->request.n_series; i++) {
        metrics_observe(METRIC_PREDICTION_INPUT_SIZE, (double)s->request.series[i].task->n_history,
            s->exchange->match.route->pattern);
        task_free(s->request.series[i].task);
        s->request.series[i].task = NULL;
    }
    return;

refuse:
    reply_error(s->exchange, &err);
    submission_free(s);
}

/* How much there is to do is known, as far as it can be: can the deadline be met? */
static void
on_load_known(void *cookie, bool is_redis_there, const struct queue_load *load)
{
    struct submission *s = cookie;
    double finish_seconds;

    if (!is_redis_there) {
        refuse_away(s); /* to ask once more would take as long again */
        return;
    }
    if (load != NULL && submit_estimate(s, load, &finish_seconds) &&
        finish_seconds * 1000 > (double)s->request.deadline_ms) {
        s->is_unmeetable = true;
        s->finish_seconds = finish_seconds;
        if (s->scope[0] == '\0') {
            submit_refuse_deadline(s);
            submission_free(s);
            return;
        }
    }
    store_tasks(s);
}

/* How the client wants to wait; false when it cannot be served that way (answered). */
static bool
choose_waiting(struct submission *s)
{
    struct exchange *e = s->exchange;
    const char *value;

    for (unsigned i = 0; (value = head_field(e->head, "Prefer", i)) != NULL; i++)
        prefer_read(value, &s->prefer);
    s->is_sync = config_bool(e->server->config, CONFIG_SYNC_DEFAULT) && !s->prefer.has_wait &&
                 !s->prefer.respond_async;
    if (s->is_sync && s->model->is_seen && s->model->n_live == 0) {
        reply_refuse(e, 503, "no_worker", "Model not ready");
        return false;
    }
    if (s->is_sync && waiters_room(e->server->waiters) == 0) {
        reply_refuse(e, 503, "too_many_waiters", "too many requests are held already");
        return false;
    }
    return true;
}

/* Who serves the model is known, as far as it can be. */
static void
admit_tasks(struct submission *s)
{
    struct server *server = s->exchange->server;

    if (!choose_waiting(s)) {
        submission_free(s);
        return;
    }
    for (size_t i = 0; s->model->is_seen && s->model->n_live == 0 && i < s->request.n_series; i++)
        task_about_warn(&s->request.series[i].about, "no_worker", "",
            "no worker serves %s now; the task waits for one", s->request.model);
    if (s->request.deadline_ms == 0 || !config_bool(server->config, CONFIG_ADMISSION) ||
        models_ask_load(server->models, s->model, on_load_known, s) == -1)
        store_tasks(s);
}

/* ---- the body, and what must be known to judge it ---- */

static void judge(struct submission *s);

/* The names of the models were read now, or Redis is away. */
static void
on_names_known(void *cookie, bool is_redis_there)
{
    struct submission *s = cookie;

    if (is_redis_there)
        judge(s);
    else
        refuse_away(s); /* there may be such a model */
}

/* The model's workers were looked at now. */
static void
on_fleet_known(void *cookie, const struct queue_fleet *fleet)
{
    on_names_known(cookie, fleet != NULL); /* models.c has noted them */
}

/*
 * What models.c knows is up to a second old. A request that would be refused, or accepted unjudged, for
 * a worker that came since, looks first; true: on_names_known() or on_fleet_known() judges again.
 */
static bool
look_first(struct submission *s)
{
    struct models *models = s->exchange->server->models;
    bool knows_workers;

    if (!store_is_ready(s->exchange->server->store))
        return false;
    if (s->is_model_unknown) {
        if (s->has_read_names)
            return false;
        s->has_read_names = true;
        return models_refresh(models, on_names_known, s) == 0;
    }
    knows_workers =
        s->model == NULL || (s->model->is_seen && s->model->n_live > 0 && s->context > 0);
    if (knows_workers || s->has_read_fleet)
        return false;
    s->has_read_fleet = true;
    return models_ask_fleet(models, s->model, on_fleet_known, s) == 0;
}

/* The body is whole. Called again by whoever looked first. */
static void
judge(struct submission *s)
{
    struct exchange *e = s->exchange;
    struct evbuffer *body = evhttp_request_get_input_buffer(e->http);
    size_t size = evbuffer_get_length(body);
    const char *bytes = size > 0 ? (const char *)evbuffer_pullup(body, -1) : "";
    struct problem problem = {0};
    struct error err;

    if (bytes == NULL) {
        error_set(&err, ERR_MEMORY, "no memory for a request");
        reply_error(e, &err);
        goto free_it;
    }
    /* a look that told of no other context leaves the judgement as it was */
    if ((s->model == NULL || s->model->context != s->context) &&
        submit_read(s, bytes, size, &problem) == -1) {
        if (s->is_model_unknown && look_first(s)) {
            problem_clear(&problem);
            return;
        }
        reply_problem(e, &problem);
        goto free_it;
    }
    if (look_first(s))
        return;
    submit_note_facts(s);
    evbuffer_drain(body, size); /* a held request need not hold its body */
    if (store_is_ready(e->server->store))
        admit_tasks(s);
    else
        refuse_away(s);
    return;

free_it:
    submission_free(s);
}

static void
submit(struct exchange *e, enum request_kind kind)
{
    struct submission *s = calloc(1, sizeof(*s));
    struct error err;

    if (s == NULL) {
        error_set(&err, ERR_MEMORY, "no memory for a request");
        reply_error(e, &err);
        return;
    }
    s->exchange = e;
    s->kind = kind;
    s->created_ms = clock_wall_ms();
    judge(s);
}

void
submit_single(struct exchange *e, const char *param)
{
    (void)param;
    submit(e, REQUEST_SINGLE);
}

void
submit_batch(struct exchange *e, const char *param)
{
    (void)param;
    submit(e, REQUEST_BATCH);
}
