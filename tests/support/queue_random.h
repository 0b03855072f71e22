/*
 * queue_random.h - One run of random operations on a queue and on its oracle, for queue_model_test.
 *
 * Each random_x() does one operation on both and asserts that both answered the same.
 */
#ifndef TESTS_SUPPORT_QUEUE_RANDOM_H
#define TESTS_SUPPORT_QUEUE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/queue_fixture.h"
#include "tests/support/queue_oracle.h"

#define RANDOM_WORKERS 3
#define RANDOM_TOKENS  256
#define RANDOM_CANDLES 3 /* most that come with one renewal */

struct random_token {
    char id[ID_LEN + 1];
    uint64_t fence;
    int worker;
};

struct random_hook {
    char key[QUEUE_HOOK_KEY_MAX];
    uint64_t fence;
};

struct random_run {
    struct queue_fixture *f;
    struct oracle o;
    uint64_t random;
    char workers[RANDOM_WORKERS][ID_LEN + 1];
    struct random_token tokens[RANDOM_TOKENS]; /* the last ones given out, most of them stale */
    size_t n_tokens;
    struct random_hook hooks[RANDOM_TOKENS];
    size_t n_hooks;
    char cursor[QUEUE_CURSOR_MAX]; /* of the audit */
    char look_sha1[41];
    long operation, n_looks, n_refused_writes, n_purged;
    long events[TASK_STATUS_COUNT];
};

uint32_t random_below(struct random_run *r, uint32_t n);
bool random_one_in(struct random_run *r, uint32_t n);
void random_id(struct random_run *r, char *id);

/** random_task(r, place): a random one in ${place} that has not ended, or NULL. */
struct oracle_task *random_task(struct random_run *r, enum oracle_place place);
size_t random_count_in(const struct random_run *r, enum oracle_place place);

/** random_candles(bytes, fence, first, n): what run ${fence} shows from candle ${first} on. */
void random_candles(unsigned char *bytes, uint64_t fence, uint32_t first, size_t n);

void random_set_control(struct random_run *r, enum queue_action action, enum task_priority p);
void random_control(struct random_run *r);
void random_cancel(struct random_run *r);
void random_purge(struct random_run *r);
void random_change(struct random_run *r); /* requeue, discard, move */
void random_audit(struct random_run *r);
void random_hook_claim(struct random_run *r);
void random_hook_renew(struct random_run *r);
void random_hook_done(struct random_run *r);
void random_read(struct random_run *r);

#endif /* TESTS_SUPPORT_QUEUE_RANDOM_H */
