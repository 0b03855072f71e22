/*
 * times_test.c - Times are read in every form of the contract, and written back as they came.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "api/times.h"

static struct task_time
parsed(const char *text)
{
    size_t len = strlen(text);
    char *copy = malloc(len > 0 ? len : 1); /* exact: ASan sees a byte read too far */
    struct task_time time = {0};
    const char *reason = "-";
    enum times_fault fault;

    assert_non_null(copy);
    memcpy(copy, text, len);
    fault = times_parse(copy, len, &time, &reason);
    free(copy);
    if (fault != TIMES_OK)
        print_error("%s: %s\n", text, reason);
    assert_int_equal(fault, TIMES_OK);
    return time;
}

static void
every_form_is_read_and_written_back_in_one(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"2025-01-01", "2025-01-01T00:00:00"},
        {"2025-01-01T09:15", "2025-01-01T09:15:00"},
        {"2025-01-01 09:15:30", "2025-01-01T09:15:30"},
        {"2025-01-01t09:15:30z", "2025-01-01T09:15:30Z"},
        {"2025-01-01T09:15Z", "2025-01-01T09:15:00Z"},
        {"2025-01-01T09:15:00+08:00", "2025-01-01T09:15:00+08:00"},
        {"2025-01-01T09:15:00-0330", "2025-01-01T09:15:00-03:30"},
        {"2025-01-01T09:15:00-00:00", "2025-01-01T09:15:00Z"},
        {"2025-01-01T09:15:00+23:59", "2025-01-01T09:15:00+23:59"},
        {"2025-01-01T09:15:00.5", "2025-01-01T09:15:00.500000"},
        {"2025-01-01T09:15:00.000001+01:00", "2025-01-01T09:15:00.000001+01:00"},
        {"2025-01-01T09:15:00.123456789", "2025-01-01T09:15:00.123456"},
        {"2025-01-01T09:15:00.0000009", "2025-01-01T09:15:00"},
        {"2024-02-29T23:59:59", "2024-02-29T23:59:59"},
        {"2000-02-29", "2000-02-29T00:00:00"},
        {"1900-01-01", "1900-01-01T00:00:00"},
        {"1969-12-31T23:59:59.999999", "1969-12-31T23:59:59.999999"},
        {"2261-12-31T23:59:59.999999", "2261-12-31T23:59:59.999999"},
        {"0", "1970-01-01T00:00:00Z"},
        {"1735722000", "2025-01-01T09:00:00Z"},
        {"1735722000.25", "2025-01-01T09:00:00.250000Z"},
        {"1735722000123", "2025-01-01T09:00:00.123000Z"},
        {"-1", "1969-12-31T23:59:59Z"},
        {"1.7357220e9", "2025-01-01T09:00:00Z"},
        {"-2208988800", "1900-01-01T00:00:00Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct task_time time = parsed(cases[i].in);
        char text[TASK_TIME_TEXT_MAX];

        assert_int_equal(task_time_format(&time, 'T', text), strlen(cases[i].out));
        assert_string_equal(text, cases[i].out);
    }
}

static void
what_is_no_time_is_refused_with_a_reason(void **state)
{
    static const char *const texts[] = {"", "x", "2025-01", "2025-1-1", "2025-01-01T",
        "2025-01-01 ", "2025-01-01T9:15", "2025-01-01T09", "2025-01-01T09:1", "2025-01-01T0915",
        "2025-01-01T09:15:", "2025-01-01T09:15:6", "2025-01-01T09:15:60", "2025-01-01T24:00",
        "2025-01-01T09:60", "2025-01-01T09:15:00.", "2025-01-01T09:15:00,5",
        "2025-01-01T09:15:00.1234567890", "2025-01-01T09:15:00+", "2025-01-01T09:15:00+8",
        "2025-01-01T09:15:00+08", "2025-01-01T09:15:00+08:", "2025-01-01T09:15:00+08:6",
        "2025-01-01T09:15:00+08:60", "2025-01-01T09:15:00+24:00", "2025-01-01T09:15:00 +08:00",
        "2025-01-01T09:15:00Zx", "2025-01-01T09:15:00ZZ", "2025-01-01+08:00", "2025-01-01Z",
        "20240101T000000", "2025/01/01", "01.01.2025", "2025-00-01", "2025-13-01", "2025-01-00",
        "2025-01-32", "2025-02-29", "1900-02-29", "2025-04-31", "now", "2025-W01-1", "2025-001",
        " 2025-01-01", "2025-01-01_09:15", "+1735722000", "1735722000x", "0x10", "NaN", "1e",
        "2025-01-01T09:15:00\342\210\22208:00"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *reason = NULL;
        struct task_time time;
        enum times_fault fault = times_parse(texts[i], strlen(texts[i]), &time, &reason);

        if (fault != TIMES_FORMAT)
            print_error("\"%s\" is taken for a time\n", texts[i]);
        assert_int_equal(fault, TIMES_FORMAT);
        assert_non_null(reason);
        assert_true(strlen(reason) > 5);
    }
}

