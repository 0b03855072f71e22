/*
 * queue_sweep_test.c - What time does to tasks: lost hints and leases, deadlines,
 * retries, trimming. Against a real Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/support/queue_fixture.h"

static void
two_sweeps_at_once_are_one(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_swept swept;

    f->q.tuning.sweep_throttle_ms = 60000;
    assert_int_equal(queue_sweep(f->c, &f->q, f->run_id, &swept, &f->err), 0);
    assert_false(swept.throttled);
    assert_int_equal(queue_sweep(f->c, &f->q, f->run_id, &swept, &f->err), 0);
    assert_true(swept.throttled);
}

static void
after_a_restart_of_redis_leases_are_spared_for_one_lease(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];

    queue_fixture_sweep(f); /* knows the first run id */
    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    queue_fixture_end_lease(f, id);
    f->run_id[0] = 'b';
    f->q.tuning.lease_ms = 3600000;
    assert_int_equal(queue_fixture_sweep(f).leases, 0);
    assert_int_equal(queue_fixture_sweep(f).leases, 0);
    fixture_assert_field(f, id, "state", "processing");
    queue_fixture_int(f, "HSET ~:boot hold_until_ms 1");
    assert_int_equal(queue_fixture_sweep(f).leases, 1);
    fixture_assert_field(f, id, "state", "queued");
}

static void
a_lost_hint_comes_back_after_the_grace_and_not_before(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);
    assert_int_equal(queue_fixture_sweep(f).hints, 0); /* nothing is missing */
    queue_fixture_int(f, "LPOP ~:list:normal");        /* popped by a worker that died */
    f->q.tuning.repair_grace_ms = 3600000;
    assert_int_equal(queue_fixture_sweep(f).hints, 0);
    assert_int_equal(queue_fixture_sweep(f).hints, 0);
    assert_int_equal(queue_fixture_int(f, "LLEN ~:list:normal"), 0);
    queue_fixture_int(f, "HINCRBY ~:deficit normal -3600000");
    assert_int_equal(queue_fixture_sweep(f).hints, 1);
    assert_string_equal(queue_fixture_text(f, "LINDEX ~:list:normal 0"), id);
    assert_int_equal(queue_fixture_stat(f, "recovered_pop"), 1);
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:deficit"), 0);
}

static void
a_deficit_that_went_away_starts_its_grace_anew(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_LOW, id);
    queue_fixture_int(f, "LPOP ~:list:low");
    queue_fixture_sweep(f);
    assert_int_equal(queue_fixture_int(f, "HEXISTS ~:deficit low"), 1);
    queue_fixture_int(f, "RPUSH ~:list:low %s", id);
    queue_fixture_sweep(f);
    assert_int_equal(queue_fixture_int(f, "HEXISTS ~:deficit low"), 0);
}

static void
a_paused_priority_gets_no_hints(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];

    f->q.tuning.repair_grace_ms = 0;
    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_int(f, "LPOP ~:list:normal");
    queue_fixture_int(f, "HSET ~:control paused:normal 1");
    queue_fixture_sweep(f);
    assert_int_equal(queue_fixture_sweep(f).hints, 0);
    queue_fixture_int(f, "DEL ~:control");
    queue_fixture_sweep(f);
    assert_int_equal(queue_fixture_sweep(f).hints, 1);
}

static void
a_large_surplus_of_hints_is_trimmed(void **state)
{
    struct queue_fixture *f = *state;

    for (int i = 0; i < 1050; i++)
        queue_fixture_int(f, "RPUSH ~:list:low x");
    queue_fixture_sweep(f);
    assert_int_equal(queue_fixture_int(f, "LLEN ~:list:low"), 950);
    queue_fixture_sweep(f);
    assert_int_equal(queue_fixture_int(f, "LLEN ~:list:low"), 950); /* each costs an empty claim */
}

