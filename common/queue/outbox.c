/*
 * outbox.c - Events for webhooks: lease them, say what became of them, send one again.
 *
 * Knows neither HTTP nor what is in `webhook`: those are the webhook daemon's.
 */
#include "common/queue/queue_outbox.h"
#include "common/queue/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PING_LIFE_MS 3600000

enum {
    HOOK_KEY,
    HOOK_FENCE,
    HOOK_ATTEMPTS,
    HOOK_SUBJECT,
    HOOK_STATE,
    HOOK_OWNER,
    HOOK_REQUEUES,
    HOOK_CREATED,
    HOOK_EXPIRES,
    HOOK_ERROR_CODE,
    HOOK_ERROR,
    HOOK_WEBHOOK,
    HOOK_IS_GROUP,
    N_HOOK
};
#define PING_STATE "ping"

void
queue_hook_event_id(const struct queue_delivery *d, char *id)
{
    int n;

    if (d->is_ping) {
        snprintf(id, QUEUE_HOOK_EVENT_ID_MAX, "evt_%s", d->subject);
        return;
    }
    n = snprintf(id, QUEUE_HOOK_EVENT_ID_MAX, "evt_%s_%s", d->subject, task_status_name(d->status));
    if (d->requeues > 0)
        snprintf(id + n, (size_t)(QUEUE_HOOK_EVENT_ID_MAX - n), "_r%" PRIu32, d->requeues);
}

int
queue_hook_claim_call(
    const struct queue *q, int64_t lease_ms, int limit, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    *call = (struct queue_call){0};
    if (lease_ms < 1 || limit < 1 || limit > QUEUE_HOOK_CLAIM_MAX)
        return error_set(err, ERR_INVALID, "1 to %d deliveries are leased at once, not %d",
            QUEUE_HOOK_CLAIM_MAX, limit);
    queue_args_begin(&a, &queue_script_hook_claim, q, 2);
    queue_args_int(&a, lease_ms);
    queue_args_int(&a, limit);
    return queue_args_end(&a, call, err);
}

int
queue_hook_claim_parse(const redisReply *reply, int64_t *now_ms, size_t *n, struct error *err)
{
    const char *name = queue_script_hook_claim.name;

    *n = 0;
    if (queue_reply_array(reply, name, 1, err) == -1)
        return -1;
    if (!queue_reply_int(reply->element[0], now_ms) || reply->elements > QUEUE_HOOK_CLAIM_MAX + 1)
        return queue_reply_strange(name, err);
    *n = reply->elements - 1;
    return 0;
}

static int
corrupt(const char *what, struct error *err)
{
    return error_set(err, ERR_CORRUPT, "stored delivery: %s is not readable", what);
}

int
queue_hook_delivery_parse(
    const redisReply *reply, size_t i, struct queue_delivery *d, struct error *err)
{
    const char *name = queue_script_hook_claim.name;
    const redisReply *item;
    redisReply **part;
    int64_t fence, is_group;

    *d = (struct queue_delivery){0};
    if (queue_reply_array(reply, name, 1, err) == -1)
        return -1;
    if (i >= reply->elements - 1)
        return queue_reply_strange(name, err);
    item = reply->element[1 + i];
    if (item->type != REDIS_REPLY_ARRAY || item->elements != N_HOOK)
        return queue_reply_strange(name, err);
    part = item->element;
    if (!queue_reply_int(part[HOOK_FENCE], &fence) || fence < 1 ||
        !queue_reply_count(part[HOOK_ATTEMPTS], &d->attempts) ||
        !queue_reply_int(part[HOOK_IS_GROUP], &is_group))
        return queue_reply_strange(name, err);
    for (int p = HOOK_SUBJECT; p <= HOOK_WEBHOOK; p++) {
        if (!queue_reply_is_string(part[p]))
            return queue_reply_strange(name, err);
    }
    if (!queue_reply_is_string(part[HOOK_KEY]) || part[HOOK_KEY]->len < 1 ||
        part[HOOK_KEY]->len >= QUEUE_HOOK_KEY_MAX ||
        memchr(part[HOOK_KEY]->str, '\0', part[HOOK_KEY]->len) != NULL)
        return corrupt("key", err);
    queue_reply_text(part[HOOK_KEY], d->key, sizeof(d->key));
    d->fence = (uint64_t)fence;
    d->is_group = is_group != 0;
    if (!queue_reply_id(part[HOOK_SUBJECT], d->subject))
        return corrupt("subject", err);
    d->is_ping = strcmp(part[HOOK_STATE]->str, PING_STATE) == 0;
    if (!d->is_ping && (task_status_from_name(part[HOOK_STATE]->str, (size_t)part[HOOK_STATE]->len,
                            &d->status) == -1 ||
                           d->status == TASK_QUEUED))
        return corrupt("state", err);
    if (!queue_reply_count(part[HOOK_REQUEUES], &d->requeues) ||
        !queue_reply_int(part[HOOK_CREATED], &d->created_ms) || d->created_ms < 0 ||
        !queue_reply_int(part[HOOK_EXPIRES], &d->expires_ms) || d->expires_ms < 0)
        return corrupt("a number", err);
    d->owner = part[HOOK_OWNER]->str;
    d->owner_len = (size_t)part[HOOK_OWNER]->len;
    d->error_code = part[HOOK_ERROR_CODE]->str;
    d->error_code_len = (size_t)part[HOOK_ERROR_CODE]->len;
    d->error_text = part[HOOK_ERROR]->str;
    d->error_text_len = (size_t)part[HOOK_ERROR]->len;
    d->webhook = part[HOOK_WEBHOOK]->str;
    d->webhook_size = (size_t)part[HOOK_WEBHOOK]->len;
    return 0;
}

