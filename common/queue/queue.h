/*
 * queue.h - The whole queue protocol: one C function per Lua script.
 *
 * Nobody else writes a queue key. Truth is a sorted set and the task hash; the
 * lists only wake workers. A lease is (id, fence, worker): every write by a worker
 * is refused unless all three still hold. See DESIGN.md and schemas/redis-keys.md.
 *
 * What operators do is in queue_admin.h, webhooks are in queue_outbox.h.
 *
 * Each script x.lua is embedded at build time. Workers call it blocking
 * (queue_x); the API builds the same arguments (queue_x_call) and sends them over
 * its evented link with queue_send(). Both answer NOSCRIPT by EVAL of the source.
 */
#ifndef COMMON_QUEUE_QUEUE_H
#define COMMON_QUEUE_QUEUE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/id.h"
#include "common/task.h"
#include "common/trace.h"

#define QUEUE_LEASE_MS          15000
#define QUEUE_RENEW_MS          5000
#define QUEUE_SWEEP_MS          500 /* between sweeps of one process, +-20 % */
#define QUEUE_SWEEP_THROTTLE_MS 400
#define QUEUE_REPAIR_GRACE_MS   800  /* and up to two sweeps: a lost hint is back within 2 s */
#define QUEUE_BACKOFF_MS        1000 /* times 2, 4, 8 ... 300 */
#define QUEUE_MAX_RUN_MS        240000
#define QUEUE_MAX_ATTEMPTS      5
#define QUEUE_CRASH_CAP         3
#define QUEUE_SUSPECT_AT        2     /* lost leases from which a task runs alone */
#define QUEUE_MAX_QUEUED        10000 /* per priority */
#define QUEUE_MAX_BYTES         (512LL * 1024 * 1024)
#define QUEUE_RESULT_TTL_MS     (24LL * 3600 * 1000)
#define QUEUE_IDEM_TTL_MS       (24LL * 3600 * 1000)
#define QUEUE_DEAD_MAX          10000
#define QUEUE_DEAD_AGE_MS       (14LL * 24 * 3600 * 1000)
#define QUEUE_PRESENCE_MS       15000                /* a worker whose beat is older is not live */
#define QUEUE_CLAIM_MAX         16                   /* leases of one claim */
#define QUEUE_MAX_QUEUE_MS      (24LL * 3600 * 1000) /* a task waits no longer */

#define QUEUE_SWEEP_LIMIT    100  /* tasks one step of one sweep may move */
#define QUEUE_SERIES_MAX     64   /* tasks of one submission */
#define QUEUE_OWNER_MAX      128  /* bytes of an owner as a worker logs it */
#define QUEUE_ERROR_TEXT_MAX 1000 /* bytes of a stored error message */

/* Times and caps the scripts get with each call. queue_init() fills in the values above. */
struct queue_tuning {
    int64_t sweep_throttle_ms, repair_grace_ms, backoff_ms, dead_age_ms, presence_ms;
    int64_t lease_ms;     /* how long sweep spares leases after a restart of Redis */
    int64_t max_queue_ms; /* 0: a task may wait for ever */
    int sweep_limit, crash_cap, suspect_at, dead_max;
};

/* A queue is one model: all keys start with kq:{model}. */
struct queue {
    char prefix[80];
    char model[TASK_MODEL_NAME_MAX + 1];
    struct queue_tuning tuning;
};

/** queue_init(q, model, err): ERR_INVALID when ${model} is no model name (task.h). */
int queue_init(struct queue *q, const char *model, struct error *err);

/* One script with its arguments: built by queue_x_call, freed by queue_call_clear. */
struct queue_script;
struct queue_call {
    const struct queue_script *script; /* NULL: a plain command, argv is all of it */
    int argc;                          /* EVALSHA sha 1 prefix args... */
    const char **argv;
    size_t *lens;
    void *storage;
};
void queue_call_clear(struct queue_call *call);

/**
 * queue_run(c, call, err): run it blocking. A reply for freeReplyObject(), which may be
 * an error reply (queue_x_parse() turns that into an error), or NULL with ERR_UNAVAILABLE.
 * After ERR_UNAVAILABLE, here and below: close the connection, open another, repeat;
 * every script tolerates being repeated.
 */
redisReply *queue_run(redisContext *c, const struct queue_call *call, struct error *err);

/*
 * The evented way. ${fn} gets the reply once, never before this returns; NULL when Redis was
 * away. Takes ${call} over, also on failure: -1 (out of memory), and ${fn} is not called.
 */
