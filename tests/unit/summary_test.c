/*
 * What a finished run tells: quantiles and statistics against formulas written down a
 * second time and cases worked out by hand, the repair, the hash and every warning.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/path_stats.h"
#include "worker/summary.h"

#define MINUTE_US INT64_C(60000000)

static const struct summary_run usual_run = {
    .context = 512, .vocabulary = 1024, .rows_used = 2, .recomputed_windows = 0};

/* A task with history closing at ${last_close}; temperature 1, nothing cut, nothing asked for. */
static struct task *
task_for(size_t n_history, size_t n_horizon, uint32_t samples, float last_close)
{
    struct error err;
    struct task *task = task_new(n_history, n_horizon, &err);

    assert_non_null(task);
    for (size_t i = 0; i < n_history * TASK_FIELDS; i++)
        task->candles[i] = last_close;
    for (size_t i = 0; i < n_horizon; i++)
        task->horizon[i] = (struct task_time){(int64_t)i * MINUTE_US, TASK_NO_OFFSET};
    task->params = (struct task_params){
        .sample_count = samples, .temperature = 1, .top_p = 1, .context_mode = TASK_EXACT};
    return task;
}

static void
near(double value, double expected, const char *what)
{
    double scale = fabs(expected) > 1e-300 ? fabs(expected) : 1;

    if (!(fabs(value - expected) <= 1e-9 * scale))
        fail_msg("%s is %.17g, not %.17g", what, value, expected);
}

/* Paths whose candles have this close, a high 1 above and a low 2 below it. */
static void
paths_from_closes(const float *closes, size_t n, float *paths)
{
    for (size_t i = 0; i < n; i++) {
        float candle[TASK_FIELDS] = {closes[i], closes[i] + 1, closes[i] - 2, closes[i], 10, 20};

        memcpy(paths + i * TASK_FIELDS, candle, sizeof(candle));
    }
}

/* ---- by hand ---- */

static const float four_closes[] = {110, 121, 100, 90, 80, 100, 100, 100}; /* [4 paths, 2 steps] */

static struct result *
four_paths(const struct task_output *output)
{
    struct task *task = task_for(2, 2, 4, 100);
    float paths[4 * 2 * TASK_FIELDS];
    struct result *result;
    struct error err;

    task->output = *output;
    paths_from_closes(four_closes, 8, paths);
    result = summary_new(task, &usual_run, paths, paths, &err);
    if (result == NULL)
        fail_msg("%s", err.text);
    task_free(task);
    return result;
}

static void
four_paths_have_the_statistics_worked_out_by_hand(void **state)
{
    const struct task_output output = {.stats = TASK_STAT_ALL};
    const double a = log(1.1), b = sqrt(log(0.9) * log(0.9) / 2), c = log(1.25); /* path d: 0 */
    struct result *r = four_paths(&output);
    const struct result_stats *s = &r->stats;

    (void)state;
    near(s->last_close, 100, "last_close");
    near(s->p_up[0], 0.5, "p_up: one above, two equal");
    near(s->p_up[1], 0.5, "p_up: one above, two equal, one below");
    near(s->return_mean[0], -0.025, "return_mean");
    near(s->return_std[0], sqrt(0.0475 / 3), "return_std");
    near(s->return_mean[1], 0.0275, "return_mean");
    near(s->return_std[1], sqrt(0.051075 / 3), "return_std");
    near(s->realized_vol_mean, (a + b + c) / 4, "realized_vol mean");
    near(s->realized_vol_q10, 0.3 * b, "realized_vol q10");
    near(s->realized_vol_q90, a + 0.7 * (c - a), "realized_vol q90");
    assert_int_equal(s->realized_vol_excluded, 0);
    near(s->max_drawdown_mean, 0.075, "max_drawdown mean");
    near(s->max_drawdown_q90, 0.17, "max_drawdown q90");
    near(s->range_high_mean, 106.25, "range high_mean");
    near(s->range_high_q90, 115.7, "range high_q90");
    near(s->range_low_mean, 93, "range low_mean");
    near(s->range_low_q10, 81, "range low_q10");
    result_free(r);
}

