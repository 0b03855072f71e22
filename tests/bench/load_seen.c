/*
 * load_seen.c - Latencies and throughput of a load generator's tasks.
 */
#include "tests/bench/load_seen.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/measure.h"
#include "tests/bench/report.h"

#define CURVE_POINTS 101

struct seen *
load_seen_add(struct load_seen *s)
{
    if (s->n == s->size) {
        s->size = s->size > 0 ? 2 * s->size : 1024;
        s->all = realloc(s->all, s->size * sizeof(*s->all));
        if (s->all == NULL || s->n >= LOAD_TASKS_MAX)
            measure_die("memory", "no room for more tasks");
    }
    memset(&s->all[s->n], 0, sizeof(*s->all));
    return &s->all[s->n++];
}

void
load_seen_clear(struct load_seen *s)
{
    free(s->all);
}

static void
add_latency(struct cJSON *result, const char *name, double *values, size_t n)
{
    struct summary s = measure_summary(values, n);
    struct cJSON *row = report_row(result, name, "s", REPORT_LOWER, s);
    struct cJSON *part = report_part(row, "detail");
    cJSON *curve = cJSON_AddArrayToObject(row, "quantiles");

    report_number(part, "p95", measure_quantile(values, n, 0.95));
    report_number(part, "p99", measure_quantile(values, n, 0.99));
    report_number(part, "max", values[n - 1]);
    for (int i = 0; i < CURVE_POINTS; i++)
        cJSON_AddItemToArray(
            curve, cJSON_CreateNumber(measure_quantile(values, n, i / (CURVE_POINTS - 1.0))));
}

void
load_seen_latencies(const struct load_seen *s, struct cJSON *report, bool have_ended)
{
    double *values[4];
    size_t n = 0;

    for (size_t i = 0; i < 4; i++)
        values[i] = measure_take(s->n, sizeof(double));
    for (size_t i = 0; i < s->n; i++) {
        const struct seen *one = &s->all[i];

        if (!one->is_counted)
            continue;
        values[0][n] = one->submit;
        values[1][n] = one->wait;
        values[2][n] = one->run;
        values[3][n++] = one->end_to_end;
    }
    if (n > 0) {
        add_latency(report, "submit", values[0], n);
        if (have_ended) {
            add_latency(report, "wait", values[1], n);
            add_latency(report, "run", values[2], n);
            add_latency(report, "end to end", values[3], n);
        }
    }
    for (size_t i = 0; i < 4; i++)
        free(values[i]);
}

double
load_seen_last(const struct load_seen *s)
{
    double last = 0.0;

    for (size_t i = 0; i < s->n; i++)
        last = s->all[i].finished > last ? s->all[i].finished : last;
    return last;
}

double
load_seen_throughput(const struct load_seen *s, double from, double to)
{
    double done = 0.0;

    for (size_t i = 0; i < s->n; i++) {
        const struct seen *one = &s->all[i];
        double begin = one->started > from ? one->started : from;
        double end = one->finished < to ? one->finished : to;

        if (one->finished > one->started)
            done += end > begin ? (end - begin) / (one->finished - one->started) : 0.0;
        else
            done += one->finished >= from && one->finished < to ? 1.0 : 0.0;
    }
    return done / (to - from);
}
