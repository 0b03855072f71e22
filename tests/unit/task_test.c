/*
 * The words and limits of a task, its cost, and its stored form under damage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/task.h"
#include "tests/support/stored_values.h"

#define MINUTE_US INT64_C(60000000)

/* ---- words ---- */

static void
every_state_has_its_word_and_a_parked_task_is_shown_as_queued(void **state)
{
    static const char *const words[] = {
        "queued", "processing", "completed", "failed", "cancelled", "expired"};
    enum task_status status;

    (void)state;
    for (int i = 0; i < TASK_STATUS_COUNT; i++) {
        assert_string_equal(task_status_name((enum task_status)i), words[i]);
        assert_int_equal(task_status_from_name(words[i], strlen(words[i]), &status), 0);
        assert_int_equal(status, i);
        assert_int_equal(task_status_is_terminal(status), i >= TASK_COMPLETED);
    }
    assert_int_equal(task_status_from_name("scheduled", 9, &status), 0);
    assert_int_equal(status, TASK_QUEUED);
    assert_null(task_status_name(TASK_STATUS_COUNT));
}

static void
a_word_must_fit_whole_and_in_its_case(void **state)
{
    static const char *const no_words[] = {"", "queue", "queuedd", "Queued", "parked"};
    enum task_status status = TASK_FAILED;
    enum task_priority priority = TASK_LOW;
    enum task_context_mode mode = TASK_BLOCK;
    uint32_t stat = 77;

    (void)state;
    for (size_t i = 0; i < sizeof(no_words) / sizeof(no_words[0]); i++)
        assert_int_equal(task_status_from_name(no_words[i], strlen(no_words[i]), &status), -1);
    assert_int_equal(task_priority_from_name("high", 4, &priority), -1);
    assert_int_equal(task_context_mode_from_name("exac", 4, &mode), -1);
    assert_int_equal(task_stat_from_name("p_upx", 5, &stat), -1);
    assert_int_equal(status, TASK_FAILED);
    assert_int_equal(priority, TASK_LOW);
    assert_int_equal(mode, TASK_BLOCK);
    assert_int_equal(stat, 77);
}

static void
priorities_modes_and_statistics_have_the_words_of_the_contract(void **state)
{
    static const char *const priorities[] = {"urgent", "normal", "low"};
    static const char *const modes[] = {"exact", "fit", "block"};
    static const char *const stats[] = {"p_up", "return", "realized_vol", "max_drawdown", "range"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        enum task_priority priority;
        enum task_context_mode mode;

        assert_int_equal(
            task_priority_from_name(priorities[i], strlen(priorities[i]), &priority), 0);
        assert_string_equal(task_priority_name(priority), priorities[i]);
        assert_int_equal(task_context_mode_from_name(modes[i], strlen(modes[i]), &mode), 0);
        assert_string_equal(task_context_mode_name(mode), modes[i]);
    }
    for (int i = 0; i < TASK_STAT_COUNT; i++) {
        uint32_t stat;

        assert_int_equal(task_stat_from_name(stats[i], strlen(stats[i]), &stat), 0);
        assert_int_equal(stat, 1 << i);
        assert_string_equal(task_stat_name(stat), stats[i]);
    }
    assert_null(task_stat_name(TASK_STAT_ALL));
    assert_null(task_stat_name(0));
}

static void
a_model_is_called_by_letters_digits_and_three_marks(void **state)
{
    char name[TASK_MODEL_NAME_MAX + 1];

    (void)state;
    memset(name, 'x', sizeof(name));
    assert_true(task_model_name_is_valid("kronos-small", 12));
    assert_true(task_model_name_is_valid("7B_v1.0", 7));
    assert_true(task_model_name_is_valid(name, TASK_MODEL_NAME_MAX));
    assert_false(task_model_name_is_valid(name, TASK_MODEL_NAME_MAX + 1));
    assert_false(task_model_name_is_valid("", 0));
    assert_false(task_model_name_is_valid(".small", 6));
    assert_false(task_model_name_is_valid("a}b", 3)); /* would end the hash tag of its keys */
    assert_false(task_model_name_is_valid("a b", 3));
    assert_false(task_model_name_is_valid("a\0b", 3));
}

