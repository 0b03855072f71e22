/*
 * measure.h - What every benchmark program needs: a clock, memory or the end, and what many
 * measurements of one thing say.
 */
#ifndef TESTS_BENCH_MEASURE_H
#define TESTS_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* Of n values: the middle, and the quartiles between which half of them lie. */
struct summary {
    double median, low, high;
    size_t n;
};

/** measure_die(what, why): "bench: ${what}: ${why}", exit status 1. Benchmarks do not recover. */
_Noreturn void measure_die(const char *what, const char *why);

/** measure_take(n, size): zeroed memory, or the end. */
void *measure_take(size_t n, size_t size);

double measure_now(void); /* seconds on a clock that nobody sets */

/** measure_cpu_seconds(): of this process, all threads, user and system. */
double measure_cpu_seconds(void);

/** measure_quantile(a, n, q): of ${a}, which is in ascending order; n >= 1, 0 <= q <= 1. */
double measure_quantile(const double *a, size_t n, double q);
void measure_sort(double *a, size_t n);

/** measure_summary(a, n): sorts ${a}; n >= 1. */
struct summary measure_summary(double *a, size_t n);

/** measure_number(what, text, low, high): the option's whole number, or the end. */
uint64_t measure_number(const char *what, const char *text, uint64_t low, uint64_t high);

/** measure_real(what, text, low, high): the same of a number with a fraction. */
double measure_real(const char *what, const char *text, double low, double high);

#endif /* TESTS_BENCH_MEASURE_H */
