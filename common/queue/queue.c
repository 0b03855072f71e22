/*
 * queue.c - A model's queue: its prefix, and every key or message built or read in C.
 *
 * Names under the prefix otherwise live in the Lua scripts alone.
 */
#include "common/queue/queue.h"

#include <stdio.h>
#include <string.h>

#define LIST_INFIX ":list:"
#define LIVE_INFIX ":live:"

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
                .max_queue_ms = QUEUE_MAX_QUEUE_MS,
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

void
queue_live_channel(const struct queue *q, const char *id, char *channel)
{
    snprintf(channel, QUEUE_KEY_MAX, "%s" LIVE_INFIX "%s", q->prefix, id);
}

/* Decimal digits up to ${stop}; where they end, or NULL. */
static const char *
read_digits(const char *p, const char *stop, uint64_t *value)
{
    const char *start = p;

    for (*value = 0; p < stop && *p >= '0' && *p <= '9'; p++) {
        if (*value > (UINT64_MAX - 9) / 10)
            return NULL;
        *value = *value * 10 + (uint64_t)(*p - '0');
    }
    return p > start ? p : NULL;
}

/* A blank, then digits up to ${max}; where they end, or NULL. */
static const char *
read_next(const char *p, const char *stop, uint32_t max, uint32_t *value)
{
    uint64_t number;

    if (p == stop || *p != ' ' || !(p = read_digits(p + 1, stop, &number)) || number > max)
        return NULL;
    *value = (uint32_t)number;
    return p;
}

int
queue_progress_parse(const char *channel, size_t channel_len, const char *message, size_t len,
    struct queue_progress *out)
{
    const size_t infix_len = strlen(LIVE_INFIX);
    const char *p, *stop = message + len;

    *out = (struct queue_progress){0};
    if (channel_len < infix_len + ID_LEN ||
        memcmp(channel + channel_len - ID_LEN - infix_len, LIVE_INFIX, infix_len) != 0)
        return -1;
    memcpy(out->id, channel + channel_len - ID_LEN, ID_LEN);
    if (!id_is_valid(out->id) || !(p = read_digits(message, stop, &out->fence)) ||
        !(p = read_next(p, stop, UINT32_MAX, &out->step)))
        return -1;
    if (p == stop)
        return 0;
    if (!(p = read_next(p, stop, TASK_HORIZON_MAX, &out->first_candle)) || p == stop || *p++ != ' ')
        return -1;
    out->candles = p;
    out->n_candles = (size_t)(stop - p) / QUEUE_CANDLE_BYTES;
    if ((size_t)(stop - p) % QUEUE_CANDLE_BYTES != 0 ||
        out->n_candles > TASK_HORIZON_MAX - out->first_candle)
        return -1;
    return 0;
}

const char *
queue_hook_outcome_name(enum queue_hook_outcome outcome)
{
    static const char *const names[QUEUE_HOOK_OUTCOMES] = {
        "", "pending", "delivered", "failed", "disabled"};

    return (unsigned)outcome < QUEUE_HOOK_OUTCOMES ? names[outcome] : "";
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