static void
a_lease_of_a_few_milliseconds_runs_out_by_itself(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_claims claims;
    struct queue_claim_request r = {.priority = TASK_NORMAL,
        .hint = "",
        .worker = f->worker,
        .lease_ms = 20,
        .room = 1,
        .room_other = 1};
    char id[ID_LEN + 1];
    int64_t give_up_ms = clock_monotonic_ms() + 10000;
    int lost = 0;

    queue_fixture_submit(f, TASK_NORMAL, id);
    assert_int_equal(queue_claim(f->c, &f->q, &r, &claims, &f->err), 0);
    assert_int_equal(claims.n, 1);
    queue_claims_clear(&claims);
    while (lost == 0 && clock_monotonic_ms() < give_up_ms)
        lost = queue_fixture_sweep(f).leases;
    assert_int_equal(lost, 1);
    fixture_assert_field(f, id, "state", "queued");
}

static void
lose_lease(struct queue_fixture *f, const char *id)
{
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    queue_fixture_end_lease(f, id);
    assert_int_equal(queue_fixture_sweep(f).leases, 1);
}

static void
the_first_lost_lease_requeues_the_second_parks_the_third_fails(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1], younger[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_submit(f, TASK_NORMAL, younger);
    lose_lease(f, id);
    fixture_assert_field(f, id, "state", "queued");
    fixture_assert_field(f, id, "crashes", "1");
    fixture_assert_field(f, id, "worker", "");
    assert_int_equal(queue_fixture_int(f, "ZSCORE ~:queued:normal %s", id), 1); /* its old place */
    assert_int_equal(queue_fixture_int(f, "ZRANK ~:queued:normal %s", id), 0);

    lose_lease(f, id); /* take() proves that it was at the head */
    fixture_assert_field(f, id, "state", "scheduled");
    fixture_assert_field(f, id, "crashes", "2");
    queue_fixture_int(f, "ZADD ~:later 1 %s", id);
    assert_int_equal(queue_fixture_sweep(f).due, 1);

    queue_fixture_take(f, TASK_NORMAL, younger, f->worker);
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    queue_fixture_end_lease(f, id);
    queue_fixture_sweep(f);
    fixture_assert_field(f, id, "state", "failed");
    fixture_assert_field(f, id, "error_code", "worker_lost");
    fixture_assert_field(f, id, "error", "lease lost 3 times");
    assert_int_equal(queue_fixture_stat(f, "poison"), 1);
    assert_int_equal(queue_fixture_stat(f, "recovered_lease"), 3);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:dead"), 1);
}

static void
a_lost_lease_of_the_last_attempt_fails(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_int(f, "HSET ~:task:%s max_attempts 1", id);
    lose_lease(f, id);
    fixture_assert_field(f, id, "state", "failed");
    assert_int_equal(queue_fixture_stat(f, "poison"), 0);
}

static void
a_lost_lease_of_a_cancelled_or_late_task_ends_it(void **state)
{
    struct queue_fixture *f = *state;
    char cancelled[ID_LEN + 1], late[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, cancelled);
    queue_fixture_submit(f, TASK_NORMAL, late);
    queue_fixture_take(f, TASK_NORMAL, cancelled, f->worker);
    queue_fixture_take(f, TASK_NORMAL, late, f->worker);
    queue_fixture_int(f, "HSET ~:task:%s cancel 1", cancelled);
    queue_fixture_int(f, "HSET ~:task:%s deadline_ms 1", late);
    queue_fixture_end_lease(f, cancelled);
    queue_fixture_end_lease(f, late);
    assert_int_equal(queue_fixture_sweep(f).leases, 2);
    fixture_assert_field(f, cancelled, "state", "cancelled");
    fixture_assert_field(f, late, "state", "expired");
}

