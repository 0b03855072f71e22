/*
 * philox.c - Philox4x32-10. tests/unit/philox_test.c has the authors' known answers.
 */
#include "worker/kronos/philox.h"

#define ROUNDS 10

/* Multipliers of a round and increments of the key (Weyl sequence), from the paper. */
#define MULTIPLY_0 0xD2511F53u
#define MULTIPLY_1 0xCD9E8D57u
#define WEYL_0     0x9E3779B9u
#define WEYL_1     0xBB67AE85u

struct philox_block
philox(struct philox_block counter, uint64_t key)
{
    uint32_t key0 = (uint32_t)key, key1 = (uint32_t)(key >> 32);
    uint32_t *c = counter.word;

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t a = (uint64_t)MULTIPLY_0 * c[0], b = (uint64_t)MULTIPLY_1 * c[2];
        uint32_t c0 = (uint32_t)(b >> 32) ^ c[1] ^ key0, c2 = (uint32_t)(a >> 32) ^ c[3] ^ key1;

        c[0] = c0;
        c[1] = (uint32_t)b;
        c[2] = c2;
        c[3] = (uint32_t)a;
        key0 += WEYL_0;
        key1 += WEYL_1;
    }
    return counter;
}

double
philox_unit(struct philox_block block)
{
    uint64_t bits = (uint64_t)block.word[1] << 32 | block.word[0];

    return (double)(bits >> 11) * 0x1p-53;
}
