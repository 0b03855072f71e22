/*
 * submit.c - Accept tasks: the arguments of submit.lua and its answers.
 *
 * A refusal (full, draining, another request under this key) is an outcome, not an
 * error: the caller maps it to a status code. Does not look into input or about.
 */
#include "common/queue/script.h"

#include <stdio.h>
#include <string.h>

#define HEAD_ARGS       16
#define SERIES_ARGS     6
#define EVENTS_TEXT_MAX (TASK_STATUS_COUNT * 12) /* the longest word is processing */

static int
check(const struct queue_submission *s, struct error *err)
{
    if (s->n_series < 1 || s->n_series > QUEUE_SERIES_MAX)
        return error_set(err, ERR_INVALID, "a submission has 1 to %d series, not %zu",
            QUEUE_SERIES_MAX, s->n_series);
    if (!s->id || !id_is_valid(s->id))
        return error_set(err, ERR_INVALID, "the id of a submission is not a lower-case UUID");
    if (!s->owner || s->owner[0] == '\0' || !s->digest || s->digest[0] == '\0')
        return error_set(err, ERR_INVALID, "a submission needs an owner and a digest");
    if ((unsigned)s->priority >= TASK_PRIORITY_COUNT)
        return error_set(err, ERR_INVALID, "priority %d is unknown", (int)s->priority);
    for (size_t i = 0; i < s->n_series; i++) {
        if (!s->series[i].task_id || !id_is_valid(s->series[i].task_id))
            return error_set(err, ERR_INVALID, "the id of task %zu is not a lower-case UUID", i);
        if (!s->series[i].input || s->series[i].input_size == 0)
            return error_set(err, ERR_INVALID, "task %zu has no input", i);
    }
    return 0;
}

/* ",processing,failed,": what the script looks for, with its commas, is there or not. */
static const char *
event_words(unsigned events, char *text)
{
    size_t len = 0;

    text[0] = '\0';
    for (int status = 0; status < TASK_STATUS_COUNT; status++) {
        if ((events & 1u << status) != 0)
            len += (size_t)snprintf(text + len, EVENTS_TEXT_MAX - len, "%s%s,", len == 0 ? "," : "",
                task_status_name((enum task_status)status));
    }
    return text;
}

int
queue_submit_call(const struct queue *q, const struct queue_submission *s, struct queue_call *call,
    struct error *err)
{
    char events[EVENTS_TEXT_MAX];
    struct queue_args a;

    *call = (struct queue_call){0};
    if (check(s, err) == -1)
        return -1;
    queue_args_begin(&a, &queue_script_submit, q, HEAD_ARGS + SERIES_ARGS * s->n_series);
    queue_args_text(&a, s->id);
    queue_args_text(&a, task_priority_name(s->priority));
    queue_args_text(&a, s->owner);
    queue_args_text(&a, s->idempotency);
    queue_args_text(&a, s->digest);
    queue_args_text(&a, s->same);
    queue_args_int(&a, s->result_ttl_ms);
    queue_args_int(&a, s->idem_ttl_ms);
    queue_args_int(&a, s->max_attempts);
    queue_args_int(&a, s->deadline_in_ms);
    queue_args_bytes(&a, s->webhook, s->webhook ? s->webhook_size : 0);
    queue_args_int(&a, s->max_queued);
    queue_args_int(&a, s->max_bytes);
    queue_args_text(&a, event_words(s->webhook_events, events));
    queue_args_int(&a, s->eta_ms > 0 ? s->eta_ms : 0);
    queue_args_text(&a, s->trace_id);
    for (size_t i = 0; i < s->n_series; i++) {
        const struct queue_series *one = &s->series[i];

        queue_args_text(&a, one->task_id);
        queue_args_uint(&a, one->prefill_tokens);
        queue_args_uint(&a, one->decode_steps);
        queue_args_uint(&a, one->horizon);
        queue_args_bytes(&a, one->input, one->input_size);
        queue_args_bytes(&a, one->about, one->about ? one->about_size : 0);
    }
    return queue_args_end(&a, call, err);
}

int
queue_submit_parse(const redisReply *reply, struct queue_submitted *out, struct error *err)
{
    const char *name = queue_script_submit.name;
    int64_t code;

    *out = (struct queue_submitted){0};
    if (queue_reply_is_error(reply, "OOM")) {
        out->outcome = QUEUE_OUT_OF_MEMORY;
        return 0;
    }
    if (queue_reply_array(reply, name, 2, err) == -1)
        return -1;
    if (reply->element[0]->type != REDIS_REPLY_INTEGER ||
        !queue_reply_int(reply->element[0], &code))
        return queue_reply_strange(name, err);
    switch (code) {
    case QUEUE_SUBMITTED:
    case QUEUE_SAME_REQUEST:
    case QUEUE_JOINED_TWIN:
    case QUEUE_FULL:
    case QUEUE_BYTES_FULL:
    case QUEUE_OTHER_REQUEST:
    case QUEUE_DRAINING:
    case QUEUE_BAD_ARGUMENT:
        break;
    default:
        return queue_reply_strange(name, err);
    }
    /* an alias in Redis may name anything: a client must not be sent to it */
    if (!queue_reply_id(reply->element[1], out->id))
        return error_set(err, ERR_CORRUPT, "submit: the stored id is not a UUID");
    out->outcome = (enum queue_submit_outcome)code;
    return 0;
}

int
queue_submit(redisContext *c, const struct queue *q, const struct queue_submission *s,
    struct queue_submitted *out, struct error *err)
{
    struct queue_call call;
    redisReply *reply;
    int rc;

    *out = (struct queue_submitted){0};
    if (queue_submit_call(q, s, &call, err) == -1)
        return -1;
    reply = queue_run(c, &call, err);
    queue_call_clear(&call);
    if (!reply)
        return -1;
    rc = queue_submit_parse(reply, out, err);
    freeReplyObject(reply);
    return rc;
}
