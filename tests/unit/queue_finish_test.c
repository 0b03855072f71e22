/*
 * queue_finish_test.c - How a run ends: complete, fail, release, and what a group
 * makes of its members. Against a real Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/support/queue_fixture.h"

static struct queue_token
running_task(struct queue_fixture *f, char *id)
{
    queue_fixture_submit(f, TASK_NORMAL, id);
    return queue_fixture_take(f, TASK_NORMAL, id, f->worker);
}

static enum queue_end
complete(struct queue_fixture *f, const struct queue_token *t, const char *output)
{
    enum queue_end end;

    if (queue_complete(f->c, &f->q, t, output, strlen(output), &end, &f->err) == -1)
        fail_msg("complete: %s", f->err.text);
    return end;
}

static enum queue_end
fail_run(struct queue_fixture *f, const struct queue_token *t, const char *code,
    const char *message, bool retryable)
{
    enum queue_end end;

    if (queue_fail(f->c, &f->q, t, code, message, retryable, &end, &f->err) == -1)
        fail_msg("fail: %s", f->err.text);
    return end;
}

static enum queue_end
release(struct queue_fixture *f, const struct queue_token *t)
{
    enum queue_end end;

    if (queue_release(f->c, &f->q, t, &end, &f->err) == -1)
        fail_msg("release: %s", f->err.text);
    return end;
}

static void
expect_event(struct queue_fixture *f, const char *id, const char *what)
{
    char expected[ID_LEN + 32];

    snprintf(expected, sizeof(expected), "%s %s", id, what);
    const char *event = queue_fixture_event(f);

    assert_non_null(event);
    assert_string_equal(event, expected);
}

static void
a_result_is_published_once_however_often_it_is_sent(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t = running_task(f, id);

    queue_fixture_int(f, "HINCRBY ~:task:%s queued_ms -500", id);
    queue_fixture_listen(f);
    assert_int_equal(complete(f, &t, "first"), QUEUE_END_COMPLETED);
    assert_int_equal(complete(f, &t, "second"), QUEUE_END_ALREADY);
    fixture_assert_field(f, id, "state", "completed");
    fixture_assert_field(f, id, "output", "first");
    fixture_assert_field(f, id, "input", "");
    fixture_assert_field(f, id, "about", "the about");
    assert_in_range(queue_fixture_int(f, "PTTL ~:task:%s", id), 1, QUEUE_RESULT_TTL_MS);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:running"), 0);
    assert_int_equal(queue_fixture_stat(f, "completed"), 1);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 0);
    assert_true(queue_fixture_stat(f, "wait_ms") >= 500);
    expect_event(f, id, "completed");
    assert_null(queue_fixture_event(f));
}

static void
a_writer_who_lost_the_task_is_refused_whatever_he_brings(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token late = running_task(f, id), current, forged;

    queue_fixture_end_lease(f, id);
    queue_fixture_sweep(f);
    assert_int_equal(complete(f, &late, "late"), QUEUE_END_FENCED); /* nobody has it yet */
    current = queue_fixture_take(f, TASK_NORMAL, id, f->other);
    assert_int_equal(current.fence, late.fence + 1);
    assert_int_equal(complete(f, &late, "late"), QUEUE_END_FENCED);
    assert_int_equal(fail_run(f, &late, "inference_failed", "late", false), QUEUE_END_FENCED);
    assert_int_equal(release(f, &late), QUEUE_END_FENCED);
    forged = current;
    forged.worker = f->worker; /* the right fence under the wrong name: a failover can do that */
    assert_int_equal(complete(f, &forged, "forged"), QUEUE_END_FENCED);
    assert_int_equal(complete(f, &current, "good"), QUEUE_END_COMPLETED);
    assert_int_equal(complete(f, &late, "late"), QUEUE_END_FENCED);
    fixture_assert_field(f, id, "output", "good");
    assert_int_equal(queue_fixture_stat(f, "completed"), 1);
    assert_true(queue_fixture_stat(f, "fenced") >= 6);
}

