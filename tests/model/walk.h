/*
 * walk.h - Histories to forecast: random walks, the same for a seed.
 */
#ifndef TESTS_MODEL_WALK_H
#define TESTS_MODEL_WALK_H

#include <stddef.h>
#include <stdint.h>

#include "tests/model/engine_run.h"

#define WALK_LENGTH_MAX 128

/** walk_random(state): the next of a sequence of numbers; ${state} is not 0. */
uint64_t walk_random(uint64_t *state);

/* Candles 37 minutes apart from a Saturday in February on: hours, days and months turn. */
struct walk {
    float history[WALK_LENGTH_MAX * FORECAST_FIELDS];
    int64_t minutes[2 * WALK_LENGTH_MAX];
};

/** walk_make(w, seed): fill ${w} and return it. */
const struct walk *walk_make(struct walk *w, uint64_t seed);

/** walk_series(w, n_past, horizon): its first bars; both at most WALK_LENGTH_MAX. */
struct engine_series walk_series(const struct walk *w, size_t n_past, size_t horizon);

#endif /* TESTS_MODEL_WALK_H */
