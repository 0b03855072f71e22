/*
 * queue_fixture.h - A queue in a private Redis, for the queue_*_test programs.
 *
 * Every helper asserts that it worked. Time passes by moving what Redis stored into
 * the past, never by waiting for it.
 */
#ifndef TESTS_SUPPORT_QUEUE_FIXTURE_H
#define TESTS_SUPPORT_QUEUE_FIXTURE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/queue/queue.h"
#include "tests/support/redis_server.h"

#define FIXTURE_LEASE_MS 3600000 /* longer than any test */

struct queue_fixture {
    struct redis_server *server;
    redisContext *c;
    redisContext *events; /* subscribed by queue_fixture_listen() */
    long long markers;
    struct queue q;
    char run_id[41];
    char worker[ID_LEN + 1], other[ID_LEN + 1]; /* two workers */
    char text[4096];                            /* of queue_fixture_text() */
    struct error err;
};

/* Group and test fixtures for cmocka: *state is a struct queue_fixture. */
int queue_fixture_open(void **state);
int queue_fixture_close(void **state);
int queue_fixture_reset(void **state); /* an empty Redis, its scripts loaded, default tuning */

/* One command, words split at blanks, %s and %d and %b as hiredis takes them; "~" begins
 * a key of the queue: "HGET ~:task:%s state". An error reply fails the test. */
long long queue_fixture_int(struct queue_fixture *f, const char *format, ...);
const char *queue_fixture_text(struct queue_fixture *f, const char *format, ...); /* "" for nil */
redisReply *queue_fixture_reply(struct queue_fixture *f, const char *format, ...);

#define fixture_assert_field(f, id, name, expected)                                                \
    assert_string_equal(queue_fixture_text(f, "HGET ~:task:%s %s", id, name), expected)
long long queue_fixture_stat(struct queue_fixture *f, const char *name);

/** queue_fixture_fill(s, series, id): a valid submission of one task with a new ${id} [ID_LEN + 1]. */
void queue_fixture_fill(struct queue_submission *s, struct queue_series *series, char *id);

/** queue_fixture_submit(f, priority, id): one task; its new id into ${id}. */
void queue_fixture_submit(struct queue_fixture *f, enum task_priority priority, char *id);

/** queue_fixture_submit_as(f, s): run it, return the outcome; the id answered is in f->text. */
int queue_fixture_submit_as(struct queue_fixture *f, const struct queue_submission *s);

/** queue_fixture_claim(f, priority, worker, claims): pop a hint and claim with room for one. */
void queue_fixture_claim(struct queue_fixture *f, enum task_priority priority, const char *worker,
    struct queue_claims *claims);

/** queue_fixture_take(f, id, worker): claim exactly ${id}; its token. */
struct queue_token queue_fixture_take(
    struct queue_fixture *f, enum task_priority priority, const char *id, const char *worker);

/** queue_fixture_sweep(f): one sweep that nothing throttles. */
struct queue_swept queue_fixture_sweep(struct queue_fixture *f);

/** queue_fixture_run(f, call): run and clear it; a reply that is no error. */
redisReply *queue_fixture_run(struct queue_fixture *f, struct queue_call *call);

/** queue_fixture_do(f, rc, call): the same of a command, built with ${rc}; was it done? */
bool queue_fixture_do(struct queue_fixture *f, int rc, struct queue_call *call);

void queue_fixture_end_lease(struct queue_fixture *f, const char *id); /* it ran out just now */
void queue_fixture_pass_deadline(struct queue_fixture *f, const char *id);
void queue_fixture_listen(struct queue_fixture *f);

/** queue_fixture_event(f): the next "<id> <state>", or NULL if none was published. */
const char *queue_fixture_event(struct queue_fixture *f);

/** queue_fixture_canned(bytes): a connection that will answer ${bytes}; for redisFree(). */
redisContext *queue_fixture_canned(const char *bytes);

#endif /* TESTS_SUPPORT_QUEUE_FIXTURE_H */
