/*
 * queue_submit_test.c - What submit.lua accepts, what it refuses, and that a refusal
 * leaves nothing behind. Against a real Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/support/queue_fixture.h"

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void
assert_nothing_is_stored(struct queue_fixture *f)
{
    assert_int_equal(queue_fixture_int(f, "DBSIZE"), 0);
}

static void
a_task_is_stored_with_what_a_worker_and_a_client_need(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);

    fixture_assert_field(f, id, "state", "queued");
    fixture_assert_field(f, id, "priority", "normal");
    fixture_assert_field(f, id, "format", "1");
    fixture_assert_field(f, id, "input", "the input");
    fixture_assert_field(f, id, "about", "the about");
    fixture_assert_field(f, id, "owner", "local");
    fixture_assert_field(f, id, "fence", "0");
    fixture_assert_field(f, id, "attempts", "0");
    fixture_assert_field(f, id, "max_attempts", "5");
    fixture_assert_field(f, id, "result_ttl_ms", "86400000");
    fixture_assert_field(f, id, "deadline_ms", "");
    assert_int_equal(queue_fixture_int(f, "TTL ~:task:%s", id), -1);
    assert_int_equal(queue_fixture_int(f, "ZSCORE ~:queued:normal %s", id), 1);
    assert_string_equal(queue_fixture_text(f, "LINDEX ~:list:normal 0"), id);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:owner:local"), 1);
    assert_int_equal(queue_fixture_stat(f, "submitted"), 1);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 9);
    assert_int_equal(queue_fixture_stat(f, "queued_prefill:normal"), 393);
    assert_int_equal(queue_fixture_stat(f, "queued_steps:normal"), 120);
}

static void
tasks_of_one_priority_keep_their_order(void **state)
{
    struct queue_fixture *f = *state;
    char first[ID_LEN + 1], second[ID_LEN + 1];

    queue_fixture_submit(f, TASK_LOW, first);
    queue_fixture_submit(f, TASK_LOW, second);
    queue_fixture_take(f, TASK_LOW, first, f->worker);
    queue_fixture_take(f, TASK_LOW, second, f->worker);
}

static void
a_known_id_is_the_same_request_only_with_the_same_digest(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1];

    queue_fixture_fill(&s, &series, id);
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SAME_REQUEST);
    assert_string_equal(f->text, id);
    s.digest = "another";
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_OTHER_REQUEST);
    assert_int_equal(queue_fixture_stat(f, "submitted"), 1);
    assert_int_equal(queue_fixture_int(f, "LLEN ~:list:normal"), 1);
}

static void
an_idempotency_key_names_the_first_task_even_while_the_queue_is_full(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s, again;
    struct queue_series series, series_again;
    char id[ID_LEN + 1], id_again[ID_LEN + 1];

    queue_fixture_fill(&s, &series, id);
    s.idempotency = KEY_A;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    queue_fixture_fill(&again, &series_again, id_again);
    again.idempotency = KEY_A;
    again.max_queued = 1;
    assert_int_equal(queue_fixture_submit_as(f, &again), QUEUE_SAME_REQUEST);
    assert_string_equal(f->text, id);
    again.digest = "another";
    assert_int_equal(queue_fixture_submit_as(f, &again), QUEUE_OTHER_REQUEST);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:task:%s", id_again), 0);
    assert_in_range(queue_fixture_int(f, "PTTL ~:idem:" KEY_A), 1, QUEUE_IDEM_TTL_MS);
}

static void
an_idempotency_key_whose_task_is_gone_runs_anew(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1];

    queue_fixture_fill(&s, &series, id);
    s.idempotency = KEY_A;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    queue_fixture_int(f, "DEL ~:task:%s", id);
    queue_fixture_fill(&s, &series, id);
    s.idempotency = KEY_A;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    assert_string_equal(queue_fixture_text(f, "GET ~:idem:" KEY_A), id);
}

static void
a_twin_is_joined_while_it_waits_runs_or_is_done(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s, twin;
    struct queue_series series, series_twin;
    char id[ID_LEN + 1], id_twin[ID_LEN + 1];
    struct queue_token t;
    enum queue_end end;

    queue_fixture_fill(&s, &series, id);
    s.same = KEY_A;
    s.result_ttl_ms = 60000;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    queue_fixture_fill(&twin, &series_twin, id_twin);
    twin.same = KEY_A;
    twin.result_ttl_ms = 60000;
    twin.idempotency = KEY_A;
    assert_int_equal(queue_fixture_submit_as(f, &twin), QUEUE_JOINED_TWIN);
    assert_string_equal(f->text, id);
    fixture_assert_field(f, id, "shares", "1");
    assert_string_equal(queue_fixture_text(f, "GET ~:idem:" KEY_A), id);

    twin.idempotency = NULL;
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(queue_fixture_submit_as(f, &twin), QUEUE_JOINED_TWIN);
    fixture_assert_field(f, id, "shares", "2");
    assert_int_equal(queue_complete(f->c, &f->q, &t, "out", 3, &end, &f->err), 0);
    assert_int_equal(end, QUEUE_END_COMPLETED);
    assert_in_range(queue_fixture_int(f, "PTTL ~:task:%s", id), 1, 60000);

    /* a later waiter may keep the result longer, never for less */
    twin.result_ttl_ms = 1000;
    assert_int_equal(queue_fixture_submit_as(f, &twin), QUEUE_JOINED_TWIN);
    assert_in_range(queue_fixture_int(f, "PTTL ~:task:%s", id), 2000, 60000);
    twin.result_ttl_ms = 3600000;
    assert_int_equal(queue_fixture_submit_as(f, &twin), QUEUE_JOINED_TWIN);
    assert_in_range(queue_fixture_int(f, "PTTL ~:task:%s", id), 3000000, 3600000);
    assert_true(queue_fixture_int(f, "HGET ~:task:%s result_ttl_ms", id) >= 3600000);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:task:%s", id_twin), 0);
}

