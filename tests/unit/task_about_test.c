/*
 * What a client is shown of a task: its texts, its warnings, and its stored form under damage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/task.h"
#include "tests/support/stored_values.h"

static void
what_is_shown_comes_back_as_it_was_stored(void **state)
{
    struct task_about examples[2];

    (void)state;
    example_about(&examples[0]);
    example_plain_about(&examples[1]);
    for (int i = 0; i < 2; i++) {
        struct task_about back;
        struct task_bytes bytes;
        struct error err;

        assert_int_equal(task_about_encode(&examples[i], &bytes, &err), 0);
        assert_int_equal(task_about_decode(bytes.data, bytes.size, &back, &err), 0);
        assert_true(same_about(&examples[i], &back));
        task_about_clear(&back);
        free(bytes.data);
        task_about_clear(&examples[i]);
        assert_null(examples[i].series_id);
    }
}

static char *
text_of(size_t n)
{
    char *text = malloc(n + 1);

    assert_non_null(text);
    memset(text, 'x', n);
    text[n] = '\0';
    return text;
}

static void
the_longest_texts_fit_and_a_byte_more_does_not(void **state)
{
    static const struct {
        size_t series, name, value;
        int rc;
    } cases[] = {
        {TASK_SERIES_ID_MAX, TASK_METADATA_NAME_MAX, TASK_METADATA_VALUE_MAX, 0},
        {0, 1, 0, 0},
        {TASK_SERIES_ID_MAX + 1, 1, 0, -1},
        {0, 0, 0, -1},
        {0, TASK_METADATA_NAME_MAX + 1, 0, -1},
        {0, 1, TASK_METADATA_VALUE_MAX + 1, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct task_about about, back;
        struct task_bytes bytes;
        struct error err;

        example_plain_about(&about);
        about.series_id = text_of(cases[i].series);
        about.metadata[0] = (struct task_metadata){text_of(cases[i].name), text_of(cases[i].value)};
        about.n_metadata = 1;
        assert_int_equal(task_about_encode(&about, &bytes, &err), cases[i].rc);
        if (cases[i].rc == 0) {
            assert_int_equal(task_about_decode(bytes.data, bytes.size, &back, &err), 0);
            assert_true(same_about(&about, &back));
            task_about_clear(&back);
            free(bytes.data);
        } else {
            assert_int_equal(err.code, ERR_INVALID);
            assert_null(bytes.data);
        }
        task_about_clear(&about);
    }
}

static void
metadata_together_has_a_limit_and_no_name_twice(void **state)
{
    struct task_about about;
    struct task_bytes bytes;
    struct error err;

    (void)state;
    example_plain_about(&about);
    for (uint32_t i = 0; i < 4; i++) {
        about.metadata[i] = (struct task_metadata){text_of(i + 1), text_of(512 - (i + 1))};
        about.n_metadata++;
    }
    assert_int_equal(task_about_encode(&about, &bytes, &err), 0); /* 2048 bytes */
    free(bytes.data);
    about.metadata[4] = (struct task_metadata){text_of(5), text_of(0)};
    about.n_metadata++;
    assert_int_equal(task_about_encode(&about, &bytes, &err), -1);
    free(about.metadata[4].name);
    about.metadata[4].name = text_of(4);
    free(about.metadata[0].value);
    about.metadata[0].value = text_of(0);
    assert_int_equal(task_about_encode(&about, &bytes, &err), -1);
    assert_non_null(strstr(err.text, "twice"));
    task_about_clear(&about);
}

static void
a_text_that_is_not_utf8_is_not_stored(void **state)
{
    struct task_about about;
    struct task_bytes bytes;
    struct error err;

    (void)state;
    example_about(&about);
    about.metadata[0].value[0] = '\xFF';
    assert_int_equal(task_about_encode(&about, &bytes, &err), -1);
    about.metadata[0].value[0] = 'a';
    about.series_id[0] = '\n';
    assert_int_equal(task_about_encode(&about, &bytes, &err), -1);
    task_about_clear(&about);
}

static void
a_long_warning_is_cut_between_characters(void **state)
{
    struct task_about about;
    char pointer[200] = "#/";

    (void)state;
    example_plain_about(&about);
    for (int i = 2; i + 3 < (int)sizeof(pointer); i += 3)
        memcpy(pointer + i, "\xE2\x82\xAC", 4); /* three bytes a character */
    task_about_warn(&about, "unknown_member", pointer, "%s and %s", pointer, pointer);
    assert_int_equal(strlen(about.warnings[0].pointer), 2 + 31 * 3); /* 95 would split the 32nd */
    assert_int_equal(strlen(about.warnings[0].detail), 2 + 52 * 3);  /* 158, of 159 */
    assert_string_equal(about.warnings[0].code, "unknown_member");

    struct task_bytes bytes;
    struct error err;

    assert_int_equal(task_about_encode(&about, &bytes, &err), 0); /* so it is UTF-8 */
    free(bytes.data);
    task_about_clear(&about);
}

