/*
 * queue_oracle.h - What the queue must do, said a second time, in memory and without
 * Redis: the state machine of common/queue/DESIGN.md for queue_model_test.
 *
 * Time is a flag: a lease is over, a deadline has passed, a retry is due.
 */
#ifndef TESTS_SUPPORT_QUEUE_ORACLE_H
#define TESTS_SUPPORT_QUEUE_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/queue/queue.h"
#include "common/queue/queue_admin.h"
#include "common/queue/queue_outbox.h"

enum oracle_place { ORACLE_QUEUED, ORACLE_RUNNING, ORACLE_LATER, ORACLE_ENDED };

struct oracle_task {
    char id[ID_LEN + 1];
    enum oracle_place place;
    enum task_status end; /* once ENDED */
    enum task_priority priority;
    uint64_t seq, fence;
    int worker; /* number of the last worker it was given to; -1: none */
    int attempts, crashes;
    int64_t ticks;
    uint32_t n_candles; /* shown by the present run */
    bool has_deadline, is_late, is_cancelled, lease_is_over, is_due;
    bool is_stale;   /* has waited for longer than any task may */
    bool is_trimmed; /* a dead letter without its input */
    bool is_purged;
    bool has_hook;
    int shares, requeues;
    int same;    /* number of its single-flight hash; 0: none */
    size_t next; /* with the same bucket; number + 1 */
    size_t input_bytes, prefill_tokens, decode_steps;
    int group;         /* -1: none */
    long seen_by_look; /* for the test: last comparison that met it */
};

struct oracle_group {
    char id[ID_LEN + 1];
    int left;
    int ended[TASK_STATUS_COUNT];
    bool has_hook, is_purged;
};

struct oracle_delivery { /* one that is pending */
    char key[QUEUE_HOOK_KEY_MAX];
    char subject[ID_LEN + 1];
    uint64_t fence;
    uint32_t attempts;
    bool is_leased;
};

#define ORACLE_BUCKETS    4096
#define ORACLE_SAMES      4
#define ORACLE_DELIVERIES 256

struct oracle {
    struct oracle_task *tasks;
    size_t n_tasks, room_tasks;
    struct oracle_group *groups;
    size_t n_groups, room_groups;
    size_t *active; /* numbers of the tasks that have not ended */
    size_t n_active, room_active;
    size_t buckets[ORACLE_BUCKETS]; /* of all tasks by their ids; number + 1 */
    size_t same[ORACLE_SAMES];      /* number + 1 of the task an alias names */
    struct oracle_delivery deliveries[ORACLE_DELIVERIES];
    size_t n_deliveries;
    long n_events_written, n_dead;
    bool is_all_paused, is_paused[TASK_PRIORITY_COUNT];
    bool is_all_draining, is_draining[TASK_PRIORITY_COUNT];
    uint64_t seq;
    int64_t input_bytes, bytes[TASK_PRIORITY_COUNT];
    int64_t queued[TASK_PRIORITY_COUNT], prefill[TASK_PRIORITY_COUNT], steps[TASK_PRIORITY_COUNT];
    long ends[TASK_STATUS_COUNT], group_ends[TASK_STATUS_COUNT];
    long n_claims, n_returns; /* to queued, where clients can see it */
    size_t just_ended[256];   /* by the last operation */
    size_t n_just_ended;
};

void oracle_clear(struct oracle *o);

/** oracle_add_group(o, id, n): its number. */
int oracle_add_group(struct oracle *o, const char *id, int n);

/** oracle_add(o, task): queue a copy of ${task}, whose id, priority, sizes, deadline and group are set. */
void oracle_add(struct oracle *o, const struct oracle_task *task);

/** oracle_find(o, id): the task that has not ended, or NULL. */
struct oracle_task *oracle_find(struct oracle *o, const char *id);

/** oracle_lookup(o, id): also one that has, and one that was purged. */
struct oracle_task *oracle_lookup(const struct oracle *o, const char *id);

/** oracle_twin(o, same): the task a submission with this hash joins, or NULL; joining counts. */
struct oracle_task *oracle_twin(struct oracle *o, int same);

bool oracle_is_paused(const struct oracle *o, enum task_priority p);
bool oracle_is_draining(const struct oracle *o, enum task_priority p);
void oracle_control(struct oracle *o, enum queue_action action, enum task_priority p);

/* What clients and operators do to one task. */
enum queue_cancel_outcome oracle_cancel(struct oracle *o, const char *id);
bool oracle_requeue(struct oracle *o, const char *id);
bool oracle_move(struct oracle *o, const char *id, enum task_priority p);
bool oracle_discard(struct oracle *o, const char *id);
enum queue_purge_outcome oracle_purge(struct oracle *o, const char *id);
enum queue_purge_outcome oracle_purge_group(struct oracle *o, int group);

/** oracle_position(o, t): 1-based rank of what waits, else 0. */
int64_t oracle_position(const struct oracle *o, const struct oracle_task *t);

/* A claim: the hints that were in the lists, as they are popped. */
#define ORACLE_HINTS 64
struct oracle_hints {
    size_t n[TASK_PRIORITY_COUNT], next[TASK_PRIORITY_COUNT];
    char ids[TASK_PRIORITY_COUNT][ORACLE_HINTS][ID_LEN + 1];
};
struct oracle_claim {
    size_t n;
    const struct oracle_task *taken[QUEUE_CLAIM_MAX];
    bool wait_for_suspect;
    enum task_priority wait_for;
};
struct oracle_claim oracle_claim(
    struct oracle *o, struct oracle_hints *hints, const struct queue_claim_request *r, int worker);

enum queue_renew_code oracle_renew(
    struct oracle *o, const struct queue_renewal *renewal, int worker);
enum queue_end oracle_complete(struct oracle *o, const char *id, uint64_t fence, int worker);
enum queue_end oracle_fail(
    struct oracle *o, const char *id, uint64_t fence, int worker, bool retryable);
enum queue_end oracle_release(struct oracle *o, const char *id, uint64_t fence, int worker);

/* The outbox: the delivery of this key, or NULL. */
struct oracle_delivery *oracle_delivery(struct oracle *o, const char *key);
bool oracle_hook_done(
    struct oracle *o, const char *key, uint64_t fence, const struct queue_hook_result *result);

/** oracle_sweep(o): counts of due, leases and expired. */
struct queue_swept oracle_sweep(struct oracle *o);

/* Between the two halves of the oracle. */
void *oracle_grown(void *array, size_t *room, size_t n, size_t size);
void oracle_count_queued(struct oracle *o, const struct oracle_task *t, int sign);
void oracle_put(struct oracle *o, struct oracle_task *t, enum oracle_place place);
void oracle_finish(struct oracle *o, struct oracle_task *t, enum task_status end);

#endif /* TESTS_SUPPORT_QUEUE_ORACLE_H */
