/*
 * task_document.c - What a client is shown of a task, as JSON.
 *
 * Members and their order are those of schemas/openapi.yaml; every member is always there.
 */
#include "common/document/task_document.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/document/batch_document.h"
#include "common/clock.h"
#include "common/utf8.h"

#define RETRY_AFTER_UNKNOWN_SECONDS 5
#define RETRY_AFTER_MAX_SECONDS     60

void
task_url(const char *id, const char *part, char *url)
{
    snprintf(url, TASK_URL_MAX, "/v1/tasks/%s%s%s", id, part[0] != '\0' ? "/" : "", part);
}

int
task_document_open(struct task_document *d, const char *id, const char *model,
    const struct queue_task_view *view, struct error *err)
{
    return task_document_open_part(d, id, model, view, true, err);
}

int
task_document_open_part(struct task_document *d, const char *id, const char *model,
    const struct queue_task_view *view, bool with_result, struct error *err)
{
    *d = (struct task_document){.id = id, .model = model, .view = *view};
    if (task_about_decode(view->about, view->about_size, &d->about, err) == -1)
        return -1;
    if (view->status != TASK_COMPLETED || !with_result)
        return 0;
    if (view->output == NULL) {
        error_set(err, ERR_CORRUPT, "stored task: completed without an output");
        goto clear_about;
    }
    if ((d->result = result_decode(view->output, view->output_size, err)) == NULL)
        goto clear_about;
    return 0;

clear_about:
    task_about_clear(&d->about);
    return -1;
}

void
task_document_close(struct task_document *d)
{
    if (d->members != NULL) /* the first of them lends its metadata */
        d->about = (struct task_about){0};
    for (size_t i = 0; i < d->n_members; i++)
        task_document_close(&d->members[i]);
    free(d->members);
    free(d->member_ids);
    d->members = NULL;
    d->member_ids = NULL;
    d->n_members = 0;
    task_about_clear(&d->about);
    result_free(d->result);
    d->result = NULL;
}

void
task_document_as_new(struct task_document *d)
{
    struct queue_task_view *v = &d->view;

    for (size_t i = 0; i < d->n_members; i++)
        task_document_as_new(&d->members[i]);
    if (task_status_is_terminal(v->status)) { /* faster than anything could be estimated */
        d->has_estimate = true;
        d->start_seconds = d->finish_seconds = 0;
    }
    result_free(d->result);
    d->result = NULL;
    v->status = TASK_QUEUED;
    v->position = v->position > 0 ? v->position : 1;
    v->attempts = v->step = 0;
    v->started_ms = v->finished_ms = 0;
    if (d->members != NULL)
        batch_document_sum_up(d);
}

bool
task_document_has_result(const struct task_document *d)
{
    for (size_t i = 0; i < d->n_members; i++) {
        if (d->members[i].result != NULL)
            return true;
    }
    return d->result != NULL;
}

/* ---- estimates ---- */

struct queue_work
task_document_work(const struct task_document *d)
{
    const struct queue_task_view *v = &d->view;

    return (struct queue_work){
        .priority = v->priority,
        .position = v->position > 0 ? v->position : 0,
        .is_running = v->status == TASK_PROCESSING,
        .prefill_tokens = v->prefill_tokens,
        .horizon = d->about.n_horizon,
        .samples = d->about.sample_count,
        .step = v->step,
    };
}

void
task_document_estimate(struct task_document *d, const struct queue_load *load)
{
    struct queue_work work;

    d->has_estimate = false;
    if (load == NULL || task_status_is_terminal(d->view.status))
        return;
    work = task_document_work(d);
    d->has_estimate = d->members != NULL
                          ? batch_document_estimate(d, load, &d->start_seconds, &d->finish_seconds)
                          : queue_estimate(load, &work, &d->start_seconds, &d->finish_seconds);
}

int
task_retry_after(const struct task_document *d)
{
    if (task_status_is_terminal(d->view.status))
        return 0;
    if (!d->has_estimate)
        return RETRY_AFTER_UNKNOWN_SECONDS;
    if (!(d->finish_seconds < RETRY_AFTER_MAX_SECONDS))
        return RETRY_AFTER_MAX_SECONDS;
    return d->finish_seconds > 1 ? (int)ceil(d->finish_seconds) : 1;
}

/* ---- errors ---- */

