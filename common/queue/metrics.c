/*
 * metrics.c - Increments to Redis, once each, and the sums of all processes back.
 *
 * Its keys have the prefix kq:{@metrics}, which no model can have: a model's name has no '@'.
 */
#include "common/queue/queue_metrics.h"

#include <stdio.h>
#include <string.h>

#include "common/queue/script.h"

#define HEAD_ARGS 4

static const struct queue fleet = {.prefix = "kq:{@metrics}"};

static void
add_number(struct queue_args *a, double value)
{
    char text[40];

    snprintf(text, sizeof(text), "%.17g", value);
    queue_args_text(a, text);
}

int
queue_metrics_add_call(const char *process, const struct metrics_batch *batch, bool is_leaving,
    struct queue_call *call, struct error *err)
{
    size_t n = batch->n_gauges + batch->n;
    struct queue_args a;

    queue_args_begin(&a, &queue_script_metrics_add, &fleet, HEAD_ARGS + 2 * n);
    queue_args_text(&a, process);
    queue_args_uint(&a, batch->number);
    queue_args_uint(&a, batch->n_gauges);
    queue_args_text(&a, is_leaving ? "1" : "0");
    for (size_t i = 0; i < n; i++) {
        queue_args_text(&a, batch->changes[i].field);
        add_number(&a, batch->changes[i].value);
    }
    return queue_args_end(&a, call, err);
}

int
queue_metrics_add_parse(const redisReply *reply, int *n_refused, struct error *err)
{
    const char *name = queue_script_metrics_add.name;
    int64_t code, refused;

    *n_refused = 0;
    if (queue_reply_array(reply, name, 2, err) == -1)
        return -1;
    if (!queue_reply_int(reply->element[0], &code) || code < 1 || code > 2 ||
        !queue_reply_int(reply->element[1], &refused) || refused < 0 || refused > METRICS_BATCH_MAX)
        return queue_reply_strange(name, err);
    *n_refused = (int)refused;
    return 0;
}

int
queue_metrics_flush(redisContext *c, const char *process, bool is_leaving, struct error *err)
{
    struct metrics_batch batch;
    struct queue_call call;
    redisReply *reply = NULL;
    int n_refused, rc = -1;

    if (metrics_batch(&batch, err) == -1)
        return -1;
    if (batch.n + batch.n_gauges == 0)
        return 0;
    if (queue_metrics_add_call(process, &batch, is_leaving, &call, err) == -1)
        goto clear_batch;
    reply = queue_run(c, &call, err);
    queue_call_clear(&call);
    if (reply == NULL)
        goto clear_batch;
    rc = queue_metrics_add_parse(reply, &n_refused, err);
    freeReplyObject(reply);
    if (rc == 0)
        metrics_batch_arrived(batch.number);

clear_batch:
    metrics_batch_clear(&batch);
    return rc;
}

int
queue_metrics_read_call(struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_metrics_read, &fleet, 1);
    queue_args_int(&a, QUEUE_METRICS_SILENT_MS);
    return queue_args_end(&a, call, err);
}

/* Names and values in turn. */
static void
add_fields(struct metrics_set *set, const redisReply *hash)
{
    if (hash->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        const redisReply *field = hash->element[i], *value = hash->element[i + 1];

        if (queue_reply_is_string(field) && queue_reply_is_string(value))
            (void)metrics_set_add_field(
                set, field->str, (size_t)field->len, value->str, (size_t)value->len);
    }
}

int
queue_metrics_read_parse(const redisReply *reply, struct metrics_set *sums,
    struct metrics_set *gauges, struct error *err)
{
    if (queue_reply_array(reply, queue_script_metrics_read.name, 1, err) == -1)
        return -1;
    add_fields(sums, reply->element[0]);
    for (size_t i = 1; i < reply->elements; i++)
        add_fields(gauges, reply->element[i]);
    return 0;
}

/* ---- sums of one model ---- */

enum {
    TOTAL_POP,
    TOTAL_LEASE,
    TOTAL_FENCED,
    TOTAL_FENCED_RENEW,
    TOTAL_SENT,
    TOTAL_RETRY,
    TOTAL_FAILED,
    TOTAL_DISABLED,
    TOTALS
};
static const char *const total_fields[TOTALS] = {"recovered_pop", "recovered_lease", "fenced",
    "fenced_renew", "hook_delivered", "hook_retry", "hook_failed", "hook_disabled"};

int
queue_totals_call(const struct queue *q, struct queue_call *call, struct error *err)
{
    char key[QUEUE_KEY_MAX], field[64];
    struct queue_args a;

    snprintf(key, sizeof(key), "%s:stats", q->prefix);
    queue_args_begin_plain(&a, 2 + TOTALS + TASK_PRIORITY_COUNT * TASK_STATUS_COUNT);
    queue_args_text(&a, "HMGET");
    queue_args_text(&a, key);
    for (size_t i = 0; i < TOTALS; i++)
        queue_args_text(&a, total_fields[i]);
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++) {
        for (int s = 0; s < TASK_STATUS_COUNT; s++) { /* those that are no end have no field */
            snprintf(field, sizeof(field), "%s:%s", task_status_name(s), task_priority_name(p));
            queue_args_text(&a, field);
        }
    }
    return queue_args_end(&a, call, err);
}

static uint64_t
total(const redisReply *reply)
{
    int64_t value;

    return queue_reply_int(reply, &value) && value > 0 ? (uint64_t)value : 0;
}

int
queue_totals_parse(const redisReply *reply, struct queue_totals *out, struct error *err)
{
    redisReply **part;

    *out = (struct queue_totals){0};
    if (queue_reply_array(reply, "HMGET", TOTALS + TASK_PRIORITY_COUNT * TASK_STATUS_COUNT, err) ==
        -1)
        return -1;
    part = reply->element;
    out->recovered_pop = total(part[TOTAL_POP]);
    out->recovered_lease = total(part[TOTAL_LEASE]);
    out->fenced = total(part[TOTAL_FENCED]) + total(part[TOTAL_FENCED_RENEW]);
    out->hook_delivered = total(part[TOTAL_SENT]);
    out->hook_retry = total(part[TOTAL_RETRY]);
    out->hook_failed = total(part[TOTAL_FAILED]);
    out->hook_disabled = total(part[TOTAL_DISABLED]);
    part += TOTALS;
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++)
        for (int s = 0; s < TASK_STATUS_COUNT; s++)
            out->ends[p][s] = total(*part++);
    return 0;
}