static void
four_paths_have_the_quantiles_worked_out_by_hand(void **state)
{
    const struct task_output output = {.quantiles = {0.25, 0.5, 0.99}, .n_quantiles = 3};
    struct result *r = four_paths(&output);
    const double *close = r->quantiles + 3 * 2; /* [q, field, step]: field 3 of the first q */

    (void)state;
    assert_true((float)close[0] == 95.0f);
    assert_true((float)close[TASK_FIELDS * 2] == 100.0f);
    assert_true((float)close[2 * TASK_FIELDS * 2] == 109.7f);
    assert_true((float)close[1] == 97.5f);                     /* step 2: 90, 100, 100, 121 */
    assert_true(close[2 * TASK_FIELDS * 2] == (double)109.7f); /* stored as binary32 */
    result_free(r);
}

/* ---- against the formulas, written down again ---- */

/* x(k+1) + (h-k)(x(k+2) - x(k+1)) of section "quantiles", by counting ranks instead of sorting. */
static double
ranked(const double *x, int n, int rank) /* rank 1..n */
{
    for (int i = 0; i < n; i++) {
        int below = 0, equal = 0;

        for (int j = 0; j < n; j++) {
            below += x[j] < x[i];
            equal += x[j] == x[i];
        }
        if (below < rank && rank <= below + equal)
            return x[i];
    }
    fail();
    return 0;
}

static double
type_7(const double *x, int n, double q)
{
    double h = (n - 1) * q;
    int k = (int)h;

    if (k + 2 > n)
        return ranked(x, n, n);
    return ranked(x, n, k + 1) + (h - k) * (ranked(x, n, k + 2) - ranked(x, n, k + 1));
}

static double
average(const double *x, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += x[i] / n;
    return sum;
}

static void
compare_with_formulas(const struct task *task, const float *paths, const struct result *r)
{
    const int S = (int)task->params.sample_count, P = (int)task->n_horizon;
    const double c0 = (double)task->candles[(task->n_history - 1) * TASK_FIELDS + 3];
    const struct result_stats *st = &r->stats;
    double x[TASK_SAMPLES_MAX], vols[TASK_SAMPLES_MAX], falls[TASK_SAMPLES_MAX];
    double highs[TASK_SAMPLES_MAX], lows[TASK_SAMPLES_MAX];
    int n_vols = 0;

#define X(s, t, field) ((double)paths[((s)*P + (t)-1) * TASK_FIELDS + (field)])
#define C(s, t)        ((t) == 0 ? c0 : X(s, t, 3))
    for (int t = 1; t <= P; t++) {
        double ups = 0, mean, squares = 0;

        for (int field = 0; field < TASK_FIELDS; field++) {
            for (int s = 0; s < S; s++)
                x[s] = X(s, t, field);
            for (uint32_t q = 0; q < r->output.n_quantiles; q++) {
                double expected = type_7(x, S, r->output.quantiles[q]);
                double value = r->quantiles[(q * TASK_FIELDS + (uint32_t)field) * (uint32_t)P +
                                            (uint32_t)t - 1];

                if (fabs(value - expected) > 1e-6 * fabs(expected))
                    fail_msg("quantile %g of field %d is %.9g, not %.9g", r->output.quantiles[q],
                        field, value, expected);
            }
        }
        for (int s = 0; s < S; s++) {
            ups += C(s, t) > c0 ? 2 : C(s, t) < c0 ? 0 : 1;
            x[s] = (C(s, t) - c0) / c0;
        }
        near(st->p_up[t - 1], ups / 2 / S, "p_up");
        mean = average(x, S);
        if (fabs(st->return_mean[t - 1] - mean) > 1e-12)
            fail_msg("return_mean is %.17g, not %.17g", st->return_mean[t - 1], mean);
        for (int s = 0; s < S; s++)
            squares += (x[s] - mean) * (x[s] - mean);
        if (S == 1)
            assert_true(isnan(st->return_std[t - 1]));
        else
            near(st->return_std[t - 1], sqrt(squares / (S - 1)), "return_std");
    }

    for (int s = 0; s < S; s++) {
        double squares = 0;
        bool is_positive = true;

        falls[s] = 0;
        highs[s] = -INFINITY;
        lows[s] = INFINITY;
        for (int t = 1; t <= P; t++) {
            double peak = c0;

            is_positive = is_positive && C(s, t) > 0;
            for (int u = 0; u <= t; u++)
                peak = C(s, u) > peak ? C(s, u) : peak;
            falls[s] = fmax(falls[s], (peak - C(s, t)) / peak);
            highs[s] = fmax(highs[s], X(s, t, 1));
            lows[s] = fmin(lows[s], X(s, t, 2));
        }
        for (int t = 1; is_positive && t <= P; t++)
            squares += pow(log(C(s, t)) - log(C(s, t - 1)), 2);
        if (is_positive)
            vols[n_vols++] = sqrt(squares / P);
    }
    assert_int_equal(st->realized_vol_excluded, S - n_vols);
    if (n_vols > 0) {
        near(st->realized_vol_mean, average(vols, n_vols), "realized_vol mean");
        near(st->realized_vol_q10, type_7(vols, n_vols, 0.1), "realized_vol q10");
        near(st->realized_vol_q90, type_7(vols, n_vols, 0.9), "realized_vol q90");
    } else {
        assert_true(isnan(st->realized_vol_mean) && isnan(st->realized_vol_q10) &&
                    isnan(st->realized_vol_q90));
    }
    near(st->max_drawdown_mean, average(falls, S), "max_drawdown mean");
    near(st->max_drawdown_q90, type_7(falls, S, 0.9), "max_drawdown q90");
    near(st->range_high_mean, average(highs, S), "range high_mean");
    near(st->range_high_q90, type_7(highs, S, 0.9), "range high_q90");
    near(st->range_low_mean, average(lows, S), "range low_mean");
    near(st->range_low_q10, type_7(lows, S, 0.1), "range low_q10");
#undef X
#undef C
}