static void
a_task_nobody_knows_is_fenced(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t = {.id = id, .fence = 1, .worker = f->worker};

    id_new(id);
    assert_int_equal(complete(f, &t, "x"), QUEUE_END_FENCED);
    assert_int_equal(fail_run(f, &t, "inference_failed", "x", true), QUEUE_END_FENCED);
    assert_int_equal(release(f, &t), QUEUE_END_FENCED);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:task:%s", id), 0);
}

static void
after_a_cancel_nothing_is_published(void **state)
{
    struct queue_fixture *f = *state;
    char id[3][ID_LEN + 1];
    struct queue_token t[3];

    for (int i = 0; i < 3; i++) {
        t[i] = running_task(f, id[i]);
        queue_fixture_int(f, "HSET ~:task:%s cancel 1", id[i]);
    }
    assert_int_equal(complete(f, &t[0], "dropped"), QUEUE_END_CANCELLED);
    assert_int_equal(fail_run(f, &t[1], "inference_failed", "dropped", true), QUEUE_END_CANCELLED);
    assert_int_equal(release(f, &t[2]), QUEUE_END_CANCELLED);
    for (int i = 0; i < 3; i++) {
        fixture_assert_field(f, id[i], "state", "cancelled");
        fixture_assert_field(f, id[i], "error_code", "cancelled_by_client");
        fixture_assert_field(f, id[i], "output", "");
    }
    assert_int_equal(queue_fixture_stat(f, "cancelled"), 3);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 0);
}

static void
after_the_deadline_nothing_is_published(void **state)
{
    struct queue_fixture *f = *state;
    char id[3][ID_LEN + 1];
    struct queue_token t[3];

    for (int i = 0; i < 3; i++) {
        t[i] = running_task(f, id[i]);
        queue_fixture_pass_deadline(f, id[i]);
    }
    assert_int_equal(complete(f, &t[0], "too late"), QUEUE_END_EXPIRED);
    assert_int_equal(fail_run(f, &t[1], "inference_failed", "too late", true), QUEUE_END_EXPIRED);
    assert_int_equal(release(f, &t[2]), QUEUE_END_EXPIRED);
    for (int i = 0; i < 3; i++) {
        fixture_assert_field(f, id[i], "state", "expired");
        fixture_assert_field(f, id[i], "error_code", "deadline_exceeded");
        fixture_assert_field(f, id[i], "output", "");
    }
    assert_int_equal(complete(f, &t[0], "too late"), QUEUE_END_FENCED);
}

static void
a_run_before_its_deadline_completes(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    struct queue_token t;
    char id[ID_LEN + 1];

    queue_fixture_fill(&s, &series, id);
    s.deadline_in_ms = 3600000;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:deadline"), 1);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:deadline"), 0);
    assert_int_equal(complete(f, &t, "in time"), QUEUE_END_COMPLETED);
}

static void
a_retryable_failure_is_tried_again_later(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t = running_task(f, id);
    long long due_in;

    assert_int_equal(fail_run(f, &t, "inference_failed", "first try", true), QUEUE_END_PARKED);
    fixture_assert_field(f, id, "state", "scheduled");
    fixture_assert_field(f, id, "error_code", "inference_failed");
    fixture_assert_field(f, id, "worker", "");
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:running"), 0);
    due_in = queue_fixture_int(f, "ZSCORE ~:later %s", id) -
             queue_fixture_int(f, "HGET ~:task:%s started_ms", id);
    assert_in_range(
        due_in, QUEUE_BACKOFF_MS, 2 * QUEUE_BACKOFF_MS + 30000); /* 2 s times 0.5 .. 1 */
    assert_int_equal(queue_fixture_sweep(f).due, 0);
    queue_fixture_int(f, "ZADD ~:later 1 %s", id);
    assert_int_equal(queue_fixture_sweep(f).due, 1);
    fixture_assert_field(f, id, "state", "queued");
    assert_int_equal(queue_fixture_stat(f, "queued_steps:normal"), 120);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(complete(f, &t, "second try"), QUEUE_END_COMPLETED);
    fixture_assert_field(f, id, "error_code", ""); /* of the first try, not of the task */
    fixture_assert_field(f, id, "attempts", "2");
}