static void
a_series_id_is_text_without_control_characters(void **state)
{
    char id[TASK_SERIES_ID_MAX + 1];

    (void)state;
    memset(id, 'x', sizeof(id));
    assert_true(task_series_id_is_valid("", 0));
    assert_true(task_series_id_is_valid("\xE6\xB2\xAA\xE6\xB7\xB1 300", 10));
    assert_true(task_series_id_is_valid(id, TASK_SERIES_ID_MAX));
    assert_false(task_series_id_is_valid(id, TASK_SERIES_ID_MAX + 1));
    assert_false(task_series_id_is_valid("a\nb", 3));
    assert_false(task_series_id_is_valid("a\x7F", 2));
    assert_false(task_series_id_is_valid("\xC0\x80", 2));
}

/* ---- times ---- */

static void
minutes_are_rounded_down_also_before_1970(void **state)
{
    const struct task_time times[] = {
        {0, TASK_NO_OFFSET}, {MINUTE_US - 1, 480}, {MINUTE_US, 0}, {-1, 0}, {-MINUTE_US, 0}};
    static const int64_t minutes[] = {0, 0, 1, -1, -1};

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        assert_int_equal(task_time_minutes(&times[i]), minutes[i]);
}

static void
an_offset_moves_the_instant_against_its_sign(void **state)
{
    const struct task_time shanghai = {8 * 60 * MINUTE_US, 8 * 60};
    const struct task_time new_york = {-5 * 60 * MINUTE_US, -5 * 60};
    const struct task_time naive = {77, TASK_NO_OFFSET};

    (void)state;
    assert_int_equal(task_time_instant_us(&shanghai), 0);
    assert_int_equal(task_time_instant_us(&new_york), 0);
    assert_int_equal(task_time_instant_us(&naive), 77);
}

/* ---- cost ---- */

static void
the_cost_of_400_candles_and_120_steps_is_that_of_the_contract(void **state)
{
    (void)state;
    assert_int_equal(task_cost(400, 120, 1, TASK_FIT, 512).prefill_tokens, 393);
    assert_int_equal(task_cost(400, 120, 1, TASK_EXACT, 512).prefill_tokens, 3984);
    assert_int_equal(task_cost(400, 120, 5, TASK_EXACT, 512).prefill_tokens, 7232);
    assert_int_equal(task_cost(400, 120, 5, TASK_EXACT, 512).decode_steps, 600);
    /* one refill of 449 in step 119, and 119 tokens for each of 4 more paths */
    assert_int_equal(task_cost(400, 120, 5, TASK_BLOCK, 512).prefill_tokens, 400 + 449 + 4 * 119);
}

static void
what_fits_the_context_costs_its_history_once(void **state)
{
    (void)state;
    for (int mode = 0; mode < TASK_CONTEXT_MODE_COUNT; mode++) {
        enum task_context_mode m = (enum task_context_mode)mode;

        assert_int_equal(task_cost(393, 120, 7, m, 512).prefill_tokens, 393);
        assert_int_equal(task_cost(60, 8, 1, m, 512).prefill_tokens, 60);
        assert_int_equal(task_cost(2048, 512, 2, m, 0).prefill_tokens, 2048); /* C not known */
    }
    assert_int_equal(task_cost(394, 120, 1, TASK_EXACT, 512).prefill_tokens, 394 + 512);
}