static uint64_t random_state;

static float
uniform(void) /* [0, 1) */
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(random_state >> 40) / 16777216.0f;
}

static void
random_paths_agree_with_the_formulas(void **state)
{
    static const uint32_t sample_counts[] = {1, 2, 3, 7, 20, 101, 256};
    const char *given = getenv("KRONOSQ_SEED");

    (void)state;
    random_state = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("KRONOSQ_SEED=%llu\n", (unsigned long long)random_state);
    for (size_t i = 0; i < sizeof(sample_counts) / sizeof(sample_counts[0]); i++) {
        for (size_t steps = 1; steps < 12; steps += 5) {
            struct task *task = task_for(3, steps, sample_counts[i], 50.25f);
            size_t n = sample_counts[i] * steps * TASK_FIELDS;
            float *paths = malloc(n * sizeof(*paths));
            struct result *result;
            struct error err;

            assert_non_null(paths);
            task->output = (struct task_output){
                .quantiles = {0.01, 0.1, 0.3333, 0.5, 0.9, 0.99},
                .n_quantiles = 6,
                .stats = TASK_STAT_ALL,
                .paths = true,
            };
            for (size_t j = 0; j < n; j++) {
                paths[j] = 40 + 20 * uniform();
                if (uniform() < 0.1f)
                    paths[j] = 50.25f; /* ties with the last close, and among the paths */
                if (uniform() < 0.005f)
                    paths[j] = -paths[j]; /* the model may say so */
            }
            result = summary_new(task, &usual_run, paths, paths, &err);
            if (result == NULL)
                fail_msg("%s", err.text);
            compare_with_formulas(task, paths, result);
            assert_memory_equal(result->paths, paths, n * sizeof(*paths));
            result_free(result);
            free(paths);
            task_free(task);
        }
    }
}

static void
a_quantile_lies_between_its_two_nearest_values(void **state)
{
    static const double sorted[] = {1, 2, 4, 8, 16};

    (void)state;
    near(path_stats_quantile(sorted, 5, 0.5), 4, "the median");
    near(path_stats_quantile(sorted, 5, 0.25), 2, "the first quartile");
    near(path_stats_quantile(sorted, 5, 0.9), 8 + 0.6 * 8, "0.9");
    near(path_stats_quantile(sorted, 5, 0.01), 1.04, "0.01");
    near(path_stats_quantile(sorted, 5, 1), 16, "the largest");
    near(path_stats_quantile(sorted, 1, 0.9), 1, "the only one");
}

