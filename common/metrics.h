/*
 * metrics.h - What this process counts: one line where something happens.
 *
 *   metrics_count(METRIC_HTTP_RESPONSES, "/v1/tasks/{id}", "200");
 *   metrics_observe(METRIC_REQUEST_DURATION, 0.012, "/v1/predict/single");
 *
 * Families and their labels are in metrics_families.h; labels are given in that order, all of them.
 * Any thread may call; a call takes a lock that is held for copies only. Cannot fail: what there is
 * no memory for is not counted, and beyond METRICS_FAMILY_MAX label sets of a family further ones are
 * "other". Text of a label that is too long is cut, and what would break a sample's name replaced.
 *
 * Increments wait here for metrics_batch(); common/queue/metrics.c takes them to Redis.
 */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum metric {
#define D(id, label, values)
#define F(id, name, type, buckets, help, ...) METRIC_##id,
#include "common/metrics_families.h"
    METRICS
};

/* the routes tasks come in by, as labels of those who do not see a request */
#define METRICS_SINGLE_ROUTE "/v1/predict/single"
#define METRICS_BATCH_ROUTE  "/v1/predict/batch"

#define METRICS_LABELS_MAX 3
#define METRICS_LABEL_MAX  80 /* bytes of a label's value, the end included */
#define METRICS_FIELD_MAX  320
#define METRICS_BATCH_MAX  2000 /* changes of one batch; more wait for the next */

/* labels: [METRICS_LABELS_MAX], the rest NULL */
void metrics_move(enum metric metric, double by, const char *const *labels);

#define METRICS_LABELS(...)                                                                        \
    (const char *const[METRICS_LABELS_MAX + 1])                                                    \
    {                                                                                              \
        __VA_ARGS__ __VA_OPT__(, ) NULL                                                            \
    }

/** metrics_count(metric, labels...): one more; metrics_add(metric, n, labels...): ${n} more. */
#define metrics_count(metric, ...)  metrics_move((metric), 1, METRICS_LABELS(__VA_ARGS__))
#define metrics_add(metric, n, ...) metrics_move((metric), (double)(n), METRICS_LABELS(__VA_ARGS__))

/** metrics_observe(metric, value, labels...): a HISTOGRAM has seen ${value}. */
#define metrics_observe(metric, value, ...)                                                        \
    metrics_move((metric), (value), METRICS_LABELS(__VA_ARGS__))

/** metrics_set(metric, value, labels...): a GAUGE is at ${value}. */
#define metrics_set(metric, value, ...)                                                            \
    metrics_move((metric), (double)(value), METRICS_LABELS(__VA_ARGS__))

/* ---- taking them elsewhere ---- */

/*
 * What has happened since the last batch that arrived, and how the gauges stand. A batch keeps its
 * number and its changes until metrics_batch_arrived(): whoever could not learn whether one arrived
 * sends it again, and who counts it looks at its number.
 */
struct metrics_batch {
    uint64_t number; /* from 1; 0: there is nothing to send but gauges */
    size_t n_gauges, n;
    struct metrics_change {
        char field[METRICS_FIELD_MAX];
        double value;
    } * changes; /* n_gauges gauges, then n increments */
};
/** metrics_batch(batch, err): for metrics_batch_clear(). */
int metrics_batch(struct metrics_batch *batch, struct error *err);
void metrics_batch_clear(struct metrics_batch *batch);
void metrics_batch_arrived(uint64_t number);

/** metrics_forget(): as if nothing had happened yet; for tests. */
void metrics_forget(void);

struct metrics_set;

/** metrics_unsent(set, with_gauges): add to ${set} what has not arrived. */
void metrics_unsent(struct metrics_set *set, bool with_gauges);

#endif /* COMMON_METRICS_H */
