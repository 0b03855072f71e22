/*
 * metrics_set.c - The families, and a table of samples by family and labels.
 *
 * Knows the stored names of samples: "<family without kronos_>|<label>|...", and for a value of a
 * histogram the upper end of its bucket, "+Inf" or "sum" behind that. What is read back is hostile.
 */
#include "common/metrics_set.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_PREFIX "kronos_"
#define SEPARATOR   '|'
#define OTHER       "other"
#define VALUE_MAX   1e15 /* what is more was not counted by us */
#define VALUE_LEN   40   /* digits of a stored value */
#define FIRST_ROOM  64

/* clang-format off */
static const double bounds_SECONDS[] = {.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600};
static const double bounds_CANDLES[] = {50, 100, 200, 400, 800, 1600, 2048};
static const double bounds_POWERS[] = {1, 2, 4, 8, 16, 32, 64};
static const double bounds_RATIO[] = {.25, .5, .8, 1, 1.25, 2, 4};
static const double bounds_NONE[] = {0};
/* clang-format on */

enum dimension {
#define D(id, label, values) DIMENSION_##id,
#define F(...)
#include "common/metrics_families.h"
};

static const struct metrics_dimension dimensions[] = {
#define D(id, label, values) {label, values},
#define F(...)
#include "common/metrics_families.h"
};

