/*
 * webhook_hosts_test.c - Hosts take turns, have a width, rest when ill, and hold nobody up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "webhook/hosts.h"

#define REST_MS 60000
#define MANY    3000

static int64_t now_ms;
static struct parcel parcels[MANY];

static int64_t
test_clock(void)
{
    return now_ms;
}

static int
set_up(void **state)
{
    static const struct hosts_limits limits = {.per_host = 4, .total = 10, .rest_ms = REST_MS};
    struct error err;

    now_ms = 1000000;
    memset(parcels, 0, sizeof(parcels));
    clock_replace(test_clock, NULL);
    *state = hosts_new(&limits, &err);
    return *state == NULL;
}

static int
tear_down(void **state)
{
    clock_replace(NULL, NULL);
    hosts_free(*state);
    return 0;
}

static bool
offer(struct hosts *hosts, const char *host, size_t i)
{
    int64_t delay_ms = -1;
    bool is_taken = hosts_offer(hosts, host, &parcels[i], &delay_ms);

    assert_true(is_taken || delay_ms >= 0);
    return is_taken;
}

static size_t
send_all(struct hosts *hosts, struct parcel **sent, size_t max)
{
    size_t n = 0;

    while (n < max && (sent[n] = hosts_next(hosts)) != NULL)
        n++;
    assert_null(n < max ? NULL : hosts_next(hosts));
    return n;
}

static void
a_host_has_four_on_their_way_and_all_have_ten(void **state)
{
    struct hosts *hosts = *state;
    struct parcel *sent[20];

    for (size_t i = 0; i < 8; i++)
        assert_true(offer(hosts, "a:443", i));
    assert_int_equal(send_all(hosts, sent, 20), 4);
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(sent[i], &parcels[i]); /* in their order */
    for (size_t i = 8; i < 16; i++)
        assert_true(offer(hosts, i < 12 ? "b:443" : "c:443", i));
    assert_int_equal(send_all(hosts, sent, 20), 6);
    assert_int_equal(hosts_in_flight(hosts), 10);
    assert_false(hosts_done(hosts, &parcels[0], HOST_WELL, 5));
    assert_non_null(hosts_next(hosts));
    assert_null(hosts_next(hosts));
}

static void
hosts_take_turns(void **state)
{
    struct hosts *hosts = *state;
    struct parcel *sent[8];

    for (size_t i = 0; i < 4; i++)
        assert_true(offer(hosts, "a:443", i));
    for (size_t i = 4; i < 8; i++)
        assert_true(offer(hosts, "b:443", i));
    assert_int_equal(send_all(hosts, sent, 8), 8);
    for (size_t i = 0; i < 8; i += 2) {
        assert_ptr_equal(sent[i], &parcels[i / 2]);
        assert_ptr_equal(sent[i + 1], &parcels[4 + i / 2]);
    }
}

static void
fail_until_rest(struct hosts *hosts, const char *host)
{
    for (size_t i = 0; i < HOSTS_FAILURES_MAX; i++) {
        assert_true(offer(hosts, host, i));
        assert_ptr_equal(hosts_next(hosts), &parcels[i]);
        assert_int_equal(
            hosts_done(hosts, &parcels[i], HOST_ILL, 5000), i == HOSTS_FAILURES_MAX - 1);
    }
}

static void
five_failures_in_a_row_rest_a_host_and_one_event_tries_it_then(void **state)
{
    struct hosts *hosts = *state;
    int64_t delay_ms;

    fail_until_rest(hosts, "ill:443");
    assert_int_equal(hosts_resting(hosts), 1);
    assert_false(hosts_offer(hosts, "ill:443", &parcels[10], &delay_ms));
    assert_in_range(delay_ms, REST_MS, REST_MS * 3 / 2);
    assert_true(offer(hosts, "well:443", 11));
    now_ms += REST_MS;
    assert_int_equal(hosts_resting(hosts), 0);
    for (size_t i = 20; i < 24; i++)
        assert_true(offer(hosts, "ill:443", i));
    assert_ptr_equal(hosts_next(hosts), &parcels[11]);
    assert_ptr_equal(hosts_next(hosts), &parcels[20]);
    assert_null(hosts_next(hosts));
    assert_true(hosts_done(hosts, &parcels[20], HOST_ILL, 5000)); /* still ill */
    for (size_t i = 21; i < 24; i++)
        assert_ptr_equal(hosts_evict(hosts, parcels[20].host, &delay_ms), &parcels[i]);
    assert_null(hosts_evict(hosts, parcels[20].host, &delay_ms));
    now_ms += REST_MS;
    for (size_t i = 20; i < 26; i++)
        assert_true(offer(hosts, "ill:443", i));
    assert_ptr_equal(hosts_next(hosts), &parcels[20]);
    assert_false(hosts_done(hosts, &parcels[20], HOST_WELL, 10));
    for (size_t i = 21; i < 25; i++)
        assert_ptr_equal(hosts_next(hosts), &parcels[i]); /* as wide as before */
    assert_null(hosts_next(hosts));
}

