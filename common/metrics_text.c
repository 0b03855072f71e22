/*
 * metrics_text.c - Samples as Prometheus reads them: text format 0.0.4.
 *
 * Every family has its HELP and TYPE line, also one without samples.
 */
#include "common/metrics_set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
type_name(enum metric_type type)
{
    switch (type) {
    case METRIC_HISTOGRAM:
        return "histogram";
    case METRIC_GAUGE:
    case METRIC_SCRAPED:
        return "gauge";
    case METRIC_COUNTER:
    case METRIC_SCRAPED_COUNTER:
        break;
    }
    return "counter";
}

/* The shortest of two precisions that reads back. */
static void
write_value(FILE *out, double value)
{
    char text[40];

    if (isnan(value)) {
        fputs(" NaN\n", out);
        return;
    }
    snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof(text), "%.17g", value);
    fprintf(out, " %s\n", text);
}

static void
write_label(FILE *out, char before, const char *name, const char *value)
{
    fprintf(out, "%c%s=\"", before, name);
    for (; *value != '\0'; value++) { /* printable ASCII, as metrics_set.c lets it in */
        if (*value == '\\' || *value == '"')
            fputc('\\', out);
        fputc(*value, out);
    }
    fputc('"', out);
}

/* ${le}: the upper end of a bucket, NULL where there is none. */
static void
write_sample(FILE *out, const struct metrics_sample *sample, const char *suffix, const char *le,
    double value)
{
    const struct metrics_family *family = &metrics_families[sample->metric];
    char before = '{';

    fprintf(out, "%s%s", family->name, suffix);
    for (size_t i = 0; i < metrics_n_labels(sample->metric); i++, before = ',')
        write_label(out, before, family->dimensions[i]->label, sample->labels[i]);
    if (le != NULL) {
        write_label(out, before, "le", le);
        before = ',';
    }
    if (before == ',')
        fputc('}', out);
    write_value(out, value);
}

static void
write_histogram(FILE *out, const struct metrics_sample *sample)
{
    const struct metrics_family *family = &metrics_families[sample->metric];
    double count = 0;
    char le[24];

    for (size_t i = 0; i <= family->n_bounds; i++) {
        count += sample->values[i];
        if (i < family->n_bounds)
            snprintf(le, sizeof(le), "%g", family->bounds[i]);
        write_sample(out, sample, "_bucket", i < family->n_bounds ? le : "+Inf", count);
    }
    write_sample(out, sample, "_sum", NULL, sample->values[family->n_bounds + 1]);
    write_sample(out, sample, "_count", NULL, count);
}

static int
compare_samples(const void *a, const void *b)
{
    const struct metrics_sample *one = *(struct metrics_sample *const *)a;
    const struct metrics_sample *two = *(struct metrics_sample *const *)b;

    if (one->metric != two->metric)
        return one->metric < two->metric ? -1 : 1;
    return memcmp(one->labels, two->labels, sizeof(one->labels));
}

static void
write_family(FILE *out, enum metric metric, struct metrics_sample *const *samples, size_t n)
{
    const struct metrics_family *family = &metrics_families[metric];

    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
        type_name(family->type));
    for (size_t i = 0; i < n; i++) {
        if (family->type == METRIC_HISTOGRAM)
            write_histogram(out, samples[i]);
        else
            write_sample(out, samples[i], "", NULL, samples[i]->values[0]);
    }
}

char *
metrics_set_text(struct metrics_set *set, size_t *size)
{
    size_t n = metrics_set_count(set), first = 0;
    struct metrics_sample **sorted = calloc(n > 0 ? n : 1, sizeof(struct metrics_sample *));
    char *text = NULL;
    FILE *out = sorted != NULL ? open_memstream(&text, size) : NULL;

    if (out == NULL) {
        free(sorted);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = metrics_set_at(set, i);
    qsort(sorted, n, sizeof(*sorted), compare_samples);
    for (int m = 0; m < METRICS; m++) {
        size_t end = first;

        while (end < n && sorted[end]->metric == (enum metric)m)
            end++;
        write_family(out, (enum metric)m, sorted + first, end - first);
        first = end;
    }
    free(sorted);
    if (ferror(out) != 0) {
        fclose(out);
        free(text);
        return NULL;
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