static void
years_outside_1900_to_2261_are_out_of_range(void **state)
{
    static const char *const texts[] = {"1899-12-31T23:59:59.999999", "2262-01-01", "0000-01-01",
        "9999-12-31T23:59:59Z", "-2208988801", "9214646400000", "1e300", "-1e300", "1e999"};
    struct task_time time;
    const char *reason;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(times_parse(texts[i], strlen(texts[i]), &time, &reason), TIMES_RANGE);
    assert_int_equal(times_from_epoch(NAN, &time), TIMES_RANGE);
    assert_int_equal(times_from_epoch(INFINITY, &time), TIMES_RANGE);
}

static void
epoch_numbers_above_2e10_are_milliseconds(void **state)
{
    struct task_time time;

    (void)state;
    assert_int_equal(times_from_epoch(2e10, &time), TIMES_RANGE); /* the year 2603 */
    assert_int_equal(times_from_epoch(2e10 + 1, &time), TIMES_OK);
    assert_int_equal(time.wall_us, INT64_C(20000000001000));
    assert_int_equal(time.offset_minutes, 0);
    assert_int_equal(times_from_epoch(1735693200.123456, &time), TIMES_OK);
    assert_int_equal(time.wall_us, INT64_C(1735693200123456));
    assert_int_equal(times_from_epoch(1735693200123.456, &time), TIMES_OK);
    assert_int_equal(time.wall_us, INT64_C(1735693200123456));
    assert_int_equal(times_from_epoch(-0.5, &time), TIMES_OK);
    assert_int_equal(time.wall_us, -500000);
}

/* Against the C library's calendar, over every day of the range. */
static void
every_day_of_the_range_goes_there_and_back(void **state)
{
    char text[TASK_TIME_TEXT_MAX], wanted[TASK_TIME_TEXT_MAX];

    (void)state;
    for (int64_t day = -25567; day < 106651; day++) {
        struct task_time time = {
            .wall_us = day * INT64_C(86400000000), .offset_minutes = TASK_NO_OFFSET};
        time_t seconds = (time_t)(day * 86400);
        struct task_time again;
        const char *reason;
        struct tm tm;

        assert_non_null(gmtime_r(&seconds, &tm));
        strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%S", &tm);
        task_time_format(&time, 'T', text);
        assert_string_equal(text, wanted);
        assert_int_equal(times_parse(text, strlen(text), &again, &reason), TIMES_OK);
        assert_int_equal(again.wall_us, time.wall_us);
    }
}

static void
random_times_with_offsets_go_there_and_back(void **state)
{
    uint64_t random = 7;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        struct task_time time, again;
        char text[TASK_TIME_TEXT_MAX];
        const char *reason;
        size_t len;

        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        time.wall_us = TASK_WALL_US_MIN +
                       (int64_t)((random >> 2) % (uint64_t)(TASK_WALL_US_MAX - TASK_WALL_US_MIN));
        time.offset_minutes = (int16_t)((int)(random % 2879) - 1439);
        len = task_time_format(&time, i % 2 ? 'T' : ' ', text);
        assert_true(len < TASK_TIME_TEXT_MAX);
        assert_int_equal(times_parse(text, len, &again, &reason), TIMES_OK);
        assert_int_equal(again.wall_us, time.wall_us);
        assert_int_equal(again.offset_minutes, time.offset_minutes);
        assert_int_equal(
            task_time_instant_us(&time), time.wall_us - time.offset_minutes * INT64_C(60000000));
    }
}

static void
messages_show_times_as_python_prints_them(void **state)
{
    struct task_time time = parsed("2025-01-01T09:05:00Z");
    char text[TASK_TIME_TEXT_MAX];

    (void)state;
    task_time_format(&time, ' ', text);
    assert_string_equal(text, "2025-01-01 09:05:00+00:00");
    time = parsed("2025-01-01T09:05:00.5");
    task_time_format(&time, ' ', text);
    assert_string_equal(text, "2025-01-01 09:05:00.500000");
}

