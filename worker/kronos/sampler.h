/*
 * sampler.h - Draw one token from logits: temperature, top-k or top-p, then a random number.
 *
 * Pure: the same logits, options and number give the same token, whoever asks.
 */
#ifndef WORKER_KRONOS_SAMPLER_H
#define WORKER_KRONOS_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sampler_options {
    float temperature; /* >= 0; 0 is greedy */
    uint32_t top_k;    /* 0: off; else top_p is ignored, as the reference does */
    float top_p;       /* (0, 1] */
};

/* Room for a vocabulary; all of V entries, the caller's. */
struct sampler_scratch {
    float *weight;            /* exp((logit - max) / T) */
    uint32_t *key, *key_next; /* sorting keys, two turns */
    uint16_t *order, *order_next;
};

/** sampler_is_greedy(options): no random number is needed. */
bool sampler_is_greedy(const struct sampler_options *options);

/**
 * sampler_draw(logits, n, options, unit, scratch, token):
 * Draw from the ${n} logits with ${unit} in [0, 1). ${n} is 1..65536. Returns 0, or -1 when the
 * logits are not finite enough to draw from; ${token} is below ${n} either way.
 */
int sampler_draw(const float *logits, size_t n, const struct sampler_options *options, double unit,
    const struct sampler_scratch *scratch, uint16_t *token);

#endif /* WORKER_KRONOS_SAMPLER_H */
