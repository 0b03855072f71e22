/*
 * control.c - What operators do to a whole queue and to workers, and the audit.
 */
#include "common/queue/queue_admin.h"
#include "common/queue/script.h"

#include <limits.h>
#include <stdio.h>

#define AUDIT_COUNT 200 /* keys of one slice: some 2 ms of Redis */

static int
call_control(const struct queue *q, const char *action, const char *what, struct queue_call *call,
    struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_control, q, 2);
    queue_args_text(&a, action);
    queue_args_text(&a, what);
    return queue_args_end(&a, call, err);
}

int
queue_control_call(const struct queue *q, enum queue_action action, enum task_priority priority,
    struct queue_call *call, struct error *err)
{
    static const char *const actions[] = {
        [QUEUE_PAUSE] = "pause",
        [QUEUE_RESUME] = "resume",
        [QUEUE_DRAIN] = "drain",
        [QUEUE_OPEN] = "open",
    };

    if ((unsigned)action >= sizeof(actions) / sizeof(actions[0]) ||
        (unsigned)priority > QUEUE_ALL_PRIORITIES)
        return error_set(
            err, ERR_INVALID, "action %d on priority %d is unknown", (int)action, (int)priority);
    return call_control(q, actions[action],
        priority == QUEUE_ALL_PRIORITIES ? "" : task_priority_name(priority), call, err);
}

int
queue_weights_call(const struct queue *q, const unsigned weights[TASK_PRIORITY_COUNT],
    struct queue_call *call, struct error *err)
{
    char text[40] = "";
    unsigned sum = 0;

    for (size_t p = 0; weights && p < TASK_PRIORITY_COUNT; p++) {
        if (weights[p] > 999)
            return error_set(err, ERR_INVALID, "a weight is 0 to 999, not %u", weights[p]);
        sum += weights[p];
    }
    if (weights && sum == 0)
        return error_set(err, ERR_INVALID, "one weight at least must be above 0");
    if (weights)
        snprintf(text, sizeof(text), "%u,%u,%u", weights[0], weights[1], weights[2]);
    return call_control(q, "weights", text, call, err);
}

int
queue_quiet_call(const struct queue *q, const char *worker, bool is_quiet, struct queue_call *call,
    struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_quiet, q, 2);
    queue_args_text(&a, worker);
    queue_args_text(&a, is_quiet ? "1" : "0");
    return queue_args_end(&a, call, err);
}

int
queue_audit_call(
    const struct queue *q, const char *cursor, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_audit, q, 3);
    queue_args_text(&a, cursor);
    queue_args_int(&a, AUDIT_COUNT);
    queue_args_int(&a, q->tuning.lease_ms);
    return queue_args_end(&a, call, err);
}

int
queue_audit_parse(const redisReply *reply, struct queue_audited *out, struct error *err)
{
    const char *name = queue_script_audit.name;
    int64_t fixed;

    *out = (struct queue_audited){0};
    if (queue_reply_array(reply, name, 2, err) == -1)
        return -1;
    if (!queue_reply_is_string(reply->element[0]) || reply->element[0]->len < 1 ||
        reply->element[0]->len >= QUEUE_CURSOR_MAX || !queue_reply_int(reply->element[1], &fixed) ||
        fixed < 0 || fixed > INT_MAX)
        return queue_reply_strange(name, err);
    queue_reply_text(reply->element[0], out->cursor, sizeof(out->cursor));
    out->fixed = (int)fixed;
    return 0;
}

int
queue_audit(redisContext *c, const struct queue *q, const char *cursor, struct queue_audited *out,
    struct error *err)
{
    struct queue_call call;
    redisReply *reply;
    int rc;

    /* the cursor may be the one in ${out} */
    if (queue_audit_call(q, cursor, &call, err) == -1)
        return -1;
    reply = queue_run(c, &call, err);
    queue_call_clear(&call);
    if (!reply)
        return -1;
    rc = queue_audit_parse(reply, out, err);
    freeReplyObject(reply);
    return rc;
}
