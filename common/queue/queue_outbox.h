/*
 * queue_outbox.h - The queue protocol's outbox: events that webhooks are to be told.
 *
 * An event is written by the script that ends (or starts) the task, once per run. It is leased
 * with a fence, so two processes never both decide what became of it; the receiver may see
 * it twice, and knows it by its event id.
 */
#ifndef COMMON_QUEUE_QUEUE_OUTBOX_H
#define COMMON_QUEUE_QUEUE_OUTBOX_H

#include "common/queue/queue.h"

#define QUEUE_HOOK_LEASE_MS     20000 /* as long as an event waits for a sender that has died */
#define QUEUE_HOOK_RENEW_MS     5000
#define QUEUE_HOOK_RENEW_MAX    500 /* leases of one call */
#define QUEUE_HOOK_CLAIM_MAX    100
#define QUEUE_HOOK_KEY_MAX      96
#define QUEUE_HOOK_EVENT_ID_MAX 96

struct queue_delivery { /* points into the reply */
    char key[QUEUE_HOOK_KEY_MAX];
    uint64_t fence;
    uint32_t attempts;        /* with this one */
    char subject[ID_LEN + 1]; /* the task or group; of a ping its own id */
    bool is_ping;             /* else: */
    bool is_group;            /* or was, when it is gone */
    enum task_status status;  /* PROCESSING, COMPLETED, FAILED, CANCELLED, EXPIRED */
    uint32_t requeues;
    int64_t created_ms, expires_ms; /* when it happened; nothing is sent after */
    const char *owner, *error_code, *error_text;
    size_t owner_len, error_code_len, error_text_len;
    const void *webhook; /* as submitted */
    size_t webhook_size;
};

/** queue_hook_event_id(d, id): "evt_<task>_<status>[_r<n>]", the same at every attempt and replay. */
void queue_hook_event_id(const struct queue_delivery *d, char *id);

int queue_hook_claim_call(
    const struct queue *q, int64_t lease_ms, int limit, struct queue_call *call, struct error *err);
int queue_hook_claim_parse(const redisReply *reply, int64_t *now_ms, size_t *n, struct error *err);
/**
 * queue_hook_delivery_parse(reply, i, d, err): number ${i} of ${n}. ERR_CORRUPT: what is stored is
 * broken; when ${d}->key is not "" it can at least be given up.
 */
int queue_hook_delivery_parse(
    const redisReply *reply, size_t i, struct queue_delivery *d, struct error *err);

struct queue_hook_lease {
    const char *key;
    uint64_t fence;
};
/** queue_hook_renew_call(q, lease_ms, leases, n, ...): of at most QUEUE_HOOK_RENEW_MAX leases. */
int queue_hook_renew_call(const struct queue *q, int64_t lease_ms,
    const struct queue_hook_lease *leases, size_t n, struct queue_call *call, struct error *err);
/** queue_hook_renew_parse(reply, n, kept, err): ${kept} [n], in the order given; false: fenced. */
int queue_hook_renew_parse(const redisReply *reply, size_t n, bool *kept, struct error *err);

enum queue_hook_verdict {
    QUEUE_HOOK_SENT,
    QUEUE_HOOK_RETRY,   /* after delay_ms */
    QUEUE_HOOK_RELEASE, /* not tried: the attempt is given back; due again after delay_ms */
    QUEUE_HOOK_GIVE_UP, /* a dead delivery, which can be replayed */
    QUEUE_HOOK_DISABLE
};
struct queue_hook_result {
    enum queue_hook_verdict verdict;
    int64_t delay_ms;
    uint32_t last_status;   /* HTTP; 0: there was no answer */
    const char *last_error; /* "" or a word like blocked_address; may be NULL */
};
/** queue_hook_done_call(q, key, fence, result, ...): read by queue_done_parse(); not done: fenced. */
int queue_hook_done_call(const struct queue *q, const char *key, uint64_t fence,
    const struct queue_hook_result *result, struct queue_call *call, struct error *err);

enum queue_replay_outcome {
    QUEUE_REPLAY_UNKNOWN = 0,
    QUEUE_REPLAYED = 1,
    QUEUE_REPLAY_NO_WEBHOOK = 2, /* or no event yet, or one delivered long ago */
    QUEUE_REPLAY_OUTCOMES
};
int queue_hook_replay_call(
    const struct queue *q, const char *id, struct queue_call *call, struct error *err);
int queue_hook_replay_parse(
    const redisReply *reply, enum queue_replay_outcome *out, struct error *err);

/** queue_hook_ping_call(q, id, owner, webhook, size, ...): an event about nothing; queue_done_parse(). */
int queue_hook_ping_call(const struct queue *q, const char *id, const char *owner,
    const void *webhook, size_t webhook_size, struct queue_call *call, struct error *err);

#endif /* COMMON_QUEUE_QUEUE_OUTBOX_H */
