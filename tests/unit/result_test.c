/*
 * A finished forecast: its memory, its checks, and its stored form under damage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/result.h"
#include "tests/support/stored_values.h"

static void
a_result_has_room_for_what_was_asked_and_for_nothing_else(void **state)
{
    struct task_output output = {.n_quantiles = 9, .stats = TASK_STAT_ALL, .paths = true};
    struct error err;
    struct result *r;

    (void)state;
    for (int i = 0; i < 9; i++)
        output.quantiles[i] = 0.1 * (i + 1);
    r = result_new(TASK_HORIZON_MAX, &output, TASK_SAMPLES_MAX, &err);
    assert_non_null(r);
    /* the last element of each; ASan knows where the block ends */
    r->paths[TASK_SAMPLES_MAX * TASK_HORIZON_MAX * TASK_FIELDS - 1] = 1;
    r->prediction[TASK_HORIZON_MAX * TASK_FIELDS - 1] = 2;
    r->quantiles[9 * TASK_FIELDS * TASK_HORIZON_MAX - 1] = 3;
    r->stats.p_up[TASK_HORIZON_MAX - 1] = 4;
    r->stats.return_mean[TASK_HORIZON_MAX - 1] = 5;
    r->stats.return_std[TASK_HORIZON_MAX - 1] = 6;
    r->times[TASK_HORIZON_MAX - 1].wall_us = 7;
    assert_true(r->paths[0] == 0 && r->prediction[0] == 0 && r->quantiles[0] == 0);
    assert_true(r->stats.p_up[0] == 0 && r->stats.return_mean[0] == 0);
    result_free(r);

    output = (struct task_output){.stats = TASK_STAT_RANGE};
    r = result_new(1, &output, 1, &err);
    assert_non_null(r);
    assert_true(r->paths == NULL && r->quantiles == NULL && r->stats.p_up == NULL &&
                r->stats.return_mean == NULL && r->stats.return_std == NULL);
    result_free(r);
    result_free(NULL);
}