struct redis_link;
typedef void (*queue_reply_fn)(void *cookie, const redisReply *reply);
int queue_send(struct redis_link *link, int timeout_ms, struct queue_call *call, queue_reply_fn fn,
    void *cookie);

/** queue_load_scripts(c, err): SCRIPT LOAD all of them; called when a connection opens. */
int queue_load_scripts(redisContext *c, struct error *err);

/* ---- submit ---- */

struct queue_series {                      /* one task */
    const char *task_id;                   /* [ID_LEN] */
    uint64_t prefill_tokens, decode_steps; /* task_cost() */
    uint32_t
        horizon; /* steps a document counts progress in; 0: unknown, progress shortens no estimate */
    const void *input; /* task_encode() */
    size_t input_size;
    const void *about; /* task_about_encode() */
    size_t about_size;
};
struct queue_submission { /* texts may be NULL where absent */
    const char *id; /* series[0]'s when there is one: a task; else a group's, of one or more */
    enum task_priority priority;
    const char *owner;                                  /* API key name, "local" */
    const char *idempotency;                            /* hex SHA-256 of owner and key */
    const char *digest;                                 /* hex SHA-256 of the request */
    const char *same;                                   /* single-flight hash */
    int64_t result_ttl_ms, idem_ttl_ms, deadline_in_ms; /* 0: no deadline */
    int max_attempts;
    const void *webhook;
    size_t webhook_size;
    unsigned webhook_events; /* 1u << task_status of each it wants to hear of; 0: every end */
    int64_t max_queued, max_bytes;
    int64_t eta_ms;       /* estimated time to the result; 0: unknown */
    const char *trace_id; /* W3C, [TRACE_ID_LEN] */
    size_t n_series;
    const struct queue_series *series;
};
enum queue_submit_outcome {
    QUEUE_SUBMITTED = 1,
    QUEUE_SAME_REQUEST = 2, /* known id or Idempotency-Key, same digest: id is the first one's */
    QUEUE_JOINED_TWIN = 3,
    QUEUE_FULL = -1,
    QUEUE_BYTES_FULL = -2,
    QUEUE_OTHER_REQUEST = -3,
    QUEUE_DRAINING = -4,
    QUEUE_BAD_ARGUMENT = -9,
    QUEUE_OUT_OF_MEMORY = -10 /* Redis answered OOM before the first write */
};
struct queue_submitted {
    enum queue_submit_outcome outcome;
    char id[ID_LEN + 1];
};
int queue_submit_call(const struct queue *q, const struct queue_submission *s,
    struct queue_call *call, struct error *err);
int queue_submit_parse(const redisReply *reply, struct queue_submitted *out, struct error *err);
int queue_submit(redisContext *c, const struct queue *q, const struct queue_submission *s,
    struct queue_submitted *out, struct error *err);

/* ---- rates ---- */

/**
 * queue_rate_call(owner, window_ms, call, err): one more submit of ${owner}, of whatever model, in
 * the window of ${window_ms} that began with its first.
 */
int queue_rate_call(
    const char *owner, int64_t window_ms, struct queue_call *call, struct error *err);

/** queue_rate_parse(reply, count, left_ms, err): how many with this one; how long the window lasts. */
int queue_rate_parse(const redisReply *reply, int64_t *count, int64_t *left_ms, struct error *err);

/* ---- claim ---- */

struct queue_lease {
    char id[ID_LEN + 1];
    uint64_t fence;
    uint32_t crashes;
    uint32_t attempt;
    enum task_priority priority;
    int64_t wait_ms;        /* queued -> claimed, on Redis's clock */
    char group[ID_LEN + 1]; /* "" when it is no member */
    char owner[QUEUE_OWNER_MAX + 1];
    char trace_id[TRACE_ID_LEN + 1]; /* "" without one */
    int64_t eta_ms;                  /* to the result, estimated at the submit; 0: unknown */
    void *input;                     /* malloc'ed */
    size_t input_size;
};
struct queue_claim_request {
    enum task_priority priority; /* of the popped hint */
    const char *hint;
    size_t hint_len;    /* 0: none was popped; the script pops one, if any waits */
    const char *worker; /* UUID of this process incarnation */
    int64_t lease_ms;
    int busy, room, room_other; /* slots held, free, of them free for normal and low */
    unsigned takes;             /* 1u << priority of each list to take hints from; 0: all of them */
    const enum task_priority *order; /* [TASK_PRIORITY_COUNT] to look at them; NULL: urgent first */
};
struct queue_claims {
    bool wait_for_suspect; /* empty yourself, then pop wait_for first */
    enum task_priority wait_for;
    unsigned more; /* 1u << priority of those of ${takes} in which hints are left */
    size_t n;
    struct queue_lease leases[QUEUE_CLAIM_MAX];
};
int queue_claim(redisContext *c, const struct queue *q, const struct queue_claim_request *r,
    struct queue_claims *out, struct error *err);
