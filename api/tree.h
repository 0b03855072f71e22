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
#include <stdbool.h>
#include <stddef.h>

#include "api/arena.h"

/** tree_new_item(arena): a null without a name, or NULL. */
cJSON *tree_new_item(struct arena *arena);
void tree_set_number(cJSON *item, double value);
/** tree_append(parent, item): ${item} becomes the last of an array or object. */
void tree_append(cJSON *parent, cJSON *item);

/** tree_last(parent): its last item so far, NULL if it has none. */
const cJSON *tree_last(const cJSON *parent);

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
