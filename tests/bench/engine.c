/*
 * engine.c - How long a forecast takes on this machine, and how much of that is unavoidable.
 *
 * The model alone, one thread unless more are asked for: no queue, no other process. Measures P
 * and B in the same run (machine.h), computes from them the time nobody could go below (floor.h), and tells medians
 * beside it. The values forecast mean nothing: the weights may be random.
 *
 *   build/release/tests/bench/engine MODEL_DIR TOKENIZER_DIR [--json FILE] [--runs N]
 *       [--only WORDS] [--max-context N] [--greedy FILE] [--threads N] [--cache-dir DIR]
 *
 * --only takes rows whose name has one of the comma-separated words in it; "machine" measures
 * nothing but P and B. --greedy writes one greedy forecast with its input and tokens, for
 * whoever computes the same in another way. --cache-dir maps the weights as workers do; without
 * it they are in private memory.
 */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/floor.h"
#include "tests/bench/machine.h"
#include "tests/bench/measure.h"
#include "tests/bench/report.h"
#include "worker/kronos/crew.h"
#include "worker/kronos/forecast.h"
#include "worker/kronos/model.h"

#define SAMPLES_MAX   30
#define SLOTS_MAX     32
#define RUNS_MAX      1000
#define JOINT_HISTORY 100
#define JOINT_STEPS   40
#define NAME_MAX_SIZE 64

struct bench {
    struct model *model;
    struct forecast_pool *pool;
    struct machine machine;
    struct cJSON *result;
    const char *only; /* NULL: all */
    size_t runs, context, threads;
};

static bool
is_wanted(const struct bench *b, const char *name)
{
    const char *word = b->only;

    while (word != NULL) {
        size_t len = strcspn(word, ",");

        if (memmem(name, strlen(name), word, len) != NULL)
            return true;
        word = word[len] == ',' ? word + len + 1 : NULL;
    }
    return b->only == NULL;
}

/* ---- input ---- */

struct series {
    float *history;   /* [n_past, 6] */
    int64_t *minutes; /* [n_past + horizon] */
};

static struct series
make_series(size_t n_past, size_t horizon)
{
    struct series s = {measure_take(n_past * FORECAST_FIELDS, sizeof(float)),
        measure_take(n_past + horizon, sizeof(int64_t))};
    float price = 100.0f;
    uint32_t state = 1;

    for (size_t i = 0; i < n_past * FORECAST_FIELDS; i++) {
        float noise;

        state = state * 1664525u + 1013904223u;
        noise = (float)(state >> 8) / 16777216.0f - 0.5f;
        if (i % FORECAST_FIELDS == 0)
            price *= 1.0f + 0.01f * noise;
        s.history[i] =
            i % FORECAST_FIELDS < 4 ? price * (1.0f + 0.004f * noise) : 1000.0f * (1.0f + noise);
    }
    for (size_t i = 0; i < n_past + horizon; i++)
        s.minutes[i] = 28000000 + 5 * (int64_t)i;
    return s;
}

static void
free_series(struct series *s)
{
    free(s->history);
    free(s->minutes);
}

static struct forecast_options
options_of(uint32_t samples, enum forecast_window window)
{
    return (struct forecast_options){
        .samples = samples,
        .temperature = 1.0f,
        .top_p = 0.9f,
        .seed = 7,
        .window = window,
    };
}

static const char *
window_name(enum forecast_window window)
{
    return window == FORECAST_FIT ? "fit" : window == FORECAST_EXACT ? "exact" : "block";
}

/* ---- one forecast alone ---- */

struct parts { /* seconds of each run */
    double *begin, *step, *read, *total;
};

static void
run_once(const struct bench *b, const struct floor_task *t, const struct series *s, float *mean,
    struct parts *parts, size_t place)
{
    struct forecast_options options = options_of(t->samples, t->window);
    double start = measure_now(), begun, stepped, read;
    struct error err;
    struct forecast *f =
        forecast_begin(b->pool, s->history, s->minutes, t->n_past, t->horizon, &options, &err);

