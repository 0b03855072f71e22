/*
 * task_about.c - What a client is shown of a task, to bytes and back (schemas/task.md).
 *
 * Everything here is text a client sent or will read, so both ways check that it is
 * UTF-8 and within its limits. Also the warnings, which a result carries too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/task_internal.h"
#include "common/utf8.h"

enum { A_VERSION, A_SERIES, A_HORIZON, A_SAMPLES, A_COLUMNS, A_METADATA, A_WARNINGS, A_COUNT };
static const char *const about_names[A_COUNT] = {
    "version", "series_id", "n_horizon", "sample_count", "columns", "metadata", "warnings"};
#define ABOUT_REQUIRED ((1u << A_COUNT) - 1)

enum { W_CODE, W_POINTER, W_DETAIL, W_COUNT };
static const char *const warning_names[W_COUNT] = {"code", "pointer", "detail"};
#define WARNING_REQUIRED ((1u << W_COUNT) - 1)

/* The largest value that can be valid; more is refused before any of it is read. */
#define ABOUT_BYTES_MAX (16 * 1024)

/* ---- warnings ---- */

static void
copy_text(char *to, size_t size, const char *from)
{
    size_t len = utf8_cut(from, strlen(from), size - 1);

    memcpy(to, from, len);
    to[len] = '\0';
}

void
task_warning_set(struct task_warning *warning, const char *code, const char *pointer,
    const char *format, va_list args)
{
    char detail[4 * sizeof(warning->detail)]; /* longer than what is kept, to cut it well */

    if (vsnprintf(detail, sizeof(detail), format, args) < 0)
        detail[0] = '\0';
    copy_text(warning->code, sizeof(warning->code), code);
    copy_text(warning->pointer, sizeof(warning->pointer), pointer);
    copy_text(warning->detail, sizeof(warning->detail), detail);
}

/* Is ${text} terminated within ${size} bytes, and UTF-8? */
static bool
is_text(const char *text, size_t size)
{
    size_t len = strnlen(text, size);

    return len < size && utf8_is_valid(text, len);
}

int
task_check_warnings(const struct task_warning *warnings, size_t n, struct error *err)
{
    if (n > TASK_WARNINGS_MAX)
        return error_set(err, ERR_INVALID, "%zu warnings are over %d", n, TASK_WARNINGS_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct task_warning *w = &warnings[i];

        if (!is_text(w->code, sizeof(w->code)) || !is_text(w->pointer, sizeof(w->pointer)) ||
            !is_text(w->detail, sizeof(w->detail)) || w->code[0] == '\0')
            return error_set(err, ERR_INVALID, "warning %zu has no code or is not UTF-8", i);
    }
    return 0;
}

void
task_write_warnings(struct msgpack_write *w, const struct task_warning *warnings, size_t n)
{
    msgpack_write_array(w, n);
    for (size_t i = 0; i < n; i++) {
        msgpack_write_map(w, W_COUNT);
        msgpack_write_text(w, warning_names[W_CODE]);
        msgpack_write_text(w, warnings[i].code);
        msgpack_write_text(w, warning_names[W_POINTER]);
        msgpack_write_text(w, warnings[i].pointer);
        msgpack_write_text(w, warning_names[W_DETAIL]);
        msgpack_write_text(w, warnings[i].detail);
    }
}

static int
read_warning(struct msgpack_read *r, struct task_warning *warning)
{
    struct msgpack_map map;
    size_t member;
    int rc;

    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, warning_names, W_COUNT, &member)) == 1) {
        switch (member) {
        case W_CODE:
            rc = msgpack_read_text_into(r, warning->code, sizeof(warning->code));
            break;
        case W_POINTER:
            rc = msgpack_read_text_into(r, warning->pointer, sizeof(warning->pointer));
            break;
        case W_DETAIL:
            rc = msgpack_read_text_into(r, warning->detail, sizeof(warning->detail));
            break;
        }
        if (rc == -1)
            return -1;
    }
    if (rc == 0 && (map.seen != WARNING_REQUIRED || warning->code[0] == '\0'))
        return msgpack_read_fault(r, "a member of a warning is missing");
    return rc;
}

