/*
 * sampler.c - From logits to a token.
 *
 * Logits are compared as they come and divided by T only after their maximum was taken off:
 * the order and the probabilities are the same, and a tiny T cannot overflow. Cumulative
 * probabilities are added in double, in a fixed order, and compared as float.
 */
#include "worker/kronos/sampler.h"

#include <math.h>
#include <string.h>

#include "worker/kronos/kernels.h"

bool
sampler_is_greedy(const struct sampler_options *options)
{
    return options->temperature == 0.0f || options->top_k == 1;
}

/* The lowest index among equals; a NaN is never the best. */
static size_t
best_of(const float *logits, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i])))
            best = i;
    return best;
}

/* A float as an integer that sorts the other way round: the largest float first. */
static uint32_t
descending_key(float x)
{
    uint32_t bits;

    x += 0.0f; /* -0 and 0 are equal */
    memcpy(&bits, &x, sizeof(bits));
    return bits >> 31 ? bits : ~(bits | UINT32_C(0x80000000));
}

/*
 * scratch->order: indices by descending logit, ties by ascending index; scratch->key beside it. A
 * radix sort: four stable turns over a byte each, 10 us for 1024 where qsort takes 100.
 */
static void
sort_descending(const float *logits, size_t n, struct sampler_scratch *s)
{
    for (size_t i = 0; i < n; i++) {
        s->key[i] = descending_key(logits[i]);
        s->order[i] = (uint16_t)i;
    }
    for (int shift = 0; shift < 32; shift += 8) {
        uint32_t start[256] = {0}, *key = s->key;
        uint16_t *order = s->order;
        uint32_t sum = 0;

        for (size_t i = 0; i < n; i++)
            start[key[i] >> shift & 255]++;
        for (int b = 0; b < 256; b++) {
            uint32_t count = start[b];

            start[b] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++) {
            uint32_t to = start[key[i] >> shift & 255]++;

            s->key_next[to] = key[i];
            s->order_next[to] = order[i];
        }
        s->key = s->key_next;
        s->order = s->order_next;
        s->key_next = key;
        s->order_next = order;
    }
}

/* Take away the weight of all that top_k or top_p leaves out. */
static void
restrict_weights(
    const float *logits, size_t n, const struct sampler_options *options, struct sampler_scratch *s)
{
    size_t kept;

    if (options->top_k > 0 ? options->top_k >= n : options->top_p >= 1.0f)
        return;
    sort_descending(logits, n, s);
    if (options->top_k > 0) {
        kept = options->top_k;
        while (kept < n && s->key[kept] == s->key[kept - 1])
            kept++; /* ties with the k-th stay */
    } else {
        double sum = 0.0, preceding = 0.0;

        for (size_t i = 0; i < n; i++)
            sum += (double)s->weight[s->order[i]];
        /* The crossing token stays: dropped is what comes after more than top_p. */
        for (kept = 0; kept < n; kept++) {
            if (kept > 0 && (float)preceding > options->top_p)
                break;
            preceding += (double)(float)((double)s->weight[s->order[kept]] / sum);
        }
    }
    for (size_t i = kept; i < n; i++)
        s->weight[s->order[i]] = 0.0f;
}

int
sampler_draw(const float *logits, size_t n, const struct sampler_options *options, double unit,
    const struct sampler_scratch *scratch, uint16_t *token)
{
    struct sampler_scratch s = *scratch; /* sorting turns its pairs over */
    size_t best = best_of(logits, n), last = best;
    double sum = 0.0, target, reached = 0.0;

    *token = (uint16_t)best;
    if (!isfinite(logits[best]))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (isnan(logits[i]))
            return -1;
    if (sampler_is_greedy(options))
        return 0;

    for (size_t i = 0; i < n; i++)
        s.weight[i] = (logits[i] - logits[best]) / options->temperature;
    kernels_exp(s.weight, s.weight, n);
    restrict_weights(logits, n, options, &s);

    /* The inverse of the distribution function, tokens in the order of the vocabulary. */
    for (size_t i = 0; i < n; i++)
        sum += (double)s.weight[i];
    target = unit * sum;
    for (size_t i = 0; i < n; i++) {
        if (s.weight[i] == 0.0f)
            continue;
        reached += (double)s.weight[i];
        last = i;
        if (reached > target)
            break;
    }
    *token = (uint16_t)last; /* also when rounding let the target slip past the end */
    return 0;
}
