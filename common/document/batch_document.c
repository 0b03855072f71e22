/*
 * batch_document.c - A batch and its members as one task document.
 *
 * The queue tells when a batch has ended, and how; until then its members tell. A member that
 * an operator took out of the batch and that is forgotten since keeps its place.
 */
#include "common/document/batch_document.h"

#include <stdlib.h>
#include <string.h>

int
batch_document_new(
    struct task_document *d, const char *id, const char *model, size_t n, struct error *err)
{
    *d = (struct task_document){.id = id, .model = model};
    d->members = calloc(n, sizeof(*d->members));
    d->member_ids = calloc(n, sizeof(*d->member_ids));
    if (d->members == NULL || d->member_ids == NULL) {
        task_document_close(d);
        return error_set(err, ERR_MEMORY, "out of memory");
    }
    d->n_members = n;
    for (size_t i = 0; i < n; i++) {
        d->members[i].id = d->member_ids[i];
        d->members[i].model = model;
    }
    return 0;
}

int
batch_document_open(struct task_document *d, const char *id, const char *model,
    const redisReply *reply, bool with_output, struct error *err)
{
    struct queue_task_view group;
    size_t n;

    if (queue_group_read_parse(reply, with_output, &group, &n, err) == -1)
        return -1;
    if (n < 1 || n > QUEUE_SERIES_MAX)
        return error_set(err, ERR_CORRUPT, "stored group: has %zu members", n);
    if (batch_document_new(d, id, model, n, err) == -1)
        return -1;
    d->view = group;
    for (size_t i = 0; i < n; i++) {
        struct task_document *member = &d->members[i];
        struct queue_task_view view;

        if (queue_group_member_parse(reply, with_output, i, d->member_ids[i], &view, err) == -1 ||
            (view.found && task_document_open_part(
                               member, d->member_ids[i], model, &view, with_output, err) == -1))
            goto close;
        if (!view.found) {
            member->view = view;
            if (!view.is_gone) /* only a failed one can have left its batch */
                member->view.status = TASK_FAILED;
        }
    }
    batch_document_sum_up(d);
    return 0;

close:
    task_document_close(d);
    return -1;
}

/* ---- what the members are together ---- */

/* Until the queue says how it ended. */
static enum task_status
status_of_members(const struct task_document *d)
{
    for (size_t i = 0; i < d->n_members; i++) {
        const struct queue_task_view *v = &d->members[i].view;

        if (v->started_ms != 0 || v->status == TASK_PROCESSING)
            return TASK_PROCESSING;
    }
    return TASK_QUEUED;
}

static void
sum_up_times(struct task_document *d)
{
    struct queue_task_view *sum = &d->view;
    bool is_any_left = false;

    sum->started_ms = 0;
    sum->cancel_requested = true;
    for (size_t i = 0; i < d->n_members; i++) {
        const struct queue_task_view *v = &d->members[i].view;

        if (v->started_ms != 0 && (sum->started_ms == 0 || v->started_ms < sum->started_ms))
            sum->started_ms = v->started_ms;
        if (v->deadline_ms != 0)
            sum->deadline_ms = v->deadline_ms; /* one for all of them */
        if (v->attempts > sum->attempts)
            sum->attempts = v->attempts;
        if (task_status_is_terminal(v->status))
            continue;
        is_any_left = true;
        sum->cancel_requested = sum->cancel_requested && v->cancel_requested;
        if (v->position > 0 && (sum->position <= 0 || v->position < sum->position))
            sum->position = v->position;
        else if (v->position == TASK_POSITION_UNKNOWN && sum->position == 0)
            sum->position = TASK_POSITION_UNKNOWN;
    }
    sum->cancel_requested = sum->cancel_requested && is_any_left;
}

static void
sum_up_progress(struct task_document *d)
{
    uint32_t total = 0, done = 0; /* both at most 64 * 512 */

    for (size_t i = 0; i < d->n_members; i++) {
        const struct task_document *member = &d->members[i];
        uint32_t horizon = member->about.n_horizon, step = member->view.step;

        total += horizon;
        done += member->view.status == TASK_COMPLETED || step > horizon ? horizon : step;
    }
    d->about.n_horizon = total;
    d->view.step = done;
}

