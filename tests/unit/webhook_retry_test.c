/*
 * webhook_retry_test.c - What an attempt means: the schedule, its ends, and what it says of a host.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "webhook/retry.h"

#define HOUR_MS INT64_C(3600000)

static struct attempt_report
answered(uint32_t status)
{
    return (struct attempt_report){.end = ATTEMPT_ANSWERED, .status = status, .latency_ms = 3};
}

static struct retry_terms
terms(uint32_t attempts)
{
    return (struct retry_terms){
        .attempts = attempts, .now_ms = 1000, .expires_ms = 1000 + 24 * HOUR_MS, .scale = 1};
}

static void
a_2xx_is_success_and_nothing_else_is(void **state)
{
    const struct retry_terms t = terms(1);

    (void)state;
    for (uint32_t status = 200; status < 600; status++) {
        const struct attempt_report r = answered(status);
        struct queue_hook_result result = retry_judge(&r, &t);

        if (status < 300)
            assert_int_equal(result.verdict, QUEUE_HOOK_SENT);
        else if (status == 410)
            assert_int_equal(result.verdict, QUEUE_HOOK_DISABLE);
        else
            assert_int_equal(result.verdict, QUEUE_HOOK_RETRY);
        assert_int_equal(result.last_status, status);
    }
}

static void
the_waits_grow_and_are_spread_by_a_fifth(void **state)
{
    static const int64_t waits_ms[] = {5000, 30000, 120000, 600000, 1800000, 7200000, 21600000};
    const struct attempt_report r = answered(500);

    (void)state;
    for (uint32_t i = 0; i < 7; i++) {
        struct retry_terms t = terms(i + 1);

        assert_int_equal(retry_judge(&r, &t).delay_ms, waits_ms[i] * 8 / 10);
        t.random = UINT32_MAX;
        assert_int_equal(retry_judge(&r, &t).delay_ms, waits_ms[i] * 12 / 10);
        t.random = UINT32_MAX / 2;
        assert_in_range(retry_judge(&r, &t).delay_ms, waits_ms[i] - waits_ms[i] / 100,
            waits_ms[i] + waits_ms[i] / 100);
        t.scale = 0;
        assert_int_equal(retry_judge(&r, &t).delay_ms, 0);
    }
}

static void
the_eighth_attempt_is_the_last(void **state)
{
    const struct attempt_report r = answered(500);

    (void)state;
    for (uint32_t attempts = 8; attempts < 12; attempts++) {
        const struct retry_terms t = terms(attempts);

        assert_int_equal(retry_judge(&r, &t).verdict, QUEUE_HOOK_GIVE_UP);
    }
    assert_int_equal(retry_judge(&r, &(struct retry_terms){0}).verdict, QUEUE_HOOK_GIVE_UP);
}

static void
nothing_is_tried_after_the_result_has_expired(void **state)
{
    const struct attempt_report r = answered(500);
    struct retry_terms t = terms(7);

    (void)state;
    t.expires_ms = t.now_ms + 4 * HOUR_MS; /* the next would be after 4.8 to 7.2 hours */
    assert_int_equal(retry_judge(&r, &t).verdict, QUEUE_HOOK_GIVE_UP);
    t.attempts = 6;
    assert_int_equal(retry_judge(&r, &t).verdict, QUEUE_HOOK_RETRY);
}

static void
retry_after_is_kept_up_to_an_hour_where_it_means_something(void **state)
{
    static const struct {
        uint32_t status;
        int64_t asked_s, wait_ms;
    } cases[] = {{429, 7, 7000}, {503, 7, 7000}, {503, 3600, 3600000}, {503, 86400, 3600000},
        {429, 0, 4000}, {500, 7, 4000}, {301, 7, 4000}};
    const struct retry_terms t = terms(1);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct attempt_report r = answered(cases[i].status);

        r.retry_after_seconds = cases[i].asked_s;
        assert_int_equal(retry_judge(&r, &t).delay_ms, cases[i].wait_ms);
    }
}

static void
a_blocked_address_is_final_and_a_ping_is_tried_once(void **state)
{
    const struct attempt_report blocked = {.end = ATTEMPT_BLOCKED}, failed = answered(500);
    struct retry_terms t = terms(1);

    (void)state;
    assert_int_equal(retry_judge(&blocked, &t).verdict, QUEUE_HOOK_GIVE_UP);
    assert_string_equal(retry_judge(&blocked, &t).last_error, "blocked_address");
    t.is_ping = true;
    assert_int_equal(retry_judge(&failed, &t).verdict, QUEUE_HOOK_GIVE_UP);
}

static void
a_host_that_answers_is_well_whatever_it_thinks_of_the_event(void **state)
{
    (void)state;
    for (uint32_t status = 200; status < 600; status++) {
        const struct attempt_report r = answered(status);

        assert_int_equal(
            retry_host_sign(&r), status >= 500 || status == 429 ? HOST_ILL : HOST_WELL);
    }
    for (enum attempt_end end = ATTEMPT_BLOCKED; end < ATTEMPT_ENDS; end++) {
        const struct attempt_report r = {.end = end};
        bool is_ours = end == ATTEMPT_BLOCKED || end == ATTEMPT_LOCAL;

        assert_int_equal(retry_host_sign(&r), is_ours ? HOST_NO_SIGN : HOST_ILL);
        assert_true(strlen(attempt_end_name(end)) > 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_2xx_is_success_and_nothing_else_is),
        cmocka_unit_test(the_waits_grow_and_are_spread_by_a_fifth),
        cmocka_unit_test(the_eighth_attempt_is_the_last),
        cmocka_unit_test(nothing_is_tried_after_the_result_has_expired),
        cmocka_unit_test(retry_after_is_kept_up_to_an_hour_where_it_means_something),
        cmocka_unit_test(a_blocked_address_is_final_and_a_ping_is_tried_once),
        cmocka_unit_test(a_host_that_answers_is_well_whatever_it_thinks_of_the_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
