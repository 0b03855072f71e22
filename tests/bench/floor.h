/*
 * floor.h - The time nobody could go below: arithmetic over P, bytes over B.
 */
#ifndef TESTS_BENCH_FLOOR_H
#define TESTS_BENCH_FLOOR_H

#include <stddef.h>
#include <stdint.h>

#include "tests/bench/machine.h"
#include "worker/kronos/forecast.h"

struct floor_task { /* a forecast, of one task alone */
    size_t n_past, horizon, context;
    uint32_t samples;
    enum forecast_window window;
};

/*
 * Prefill, slid windows and tokenizer by their arithmetic; every other step by the weights it reads
 * once for all samples or by their arithmetic, whichever takes longer. ${with_kv} also reads keys and values: the history's once per task and
 * step, each sample's own.
 */
struct floor_seconds {
    double bare, with_kv;
};
struct floor_seconds floor_of_forecast(
    const struct machine *machine, const struct model *model, const struct floor_task *task);

/** floor_of_step(machine, model, m): m sequences once through the weights: max(bytes/B, FLOP/P). */
double floor_of_step(const struct machine *machine, const struct model *model, uint32_t m);

/*
 * The seconds one task costs a core that steps ${slots} sequences together, all the time: its own
 * arithmetic, its keys and values, and its share of the steps.
 */
struct floor_seconds floor_of_share(const struct machine *machine, const struct model *model,
    const struct floor_task *task, uint32_t slots);

#endif /* TESTS_BENCH_FLOOR_H */