/* What a client may know of each code; the stored text is used where it is fit to be shown. */
static const struct {
    const char *code;
    const char *detail;
    bool retryable; /* the same request may well succeed */
} endings[] = {
    {"inference_failed", "the forecast could not be computed", true},
    {"non_finite_output", "the forecast has values that are not finite", false},
    {"worker_lost", "workers died while running this task", true},
    {"run_timeout", "the forecast took longer than a run may take", false},
    {"input_corrupt", "the stored request cannot be read", false},
    {"batch_member_failed", "a member of the batch failed", false},
    {"cancelled_by_client", "cancelled by the client", false},
    {"deadline_exceeded", "the deadline passed before the task was completed", true},
    {"queue_timeout", "the task waited too long in the queue", true},
};

struct ending {
    const char *code;
    const char *detail;
    size_t code_len, detail_len;
    bool retryable;
};

/* Is it UTF-8 without control characters, and not empty? */
static bool
is_showable(const char *text, size_t len)
{
    if (text == NULL || len == 0 || !utf8_is_valid(text, len))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    return true;
}

static struct ending
find_ending(const struct task_document *d)
{
    const struct queue_task_view *v = &d->view;
    struct ending e = {.code = v->error_code, .code_len = v->error_code_len};
    const char *detail = "the task ended without a result";

    if (!is_showable(e.code, e.code_len)) {
        e.code = task_status_name(v->status);
        e.code_len = strlen(e.code);
    }
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (e.code_len == strlen(endings[i].code) &&
            memcmp(e.code, endings[i].code, e.code_len) == 0) {
            e.retryable = endings[i].retryable;
            detail = endings[i].detail;
        }
    e.detail = detail;
    e.detail_len = strlen(detail);
    if (is_showable(v->error_text, v->error_text_len)) {
        e.detail = v->error_text;
        e.detail_len = v->error_text_len;
    }
    return e;
}

static bool
has_ended_badly(const struct task_document *d)
{
    return task_status_is_terminal(d->view.status) && d->view.status != TASK_COMPLETED;
}

void
task_document_error_write(const struct task_document *d, const char *name, struct json_out *out)
{
    struct ending e;

    if (!has_ended_badly(d)) { /* the last error of a task that is tried again is nobody's yet */
        json_out_null(out, name);
        return;
    }
    e = find_ending(d);
    json_out_open(out, name, '{');
    json_out_text_n(out, "code", e.code, e.code_len);
    json_out_text_n(out, "detail", e.detail, e.detail_len);
    json_out_bool(out, "retryable", e.retryable);
    json_out_close(out, '}');
}

/* ---- parts of the document ---- */

static void
write_time(struct json_out *out, const char *name, int64_t ms)
{
    char text[CLOCK_RFC3339_MAX];

    if (ms == 0) {
        json_out_null(out, name);
        return;
    }
    clock_format_ms(ms, text);
    json_out_text(out, name, text);
}

static void
write_warning(struct json_out *out, const struct task_warning *w)
{
    json_out_open(out, NULL, '{');
    json_out_text(out, "code", w->code);
    json_out_text(out, "detail", w->detail);
    if (w->pointer[0] != '\0')
        json_out_text(out, "pointer", w->pointer);
    json_out_close(out, '}');
}

void
task_warnings_write(const struct task_document *d, struct json_out *out)
{
    json_out_open(out, "warnings", '[');
    for (uint32_t i = 0; i < d->about.n_warnings; i++)
        write_warning(out, &d->about.warnings[i]);
    for (uint32_t i = 0; d->result != NULL && i < d->result->n_warnings; i++)
        write_warning(out, &d->result->warnings[i]);
    json_out_close(out, ']');
}

/* To the millisecond: more digits would claim what an average cannot know. */
static void
write_seconds(struct json_out *out, const char *name, double seconds)
{
    json_out_double(out, name, round(seconds * 1000) / 1000);
}

static void
write_queue(const struct task_document *d, struct json_out *out)
{
    const struct queue_task_view *v = &d->view;

    if (task_status_is_terminal(v->status)) {
        json_out_null(out, "queue");
        return;
    }
    json_out_open(out, "queue", '{');
    if (v->status == TASK_PROCESSING)
        json_out_integer(out, "position", 0);
    else if (v->position == TASK_POSITION_UNKNOWN)
        json_out_null(out, "position");
    else
        json_out_integer(out, "position", v->position);
    if (v->status == TASK_PROCESSING)
        json_out_integer(out, "estimated_start_seconds", 0);
    else if (d->has_estimate)
        write_seconds(out, "estimated_start_seconds", d->start_seconds);
    else
        json_out_null(out, "estimated_start_seconds");
    if (d->has_estimate)
        write_seconds(out, "estimated_finish_seconds", d->finish_seconds);
    else
        json_out_null(out, "estimated_finish_seconds");
    json_out_close(out, '}');
}