static void
the_cost_follows_the_formula_for_every_small_shape(void **state)
{
    (void)state;
    for (int past = 1; past < 90; past += 4) {
        for (int steps = 1; steps < 80; steps += 3) {
            for (int context = 64; context < 90; context += 5) {
                for (int paths = 1; paths < 4; paths++) {
                    int slides = past + steps - 1 - context;
                    long exact = past < context ? past : context, block = exact;
                    int keep = context - 63;

                    slides = slides > steps - 1 ? steps - 1 : slides < 0 ? 0 : slides;
                    for (int i = steps - slides; i < steps; i++)
                        exact += context + (paths - 1) * (i < context ? i : context);
                    for (int i = steps - (int)ceil(slides / 64.0); i < steps; i++)
                        block += keep + (paths - 1) * (i < keep ? i : keep);
                    assert_int_equal(task_cost((size_t)past, (size_t)steps, (uint32_t)paths,
                                         TASK_EXACT, (size_t)context)
                                         .prefill_tokens,
                        exact);
                    assert_int_equal(task_cost((size_t)past, (size_t)steps, (uint32_t)paths,
                                         TASK_BLOCK, (size_t)context)
                                         .prefill_tokens,
                        block);
                }
            }
        }
    }
}

static void
a_horizon_beyond_the_context_does_not_wrap_the_cost(void **state)
{
    (void)state;
    assert_int_equal(task_cost(400, 120, 1, TASK_FIT, 32).prefill_tokens, 1);
    assert_true(task_cost(2048, 512, 256, TASK_BLOCK, 32).prefill_tokens < 1000000);
    assert_int_equal(task_cost(400, 0, 1, TASK_EXACT, 512).decode_steps, 0);
}

/* ---- checks ---- */

static void
a_task_is_made_only_within_its_limits(void **state)
{
    struct error err;
    struct task *task;

    (void)state;
    task_free(NULL);
    assert_null(task_new(0, 1, &err));
    assert_null(task_new(1, 0, &err));
    assert_null(task_new(TASK_HISTORY_MAX + 1, 1, &err));
    assert_null(task_new(1, TASK_HORIZON_MAX + 1, &err));
    assert_null(task_new(SIZE_MAX, SIZE_MAX, &err));
    assert_int_equal(err.code, ERR_INVALID);
    task = task_new(TASK_HISTORY_MAX, TASK_HORIZON_MAX, &err);
    assert_non_null(task);
    task->candles[TASK_HISTORY_MAX * TASK_FIELDS - 1] = 1; /* ASan knows where it ends */
    task->history_minutes[TASK_HISTORY_MAX - 1] = 1;
    task->horizon[TASK_HORIZON_MAX - 1].offset_minutes = 1;
    task_free(task);
}

/* One thing wrong with the example, by number; NULL when there are no more. */
static const char *
spoil(struct task *t, int which)
{
    switch (which) {
    case 0:
        t->candles[3] = 0;
        return "a close of 0";
    case 1:
        t->candles[6] = -1;
        return "an open below 0";
    case 2:
        t->candles[8] = NAN;
        return "a low that is NaN";
    case 3:
        t->candles[23] = INFINITY;
        return "an infinite amount";
    case 4:
        t->candles[4] = -0.5f;
        return "a volume below 0";
    case 5:
        t->history_minutes[1] = INT64_MAX;
        return "a minute nobody will see";
    case 6:
        t->history_minutes[1] = TASK_WALL_US_MIN / MINUTE_US - 1;
        return "a minute of 1899";
    case 7:
        t->horizon[1] = t->horizon[0];
        return "equal times";
    case 8:
        t->horizon[1].offset_minutes = TASK_NO_OFFSET;
        return "a naive time among others";
    case 9:
        t->horizon[1].offset_minutes = 9 * 60;
        return "a later clock that is an earlier instant";
    case 10:
        t->horizon[2].wall_us = TASK_WALL_US_MAX + 1;
        return "a time of 2262";
    case 11:
        t->horizon[0].wall_us = INT64_MIN;
        return "a time of long ago";
    case 12:
        t->horizon[2].offset_minutes = 1440;
        return "an offset of a day";
    case 13:
        t->params.sample_count = 0;
        return "no paths";
    case 14:
        t->params.sample_count = TASK_SAMPLES_MAX + 1;
        return "257 paths";
    case 15:
        t->params.top_k = TASK_TOP_K_MAX + 1;
        return "top_k 1025";
    case 16:
        t->params.temperature = NAN;
        return "temperature NaN";
    case 17:
        t->params.temperature = 5.5f;
        return "temperature 5.5";
    case 18:
        t->params.top_p = 0;
        return "top_p 0";
    case 19:
        t->params.top_p = NAN;
        return "top_p NaN";
    case 20:
        t->params.seed = TASK_SEED_MAX + 1;
        return "seed 2^53";
    case 21:
        t->params.context_mode = TASK_CONTEXT_MODE_COUNT;
        return "no context mode";
    case 22:
        t->output.quantiles[1] = t->output.quantiles[0];
        return "equal quantiles";
    case 23:
        t->output.quantiles[2] = 0.995;
        return "quantile 0.995";
    case 24:
        t->output.n_quantiles = TASK_QUANTILES_MAX + 1;
        return "ten quantiles";
    case 25:
        t->output.stats = 32;
        return "an unknown statistic";
    case 26:
        t->params.top_p = 1.0625f;
        return "top_p above 1";
    default:
        return NULL;
    }
}

