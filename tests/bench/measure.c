/*
 * measure.c - Clock, memory or the end, medians and quantiles, numbers of options.
 */
#include "tests/bench/measure.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Noreturn void
measure_die(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

void *
measure_take(size_t n, size_t size)
{
    void *memory = calloc(n > 0 ? n : 1, size);

    if (memory == NULL)
        measure_die("memory", strerror(errno));
    return memory;
}

static double
seconds_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double
measure_now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double
measure_cpu_seconds(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static int
compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

void
measure_sort(double *a, size_t n)
{
    qsort(a, n, sizeof(*a), compare);
}

double
measure_quantile(const double *a, size_t n, double q)
{
    double place = q * (double)(n - 1);
    size_t below = (size_t)place;

    if (below + 1 >= n)
        return a[n - 1];
    return a[below] + (a[below + 1] - a[below]) * (place - (double)below);
}

struct summary
measure_summary(double *a, size_t n)
{
    measure_sort(a, n);
    return (struct summary){
        .median = measure_quantile(a, n, 0.5),
        .low = measure_quantile(a, n, 0.25),
        .high = measure_quantile(a, n, 0.75),
        .n = n,
    };
}

uint64_t
measure_number(const char *what, const char *text, uint64_t low, uint64_t high)
{
    char *end, why[96];
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < low ||
        value > high) {
        snprintf(why, sizeof(why), "a whole number, %llu to %llu", (unsigned long long)low,
            (unsigned long long)high);
        measure_die(what, why);
    }
    return value;
}

double
measure_real(const char *what, const char *text, double low, double high)
{
    char *end, why[96];
    double value;

    errno = 0;
    value = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !isfinite(value) || value < low ||
        value > high) {
        snprintf(why, sizeof(why), "a number, %g to %g", low, high);
        measure_die(what, why);
    }
    return value;
}
