/*
 * submit.c - POST /v1/predict/single: a body becomes a queued task.
 *
 *   judge body -> store (one script) -> read the task -> 202
 *                                    `-> hold (Prefer: wait, sync mode) -> 200, 202, 504
 *
 * From the moment the task is stored the client gets its id, whatever happens after: a
 * refusal then would make it submit twice.
 */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/lookup.h"
#include "api/media.h"
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

#define SUBMIT_CONTEXT_UNKNOWN 512 /* C of a model no worker has told about: that of Kronos */

static void
submission_free(struct submission *s)
{
    request_clear(&s->request);
    free(s);
}

/* ---- what the body may leave out ---- */

static bool
model_known(void *cookie, const char *name, uint32_t *context)
{
    const struct server *server = cookie;
    const struct model *model = models_find(server->models, name);

    if (model == NULL)
        return false;
    *context = model->context;
    return true;
}

static uint64_t
draw_seed(void *cookie)
{
    uint64_t seed;

    (void)cookie;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        seed = (uint64_t)clock_wall_ms(); /* cannot fail for so few bytes once the pool is up */
    return seed & TASK_SEED_MAX;
}

static struct request_rules
rules_of(struct server *server)
{
    const struct config *c = server->config;

    return (struct request_rules){
        .default_model = config_text(c, CONFIG_DEFAULT_MODEL),
        .temperature = config_number(c, CONFIG_DEFAULT_TEMPERATURE),
        .top_p = config_number(c, CONFIG_DEFAULT_TOP_P),
        .top_k = (uint32_t)config_integer(c, CONFIG_DEFAULT_TOP_K),
        .sample_count = (uint32_t)config_integer(c, CONFIG_DEFAULT_SAMPLE_COUNT),
        .result_ttl_seconds = config_integer(c, CONFIG_RESULT_TTL),
        .webhook_enabled = false, /* nothing delivers yet: say so rather than stay silent */
        .model_known = model_known,
        .draw_seed = draw_seed,
        .cookie = server,
    };
}

/* ---- after the task is stored ---- */

/* A new task is `queued` to the client that made it, even if a worker was faster. */
static void
on_new_task_read(void *cookie, const struct lookup_answer *answer)
{
    struct submission *s = cookie;
    struct lookup_answer shown = *answer;
    struct queue_task_view view;

    if (s->is_new && answer->outcome == LOOKUP_FOUND) {
        view = *answer->view;
        view.status = TASK_QUEUED;
        view.position = view.position > 0 ? view.position : 1;
        view.attempts = view.step = 0;
        view.started_ms = view.finished_ms = 0;
        shown.view = &view;
    }
    submit_reply_accepted(s, &shown);
    submission_free(s);
}