static void
write_steps(const struct task_document *d, struct json_out *out)
{
    uint32_t step = d->view.step;

    if (d->view.status == TASK_COMPLETED || step > d->about.n_horizon)
        step = d->about.n_horizon; /* the stored step is that of the last heartbeat */
    json_out_integer(out, "step", step);
    json_out_integer(out, "total", d->about.n_horizon);
}

static void
write_progress(const struct task_document *d, struct json_out *out)
{
    json_out_open(out, "progress", '{');
    write_steps(d, out);
    json_out_close(out, '}');
}

void
task_progress_write(const struct task_document *d, struct json_out *out)
{
    json_out_open(out, NULL, '{');
    json_out_text(out, "task_id", d->id);
    write_steps(d, out);
    write_queue(d, out);
    json_out_close(out, '}');
}

/* Only when the request had one and there is something to say of it. */
static void
write_webhook(const struct task_document *d, struct json_out *out)
{
    const struct queue_hook_view *hook = &d->view.hook;

    if (hook->outcome == QUEUE_HOOK_NONE)
        return;
    json_out_open(out, "webhook", '{');
    json_out_text(out, "state", queue_hook_outcome_name(hook->outcome));
    json_out_integer(out, "attempts", hook->attempts);
    if (hook->last_status != 0)
        json_out_integer(out, "last_status", hook->last_status);
    else
        json_out_null(out, "last_status");
    json_out_text(out, "last_error", hook->last_error[0] != '\0' ? hook->last_error : NULL);
    write_time(out, "next_at", hook->outcome == QUEUE_HOOK_PENDING ? hook->next_ms : 0);
    json_out_close(out, '}');
}

static void
write_urls(const struct task_document *d, struct json_out *out)
{
    static const struct {
        const char *name, *part;
    } urls[] = {{"self", ""}, {"result", "result"}, {"events", "events"}, {"cancel", "cancel"}};
    char url[TASK_URL_MAX];

    json_out_open(out, "urls", '{');
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        task_url(d->id, urls[i].part, url);
        json_out_text(out, urls[i].name, url);
    }
    json_out_close(out, '}');
}

void
task_data_write(const struct task_document *d, const char *name, struct json_out *out)
{
    if (d->members != NULL)
        batch_results_write(d, name, out);
    else
        task_result_write(d, name, out);
}

void
task_document_write(const struct task_document *d, bool with_data, struct json_out *out)
{
    const struct queue_task_view *v = &d->view;

    json_out_open(out, NULL, '{');
    json_out_text(out, "task_id", d->id);
    if (v->group[0] != '\0')
        json_out_text(out, "batch_id", v->group);
    json_out_text(out, "status", task_status_name(v->status));
    json_out_text(out, "model", d->model);
    json_out_text(out, "priority", task_priority_name(v->priority));
    json_out_integer(out, "attempt", v->attempts);
    write_time(out, "created_at", v->created_ms);
    write_time(out, "started_at", v->started_ms);
    write_time(out, "finished_at", v->finished_ms);
    write_time(out, "expires_at", v->finished_ms != 0 ? v->finished_ms + v->result_ttl_ms : 0);
    write_time(out, "deadline_at", v->deadline_ms);
    if (v->cancel_requested && !task_status_is_terminal(v->status))
        json_out_bool(out, "cancel_requested", true);
    write_queue(d, out);
    write_progress(d, out);
    if (with_data && (d->result != NULL || d->members != NULL))
        task_data_write(d, "data", out);
    else
        json_out_null(out, "data");
    if (d->members != NULL)
        batch_members_write(d, out);
    task_document_error_write(d, "error", out);
    task_warnings_write(d, out);
    json_out_open(out, "metadata", '{');
    for (uint32_t i = 0; i < d->about.n_metadata; i++)
        json_out_text(out, d->about.metadata[i].name, d->about.metadata[i].value);
    json_out_close(out, '}');
    write_webhook(d, out);
    write_urls(d, out);
    if (d->shows_owner)
        json_out_text_n(out, "owner", v->owner, v->owner_len);
    json_out_close(out, '}');
}
