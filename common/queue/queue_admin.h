/*
 * queue_admin.h - The queue protocol's other half: what operators do and see.
 *
 * Calls for the evented way, as in queue.h: x_call builds the arguments, x_parse reads the
 * reply. A command that answers only whether it was done is read by queue_done_parse().
 */
#ifndef COMMON_QUEUE_QUEUE_ADMIN_H
#define COMMON_QUEUE_QUEUE_ADMIN_H

#include "common/queue/queue.h"

/** queue_done_parse(reply, is_done, err): false when there was nothing it could be done to. */
int queue_done_parse(const redisReply *reply, bool *is_done, struct error *err);

/* ---- queues and workers ---- */

enum queue_action {
    QUEUE_PAUSE,  /* no claims; submits go on */
    QUEUE_RESUME, /* and the hints spent in vain meanwhile are pushed again */
    QUEUE_DRAIN,  /* no submits; the queue empties */
    QUEUE_OPEN
};
#define QUEUE_ALL_PRIORITIES TASK_PRIORITY_COUNT

/** queue_control_call(q, action, priority, call, err): of one priority or QUEUE_ALL_PRIORITIES. */
int queue_control_call(const struct queue *q, enum queue_action action, enum task_priority priority,
    struct queue_call *call, struct error *err);

/** queue_weights_call(q, weights, call, err): turns of urgent, normal, low; each below 1000; NULL: default. */
int queue_weights_call(const struct queue *q, const unsigned weights[TASK_PRIORITY_COUNT],
    struct queue_call *call, struct error *err);

/** queue_quiet_call(q, worker, is_quiet, call, err): take nothing new; not done: no such worker. */
int queue_quiet_call(const struct queue *q, const char *worker, bool is_quiet,
    struct queue_call *call, struct error *err);

/**
 * queue_audit_call(q, cursor, call, err): a slice of all tasks, once a minute by some process:
 * is each where its state says? ${cursor} is "0", then what the last one answered, [24]; back at
 * "0" all were looked at.
 */
#define QUEUE_CURSOR_MAX 24
struct queue_audited {
    char cursor[QUEUE_CURSOR_MAX];
    int fixed; /* an alarm when it moves */
};
int queue_audit_call(
    const struct queue *q, const char *cursor, struct queue_call *call, struct error *err);
int queue_audit_parse(const redisReply *reply, struct queue_audited *out, struct error *err);
int queue_audit(redisContext *c, const struct queue *q, const char *cursor,
    struct queue_audited *out, struct error *err);

/* ---- one task ---- */

/** queue_requeue_call(q, id, call, err): a dead letter runs again; not done: it is none. */
int queue_requeue_call(
    const struct queue *q, const char *id, struct queue_call *call, struct error *err);

/** queue_move_call(q, id, priority, call, err): a waiting task; not done: it does not wait. */
int queue_move_call(const struct queue *q, const char *id, enum task_priority priority,
    struct queue_call *call, struct error *err);

/** queue_discard_call(q, id, call, err): give up a dead letter; its document lives out its life. */
int queue_discard_call(
    const struct queue *q, const char *id, struct queue_call *call, struct error *err);

enum queue_purge_outcome {
    QUEUE_PURGE_UNKNOWN = 0,
    QUEUE_PURGED = 1,
    QUEUE_PURGE_NOT_ENDED = 2,
    QUEUE_PURGE_MEMBER = 3, /* of a group that is still there: purge that */
    QUEUE_PURGE_OUTCOMES
};
/** queue_purge_call(q, id, call, err): erase an ended task or group and all that refers to it. */
int queue_purge_call(
    const struct queue *q, const char *id, struct queue_call *call, struct error *err);
int queue_purge_parse(const redisReply *reply, enum queue_purge_outcome *out, struct error *err);

/* ---- load and estimates ---- */