static void
a_deadline_ends_what_waits_and_what_is_parked(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    struct queue_token t;
    enum queue_end end;
    char waiting[ID_LEN + 1], parked[ID_LEN + 1];

    queue_fixture_fill(&s, &series, parked);
    s.deadline_in_ms = 3600000;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    t = queue_fixture_take(f, TASK_NORMAL, parked, f->worker);
    assert_int_equal(queue_fail(f->c, &f->q, &t, "inference_failed", "x", true, &end, &f->err), 0);
    assert_int_equal(end, QUEUE_END_PARKED);
    queue_fixture_fill(&s, &series, waiting);
    s.deadline_in_ms = 3600000;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);

    assert_int_equal(queue_fixture_sweep(f).expired, 0);
    queue_fixture_pass_deadline(f, waiting);
    queue_fixture_pass_deadline(f, parked);
    assert_int_equal(queue_fixture_sweep(f).expired, 2);
    fixture_assert_field(f, waiting, "state", "expired");
    fixture_assert_field(f, parked, "state", "expired");
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:later"), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:normal"), 0);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 0);
}

static void
dead_letters_are_trimmed_by_number_and_by_age(void **state)
{
    struct queue_fixture *f = *state;
    char id[3][ID_LEN + 1];
    struct queue_token t;
    enum queue_end end;

    for (int i = 0; i < 3; i++) {
        queue_fixture_submit(f, TASK_NORMAL, id[i]);
        t = queue_fixture_take(f, TASK_NORMAL, id[i], f->worker);
        assert_int_equal(
            queue_fail(f->c, &f->q, &t, "inference_failed", "x", false, &end, &f->err), 0);
        queue_fixture_int(
            f, "ZINCRBY ~:dead %d %s", i, id[i]); /* an order within one millisecond */
    }
    assert_int_equal(queue_fixture_sweep(f).trimmed, 0);
    f->q.tuning.dead_max = 2;
    assert_int_equal(queue_fixture_sweep(f).trimmed, 1);
    /* its client may still ask about it, but nobody can run it again */
    assert_int_equal(queue_fixture_int(f, "HEXISTS ~:task:%s input", id[0]), 0);
    assert_in_range(queue_fixture_int(f, "PTTL ~:task:%s", id[0]), 1000, (int)QUEUE_RESULT_TTL_MS);
    queue_fixture_int(f, "ZADD ~:dead 1 %s", id[1]);
    queue_fixture_int(f, "HSET ~:task:%s finished_ms 1", id[1]);
    assert_int_equal(queue_fixture_sweep(f).trimmed, 1);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:task:%s", id[1]), 0); /* its life was over */
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:gone:%s", id[1]), 0);
    assert_int_equal(queue_fixture_int(f, "PTTL ~:task:%s", id[2]), -1);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 9);
}

static void
who_waits_too_long_in_a_queue_ends_there(void **state)
{
    struct queue_fixture *f = *state;
    char old[3][ID_LEN + 1], young[ID_LEN + 1], running[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, running);
    queue_fixture_take(f, TASK_NORMAL, running, f->worker);
    for (int i = 0; i < 3; i++) {
        queue_fixture_submit(f, i == 2 ? TASK_LOW : TASK_NORMAL, old[i]);
        queue_fixture_int(f, "HINCRBY ~:task:%s created_ms -%lld", old[i], QUEUE_MAX_QUEUE_MS);
    }
    queue_fixture_int(f, "HINCRBY ~:task:%s created_ms -%lld", running, QUEUE_MAX_QUEUE_MS);
    queue_fixture_submit(f, TASK_NORMAL, young);
    f->q.tuning.max_queue_ms = 0;
    assert_int_equal(queue_fixture_sweep(f).expired, 0);
    f->q.tuning.max_queue_ms = QUEUE_MAX_QUEUE_MS;
    assert_int_equal(queue_fixture_sweep(f).expired, 3);
    for (int i = 0; i < 3; i++) {
        fixture_assert_field(f, old[i], "state", "expired");
        fixture_assert_field(f, old[i], "error_code", "queue_timeout");
        fixture_assert_field(f, old[i], "error", "not started within 86400 seconds");
    }
    fixture_assert_field(f, young, "state", "queued");
    fixture_assert_field(f, running, "state", "processing");
}

