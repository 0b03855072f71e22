/*
 * claim.c - Leases: take them, prolong them, ask which ones are held.
 *
 * The input of a lease is copied out of the reply and is hostile: task_decode() is
 * the worker's to call.
 */
#include "common/queue/script.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEASE_ID,
    LEASE_FENCE,
    LEASE_ATTEMPT,
    LEASE_CRASHES,
    LEASE_WAIT,
    LEASE_PRIORITY,
    LEASE_INPUT,
    LEASE_GROUP,
    LEASE_OWNER,
    LEASE_TRACE,
    LEASE_ETA,
    LEASE_PARTS
};

static bool
parse_priority(const redisReply *reply, enum task_priority *priority)
{
    return queue_reply_is_string(reply) &&
           task_priority_from_name(reply->str, reply->len, priority) == 0;
}

/* 0, or -1 with ${err}; ${lease} owns its input only on success. */
static int
parse_lease(const redisReply *reply, struct queue_lease *lease, struct error *err)
{
    const char *name = queue_script_claim.name;
    const redisReply *const *part;
    int64_t fence;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != LEASE_PARTS)
        return queue_reply_strange(name, err);
    part = (const redisReply *const *)reply->element;
    if (!queue_reply_int(part[LEASE_FENCE], &fence) || fence < 1 ||
        !queue_reply_count(part[LEASE_ATTEMPT], &lease->attempt) ||
        !queue_reply_count(part[LEASE_CRASHES], &lease->crashes) ||
        !queue_reply_int(part[LEASE_WAIT], &lease->wait_ms) ||
        !parse_priority(part[LEASE_PRIORITY], &lease->priority) ||
        !queue_reply_is_string(part[LEASE_INPUT]))
        return queue_reply_strange(name, err);
    if (!queue_reply_id(part[LEASE_ID], lease->id))
        return error_set(err, ERR_CORRUPT, "claim: an id in the queue is not a UUID");
    lease->fence = (uint64_t)fence;
    if (lease->wait_ms < 0) /* Redis's clock was set back */
        lease->wait_ms = 0;
    /* for logs and metrics: what is broken is not there */
    if (!queue_reply_id(part[LEASE_GROUP], lease->group))
        lease->group[0] = '\0';
    queue_reply_text(part[LEASE_OWNER], lease->owner, sizeof(lease->owner));
    queue_reply_text(part[LEASE_TRACE], lease->trace_id, sizeof(lease->trace_id));
    if (!trace_id_is_valid(lease->trace_id, strlen(lease->trace_id)))
        lease->trace_id[0] = '\0';
    if (!queue_reply_int(part[LEASE_ETA], &lease->eta_ms) || lease->eta_ms < 0)
        lease->eta_ms = 0;
    lease->input_size = part[LEASE_INPUT]->len;
    if (!(lease->input = malloc(lease->input_size > 0 ? lease->input_size : 1)))
        return error_set(
            err, ERR_MEMORY, "claim: no memory for an input of %zu bytes", lease->input_size);
    memcpy(lease->input, part[LEASE_INPUT]->str, lease->input_size);
    return 0;
}

static int
parse_claims(const redisReply *reply, struct queue_claims *out, struct error *err)
{
    const char *name = queue_script_claim.name;
    const redisReply *wait_for, *more;

    if (queue_reply_array(reply, name, 2, err) == -1)
        return -1;
    wait_for = reply->element[0];
    more = reply->element[1];
    if (!queue_reply_is_string(wait_for) || !queue_reply_is_string(more) ||
        more->len != TASK_PRIORITY_COUNT || reply->elements > QUEUE_CLAIM_MAX + 2)
        return queue_reply_strange(name, err);
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++)
        out->more |= more->str[p] == '1' ? 1u << p : 0;
    if (wait_for->len > 0) {
        if (!parse_priority(wait_for, &out->wait_for))
            return queue_reply_strange(name, err);
        out->wait_for_suspect = true;
    }
    for (size_t i = 2; i < reply->elements; i++) {
        struct queue_lease *lease = &out->leases[out->n];
        struct error why;

        if (parse_lease(reply->element[i], lease, &why) == 0) {
            out->n++;
            continue;
        }
        *lease = (struct queue_lease){0};
        /* One broken id must not cost its neighbours their leases: it is left out, its lease
         * runs out, and the third time it fails for good. */
        if (why.code == ERR_CORRUPT)
            continue;
        return error_set(err, why.code, "%s", why.text);
    }
    return 0;
}

int
queue_claim(redisContext *c, const struct queue *q, const struct queue_claim_request *r,
    struct queue_claims *out, struct error *err)
{
    int room = r->room > QUEUE_CLAIM_MAX ? QUEUE_CLAIM_MAX : r->room;
    char takes[TASK_PRIORITY_COUNT + 1] = {0}, order[TASK_PRIORITY_COUNT + 1] = {0};
    struct queue_args a;
    redisReply *reply;
    int rc;

