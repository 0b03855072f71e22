/*
 * queue.c - A model's queue: its prefix, and every key or message built or read in C.
 *
 * Names under the prefix otherwise live in the Lua scripts alone.
 */
#include "common/queue/queue.h"

#include <stdio.h>
#include <string.h>

#define LIST_INFIX ":list:"

int
queue_init(struct queue *q, const char *model, struct error *err)
{
    size_t len = strlen(model);

    *q = (struct queue){
        .tuning =
            {
                .sweep_throttle_ms = QUEUE_SWEEP_THROTTLE_MS,
                .repair_grace_ms = QUEUE_REPAIR_GRACE_MS,
                .backoff_ms = QUEUE_BACKOFF_MS,
                .dead_age_ms = QUEUE_DEAD_AGE_MS,
                .presence_ms = QUEUE_PRESENCE_MS,
                .lease_ms = QUEUE_LEASE_MS,
                .sweep_limit = QUEUE_SWEEP_LIMIT,
                .crash_cap = QUEUE_CRASH_CAP,
                .suspect_at = QUEUE_SUSPECT_AT,
                .dead_max = QUEUE_DEAD_MAX,
            },
    };
    /* a brace in the name would move the hash tag that keeps a model's keys together */
    if (!task_model_name_is_valid(model, len))
        return error_set(err, ERR_INVALID,
            "model name: 1 to %d letters, digits, '.', '_' or '-', the first a letter or digit",
            TASK_MODEL_NAME_MAX);
    memcpy(q->model, model, len + 1);
    snprintf(q->prefix, sizeof(q->prefix), "kq:{%s}", model);
    return 0;
}

void
queue_list_key(const struct queue *q, enum task_priority priority, char *key)
{
    snprintf(key, QUEUE_KEY_MAX, "%s" LIST_INFIX "%s", q->prefix, task_priority_name(priority));
}

int
queue_list_priority(
    const struct queue *q, const char *key, size_t len, enum task_priority *priority)
{
    size_t prefix_len = strlen(q->prefix), infix_len = strlen(LIST_INFIX);
    size_t skip = prefix_len + infix_len;

    if (len <= skip || memcmp(key, q->prefix, prefix_len) != 0 ||
        memcmp(key + prefix_len, LIST_INFIX, infix_len) != 0)
        return -1;
    return task_priority_from_name(key + skip, len - skip, priority);
}

int
queue_event_parse(const char *message, size_t len, struct queue_event *event)
{
    if (len < ID_LEN + 2 || message[ID_LEN] != ' ')
        return -1;
    memcpy(event->id, message, ID_LEN);
    event->id[ID_LEN] = '\0';
    if (!id_is_valid(event->id))
        return -1;
    return task_status_from_name(message + ID_LEN + 1, len - ID_LEN - 1, &event->status);
}

const char *
queue_end_name(enum queue_end end)
{
    switch (end) {
    case QUEUE_END_FENCED:
        return "fenced";
    case QUEUE_END_COMPLETED:
        return "completed";
    case QUEUE_END_ALREADY:
        return "already_completed";
    case QUEUE_END_CANCELLED:
        return "cancelled";
    case QUEUE_END_EXPIRED:
        return "expired";
    case QUEUE_END_PARKED:
        return "parked";
    case QUEUE_END_FAILED:
        return "failed";
    case QUEUE_END_RELEASED:
        return "released";
    }
    return "unknown";
}