void queue_claims_clear(
    struct queue_claims *claims); /* frees inputs that were not taken (NULLed) */

/* ---- renew ---- */

/* A candle on its way to whoever watches: open, high, low, close, volume, amount as little-endian binary32. */
#define QUEUE_CANDLE_BYTES (TASK_FIELDS * 4)

struct queue_renewal {
    const char *id;
    uint64_t fence;
    int64_t ticks; /* proof of progress, must have grown since the last renewal */
    uint32_t step;
    uint32_t first_candle; /* how many came with earlier renewals of this run */
    const void *candles;   /* [n_candles] that follow them, QUEUE_CANDLE_BYTES each; or NULL */
    size_t n_candles;
};
enum queue_renew_code { /* stored once per lease, in the order given */
    QUEUE_RENEW_FENCED = 0,
    QUEUE_RENEWED = 1,
    QUEUE_RENEW_CANCELLED = 2,
    QUEUE_RENEW_DEADLINE = 3,
    QUEUE_RENEW_RUN_LIMIT = 4,
    QUEUE_RENEW_NO_PROGRESS = 5,
    QUEUE_RENEWED_CANDLES_LOST = 6 /* renewed; Redis has lost earlier candles: send them all */
};
int queue_renew(redisContext *c, const struct queue *q, const char *worker, int64_t lease_ms,
    int64_t max_run_ms, const struct queue_renewal *renewals, size_t n,
    enum queue_renew_code *codes, struct error *err);

/* A renewal whose step has grown, or that brings candles, is published; a worker that wants to show
 * progress more often than it must renew just renews more often (4 times a second is plenty;
 * NO_PROGRESS does no harm then). */
/* QUEUE_WATCH_PATTERN for PSUBSCRIBE; or queue_live_channel() */
struct queue_progress {
    char id[ID_LEN + 1];
    uint64_t fence;
    uint32_t step;
    uint32_t first_candle;
    const void *candles; /* [n_candles], into the message */
    size_t n_candles;
};

/** queue_live_channel(q, id, channel): where progress of ${id} is published, [QUEUE_KEY_MAX]. */
void queue_live_channel(const struct queue *q, const char *id, char *channel);

/** queue_progress_parse(channel, channel_len, message, len, out): 0, or -1 when it is none. */
int queue_progress_parse(const char *channel, size_t channel_len, const char *message, size_t len,
    struct queue_progress *out);

/* ---- the ends of a run ---- */

enum queue_end { /* what became of the task; 0 is a refusal: another holds it or it has ended */
    QUEUE_END_FENCED = 0,
    QUEUE_END_COMPLETED = 1,
    QUEUE_END_ALREADY = 2, /* this run had completed it before: the reply was lost */
    QUEUE_END_CANCELLED = 3,
    QUEUE_END_EXPIRED = 4,
    QUEUE_END_PARKED = 5,
    QUEUE_END_FAILED = 6,
    QUEUE_END_RELEASED = 7
};
const char *queue_end_name(enum queue_end end); /* "completed", "fenced", ... for logs */

struct queue_token {
    const char *id;
    uint64_t fence;
    const char *worker;
};

int queue_complete(redisContext *c, const struct queue *q, const struct queue_token *t,
    const void *output, size_t output_size, enum queue_end *end, struct error *err);

/* What a run took; the model's averages learn from it. 0: not measured. */
struct queue_speed {
    double prefill_seconds; /* per prefill token */
    double step_seconds;    /* per decode step of the worker, all its sequences together */
};
int queue_complete_measured(redisContext *c, const struct queue *q, const struct queue_token *t,
    const void *output, size_t output_size, const struct queue_speed *speed, enum queue_end *end,
    struct error *err);
/* code: inference_failed non_finite_output run_timeout input_corrupt; message is cut at 1000 bytes */
int queue_fail(redisContext *c, const struct queue *q, const struct queue_token *t,
    const char *code, const char *message, bool retryable, enum queue_end *end, struct error *err);
int queue_release(redisContext *c, const struct queue *q, const struct queue_token *t,
    enum queue_end *end, struct error *err);

/* ---- life of the fleet ---- */