/* The error of a batch is that of the members that decide how it ended. */
static void
sum_up_error(struct task_document *d)
{
    static const char failed[] = "batch_member_failed";

    if (d->view.status == TASK_FAILED) {
        d->view.error_code = failed;
        d->view.error_code_len = strlen(failed);
        return;
    }
    for (size_t i = 0; i < d->n_members; i++) {
        const struct queue_task_view *v = &d->members[i].view;

        if (v->status != d->view.status)
            continue;
        d->view.error_code = v->error_code;
        d->view.error_code_len = v->error_code_len;
        d->view.error_text = v->error_text;
        d->view.error_text_len = v->error_text_len;
        return;
    }
}

static bool
has_warning(const struct task_about *about, const struct task_warning *w)
{
    for (uint32_t i = 0; i < about->n_warnings; i++) {
        const struct task_warning *known = &about->warnings[i];

        if (strcmp(known->code, w->code) == 0 && strcmp(known->pointer, w->pointer) == 0 &&
            strcmp(known->detail, w->detail) == 0)
            return true;
    }
    return false;
}

/* Every member has what the request said once: metadata, warnings. */
static void
sum_up_about(struct task_document *d)
{
    struct task_about *sum = &d->about;

    for (size_t i = 0; i < d->n_members; i++) {
        const struct task_about *about = &d->members[i].about;

        if (sum->n_metadata == 0) { /* borrowed: task_document_close() knows */
            memcpy(sum->metadata, about->metadata, sizeof(sum->metadata));
            sum->n_metadata = about->n_metadata;
        }
        for (uint32_t w = 0; w < about->n_warnings; w++) {
            if (sum->n_warnings < TASK_WARNINGS_MAX && !has_warning(sum, &about->warnings[w]))
                sum->warnings[sum->n_warnings++] = about->warnings[w];
        }
    }
}

void
batch_document_sum_up(struct task_document *d)
{
    d->about = (struct task_about){0};
    d->view.attempts = 0;
    d->view.position = 0;
    if (!task_status_is_terminal(d->view.status))
        d->view.status = status_of_members(d);
    sum_up_times(d);
    sum_up_progress(d);
    sum_up_about(d);
    if (task_status_is_terminal(d->view.status))
        sum_up_error(d);
}

bool
batch_document_estimate(
    const struct task_document *d, const struct queue_load *load, double *start, double *finish)
{
    struct queue_work works[QUEUE_SERIES_MAX];
    size_t n = 0;

    for (size_t i = 0; i < d->n_members && n < QUEUE_SERIES_MAX; i++) {
        if (!task_status_is_terminal(d->members[i].view.status))
            works[n++] = task_document_work(&d->members[i]);
    }
    return queue_estimate_group(load, works, n, start, finish);
}

/* ---- the document ---- */

void
batch_results_write(const struct task_document *d, const char *name, struct json_out *out)
{
    json_out_open(out, name, '[');
    for (size_t i = 0; i < d->n_members; i++) {
        if (d->members[i].result != NULL)
            task_result_write(&d->members[i], NULL, out);
        else
            json_out_null(out, NULL);
    }
    json_out_close(out, ']');
}

void
batch_members_write(const struct task_document *d, struct json_out *out)
{
    int64_t counts[TASK_STATUS_COUNT] = {0};

    json_out_open(out, "tasks", '[');
    for (size_t i = 0; i < d->n_members; i++) {
        const struct task_document *member = &d->members[i];

        counts[member->view.status]++;
        json_out_open(out, NULL, '{');
        json_out_text(out, "task_id", member->id);
        json_out_text(out, "series_id", member->about.series_id);
        json_out_text(out, "status", task_status_name(member->view.status));
        json_out_close(out, '}');
    }
    json_out_close(out, ']');
    json_out_open(out, "counts", '{');
    for (int status = 0; status < TASK_STATUS_COUNT; status++)
        json_out_integer(out, task_status_name((enum task_status)status), counts[status]);
    json_out_close(out, '}');
}