    *out = (struct queue_claims){0};
    if (room < 1 || r->busy < 0 || r->lease_ms < 1)
        return error_set(err, ERR_INVALID,
            "a claim needs a free slot and a lease, not %d and %lld ms", r->room,
            (long long)r->lease_ms);
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++)
        takes[p] = r->takes == 0 || r->takes & 1u << p ? '1' : '0';
    for (int i = 0; i < TASK_PRIORITY_COUNT; i++) /* Lua counts from 1 */
        order[i] = (char)('1' + (r->order != NULL ? (int)r->order[i] : i));
    queue_args_begin(&a, &queue_script_claim, q, 10);
    queue_args_text(&a, task_priority_name(r->priority));
    queue_args_bytes(&a, r->hint, r->hint_len);
    queue_args_text(&a, r->worker);
    queue_args_int(&a, r->lease_ms);
    queue_args_int(&a, r->busy);
    queue_args_int(&a, room);
    queue_args_int(&a, r->room_other);
    queue_args_int(&a, q->tuning.suspect_at);
    queue_args_text(&a, takes);
    queue_args_text(&a, order);
    if (!(reply = queue_args_run(&a, c, err)))
        return -1;
    rc = parse_claims(reply, out, err);
    freeReplyObject(reply);
    if (rc == -1)
        queue_claims_clear(out);
    return rc;
}

void
queue_claims_clear(struct queue_claims *claims)
{
    for (size_t i = 0; i < claims->n; i++)
        free(claims->leases[i].input);
    *claims = (struct queue_claims){0};
}

int
queue_renew(redisContext *c, const struct queue *q, const char *worker, int64_t lease_ms,
    int64_t max_run_ms, const struct queue_renewal *renewals, size_t n,
    enum queue_renew_code *codes, struct error *err)
{
    const char *name = queue_script_renew.name;
    struct queue_args a;
    redisReply *reply;
    int64_t code;
    int rc = -1;

    if (n == 0)
        return 0;
    if (n > INT_MAX / 8)
        return error_set(err, ERR_INVALID, "%zu leases are too many for one renewal", n);
    for (size_t i = 0; i < n; i++) {
        if (renewals[i].first_candle > TASK_HORIZON_MAX ||
            renewals[i].n_candles > TASK_HORIZON_MAX - renewals[i].first_candle)
            return error_set(
                err, ERR_INVALID, "more than %d candles of one task", TASK_HORIZON_MAX);
    }
    queue_args_begin(&a, &queue_script_renew, q, 3 + 6 * n);
    queue_args_text(&a, worker);
    queue_args_int(&a, lease_ms);
    queue_args_int(&a, max_run_ms);
    for (size_t i = 0; i < n; i++) {
        queue_args_text(&a, renewals[i].id);
        queue_args_uint(&a, renewals[i].fence);
        queue_args_int(&a, renewals[i].ticks);
        queue_args_uint(&a, renewals[i].step);
        queue_args_uint(&a, renewals[i].first_candle);
        queue_args_bytes(&a, renewals[i].candles, renewals[i].n_candles * QUEUE_CANDLE_BYTES);
    }
    if (!(reply = queue_args_run(&a, c, err)))
        return -1;
    if (queue_reply_array(reply, name, n, err) == -1)
        goto free_reply;
    for (size_t i = 0; i < n; i++) {
        if (!queue_reply_int(reply->element[i], &code) || code < QUEUE_RENEW_FENCED ||
            code > QUEUE_RENEWED_CANDLES_LOST) {
            queue_reply_strange(name, err);
            goto free_reply;
        }
        codes[i] = (enum queue_renew_code)code;
    }
    rc = 0;

free_reply:
    freeReplyObject(reply);
    return rc;
}

static bool
parse_held(const redisReply *reply, struct queue_held *held)
{
    int64_t fence;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        !queue_reply_id(reply->element[0], held->id) ||
        !queue_reply_int(reply->element[1], &fence) || fence < 1)
        return false;
    held->fence = (uint64_t)fence;
    return true;
}

int
queue_held(redisContext *c, const struct queue *q, const char *worker, struct queue_held *out,
    size_t max, size_t *n, struct error *err)
{
    struct queue_args a;
    redisReply *reply;
    int rc;

    *n = 0;
    queue_args_begin(&a, &queue_script_held, q, 2);
    queue_args_text(&a, worker);
    queue_args_uint(&a, max);
    if (!(reply = queue_args_run(&a, c, err)))
        return -1;
    rc = queue_reply_array(reply, queue_script_held.name, 0, err);
    for (size_t i = 0; rc == 0 && i < reply->elements && *n < max; i++)
        *n += parse_held(reply->element[i], &out[*n]); /* one with a broken id runs out */
    freeReplyObject(reply);
    return rc;
}