struct queue_swept {
    bool throttled;
    int due, leases, expired, hints, trimmed;
    bool more;
};
int queue_sweep_call(
    const struct queue *q, const char *run_id, struct queue_call *call, struct error *err);
int queue_sweep_parse(const redisReply *reply, struct queue_swept *out, struct error *err);
int queue_sweep(redisContext *c, const struct queue *q, const char *run_id, struct queue_swept *out,
    struct error *err);

struct queue_presence { /* what a worker says of itself every 5 s; hash :worker:<wid> */
    const char *worker, *name, *host, *version, *model_version, *weights_sha256, *kernel;
    const char *tokenizer_version, *tokenizer_sha256; /* a NULL text is stored as "" */
    int64_t pid, slots, busy, tasks, context, vocabulary, rss_bytes, done, failed;
    struct queue_speed warm_up; /* the model's averages until the first task has ended */
};
struct queue_control {
    bool paused[TASK_PRIORITY_COUNT];
    bool quiet;
    bool has_weights;                      /* else the default */
    unsigned weights[TASK_PRIORITY_COUNT]; /* turns of each priority in BLPOP's order, not all 0 */
};
/** queue_beat(c, q, presence, out, err): say so; also puts the model into the set of models. */
int queue_beat(redisContext *c, const struct queue *q, const struct queue_presence *p,
    struct queue_control *out, struct error *err);
int queue_leave(redisContext *c, const struct queue *q, const char *worker,
    struct error *err); /* a clean exit removes its presence at once */

/** queue_held(c, q, worker, ...): leases under this worker id, after a claim whose reply was lost. */
struct queue_held {
    char id[ID_LEN + 1];
    uint64_t fence;
};
int queue_held(redisContext *c, const struct queue *q, const char *worker, struct queue_held *out,
    size_t max, size_t *n, struct error *err);

/* What the live workers of one model are together, for the API. */
struct queue_fleet {
    int64_t now_ms;      /* Redis time of the answer */
    size_t n_live;       /* workers that beat within QUEUE_PRESENCE_MS */
    size_t n_quiet;      /* of them told to take nothing new */
    int64_t slots, busy; /* of those that are not quiet */
    uint32_t context;    /* the smallest of the live workers, 0 without one */
    uint32_t vocabulary; /* of the worker that beat last, 0 without one or when it does not say */
    bool is_uniform;     /* all of them serve the same weights and tokenizer */
    /* of the worker that beat last; "" without one */
    char version[64], kernel[32], model_version[128], tokenizer_version[128];
    char weights_sha256[65], tokenizer_sha256[65];
};
int queue_presence_call(const struct queue *q, struct queue_call *call, struct error *err);
int queue_presence_parse(const redisReply *reply, struct queue_fleet *out, struct error *err);

/** Every model a worker ever served here; names that are none are left out. */
#define QUEUE_MODELS_MAX 256
struct queue_models {
    size_t n;
    char names[QUEUE_MODELS_MAX][TASK_MODEL_NAME_MAX + 1]; /* in order of strcmp */
};
int queue_models_call(struct queue_call *call, struct error *err);
int queue_models_parse(const redisReply *reply, struct queue_models *out, struct error *err);

/* ---- cancel ---- */

enum queue_cancel_outcome {
    QUEUE_CANCEL_UNKNOWN = 0,
    QUEUE_CANCEL_DONE = 1,   /* it waited and has ended */
    QUEUE_CANCEL_ASKED = 2,  /* it runs and ends at its next step */
    QUEUE_CANCEL_ENDED = 3,  /* it had ended before */
    QUEUE_CANCEL_SHARED = 4, /* others wait for it, too: it goes on */
    QUEUE_CANCEL_OUTCOMES
};
/** queue_cancel_call(q, id, call, err): a task; a group is cancelled by its members. */
int queue_cancel_call(
    const struct queue *q, const char *id, struct queue_call *call, struct error *err);
int queue_cancel_parse(const redisReply *reply, enum queue_cancel_outcome *out, struct error *err);

/* ---- events: published by the script that moves the task, never before the move ---- */

#define QUEUE_EVENTS_PATTERN "kq:{*}:events" /* for PSUBSCRIBE: all models */
struct queue_event {
    char id[ID_LEN + 1]; /* a task, or a group when its last member ended */
    /* PROCESSING at a claim, QUEUED when it came back from a worker or from the dead letters, else
     * how it ended */
    enum task_status status;
};

/** queue_event_parse(message, len, event): 0, or -1 when it is no event. */
int queue_event_parse(const char *message, size_t len, struct queue_event *event);

