/*
 * engine.c - How long a forecast takes on this machine, and how much of that is unavoidable.
 *
 * Measures P (FLOP/s of BLAS at the shape of a prefill) and B (bytes/s of reading the weights
 * where they are mapped) in the same run, computes from them the time nobody could go below,
 * and prints medians with their ratio to it. One thread. The values forecast mean nothing.
 *
 *   build/release/tests/bench/engine MODEL_DIR TOKENIZER_DIR [--runs N] [--json FILE]
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "worker/kronos/forecast.h"
#include "worker/kronos/kernels.h"
#include "worker/kronos/model.h"

#define CONTEXT       512
#define SAMPLES_MAX   16
#define SERVICE_S     27.5 /* the FastAPI service: Kronos-small, 400 -> 120, S=1, one thread */
#define RUNS_MAX      1000
#define JOINT_HISTORY 100
#define JOINT_STEPS   40

struct machine {
    double flops; /* P */
    double bytes; /* B, per second */
    double bytes_in_large_pages;
};

struct work {
    double flop;         /* of products and attention over many rows: prefill and tokenizer */
    double weight_bytes; /* read by all decode steps */
    double kv_bytes;     /* keys and values read by all decode steps */
};

struct measured {
    size_t n_past, horizon;
    uint32_t samples;
    enum forecast_window window;
    double seconds, begin_seconds, step_seconds, read_seconds; /* medians */
    double floor_seconds, floor_kv_seconds;
};