static void
a_twin_that_failed_is_not_joined(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1], id_twin[ID_LEN + 1];
    struct queue_token t;
    enum queue_end end;

    queue_fixture_fill(&s, &series, id);
    s.same = KEY_A;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(
        queue_fail(f->c, &f->q, &t, "inference_failed", "no", false, &end, &f->err), 0);
    queue_fixture_fill(&s, &series, id_twin);
    s.same = KEY_A;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    assert_string_equal(queue_fixture_text(f, "GET ~:same:" KEY_A), id_twin);
}

static void
a_full_list_refuses_its_priority_and_no_other(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_fill(&s, &series, id);
    s.max_queued = 1;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_FULL);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:task:%s", id), 0);
    s.priority = TASK_URGENT;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
}

static void
inputs_beyond_the_byte_limit_are_refused_until_one_has_ended(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char first[ID_LEN + 1], id[ID_LEN + 1];
    struct queue_token t;
    enum queue_end end;

    queue_fixture_submit(f, TASK_NORMAL, first);
    queue_fixture_fill(&s, &series, id);
    s.max_bytes = 17;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_BYTES_FULL);
    t = queue_fixture_take(f, TASK_NORMAL, first, f->worker);
    assert_int_equal(queue_complete(f->c, &f->q, &t, "out", 3, &end, &f->err), 0);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 0);
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
}

static void
a_drained_priority_takes_nothing_new(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1];

    queue_fixture_fill(&s, &series, id);
    queue_fixture_int(f, "HSET ~:control draining:normal 1");
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_DRAINING);
    s.priority = TASK_LOW;
    queue_fixture_int(f, "HSET ~:control draining 1");
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_DRAINING);
    queue_fixture_int(f, "DEL ~:control");
    assert_nothing_is_stored(f);
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
}

static void
a_bad_argument_is_refused_before_anything_is_written(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission good, s;
    struct queue_series series, bad[2];
    char id[ID_LEN + 1], other[ID_LEN + 1];

    queue_fixture_fill(&good, &series, id);
    id_new(other);
    s = good;
    s.result_ttl_ms = 0; /* PEXPIRE 0 would delete the result */
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_BAD_ARGUMENT);
    s = good;
    s.idem_ttl_ms = 0;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_BAD_ARGUMENT);
    s = good;
    s.deadline_in_ms = -5;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_BAD_ARGUMENT);
    bad[0] = bad[1] = series; /* one id twice in a group */
    s.n_series = 2;
    s.series = bad;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_BAD_ARGUMENT);
    bad[1].task_id = other; /* the group's id as a member */
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_BAD_ARGUMENT);
    assert_nothing_is_stored(f);
}

static void
what_no_script_should_see_is_refused_in_c(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission good, s;
    struct queue_series series, one;
    struct queue_submitted out;
    char id[ID_LEN + 1];

    queue_fixture_fill(&good, &series, id);
    struct queue_submission cases[6];

    for (size_t i = 0; i < 6; i++)
        cases[i] = good;
    cases[0].n_series = 0;
    cases[1].n_series = QUEUE_SERIES_MAX + 1;
    cases[2].id = "no-uuid";
    cases[3].owner = NULL;
    cases[4].digest = "";
    cases[5].priority = TASK_PRIORITY_COUNT;
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(queue_submit(f->c, &f->q, &cases[i], &out, &f->err), -1);
        assert_int_equal(f->err.code, ERR_INVALID);
    }
    s = good;
    s.series = &one;
    one = series;
    one.task_id = "x";
    assert_int_equal(queue_submit(f->c, &f->q, &s, &out, &f->err), -1);
    one = series;
    one.input_size = 0;
    assert_int_equal(queue_submit(f->c, &f->q, &s, &out, &f->err), -1);
    assert_nothing_is_stored(f);
}