static void
a_final_failure_becomes_a_dead_letter_with_its_input(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t = running_task(f, id);

    queue_fixture_listen(f);
    assert_int_equal(
        fail_run(f, &t, "non_finite_output", "close[3] is NaN", false), QUEUE_END_FAILED);
    fixture_assert_field(f, id, "state", "failed");
    fixture_assert_field(f, id, "error_code", "non_finite_output");
    fixture_assert_field(f, id, "error", "close[3] is NaN");
    fixture_assert_field(f, id, "input", "the input");
    assert_int_equal(queue_fixture_int(f, "PTTL ~:task:%s", id), -1);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:dead"), 1);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 9);
    expect_event(f, id, "failed");
}

static void
the_last_attempt_fails_for_good_although_retryable(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t = running_task(f, id);

    queue_fixture_int(f, "HSET ~:task:%s attempts %d", id, QUEUE_MAX_ATTEMPTS);
    assert_int_equal(fail_run(f, &t, "inference_failed", "again", true), QUEUE_END_FAILED);
}

static void
a_long_error_message_is_cut_between_two_characters(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1], message[1100];
    struct queue_token t = running_task(f, id);

    memset(message, 'x', sizeof(message));
    message[sizeof(message) - 1] = '\0';
    memcpy(message + 998, "\xe2\x82\xac", 3); /* a euro sign over the edge at 1000 */
    assert_int_equal(fail_run(f, &t, "inference_failed", message, false), QUEUE_END_FAILED);
    assert_int_equal(queue_fixture_int(f, "HSTRLEN ~:task:%s error", id), 998);
}

static void
a_failure_without_a_message_is_a_failure(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t = running_task(f, id);

    assert_int_equal(fail_run(f, &t, "run_timeout", NULL, false), QUEUE_END_FAILED);
    fixture_assert_field(f, id, "error_code", "run_timeout");
}

static void
a_released_task_is_next_again_and_keeps_its_attempts(void **state)
{
    struct queue_fixture *f = *state;
    char first[ID_LEN + 1], second[ID_LEN + 1];
    struct queue_token t = running_task(f, first);

    queue_fixture_submit(f, TASK_NORMAL, second);
    assert_int_equal(release(f, &t), QUEUE_END_RELEASED);
    assert_int_equal(release(f, &t), QUEUE_END_FENCED);
    fixture_assert_field(f, first, "attempts", "0");
    fixture_assert_field(f, first, "worker", "");
    t = queue_fixture_take(f, TASK_NORMAL, first, f->other);
    assert_int_equal(t.fence, 2); /* the fence is never given back */
}

static void
a_webhook_gets_one_delivery_per_task(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    struct queue_token t;
    char id[ID_LEN + 1];

    queue_fixture_fill(&s, &series, id);
    s.webhook = "hook";
    s.webhook_size = 4;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(complete(f, &t, "x"), QUEUE_END_COMPLETED);
    assert_int_equal(complete(f, &t, "x"), QUEUE_END_ALREADY);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook"), 1);
    assert_string_equal(queue_fixture_text(f, "HGET ~:delivery:%s.1 subject", id), id);
    assert_string_equal(queue_fixture_text(f, "HGET ~:delivery:%s.1 state", id), "completed");
    assert_string_equal(queue_fixture_text(f, "HGET ~:delivery:%s.1 webhook", id), "hook");
}

/* ---- groups ---- */