    if (f == NULL)
        measure_die("begin", err.text);
    begun = measure_now();
    while (!forecast_progress(f).is_finished)
        forecast_step(b->pool, &f, 1);
    stepped = measure_now();
    if (forecast_read(f, mean, NULL, &err) == -1)
        measure_die("read", err.text);
    read = measure_now();
    forecast_end(f);
    parts->begin[place] = begun - start;
    parts->step[place] = (stepped - begun) / (double)t->horizon;
    parts->read[place] = read - stepped;
    parts->total[place] = read - start;
}

static void
measure_forecast(const struct bench *b, const struct floor_task *t, const char *name)
{
    struct series s = make_series(t->n_past, t->horizon);
    float *mean = measure_take(t->horizon * FORECAST_FIELDS, sizeof(float));
    double *seconds = measure_take(4 * b->runs, sizeof(double));
    struct parts parts = {seconds, seconds + b->runs, seconds + 2 * b->runs, seconds + 3 * b->runs};
    struct floor_seconds floor = floor_of_forecast(&b->machine, b->model, t);
    struct cJSON *row, *part;

    run_once(b, t, &s, mean, &parts, 0); /* warms caches and pages and does not count */
    for (size_t r = 0; r < b->runs; r++)
        run_once(b, t, &s, mean, &parts, r);
    row = report_row(b->result, name, "s", REPORT_LOWER, measure_summary(parts.total, b->runs));
    report_number(row, "floor", floor.bare);
    part = report_part(row, "where");
    report_text(part, "window", window_name(t->window));
    report_number(part, "history", (double)t->n_past);
    report_number(part, "horizon", (double)t->horizon);
    report_number(part, "samples", t->samples);
    part = report_part(row, "detail");
    report_number(part, "begin", measure_summary(parts.begin, b->runs).median);
    report_number(part, "step", measure_summary(parts.step, b->runs).median);
    report_number(part, "read", measure_summary(parts.read, b->runs).median);
    report_number(part, "floor_with_kv", floor.with_kv);
    free(seconds);
    free(mean);
    free_series(&s);
}

static void
measure_forecasts(const struct bench *b)
{
    static const struct floor_task all[] = {
        {.n_past = 400, .horizon = 120, .samples = 1, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 120, .samples = 5, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 120, .samples = 30, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 120, .samples = 1, .window = FORECAST_EXACT},
        {.n_past = 400, .horizon = 120, .samples = 5, .window = FORECAST_EXACT},
        {.n_past = 400, .horizon = 120, .samples = 1, .window = FORECAST_BLOCK},
        /* growing with the horizon */
        {.n_past = 400, .horizon = 10, .samples = 1, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 30, .samples = 1, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 60, .samples = 1, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 90, .samples = 1, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 10, .samples = 5, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 30, .samples = 5, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 60, .samples = 5, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 90, .samples = 5, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 112, .samples = 1, .window = FORECAST_EXACT},
        {.n_past = 400, .horizon = 116, .samples = 1, .window = FORECAST_EXACT},
        /* growing with the history */
        {.n_past = 50, .horizon = 30, .samples = 1, .window = FORECAST_FIT},
        {.n_past = 100, .horizon = 30, .samples = 1, .window = FORECAST_FIT},
        {.n_past = 200, .horizon = 30, .samples = 1, .window = FORECAST_FIT},
    };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct floor_task t = all[i];
        char name[NAME_MAX_SIZE];

        t.context = b->context;
        snprintf(name, sizeof(name), "%s %zu->%zu S=%u", window_name(t.window), t.n_past, t.horizon,
            (unsigned)t.samples);
        if (t.horizon <= b->context && is_wanted(b, name))
            measure_forecast(b, &t, name);
    }
}

/* ---- sequences that step together ---- */

