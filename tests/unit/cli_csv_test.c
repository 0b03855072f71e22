/*
 * Candles from CSV files: what people's exports look like, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/csv.h"

static int
read_text(const char *text, struct candles *out, struct error *err)
{
    FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    int status;

    assert_non_null(in);
    status = csv_read(in, "file.csv", out, err);
    fclose(in);
    return status;
}

static void
columns_may_come_in_any_order_and_case(void **state)
{
    struct candles c;
    struct error err;

    (void)state;
    assert_int_equal(read_text("\xEF\xBB\xBF"
                               "Close,extra,Volume,Low,High,Open,Date\r\n"
                               "1.5,x,7,1,2,1.25,2024-01-01 09:30\r\n"
                               "\r\n"
                               "\"1.6\", y ,,1.1,2.1,1.5,2024-01-01 09:35\r\n",
                         &c, &err),
        0);
    assert_int_equal(c.n, 2);
    assert_string_equal(c.rows[0].time, "2024-01-01 09:30");
    assert_true(c.rows[0].open == 1.25 && c.rows[0].high == 2 && c.rows[0].low == 1);
    assert_true(c.rows[0].close == 1.5 && c.rows[0].volume == 7 && isnan(c.rows[0].amount));
    assert_true(c.rows[1].close == 1.6 && isnan(c.rows[1].volume));
    assert_int_equal(csv_interval_seconds(&c), 300);
    csv_clear(&c);
}

static void
a_file_that_is_no_table_of_candles_is_refused_with_file_line_and_column(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"open,high,low,close\n1,2,1,2\n", "file.csv:1: no column 'timestamp'"},
        {"time,open,high,low\n", "no column 'close'"},
        {"time,open,high,low,close,Close\n", "two columns are called"},
        {"time,open,high,low,close\n", "has no candles"},
        {"", "has no candles"},
        {"time,open,high,low,close\nx,1,2,1\n", "file.csv:2: no value for close"},
        {"time,open,high,low,close\nx,1,2,1,abc\n", "file.csv:2: close is no number: 'abc'"},
        {"time,open,high,low,close\nx,1,2,1,\n", "close is no number: ''"},
        {"time,open,high,low,close\nx,1,nan,1,2\n", "high is no number"},
        {"time,open,high,low,close\nx,1,1e999,1,2\n", "high is no number"},
        {"time,open,high,low,close\n,1,2,1,2\n", "timestamp has 0 characters"},
        {"time,open,high,low,close\n1234567890123456789012345678901234567890,1,2,1,2\n",
            "timestamp has 40 characters"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct candles c;
        struct error err = {0};

        if (rows[i].text[0] == '\0')
            continue; /* fmemopen has no empty stream; the next test reads one */
        assert_int_equal(read_text(rows[i].text, &c, &err), -1);
        if (strstr(err.text, rows[i].says) == NULL)
            fail_msg("%s\nsays '%s', wanted '%s'", rows[i].text, err.text, rows[i].says);
        assert_null(c.rows);
    }
}

static void
an_empty_file_has_no_candles(void **state)
{
    FILE *in = fopen("/dev/null", "r");
    struct candles c;
    struct error err;

    (void)state;
    assert_non_null(in);
    assert_int_equal(csv_read(in, "nothing", &c, &err), -1);
    assert_string_equal(err.text, "nothing has no candles");
    fclose(in);
}

static void
a_night_between_sessions_does_not_change_the_interval(void **state)
{
    struct candles c;
    struct error err;

    (void)state;
    assert_int_equal(read_text("timestamp,open,high,low,close\n"
                               "2024-01-05T15:50:00,1,1,1,1\n2024-01-05T15:55:00,1,1,1,1\n"
                               "2024-01-08T09:30:00,1,1,1,1\n2024-01-08T09:35:00,1,1,1,1\n",
                         &c, &err),
        0);
    assert_int_equal(csv_interval_seconds(&c), 300);
    csv_clear(&c);
}

static void
epoch_numbers_are_seconds_or_milliseconds(void **state)
{
    struct candles c;
    struct error err;

    (void)state;
    assert_int_equal(
        read_text(
            "time,open,high,low,close\n1700000000000,1,1,1,1\n1700003600000,1,1,1,1\n", &c, &err),
        0);
    assert_int_equal(csv_interval_seconds(&c), 3600);
    csv_clear(&c);
    assert_int_equal(
        read_text("time,open,high,low,close\nbreakfast,1,1,1,1\nlunch,1,1,1,1\n", &c, &err), 0);
    assert_int_equal(csv_interval_seconds(&c), 0);
    csv_clear(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_may_come_in_any_order_and_case),
        cmocka_unit_test(a_file_that_is_no_table_of_candles_is_refused_with_file_line_and_column),
        cmocka_unit_test(an_empty_file_has_no_candles),
        cmocka_unit_test(a_night_between_sessions_does_not_change_the_interval),
        cmocka_unit_test(epoch_numbers_are_seconds_or_milliseconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
