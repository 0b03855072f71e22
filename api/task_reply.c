/*
 * task_reply.c - What was looked up of a task -> a reply.
 */
#include "api/task_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/accept.h"
#include "common/document/batch_document.h"
#include "api/media.h"
#include "api/server.h"
#include "common/clock.h"

/* The task was there; its tombstone says how it ended. */
static void
refuse_gone(struct exchange *e, const struct queue_task_view *view)
{
    struct problem problem = {0};
    char finished_at[CLOCK_RFC3339_MAX];

    problem_set(&problem, 410, "result_expired", "the task has ended and its life is over");
    problem_extra(&problem, "task_id", cJSON_CreateString(e->task_id));
    clock_format_ms(view->finished_ms, finished_at);
    problem_extra(&problem, "finished_at", cJSON_CreateString(finished_at));
    problem_extra(&problem, "task_status", cJSON_CreateString(task_status_name(view->status)));
    reply_problem(e, &problem);
}

void
task_reply_other(struct exchange *e, const struct lookup_answer *answer)
{
    switch (answer->outcome) {
    case LOOKUP_GONE:
        refuse_gone(e, answer->view);
        break;
    case LOOKUP_FAILED:
        reply_error(e, answer->error);
        break;
    case LOOKUP_AWAY:
        reply_store_unavailable(e);
        break;
    case LOOKUP_FOUND:
    case LOOKUP_ABSENT:
        reply_refuse(e, 404, "task_not_found", "there is no task of this id");
        break;
    }
}

int
task_reply_open(struct exchange *e, const struct lookup_answer *answer, struct task_document *d)
{
    struct error err;
    int status;

    if (answer->outcome != LOOKUP_FOUND) {
        task_reply_other(e, answer);
        return -1;
    }
    if (answer->batch != NULL)
        status = batch_document_open(
            d, e->task_id, answer->model->queue.model, answer->batch, answer->with_results, &err);
    else
        status = task_document_open(d, e->task_id, answer->model->queue.model, answer->view, &err);
    if (status == -1) {
        reply_error(e, &err);
        return -1;
    }
    task_document_estimate(d, models_load(answer->model));
    return 0;
}

static void
add_document_headers(struct exchange *e, const struct task_document *d)
{
    int retry_after = task_retry_after(d);
    char seconds[16];

    reply_header(e, "Cache-Control", "no-store");
    reply_header(e, "Vary", "Accept, Prefer");
    if (retry_after > 0) {
        snprintf(seconds, sizeof(seconds), "%d", retry_after);
        reply_header(e, "Retry-After", seconds);
    }
}

void
task_reply_opened(struct exchange *e, int status, const struct task_document *d, bool with_data)
{
    struct json_out body;

    reply_body(e, &body);
    task_document_write(d, with_data, &body);
    add_document_headers(e, d);
    reply_json(e, status, &body);
}

void
task_reply_document(
    struct exchange *e, int status, const struct lookup_answer *answer, bool with_data)
{
    struct task_document d;

    if (task_reply_open(e, answer, &d) == -1)
        return;
    task_reply_opened(e, status, &d, with_data);
    task_document_close(&d);
}

struct reading {
    struct exchange *exchange;
    int status;
};

/* The task was read. */
static void
on_task_read(void *cookie, const struct lookup_answer *answer)
{
    struct reading *r = cookie;

    task_reply_document(r->exchange, r->status, answer, true);
    free(r);
}

void
task_reply_read(struct exchange *e, int status, struct model *model)
{
    struct reading *r = malloc(sizeof(*r));
    struct error err;

    if (r != NULL) {
        *r = (struct reading){.exchange = e, .status = status};
        if (lookup_results(e->server->models, e->server->store, model, &e->caller, e->task_id,
                on_task_read, r) == 0)
            return;
        free(r);
    }
    error_set(&err, ERR_MEMORY, "no memory to look a task up");
    reply_error(e, &err);
}