static void
without_a_positive_path_there_is_no_volatility(void **state)
{
    static const float closes[] = {10, -1, 0, 10, -5, -5}; /* [3 paths, 2 steps] */
    struct task *task = task_for(1, 2, 3, 10);
    float paths[6 * TASK_FIELDS];
    struct result *r;
    struct error err;

    (void)state;
    task->output.stats = TASK_STAT_REALIZED_VOL | TASK_STAT_MAX_DRAWDOWN;
    paths_from_closes(closes, 6, paths);
    r = summary_new(task, &usual_run, paths, paths, &err);
    assert_non_null(r);
    assert_true(isnan(r->stats.realized_vol_mean));
    assert_int_equal(r->stats.realized_vol_excluded, 3);
    near(r->stats.max_drawdown_mean, (1.1 + 1.0 + 1.5) / 3, "max_drawdown below 0");
    result_free(r);
    task_free(task);
}

static void
a_fall_from_the_last_close_counts_at_once(void **state)
{
    static const float closes[] = {90, 95};
    struct task *task = task_for(1, 2, 1, 100);
    float paths[2 * TASK_FIELDS];
    struct result *r;
    struct error err;

    (void)state;
    task->output.stats = TASK_STAT_MAX_DRAWDOWN;
    paths_from_closes(closes, 2, paths);
    r = summary_new(task, &usual_run, paths, paths, &err);
    assert_non_null(r);
    near(r->stats.max_drawdown_mean, 0.1, "max_drawdown");
    result_free(r);
    task_free(task);
}

/* ---- prediction, repair, hash ---- */

static const float crooked[] = {
    100.5f, 101.25f, 99.0f, 100.75f, 1234.5f, -2.0f, /* amount below 0 */
    3.25f, 3.0f, 3.5f, 3.125f, -1.0f, 7.0f,          /* high, low and volume wrong */
};

static void
the_hash_is_that_of_the_prediction_as_little_endian_bytes(void **state)
{
    struct task *task = task_for(1, 2, 1, 100);
    struct result *r;
    struct error err;

    (void)state;
    r = summary_new(task, &usual_run, crooked, NULL, &err);
    assert_non_null(r);
    assert_memory_equal(r->prediction, crooked, sizeof(crooked));
    /* hashlib.sha256(struct.pack("<12f", ...)) */
    assert_string_equal(r->provenance.forecast_sha256,
        "f6e9071cc2aa88da4f022e3b9be985e4d13c743df89543d76fb84c9d52f765b1");
    assert_int_equal(r->repaired_ohlc, 0);
    assert_int_equal(r->n_warnings, 0);
    result_free(r);
    task_free(task);
}

static void
a_repaired_prediction_holds_its_candles_and_is_counted_and_hashed(void **state)
{
    static const float straight[] = {
        100.5f, 101.25f, 99.0f, 100.75f, 1234.5f, 0.0f, 3.25f, 3.25f, 3.125f, 3.125f, 0.0f, 7.0f};
    struct task *task = task_for(1, 2, 1, 100);
    struct result *r;
    struct error err;

    (void)state;
    task->output.repair = true;
    task->output.paths = true;
    r = summary_new(task, &usual_run, crooked, crooked, &err);
    assert_non_null(r);
    assert_memory_equal(r->prediction, straight, sizeof(straight));
    assert_memory_equal(r->paths, crooked, sizeof(crooked)); /* paths are never repaired */
    assert_int_equal(r->repaired_ohlc, 1);
    assert_int_equal(r->repaired_volume, 2);
    assert_string_equal(r->provenance.forecast_sha256,
        "2176bf106a91c5ab6f7f16e1066752f01cdcfaca57369b610412e893dd1b834d");
    assert_int_equal(r->n_warnings, 1);
    assert_string_equal(r->warnings[0].code, "repaired");
    result_free(r);
    task_free(task);
}

