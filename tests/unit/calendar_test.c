/*
 * calendar_test.c - Minutes since 1970 become the fields a wall clock and calendar show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "worker/kronos/calendar.h"

static void
assert_split(int64_t minutes, int minute, int hour, int weekday, int day, int month)
{
    struct calendar c;

    assert_true(calendar_split(minutes, &c));
    assert_int_equal(c.minute, minute);
    assert_int_equal(c.hour, hour);
    assert_int_equal(c.weekday, weekday);
    assert_int_equal(c.day, day);
    assert_int_equal(c.month, month);
}

static void
well_known_days_have_their_fields(void **state)
{
    (void)state;
    assert_split(0, 0, 0, 3, 1, 1);           /* 1970-01-01, a Thursday */
    assert_split(-1, 59, 23, 2, 31, 12);      /* the minute before */
    assert_split(28486655, 35, 9, 3, 29, 2);  /* 2024-02-29T09:35 */
    assert_split(15864479, 59, 23, 1, 29, 2); /* 2000-02-29T23:59: 400 divides 2000 */
    assert_split(68459040, 0, 0, 0, 1, 3);    /* 2100-03-01: no leap year */
}

/* libc's own arithmetic, which the engine does not use, on every day of the range. */
static void
every_day_of_the_range_agrees_with_libc(void **state)
{
    (void)state;
    for (int64_t minutes = CALENDAR_MINUTES_MIN; minutes <= CALENDAR_MINUTES_MAX;
         minutes += 1440 - 1) { /* so that the time of day walks through all minutes too */
        time_t seconds = (time_t)minutes * 60;
        struct tm tm;

        assert_non_null(gmtime_r(&seconds, &tm));
        assert_split(
            minutes, tm.tm_min, tm.tm_hour, (tm.tm_wday + 6) % 7, tm.tm_mday, tm.tm_mon + 1);
    }
}

static void
the_first_and_last_minute_are_in_and_their_neighbours_out(void **state)
{
    struct calendar c;

    (void)state;
    assert_split(CALENDAR_MINUTES_MIN, 0, 0, 0, 1, 1);     /* 1900-01-01, a Monday */
    assert_split(CALENDAR_MINUTES_MAX, 59, 23, 1, 31, 12); /* 2261-12-31, a Tuesday */
    assert_false(calendar_split(CALENDAR_MINUTES_MIN - 1, &c));
    assert_false(calendar_split(CALENDAR_MINUTES_MAX + 1, &c));
    assert_false(calendar_split(INT64_MIN, &c));
    assert_false(calendar_split(INT64_MAX, &c));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_known_days_have_their_fields),
        cmocka_unit_test(every_day_of_the_range_agrees_with_libc),
        cmocka_unit_test(the_first_and_last_minute_are_in_and_their_neighbours_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
