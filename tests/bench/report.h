/*
 * report.h - What a benchmark program found, as JSON for scripts/bench.
 *
 *   {"format": 1, "benchmark": "queue", "machine": {...}, "setup": {...}, "rows": [ROW...]}
 *
 * A row is one figure: name, unit, which way is better, value (a median where there were
 * several), low and high (quartiles), n. It may have a floor in the same unit, "where" (the
 * numbers and words that place it in a drawing) and "detail" (whatever else was seen, in the
 * row's unit unless its name says otherwise). scripts/bench adds commit, date and noise;
 * docs/performance.md documents the whole.
 *
 * Every function ends the program when it cannot go on.
 */
#ifndef TESTS_BENCH_REPORT_H
#define TESTS_BENCH_REPORT_H

#include "tests/bench/measure.h"

#define REPORT_FORMAT 1

struct cJSON;

enum report_better { REPORT_LOWER, REPORT_HIGHER };

struct cJSON *report_new(const char *benchmark);

/** report_part(report, name): the object ${name} of it, made when it is not there. */
struct cJSON *report_part(struct cJSON *report, const char *name);

/** report_row(report, name, unit, better, value): one more row; value.n 0: no quartiles. */
struct cJSON *report_row(struct cJSON *report, const char *name, const char *unit,
    enum report_better better, struct summary value);

/** report_number(part, name, value), report_text(part, name, value): into an object. */
void report_number(struct cJSON *part, const char *name, double value);
void report_text(struct cJSON *part, const char *name, const char *value);

/** report_write(report, path): as a file, "-" is standard output; frees ${report}. */
void report_write(struct cJSON *report, const char *path);

#endif /* TESTS_BENCH_REPORT_H */