static void
what_was_used_is_told_and_the_result_can_be_stored(void **state)
{
    const struct summary_run run = {
        .context = 16, .vocabulary = 32, .rows_used = 16, .recomputed_windows = 1};
    struct task *task = task_for(20, 2, 1, 100);
    struct task_bytes bytes;
    struct result *r;
    struct error err;

    (void)state;
    task->params.top_k = 50;
    task->params.seed = 7;
    r = summary_new(task, &run, crooked, NULL, &err);
    assert_non_null(r);
    assert_int_equal(r->provenance.params.top_k, 32); /* as applied */
    assert_int_equal(r->provenance.params.seed, 7);
    assert_int_equal(r->provenance.context, 16);
    assert_int_equal(r->provenance.rows_given, 20);
    assert_int_equal(r->provenance.rows_used, 16);
    assert_int_equal(r->provenance.recomputed_windows, 1);
    assert_int_equal(r->times[1].wall_us, MINUTE_US);

    /* the caller's part, then it is whole */
    memset(r->provenance.weights_sha256, 'a', 64);
    memset(r->provenance.tokenizer_sha256, 'b', 64);
    strcpy(r->provenance.engine, "0.1.0");
    strcpy(r->provenance.kernel, "portable");
    strcpy(r->provenance.precision, "fp32");
    strcpy(r->provenance.model_version, "m");
    strcpy(r->provenance.tokenizer_version, "t");
    strcpy(r->timing.worker, "w");
    assert_int_equal(result_encode(r, &bytes, &err), 0);
    free(bytes.data);
    result_free(r);
    task_free(task);
}

