/*
 * engine_batch.c - Many series through the engine the workers run, for scripts that judge a model.
 *
 *   engine_batch --model DIR --tokenizer DIR --samples S [--temperature T] [--top-p P] [--seed N]
 *
 * All numbers are little-endian, as on the machines this builds on.
 * stdin   uint32 n, L, P; then n times int64 minutes[L + P], float candles[L, 6]
 * stdout  uint32 V1, V2; then n times uint16 s1[L], s2[L] of the history, s1[P], s2[P] drawn for the
 *         first path; float logits[V1], [V2] of the first step; float decoded[L, 6], the history's
 *         tokens as normalised candles; float paths[S, P, 6] in the history's units
 * Exit status 1 and a sentence on stderr when anything is wrong.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/kronos/forecast.h"
#include "worker/kronos/forecast_internal.h"
#include "worker/kronos/model.h"

#define SERIES_MAX 100000

struct shape {
    uint32_t n_series, n_past, horizon;
};

static void
die(const char *what)
{
    fprintf(stderr, "engine_batch: %s\n", what);
    exit(1);
}

static void *
need(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (p == NULL)
        die("out of memory");
    return p;
}

static void
read_all(void *to, size_t count, size_t size)
{
    if (fread(to, size, count, stdin) != count)
        die("stdin ended before its series did");
}

static void
write_all(const void *from, size_t count, size_t size)
{
    if (fwrite(from, size, count, stdout) != count)
        die("stdout is closed");
}

/* What the decoder makes of the history's own tokens: how much a code of so many bits can hold. */
static void
write_decoded(struct forecast *f, const struct shape *shape, float *decoded)
{
    const struct block_watch watch = {0};
    struct tokenizer *t = &f->pool->tokenizer;
    struct block_row rows[BLOCK_ROWS_MAX];

    for (uint32_t i = 0; i < shape->n_past; i++)
        rows[i] = (struct block_row){.own = t->slab, .position = i};
    if (tokenizer_decode(t, f->s1, f->s2, rows, shape->n_past, &watch, decoded) != 0)
        die("the decoder was stopped");
    write_all(decoded, (size_t)shape->n_past * FORECAST_FIELDS, sizeof(*decoded));
}

static void
run_series(struct forecast_pool *pool, const struct model *model, const struct shape *shape,
    const struct forecast_options *options, int64_t *minutes, float *history, float *out)
{
    struct forecast *f;
    struct error err = {0};
    const size_t past = shape->n_past, horizon = shape->horizon;
    float *mean = out, *paths = out + horizon * FORECAST_FIELDS;

    read_all(minutes, past + horizon, sizeof(*minutes));
    read_all(history, past * FORECAST_FIELDS, sizeof(*history));
    f = forecast_begin(pool, history, minutes, past, horizon, options, &err);
    if (f == NULL)
        die(err.text);
    while (!forecast_progress(f).is_finished)
        forecast_step(pool, &f, 1);
    if (forecast_read(f, mean, paths, &err) != 0)
        die(err.text);

    const struct forecast_trace trace = forecast_trace(f);
    write_all(trace.context_s1, past, sizeof(uint16_t));
    write_all(trace.context_s2, past, sizeof(uint16_t));
    write_all(trace.generated_s1, horizon, sizeof(uint16_t));
    write_all(trace.generated_s2, horizon, sizeof(uint16_t));
    write_all(trace.first_s1_logits, (size_t)1 << model->config.s1_bits, sizeof(float));
    write_all(trace.first_s2_logits, (size_t)1 << model->config.s2_bits, sizeof(float));
    write_decoded(f, shape, history);
    write_all(paths, options->samples * horizon * FORECAST_FIELDS, sizeof(float));
    forecast_end(f);
}

int
main(int argc, char **argv)
{
    static const struct option known[] = {{"model", required_argument, NULL, 'm'},
        {"tokenizer", required_argument, NULL, 't'}, {"samples", required_argument, NULL, 'n'},
        {"temperature", required_argument, NULL, 'T'}, {"top-p", required_argument, NULL, 'p'},
        {"seed", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    const char *model_dir = NULL, *tokenizer_dir = NULL;
    struct forecast_options options = {
        .samples = 1, .temperature = 1.0f, .top_p = 1.0f, .seed = 1, .window = FORECAST_EXACT};
    struct shape shape;
    struct error err = {0};

    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 'm':
            model_dir = optarg;
            break;
        case 't':
            tokenizer_dir = optarg;
            break;
        case 'n':
            options.samples = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'T':
            options.temperature = strtof(optarg, NULL);
            break;
        case 'p':
            options.top_p = strtof(optarg, NULL);
            break;
        case 's':
            options.seed = strtoull(optarg, NULL, 10);
            break;
        default:
            return 2;
        }
    }
    if (model_dir == NULL || tokenizer_dir == NULL)
        die("--model and --tokenizer name directories");
    if (options.samples < 1 || options.samples > FORECAST_SAMPLES_MAX)
        die("--samples is 1 to 256");

    read_all(&shape, 1, sizeof(shape));
    if (shape.n_series > SERIES_MAX || shape.n_past < 1 || shape.n_past > BLOCK_ROWS_MAX ||
        shape.horizon < 1 || shape.horizon > FORECAST_HORIZON_MAX)
        die("up to 100000 series of up to 512 candles, horizons up to 512");

    struct model *model = model_open(model_dir, tokenizer_dir, NULL, &err);
    if (model == NULL)
        die(err.text);
    const struct forecast_pool_options pool_options = {
        .n_slots = options.samples, .max_context = 512, .clip = 5.0f};
    struct forecast_pool *pool = forecast_pool_new(model, &pool_options, &err);
    if (pool == NULL)
        die(err.text);

    int64_t *minutes = need(shape.n_past + shape.horizon, sizeof(*minutes));
    float *history = need((size_t)shape.n_past * FORECAST_FIELDS, sizeof(*history));
    float *out =
        need((size_t)(options.samples + 1) * shape.horizon * FORECAST_FIELDS, sizeof(*out));
    const uint32_t vocabularies[2] = {1u << model->config.s1_bits, 1u << model->config.s2_bits};
    write_all(vocabularies, 2, sizeof(vocabularies[0]));
    for (uint32_t i = 0; i < shape.n_series; i++)
        run_series(pool, model, &shape, &options, minutes, history, out);
    if (fflush(stdout) != 0)
        die("stdout is closed");

    free(out);
    free(history);
    free(minutes);
    forecast_pool_free(pool);
    model_close(model);
    return 0;
}
