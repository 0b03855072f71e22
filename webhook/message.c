/*
 * message.c - The body of an event: thin, or with the result in it.
 *
 * What happened is the event's own (state, error, times), because the task may have moved on
 * since: an operator may have requeued it. What does not change is read from the task.
 */
#include "webhook/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/document/batch_document.h"
#include "common/document/task_document.h"

#define SERIES_ROOM    96 /* bytes of member names and brackets around the series' names */
#define PATH_VALUE_MIN 2  /* bytes of a number and its comma at least */

static void
write_time(struct json_out *out, const char *name, int64_t ms)
{
    char text[CLOCK_RFC3339_MAX];

    clock_format_ms(ms, text);
    json_out_text(out, name, text);
}

static void
write_head(const struct parcel *p, struct json_out *out)
{
    json_out_open(out, NULL, '{');
    json_out_text(out, "type", parcel_event(p));
    write_time(out, "timestamp", p->created_ms);
    json_out_open(out, "data", '{');
}

static void
write_tail(struct json_out *out)
{
    json_out_close(out, '}');
    json_out_close(out, '}');
}

void
message_write_ping(const struct parcel *parcel, struct json_out *out)
{
    write_head(parcel, out);
    write_tail(out);
}

bool
message_needs_output(const struct parcel *parcel)
{
    return parcel->is_group ? parcel->include_result : parcel->status == TASK_COMPLETED;
}

/* At most ${max} bytes of them, but one. */
static void
write_series_ids(const struct task_document *d, size_t max, struct json_out *out)
{
    size_t n = d->members != NULL ? d->n_members : 1, began;
    bool is_cut = false;

    json_out_open(out, "series_ids", '[');
    began = out->len;
    for (size_t i = 0; i < n && !is_cut && !out->failed; i++) {
        const struct task_about *about = d->members != NULL ? &d->members[i].about : &d->about;
        size_t len = out->len;
        bool needs_comma = out->needs_comma;

        json_out_text(out, NULL, about->series_id);
        if (i > 0 && !out->failed && out->len - began > max) {
            is_cut = true;
            out->len = len;
            out->needs_comma = needs_comma;
        }
    }
    json_out_close(out, ']');
    if (is_cut)
        json_out_bool(out, "series_ids_omitted", true);
}

static void
write_result_url(const struct parcel *p, const char *public_url, struct json_out *out)
{
    char path[TASK_URL_MAX], url[WEBHOOK_URL_MAX + TASK_URL_MAX];
    size_t len = public_url != NULL ? strlen(public_url) : 0;

    task_url(p->subject, "result", path);
    while (len > 0 && public_url[len - 1] == '/')
        len--;
    snprintf(url, sizeof(url), "%.*s%s", (int)len, public_url != NULL ? public_url : "", path);
    json_out_text(out, "result_url", url);
}

/* Paths alone may be megabytes: not worth writing to find out. */
static bool
is_surely_too_large(const struct task_document *d)
{
    size_t bytes = 0;

    if (d->result != NULL && d->result->paths != NULL)
        bytes = d->result->n_horizon * TASK_FIELDS * PATH_VALUE_MIN *
                (size_t)d->result->provenance.params.sample_count;
    for (size_t i = 0; i < d->n_members && bytes <= MESSAGE_RESULT_MAX; i++)
        if (is_surely_too_large(&d->members[i]))
            bytes = MESSAGE_RESULT_MAX + 1;
    return bytes > MESSAGE_RESULT_MAX;
}

static void
write_result(const struct task_document *d, struct json_out *out)
{
    struct json_out result;

    if (!task_document_has_result(d)) {
        json_out_null(out, "result");
        return;
    }
    if (is_surely_too_large(d)) {
        json_out_bool(out, "result_omitted", true);
        return;
    }
    json_out_init(&result);
    task_data_write(d, NULL, &result);
    if (result.failed)
        out->failed = true;
    else if (result.len > MESSAGE_RESULT_MAX)
        json_out_bool(out, "result_omitted", true);
    else
        json_out_raw(out, "result", result.text, result.len);
    json_out_clear(&result);
}

/* All of a thin body that stands behind the series' names. */
static void
write_rest(const struct parcel *p, const struct task_document *d, const char *public_url,
    struct json_out *out)
{
    write_result_url(p, public_url, out);
    json_out_text(
        out, "forecast_sha256", d->result != NULL ? d->result->provenance.forecast_sha256 : NULL);
    if (task_status_is_terminal(p->status))
        write_time(out, "expires_at", p->expires_ms);
    else
        json_out_null(out, "expires_at");
    json_out_open(out, "metadata", '{');
    for (uint32_t i = 0; i < d->about.n_metadata; i++)
        json_out_text(out, d->about.metadata[i].name, d->about.metadata[i].value);
    json_out_close(out, '}');
    task_document_error_write(d, "error", out);
}

static void
write_data(const struct parcel *p, const struct task_document *d, const char *public_url,
    struct json_out *out)
{
    struct json_out rest; /* measured: what it leaves is the series' */

    json_out_init(&rest);
    json_out_open(&rest, NULL, '{');
    write_rest(p, d, public_url, &rest);
    json_out_text(out, "task_id", p->subject);
    json_out_text(out, "status", task_status_name(p->status));
    json_out_text(out, "model", d->model);
    write_series_ids(d,
        out->len + rest.len + SERIES_ROOM < MESSAGE_THIN_MAX
            ? MESSAGE_THIN_MAX - out->len - rest.len - SERIES_ROOM
            : 0,
        out);
    if (rest.failed)
        out->failed = true;
    json_out_clear(&rest);
    write_rest(p, d, public_url, out);
    if (p->include_result)
        write_result(d, out);
}

/* The task as it was at the event. */
static int
open_task(const struct parcel *p, const char *model, const redisReply *reply,
    struct task_document *d, struct error *err)
{
    struct queue_task_view view;

    if (queue_read_parse(reply, message_needs_output(p), &view, err) == -1)
        return -1;
    if (!view.found)
        return error_set(err, ERR_NOT_FOUND, "the task is gone");
    if (p->status == TASK_COMPLETED && view.status != TASK_COMPLETED)
        return error_set(err, ERR_CORRUPT, "stored delivery: the task is not completed");
    view.status = p->status;
    view.error_code = p->error_code;
    view.error_code_len = p->error_code != NULL ? strlen(p->error_code) : 0;
    view.error_text = p->error_text;
    view.error_text_len = p->error_text != NULL ? strlen(p->error_text) : 0;
    return task_document_open(d, p->subject, model, &view, err);
}

static int
open_group(const struct parcel *p, const char *model, const redisReply *reply,
    struct task_document *d, struct error *err)
{
    bool with_output = message_needs_output(p);
    struct queue_task_view view;
    size_t n;

    if (queue_group_read_parse(reply, with_output, &view, &n, err) == -1)
        return -1;
    if (!view.found)
        return error_set(err, ERR_NOT_FOUND, "the batch is gone");
    if (batch_document_open(d, p->subject, model, reply, with_output, err) == -1)
        return -1;
    d->view.status = p->status;
    return 0;
}

int
message_write(const struct parcel *parcel, const char *model, const redisReply *reply,
    const char *public_url, struct json_out *out, struct error *err)
{
    struct task_document d;

    if ((parcel->is_group ? open_group(parcel, model, reply, &d, err)
                          : open_task(parcel, model, reply, &d, err)) == -1)
        return -1;
    write_head(parcel, out);
    write_data(parcel, &d, public_url, out);
    write_tail(out);
    task_document_close(&d);
    return out->failed ? error_set(err, ERR_MEMORY, "no memory to write an event") : 0;
}