/* ${m} tasks of one sequence each, one step. */
static void
measure_joint_step(const struct bench *b, uint32_t m, const char *name)
{
    struct forecast_options options = options_of(1, FORECAST_FIT);
    size_t past = JOINT_HISTORY < b->context / 2 ? JOINT_HISTORY : b->context / 2;
    size_t steps = JOINT_STEPS < b->context / 2 ? JOINT_STEPS : b->context / 2;
    struct series s = make_series(past, steps);
    struct forecast *batch[SLOTS_MAX];
    double seconds[JOINT_STEPS];
    struct cJSON *row;
    struct error err;

    for (size_t i = 0; i < m; i++) {
        options.seed = i;
        batch[i] = forecast_begin(b->pool, s.history, s.minutes, past, steps, &options, &err);
        if (batch[i] == NULL)
            measure_die("begin", err.text);
    }
    for (size_t i = 0; i < steps; i++) {
        double start = measure_now();

        forecast_step(b->pool, batch, m);
        seconds[i] = measure_now() - start;
    }
    for (size_t i = 0; i < m; i++)
        forecast_end(batch[i]);
    /* the first does not go through the layers */
    row = report_row(b->result, name, "s", REPORT_LOWER, measure_summary(seconds + 1, steps - 1));
    report_number(row, "floor", floor_of_step(&b->machine, b->model, m));
    report_number(report_part(row, "where"), "sequences", m);
    free_series(&s);
}

static void
measure_joint_steps(const struct bench *b, const char *kind)
{
    for (uint32_t m = 1; m <= SLOTS_MAX; m *= 2) {
        char name[NAME_MAX_SIZE];

        snprintf(name, sizeof(name), "%sstep of %u", kind, (unsigned)m);
        if (is_wanted(b, name))
            measure_joint_step(b, m, name);
    }
}

/* ---- the model, and the model again with its layers in half precision ---- */

static void
open_model(struct bench *b, const char *model, const char *tokenizer,
    const struct model_options *options, enum packed_format kv)
{
    struct forecast_pool_options room = {
        SLOTS_MAX, (uint32_t)b->context, 5.0f, (uint32_t)b->threads, kv};
    struct error err;

    if ((b->model = model_open(model, tokenizer, options, &err)) == NULL)
        measure_die("model", err.text);
    if ((b->pool = forecast_pool_new(b->model, &room, &err)) == NULL)
        measure_die("pool", err.text);
}

static void
close_model(struct bench *b)
{
    forecast_pool_free(b->pool);
    model_close(b->model);
}

static void
measure_half(const struct bench *b, const char *model, const char *tokenizer)
{
    struct bench half = *b;

    open_model(&half, model, tokenizer, &(struct model_options){.weights = PACKED_F16}, PACKED_F32);
    measure_joint_steps(&half, "half: ");
    close_model(&half);
    open_model(&half, model, tokenizer, &(struct model_options){.weights = PACKED_F16}, PACKED_F16);
    measure_joint_steps(&half, "half, keys and values too: ");
    close_model(&half);
}

/* ---- what a core could do with many ---- */

/* No measurement: seconds that the whole service is compared with. */
static void
tell_shares(const struct bench *b)
{
    struct floor_task task = {
        .n_past = 400, .horizon = 120, .context = b->context, .samples = 1, .window = FORECAST_FIT};

    if (task.horizon > b->context)
        return;
    for (uint32_t slots = 1; slots <= SLOTS_MAX; slots *= 2) {
        struct floor_seconds share = floor_of_share(&b->machine, b->model, &task, slots);
        struct cJSON *part = report_part(b->result, "shares");
        char name[NAME_MAX_SIZE];

        snprintf(name, sizeof(name), "%u", (unsigned)slots);
        part = report_part(part, name);
        report_number(part, "bare", share.bare);
        report_number(part, "with_kv", share.with_kv);
    }
}

/* ---- one greedy forecast, to be computed again elsewhere ---- */