/* The hold is over. */
static void
on_waited(void *cookie, enum wait_end end, const struct lookup_answer *answer)
{
    struct submission *s = cookie;

    if (answer->outcome == LOOKUP_FOUND && task_status_is_terminal(answer->view->status))
        submit_reply_end(s, answer);
    else if (s->is_sync)
        submit_reply_sync_over(s, end);
    else
        submit_reply_accepted(s, answer);
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

    if (seconds > 0 &&
        wait_for_task(server->waiters, e, s->model, e->task_id, seconds, on_waited, s) == 0)
        return;
    if (seconds > 0)
        s->prefer.has_wait = s->prefer.respond_async = false; /* not applied, so not claimed */
    if (lookup_task(server->models, server->store, s->model, e->task_id, on_new_task_read, s) == 0)
        return;
    submit_reply_accepted(s, &unknown);
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
        s->is_new = done.outcome == QUEUE_SUBMITTED;
        s->is_replay = done.outcome == QUEUE_SAME_REQUEST;
        follow_task(s);
        return;
    case QUEUE_FULL:
        submit_refuse_full(e, "the queue of this priority is full");
        break;
    case QUEUE_BYTES_FULL:
        submit_refuse_full(e, "the queue of this model holds as many bytes as it may");
        break;
    case QUEUE_DRAINING:
        submit_refuse_full(e, "the queue takes no new tasks while it is being emptied");
        break;
    case QUEUE_OUT_OF_MEMORY:
        submit_refuse_full(e, "the task store has no memory left");
        break;
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

/* Encode and send; 0, or -1 with ${err} and nothing sent. */
static int
send_task(struct submission *s, struct error *err)
{
    const struct request_series *r = &s->request.series[0];
    const struct config *config = s->exchange->server->config;
    struct task_bytes input = {0}, about = {0};
    struct queue_call call;
    char id[ID_LEN + 1];
    uint32_t context = s->model->context != 0 ? s->model->context : SUBMIT_CONTEXT_UNKNOWN;
    struct task_cost cost = task_cost(r->task->n_history, r->task->n_horizon,
        r->task->params.sample_count, r->task->params.context_mode, context);
    int status = -1;

    id_new(id);
    if (task_encode(r->task, &input, err) == -1)
        return -1;
    if (task_about_encode(&r->about, &about, err) == -1)
        goto free_input;
    struct queue_series series = {
        .task_id = id,
        .prefill_tokens = cost.prefill_tokens,
        .decode_steps = cost.decode_steps,
        .input = input.data,
        .input_size = input.size,
        .about = about.data,
        .about_size = about.size,
    };
    struct queue_submission submission = {
        .id = id,
        .priority = s->request.priority,
        .owner = SERVER_OWNER,
        .idempotency = s->scope[0] != '\0' ? s->scope : NULL,
        .digest = s->digest,
        .result_ttl_ms = s->request.result_ttl_ms,
        .idem_ttl_ms = QUEUE_IDEM_TTL_MS,
        .deadline_in_ms = s->request.deadline_ms,
        .max_attempts = QUEUE_MAX_ATTEMPTS,
        .max_queued = config_integer(config, CONFIG_QUEUE_MAX_TASKS),
        .max_bytes = config_integer(config, CONFIG_QUEUE_MAX_MB) * 1024 * 1024,
        .n_series = 1,
        .series = &series,
    };
    if (queue_submit_call(&s->model->queue, &submission, &call, err) == -1)
        goto free_about;
    FAILPOINT(BEFORE_SUBMIT, -1);
    if (store_send(s->exchange->server->store, &call, on_submitted, s) == -1) {
        error_set(err, ERR_MEMORY, "no memory to store a task");
        goto free_about;
    }
    status = 0;

free_about:
    free(about.data);
free_input:
    free(input.data);
    return status;
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
store_task(struct submission *s)
{
    struct request_series *series = &s->request.series[0];
    struct error err;

    if (!choose_waiting(s)) {
        submission_free(s);
        return;
    }
    if (s->model->is_seen && s->model->n_live == 0)
        task_about_warn(&series->about, "no_worker", "",
            "no worker serves %s now; the task waits for one", s->request.model);
    if (send_task(s, &err) == -1) {
        reply_error(s->exchange, &err);
        submission_free(s);
        return;
    }
    /* the input is encoded; a held request needs no more than `about` */
    task_free(series->task);
    series->task = NULL;
}

/* The first look at the model's workers was taken, just after the process started. */
static void
on_fleet_seen(void *cookie, const struct queue_fleet *fleet)
{
    (void)fleet; /* models.c has noted it */
    store_task(cookie);
}

/* Judge the body; 0, or -1 with ${problem}. */
static int
judge_body(struct submission *s, const char *bytes, size_t size, struct problem *problem)
{
    struct exchange *e = s->exchange;
    struct request_rules rules = rules_of(e->server);
    bool is_msgpack = media_form(head_field(e->head, "Content-Type", 0)) == MEDIA_FORM_MSGPACK;
    char key[IDEMPOTENCY_KEY_MAX + 1];
    struct error err;

    if (request_read_body(bytes, size, is_msgpack ? REQUEST_MSGPACK : REQUEST_JSON, &rules,
            &s->request, problem) == -1 ||
        idempotency_key(e->head, key, problem) == -1)
        return -1;
    s->model = models_find(e->server->models, s->request.model);
    if (s->model != NULL &&
        idempotency_fingerprint(head_path(e->head), is_msgpack ? MEDIA_MSGPACK : MEDIA_JSON, bytes,
            size, s->digest, &err) == 0 &&
        (key[0] == '\0' || idempotency_scope(SERVER_OWNER, key, s->scope, &err) == 0))
        return 0;
    log_error("api.submit", "a judged request cannot be stored",
        LOG_TEXT("request_id", e->request_id), LOG_TEXT("model", s->request.model));
    return problem_set(problem, 500, "internal", "the request failed inside; the log tells why");
}

/* POST /v1/predict/single arrived, whole; on_submitted() goes on. */
void
submit_single(struct exchange *e, const char *param)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(e->http);
    size_t size = evbuffer_get_length(body);
    const char *bytes = size > 0 ? (const char *)evbuffer_pullup(body, -1) : "";
    struct server *server = e->server;
    struct submission *s = calloc(1, sizeof(*s));
    struct problem problem = {0};
    struct error err;

    (void)param;
    if (s == NULL || bytes == NULL) {
        free(s);
        error_set(&err, ERR_MEMORY, "no memory for a request");
        reply_error(e, &err);
        return;
    }
    s->exchange = e;
    s->created_ms = clock_wall_ms();
    if (judge_body(s, bytes, size, &problem) == -1) {
        reply_problem(e, &problem);
        submission_free(s);
        return;
    }
    evbuffer_drain(body, size); /* a held request need not hold its body */
    if (!store_is_ready(server->store)) {
        reply_store_unavailable(e);
        submission_free(s);
        return;
    }
    if (s->model->is_seen || models_ask_fleet(server->models, s->model, on_fleet_seen, s) == -1)
        store_task(s);
}
