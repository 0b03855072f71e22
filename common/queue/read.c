/*
 * read.c - A task, or a group and its members, as a client may see them.
 *
 * The view points into the reply and owns nothing. A hash that no script of ours
 * wrote is ERR_CORRUPT with the field's name, so that a client gets an error and
 * not half a document.
 */
#include "common/queue/script.h"

#include <string.h>

/* view() wants the first three in this order. */
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
    FIELD_GROUP,
    FIELD_REQUEUES,
    FIELD_PREFILL,
    FIELD_OUTPUT,
    N_FIELDS
};
static const char *const names[N_FIELDS] = {"priority", "seq", "state", "owner", "created_ms",
    "started_ms", "finished_ms", "deadline_ms", "result_ttl_ms", "attempts", "step", "cancel",
    "about", "error_code", "error", "group", "requeues", "cost_prefill", "output"};

enum { PART_LEFT, PART_POSITION, PART_HOOK, PART_FIELDS };
enum { LEFT_NOTHING, LEFT_DEAD_LETTER, LEFT_ALL };
enum { HOOK_OUTCOME, HOOK_ATTEMPTS, HOOK_STATUS, HOOK_ERROR, HOOK_NEXT, N_HOOK };

size_t
queue_view_n_args(bool with_output)
{
    return with_output ? N_FIELDS : N_FIELDS - 1;
}

void
queue_view_args(struct queue_args *a, bool with_output)
{
    for (size_t i = 0; i < queue_view_n_args(with_output); i++)
        queue_args_text(a, names[i]);
}

static int
call_with_id(const struct queue *q, const struct queue_script *script, const char *id,
    bool with_output, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, script, q, 1 + N_FIELDS);
    queue_args_text(&a, id);
    queue_view_args(&a, with_output);
    return queue_args_end(&a, call, err);
}

int
queue_read_call(const struct queue *q, const char *id, bool with_output, struct queue_call *call,
    struct error *err)
{
    return call_with_id(q, &queue_script_read, id, with_output, call, err);
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

/* A word of ours: what an attempt ended by. */
static void
read_hook_error(const redisReply *field, char error[QUEUE_HOOK_ERROR_MAX])
{
    if (queue_reply_is_string(field) && field->len < QUEUE_HOOK_ERROR_MAX &&
        strspn(field->str, "abcdefghijklmnopqrstuvwxyz_") == field->len)
        memcpy(error, field->str, field->len + 1);
}

/* Shown to people only, so what is broken is left out. */
static void
read_hook(const redisReply *reply, struct queue_hook_view *hook)
{
    const redisReply *outcome;

    *hook = (struct queue_hook_view){0};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != N_HOOK)
        return;
    outcome = reply->element[HOOK_OUTCOME];
    for (int i = QUEUE_HOOK_PENDING; i < QUEUE_HOOK_OUTCOMES; i++) {
        if (queue_reply_is_string(outcome) && strcmp(outcome->str, queue_hook_outcome_name(i)) == 0)
            hook->outcome = i;
    }
    queue_reply_count(reply->element[HOOK_ATTEMPTS], &hook->attempts);
    queue_reply_count(reply->element[HOOK_STATUS], &hook->last_status);
    read_hook_error(reply->element[HOOK_ERROR], hook->last_error);
    if (!queue_reply_int(reply->element[HOOK_NEXT], &hook->next_ms) || hook->next_ms < 0)
        hook->next_ms = 0;
}

/* ${fields} of a tombstone are few: it has no priority when an old version made the group. */
static int
read_fields(redisReply *const *fields, bool with_output, bool is_stone,
    struct queue_task_view *view, struct error *err)
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
    int64_t attempts, step, requeues, prefill;

    if (!queue_reply_is_string(state) ||
        task_status_from_name(state->str, state->len, &view->status) == -1)
        return corrupt(FIELD_STATE, err);
    if (is_stone && !queue_reply_is_string(priority))
        view->priority = TASK_NORMAL;
    else if (!queue_reply_is_string(priority) ||
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
        read_int(fields, FIELD_STEP, UINT32_MAX, &step, err) == -1 ||
        read_int(fields, FIELD_REQUEUES, UINT32_MAX, &requeues, err) == -1 ||
        read_int(fields, FIELD_PREFILL, INT64_C(1) << 53, &prefill, err) == -1)
        return -1;
    if (fields[FIELD_GROUP]->type != REDIS_REPLY_NIL &&
        !queue_reply_id(fields[FIELD_GROUP], view->group))
        return corrupt(FIELD_GROUP, err);
    view->requeues = (uint32_t)requeues;
    view->prefill_tokens = (uint64_t)prefill;
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
queue_view_parse(redisReply *const *parts, size_t n, bool with_output, bool with_forgotten,
    int64_t now_ms, struct queue_task_view *view, struct error *err)
{
    int64_t left;

    *view = (struct queue_task_view){.now_ms = now_ms};
    if (n != PART_FIELDS + queue_view_n_args(with_output) ||
        !queue_reply_int(parts[PART_LEFT], &left) || left < LEFT_NOTHING || left > LEFT_ALL ||
        !queue_reply_int(parts[PART_POSITION], &view->position) || view->position < 0)
        return error_set(err, ERR_UNAVAILABLE, "Redis: a task of an unknown form");
    if (read_fields(parts + PART_FIELDS, with_output, left == LEFT_NOTHING, view, err) == -1)
        return -1;
    read_hook(parts[PART_HOOK], &view->hook);
    view->found = left == LEFT_ALL || (left == LEFT_DEAD_LETTER && with_forgotten);
    view->is_gone = left == LEFT_NOTHING;
    return 0;
}