static void
what_is_not_finite_or_not_there_is_no_result(void **state)
{
    struct task *task = task_for(1, 2, 1, 100);
    struct summary_run small = usual_run;
    float broken[12];
    struct error err;

    (void)state;
    memcpy(broken, crooked, sizeof(broken));
    broken[9] = NAN;
    assert_false(summary_wants_paths(task));
    assert_null(summary_new(task, &usual_run, broken, NULL, &err));
    assert_int_equal(err.code, ERR_NOT_FINITE);
    assert_non_null(strstr(err.text, "field 3 of candle 1"));

    task->output.stats = TASK_STAT_P_UP;
    assert_true(summary_wants_paths(task));
    assert_null(summary_new(task, &usual_run, crooked, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
    broken[9] = INFINITY;
    assert_null(summary_new(task, &usual_run, crooked, broken, &err));
    assert_int_equal(err.code, ERR_NOT_FINITE);

    small.context = 1;
    assert_null(summary_new(task, &small, crooked, crooked, &err));
    assert_int_equal(err.code, ERR_INVALID);
    task_free(task);
}

/* ---- warnings ---- */

struct warning_case {
    const char *what;
    uint32_t samples, top_k;
    float temperature, top_p;
    double quantile; /* 0: none */
    uint32_t stats;
    size_t n_history;
    enum task_context_mode mode;
    uint32_t recomputed;
    const char *codes;  /* in order, each with a space behind */
    const char *detail; /* of the first */
};

static const struct warning_case warning_cases[] = {
    {"the defaults", 1, 0, 1, 0.9f, 0, 0, 400, TASK_EXACT, 0, "", NULL},
    {"quantiles of all there is", 100, 0, 1, 1, 0.1, 0, 400, TASK_EXACT, 0, "", NULL},
    {"paths cut by top_p", 100, 0, 1, 0.9f, 0.1, 0, 400, TASK_EXACT, 0, "narrowed_distribution ",
        "top_p 0.9 cuts the tails"},
    {"statistics cut by top_k", 100, 5, 1, 0.9f, 0, TASK_STAT_P_UP, 400, TASK_EXACT, 0,
        "narrowed_distribution ", "top_k 5 cuts the tails"},
    {"a low temperature", 100, 0, 0.5f, 1, 0.1, 0, 400, TASK_EXACT, 0, "narrowed_distribution ",
        "temperature 0.5 narrows the distribution"},
    {"both", 100, 0, 2, 0.9f, 0.1, 0, 400, TASK_EXACT, 0, "narrowed_distribution ",
        "top_p 0.9 cuts the tails, temperature 2 widens the distribution"},
    {"nineteen paths", 19, 0, 1, 1, 0, TASK_STAT_RANGE, 400, TASK_EXACT, 0, "few_paths ",
        "figures over fewer than 20 paths are rough, here over 19"},
    {"nineteen paths, nothing computed over them", 19, 0, 1, 1, 0, 0, 400, TASK_EXACT, 0, "", NULL},
    {"twenty paths for a twentieth", 20, 0, 1, 1, 0.05, 0, 400, TASK_EXACT, 0, "", NULL},
    {"twenty paths for a hundredth", 20, 0, 1, 1, 0.99, 0, 400, TASK_EXACT, 0, "few_paths ",
        "20 paths are too few for the quantile 0.99"},
    {"a hundred for a hundredth", 100, 0, 1, 1, 0.01, 0, 400, TASK_EXACT, 0, "", NULL},
    {"greedy twice", 2, 0, 0, 1, 0, 0, 400, TASK_EXACT, 0, "paths_identical ",
        "temperature 0 makes all 2 paths the same"},
    {"the best token twice", 2, 1, 1, 1, 0, 0, 400, TASK_EXACT, 0, "paths_identical ",
        "top_k 1 makes all 2 paths the same"},
    {"greedy once", 1, 1, 0, 0.9f, 0, 0, 400, TASK_EXACT, 0, "", NULL},
    {"more tokens than there are", 1, 1023, 1, 1, 0, 0, 400, TASK_EXACT, 0, "option_clamped ",
        "top_k 1023 is above the vocabulary of 1000"},
    {"a long history", 1, 0, 1, 1, 0, 0, 513, TASK_FIT, 0, "context_truncated ",
        "513 candles exceed the context of 512: the first step saw the last 393"},
    {"a window that slid", 1, 0, 1, 1, 0, 0, 400, TASK_EXACT, 7, "windows_recomputed ",
        "the context of 512 slid 7 times and was recomputed each time: slower; "
        "with up to 393 candles it would not"},
    {"a window that jumped, as asked for", 1, 0, 1, 1, 0, 0, 400, TASK_BLOCK, 1, "", NULL},
    {"all at once", 2, 1001, 0, 1, 0.5, 0, 600, TASK_EXACT, 119,
        "narrowed_distribution few_paths paths_identical option_clamped context_truncated "
        "windows_recomputed ",
        "top_k 1001 cuts the tails, temperature 0 narrows the distribution"},
};

static void
every_warning_comes_when_it_is_true_and_only_then(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(warning_cases) / sizeof(warning_cases[0]); i++) {
        const struct warning_case *c = &warning_cases[i];
        const struct summary_run run = {.context = 512,
            .vocabulary = 1000,
            .rows_used = 393,
            .recomputed_windows = c->recomputed};
        struct task *task = task_for(c->n_history, 120, c->samples, 100);
        float *paths = calloc((size_t)c->samples * 120 * TASK_FIELDS, sizeof(float));
        char codes[512] = "";
        struct result *r;
        struct error err;

        assert_non_null(paths);
        task->params.top_k = c->top_k;
        task->params.temperature = c->temperature;
        task->params.top_p = c->top_p;
        task->params.context_mode = c->mode;
        task->output.n_quantiles = c->quantile > 0;
        task->output.quantiles[0] = c->quantile;
        task->output.stats = c->stats;
        r = summary_new(task, &run, paths, paths, &err);
        assert_non_null(r);
        for (uint32_t w = 0; w < r->n_warnings; w++) {
            strcat(codes, r->warnings[w].code);
            strcat(codes, " ");
        }
        if (strcmp(codes, c->codes) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", c->what, codes, c->codes);
        if (c->detail != NULL)
            assert_string_equal(r->warnings[0].detail, c->detail);
        result_free(r);
        free(paths);
        task_free(task);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_paths_have_the_statistics_worked_out_by_hand),
        cmocka_unit_test(four_paths_have_the_quantiles_worked_out_by_hand),
        cmocka_unit_test(random_paths_agree_with_the_formulas),
        cmocka_unit_test(a_quantile_lies_between_its_two_nearest_values),
        cmocka_unit_test(without_a_positive_path_there_is_no_volatility),
        cmocka_unit_test(a_fall_from_the_last_close_counts_at_once),
        cmocka_unit_test(the_hash_is_that_of_the_prediction_as_little_endian_bytes),
        cmocka_unit_test(a_repaired_prediction_holds_its_candles_and_is_counted_and_hashed),
        cmocka_unit_test(what_was_used_is_told_and_the_result_can_be_stored),
        cmocka_unit_test(what_is_not_finite_or_not_there_is_no_result),
        cmocka_unit_test(every_warning_comes_when_it_is_true_and_only_then),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