int
task_read_warnings(struct msgpack_read *r, struct task_warning *warnings, uint32_t *n)
{
    uint32_t count;

    *n = 0;
    if (msgpack_read_array(r, &count) == -1)
        return -1;
    if (count > TASK_WARNINGS_MAX)
        return msgpack_read_fault(r, "too many warnings");
    for (uint32_t i = 0; i < count; i++)
        if (read_warning(r, &warnings[i]) == -1)
            return -1;
    *n = count;
    return 0;
}

void
task_about_warn(
    struct task_about *about, const char *code, const char *pointer, const char *format, ...)
{
    va_list args;

    if (about->n_warnings >= TASK_WARNINGS_MAX)
        return;
    va_start(args, format);
    task_warning_set(&about->warnings[about->n_warnings++], code, pointer, format, args);
    va_end(args);
}

/* ---- about ---- */

void
task_about_clear(struct task_about *about)
{
    free(about->series_id);
    for (uint32_t i = 0; i < about->n_metadata && i < TASK_METADATA_MAX; i++) {
        free(about->metadata[i].name);
        free(about->metadata[i].value);
    }
    *about = (struct task_about){0};
}

static int
check_metadata(const struct task_about *about, struct error *err)
{
    size_t bytes = 0;

    if (about->n_metadata > TASK_METADATA_MAX)
        return error_set(err, ERR_INVALID, "%u members of metadata are over %d",
            (unsigned)about->n_metadata, TASK_METADATA_MAX);
    for (uint32_t i = 0; i < about->n_metadata; i++) {
        const struct task_metadata *m = &about->metadata[i];
        size_t name_len = m->name != NULL ? strlen(m->name) : 0;
        size_t value_len = m->value != NULL ? strlen(m->value) : SIZE_MAX;

        if (name_len < 1 || name_len > TASK_METADATA_NAME_MAX || !utf8_is_valid(m->name, name_len))
            return error_set(err, ERR_INVALID, "name %u of metadata is not UTF-8 of 1 to %d bytes",
                (unsigned)i, TASK_METADATA_NAME_MAX);
        if (value_len > TASK_METADATA_VALUE_MAX || !utf8_is_valid(m->value, value_len))
            return error_set(err, ERR_INVALID,
                "value %u of metadata is not UTF-8 of up to %d bytes", (unsigned)i,
                TASK_METADATA_VALUE_MAX);
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(about->metadata[j].name, m->name) == 0)
                return error_set(
                    err, ERR_INVALID, "name %u of metadata is there twice", (unsigned)i);
        bytes += name_len + value_len;
    }
    if (bytes > TASK_METADATA_BYTES_MAX)
        return error_set(
            err, ERR_INVALID, "%zu bytes of metadata are over %d", bytes, TASK_METADATA_BYTES_MAX);
    return 0;
}

static int
about_check(const struct task_about *about, struct error *err)
{
    if (about->series_id != NULL &&
        !task_series_id_is_valid(about->series_id, strlen(about->series_id)))
        return error_set(err, ERR_INVALID,
            "series_id is not UTF-8 of up to %d bytes without control characters",
            TASK_SERIES_ID_MAX);
    if (about->n_horizon < 1 || about->n_horizon > TASK_HORIZON_MAX)
        return error_set(err, ERR_INVALID, "%u steps are not 1 to %d", (unsigned)about->n_horizon,
            TASK_HORIZON_MAX);
    if (about->sample_count < 1 || about->sample_count > TASK_SAMPLES_MAX)
        return error_set(err, ERR_INVALID, "sample_count %u is not 1 to %d",
            (unsigned)about->sample_count, TASK_SAMPLES_MAX);
    if (check_metadata(about, err) == -1)
        return -1;
    return task_check_warnings(about->warnings, about->n_warnings, err);
}

