/*
 * read.c - One task as a client may see it.
 *
 * The view points into the reply and owns nothing. A hash that no script of ours
 * wrote is ERR_CORRUPT with the field's name, so that a client gets an error and
 * not half a document.
 */
#include "common/queue/script.h"

#include <string.h>

/* read.lua wants the first three in this order. */
enum {
    FIELD_PRIORITY,
    FIELD_SEQ,
    FIELD_STATE,
    FIELD_OWNER,
    FIELD_CREATED,
    FIELD_STARTED,
    FIELD_FINISHED,
    FIELD_DEADLINE,
    FIELD_RESULT_TTL,
    FIELD_ATTEMPTS,
    FIELD_STEP,
    FIELD_CANCEL,
    FIELD_ABOUT,
    FIELD_ERROR_CODE,
    FIELD_ERROR,
    FIELD_OUTPUT,
    N_FIELDS
};
static const char *const names[N_FIELDS] = {"priority", "seq", "state", "owner", "created_ms",
    "started_ms", "finished_ms", "deadline_ms", "result_ttl_ms", "attempts", "step", "cancel",
    "about", "error_code", "error", "output"};

#define BEFORE_FIELDS 2 /* now_ms, position */

static size_t
n_fields(bool with_output)
{
    return with_output ? N_FIELDS : N_FIELDS - 1;
}

int
queue_read_call(const struct queue *q, const char *id, bool with_output, struct queue_call *call,
    struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_read, q, 1 + N_FIELDS);
    queue_args_text(&a, id);
    for (size_t i = 0; i < n_fields(with_output); i++)
        queue_args_text(&a, names[i]);
    return queue_args_end(&a, call, err);
}

static int
corrupt(int field, struct error *err)
{
    return error_set(
        err, ERR_CORRUPT, "stored task: field %s is missing or not readable", names[field]);
}

/* An absent field is 0. */
static int
read_int(redisReply *const *fields, int field, int64_t max, int64_t *value, struct error *err)
{
    *value = 0;
    if (fields[field]->type == REDIS_REPLY_NIL)
        return 0;
    if (!queue_reply_int(fields[field], value) || *value < 0 || *value > max)
        return corrupt(field, err);
    return 0;
}

static void
read_bytes(const redisReply *field, const void **data, size_t *size)
{
    bool is_there = queue_reply_is_string(field);

    *data = is_there ? field->str : NULL;
    *size = is_there ? field->len : 0;
}

static void
read_text(const redisReply *field, const char **text, size_t *len)
{
    const void *data;

    read_bytes(field, &data, len);
    *text = data;
}

static int
read_fields(
    redisReply *const *fields, bool with_output, struct queue_task_view *view, struct error *err)
{
    const struct {
        int field;
        int64_t *value;
    } times[] = {
        {FIELD_CREATED, &view->created_ms},
        {FIELD_STARTED, &view->started_ms},
        {FIELD_FINISHED, &view->finished_ms},
        {FIELD_DEADLINE, &view->deadline_ms},
        {FIELD_RESULT_TTL, &view->result_ttl_ms},
    };
    const redisReply *state = fields[FIELD_STATE], *priority = fields[FIELD_PRIORITY];
    int64_t attempts, step;

    if (!queue_reply_is_string(state) ||
        task_status_from_name(state->str, state->len, &view->status) == -1)
        return corrupt(FIELD_STATE, err);
    if (!queue_reply_is_string(priority) ||
        task_priority_from_name(priority->str, priority->len, &view->priority) == -1)
        return corrupt(FIELD_PRIORITY, err);
    if (!queue_reply_is_string(fields[FIELD_OWNER])) /* whose it is decides who may see it */
        return corrupt(FIELD_OWNER, err);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        /* 2^53: every reader of the document must be able to hold it */
        if (read_int(fields, times[i].field, INT64_C(1) << 53, times[i].value, err) == -1)
            return -1;
    }
    if (view->created_ms == 0)
        return corrupt(FIELD_CREATED, err);
    if (read_int(fields, FIELD_ATTEMPTS, UINT32_MAX, &attempts, err) == -1 ||
        read_int(fields, FIELD_STEP, UINT32_MAX, &step, err) == -1)
        return -1;
    view->attempts = (uint32_t)attempts;
    view->step = (uint32_t)step;
    view->cancel_requested = fields[FIELD_CANCEL]->type != REDIS_REPLY_NIL;
    read_text(fields[FIELD_OWNER], &view->owner, &view->owner_len);
    read_bytes(fields[FIELD_ABOUT], &view->about, &view->about_size);
    read_text(fields[FIELD_ERROR_CODE], &view->error_code, &view->error_code_len);
    read_text(fields[FIELD_ERROR], &view->error_text, &view->error_text_len);
    if (with_output)
        read_bytes(fields[FIELD_OUTPUT], &view->output, &view->output_size);
    return 0;
}

int
queue_read_parse(
    const redisReply *reply, bool with_output, struct queue_task_view *view, struct error *err)
{
    const char *name = queue_script_read.name;

    *view = (struct queue_task_view){0};
    if (queue_reply_array(reply, name, 1, err) == -1)
        return -1;
    if (!queue_reply_int(reply->element[0], &view->now_ms))
        return queue_reply_strange(name, err);
    if (reply->elements == 1)
        return 0;
    if (reply->elements != BEFORE_FIELDS + n_fields(with_output) ||
        !queue_reply_int(reply->element[1], &view->position) || view->position < 0)
        return queue_reply_strange(name, err);
    if (read_fields(reply->element + BEFORE_FIELDS, with_output, view, err) == -1)
        return -1;
    view->found = true;
    return 0;
}
