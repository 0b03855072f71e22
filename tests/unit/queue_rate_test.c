/*
 * queue_rate_test.c - Submits of an owner in a minute, against a real Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/support/queue_fixture.h"

#define WINDOW_MS 60000

static int64_t
count(struct queue_fixture *f, const char *owner, int64_t *left_ms)
{
    struct queue_call call;
    redisReply *reply;
    int64_t n;

    assert_int_equal(queue_rate_call(owner, WINDOW_MS, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_rate_parse(reply, &n, left_ms, &f->err), 0);
    assert_true(*left_ms >= 1 && *left_ms <= WINDOW_MS);
    freeReplyObject(reply);
    return n;
}

static void
a_window_begins_with_the_first_and_is_not_moved_by_the_others(void **state)
{
    struct queue_fixture *f = *state;
    int64_t left;

    for (int64_t n = 1; n <= 3; n++)
        assert_int_equal(count(f, "desk-a", &left), n);
    queue_fixture_int(f, "PEXPIRE kq:rate:desk-a 20000");
    assert_int_equal(count(f, "desk-a", &left), 4);
    assert_true(left <= 20000);
    queue_fixture_int(f, "DEL kq:rate:desk-a"); /* as its end does */
    assert_int_equal(count(f, "desk-a", &left), 1);
    assert_true(left > WINDOW_MS - 5000);
}

static void
owners_are_counted_apart_and_nothing_else_is_written(void **state)
{
    struct queue_fixture *f = *state;
    int64_t left;
    long long keys = queue_fixture_int(f, "DBSIZE");

    assert_int_equal(count(f, "a", &left), 1);
    assert_int_equal(count(f, "b", &left), 1);
    assert_int_equal(count(f, "a", &left), 2);
    assert_int_equal(queue_fixture_int(f, "DBSIZE"), keys + 2);
}

static void
what_is_no_counter_is_begun_anew(void **state)
{
    static const char *const damage[] = {"SET kq:rate:a many", "SET kq:rate:a -5 PX 1000",
        "SET kq:rate:a 9223372036854775807 PX 1000", "SET kq:rate:a 7", "SET kq:rate:a 7 EX 100000",
        "LPUSH kq:rate:a x", "SET kq:rate:a 1.5 PX 1000"};
    struct queue_fixture *f = *state;
    int64_t left;

    for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
        queue_fixture_int(f, "DEL kq:rate:a");
        freeReplyObject(queue_fixture_reply(f, damage[i]));
        assert_int_equal(count(f, "a", &left), 1);
        assert_int_equal(count(f, "a", &left), 2);
    }
}

static void
an_owner_that_is_no_name_makes_no_key(void **state)
{
    static const char *const owners[] = {"", "{a}", "a}b",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "a"};
    struct queue_fixture *f = *state;
    struct queue_call call;

    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        assert_int_equal(queue_rate_call(owners[i], WINDOW_MS, &call, &f->err), -1);
        assert_int_equal(f->err.code, ERR_INVALID);
    }
}

static void
a_reply_that_is_no_count_is_refused(void **state)
{
    static const char *const replies[] = {"*0\r\n", "*1\r\n:1\r\n", "*2\r\n:0\r\n:1\r\n",
        "*2\r\n:1\r\n:0\r\n", "*2\r\n:1\r\n:-1\r\n", "*2\r\n$1\r\nx\r\n:1\r\n", ":1\r\n", "$-1\r\n",
        "-ERR no\r\n"};
    struct queue_fixture *f = *state;
    int64_t n, left;

    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        redisContext *c = queue_fixture_canned(replies[i]);
        redisReply *reply = redisCommand(c, "PING");

        assert_non_null(reply);
        assert_int_equal(queue_rate_parse(reply, &n, &left, &f->err), -1);
        freeReplyObject(reply);
        redisFree(c);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(
            a_window_begins_with_the_first_and_is_not_moved_by_the_others, queue_fixture_reset),
        cmocka_unit_test_setup(
            owners_are_counted_apart_and_nothing_else_is_written, queue_fixture_reset),
        cmocka_unit_test_setup(what_is_no_counter_is_begun_anew, queue_fixture_reset),
        cmocka_unit_test_setup(an_owner_that_is_no_name_makes_no_key, queue_fixture_reset),
        cmocka_unit_test_setup(a_reply_that_is_no_count_is_refused, queue_fixture_reset),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
