/*
 * change.c - What clients and operators do to one task: cancel, requeue, move, purge.
 *
 * What could not be done is an outcome, not an error: the caller maps it to a status code.
 */
#include "common/queue/queue_admin.h"
#include "common/queue/script.h"

/* A script with the id and perhaps a word more. */
static int
call_with_id(const struct queue *q, const struct queue_script *script, const char *id,
    const char *word, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, script, q, 2);
    queue_args_text(&a, id);
    if (word)
        queue_args_text(&a, word);
    return queue_args_end(&a, call, err);
}

/* A code from 0 to below ${n}. */
static int
parse_outcome(
    const redisReply *reply, const char *name, int64_t n, int64_t *code, struct error *err)
{
    if (queue_reply_code(reply, name, code, err) == -1)
        return -1;
    return *code >= 0 && *code < n ? 0 : queue_reply_strange(name, err);
}

int
queue_done_parse(const redisReply *reply, bool *is_done, struct error *err)
{
    int64_t code;

    if (parse_outcome(reply, "command", 2, &code, err) == -1)
        return -1;
    *is_done = code == 1;
    return 0;
}

int
queue_cancel_call(const struct queue *q, const char *id, struct queue_call *call, struct error *err)
{
    return call_with_id(q, &queue_script_cancel, id, NULL, call, err);
}

int
queue_cancel_parse(const redisReply *reply, enum queue_cancel_outcome *out, struct error *err)
{
    int64_t code;

    if (parse_outcome(reply, queue_script_cancel.name, QUEUE_CANCEL_OUTCOMES, &code, err) == -1)
        return -1;
    *out = (enum queue_cancel_outcome)code;
    return 0;
}

int
queue_requeue_call(
    const struct queue *q, const char *id, struct queue_call *call, struct error *err)
{
    return call_with_id(q, &queue_script_requeue, id, NULL, call, err);
}

int
queue_move_call(const struct queue *q, const char *id, enum task_priority priority,
    struct queue_call *call, struct error *err)
{
    if ((unsigned)priority >= TASK_PRIORITY_COUNT)
        return error_set(err, ERR_INVALID, "priority %d is unknown", (int)priority);
    return call_with_id(q, &queue_script_move, id, task_priority_name(priority), call, err);
}

int
queue_discard_call(
    const struct queue *q, const char *id, struct queue_call *call, struct error *err)
{
    return call_with_id(q, &queue_script_purge, id, "dead", call, err);
}

int
queue_purge_call(const struct queue *q, const char *id, struct queue_call *call, struct error *err)
{
    return call_with_id(q, &queue_script_purge, id, "task", call, err);
}

int
queue_purge_parse(const redisReply *reply, enum queue_purge_outcome *out, struct error *err)
{
    int64_t code;

    if (parse_outcome(reply, queue_script_purge.name, QUEUE_PURGE_OUTCOMES, &code, err) == -1)
        return -1;
    *out = (enum queue_purge_outcome)code;
    return 0;
}
