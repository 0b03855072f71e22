/*
 * clock_test.c - Clocks that can be replaced, their text, and ids.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/clock.h"
#include "common/id.h"

static int64_t
noon(void)
{
    return 42;
}

static void
a_replaced_clock_stands_still_until_the_real_one_is_back(void **state)
{
    (void)state;
    clock_replace(noon, noon);
    assert_int_equal(clock_monotonic_ms(), 42);
    assert_int_equal(clock_wall_ms(), 42);
    clock_replace(NULL, NULL);
    assert_true(clock_wall_ms() > INT64_C(1577836800000)); /* 2020 */
    assert_true(clock_monotonic_ms() <= clock_monotonic_ms());
}

static void
times_are_written_as_rfc_3339_whatever_their_size(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {INT64_C(1767601800123), "2026-01-05T08:30:00.123Z"},
        {INT64_C(951782399999), "2000-02-28T23:59:59.999Z"},
        {INT64_C(951782400000), "2000-02-29T00:00:00.000Z"},
        {-1, "1970-01-01T00:00:00.000Z"},
        {INT64_MIN, "1970-01-01T00:00:00.000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
    };
    char text[CLOCK_RFC3339_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        clock_format_ms(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void
new_ids_are_valid_and_differ(void **state)
{
    char a[ID_LEN + 1], b[ID_LEN + 1];

    (void)state;
    id_new(a);
    id_new(b);
    assert_true(id_is_valid(a));
    assert_true(id_is_valid(b));
    assert_int_equal(a[14], '4');           /* the version, */
    assert_non_null(strchr("89ab", a[19])); /* and the variant */
    assert_string_not_equal(a, b);
    assert_int_equal(a[14], '4'); /* version */
}

static void
an_id_with_any_character_changed_for_a_wrong_one_is_refused(void **state)
{
    static const char good[] = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9";
    char bad[ID_LEN + 2];

    (void)state;
    assert_true(id_is_valid(good));
    for (size_t i = 0; i < ID_LEN; i++) {
        memcpy(bad, good, sizeof(good));
        bad[i] = good[i] == '-' ? '0' : 'G';
        assert_false(id_is_valid(bad));
        bad[i] = '\0'; /* cut short */
        assert_false(id_is_valid(bad));
    }
    memcpy(bad, good, sizeof(good));
    bad[0] = 'A'; /* upper case is another spelling of the same id */
    assert_false(id_is_valid(bad));
    memcpy(bad, good, ID_LEN);
    memcpy(bad + ID_LEN, "0", 2);
    assert_false(id_is_valid(bad));
    assert_false(id_is_valid(NULL));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replaced_clock_stands_still_until_the_real_one_is_back),
        cmocka_unit_test(times_are_written_as_rfc_3339_whatever_their_size),
        cmocka_unit_test(new_ids_are_valid_and_differ),
        cmocka_unit_test(an_id_with_any_character_changed_for_a_wrong_one_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
