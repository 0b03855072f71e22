/*
 * tree.h - The tree of a body, as its readers build it: plain cJSON items in an arena.
 *
 * JSON and msgpack become the same tree, and what goes on judges both. Objects in an array mostly
 * have the names of the one before, their elder, in its order. Then they share the elder's texts,
 * which were judged there, and need not be compared with each other again.
 */
#ifndef API_TREE_H
#define API_TREE_H

#include <cjson/cJSON.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/arena.h"

/* These are called for each of thousands of values, so they are here. */

/** tree_new_item(arena): a null without a name, or NULL. */
static inline cJSON *
tree_new_item(struct arena *arena)
{
    cJSON *item = arena_take(arena, sizeof(*item));

    if (item != NULL)
        *item = (cJSON){.type = cJSON_NULL};
    return item;
}

static inline void
tree_set_number(cJSON *item, double value)
{
    item->type = cJSON_Number;
    item->valuedouble = value;
    /* cJSON's own rule for it */
    item->valueint = value >= INT_MAX ? INT_MAX : value <= INT_MIN ? INT_MIN : (int)value;
}

/** tree_append(parent, item): ${item} becomes the last of an array or object. */
static inline void
tree_append(cJSON *parent, cJSON *item)
{
    cJSON *first = parent->child;

    if (first == NULL) {
        parent->child = item->prev = item;
        return;
    }
    item->prev = first->prev; /* that of the first is the last: so cJSON keeps it */
    item->prev->next = item;
    first->prev = item;
}

/** tree_last(parent): its last item so far, NULL if it has none. */
static inline const cJSON *
tree_last(const cJSON *parent)
{
    return parent->child != NULL ? parent->child->prev : NULL;
}

/* While an object is built: how far it has the names of the one before it in the same array. */
struct tree_elder {
    const cJSON *member; /* whose name is expected next; NULL: none is */
    bool is_alike;       /* there is such an object, and all names so far were its */
};

/** tree_elder(before): at the start of an object; ${before} of it in an array, or NULL. */
struct tree_elder tree_elder(const cJSON *before);

/** tree_has_twins(object, elder): at its end: are two names the same? 1, 0; -1: no memory. */
int tree_has_twins(const cJSON *object, const struct tree_elder *elder);

/**
 * tree_duplicate(tree, ordinal):
 * Find an object with two members of one name. Returns 1 with ${ordinal}, which counts the
 * names of the document from 1; 0 if there is none; -1 without memory.
 */
int tree_duplicate(const cJSON *tree, size_t *ordinal);

#endif /* API_TREE_H */