struct queue_load {
    int64_t now_ms;
    struct queue_speed speed;                          /* 0: nothing was measured yet */
    int64_t n_live, slots, busy, n_quiet;              /* workers; quiet ones add no slots */
    int64_t n_running, running_prefill, running_steps; /* and what is left of those tasks */
    int64_t n_later, n_dead, n_webhooks;
    struct {
        int64_t depth, prefill, steps, bytes, oldest_ms; /* age of what has waited longest */
        bool is_paused, is_draining;
    } queues[TASK_PRIORITY_COUNT];
};
int queue_load_call(const struct queue *q, struct queue_call *call, struct error *err);
int queue_load_parse(const redisReply *reply, struct queue_load *out, struct error *err);

struct queue_work { /* one task, or one about to be submitted */
    enum task_priority priority;
    int64_t position; /* 1-based rank; 0: behind everything of its priority */
    bool is_running;  /* then position does not matter */
    uint64_t prefill_tokens;
    uint32_t horizon, samples, step;
};

/**
 * queue_estimate(load, work, start_seconds, finish_seconds): seconds from now, by the averages of
 * this model. false: not known (no live worker, paused, nothing measured yet).
 */
bool queue_estimate(const struct queue_load *load, const struct queue_work *work,
    double *start_seconds, double *finish_seconds);

/** queue_estimate_group(load, works, n, ...): the same of those tasks of a group that have not ended. */
bool queue_estimate_group(const struct queue_load *load, const struct queue_work *works, size_t n,
    double *start_seconds, double *finish_seconds);

/** queue_backlog_seconds(load, priority): to empty it and what goes before it; -1: not known. */
double queue_backlog_seconds(const struct queue_load *load, enum task_priority priority);

/* ---- lists ---- */

struct queue_worker {
    char worker[ID_LEN + 1];
    int64_t beat_ms; /* older than QUEUE_PRESENCE_MS: lost */
    bool is_quiet;
    char name[128], host[128], version[64], kernel[32], model_version[128], weights_sha256[65];
    int64_t pid, slots, busy, tasks, context, rss_bytes, done, failed;
};
enum queue_worker_state {
    QUEUE_WORKER_IDLE,
    QUEUE_WORKER_BUSY,
    QUEUE_WORKER_QUIET,
    QUEUE_WORKER_LOST
};
enum queue_worker_state queue_worker_state(const struct queue_worker *worker, int64_t now_ms);
const char *queue_worker_state_name(enum queue_worker_state state); /* "idle" */
int queue_workers_call(const struct queue *q, struct queue_call *call, struct error *err);
int queue_workers_parse(const redisReply *reply, int64_t *now_ms, size_t *n, struct error *err);
/** queue_worker_parse(reply, i, out): worker ${i} of ${n}; numbers that are none are 0; -1: leave it out. */
int queue_worker_parse(const redisReply *reply, size_t i, struct queue_worker *out);

enum queue_list { QUEUE_LIST_DEAD, QUEUE_LIST_OWNER, QUEUE_LIST_RECENT };
#define QUEUE_PAGE_MAX        200
#define QUEUE_PAGE_CURSOR_MAX 64

struct queue_page_request { /* newest first */
    enum queue_list list;
    const char *owner;  /* of QUEUE_LIST_OWNER */
    const char *cursor; /* NULL: from the beginning; ERR_INVALID when it is none of ours */
    int limit;          /* 1..QUEUE_PAGE_MAX */
    bool has_status, has_priority; /* of a group the status is QUEUED until it has ended */
    enum task_status status;
    enum task_priority priority;
};
struct queue_page {
    int64_t now_ms;
    char cursor
        [QUEUE_PAGE_CURSOR_MAX]; /* "": this was the last page; a page may be short, or empty */
    size_t n;
};
int queue_page_call(const struct queue *q, const struct queue_page_request *r,
    struct queue_call *call, struct error *err);
int queue_page_parse(const redisReply *reply, struct queue_page *out, struct error *err);
/** queue_page_item_parse(reply, i, id, is_group, view, err): item ${i} of ${n}, without its output. */
int queue_page_item_parse(const redisReply *reply, size_t i, char *id, bool *is_group,
    struct queue_task_view *view, struct error *err);

#endif /* COMMON_QUEUE_QUEUE_ADMIN_H */