int
task_about_encode(const struct task_about *about, struct task_bytes *out, struct error *err)
{
    struct msgpack_write w;

    *out = (struct task_bytes){0};
    if (about_check(about, err) == -1)
        return -1;
    msgpack_write_init(&w);
    msgpack_write_map(&w, A_COUNT);
    msgpack_write_text(&w, about_names[A_VERSION]);
    msgpack_write_uint(&w, TASK_FORMAT);
    msgpack_write_text(&w, about_names[A_SERIES]);
    if (about->series_id != NULL)
        msgpack_write_text(&w, about->series_id);
    else
        msgpack_write_nil(&w);
    msgpack_write_text(&w, about_names[A_HORIZON]);
    msgpack_write_uint(&w, about->n_horizon);
    msgpack_write_text(&w, about_names[A_SAMPLES]);
    msgpack_write_uint(&w, about->sample_count);
    msgpack_write_text(&w, about_names[A_COLUMNS]);
    msgpack_write_bool(&w, about->columns);
    msgpack_write_text(&w, about_names[A_METADATA]);
    msgpack_write_map(&w, about->n_metadata);
    for (uint32_t i = 0; i < about->n_metadata; i++) {
        msgpack_write_text(&w, about->metadata[i].name);
        msgpack_write_text(&w, about->metadata[i].value);
    }
    msgpack_write_text(&w, about_names[A_WARNINGS]);
    task_write_warnings(&w, about->warnings, about->n_warnings);
    return msgpack_write_finish(&w, &out->data, &out->size, err);
}

static const char out_of_memory[] = "out of memory"; /* the one fault that is not the bytes' */

/* A text into memory of its own; no longer than ${max}, so the bytes given bound it too. */
static int
read_copy(struct msgpack_read *r, size_t max, char **copy)
{
    const char *text;
    size_t len;

    if (msgpack_read_text(r, &text, &len) == -1)
        return -1;
    if (len > max)
        return msgpack_read_fault(r, "a text that is too long");
    if ((*copy = strndup(text, len)) == NULL)
        return msgpack_read_fault(r, out_of_memory);
    return 0;
}

static int
read_metadata(struct msgpack_read *r, struct task_about *about)
{
    struct msgpack_map map;

    if (msgpack_read_map(r, &map) == -1)
        return -1;
    if (map.left > TASK_METADATA_MAX)
        return msgpack_read_fault(r, "too many members of metadata");
    for (; map.left > 0; map.left--) {
        struct task_metadata *m = &about->metadata[about->n_metadata++]; /* clear() frees halves */

        if (read_copy(r, TASK_METADATA_NAME_MAX, &m->name) == -1 ||
            read_copy(r, TASK_METADATA_VALUE_MAX, &m->value) == -1)
            return -1;
    }
    return 0;
}

static int
read_about(struct msgpack_read *r, struct task_about *about)
{
    struct msgpack_map map;
    size_t member;
    int rc;

    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, about_names, A_COUNT, &member)) == 1) {
        switch (member) {
        case A_VERSION:
            rc = task_read_version(r, TASK_FORMAT);
            break;
        case A_SERIES:
            rc = msgpack_read_nil(r) ? 0 : read_copy(r, TASK_SERIES_ID_MAX, &about->series_id);
            break;
        case A_HORIZON:
            rc = msgpack_read_u32(r, TASK_HORIZON_MAX, &about->n_horizon);
            break;
        case A_SAMPLES:
            rc = msgpack_read_u32(r, TASK_SAMPLES_MAX, &about->sample_count);
            break;
        case A_COLUMNS:
            rc = msgpack_read_bool(r, &about->columns);
            break;
        case A_METADATA:
            rc = read_metadata(r, about);
            break;
        case A_WARNINGS:
            rc = task_read_warnings(r, about->warnings, &about->n_warnings);
            break;
        }
        if (rc == -1)
            return -1;
    }
    if (rc == -1 || msgpack_read_end(r) == -1)
        return -1;
    return map.seen == ABOUT_REQUIRED ? 0 : msgpack_read_fault(r, "a member is missing");
}

int
task_about_decode(const void *data, size_t size, struct task_about *about, struct error *err)
{
    struct msgpack_read r;
    struct error why;

    *about = (struct task_about){0};
    if (size > ABOUT_BYTES_MAX)
        return error_set(
            err, ERR_CORRUPT, "stored about: %zu bytes are over %d", size, ABOUT_BYTES_MAX);
    msgpack_read_init(&r, data, size);
    if (read_about(&r, about) == -1) {
        if (r.fault == out_of_memory)
            error_set(err, ERR_MEMORY, "out of memory for a stored about");
        else
            task_bytes_refuse(&r, "about", err);
        goto clear;
    }
    if (about_check(about, &why) == -1) {
        error_set(err, ERR_CORRUPT, "stored about: %s", why.text);
        goto clear;
    }
    return 0;

clear:
    task_about_clear(about);
    return -1;
}