static void
a_task_with_one_value_out_of_range_is_neither_valid_nor_encoded(void **state)
{
    int which = 0;

    (void)state;
    for (;; which++) {
        struct task *task = example_task();
        struct task_bytes bytes;
        struct error err = {0};
        const char *what = spoil(task, which);

        if (what == NULL) {
            task_free(task);
            break;
        }
        if (task_check(task, &err) != -1)
            fail_msg("%s is taken", what);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(task_encode(task, &bytes, &err), -1);
        assert_null(bytes.data);
        task_free(task);
    }
    assert_int_equal(which, 27);
}

static void
daylight_saving_may_turn_the_clock_back_between_steps(void **state)
{
    struct task *task = example_plain_task();
    struct task *two;
    struct error err;

    (void)state;
    two = task_new(1, 2, &err);
    assert_non_null(two);
    memcpy(two->candles, task->candles, TASK_FIELDS * sizeof(float));
    two->params = task->params;
    two->horizon[0] = (struct task_time){150 * MINUTE_US, 120};
    two->horizon[1] = (struct task_time){120 * MINUTE_US, 60};
    assert_int_equal(task_check(two, &err), 0);
    task_free(two);
    task_free(task);
}

/* ---- the stored form ---- */

static void
a_task_comes_back_as_it_was_stored(void **state)
{
    struct task *const examples[] = {example_task(), example_plain_task()};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct task_bytes bytes;
        struct task *back;
        struct error err;

        assert_int_equal(task_encode(examples[i], &bytes, &err), 0);
        back = task_decode(bytes.data, bytes.size, &err);
        assert_non_null(back);
        assert_true(same_task(examples[i], back));
        task_free(back);
        free(bytes.data);
        task_free(examples[i]);
    }
}

static struct task *
task_of(size_t n_history, size_t n_horizon)
{
    struct task *plain = example_plain_task();
    struct error err;
    struct task *task = task_new(n_history, n_horizon, &err);

    assert_non_null(task);
    for (size_t i = 0; i < n_history; i++) {
        memcpy(task->candles + i * TASK_FIELDS, plain->candles, TASK_FIELDS * sizeof(float));
        task->history_minutes[i] = (int64_t)i;
    }
    for (size_t i = 0; i < n_horizon; i++)
        task->horizon[i] = (struct task_time){(int64_t)(n_history + i) * MINUTE_US, -300};
    task->params = plain->params;
    task_free(plain);
    return task;
}

