/*
 * precision.c - How far half precision moves what the model says: beside float32, at every place.
 *
 * Teacher-forced over the histories of a golden file: each place sees the true tokens before it,
 * and both distributions of the next token, s1 and then s2 given the true s1, are compared with
 * those of float32: the Kullback-Leibler divergence of the one from the other, and how often
 * another token would be the best one.
 *
 *   build/release/tests/bench/precision MODEL_DIR TOKENIZER_DIR GOLDEN [--json FILE] [--max-context N]
 */
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/measure.h"
#include "tests/bench/report.h"
#include "tests/model/golden.h"
#include "worker/kronos/calendar.h"
#include "worker/kronos/forecast_internal.h"

#define NAME_MAX_SIZE 64

enum { S1, S2, HEADS };

/* Logits of all places of one history: [n, vocabulary] for each head. */
struct heard {
    float *logits[HEADS];
    size_t n, vocabulary[HEADS];
};

/* What half precision changed, over all places of all histories. */
struct change {
    double divergence, largest; /* sum and maximum, in nats */
    size_t n_places, n_flips;
};

static struct heard
heard_new(const struct model *model, size_t n)
{
    struct heard h = {.n = n};

    h.vocabulary[S1] = (size_t)1 << model->config.s1_bits;
    h.vocabulary[S2] = (size_t)1 << model->config.s2_bits;
    for (int head = 0; head < HEADS; head++)
        h.logits[head] = measure_take(n * h.vocabulary[head], sizeof(float));
    return h;
}

static void
heard_free(struct heard *h)
{
    free(h->logits[S1]);
    free(h->logits[S2]);
}

/* The first h->n + 1 places of a case through the model: place p predicts p + 1. */
static void
listen(struct forecast_pool *pool, const struct golden_case *c, struct heard *h)
{
    size_t n = h->n, d = pool->transformer.size.d;
    float *hidden = measure_take(n * d, sizeof(float));
    uint16_t *next = measure_take(n, sizeof(uint16_t));
    const float *last;

    for (size_t p = 0; p < n; p++) {
        struct calendar time;

        if (!calendar_split(c->minutes[p], &time))
            measure_die("golden", "a time out of the calendar");
        pool->tokens[p] = (struct transformer_token){.s1 = c->context_s1[p],
            .s2 = c->context_s2[p],
            .time = {time.minute, time.hour, time.weekday, time.day, time.month}};
        pool->rows[p] = (struct block_row){.own = pool->slots[0].slab, .position = (uint32_t)p};
        next[p] = c->context_s1[p + 1];
    }
    last = transformer_pass(&pool->transformer, pool->tokens, pool->rows, n, NULL, 0);
    memcpy(hidden, last, n * d * sizeof(float)); /* the heads use the same scratch */
    transformer_s1(&pool->transformer, hidden, n, h->logits[S1]);
    transformer_s2(&pool->transformer, hidden, next, pool->rows, n, h->logits[S2]);
    free(hidden);
    free(next);
}

/* log(sum(exp(logits))) and the best of them. */
static double
log_sum(const float *logits, size_t n, size_t *best)
{
    double sum = 0.0;

    *best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[*best])
            *best = i;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)logits[*best]);
    return (double)logits[*best] + log(sum);
}

static void
compare(const struct heard *whole, const struct heard *half, int head, struct change *change)
{
    size_t v = whole->vocabulary[head];

    for (size_t p = 0; p < whole->n; p++) {
        const float *a = whole->logits[head] + p * v, *b = half->logits[head] + p * v;
        size_t best_a, best_b;
        double log_a = log_sum(a, v, &best_a), log_b = log_sum(b, v, &best_b), divergence = 0.0;

        for (size_t i = 0; i < v; i++) {
            double p_a = exp((double)a[i] - log_a);

            divergence += p_a * (((double)a[i] - log_a) - ((double)b[i] - log_b));
        }
        change->divergence += divergence;
        change->largest = divergence > change->largest ? divergence : change->largest;
        change->n_flips += best_a != best_b;
        change->n_places++;
    }
}

/* ---- forms ---- */

struct form {
    enum packed_format weights, kv;
};

