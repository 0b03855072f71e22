/*
 * submit_reply.c - What a client hears of its submit.
 *
 * None of these frees the submission; each answers its exchange once.
 */
#include "api/submission.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/document/batch_document.h"
#include "api/server.h"
#include "api/task_reply.h"

#define SUBMIT_FULL_RETRY_SECONDS     5 /* the backlog is not known in seconds */
#define SUBMIT_FULL_RETRY_MAX_SECONDS 300

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

/* Its view when nothing more is known than that it was stored. */
static struct queue_task_view
stored_view(const struct submission *s)
{
    return (struct queue_task_view){.found = true,
        .status = TASK_QUEUED,
        .priority = s->request.priority,
        .created_ms = s->created_ms,
        .deadline_ms = s->request.deadline_ms > 0 ? s->created_ms + s->request.deadline_ms : 0,
        .position = TASK_POSITION_UNKNOWN,
        .hook.outcome = s->request.webhook.url != NULL ? QUEUE_HOOK_PENDING : QUEUE_HOOK_NONE};
}

/* 202 with what this request knows of its own task. `about` is borrowed from the request. */
static void
reply_unread(struct submission *s)
{
    struct exchange *e = s->exchange;
    const struct request_series *series = s->request.series;
    struct task_document d = {.id = e->task_id, .model = s->model->queue.model};
    struct error err;

    if (s->kind == REQUEST_SINGLE) {
        d.about = series[0].about;
    } else {
        if (batch_document_new(&d, d.id, d.model, s->request.n_series, &err) == -1) {
            reply_error(e, &err);
            return;
        }
        for (size_t i = 0; i < d.n_members; i++) {
            memcpy(d.member_ids[i], s->task_ids[i], sizeof(d.member_ids[i]));
            d.members[i].about = series[i].about;
            d.members[i].view = stored_view(s);
        }
    }
    d.view = stored_view(s);
    if (s->kind == REQUEST_BATCH)
        batch_document_sum_up(&d);
    add_location(s);
    add_submit_headers(s);
    task_reply_opened(e, 202, &d, true);
    for (size_t i = 0; i < d.n_members; i++)
        d.members[i].about = (struct task_about){0};
    d.about = (struct task_about){0};
    task_document_close(&d);
}

void
submit_reply_accepted(struct submission *s, const struct lookup_answer *answer, bool as_new)
{
    struct exchange *e = s->exchange;
    struct task_document d;

    if (answer->outcome != LOOKUP_FOUND) {
        if (s->is_new)
            reply_unread(s);
        else
            task_reply_other(e, answer);
        return;
    }
    if (task_reply_open(e, answer, &d) == -1)
        return;
    if (as_new && s->is_new)
        task_document_as_new(&d);
    add_location(s);
    add_submit_headers(s);
    task_reply_opened(e, 202, &d, true);
    task_document_close(&d);
}

void
submit_reply_end(struct submission *s, const struct lookup_answer *answer)
{
    struct exchange *e = s->exchange;
    struct problem problem = {0};
    struct task_document d;
    struct json_out body;
    char url[TASK_URL_MAX];

    if (task_reply_open(e, answer, &d) == -1)
        return;
    if (d.view.started_ms > 0) {
        s->facts.queue_time_ms = d.view.started_ms - d.view.created_ms;
        s->facts.model_inference_ms = d.view.finished_ms - d.view.started_ms;
    }
    add_submit_headers(s);
    if (d.view.status == TASK_COMPLETED) {
        task_url(e->task_id, "result", url);
        reply_header(e, "Content-Location", url);
        reply_header(e, "Cache-Control", "no-store");
        reply_header(e, "Vary", "Accept, Prefer");
        reply_body(e, &body);
        task_data_write(&d, NULL, &body);
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

    s->facts.timeout_seconds = config_integer(e->server->config, CONFIG_REQUEST_TIMEOUT);
    if (end == WAIT_STOPPING)
        problem_set(&problem, 503, "shutting_down", "the server stops; the task goes on");
    else
        problem_set(&problem, 504, "wait_timeout", "%s timeout after %lld seconds",
            s->kind == REQUEST_BATCH ? "Batch prediction" : "Prediction",
            (long long)s->facts.timeout_seconds);
    problem_extra(&problem, "task_id", cJSON_CreateString(e->task_id));
    add_location(s);
    reply_problem(e, &problem);
}

void
submit_refuse_full(struct submission *s, const struct queue_load *load)
{
    double backlog = load != NULL ? queue_backlog_seconds(load, s->request.priority) : -1;
    struct problem problem = {0};

    problem_set(&problem, 503, "queue_full", "%s", s->why_full);
    if (backlog < 0)
        problem.retry_after = SUBMIT_FULL_RETRY_SECONDS;
    else if (backlog < SUBMIT_FULL_RETRY_MAX_SECONDS)
        problem.retry_after = backlog > 1 ? (int)ceil(backlog) : 1;
    else
        problem.retry_after = SUBMIT_FULL_RETRY_MAX_SECONDS;
    reply_problem(s->exchange, &problem);
}

void
submit_refuse_deadline(struct submission *s)
{
    double finish_seconds = round(s->finish_seconds * 1000) / 1000;
    struct problem problem = {0};
    char detail[128], message[160];

    snprintf(detail, sizeof(detail), "must be at least %.3f, when it will be done, is %.3f",
        finish_seconds, (double)s->request.deadline_ms / 1000);
    snprintf(message, sizeof(message), "Value error, %s", detail);
    problem_fault(&problem, &(struct problem_fault){.code = "deadline_unmeetable",
                                .type = "value_error",
                                .message = message,
                                .detail = detail,
                                .pointer = "#/deadline_seconds"});
    problem.code = "deadline_unmeetable";
    problem_extra(&problem, "estimated_finish_seconds", cJSON_CreateNumber(finish_seconds));
    reply_problem(s->exchange, &problem);
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
