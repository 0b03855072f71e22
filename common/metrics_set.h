/*
 * metrics_set.h - Samples by family and labels: those of a process, or those of one scrape.
 *
 * Bounded: METRICS_FAMILY_MAX label sets of a family, further ones are "other". One set is not for two
 * threads at once.
 */
#ifndef COMMON_METRICS_SET_H
#define COMMON_METRICS_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/metrics.h"

#define METRICS_FAMILY_MAX  1024
#define METRICS_BUCKETS_MAX 16 /* values of a sample: buckets, +Inf, the sum */

enum metric_type {
    METRIC_COUNTER,
    METRIC_HISTOGRAM,
    METRIC_GAUGE,
    METRIC_SCRAPED,
    METRIC_SCRAPED_COUNTER
};

struct metrics_dimension {
    const char *label;
    const char *values; /* known from the start, between blanks; "*": the models */
};

struct metrics_family {
    const char *name, *help;
    enum metric_type type;
    const double *bounds; /* of a histogram: upper ends of its buckets, +Inf is not among them */
    size_t n_bounds;
    const struct metrics_dimension *dimensions[METRICS_LABELS_MAX]; /* label NULL: there is none */
};

extern const struct metrics_family metrics_families[METRICS];

/** metrics_n_labels(metric): of its dimensions, the first ones. */
size_t metrics_n_labels(enum metric metric);

/** metrics_n_values(metric): of one sample: 1; of a histogram its buckets, +Inf and the sum. */
size_t metrics_n_values(enum metric metric);

struct metrics_sample {
    enum metric metric;
    char labels[METRICS_LABELS_MAX][METRICS_LABEL_MAX];
    double
        values[METRICS_BUCKETS_MAX]; /* of a histogram: each bucket by itself, +Inf, then the sum */
    /* of a process's own set: what a batch holds, and what has arrived */
    double sent[METRICS_BUCKETS_MAX], arrived[METRICS_BUCKETS_MAX];
};

struct metrics_set;

struct metrics_set *metrics_set_new(void); /* NULL: no memory */
void metrics_set_free(struct metrics_set *set);

size_t metrics_set_count(const struct metrics_set *set);
struct metrics_sample *metrics_set_at(struct metrics_set *set, size_t i);

/** metrics_set_find(set, metric, labels): found, or made with 0; NULL without memory. */
struct metrics_sample *metrics_set_find(
    struct metrics_set *set, enum metric metric, const char *const *labels);

/** metrics_set_move(set, metric, value, labels): as metrics_move() does. */
void metrics_set_move(
    struct metrics_set *set, enum metric metric, double value, const char *const *labels);

/** metrics_field(sample, i, field): the stored name of value ${i}, into ${field} [METRICS_FIELD_MAX]. */
void metrics_field(const struct metrics_sample *sample, size_t i, char *field);

/**
 * metrics_set_add_field(set, field, field_len, value, value_len): add what is stored under such a
 * name. What no version of ours would have written is left out: false.
 */
bool metrics_set_add_field(struct metrics_set *set, const char *field, size_t field_len,
    const char *value, size_t value_len);

/** metrics_set_add_change(set, change): the same of a batch's change. */
void metrics_set_add_change(struct metrics_set *set, const struct metrics_change *change);

/** metrics_set_add_set(set, other): add all samples of ${other}. */
void metrics_set_add_set(struct metrics_set *set, struct metrics_set *other);

/** metrics_set_expect(set, models, n): samples of 0 for all labels that are known, as of these models. */
void metrics_set_expect(struct metrics_set *set, const char *const *models, size_t n_models);

/**
 * metrics_set_text(set, size): Prometheus text format 0.0.4: every family, in the order of
 * metrics_families.h, samples by their labels. malloc'ed; NULL without memory.
 */
char *metrics_set_text(struct metrics_set *set, size_t *size);

#endif /* COMMON_METRICS_SET_H */