static void
a_result_is_made_only_within_the_limits(void **state)
{
    struct task_output output = {0};
    struct error err;

    (void)state;
    assert_null(result_new(0, &output, 1, &err));
    assert_null(result_new(TASK_HORIZON_MAX + 1, &output, 1, &err));
    assert_null(result_new(SIZE_MAX, &output, 1, &err));
    assert_null(result_new(1, &output, 0, &err));
    assert_null(result_new(1, &output, TASK_SAMPLES_MAX + 1, &err));
    output.n_quantiles = UINT32_MAX;
    assert_null(result_new(1, &output, 1, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

static void
trip(const struct result *result)
{
    struct task_bytes bytes;
    struct result *back;
    struct error err;

    if (result_encode(result, &bytes, &err) == -1)
        fail_msg("%s", err.text);
    assert_in_range(bytes.size, 1, RESULT_BYTES_MAX);
    back = result_decode(bytes.data, bytes.size, &err);
    if (back == NULL)
        fail_msg("%s", err.text);
    assert_true(same_result(result, back));
    result_free(back);
    free(bytes.data);
}

static void
a_result_comes_back_as_it_was_stored(void **state)
{
    struct result *full = example_result(), *plain = example_plain_result();

    (void)state;
    trip(full);
    trip(plain);
    result_free(full);
    result_free(plain);
}

static void
every_choice_of_parts_comes_back(void **state)
{
    (void)state;
    for (uint32_t choice = 0; choice < 256; choice++) {
        struct result *full = example_result();
        struct task_output output = full->output;
        struct error err;
        struct result *r;

        output.stats = choice & TASK_STAT_ALL;
        output.n_quantiles = choice & 32 ? 3 : 0;
        output.paths = choice & 64;
        output.repair = choice & 128;
        r = result_new(3, &output, 3, &err);
        assert_non_null(r);
        memcpy(r->times, full->times, 3 * sizeof(*r->times));
        r->provenance = full->provenance;
        r->timing = full->timing;
        if (output.stats != 0)
            r->stats.last_close = 1.5;
        trip(r);
        result_free(r);
        result_free(full);
    }
}

static void
what_is_not_defined_comes_back_as_not_a_number(void **state)
{
    struct result *r = example_result();

    (void)state;
    for (int i = 0; i < 3; i++)
        r->stats.return_std[i] = NAN; /* of one path */
    r->stats.realized_vol_mean = r->stats.realized_vol_q10 = r->stats.realized_vol_q90 = NAN;
    r->stats.realized_vol_excluded = 3;
    trip(r);
    result_free(r);
}

static void
the_largest_result_fits(void **state)
{
    struct result *full = example_result();
    struct task_output output = full->output;
    struct error err;
    struct result *r;

    (void)state;
    output.n_quantiles = 9;
    for (int i = 0; i < 9; i++)
        output.quantiles[i] = 0.1 * (i + 1);
    r = result_new(TASK_HORIZON_MAX, &output, TASK_SAMPLES_MAX, &err);
    assert_non_null(r);
    for (int i = 0; i < TASK_HORIZON_MAX; i++)
        r->times[i].wall_us = i;
    r->provenance = full->provenance;
    r->provenance.params.sample_count = TASK_SAMPLES_MAX;
    r->timing = full->timing;
    r->stats.last_close = 1;
    trip(r);
    result_free(r);
    result_free(full);
}

/* One thing wrong with the example, by number; NULL when there are no more. */
static const char *
spoil(struct result *r, int which)
{
    switch (which) {
    case 0:
        r->prediction[17] = NAN;
        return "a prediction that is NaN";
    case 1:
        r->paths[53] = INFINITY;
        return "an infinite path";
    case 2:
        r->quantiles[53] = NAN;
        return "a quantile that is NaN";
    case 3:
        r->quantiles[0] = 1e300;
        return "a quantile that is no binary32";
    case 4:
        r->stats.p_up[2] = 1.5;
        return "p_up 1.5";
    case 5:
        r->stats.return_mean[1] = INFINITY;
        return "an infinite return";
    case 6:
        r->stats.return_std[1] = NAN;
        return "one deviation that is NaN among others";
    case 7:
        r->stats.realized_vol_q10 = NAN;
        return "one figure of realized_vol that is NaN";
    case 8:
        r->stats.realized_vol_excluded = 4;
        return "more paths excluded than there are";
    case 9:
        r->stats.max_drawdown_mean = NAN;
        return "max_drawdown NaN";
    case 10:
        r->stats.range_low_q10 = -INFINITY;
        return "range -inf";
    case 11:
        r->stats.last_close = 0;
        return "last_close 0";
    case 12:
        r->provenance.weights_sha256[5] = 'G';
        return "a hash that is no hash";
    case 13:
        r->provenance.forecast_sha256[63] = '\0';
        return "a short hash";
    case 14:
        r->provenance.engine[0] = '\0';
        return "no engine";
    case 15:
        memset(r->provenance.kernel, 'k', sizeof(r->provenance.kernel));
        return "a kernel without its end";
    case 16:
        r->provenance.model_version[0] = '\xFF';
        return "a version that is not UTF-8";
    case 17:
        r->provenance.rows_used = 5;
        return "more rows used than given";
    case 18:
        r->provenance.context = 0;
        return "no context";
    case 19:
        r->timing.run_ms = -1;
        return "a run that ended before it began";
    case 20:
        r->timing.worker[0] = '\0';
        return "a worker without a name";
    case 21:
        r->repaired_ohlc = 4;
        return "four candles repaired of three";
    case 22:
        r->times[1].wall_us = r->times[0].wall_us;
        return "equal times";
    case 23:
        r->warnings[1].code[0] = '\0';
        return "a warning without a code";
    case 24:
        r->n_warnings = TASK_WARNINGS_MAX + 1;
        return "too many warnings";
    case 25:
        r->provenance.params.top_p = 2;
        return "params out of range";
    case 26:
        r->paths = NULL;
        return "no paths though asked for";
    case 27:
        r->quantiles = NULL;
        return "no quantiles though asked for";
    case 28:
        r->stats.p_up = NULL;
        return "no p_up though asked for";
    default:
        return NULL;
    }
}

static void
a_result_with_one_value_out_of_range_is_not_encoded(void **state)
{
    int which = 0;

    (void)state;
    for (;; which++) {
        struct result *result = example_result();
        struct task_bytes bytes;
        struct error err = {0};
        const char *what = spoil(result, which);

        if (what != NULL && result_encode(result, &bytes, &err) != -1)
            fail_msg("%s is taken", what);
        result_free(result);
        if (what == NULL)
            break;
        assert_int_equal(err.code, ERR_INVALID);
        assert_null(bytes.data);
    }
    assert_int_equal(which, 29);
}

static void
a_truncated_result_is_refused_at_every_length(void **state)
{
    struct task_bytes whole = stored_encode_example(STORED_RESULT);

    (void)state;
    for (size_t n = 0; n < whole.size; n++)
        assert_false(stored_accepts(STORED_RESULT, whole.data, n));
    assert_true(stored_accepts(STORED_RESULT, whole.data, whole.size));
    free(whole.data);
}

/* May this stand there? */
static bool
is_harmless(const char *name, enum damage damage)
{
    static const char *const texts[] = {"engine", "kernel", "precision", "model_version",
        "tokenizer_version", "worker", "code", "pointer", "detail"};
    static const char *const any_real[] = {"high_mean", "high_q90", "low_mean", "low_q10"};

    if (damage == DAMAGE_NONE || damage == DAMAGE_UNKNOWN)
        return true;
    if (damage == DAMAGE_DROP) /* a worker of an older version */
        return strcmp(name, "sampled") == 0;
    if (damage == DAMAGE_NIL)
        return strcmp(name, "return_std") == 0;
    if (damage == DAMAGE_TRUE)
        return strcmp(name, "columns") == 0 || strcmp(name, "stream") == 0;
    if (damage == DAMAGE_TEXT)
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
            if (strcmp(name, texts[i]) == 0)
                return true;
    if (damage == DAMAGE_NEGATIVE || damage == DAMAGE_HUGE)
        for (size_t i = 0; i < sizeof(any_real) / sizeof(any_real[0]); i++)
            if (strcmp(name, any_real[i]) == 0)
                return true;
    if (damage == DAMAGE_HUGE)
        return strcmp(name, "last_close") == 0;
    return false;
}

static void
a_result_is_refused_when_any_member_is_damaged_but_not_for_a_new_one(void **state)
{
    struct task_bytes whole = stored_encode_example(STORED_RESULT);
    size_t members = 0;
    char name[64];

    (void)state;
    for (int damage = DAMAGE_NONE; damage < DAMAGE_COUNT; damage++) {
        for (members = 0;; members++) {
            struct task_bytes hurt = damage_member(&whole, members, (enum damage)damage, name);
            bool harmless;

            if (hurt.data == NULL)
                break;
            harmless = is_harmless(name, (enum damage)damage) ||
                       (hurt.size == whole.size && memcmp(hurt.data, whole.data, whole.size) == 0);
            /* mean and q90 are of realized_vol and of max_drawdown: one may be large, ... */
            if ((strcmp(name, "mean") == 0 || strcmp(name, "q90") == 0 ||
                    strcmp(name, "q10") == 0) &&
                (damage == DAMAGE_HUGE || damage == DAMAGE_NEGATIVE)) {
                stored_accepts(STORED_RESULT, hurt.data, hurt.size); /* whichever: no harm */
            } else if (stored_accepts(STORED_RESULT, hurt.data, hurt.size) != harmless) {
                fail_msg("member %s, %s: wrongly %s", name, damage_name((enum damage)damage),
                    harmless ? "refused" : "taken");
            }
            free(hurt.data);
        }
    }
    assert_int_equal(members, 13 + 6 + 13 + 6 + 3 + 2 * 3 + 8 + 3 + 2 + 4 + 2);
    free(whole.data);
}

static void
a_nan_in_stored_numbers_is_refused(void **state)
{
    static const uint8_t nan64[8] = {0, 0, 0, 0, 0, 0, 0xF8, 0x7F};
    struct task_bytes whole = stored_encode_example(STORED_RESULT);
    const char *name = "return_std";
    char *at = memmem(whole.data, whole.size, name, strlen(name));

    (void)state;
    assert_non_null(at);
    at += strlen(name) + 2; /* bin 8 and its length */
    for (int i = 0; i < 3; i++) {
        memcpy(at + i * 8, nan64, sizeof(nan64));
        /* one, two, and also all of them: "not defined" has one form, and that is nil */
        assert_false(stored_accepts(STORED_RESULT, whole.data, whole.size));
    }
    free(whole.data);
}

static void
paths_that_are_not_there_cost_no_memory(void **state)
{
    /* sample_count 256, paths wanted, none there: refused by their length, before result_new() */
    struct task_bytes whole = stored_encode_example(STORED_RESULT);
    char *at = memmem(whole.data, whole.size, "sample_count\x03", 13);
    struct error err;

    (void)state;
    assert_non_null(at);
    at[12] = 0x7F;
    assert_null(result_decode(whole.data, whole.size, &err));
    assert_non_null(strstr(err.text, "lengths that do not agree"));
    free(whole.data);
}

static void
random_damage_to_a_result_never_harms_the_reader(void **state)
{
    (void)state;
    damage_rounds(STORED_RESULT, 50000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_has_room_for_what_was_asked_and_for_nothing_else),
        cmocka_unit_test(a_result_is_made_only_within_the_limits),
        cmocka_unit_test(a_result_comes_back_as_it_was_stored),
        cmocka_unit_test(every_choice_of_parts_comes_back),
        cmocka_unit_test(what_is_not_defined_comes_back_as_not_a_number),
        cmocka_unit_test(the_largest_result_fits),
        cmocka_unit_test(a_result_with_one_value_out_of_range_is_not_encoded),
        cmocka_unit_test(a_truncated_result_is_refused_at_every_length),
        cmocka_unit_test(a_result_is_refused_when_any_member_is_damaged_but_not_for_a_new_one),
        cmocka_unit_test(a_nan_in_stored_numbers_is_refused),
        cmocka_unit_test(paths_that_are_not_there_cost_no_memory),
        cmocka_unit_test(random_damage_to_a_result_never_harms_the_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
