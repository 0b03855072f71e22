/*
 * arena.c - Blocks that double, so that a small body costs little and a large one few blocks.
 */
#include "api/arena.h"

#include <stdint.h>
#include <stdlib.h>

#define FIRST_BYTES ((size_t)4 * 1024)
#define MOST_BYTES  ((size_t)4 * 1024 * 1024) /* of one block, unless a piece is larger */
#define ALIGNMENT   ((size_t)ARENA_ALIGNMENT)

struct arena_block {
    struct arena_block *next;
    size_t size; /* of what follows */
};

_Static_assert(sizeof(struct arena_block) % ALIGNMENT == 0, "what follows a block is aligned");

static int
add_block(struct arena *a, size_t least)
{
    size_t size = a->blocks != NULL ? a->blocks->size * 2 : FIRST_BYTES;
    struct arena_block *block;

    if (size > MOST_BYTES)
        size = MOST_BYTES;
    if (size < least)
        size = least;
    if ((block = malloc(sizeof(*block) + size)) == NULL)
        return -1;
    block->next = a->blocks;
    block->size = size;
    a->blocks = block;
    a->free = (char *)(block + 1);
    a->left = size;
    return 0;
}

void *
arena_take_block(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = size > 0 ? (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1) : ALIGNMENT;
    return size <= a->left || add_block(a, size) == 0 ? arena_take(a, size) : NULL;
}

void
arena_clear(struct arena *a)
{
    struct arena_block *next;

    for (struct arena_block *block = a->blocks; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    *a = (struct arena){0};
}
