/*
 * machine.c - P and B, measured the way the engine uses them, and what the machine calls itself.
 *
 * The best of many short passes is what the hardware can do; the worst of the repeats tells how
 * much somebody else took meanwhile.
 */
#include "tests/bench/machine.h"

#include <cblas.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/bench/measure.h"
#include "tests/bench/report.h"
#include "worker/kronos/kernels.h"

/* Serial and OpenMP builds of OpenBLAS, or another BLAS, may lack these. */
extern void openblas_set_num_threads(int n) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));

static double
flops_once(void)
{
    enum { M = 400, N = 1024, K = 512, TIMES = 10 };
    float *x = measure_take(M * K, sizeof(float)), *w = measure_take(N * K, sizeof(float));
    float *y = measure_take(M * N, sizeof(float));
    double best = 1e9;

    for (size_t i = 0; i < M * K; i++)
        x[i] = (float)(i % 17) - 8.0f;
    for (size_t i = 0; i < N * K; i++)
        w[i] = (float)(i % 13) - 6.0f;
    for (int i = 0; i < TIMES; i++) {
        double start = measure_now(), seconds;

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, M, N, K, 1.0f, x, K, w, K, 0.0f, y, N);
        seconds = measure_now() - start;
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
linear_bytes(const struct linear *l)
{
    return packed_bytes(l->n_out, l->n_in, l->packed.format);
}

size_t
machine_step_linears(const struct model *model, const struct linear **out)
{
    const struct transformer_weights *t = &model->transformer;
    size_t n = 0;

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
    out[n++] = &t->dep.out;
    out[n++] = &t->head_s2;
    return n;
}

double
machine_step_bytes(const struct model *model)
{
    const struct linear *all[MACHINE_LINEARS_MAX];
    size_t n = machine_step_linears(model, all), bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += linear_bytes(all[i]);
    return (double)bytes;
}

double
machine_step_flop(const struct model *model)
{
    const struct linear *all[MACHINE_LINEARS_MAX];
    size_t n = machine_step_linears(model, all), products = 0;

    for (size_t i = 0; i < n; i++)
        products += (size_t)all[i]->n_out * all[i]->n_in;
    return 2.0 * (double)products;
}

/* Bytes per second of the best of several passes over ${parts}. */
static double
reading_once(const struct linear *const *parts, size_t n_parts, double bytes)
{
    static const size_t ahead[] = {0, 128, 1024, 4096}; /* floats */
    volatile float keep = 0.0f;                         /* the sums are wanted, says this */
    double best = 1e9;

    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++) {
            double start = measure_now(), seconds;

            for (size_t j = 0; j < n_parts; j++)
                keep += sum_of(
                    parts[j]->packed.bytes, linear_bytes(parts[j]) / sizeof(float), ahead[i]);
            seconds = measure_now() - start;
            best = seconds < best ? seconds : best;
        }
    return bytes / best;
}

/* The same bytes in anonymous memory with large pages, to tell what page walks cost. */
static double
reading_large_pages(size_t bytes)
{
    /* One layer of about as many bytes. */
    struct linear one = {.n_out = PACKED_PANEL};
    const struct linear *parts[] = {&one};
    float *a = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    double rate = 0.0;

    if (a == MAP_FAILED)
        return 0.0;
    (void)madvise(a, bytes, MADV_HUGEPAGE); /* a hint; without it the figure tells so */
    memset(a, 0, bytes);
    one.n_in = (uint32_t)(bytes / (PACKED_PANEL * sizeof(float)) - 1);
    one.packed.bytes = a;
    for (int i = 0; i < MACHINE_REPEATS; i++) {
        double once = reading_once(parts, 1, (double)bytes);

        rate = once > rate ? once : rate;
    }
    munmap(a, bytes);
    return rate;
}

static void
note(double value, double *best, double *worst)
{
    *best = value > *best ? value : *best;
    *worst = value < *worst ? value : *worst;
}

void
machine_measure_again(struct machine *machine, const struct model *model)
{
    const struct linear *all[MACHINE_LINEARS_MAX];
    size_t n = machine_step_linears(model, all);
    double bytes = machine_step_bytes(model);

    for (int i = 0; i < MACHINE_REPEATS; i++) {
        note(flops_once(), &machine->flops, &machine->flops_worst);
        note(reading_once(all, n, bytes), &machine->bytes, &machine->bytes_worst);
    }
    machine->flops_spread = 1.0 - machine->flops_worst / machine->flops;
    machine->bytes_spread = 1.0 - machine->bytes_worst / machine->bytes;
}

struct machine
machine_measure(const struct model *model)
{
    struct machine machine = {.flops_worst = 1e30, .bytes_worst = 1e30};

    if (openblas_set_num_threads != NULL)
        openblas_set_num_threads(1);
    (void)flops_once(); /* the first call of BLAS sets up its buffers */
    machine_measure_again(&machine, model);
    machine.bytes_in_large_pages = reading_large_pages((size_t)machine_step_bytes(model));
    return machine;
}

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

void
machine_describe(const struct machine *machine, struct cJSON *part)
{
    struct utsname system;
    char name[128];

    cpu_name(name, sizeof(name));
    report_text(part, "cpu", name);
    report_number(part, "cores", (double)sysconf(_SC_NPROCESSORS_ONLN));
    report_number(
        part, "memory_bytes", (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
    if (uname(&system) == 0)
        report_text(part, "system", system.release);
    report_text(
        part, "blas_core", openblas_get_corename == NULL ? "unknown" : openblas_get_corename());
    report_text(part, "kernel", kernels_name());
    report_number(part, "flops", machine->flops);
    report_number(part, "flops_spread", machine->flops_spread);
    report_number(part, "bytes_per_second", machine->bytes);
    report_number(part, "bytes_spread", machine->bytes_spread);
    report_number(part, "bytes_per_second_large_pages", machine->bytes_in_large_pages);
}
