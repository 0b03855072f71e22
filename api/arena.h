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

/** arena_take(a, size): ${size} bytes, aligned for pointers and doubles, not zeroed; or NULL. */
void *arena_take(struct arena *a, size_t size);

/** arena_clear(a): nothing that was taken is valid any more; ${a} is empty. */
void arena_clear(struct arena *a);

#endif /* API_ARENA_H */