int
queue_hook_renew_call(const struct queue *q, int64_t lease_ms,
    const struct queue_hook_lease *leases, size_t n, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    *call = (struct queue_call){0};
    if (lease_ms < 1 || n < 1 || n > QUEUE_HOOK_RENEW_MAX)
        return error_set(err, ERR_INVALID, "1 to %d leases are renewed at once, not %zu",
            QUEUE_HOOK_RENEW_MAX, n);
    queue_args_begin(&a, &queue_script_hook_renew, q, 1 + 2 * n);
    queue_args_int(&a, lease_ms);
    for (size_t i = 0; i < n; i++) {
        queue_args_text(&a, leases[i].key);
        queue_args_uint(&a, leases[i].fence);
    }
    return queue_args_end(&a, call, err);
}

int
queue_hook_renew_parse(const redisReply *reply, size_t n, bool *kept, struct error *err)
{
    const char *name = queue_script_hook_renew.name;
    int64_t code;

    if (queue_reply_array(reply, name, n, err) == -1)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (!queue_reply_int(reply->element[i], &code))
            return queue_reply_strange(name, err);
        kept[i] = code == 1;
    }
    return 0;
}

int
queue_hook_done_call(const struct queue *q, const char *key, uint64_t fence,
    const struct queue_hook_result *result, struct queue_call *call, struct error *err)
{
    static const char *const outcomes[] = {
        [QUEUE_HOOK_SENT] = "delivered",
        [QUEUE_HOOK_RETRY] = "retry",
        [QUEUE_HOOK_RELEASE] = "release",
        [QUEUE_HOOK_GIVE_UP] = "failed",
        [QUEUE_HOOK_DISABLE] = "disabled",
    };
    struct queue_args a;

    *call = (struct queue_call){0};
    if ((unsigned)result->verdict >= sizeof(outcomes) / sizeof(outcomes[0]) || result->delay_ms < 0)
        return error_set(err, ERR_INVALID, "verdict %d after %lld ms is none", (int)result->verdict,
            (long long)result->delay_ms);
    queue_args_begin(&a, &queue_script_hook_done, q, 6);
    queue_args_text(&a, key);
    queue_args_uint(&a, fence);
    queue_args_text(&a, outcomes[result->verdict]);
    queue_args_int(&a, result->delay_ms);
    queue_args_uint(&a, result->last_status);
    queue_args_text(&a, result->last_error);
    return queue_args_end(&a, call, err);
}

int
queue_hook_replay_call(
    const struct queue *q, const char *id, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_hook_replay, q, 1);
    queue_args_text(&a, id);
    return queue_args_end(&a, call, err);
}

int
queue_hook_replay_parse(const redisReply *reply, enum queue_replay_outcome *out, struct error *err)
{
    const char *name = queue_script_hook_replay.name;
    int64_t code;

    if (queue_reply_code(reply, name, &code, err) == -1)
        return -1;
    if (code < 0 || code >= QUEUE_REPLAY_OUTCOMES)
        return queue_reply_strange(name, err);
    *out = (enum queue_replay_outcome)code;
    return 0;
}

int
queue_hook_ping_call(const struct queue *q, const char *id, const char *owner, const void *webhook,
    size_t webhook_size, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_hook_ping, q, 4);
    queue_args_text(&a, id);
    queue_args_text(&a, owner);
    queue_args_bytes(&a, webhook, webhook_size);
    queue_args_int(&a, PING_LIFE_MS);
    return queue_args_end(&a, call, err);
}
