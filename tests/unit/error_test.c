/*
 * error_test.c - Texts that are too long, quote themselves, or end in strerror.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "common/error.h"
#include "common/utf8.h"

static void
a_refusal_is_one_line_and_carries_code_and_text(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(error_set(&err, ERR_INVALID, "top_p %g is over %d", 1.5, 1), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.text, "top_p 1.5 is over 1");
    assert_int_equal(error_set(NULL, ERR_INVALID, "nobody listens"), -1);
}

static void
a_long_text_is_cut_between_characters_wherever_the_cut_falls(void **state)
{
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    char text[3 * ERROR_TEXT_MAX];
    struct error err;

    (void)state;
    for (size_t c = 0; c < 4; c++) {
        for (size_t shift = 0; shift < 5; shift++) {
            size_t len = strlen(characters[c]), n = shift;

            memset(text, 'x', shift);
            while (n + len < 2 * ERROR_TEXT_MAX) {
                memcpy(text + n, characters[c], len);
                n += len;
            }
            text[n] = '\0';
            error_set(&err, ERR_INVALID, "%s", text);
            assert_true(utf8_is_valid(err.text, strlen(err.text)));
            assert_in_range(strlen(err.text), ERROR_TEXT_MAX - 4, ERROR_TEXT_MAX - 1);
            assert_memory_equal(err.text, text, strlen(err.text));
        }
    }
}

static void
a_text_of_exactly_the_room_is_not_cut(void **state)
{
    char text[ERROR_TEXT_MAX];
    struct error err;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    error_set(&err, ERR_INVALID, "%s", text);
    assert_string_equal(err.text, text);
}

static void
an_error_may_quote_the_one_it_replaces(void **state)
{
    struct error err;

    (void)state;
    error_set(&err, ERR_CORRUPT, "bad length");
    error_set(&err, err.code, "task 7: %s", err.text);
    assert_string_equal(err.text, "task 7: bad length");
    assert_int_equal(err.code, ERR_CORRUPT);
}

static void
a_failed_system_call_keeps_its_reason_behind_the_longest_path(void **state)
{
    char path[2 * ERROR_TEXT_MAX];
    struct error err;

    (void)state;
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    errno = ENOENT;
    assert_int_equal(error_errno(&err, "open %s", path), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(err.code, ERR_SYSTEM);
    assert_non_null(strstr(err.text, ": No such file or directory"));
    errno = ENOMEM;
    error_errno(&err, "map");
    assert_int_equal(err.code, ERR_MEMORY);
    assert_string_equal(err.text, "map: Cannot allocate memory");
}

static void
every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    assert_string_equal(error_name(ERR_INVALID), "invalid");
    for (int a = ERR_NONE; a <= ERR_NOT_FINITE; a++) {
        assert_string_not_equal(error_name((enum error_code)a), "unknown");
        for (int b = ERR_NONE; b < a; b++)
            assert_string_not_equal(error_name((enum error_code)a), error_name((enum error_code)b));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_is_one_line_and_carries_code_and_text),
        cmocka_unit_test(a_long_text_is_cut_between_characters_wherever_the_cut_falls),
        cmocka_unit_test(a_text_of_exactly_the_room_is_not_cut),
        cmocka_unit_test(an_error_may_quote_the_one_it_replaces),
        cmocka_unit_test(a_failed_system_call_keeps_its_reason_behind_the_longest_path),
        cmocka_unit_test(every_code_has_a_name_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
