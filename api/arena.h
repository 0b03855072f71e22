/*
 * arena.h - Memory that is taken piece by piece and given back all at once.
 *
 * For the tree of a body: thousands of small values that live and die together. A zeroed
 * struct arena is an empty one and costs nothing.
 */
#ifndef API_ARENA_H
#define API_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* the one in use first */
    char *free;                 /* in it */
    size_t left;
};

#define ARENA_ALIGNMENT 8 /* that of pointers and doubles */

/** arena_take_block(a, size): for arena_take() alone: what it cannot do itself. */
void *arena_take_block(struct arena *a, size_t size);

/** arena_take(a, size): ${size} bytes, aligned for pointers and doubles, not zeroed; or NULL. */
static inline void *
arena_take(struct arena *a, size_t size)
{
    size_t rounded = (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    void *taken = a->free;

    if (rounded == 0 || rounded > a->left) /* 0: of nothing, or too large to be rounded */
        return arena_take_block(a, size);
    a->free += rounded;
    a->left -= rounded;
    return taken;
}

/** arena_clear(a): nothing that was taken is valid any more; ${a} is empty. */
void arena_clear(struct arena *a);

#endif /* API_ARENA_H */