static void
intervals_are_a_number_and_a_unit(void **state)
{
    static const char *const refused[] = {"", "min", "5", "0min", "05min", "100000s", "5 min", "5m",
        "5M", "5Min", "-5min", "5.5h", "1y", "1mo", "5minx", "5hh", "1e2s"};
    struct times_interval interval;

    (void)state;
    assert_int_equal(times_parse_interval("5min", 4, &interval), 0);
    assert_int_equal(interval.count, 5);
    assert_int_equal(interval.unit, 'm');
    assert_int_equal(times_parse_interval("99999w", 6, &interval), 0);
    assert_int_equal(interval.count, 99999);
    assert_int_equal(interval.unit, 'w');
    assert_int_equal(times_parse_interval("1s", 2, &interval), 0);
    assert_int_equal(times_parse_interval("24h", 3, &interval), 0);
    assert_int_equal(times_parse_interval("1d", 2, &interval), 0);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(times_parse_interval(refused[i], strlen(refused[i]), &interval), -1);
}

static void
stepping_adds_to_the_wall_clock_and_may_leave_out_weekends(void **state)
{
    static const struct {
        const char *from, *interval;
        bool weekdays_only;
        const char *to;
    } cases[] = {
        {"2025-01-03T23:55:00", "5min", false, "2025-01-04T00:00:00"},
        {"2025-01-03T23:55:00", "5min", true, "2025-01-06T00:00:00"},
        {"2025-01-03T23:57:00+08:00", "5min", true, "2025-01-06T00:02:00+08:00"},
        {"2025-01-03T16:00:00", "1d", true, "2025-01-06T16:00:00"},
        {"2025-01-02T16:00:00", "1d", true, "2025-01-03T16:00:00"},
        {"2025-01-03T20:00:00", "7h", true, "2025-01-06T04:00:00"},
        {"2025-01-03T00:00:00", "2d", true, "2025-01-07T00:00:00"},
        {"2024-02-28T12:00:00", "1d", false, "2024-02-29T12:00:00"},
        {"2025-01-31T00:00:00", "4w", false, "2025-02-28T00:00:00"},
        {"2025-01-03T23:59:59.5", "1s", true, "2025-01-06T00:00:00.500000"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct times_interval interval;
        struct task_time next;
        char text[TASK_TIME_TEXT_MAX];

        assert_int_equal(
            times_parse_interval(cases[i].interval, strlen(cases[i].interval), &interval), 0);
        next = times_next(parsed(cases[i].from), interval, cases[i].weekdays_only);
        task_time_format(&next, 'T', text);
        assert_string_equal(text, cases[i].to);
    }
}

/* A weekly bar that starts on a Saturday never meets a weekday: the stepping must end. */
static void
whole_weeks_from_a_saturday_leave_the_range_instead_of_looping(void **state)
{
    struct times_interval week = {.count = 1, .unit = 'w'};
    struct times_interval hours = {.count = 168, .unit = 'h'};
    struct task_time saturday = parsed("2025-01-04");
    struct task_time next = times_on_weekday(saturday, week);

    (void)state;
    assert_false(times_is_in_range(&next));
    next = times_next(saturday, hours, true);
    assert_false(times_is_in_range(&next));
    next = times_on_weekday(parsed("2025-01-04T12:00"), (struct times_interval){1, 'd'});
    assert_true(times_is_in_range(&next));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_read_and_written_back_in_one),
        cmocka_unit_test(what_is_no_time_is_refused_with_a_reason),
        cmocka_unit_test(years_outside_1900_to_2261_are_out_of_range),
        cmocka_unit_test(epoch_numbers_above_2e10_are_milliseconds),
        cmocka_unit_test(every_day_of_the_range_goes_there_and_back),
        cmocka_unit_test(random_times_with_offsets_go_there_and_back),
        cmocka_unit_test(messages_show_times_as_python_prints_them),
        cmocka_unit_test(intervals_are_a_number_and_a_unit),
        cmocka_unit_test(stepping_adds_to_the_wall_clock_and_may_leave_out_weekends),
        cmocka_unit_test(whole_weeks_from_a_saturday_leave_the_range_instead_of_looping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
