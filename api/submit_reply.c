/*
 * submit_reply.c - What a client hears of its submit.
 *
 * None of these frees the submission; each answers its exchange once.
 */
#include "api/submission.h"

#include "api/server.h"
#include "api/task_reply.h"

#define SUBMIT_FULL_RETRY_SECONDS 5 /* the backlog is not known in seconds */

static void
add_submit_headers(struct submission *s)
{
    char applied[PREFER_APPLIED_MAX];

    if (!s->is_sync && prefer_applied(&s->prefer, applied))
        reply_header(s->exchange, "Preference-Applied", applied);
    if (s->is_replay)
        reply_header(s->exchange, "Idempotency-Replayed", "true");
}

static void
add_location(struct submission *s)
{
    char url[TASK_URL_MAX];

    task_url(s->exchange->task_id, "", url);
    reply_header(s->exchange, "Location", url);
}

void
submit_reply_accepted(struct submission *s, const struct lookup_answer *answer)
{
    struct exchange *e = s->exchange;
    struct task_document d = {.id = e->task_id, .model = s->model->queue.model};
    struct error err;

    if (answer->outcome == LOOKUP_FOUND) {
        if (task_document_open(&d, e->task_id, d.model, answer->view, &err) == -1) {
            reply_error(e, &err);
            return;
        }
        add_location(s);
        add_submit_headers(s);
        task_reply_opened(e, 202, &d, true);
        task_document_close(&d);
        return;
    }
    if (!s->is_new) {
        task_reply_other(e, answer);
        return;
    }
    d.about = s->request.series[0].about; /* borrowed: not closed here */
    d.view = (struct queue_task_view){.found = true,
        .status = TASK_QUEUED,
        .priority = s->request.priority,
        .created_ms = s->created_ms,
        .deadline_ms = s->request.deadline_ms > 0 ? s->created_ms + s->request.deadline_ms : 0,
        .position = TASK_POSITION_UNKNOWN};
    add_location(s);
    add_submit_headers(s);
    task_reply_opened(e, 202, &d, true);
}

void
submit_reply_end(struct submission *s, const struct lookup_answer *answer)
{
    struct exchange *e = s->exchange;
    struct problem problem = {0};
    struct task_document d;
    struct json_out body;
    struct error err;
    char url[TASK_URL_MAX];

    if (task_document_open(&d, e->task_id, s->model->queue.model, answer->view, &err) == -1) {
        reply_error(e, &err);
        return;
    }
    add_submit_headers(s);
    if (d.result != NULL) {
        task_url(e->task_id, "result", url);
        reply_header(e, "Content-Location", url);
        reply_header(e, "Cache-Control", "no-store");
        reply_header(e, "Vary", "Accept, Prefer");
        json_out_init(&body);
        task_result_write(&d, NULL, &body);
        reply_json(e, 200, &body);
    } else {
        add_location(s);
        task_problem_of_end(&d, &problem);
        reply_problem(e, &problem);
    }
    task_document_close(&d);
}

void
submit_reply_sync_over(struct submission *s, enum wait_end end)
{
    struct exchange *e = s->exchange;
    struct problem problem = {0};

    if (end == WAIT_STOPPING)
        problem_set(&problem, 503, "shutting_down", "the server stops; the task goes on");
    else
        problem_set(&problem, 504, "wait_timeout", "Prediction timeout after %lld seconds",
            (long long)config_integer(e->server->config, CONFIG_REQUEST_TIMEOUT));
    problem_extra(&problem, "task_id", cJSON_CreateString(e->task_id));
    add_location(s);
    reply_problem(e, &problem);
}

void
submit_refuse_full(struct exchange *e, const char *why)
{
    struct problem problem = {0};

    problem_set(&problem, 503, "queue_full", "%s", why);
    problem.retry_after = SUBMIT_FULL_RETRY_SECONDS;
    reply_problem(e, &problem);
}

void
submit_refuse_mismatch(struct exchange *e, const char *first_id)
{
    struct problem problem = {0};

    problem_fault(
        &problem, &(struct problem_fault){.code = "idempotency_mismatch",
                      .type = "value_error",
                      .message = "Value error, the Idempotency-Key was used for another request",
                      .detail = "the Idempotency-Key was used for another request",
                      .pointer = "header"});
    problem.code = "idempotency_mismatch";
    problem_extra(&problem, "task_id", cJSON_CreateString(first_id));
    reply_problem(e, &problem);
}
