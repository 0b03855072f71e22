/*
 * golden.h - What the Python reference returned, and how close is close.
 *
 * tests/data/golden/SIZE-seedSEED.json, one file per random model; the model itself is
 * written by scripts/test-models.
 */
#ifndef TESTS_MODEL_GOLDEN_H
#define TESTS_MODEL_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/kronos/model.h"

/* Two values nearer than this are a tie: which is larger is rounding, not the model. */
#define GOLDEN_TIE    1e-5f
#define GOLDEN_LOGIT  1e-4f /* absolute */
#define GOLDEN_COLUMN 1e-4f /* of a forecast, relative to the range of its column */

struct golden_case {
    char *name;
    size_t n_past, horizon, max_context, samples;
    float *history;   /* [n_past, 6] */
    int64_t *minutes; /* [n_past + horizon] */
    uint16_t *context_s1, *context_s2;
    uint16_t *generated_s1, *generated_s2;    /* of the first sample */
    float *forecast;                          /* [horizon, 6], mean over samples */
    float *first_s1_logits, *first_s2_logits; /* NULL where not recorded */
    size_t n_s1_logits, n_s2_logits;
};

struct golden {
    struct golden_case *cases;
    size_t n_cases;
};

/**
 * golden_open(name): "tiny-seed7" of tests/data/golden, from the root of the project.
 * A file that is missing or wrong is a broken checkout: it ends the program with a line.
 */
struct golden *golden_open(const char *name);
void golden_close(struct golden *golden);

/** golden_model(name): the model "tiny-seed7"; ends the program saying how to make it. */
struct model *golden_model(const char *name);

/** golden_is_full(): KRONOSQ_FULL=1, also the real shapes. */
bool golden_is_full(void);

/**
 * golden_tolerance(history, n_past, expected, horizon, column):
 * GOLDEN_COLUMN of the range of the column over both, but no less than what four
 * roundings of its largest value come to. A column that is constant in the history has
 * no range to speak of (its forecast is noise of 1e-5): there, of the largest value.
 */
float golden_tolerance(
    const float *history, size_t n_past, const float *expected, size_t horizon, size_t column);

/**
 * golden_compare_forecast(what, history, n_past, expected, found, horizon):
 * True when all of ${found} [horizon, 6] is within the tolerance; else says where not.
 */
bool golden_compare_forecast(const char *what, const float *history, size_t n_past,
    const float *expected, const float *found, size_t horizon);

/** golden_compare_logits(what, expected, found, n): the same for logits. */
bool golden_compare_logits(const char *what, const float *expected, const float *found, size_t n);

/** golden_first_difference(a, b, n): the first index at which they differ, or ${n}. */
size_t golden_first_difference(const uint16_t *a, const uint16_t *b, size_t n);

#endif /* TESTS_MODEL_GOLDEN_H */