/* The task's own error as a member of a problem; NULL without memory. */
static cJSON *
error_of(const struct task_document *d)
{
    struct json_out out;
    cJSON *json = NULL;

    json_out_init(&out);
    task_document_error_write(d, NULL, &out);
    if (!out.failed)
        json = cJSON_ParseWithLength(out.text, out.len);
    json_out_clear(&out);
    return json;
}

void
task_problem_of_end(const struct task_document *d, struct problem *problem)
{
    cJSON *error = error_of(d);
    const cJSON *detail = cJSON_GetObjectItemCaseSensitive(error, "detail");
    const char *text = cJSON_IsString(detail) ? detail->valuestring : "the task has no result";

    if (d->view.status == TASK_CANCELLED)
        problem_set(problem, 409, "task_cancelled", "%s", text);
    else if (d->view.status == TASK_EXPIRED)
        problem_set(problem, 504, "deadline_exceeded", "%s", text);
    else
        problem_set(problem, 500, "task_failed", "%s", text);
    problem_extra(problem, "task_id", cJSON_CreateString(d->id));
    problem_extra(problem, "task_error", error);
}

/* ---- /result ---- */

static void
refuse_result(struct exchange *e, const struct task_document *d)
{
    const char *status = task_status_name(d->view.status);
    struct problem problem = {0};

    if (task_status_is_terminal(d->view.status)) {
        problem_set(&problem, 409, "no_result", "the task is %s and has no result", status);
        problem_extra(&problem, "task_error", error_of(d));
    } else {
        problem_set(&problem, 409, "not_finished", "task is %s, step %u of %u", status,
            (unsigned)d->view.step, (unsigned)d->about.n_horizon);
        problem.retry_after = task_retry_after(d);
    }
    problem_extra(&problem, "task_id", cJSON_CreateString(d->id));
    problem_extra(&problem, "task_status", cJSON_CreateString(status));
    reply_problem(e, &problem);
}

static void
add_result_headers(struct exchange *e, const struct task_document *d, const char *etag)
{
    int64_t left_ms = d->view.finished_ms + d->view.result_ttl_ms - d->view.now_ms;
    char text[64];

    reply_header(e, "ETag", etag);
    snprintf(
        text, sizeof(text), "private, max-age=%lld", (long long)(left_ms > 0 ? left_ms / 1000 : 0));
    reply_header(e, "Cache-Control", text);
    reply_header(e, "Vary", "Accept, Prefer");
}

static void
send_result(struct exchange *e, const struct task_document *d, enum accept_form form)
{
    struct json_out body;
    struct error err;
    char *text;
    size_t len;

    if (form != ACCEPT_CSV) {
        reply_body(e, &body);
        task_data_write(d, NULL, &body);
        reply_json(e, 200, &body);
    } else if (task_data_write_csv(d, &text, &len) == 0) {
        reply_bytes(e, 200, MEDIA_CSV "; charset=utf-8; header=present", text, len);
    } else {
        error_set(&err, ERR_MEMORY, "no memory for a reply");
        reply_error(e, &err);
    }
}

void
task_reply_result(struct exchange *e, const struct lookup_answer *answer)
{
    enum accept_form form = accept_choose(e->head, ACCEPT_JSON | ACCEPT_MSGPACK | ACCEPT_CSV);
    struct task_document d;
    char etag[ID_LEN + sizeof("\".msgpack\"")];

    if (task_reply_open(e, answer, &d) == -1)
        return;
    if (!task_status_is_terminal(d.view.status) || !task_document_has_result(&d)) {
        refuse_result(e, &d);
        goto close_document;
    }
    snprintf(etag, sizeof(etag), "\"%s.%s\"", d.id, accept_suffix(form));
    add_result_headers(e, &d, etag);
    if (reply_is_known(e, etag))
        reply_nothing(e, 304);
    else
        send_result(e, &d, form);

close_document:
    task_document_close(&d);
}