static struct forecast_pool *
open_form(const struct form *form, char **dirs, size_t context, struct model **model)
{
    struct model_options options = {.weights = form->weights};
    struct forecast_pool_options room = {
        .n_slots = 1, .max_context = (uint32_t)context, .clip = 5.0f, .kv = form->kv};
    struct forecast_pool *pool;
    struct error err;

    if ((*model = model_open(dirs[0], dirs[1], &options, &err)) == NULL)
        measure_die("model", err.text);
    if ((pool = forecast_pool_new(*model, &room, &err)) == NULL)
        measure_die("pool", err.text);
    return pool;
}

static void
tell(struct cJSON *result, const char *form, int head, const struct change *change)
{
    const char *token = head == S1 ? "s1" : "s2";
    char name[NAME_MAX_SIZE];
    struct cJSON *row, *detail;

    /* Rounding may leave a divergence of nothing a little below zero. */
    snprintf(name, sizeof(name), "%s: divergence of %s", form, token);
    row = report_row(result, name, "nat", REPORT_LOWER,
        (struct summary){.median = fmax(change->divergence, 0.0) / (double)change->n_places});
    report_number(report_part(row, "detail"), "largest", change->largest);
    snprintf(name, sizeof(name), "%s: another best %s", form, token);
    row = report_row(result, name, "%", REPORT_LOWER,
        (struct summary){.median = 100.0 * (double)change->n_flips / (double)change->n_places});
    detail = report_part(row, "where");
    report_number(detail, "places", (double)change->n_places);
}

/* Place p of a history says something about p + 1. */
static size_t
places_of(const struct golden_case *c, size_t context)
{
    size_t n = c->n_past < context ? c->n_past : context;

    return (n < BLOCK_ROWS_MAX ? n : BLOCK_ROWS_MAX) - 1;
}

static void
measure_form(const struct golden *golden, const struct form *form, char **dirs, size_t context,
    struct cJSON *result)
{
    static const struct form float32 = {PACKED_F32, PACKED_F32};
    struct model *model[2];
    struct forecast_pool *whole = open_form(&float32, dirs, context, &model[0]);
    struct forecast_pool *half = open_form(form, dirs, context, &model[1]);
    struct change change[HEADS] = {{0}};

    for (size_t i = 0; i < golden->n_cases; i++) {
        const struct golden_case *c = &golden->cases[i];
        struct heard a, b;

        if (c->n_past < 2)
            continue;
        a = heard_new(model[0], places_of(c, context));
        b = heard_new(model[0], places_of(c, context));
        listen(whole, c, &a);
        listen(half, c, &b);
        for (int head = 0; head < HEADS; head++)
            compare(&a, &b, head, &change[head]);
        heard_free(&a);
        heard_free(&b);
    }
    if (change[S1].n_places == 0)
        measure_die("golden", "no history of two bars or more");
    for (int head = 0; head < HEADS; head++)
        tell(result, forecast_pool_precision(half), head, &change[head]);
    forecast_pool_free(whole);
    forecast_pool_free(half);
    model_close(model[0]);
    model_close(model[1]);
}

int
main(int argc, char **argv)
{
    static const struct form forms[] = {
        {PACKED_F16, PACKED_F32}, {PACKED_F32, PACKED_F16}, {PACKED_F16, PACKED_F16}};
    static const struct option known[] = {
        {"json", required_argument, NULL, 'j'},
        {"max-context", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    struct cJSON *result;
    const char *json = "-";
    struct golden *golden;
    size_t context = 512;
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'j':
            json = optarg;
            break;
        case 'c':
            context = measure_number("--max-context", optarg, 2, MODEL_CONTEXT_MAX);
            break;
        default:
            return 2;
        }
    }
    if (argc - optind != 3)
        measure_die("usage", "precision [options] MODEL_DIR TOKENIZER_DIR GOLDEN");
    golden = golden_open(argv[optind + 2]);
    result = report_new("precision");
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        measure_form(golden, &forms[i], argv + optind, context, result);
    report_number(report_part(result, "setup"), "context", (double)context);
    report_write(result, json);
    golden_close(golden);
    return 0;
}
