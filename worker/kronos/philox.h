/*
 * philox.h - Philox4x32-10: random numbers as a function of (key, counter), without state.
 *
 * Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
 */
#ifndef WORKER_KRONOS_PHILOX_H
#define WORKER_KRONOS_PHILOX_H

#include <stdint.h>

struct philox_block {
    uint32_t word[4];
};

/** philox(counter, key): ten rounds; the low half of ${key} is its first word. */
struct philox_block philox(struct philox_block counter, uint64_t key);

/** philox_unit(block): the first two words as a number in [0, 1) with 53 random bits. */
double philox_unit(struct philox_block block);

#endif /* WORKER_KRONOS_PHILOX_H */