static void
die(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

static void *
take(size_t n, size_t size)
{
    void *memory = calloc(n, size);

    if (memory == NULL)
        die("memory", strerror(errno));
    return memory;
}

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int
compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double
median(double *a, size_t n)
{
    qsort(a, n, sizeof(*a), compare);
    return n % 2 == 1 ? a[n / 2] : (a[n / 2 - 1] + a[n / 2]) / 2.0;
}

/* ---- P and B ---- */

static double
measure_flops(void)
{
    enum { M = 400, N = 1024, K = 512, TIMES = 40 };
    float *x = take(M * K, sizeof(float)), *w = take(N * K, sizeof(float));
    float *y = take(M * N, sizeof(float));
    struct kernels_linear l = {.weight = w, .n_out = N, .n_in = K};
    double best = 1e9;

    for (size_t i = 0; i < M * K; i++)
        x[i] = (float)(i % 17) - 8.0f;
    for (size_t i = 0; i < N * K; i++)
        w[i] = (float)(i % 13) - 6.0f;
    for (int i = 0; i < TIMES; i++) {
        double start = now(), seconds;

        kernels_linear_whole(y, N, x, K, M, &l);
        seconds = now() - start;
        best = seconds < best ? seconds : best;
    }
    free(x);
    free(w);
    free(y);
    return 2.0 * M * N * K / best;
}

typedef float f4 __attribute__((vector_size(16)));

/* Nothing but reading: eight sums, so that no addition waits for the one before. */
static float
sum_of(const float *a, size_t n, size_t ahead)
{
    f4 sum[8] = {0};

    for (size_t i = 0; i + 32 <= n; i += 32) {
        if (ahead > 0) {
            __builtin_prefetch(a + i + ahead, 0, 2);
            __builtin_prefetch(a + i + 16 + ahead, 0, 2);
        }
        for (size_t j = 0; j < 8; j++) {
            f4 v;

            memcpy(&v, a + i + 4 * j, sizeof(v));
            sum[j] += v;
        }
    }
    for (size_t j = 1; j < 8; j++)
        sum[0] += sum[j];
    return sum[0][0] + sum[0][1] + sum[0][2] + sum[0][3];
}

static size_t
linear_floats(const struct linear *l)
{
    return (size_t)l->n_out * l->n_in;
}

/* Everything one decode step reads, in its order. */
static size_t
step_linears(const struct model *model, const struct linear **out)
{
    const struct transformer_weights *t = &model->transformer;
    size_t n = 0;

    out[n++] = &t->fusion;
    for (uint32_t i = 0; i < model->config.n_layers; i++) {
        const struct block_weights *b = &t->blocks[i];
        const struct linear *block[] = {&b->attention.q, &b->attention.k, &b->attention.v,
            &b->attention.out, &b->w1, &b->w3, &b->w2};

        for (size_t j = 0; j < sizeof(block) / sizeof(block[0]); j++)
            out[n++] = block[j];
    }
    out[n++] = &t->dep.k;
    out[n++] = &t->dep.v;
    out[n++] = &t->head_s1;
    out[n++] = &t->dep.q;
    out[n++] = &t->dep.out;
    out[n++] = &t->head_s2;
    return n;
}

#define STEP_LINEARS_MAX (7 * MODEL_LAYERS_MAX + 7)

static double
step_weight_bytes(const struct model *model)
{
    const struct linear *all[STEP_LINEARS_MAX];
    size_t n = step_linears(model, all), floats = 0;

    for (size_t i = 0; i < n; i++)
        floats += linear_floats(all[i]);
    return (double)floats * sizeof(float);
}

/* Bytes per second of the best of several passes over ${parts}. */
static double
measure_reading(const struct linear *const *parts, size_t n_parts, double bytes)
{
    static const size_t ahead[] = {0, 128, 1024, 4096}; /* floats */
    volatile float keep = 0.0f;                         /* the sums are wanted, says this */
    double best = 1e9;

    for (int turn = 0; turn < 8; turn++)
        for (size_t i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++) {
            double start = now(), seconds;

            for (size_t j = 0; j < n_parts; j++)
                keep += sum_of(parts[j]->weight, linear_floats(parts[j]), ahead[i]);
            seconds = now() - start;
            best = seconds < best ? seconds : best;
        }
    return bytes / best;
}

/* The same bytes in anonymous memory with large pages, to tell what page walks cost. */
static double
measure_large_pages(size_t bytes)
{
    size_t n = bytes / sizeof(float);
    struct linear one = {.n_out = 1, .n_in = (uint32_t)n};
    const struct linear *parts[] = {&one};
    float *a = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    double rate;

    if (a == MAP_FAILED)
        return 0.0;
    (void)madvise(a, bytes, MADV_HUGEPAGE); /* a hint; without it the figure tells so */
    memset(a, 0, bytes);
    one.weight = a;
    rate = measure_reading(parts, 1, (double)bytes);
    munmap(a, bytes);
    return rate;
}

static struct machine
measure_machine(const struct model *model)
{
    const struct linear *all[STEP_LINEARS_MAX];
    size_t n = step_linears(model, all);
    double bytes = step_weight_bytes(model);

    return (struct machine){
        .flops = measure_flops(),
        .bytes = measure_reading(all, n, bytes),
        .bytes_in_large_pages = measure_large_pages((size_t)bytes),
    };
}

/* ---- the floor ---- */

/* Products and causal attention of ${rows} rows that come after ${before} others, n_layers blocks. */
static double
blocks_flop(double d, double ff, double n_layers, double rows, double before)
{
    double products = 2.0 * rows * (4.0 * d * d + 3.0 * d * ff);
    double attended = rows * before + rows * (rows + 1.0) / 2.0;

    return n_layers * (products + 4.0 * d * attended);
}

static double
model_rows_flop(const struct model *model, double rows, double before)
{
    double d = model->config.d_model;

    /* fusion [d, 2d]; keys and values of the dependency layer */
    return blocks_flop(d, model->config.ff_dim, model->config.n_layers, rows, before) +
           2.0 * rows * (2.0 * d * d + 2.0 * d * d);
}

/* What encoding the history and decoding the window cannot do without. */
static double
tokenizer_flop(const struct model *model, const struct measured *m)
{
    const struct tokenizer_config *c = &model->tokenizer_config;
    double d = c->d_model, ff = c->ff_dim, L = (double)m->n_past, P = (double)m->horizon;
    double window = L + P < CONTEXT ? L + P : CONTEXT, before = window - P, S = m->samples;
    double ends = 2.0 * d * (MODEL_INPUTS + c->s1_bits + c->s2_bits);
    double flop = L * ends + blocks_flop(d, ff, c->n_enc_layers, L, 0.0);

    /* Of the window's history the last layer gives keys and values only. */
    flop += before * ends / 2.0 + blocks_flop(d, ff, c->n_dec_layers - 1.0, before, 0.0) +
            2.0 * before * 2.0 * d * d;
    return flop + S * (P * ends + blocks_flop(d, ff, c->n_dec_layers, P, before));
}

/*
 * Prefill and slid windows by their arithmetic; every other step by the weights it reads once
 * for all samples, and in a second figure also by the keys and values: the history's once per
 * task, each sample's own.
 */
static struct work
work_of(const struct model *model, const struct measured *m)
{
    double position = (model->config.n_layers + 1.0) * 2.0 * model->config.d_model * sizeof(float);
    size_t L = m->n_past, P = m->horizon, start = L > CONTEXT ? L - CONTEXT : 0;
    double S = m->samples;
    struct work work = {0};

    if (m->window == FORECAST_FIT && L + P - 1 > CONTEXT)
        start = L + P - 1 - CONTEXT;
    work.flop = tokenizer_flop(model, m) + model_rows_flop(model, (double)(L - start), 0.0);
    for (size_t i = 1; i < P; i++) {
        if (L + i - start > CONTEXT) {
            start = L + i - CONTEXT;
            work.flop += model_rows_flop(model, (double)(L - start), 0.0) +
                         S * model_rows_flop(model, (double)i, (double)(L - start));
        } else {
            work.weight_bytes += step_weight_bytes(model);
            work.kv_bytes += position * ((double)(L - start) + S * (double)i);
        }
    }
    return work;
}

/* ---- forecasts ---- */

struct series {
    float *history;   /* [n_past, 6] */
    int64_t *minutes; /* [n_past + horizon] */
};

static struct series
make_series(size_t n_past, size_t horizon)
{
    struct series s = {
        take(n_past * FORECAST_FIELDS, sizeof(float)), take(n_past + horizon, sizeof(int64_t))};
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

static void
measure_forecast(const struct model *model, struct forecast_pool *pool,
    const struct machine *machine, size_t runs, struct measured *m)
{
    struct forecast_options options = options_of(m->samples, m->window);
    struct series s = make_series(m->n_past, m->horizon);
    float *mean = take(m->horizon * FORECAST_FIELDS, sizeof(float));
    double *begin = take(runs, sizeof(double)), *steps = take(runs, sizeof(double));
    double *reads = take(runs, sizeof(double)), *total = take(runs, sizeof(double));
    struct work work = work_of(model, m);
    struct error err;

    for (size_t r = 0; r <= runs; r++) { /* the first warms caches and pages and does not count */
        double t0 = now(), t1, t2, t3;
        struct forecast *f =
            forecast_begin(pool, s.history, s.minutes, m->n_past, m->horizon, &options, &err);

        if (f == NULL)
            die("begin", err.text);
        t1 = now();
        while (!forecast_progress(f).is_finished)
            forecast_step(pool, &f, 1);
        t2 = now();
        if (forecast_read(f, mean, NULL, &err) == -1)
            die("read", err.text);
        t3 = now();
        forecast_end(f);
        if (r == 0)
            continue;
        begin[r - 1] = t1 - t0;
        steps[r - 1] = (t2 - t1) / (double)m->horizon;
        reads[r - 1] = t3 - t2;
        total[r - 1] = t3 - t0;
    }
    m->begin_seconds = median(begin, runs);
    m->step_seconds = median(steps, runs);
    m->read_seconds = median(reads, runs);
    m->seconds = median(total, runs);
    m->floor_seconds = work.flop / machine->flops + work.weight_bytes / machine->bytes;
    m->floor_kv_seconds = m->floor_seconds + work.kv_bytes / machine->bytes;
    free(begin);
    free(steps);
    free(reads);
    free(total);
    free(mean);
    free_series(&s);
}

/* Median of one step of SAMPLES_MAX tasks of one sequence each, stepping together. */
static double
measure_joint_step(struct forecast_pool *pool)
{
    struct forecast_options options = options_of(1, FORECAST_FIT);
    struct series s = make_series(JOINT_HISTORY, JOINT_STEPS);
    struct forecast *batch[SAMPLES_MAX];
    double seconds[JOINT_STEPS];
    struct error err;
    double result;

    for (size_t i = 0; i < SAMPLES_MAX; i++) {
        options.seed = i;
        batch[i] =
            forecast_begin(pool, s.history, s.minutes, JOINT_HISTORY, JOINT_STEPS, &options, &err);
        if (batch[i] == NULL)
            die("begin", err.text);
    }
    for (size_t i = 0; i < JOINT_STEPS; i++) {
        double start = now();

        forecast_step(pool, batch, SAMPLES_MAX);
        seconds[i] = now() - start;
    }
    for (size_t i = 0; i < SAMPLES_MAX; i++)
        forecast_end(batch[i]);
    result = median(seconds + 1, JOINT_STEPS - 1); /* the first does not go through the layers */
    free_series(&s);
    return result;
}

/* ---- the report ---- */

static void
cpu_name(char *name, size_t size)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];

    snprintf(name, size, "unknown");
    if (f == NULL)
        return;
    while (fgets(line, sizeof(line), f) != NULL) {
        char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            snprintf(name, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    fclose(f);
}

static const char *
window_name(enum forecast_window window)
{
    return window == FORECAST_FIT ? "fit" : "exact";
}

static void
write_json(const char *path, const char *cpu, const struct machine *machine,
    const struct measured *all, size_t n, double joint, double joint_floor)
{
    FILE *f = fopen(path, "w");

    if (f == NULL)
        die(path, strerror(errno));
    fprintf(f, "{\"cpu\":\"%s\",\"blas_core\":\"%s\",\"kernel\":\"%s\",", cpu, kernels_blas_core(),
        kernels_name());
    fprintf(f, "\"flops\":%.4g,\"bytes_per_second\":%.4g,\"bytes_per_second_large_pages\":%.4g,",
        machine->flops, machine->bytes, machine->bytes_in_large_pages);
    fprintf(f, "\"joint_step\":{\"sequences\":%d,\"seconds\":%.6g,\"floor_seconds\":%.6g},",
        SAMPLES_MAX, joint, joint_floor);
    fprintf(f, "\"forecasts\":[");
    for (size_t i = 0; i < n; i++)
        fprintf(f,
            "%s{\"history\":%zu,\"horizon\":%zu,\"samples\":%u,\"window\":\"%s\","
            "\"seconds\":%.6g,\"begin_seconds\":%.6g,\"step_seconds\":%.6g,\"read_seconds\":%.6g,"
            "\"floor_seconds\":%.6g,\"floor_with_kv_seconds\":%.6g}",
            i > 0 ? "," : "", all[i].n_past, all[i].horizon, (unsigned)all[i].samples,
            window_name(all[i].window), all[i].seconds, all[i].begin_seconds, all[i].step_seconds,
            all[i].read_seconds, all[i].floor_seconds, all[i].floor_kv_seconds);
    fprintf(f, "]}\n");
    if (fclose(f) != 0)
        die(path, strerror(errno));
}

static void
print_machine(const char *cpu, const struct model *model, const struct machine *machine)
{
    printf("CPU                     %s\n", cpu);
    printf("OpenBLAS core, kernel   %s, %s; one thread\n", kernels_blas_core(), kernels_name());
    if (kernels_cpu_has_avx512() && strcmp(kernels_blas_core(), "Haswell") == 0)
        printf("                        OpenBLAS does not use this CPU's AVX-512\n");
    printf("parameters              %llu, tokenizer %llu\n",
        (unsigned long long)model->n_parameters, (unsigned long long)model->n_tokenizer_parameters);
    printf("P, sgemm 400x1024x512   %.1f GFLOP/s\n", machine->flops * 1e-9);
    printf("B, reading the weights  %.1f GB/s (%.1f MB a step, where they are mapped)\n",
        machine->bytes * 1e-9, step_weight_bytes(model) * 1e-6);
    printf("   in large pages       %.1f GB/s (the same amount of anonymous memory)\n\n",
        machine->bytes_in_large_pages * 1e-9);
}

static void
print_measured(const struct measured *m)
{
    printf("%4zu -> %-4zu %-5s S=%-2u %9.1f  %8.1f %8.3f %7.1f %9.1f %6.2f %9.1f %6.2f", m->n_past,
        m->horizon, window_name(m->window), (unsigned)m->samples, m->seconds * 1e3,
        m->begin_seconds * 1e3, m->step_seconds * 1e3, m->read_seconds * 1e3,
        m->floor_seconds * 1e3, m->seconds / m->floor_seconds, m->floor_kv_seconds * 1e3,
        m->seconds / m->floor_kv_seconds);
    if (m->n_past == 400 && m->samples == 1)
        printf(" %7.1f", SERVICE_S / m->seconds);
    printf("\n");
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    struct measured all[] = {
        {.n_past = 100, .horizon = 10, .samples = 1, .window = FORECAST_FIT},
        {.n_past = 100, .horizon = 10, .samples = 5, .window = FORECAST_FIT},
        {.n_past = 100, .horizon = 10, .samples = 1, .window = FORECAST_EXACT},
        {.n_past = 100, .horizon = 10, .samples = 5, .window = FORECAST_EXACT},
        {.n_past = 400, .horizon = 120, .samples = 1, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 120, .samples = 5, .window = FORECAST_FIT},
        {.n_past = 400, .horizon = 120, .samples = 1, .window = FORECAST_EXACT},
        {.n_past = 400, .horizon = 120, .samples = 5, .window = FORECAST_EXACT},
    };
    size_t n = sizeof(all) / sizeof(all[0]), runs = 5;
    struct forecast_pool_options options = {SAMPLES_MAX, CONTEXT, 5.0f};
    const char *json = NULL;
    struct forecast_pool *pool;
    struct machine machine;
    struct model *model;
    struct error err;
    char cpu[128];
    double joint, joint_floor;

    if (argc < 3 || argc % 2 == 0)
        die("usage", "engine MODEL_DIR TOKENIZER_DIR [--runs N] [--json FILE]");
    for (int i = 3; i < argc; i += 2) {
        if (strcmp(argv[i], "--json") == 0)
            json = argv[i + 1];
        else if (strcmp(argv[i], "--runs") == 0)
            runs = strtoul(argv[i + 1], NULL, 10);
        else
            die("no such option", argv[i]);
    }
    if (runs < 1 || runs > RUNS_MAX)
        die("--runs", "1..1000");
    kernels_blas_threads(1);
    if ((model = model_open(argv[1], argv[2], &err)) == NULL)
        die("model", err.text);
    if ((pool = forecast_pool_new(model, &options, &err)) == NULL)
        die("pool", err.text);
    cpu_name(cpu, sizeof(cpu));
    machine = measure_machine(model);
    print_machine(cpu, model, &machine);

    printf("milliseconds, medians of %zu; floor = FLOP of prefill, slid windows and tokenizer / P\n"
           "+ weight bytes of the other steps / B; floor+kv also reads keys and values: the\n"
           "history's once per task and step, each sample's own\n\n",
        runs);
    printf("L -> P      mode  S         total     begin     step    read     floor  ratio  floor+kv"
           "  ratio   x 27.5 s\n");
    for (size_t i = 0; i < n; i++) {
        measure_forecast(model, pool, &machine, runs, &all[i]);
        print_measured(&all[i]);
    }
    joint = measure_joint_step(pool);
    joint_floor = step_weight_bytes(model) / machine.bytes;
    if (step_weight_bytes(model) / sizeof(float) * 2.0 * SAMPLES_MAX / machine.flops > joint_floor)
        joint_floor = step_weight_bytes(model) / sizeof(float) * 2.0 * SAMPLES_MAX / machine.flops;
    printf(
        "\none step of %d sequences  %.2f ms, floor max(bytes / B, FLOP / P) %.2f ms, ratio %.2f\n",
        SAMPLES_MAX, joint * 1e3, joint_floor * 1e3, joint / joint_floor);
    if (json != NULL)
        write_json(json, cpu, &machine, all, n, joint, joint_floor);
    forecast_pool_free(pool);
    model_close(model);
    return 0;
}