static void
a_sweep_ends_no_more_waiting_tasks_than_its_limit(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_swept swept;
    char id[ID_LEN + 1];

    f->q.tuning.sweep_limit = 2;
    for (int i = 0; i < 3; i++) {
        queue_fixture_submit(f, TASK_NORMAL, id);
        queue_fixture_int(f, "HSET ~:task:%s created_ms 1", id);
    }
    queue_fixture_int(f, "ZADD ~:queued:urgent 0 no-hash"); /* does not block what is behind it */
    swept = queue_fixture_sweep(f);
    assert_int_equal(swept.expired, 2);
    assert_true(swept.more);
    assert_int_equal(queue_fixture_sweep(f).expired, 1);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:urgent"), 0);
}

static void
a_sweep_that_filled_its_limit_asks_for_another(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_swept swept;

    f->q.tuning.sweep_limit = 2;
    f->q.tuning.sweep_throttle_ms = 60000;
    for (int i = 0; i < 3; i++) {
        queue_fixture_submit(f, TASK_NORMAL, id);
        queue_fixture_take(f, TASK_NORMAL, id, f->worker);
        queue_fixture_end_lease(f, id);
    }
    swept = queue_fixture_sweep(f);
    assert_int_equal(swept.leases, 2);
    assert_true(swept.more);
    assert_int_equal(queue_sweep(f->c, &f->q, f->run_id, &swept, &f->err), 0);
    assert_false(swept.throttled);
    assert_int_equal(swept.leases, 1);
    assert_false(swept.more);
}

static void
a_broken_task_does_not_stop_the_sweep(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    queue_fixture_end_lease(f, id);
    queue_fixture_int(f, "ZADD ~:running 0 no-hash 0 no-priority 0 words");
    queue_fixture_int(f, "HSET ~:task:no-priority seq 1 max_attempts 5");
    queue_fixture_int(f, "HSET ~:task:words seq x priority normal crashes y attempts z "
                         "max_attempts 5 deadline_ms w");
    queue_fixture_int(f, "ZADD ~:later 0 nothing");
    queue_fixture_int(f, "ZADD ~:deadline 0 nothing");
    queue_fixture_int(f, "ZADD ~:dead 0 nothing");
    assert_int_equal(queue_fixture_sweep(f).leases, 4);
    fixture_assert_field(f, id, "state", "queued");
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:running"), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:later"), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:dead"), 0);
    assert_true(queue_fixture_stat(f, "orphan") >= 3);
}

static void
a_worker_silent_for_a_minute_is_forgotten(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_presence p = {.worker = f->worker};
    struct queue_control control;

    assert_int_equal(queue_beat(f->c, &f->q, &p, &control, &f->err), 0);
    queue_fixture_sweep(f);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:workers"), 1);
    queue_fixture_int(f, "ZINCRBY ~:workers -60001 %s", f->worker);
    queue_fixture_sweep(f);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:workers"), 0);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(two_sweeps_at_once_are_one),
        test(after_a_restart_of_redis_leases_are_spared_for_one_lease),
        test(a_lost_hint_comes_back_after_the_grace_and_not_before),
        test(a_deficit_that_went_away_starts_its_grace_anew),
        test(a_paused_priority_gets_no_hints),
        test(a_large_surplus_of_hints_is_trimmed),
        test(a_lease_of_a_few_milliseconds_runs_out_by_itself),
        test(the_first_lost_lease_requeues_the_second_parks_the_third_fails),
        test(a_lost_lease_of_the_last_attempt_fails),
        test(a_lost_lease_of_a_cancelled_or_late_task_ends_it),
        test(a_deadline_ends_what_waits_and_what_is_parked),
        test(dead_letters_are_trimmed_by_number_and_by_age),
        test(who_waits_too_long_in_a_queue_ends_there),
        test(a_sweep_ends_no_more_waiting_tasks_than_its_limit),
        test(a_sweep_that_filled_its_limit_asks_for_another),
        test(a_broken_task_does_not_stop_the_sweep),
        test(a_worker_silent_for_a_minute_is_forgotten),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
