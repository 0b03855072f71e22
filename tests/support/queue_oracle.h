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
    bool has_deadline, is_late, is_cancelled, lease_is_over, is_due;
    bool is_trimmed; /* a dead letter that was removed */
    size_t input_bytes, prefill_tokens, decode_steps;
    int group;         /* -1: none */
    long seen_by_look; /* for the test: last comparison that met it */
};

struct oracle_group {
    char id[ID_LEN + 1];
    int left;
    int ended[TASK_STATUS_COUNT];
};

struct oracle {
    struct oracle_task *tasks;
    size_t n_tasks, room_tasks;
    struct oracle_group *groups;
    size_t n_groups, room_groups;
    size_t *active; /* numbers of the tasks that have not ended */
    size_t n_active, room_active;
    uint64_t seq;
    int64_t input_bytes;
    int64_t queued[TASK_PRIORITY_COUNT], prefill[TASK_PRIORITY_COUNT], steps[TASK_PRIORITY_COUNT];
    long ends[TASK_STATUS_COUNT], group_ends[TASK_STATUS_COUNT];
    long n_claims, n_returns; /* to queued, where clients can see it */
    size_t just_ended[256]; /* by the last operation */
    size_t n_just_ended;
};

void oracle_clear(struct oracle *o);

/** oracle_add_group(o, id, n): its number. */
int oracle_add_group(struct oracle *o, const char *id, int n);

/** oracle_add(o, task): queue a copy of ${task}, whose id, priority, sizes, deadline and group are set. */
void oracle_add(struct oracle *o, const struct oracle_task *task);

/** oracle_find(o, id): the task that has not ended, or NULL. */
struct oracle_task *oracle_find(struct oracle *o, const char *id);

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
    struct oracle *o, const char *id, uint64_t fence, int worker, int64_t ticks);
enum queue_end oracle_complete(struct oracle *o, const char *id, uint64_t fence, int worker);
enum queue_end oracle_fail(
    struct oracle *o, const char *id, uint64_t fence, int worker, bool retryable);
enum queue_end oracle_release(struct oracle *o, const char *id, uint64_t fence, int worker);

/** oracle_sweep(o): counts of due, leases and expired. */
struct queue_swept oracle_sweep(struct oracle *o);

#endif /* TESTS_SUPPORT_QUEUE_ORACLE_H */