static void
a_usual_task_is_small_and_the_largest_one_fits(void **state)
{
    struct task *usual = task_of(400, 120), *largest = task_of(TASK_HISTORY_MAX, TASK_HORIZON_MAX);
    struct task_bytes bytes;
    struct task *back;
    struct error err;

    (void)state;
    assert_int_equal(task_encode(usual, &bytes, &err), 0);
    assert_in_range(bytes.size, 12 * 1024, 12 * 1024 + 512);
    free(bytes.data);
    assert_int_equal(task_encode(largest, &bytes, &err), 0);
    assert_in_range(bytes.size, 1, TASK_INPUT_BYTES_MAX);
    back = task_decode(bytes.data, bytes.size, &err);
    assert_non_null(back);
    assert_true(same_task(largest, back));
    task_free(back);
    free(bytes.data);
    task_free(largest);
    task_free(usual);
}

static void
a_truncated_task_is_refused_at_every_length(void **state)
{
    struct task_bytes whole = stored_encode_example(STORED_TASK);

    (void)state;
    for (size_t n = 0; n < whole.size; n++)
        assert_false(stored_accepts(STORED_TASK, whole.data, n));
    assert_true(stored_accepts(STORED_TASK, whole.data, whole.size));
    free(whole.data);
}

static void
bytes_after_a_task_are_refused(void **state)
{
    struct task_bytes whole = stored_encode_example(STORED_TASK);
    char *more = calloc(1, whole.size + 1);

    (void)state;
    assert_non_null(more);
    memcpy(more, whole.data, whole.size);
    assert_false(stored_accepts(STORED_TASK, more, whole.size + 1));
    free(more);
    free(whole.data);
}

static void
a_task_is_refused_when_any_member_is_damaged_but_not_for_a_new_one(void **state)
{
    struct task_bytes whole = stored_encode_example(STORED_TASK);
    size_t members = 0;
    char name[64];

    (void)state;
    for (int damage = DAMAGE_NONE; damage < DAMAGE_COUNT; damage++) {
        for (members = 0;; members++) {
            struct task_bytes hurt = damage_member(&whole, members, (enum damage)damage, name);
            bool harmless = damage == DAMAGE_NONE || damage == DAMAGE_UNKNOWN;

            if (hurt.data == NULL)
                break;
            /* these words and values may stand there */
            if (damage == DAMAGE_TRUE &&
                (strcmp(name, "paths") == 0 || strcmp(name, "repair") == 0 ||
                    strcmp(name, "columns") == 0 || strcmp(name, "stream") == 0))
                harmless = true;
            if (hurt.size == whole.size && memcmp(hurt.data, whole.data, whole.size) == 0)
                harmless = true; /* no bin, so neither shorter nor longer */
            if (stored_accepts(STORED_TASK, hurt.data, hurt.size) != harmless)
                fail_msg("member %s, %s: wrongly %s", name, damage_name((enum damage)damage),
                    harmless ? "refused" : "taken");
            free(hurt.data);
        }
    }
    assert_int_equal(members, 7 + 6 + 6);
    free(whole.data);
}

/* Puts ${to} where ${from} stands in the stored example; both are ${n} bytes. */
static bool
accepts_with(const void *from, const void *to, size_t n)
{
    struct task_bytes whole = stored_encode_example(STORED_TASK);
    char *at = memmem(whole.data, whole.size, from, n);
    bool accepted;

    assert_non_null(at);
    memcpy(at, to, n);
    accepted = stored_accepts(STORED_TASK, whole.data, whole.size);
    free(whole.data);
    return accepted;
}

static void
a_stored_number_out_of_range_is_refused(void **state)
{
    (void)state;
    /* 123.25 is the first volume */
    assert_true(accepts_with("\x00\x80\xF6\x42", "\x00\x80\xF6\x41", 4));
    assert_false(accepts_with("\x00\x80\xF6\x42", "\x00\x80\xF6\xC2", 4)); /* -123.25 */
    assert_false(accepts_with("\x00\x80\xF6\x42", "\x00\x00\xC0\x7F", 4)); /* NaN */
    assert_false(accepts_with("\x00\x80\xF6\x42", "\x00\x00\x80\x7F", 4)); /* infinite */
    assert_false(accepts_with("fit", "fat", 3));
    assert_false(accepts_with("range", "p_up2", 5));
    assert_false(accepts_with("version\x01", "version\x00", 8));
    assert_false(accepts_with("version\x01", "version\x02", 8)); /* a newer writer's */
}