/* Events and progress of all models for one PSUBSCRIBE, so that they come in order. */
#define QUEUE_WATCH_PATTERN "kq:{*}:[el][vi]*"

/* ---- BLPOP: the hint that wakes a worker ---- */

/** queue_list_key(q, priority, key): "kq:{model}:list:urgent" into ${key} [QUEUE_KEY_MAX]. */
#define QUEUE_KEY_MAX 160
void queue_list_key(const struct queue *q, enum task_priority priority, char *key);
int queue_list_priority(
    const struct queue *q, const char *key, size_t len, enum task_priority *priority);

/* ---- plain reads, for the API ---- */

#define QUEUE_HOOK_ERROR_MAX 32 /* bytes of last_error, with its NUL */

enum queue_hook_outcome {
    QUEUE_HOOK_NONE, /* no webhook, no event yet, or delivered long ago */
    QUEUE_HOOK_PENDING,
    QUEUE_HOOK_DELIVERED,
    QUEUE_HOOK_FAILED,
    QUEUE_HOOK_DISABLED, /* the receiver said 410 */
    QUEUE_HOOK_OUTCOMES
};
const char *queue_hook_outcome_name(enum queue_hook_outcome outcome); /* "pending"; NONE is "" */

struct queue_hook_view { /* of the last event */
    enum queue_hook_outcome outcome;
    uint32_t attempts, last_status;        /* HTTP; 0: none yet */
    char last_error[QUEUE_HOOK_ERROR_MAX]; /* a word, "" for none */
    int64_t next_ms;                       /* while pending */
};

/*
 * A task whose life is over (result_ttl_ms after its end) is gone for a day: not found, and is_gone,
 * status, owner and finished_ms say what may be said. After that it is unknown: neither.
 */
struct queue_task_view { /* points into the reply */
    bool found, is_gone;
    enum task_status status;
    enum task_priority priority;
    const char *owner;
    size_t owner_len;
    int64_t created_ms, started_ms, finished_ms, deadline_ms, result_ttl_ms; /* 0: not set */
    int64_t position;        /* 1-based rank within model and priority while queued, else 0 */
    int64_t now_ms;          /* Redis time of the answer, also when not found */
    uint64_t prefill_tokens; /* as submitted; 0: unknown */
    uint32_t attempts, step;
    bool cancel_requested;
    const void *about;
    size_t about_size;
    const void *output;
    size_t output_size; /* NULL when not asked for or not there */
    const char *error_code;
    size_t error_code_len;
    const char *error_text;
    size_t error_text_len;
    char group[ID_LEN + 1]; /* "" when it is no member */
    uint32_t requeues;
    struct queue_hook_view hook;
};
/** queue_read_call(q, id, with_output): everything a document shows, in one read-only script. */
int queue_read_call(const struct queue *q, const char *id, bool with_output,
    struct queue_call *call, struct error *err);
int queue_read_parse(
    const redisReply *reply, bool with_output, struct queue_task_view *view, struct error *err);

/*
 * A group and its members at one moment. The group's view has status (QUEUED until the last member
 * has ended), priority, owner, the times of its own and its hook; about is its members' alone.
 */
int queue_group_read_call(const struct queue *q, const char *id, bool with_output,
    struct queue_call *call, struct error *err);
int queue_group_read_parse(const redisReply *reply, bool with_output, struct queue_task_view *group,
    size_t *n_members, struct error *err);
/** queue_group_member_parse(reply, with_output, i, id, view, err): member ${i} of those ${n_members}. */
int queue_group_member_parse(const redisReply *reply, bool with_output, size_t i, char *id,
    struct queue_task_view *view, struct error *err);

/*
 * A task for who follows it: the same view with its output, and the candles of its present run after
 * those that are known. All of it points into the reply.
 */
struct queue_watched {
    struct queue_task_view view;
    uint64_t fence; /* of the last claim; 0: never claimed */
    uint32_t first_candle;
    const void *candles; /* [n_candles] of the run ${fence}; only while it is processing */
    size_t n_candles;
    const void *input; /* NULL when not asked for or not there any more */
    size_t input_size;
};
struct queue_known { /* of the task */
    uint64_t fence;
    uint32_t n_candles; /* of that run */
    bool has_input;     /* it is not needed (again) */
};
int queue_watch_call(const struct queue *q, const char *id, const struct queue_known *known,
    struct queue_call *call, struct error *err);
int queue_watch_parse(const redisReply *reply, struct queue_watched *out, struct error *err);

#endif /* COMMON_QUEUE_QUEUE_H */