static int
read_now(const redisReply *reply, const char *name, int64_t *now_ms, struct error *err)
{
    if (queue_reply_array(reply, name, 1, err) == -1)
        return -1;
    return queue_reply_int(reply->element[0], now_ms) ? 0 : queue_reply_strange(name, err);
}

int
queue_read_parse(
    const redisReply *reply, bool with_output, struct queue_task_view *view, struct error *err)
{
    int64_t now_ms;

    *view = (struct queue_task_view){0};
    if (read_now(reply, queue_script_read.name, &now_ms, err) == -1)
        return -1;
    view->now_ms = now_ms;
    if (reply->elements == 1)
        return 0;
    return queue_view_parse(
        reply->element + 1, reply->elements - 1, with_output, false, now_ms, view, err);
}

/* ---- streams ---- */

enum { WATCH_NOW, WATCH_FENCE, WATCH_FIRST, WATCH_CANDLES, WATCH_INPUT, WATCH_PARTS };

int
queue_watch_call(const struct queue *q, const char *id, const struct queue_known *known,
    struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_watch, q, 4 + N_FIELDS);
    queue_args_text(&a, id);
    queue_args_uint(&a, known->fence);
    queue_args_uint(&a, known->n_candles);
    queue_args_uint(&a, known->has_input ? 0 : 1);
    queue_view_args(&a, true);
    return queue_args_end(&a, call, err);
}

int
queue_watch_parse(const redisReply *reply, struct queue_watched *out, struct error *err)
{
    const char *name = queue_script_watch.name;
    redisReply *const *part;
    int64_t now_ms, fence;
    size_t n_bytes;

    *out = (struct queue_watched){0};
    if (read_now(reply, name, &now_ms, err) == -1)
        return -1;
    out->view.now_ms = now_ms;
    if (reply->elements == 1)
        return 0;
    part = reply->element;
    if (reply->elements <= WATCH_PARTS || !queue_reply_int(part[WATCH_FENCE], &fence) ||
        fence < 0 || !queue_reply_count(part[WATCH_FIRST], &out->first_candle))
        return queue_reply_strange(name, err);
    out->fence = (uint64_t)fence;
    read_bytes(part[WATCH_CANDLES], &out->candles, &n_bytes);
    out->n_candles = n_bytes / QUEUE_CANDLE_BYTES;
    if (n_bytes % QUEUE_CANDLE_BYTES != 0 || out->first_candle > TASK_HORIZON_MAX ||
        out->n_candles > TASK_HORIZON_MAX - out->first_candle)
        return error_set(err, ERR_CORRUPT, "stored candles: %zu bytes", n_bytes);
    read_bytes(part[WATCH_INPUT], &out->input, &out->input_size);
    if (out->input_size == 0)
        out->input = NULL;
    return queue_view_parse(
        part + WATCH_PARTS, reply->elements - WATCH_PARTS, true, false, now_ms, &out->view, err);
}

/* ---- groups ---- */

enum { GROUP_NOW, GROUP_LEFT, GROUP_HOOK, GROUP_FIELDS, GROUP_MEMBERS };

int
queue_group_read_call(const struct queue *q, const char *id, bool with_output,
    struct queue_call *call, struct error *err)
{
    return call_with_id(q, &queue_script_group, id, with_output, call, err);
}

int
queue_group_read_parse(const redisReply *reply, bool with_output, struct queue_task_view *group,
    size_t *n_members, struct error *err)
{
    const char *name = queue_script_group.name;
    const redisReply *fields;
    int64_t left, now_ms;

    *group = (struct queue_task_view){0};
    *n_members = 0;
    if (read_now(reply, name, &now_ms, err) == -1)
        return -1;
    group->now_ms = now_ms;
    if (reply->elements == 1)
        return 0;
    if (reply->elements < GROUP_MEMBERS || !queue_reply_int(reply->element[GROUP_LEFT], &left))
        return queue_reply_strange(name, err);
    fields = reply->element[GROUP_FIELDS];
    if (fields->type != REDIS_REPLY_ARRAY || fields->elements != queue_view_n_args(with_output))
        return queue_reply_strange(name, err);
    if (read_fields(fields->element, with_output, left == LEFT_NOTHING, group, err) == -1)
        return -1;
    read_hook(reply->element[GROUP_HOOK], &group->hook);
    group->found = left != LEFT_NOTHING;
    group->is_gone = !group->found;
    *n_members = group->found ? reply->elements - GROUP_MEMBERS : 0;
    return 0;
}

int
queue_group_member_parse(const redisReply *reply, bool with_output, size_t i, char *id,
    struct queue_task_view *view, struct error *err)
{
    const char *name = queue_script_group.name;
    const redisReply *member;
    int64_t now_ms;

    *view = (struct queue_task_view){0};
    if (read_now(reply, name, &now_ms, err) == -1)
        return -1;
    if (reply->elements <= GROUP_MEMBERS || i >= reply->elements - GROUP_MEMBERS)
        return error_set(err, ERR_INVALID, "a group has no member %zu", i);
    member = reply->element[GROUP_MEMBERS + i];
    if (member->type != REDIS_REPLY_ARRAY || member->elements < 1)
        return queue_reply_strange(name, err);
    if (!queue_reply_id(member->element[0], id))
        return error_set(err, ERR_CORRUPT, "stored group: member %zu is not a UUID", i);
    view->now_ms = now_ms;
    if (member->elements == 1) /* nobody remembers it */
        return 0;
    return queue_view_parse(
        member->element + 1, member->elements - 1, with_output, true, now_ms, view, err);
}