static void
a_success_or_our_own_fault_between_them_is_no_row(void **state)
{
    struct hosts *hosts = *state;

    for (size_t i = 0; i < 40; i++) {
        enum host_sign sign = i % 5 == 4 ? HOST_WELL : HOST_ILL;

        assert_true(offer(hosts, "a:443", i));
        assert_non_null(hosts_next(hosts));
        assert_false(hosts_done(hosts, &parcels[i], sign, 5));
        assert_true(offer(hosts, "a:443", i));
        assert_non_null(hosts_next(hosts));
        assert_false(hosts_done(hosts, &parcels[i], HOST_NO_SIGN, 5));
    }
}

static void
a_slow_host_has_little_waiting_and_the_rest_comes_when_it_can(void **state)
{
    struct hosts *hosts = *state;
    int64_t delay_ms, before_ms = 0;
    size_t n = 0;

    assert_true(offer(hosts, "slow:443", 0));
    assert_non_null(hosts_next(hosts));
    assert_false(
        hosts_done(hosts, &parcels[0], HOST_WELL, 4000)); /* four at a time: one a second */
    while (offer(hosts, "slow:443", n))
        n++;
    assert_in_range(n, 4, 16);
    for (size_t i = 0; i < 10; i++) {
        assert_false(hosts_offer(hosts, "slow:443", &parcels[100 + i], &delay_ms));
        assert_true(delay_ms >= before_ms + 900); /* one after another, not all at once */
        before_ms = delay_ms;
    }
    for (size_t i = 0; i < 1000; i++)
        assert_false(hosts_offer(hosts, "slow:443", &parcels[200 + i], &delay_ms));
    assert_in_range(delay_ms, 1, 45000); /* nobody waits for ever for an estimate */
}

static void
a_quick_host_may_have_much_waiting_but_not_all(void **state)
{
    struct hosts *hosts = *state;
    size_t n = 0;

    assert_true(offer(hosts, "quick:443", MANY - 1));
    assert_non_null(hosts_next(hosts));
    assert_false(hosts_done(hosts, &parcels[MANY - 1], HOST_WELL, 0));
    while (n < MANY && offer(hosts, "quick:443", n))
        n++;
    assert_in_range(n, 500, 2000);
    hosts_withdraw(hosts, &parcels[0]); /* another process has it now */
    assert_ptr_equal(hosts_next(hosts), &parcels[1]);
}

/* Nothing was known of it but that it had four on their way; the rest came again 20 times a second. */
static void
the_longer_a_host_is_silent_the_later_it_is_looked_at_again(void **state)
{
    struct hosts *hosts = *state;
    struct parcel *sent[8];
    int64_t delay_ms, last_ms = 0;
    size_t n = 0;

    while (n < MANY && offer(hosts, "silent:443", n))
        n++;
    assert_in_range(n, 4, 100); /* a hundred such hosts must not hold all that may be leased */
    assert_int_equal(send_all(hosts, sent, 8), 4);
    for (size_t i = 0; i < 4; i++)
        sent[i]->posted_ms = now_ms;
    now_ms += 1000;
    for (size_t i = 0; i < 50; i++) {
        assert_false(hosts_offer(hosts, "silent:443", &parcels[n + i], &delay_ms));
        assert_true(delay_ms >= last_ms + 200); /* a second is what four take */
        last_ms = delay_ms;
    }
    assert_false(hosts_done(hosts, sent[0], HOST_WELL, 1000));
    for (size_t i = 1; i < 4; i++)
        assert_false(hosts_done(hosts, sent[i], HOST_WELL, 1));
    assert_true(hosts_next(hosts) != NULL && hosts_next(hosts) != NULL);
}

static void
hosts_nobody_needs_are_forgotten(void **state)
{
    struct hosts *hosts = *state;
    char name[32];

    for (size_t i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "h%zu.example:443", i);
        assert_true(offer(hosts, name, 0));
        assert_ptr_equal(hosts_next(hosts), &parcels[0]);
        assert_false(hosts_done(hosts, &parcels[0], HOST_WELL, 1));
    }
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(a_host_has_four_on_their_way_and_all_have_ten),
        test(hosts_take_turns),
        test(five_failures_in_a_row_rest_a_host_and_one_event_tries_it_then),
        test(a_success_or_our_own_fault_between_them_is_no_row),
        test(a_slow_host_has_little_waiting_and_the_rest_comes_when_it_can),
        test(a_quick_host_may_have_much_waiting_but_not_all),
        test(the_longer_a_host_is_silent_the_later_it_is_looked_at_again),
        test(hosts_nobody_needs_are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
