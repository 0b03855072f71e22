/*
 * trace_test.c - Which traceparents are believed, and what is passed on of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/trace.h"

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"
#define GOOD   "00-" TRACE "-" PARENT "-01"

static void
a_valid_one_is_passed_on_as_it_is(void **state)
{
    char parent[TRACE_PARENT_LEN + 1], id[TRACE_ID_LEN + 1];

    (void)state;
    assert_true(trace_parent_read(GOOD, parent));
    assert_string_equal(parent, GOOD);
    trace_id_of(parent, id);
    assert_string_equal(id, TRACE);
    assert_true(trace_parent_read("00-" TRACE "-" PARENT "-ff", parent));
    assert_string_equal(parent, "00-" TRACE "-" PARENT "-ff");
}

static void
one_of_a_later_version_becomes_ours(void **state)
{
    char parent[TRACE_PARENT_LEN + 1];

    (void)state;
    assert_true(trace_parent_read("cc-" TRACE "-" PARENT "-03-what-comes", parent));
    assert_string_equal(parent, GOOD);
    assert_true(trace_parent_read("01-" TRACE "-" PARENT "-fe", parent));
    assert_string_equal(parent, "00-" TRACE "-" PARENT "-00");
}

static void
what_the_standard_says_to_ignore_is_ignored(void **state)
{
    static const char *const bad[] = {
        "",
        "00",
        "00-" TRACE "-" PARENT,
        "00-" TRACE "-" PARENT "-0",
        "00-" TRACE "-" PARENT "-01-more",
        "00-" TRACE "-" PARENT "-01 ",
        " " GOOD,
        "01-" TRACE "-" PARENT "-01.more",
        "ff-" TRACE "-" PARENT "-01",
        "0g-" TRACE "-" PARENT "-01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" TRACE "-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01",
        "00-" TRACE "-" PARENT "-0G",
        "00_" TRACE "-" PARENT "-01",
        "00-" TRACE "_" PARENT "-01",
        "00-" TRACE "-" PARENT "_01",
        "00-0af7651916cd43dd8448eb211c80319-c" PARENT "-01",
    };
    char parent[TRACE_PARENT_LEN + 1] = "x", id[TRACE_ID_LEN + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (trace_parent_read(bad[i], parent))
            fail_msg("believed: %s", bad[i]);
        assert_string_equal(parent, "");
    }
    trace_id_of("", id);
    assert_string_equal(id, "");
    assert_false(trace_id_is_valid(TRACE, TRACE_ID_LEN - 1));
    assert_false(trace_id_is_valid("00000000000000000000000000000000", TRACE_ID_LEN));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_one_is_passed_on_as_it_is),
        cmocka_unit_test(one_of_a_later_version_becomes_ours),
        cmocka_unit_test(what_the_standard_says_to_ignore_is_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