const struct metrics_family metrics_families[METRICS] = {
#define D(...)
#define F(id, name, type, buckets, help, a, b, c)                                                  \
    {name, help, METRIC_##type, bounds_##buckets,                                                  \
        METRIC_##type == METRIC_HISTOGRAM ? sizeof(bounds_##buckets) / sizeof(double) : 0,         \
        {&dimensions[DIMENSION_##a], &dimensions[DIMENSION_##b], &dimensions[DIMENSION_##c]}},
#include "common/metrics_families.h"
};

struct metrics_set {
    struct metrics_sample **samples; /* [n] in order of appearance */
    size_t n, room;
    uint32_t *slots; /* [2 * room]: 1 + an index of samples, by hash; 0: free */
    size_t n_of[METRICS];
};

size_t
metrics_n_labels(enum metric metric)
{
    size_t n = 0;

    while (n < METRICS_LABELS_MAX && metrics_families[metric].dimensions[n]->label != NULL)
        n++;
    return n;
}

size_t
metrics_n_values(enum metric metric)
{
    const struct metrics_family *family = &metrics_families[metric];

    return family->type == METRIC_HISTOGRAM ? family->n_bounds + 2 : 1;
}

/* ---- the table ---- */

struct metrics_set *
metrics_set_new(void)
{
    return calloc(1, sizeof(struct metrics_set));
}

void
metrics_set_free(struct metrics_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->n; i++)
        free(set->samples[i]);
    free(set->samples);
    free(set->slots);
    free(set);
}

size_t
metrics_set_count(const struct metrics_set *set)
{
    return set->n;
}

struct metrics_sample *
metrics_set_at(struct metrics_set *set, size_t i)
{
    return set->samples[i];
}

/* FNV-1a over the family and the labels. */
static uint32_t
hash_of(enum metric metric, char labels[][METRICS_LABEL_MAX])
{
    uint32_t hash = (2166136261u ^ (uint32_t)metric) * 16777619u;

    for (size_t i = 0; i < METRICS_LABELS_MAX; i++) {
        for (const char *c = labels[i]; *c != '\0'; c++)
            hash = (hash ^ (unsigned char)*c) * 16777619u;
        hash = (hash ^ 0xFF) * 16777619u;
    }
    return hash;
}

/* Its slot, or the free one where it would be; room is a power of two and slots never full. */
static uint32_t *
slot_of(const struct metrics_set *set, enum metric metric, char labels[][METRICS_LABEL_MAX])
{
    size_t mask = 2 * set->room - 1, i = hash_of(metric, labels) & mask;

    for (; set->slots[i] != 0; i = (i + 1) & mask) {
        const struct metrics_sample *sample = set->samples[set->slots[i] - 1];

        if (sample->metric == metric && memcmp(sample->labels, labels, sizeof(sample->labels)) == 0)
            break;
    }
    return &set->slots[i];
}

static int
grow(struct metrics_set *set)
{
    size_t room = set->room > 0 ? 2 * set->room : FIRST_ROOM;
    struct metrics_sample **samples = realloc(set->samples, room * sizeof(struct metrics_sample *));
    uint32_t *slots;

    if (samples == NULL)
        return -1;
    set->samples = samples;
    if ((slots = calloc(2 * room, sizeof(*slots))) == NULL)
        return -1;
    free(set->slots);
    set->slots = slots;
    set->room = room;
    for (size_t i = 0; i < set->n; i++)
        *slot_of(set, samples[i]->metric, samples[i]->labels) = (uint32_t)i + 1;
    return 0;
}

/* A label as it may stand in a sample's name; the rest of ${to} is zeroed, so that labels compare. */
static void
copy_label(char *to, const char *from, size_t len)
{
    size_t n = len < METRICS_LABEL_MAX - 1 ? len : METRICS_LABEL_MAX - 1;

    memset(to, 0, METRICS_LABEL_MAX);
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] < ' ' || from[i] > '~' || from[i] == SEPARATOR ? '_' : from[i];
}

static struct metrics_sample *
find(struct metrics_set *set, enum metric metric, char labels[][METRICS_LABEL_MAX])
{
    struct metrics_sample *sample;
    uint32_t *slot;

    if (set->n == set->room && grow(set) == -1)
        return NULL;
    slot = slot_of(set, metric, labels);
    if (*slot != 0)
        return set->samples[*slot - 1];
    if (set->n_of[metric] >= METRICS_FAMILY_MAX) {
        for (size_t i = 0; i < metrics_n_labels(metric); i++)
            copy_label(labels[i], OTHER, strlen(OTHER));
        slot = slot_of(set, metric, labels);
        if (*slot != 0)
            return set->samples[*slot - 1];
    }
    if ((sample = calloc(1, sizeof(*sample))) == NULL)
        return NULL;
    sample->metric = metric;
    memcpy(sample->labels, labels, sizeof(sample->labels));
    set->samples[set->n++] = sample;
    *slot = (uint32_t)set->n;
    set->n_of[metric]++;
    return sample;
}

struct metrics_sample *
metrics_set_find(struct metrics_set *set, enum metric metric, const char *const *labels)
{
    char copied[METRICS_LABELS_MAX][METRICS_LABEL_MAX] = {{0}};

    for (size_t i = 0; i < metrics_n_labels(metric); i++) {
        const char *label = labels[i] != NULL ? labels[i] : "";

        copy_label(copied[i], label, strlen(label));
        if (labels[i] == NULL)
            break; /* labels end here */
    }
    return find(set, metric, copied);
}

void
metrics_set_move(
    struct metrics_set *set, enum metric metric, double value, const char *const *labels)
{
    const struct metrics_family *family = &metrics_families[metric];
    struct metrics_sample *sample = metrics_set_find(set, metric, labels);
    size_t i = 0;

    if (sample == NULL || !(value >= 0) || value > VALUE_MAX) /* not for nan */
        return;
    switch (family->type) {
    case METRIC_HISTOGRAM:
        while (i < family->n_bounds && value > family->bounds[i])
            i++;
        sample->values[i]++;
        sample->values[family->n_bounds + 1] += value;
        break;
    case METRIC_GAUGE:
        sample->values[0] = value;
        break;
    default:
        sample->values[0] += value;
        break;
    }
}

void
metrics_set_add_set(struct metrics_set *set, struct metrics_set *other)
{
    for (size_t i = 0; i < other->n; i++) {
        const struct metrics_sample *from = other->samples[i];
        char labels[METRICS_LABELS_MAX][METRICS_LABEL_MAX];
        struct metrics_sample *to;

        memcpy(labels, from->labels, sizeof(labels));
        if ((to = find(set, from->metric, labels)) == NULL)
            continue;
        for (size_t v = 0; v < metrics_n_values(from->metric); v++)
            to->values[v] += from->values[v];
    }
}

/* ---- stored names ---- */

/* What stands behind the labels for value ${i} of a histogram. */
static void
value_name(const struct metrics_family *family, size_t i, char *name, size_t size)
{
    if (i < family->n_bounds)
        snprintf(name, size, "%g", family->bounds[i]);
    else
        snprintf(name, size, "%s", i == family->n_bounds ? "+Inf" : "sum");
}

void
metrics_field(const struct metrics_sample *sample, size_t i, char *field)
{
    const struct metrics_family *family = &metrics_families[sample->metric];
    size_t n = strlen(family->name) - strlen(NAME_PREFIX);
    char value[24];

    memcpy(field, family->name + strlen(NAME_PREFIX), n + 1);
    for (size_t l = 0; l < metrics_n_labels(sample->metric); l++) {
        size_t len = strlen(sample->labels[l]);

        field[n++] = SEPARATOR;
        memcpy(field + n, sample->labels[l], len + 1);
        n += len;
    }
    if (family->type == METRIC_HISTOGRAM) {
        value_name(family, i, value, sizeof(value));
        snprintf(field + n, METRICS_FIELD_MAX - n, "%c%s", SEPARATOR, value);
    }
}

static bool
family_of(const char *name, size_t len, enum metric *metric)
{
    for (int m = 0; m < METRICS; m++) {
        const char *own = metrics_families[m].name + strlen(NAME_PREFIX);

        if (strlen(own) == len && memcmp(own, name, len) == 0) {
            *metric = (enum metric)m;
            return true;
        }
    }
    return false;
}

/* The part of a field up to the next separator; ${at} goes behind it. NULL: there is none. */
static const char *
next_part(const char **at, const char *end, size_t *len)
{
    const char *part = *at, *stop;

    if (part == NULL)
        return NULL;
    stop = memchr(part, SEPARATOR, (size_t)(end - part));
    *len = (size_t)((stop != NULL ? stop : end) - part);
    *at = stop != NULL ? stop + 1 : NULL;
    return part;
}

static bool
read_value(const char *text, size_t len, double *value)
{
    char copy[VALUE_LEN + 1], *end;

    if (len < 1 || len > VALUE_LEN || text[0] < '0' || text[0] > '9')
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *value = strtod(copy, &end); /* which takes 0x10, too */
    return strspn(copy, "0123456789.e+-") == len && end == copy + len && *value >= 0 &&
           *value <= VALUE_MAX;
}

static bool
add_number(struct metrics_set *set, const char *field, size_t field_len, double number)
{
    char labels[METRICS_LABELS_MAX][METRICS_LABEL_MAX] = {{0}}, name[24];
    const char *at = field, *end = field + field_len, *part;
    const struct metrics_family *family;
    struct metrics_sample *sample;
    size_t len, v = 0;
    enum metric metric;

    if (field_len >= METRICS_FIELD_MAX || (part = next_part(&at, end, &len)) == NULL ||
        !family_of(part, len, &metric))
        return false;
    family = &metrics_families[metric];
    if (family->type == METRIC_SCRAPED || family->type == METRIC_SCRAPED_COUNTER)
        return false;
    for (size_t i = 0; i < metrics_n_labels(metric); i++) {
        if ((part = next_part(&at, end, &len)) == NULL || len >= METRICS_LABEL_MAX)
            return false;
        copy_label(labels[i], part, len);
    }
    if (family->type == METRIC_HISTOGRAM) {
        if ((part = next_part(&at, end, &len)) == NULL)
            return false;
        for (v = 0; v < metrics_n_values(metric); v++) {
            value_name(family, v, name, sizeof(name));
            if (strlen(name) == len && memcmp(name, part, len) == 0)
                break;
        }
        if (v == metrics_n_values(metric))
            return false;
    }
    if (at != NULL || (sample = find(set, metric, labels)) == NULL)
        return false;
    sample->values[v] += number;
    return true;
}

bool
metrics_set_add_field(struct metrics_set *set, const char *field, size_t field_len,
    const char *value, size_t value_len)
{
    double number;

    return read_value(value, value_len, &number) && add_number(set, field, field_len, number);
}

void
metrics_set_add_change(struct metrics_set *set, const struct metrics_change *change)
{
    (void)add_number(set, change->field, strlen(change->field), change->value);
}

/* ---- samples that are there before anything happens ---- */

static void
expect(struct metrics_set *set, enum metric metric, size_t depth, const char **labels,
    const char *const *models, size_t n_models)
{
    const char *values, *end;

    if (depth == metrics_n_labels(metric)) {
        (void)metrics_set_find(
            set, metric, labels); /* without memory it comes with its first event */
        return;
    }
    values = metrics_families[metric].dimensions[depth]->values;
    if (strcmp(values, "*") == 0) {
        for (size_t i = 0; i < n_models; i++) {
            labels[depth] = models[i];
            expect(set, metric, depth + 1, labels, models, n_models);
        }
        return;
    }
    for (; *values != '\0'; values = *end != '\0' ? end + 1 : end) {
        char value[METRICS_LABEL_MAX];

        end = strchrnul(values, ' ');
        snprintf(value, sizeof(value), "%.*s", (int)(end - values), values);
        labels[depth] = value;
        expect(set, metric, depth + 1, labels, models, n_models);
    }
}

void
metrics_set_expect(struct metrics_set *set, const char *const *models, size_t n_models)
{
    for (int m = 0; m < METRICS; m++) {
        const char *labels[METRICS_LABELS_MAX + 1] = {NULL};
        enum metric_type type = metrics_families[m].type;

        if (type == METRIC_COUNTER || type == METRIC_HISTOGRAM || type == METRIC_GAUGE)
            expect(set, (enum metric)m, 0, labels, models, n_models);
    }
}