static void
submit_group(struct queue_fixture *f, char (*id)[ID_LEN + 1], char *group, struct queue_token *t)
{
    struct queue_submission s;
    struct queue_series series[3];

    for (int i = 0; i < 3; i++)
        queue_fixture_fill(&s, &series[i], id[i]);
    id_new(group);
    s.id = group;
    s.n_series = 3;
    s.series = series;
    s.webhook = "hook";
    s.webhook_size = 4;
    s.result_ttl_ms = 60000;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    for (int i = 0; i < 3; i++)
        t[i] = queue_fixture_take(f, TASK_NORMAL, id[i], f->worker);
}

static void
a_group_of_three_ends_once_with_its_last_member(void **state)
{
    struct queue_fixture *f = *state;
    char id[3][ID_LEN + 1], group[ID_LEN + 1];
    struct queue_token t[3];

    submit_group(f, id, group, t);
    queue_fixture_listen(f);
    assert_int_equal(complete(f, &t[1], "b"), QUEUE_END_COMPLETED);
    assert_int_equal(complete(f, &t[0], "a"), QUEUE_END_COMPLETED);
    assert_int_equal(complete(f, &t[0], "a"), QUEUE_END_ALREADY);
    assert_int_equal(queue_fixture_int(f, "HGET ~:group:%s left", group), 1);
    /* an early result must outlive a slow member */
    assert_int_equal(queue_fixture_int(f, "PTTL ~:task:%s", id[1]), -1);
    expect_event(f, id[1], "completed");
    expect_event(f, id[0], "completed");
    assert_null(queue_fixture_event(f));

    assert_int_equal(complete(f, &t[2], "c"), QUEUE_END_COMPLETED);
    expect_event(f, id[2], "completed");
    expect_event(f, group, "completed");
    assert_null(queue_fixture_event(f));
    assert_string_equal(queue_fixture_text(f, "HGET ~:group:%s state", group), "completed");
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook"), 1);
    assert_string_equal(queue_fixture_text(f, "HGET ~:delivery:%s subject", group), group);
    for (int i = 0; i < 3; i++)
        assert_in_range(queue_fixture_int(f, "PTTL ~:task:%s", id[i]), 1, 60000);
    assert_in_range(queue_fixture_int(f, "PTTL ~:group:%s", group), 1, 60000);
    assert_in_range(queue_fixture_int(f, "PTTL ~:group:%s:tasks", group), 1, 60000);
}

static void
a_group_ends_as_the_worst_of_its_members(void **state)
{
    struct queue_fixture *f = *state;
    char id[3][ID_LEN + 1], group[ID_LEN + 1];
    struct queue_token t[3];

    submit_group(f, id, group, t);
    queue_fixture_int(f, "HSET ~:task:%s cancel 1", id[0]);
    queue_fixture_int(f, "HSET ~:task:%s deadline_ms 1", id[1]);
    assert_int_equal(complete(f, &t[0], "x"), QUEUE_END_CANCELLED);
    assert_int_equal(complete(f, &t[1], "x"), QUEUE_END_EXPIRED);
    assert_int_equal(complete(f, &t[2], "x"), QUEUE_END_COMPLETED);
    assert_string_equal(queue_fixture_text(f, "HGET ~:group:%s state", group), "cancelled");

    submit_group(f, id, group, t);
    queue_fixture_int(f, "HSET ~:task:%s cancel 1", id[0]);
    assert_int_equal(complete(f, &t[0], "x"), QUEUE_END_CANCELLED);
    assert_int_equal(fail_run(f, &t[1], "inference_failed", "x", false), QUEUE_END_FAILED);
    assert_int_equal(complete(f, &t[2], "x"), QUEUE_END_COMPLETED);
    assert_string_equal(queue_fixture_text(f, "HGET ~:group:%s state", group), "failed");
    assert_int_equal(queue_fixture_int(f, "PTTL ~:task:%s", id[1]), -1); /* a dead letter */
    assert_in_range(queue_fixture_int(f, "PTTL ~:task:%s", id[2]), 1, 60000);

    submit_group(f, id, group, t);
    queue_fixture_int(f, "HSET ~:task:%s deadline_ms 1", id[1]);
    for (int i = 0; i < 3; i++)
        complete(f, &t[i], "x");
    assert_string_equal(queue_fixture_text(f, "HGET ~:group:%s state", group), "expired");
}

