/*
 * machine.h - What this machine can do: P, the FLOP/s of OpenBLAS at the shape of a prefill (the
 * engine multiplies by itself), and B, the bytes/s of reading the packed weights where they lie.
 * One thread.
 */
#ifndef TESTS_BENCH_MACHINE_H
#define TESTS_BENCH_MACHINE_H

#include <stddef.h>

#include "worker/kronos/model.h"

struct cJSON;

#define MACHINE_REPEATS 5 /* measurements of each; the best is the machine, their spread is noise */

struct machine {
    double flops, bytes;               /* P, B: per second, the best of all so far */
    double bytes_in_large_pages;       /* the same amount of anonymous memory */
    double flops_worst, bytes_worst;   /* of the repeats, ... */
    double flops_spread, bytes_spread; /* ... 1 - worst / best */
};

/** machine_measure(model): half a second. */
struct machine machine_measure(const struct model *model);

/** machine_measure_again(machine, model): at the end of a run; what changed is in the spreads. */
void machine_measure_again(struct machine *machine, const struct model *model);

/** machine_describe(machine, part): CPU, cores, kernel, OpenBLAS core, P and B into a JSON object. */
void machine_describe(const struct machine *machine, struct cJSON *part);

/** machine_step_linears(model, out): everything one decode step reads, in its order. */
#define MACHINE_LINEARS_MAX (7 * MODEL_LAYERS_MAX + 7)
size_t machine_step_linears(const struct model *model, const struct linear **out);

double machine_step_bytes(const struct model *model); /* of them all */
double machine_step_flop(const struct model *model);  /* of one sequence */

#endif /* TESTS_BENCH_MACHINE_H */