static void
write_greedy(const struct bench *b, const char *path)
{
    enum { past = 400 };
    size_t horizon = b->context < past ? 10 : 120; /* of both there are rows */
    struct forecast_options options = options_of(1, FORECAST_FIT);
    struct series s = make_series(past, horizon);
    struct cJSON *out = report_new("greedy"), *list;
    struct forecast_trace trace;
    struct forecast *f;
    struct error err;

    options.temperature = 0.0f;
    f = forecast_begin(b->pool, s.history, s.minutes, past, horizon, &options, &err);
    if (f == NULL)
        measure_die("begin", err.text);
    while (!forecast_progress(f).is_finished)
        forecast_step(b->pool, &f, 1);
    trace = forecast_trace(f);
    report_number(out, "n_past", (double)past);
    report_number(out, "horizon", (double)horizon);
    report_number(out, "context", (double)b->context);
    list = cJSON_AddArrayToObject(out, "history");
    for (size_t i = 0; i < past * FORECAST_FIELDS; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber((double)s.history[i]));
    list = cJSON_AddArrayToObject(out, "minutes");
    for (size_t i = 0; i < past + horizon; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber((double)s.minutes[i]));
    list = cJSON_AddArrayToObject(out, "s1");
    for (size_t i = 0; i < horizon; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(trace.generated_s1[i]));
    list = cJSON_AddArrayToObject(out, "s2");
    for (size_t i = 0; i < horizon; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(trace.generated_s2[i]));
    report_write(out, path);
    forecast_end(f);
    free_series(&s);
}

int
main(int argc, char **argv)
{
    static const struct option known[] = {
        {"json", required_argument, NULL, 'j'},
        {"runs", required_argument, NULL, 'r'},
        {"only", required_argument, NULL, 'o'},
        {"max-context", required_argument, NULL, 'c'},
        {"greedy", required_argument, NULL, 'g'},
        {"threads", required_argument, NULL, 't'},
        {"cache-dir", required_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    struct bench b = {.runs = 5, .context = 512, .threads = 1};
    struct model_options options = {0};
    const char *json = "-", *greedy = NULL;
    struct cJSON *part;
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'j':
            json = optarg;
            break;
        case 'r':
            b.runs = measure_number("--runs", optarg, 1, RUNS_MAX);
            break;
        case 'o':
            b.only = optarg;
            break;
        case 'c':
            b.context = measure_number("--max-context", optarg, 8, MODEL_CONTEXT_MAX);
            break;
        case 'g':
            greedy = optarg;
            break;
        case 't':
            b.threads = measure_number("--threads", optarg, 1, CREW_THREADS_MAX);
            break;
        case 'd':
            options.cache_dir = optarg;
            break;
        default:
            return 2;
        }
    }
    if (argc - optind != 2)
        measure_die("usage", "engine [options] MODEL_DIR TOKENIZER_DIR");
    options.source = argv[optind]; /* that directory is thrown away with the benchmark's weights */
    open_model(&b, argv[optind], argv[optind + 1], &options, PACKED_F32);
    b.result = report_new("engine");
    if (greedy != NULL)
        write_greedy(&b, greedy);
    b.machine = machine_measure(b.model);
    measure_forecasts(&b);
    measure_joint_steps(&b, "");
    if (is_wanted(&b, "half"))
        measure_half(&b, argv[optind], argv[optind + 1]);
    machine_measure_again(&b.machine, b.model);
    tell_shares(&b);
    machine_describe(&b.machine, report_part(b.result, "machine"));
    part = report_part(b.result, "setup");
    report_number(part, "parameters", (double)b.model->n_parameters);
    report_number(part, "tokenizer_parameters", (double)b.model->n_tokenizer_parameters);
    report_number(part, "weight_bytes", (double)b.model->weight_bytes);
    report_number(part, "step_weight_bytes", machine_step_bytes(b.model));
    report_number(part, "context", (double)b.context);
    report_number(part, "threads", (double)b.threads);
    report_number(part, "weights_shared", b.model->weights.origin != WEIGHT_CACHE_PRIVATE);
    report_number(part, "pool_bytes", (double)forecast_pool_bytes(b.pool));
    report_write(b.result, json);
    close_model(&b);
    return 0;
}