static void
a_model_learns_its_speed_from_what_its_runs_took(void **state)
{
    struct queue_fixture *f = *state;
    const struct queue_speed first = {0.5, 0.002}, second = {1.0, 0.0}, wild = {-1.0, 1e300};
    const struct queue_speed *const speeds[] = {&first, &second, &wild};
    char id[ID_LEN + 1];

    for (int i = 0; i < 3; i++) {
        struct queue_token t = running_task(f, id);
        enum queue_end end;

        assert_int_equal(
            queue_complete_measured(f->c, &f->q, &t, "x", 1, speeds[i], &end, &f->err), 0);
        assert_int_equal(end, QUEUE_END_COMPLETED);
        assert_string_equal(
            queue_fixture_text(f, "HGET ~:speed prefill_seconds"), i == 0 ? "0.5" : "0.6");
        assert_string_equal(queue_fixture_text(f, "HGET ~:speed step_seconds"), "0.002");
    }
}

static void
what_a_worker_gives_back_is_told_to_who_waits_for_it(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t = running_task(f, id);

    queue_fixture_listen(f);
    release(f, &t);
    expect_event(f, id, "queued");
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    expect_event(f, id, "processing");
    fail_run(f, &t, "inference_failed", "x", true);
    expect_event(f, id, "queued");
    queue_fixture_int(f, "ZADD ~:later 1 %s", id);
    queue_fixture_sweep(f);
    assert_null(queue_fixture_event(f)); /* nothing that a client could see */
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    expect_event(f, id, "processing");
    queue_fixture_end_lease(f, id);
    queue_fixture_sweep(f);
    expect_event(f, id, "queued");
}

static void
every_end_has_a_name_for_the_log(void **state)
{
    (void)state;
    assert_string_equal(queue_end_name(QUEUE_END_FENCED), "fenced");
    assert_string_equal(queue_end_name(QUEUE_END_COMPLETED), "completed");
    assert_string_equal(queue_end_name(QUEUE_END_ALREADY), "already_completed");
    assert_string_equal(queue_end_name(QUEUE_END_CANCELLED), "cancelled");
    assert_string_equal(queue_end_name(QUEUE_END_EXPIRED), "expired");
    assert_string_equal(queue_end_name(QUEUE_END_PARKED), "parked");
    assert_string_equal(queue_end_name(QUEUE_END_FAILED), "failed");
    assert_string_equal(queue_end_name(QUEUE_END_RELEASED), "released");
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(a_result_is_published_once_however_often_it_is_sent),
        test(a_writer_who_lost_the_task_is_refused_whatever_he_brings),
        test(a_task_nobody_knows_is_fenced),
        test(after_a_cancel_nothing_is_published),
        test(after_the_deadline_nothing_is_published),
        test(a_run_before_its_deadline_completes),
        test(a_retryable_failure_is_tried_again_later),
        test(a_final_failure_becomes_a_dead_letter_with_its_input),
        test(the_last_attempt_fails_for_good_although_retryable),
        test(a_long_error_message_is_cut_between_two_characters),
        test(a_failure_without_a_message_is_a_failure),
        test(a_released_task_is_next_again_and_keeps_its_attempts),
        test(a_webhook_gets_one_delivery_per_task),
        test(a_group_of_three_ends_once_with_its_last_member),
        test(a_group_ends_as_the_worst_of_its_members),
        test(a_model_learns_its_speed_from_what_its_runs_took),
        test(what_a_worker_gives_back_is_told_to_who_waits_for_it),
        test(every_end_has_a_name_for_the_log),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