static void
warnings_beyond_the_limit_are_dropped(void **state)
{
    struct task_about about;

    (void)state;
    example_plain_about(&about);
    for (int i = 0; i < TASK_WARNINGS_MAX + 5; i++)
        task_about_warn(&about, "unknown_member", "", "number %d", i);
    assert_int_equal(about.n_warnings, TASK_WARNINGS_MAX);
    assert_string_equal(about.warnings[TASK_WARNINGS_MAX - 1].detail, "number 15");
    task_about_clear(&about);
}

static void
the_largest_about_survives_the_trip(void **state)
{
    struct task_about about, back;
    char pointer[96], detail[160];
    struct task_bytes bytes;
    struct error err;

    (void)state;
    memset(pointer, '/', sizeof(pointer));
    memset(detail, 'd', sizeof(detail));
    pointer[sizeof(pointer) - 1] = detail[sizeof(detail) - 1] = '\0';
    example_plain_about(&about);
    about.n_horizon = TASK_HORIZON_MAX;
    about.sample_count = TASK_SAMPLES_MAX;
    about.series_id = text_of(TASK_SERIES_ID_MAX);
    for (; about.n_metadata < TASK_METADATA_MAX; about.n_metadata++) {
        char *name = text_of(TASK_METADATA_NAME_MAX);

        name[0] = (char)('A' + about.n_metadata);
        about.metadata[about.n_metadata] =
            (struct task_metadata){name, text_of(128 - TASK_METADATA_NAME_MAX)};
    }
    for (int i = 0; i < TASK_WARNINGS_MAX; i++)
        task_about_warn(&about, "a_code_of_thirty_one_characters", pointer, "%s", detail);
    assert_int_equal(task_about_encode(&about, &bytes, &err), 0);
    assert_int_equal(task_about_decode(bytes.data, bytes.size, &back, &err), 0);
    assert_true(same_about(&about, &back));
    task_about_clear(&back);
    free(bytes.data);
    task_about_clear(&about);
}

static void
truncated_bytes_are_refused_at_every_length(void **state)
{
    struct task_bytes whole = stored_encode_example(STORED_ABOUT);

    (void)state;
    for (size_t n = 0; n < whole.size; n++)
        assert_false(stored_accepts(STORED_ABOUT, whole.data, n));
    assert_true(stored_accepts(STORED_ABOUT, whole.data, whole.size));
    free(whole.data);
}

/* May this stand there? The names and texts of metadata and warnings are the client's. */
static bool
is_harmless(const char *name, enum damage damage)
{
    bool is_own = strcmp(name, "strategy") == 0 || strcmp(name, "note") == 0;
    bool is_text = is_own || strcmp(name, "series_id") == 0 || strcmp(name, "code") == 0 ||
                   strcmp(name, "pointer") == 0 || strcmp(name, "detail") == 0;

    switch (damage) {
    case DAMAGE_NONE:
        return true;
    case DAMAGE_UNKNOWN:
        return !is_own; /* every member of metadata is text */
    case DAMAGE_DROP:
        return is_own;
    case DAMAGE_NIL:
        return strcmp(name, "series_id") == 0;
    case DAMAGE_TRUE:
        return strcmp(name, "columns") == 0;
    case DAMAGE_TEXT:
        return is_text;
    case DAMAGE_SHORTER:
    case DAMAGE_LONGER:
        return true; /* there are no bins */
    default:
        return false;
    }
}

static void
it_is_refused_when_any_member_is_damaged_but_not_for_a_new_one(void **state)
{
    struct task_bytes whole = stored_encode_example(STORED_ABOUT);
    size_t members = 0;
    char name[64];

    (void)state;
    for (int damage = DAMAGE_NONE; damage < DAMAGE_COUNT; damage++) {
        for (members = 0;; members++) {
            struct task_bytes hurt = damage_member(&whole, members, (enum damage)damage, name);

            if (hurt.data == NULL)
                break;
            if (stored_accepts(STORED_ABOUT, hurt.data, hurt.size) !=
                is_harmless(name, (enum damage)damage))
                fail_msg("member %s, %s: wrongly judged", name, damage_name((enum damage)damage));
            free(hurt.data);
        }
    }
    assert_int_equal(members, 7 + 2 + 3);
    free(whole.data);
}

static void
random_damage_never_harms_the_reader(void **state)
{
    (void)state;
    damage_rounds(STORED_ABOUT, 50000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_shown_comes_back_as_it_was_stored),
        cmocka_unit_test(the_longest_texts_fit_and_a_byte_more_does_not),
        cmocka_unit_test(metadata_together_has_a_limit_and_no_name_twice),
        cmocka_unit_test(a_text_that_is_not_utf8_is_not_stored),
        cmocka_unit_test(a_long_warning_is_cut_between_characters),
        cmocka_unit_test(warnings_beyond_the_limit_are_dropped),
        cmocka_unit_test(the_largest_about_survives_the_trip),
        cmocka_unit_test(truncated_bytes_are_refused_at_every_length),
        cmocka_unit_test(it_is_refused_when_any_member_is_damaged_but_not_for_a_new_one),
        cmocka_unit_test(random_damage_never_harms_the_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