static void
a_group_is_accepted_whole_or_not_at_all(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series[3];
    char id[4][ID_LEN + 1];

    for (int i = 0; i < 3; i++)
        queue_fixture_fill(&s, &series[i], id[i]);
    id_new(id[3]);
    s.id = id[3];
    s.n_series = 3;
    s.series = series;
    s.deadline_in_ms = 60000;
    s.webhook = "hook";
    s.webhook_size = 4;
    s.max_queued = 2;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_FULL);
    assert_nothing_is_stored(f);
    s.max_queued = 3;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    assert_string_equal(f->text, id[3]);
    assert_int_equal(queue_fixture_int(f, "HGET ~:group:%s total", id[3]), 3);
    assert_int_equal(queue_fixture_int(f, "HGET ~:group:%s left", id[3]), 3);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:deadline"), 3);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 27);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(queue_fixture_text(f, "LINDEX ~:group:%s:tasks %d", id[3], i), id[i]);
        assert_int_equal(queue_fixture_int(f, "HGET ~:task:%s group_index", id[i]), i);
        fixture_assert_field(f, id[i], "group", id[3]);
        fixture_assert_field(f, id[i], "webhook", ""); /* the group has it */
    }
    assert_string_equal(queue_fixture_text(f, "HGET ~:group:%s webhook", id[3]), "hook");
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SAME_REQUEST);
    /* a member's id in a new group would be counted by both */
    char other_group[ID_LEN + 1];

    id_new(other_group);
    s.id = other_group;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_BAD_ARGUMENT);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:group:%s", other_group), 0);
}

static void
a_group_may_have_a_single_member(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    struct queue_token token;
    enum queue_end end;
    char id[ID_LEN + 1], group[ID_LEN + 1];

    queue_fixture_fill(&s, &series, id);
    id_new(group);
    s.id = group;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    assert_string_equal(f->text, group);
    assert_int_equal(queue_fixture_int(f, "HGET ~:group:%s total", group), 1);
    fixture_assert_field(f, id, "group", group);
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SAME_REQUEST);
    token = queue_fixture_take(f, s.priority, id, f->worker);
    assert_int_equal(queue_complete(f->c, &f->q, &token, "x", 1, &end, &f->err), 0);
    assert_string_equal(queue_fixture_text(f, "HGET ~:group:%s state", group), "completed");
}

static void
a_redis_without_memory_refuses_new_work_and_finishes_old_work(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char held[ID_LEN + 1], waiting[ID_LEN + 1], id[ID_LEN + 1];
    struct queue_renewal renewal;
    enum queue_renew_code code;
    struct queue_token t;
    enum queue_end end;
    long long keys;

    queue_fixture_submit(f, TASK_NORMAL, held);
    queue_fixture_submit(f, TASK_NORMAL, waiting);
    t = queue_fixture_take(f, TASK_NORMAL, held, f->worker);
    queue_fixture_int(f, "CONFIG SET maxmemory 1");
    keys = queue_fixture_int(f, "DBSIZE");

    queue_fixture_fill(&s, &series, id);
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_OUT_OF_MEMORY);
    assert_string_equal(f->text, "");
    assert_int_equal(queue_fixture_int(f, "DBSIZE"), keys);

    renewal = (struct queue_renewal){.id = held, .fence = t.fence, .ticks = 1};
    assert_int_equal(queue_renew(f->c, &f->q, f->worker, FIXTURE_LEASE_MS, QUEUE_MAX_RUN_MS,
                         &renewal, 1, &code, &f->err),
        0);
    assert_int_equal(code, QUEUE_RENEWED);
    assert_int_equal(queue_complete(f->c, &f->q, &t, "out", 3, &end, &f->err), 0);
    assert_int_equal(end, QUEUE_END_COMPLETED);
    t = queue_fixture_take(f, TASK_NORMAL, waiting, f->worker);
    assert_int_equal(queue_release(f->c, &f->q, &t, &end, &f->err), 0);
    assert_int_equal(end, QUEUE_END_RELEASED);
    queue_fixture_sweep(f);

    queue_fixture_int(f, "CONFIG SET maxmemory 0");
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(a_task_is_stored_with_what_a_worker_and_a_client_need),
        test(tasks_of_one_priority_keep_their_order),
        test(a_known_id_is_the_same_request_only_with_the_same_digest),
        test(an_idempotency_key_names_the_first_task_even_while_the_queue_is_full),
        test(an_idempotency_key_whose_task_is_gone_runs_anew),
        test(a_twin_is_joined_while_it_waits_runs_or_is_done),
        test(a_twin_that_failed_is_not_joined),
        test(a_full_list_refuses_its_priority_and_no_other),
        test(inputs_beyond_the_byte_limit_are_refused_until_one_has_ended),
        test(a_drained_priority_takes_nothing_new),
        test(a_bad_argument_is_refused_before_anything_is_written),
        test(what_no_script_should_see_is_refused_in_c),
        test(a_group_is_accepted_whole_or_not_at_all),
        test(a_group_may_have_a_single_member),
        test(a_redis_without_memory_refuses_new_work_and_finishes_old_work),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