static void
an_array_that_claims_four_thousand_million_elements_is_refused_at_once(void **state)
{
    static const char array[] = "\x81\xA6output\x81\xA9quantiles\xDD\xFF\xFF\xFF\xFF";
    static const char map[] = "\xDF\xFF\xFF\xFF\xFF";
    static const char bin[] = "\x81\xA7"
                              "candles\xC6\xFF\xFF\xFF\xFF";
    static const char text[] = "\x81\xDB\xFF\xFF\xFF\xFF";

    (void)state;
    assert_false(stored_accepts(STORED_TASK, array, sizeof(array) - 1));
    assert_false(stored_accepts(STORED_TASK, map, sizeof(map) - 1));
    assert_false(stored_accepts(STORED_TASK, bin, sizeof(bin) - 1));
    assert_false(stored_accepts(STORED_TASK, text, sizeof(text) - 1));
}

static void
a_million_nested_arrays_are_refused_without_descending(void **state)
{
    size_t size = TASK_INPUT_BYTES_MAX;
    char *bytes = malloc(size + 1);

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 0x91, size + 1);
    memcpy(bytes, "\x81\xA1x", 3);
    assert_false(stored_accepts(STORED_TASK, bytes, size));
    assert_false(stored_accepts(STORED_TASK, bytes, size + 1)); /* over the limit, unread */
    free(bytes);
}

static void
the_refusal_says_what_and_where(void **state)
{
    struct task_bytes whole = stored_encode_example(STORED_TASK);
    struct error err;

    (void)state;
    assert_null(task_decode(whole.data, 30, &err));
    assert_non_null(strstr(err.text, "stored task: cut off at byte"));
    free(whole.data);
}

static void
random_damage_to_a_task_never_harms_the_reader(void **state)
{
    (void)state;
    damage_rounds(STORED_TASK, 50000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_has_its_word_and_a_parked_task_is_shown_as_queued),
        cmocka_unit_test(a_word_must_fit_whole_and_in_its_case),
        cmocka_unit_test(priorities_modes_and_statistics_have_the_words_of_the_contract),
        cmocka_unit_test(a_model_is_called_by_letters_digits_and_three_marks),
        cmocka_unit_test(a_series_id_is_text_without_control_characters),
        cmocka_unit_test(minutes_are_rounded_down_also_before_1970),
        cmocka_unit_test(an_offset_moves_the_instant_against_its_sign),
        cmocka_unit_test(the_cost_of_400_candles_and_120_steps_is_that_of_the_contract),
        cmocka_unit_test(what_fits_the_context_costs_its_history_once),
        cmocka_unit_test(the_cost_follows_the_formula_for_every_small_shape),
        cmocka_unit_test(a_horizon_beyond_the_context_does_not_wrap_the_cost),
        cmocka_unit_test(a_task_is_made_only_within_its_limits),
        cmocka_unit_test(a_task_with_one_value_out_of_range_is_neither_valid_nor_encoded),
        cmocka_unit_test(daylight_saving_may_turn_the_clock_back_between_steps),
        cmocka_unit_test(a_task_comes_back_as_it_was_stored),
        cmocka_unit_test(a_usual_task_is_small_and_the_largest_one_fits),
        cmocka_unit_test(a_truncated_task_is_refused_at_every_length),
        cmocka_unit_test(bytes_after_a_task_are_refused),
        cmocka_unit_test(a_task_is_refused_when_any_member_is_damaged_but_not_for_a_new_one),
        cmocka_unit_test(a_stored_number_out_of_range_is_refused),
        cmocka_unit_test(an_array_that_claims_four_thousand_million_elements_is_refused_at_once),
        cmocka_unit_test(a_million_nested_arrays_are_refused_without_descending),
        cmocka_unit_test(the_refusal_says_what_and_where),
        cmocka_unit_test(random_damage_to_a_task_never_harms_the_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
