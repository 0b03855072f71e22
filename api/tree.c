/*
 * tree.c - Items that belong together, and which of their names are the same.
 */
#include "api/tree.h"

#include <stdlib.h>
#include <string.h>

/* Objects up to this size are compared pair by pair, larger ones sorted. */
#define PAIRWISE_MAX 12

struct name {
    const char *text;
    size_t ordinal; /* among all names of the document, from 1 */
};

static int
compare_names(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int order = strcmp(x->text, y->text);

    if (order != 0)
        return order;
    return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

/* The second of two equal ones among ${names}, NULL if there is none. Sorts large arrays. */
static const struct name *
second_of_two(struct name *names, size_t n)
{
    if (n <= PAIRWISE_MAX) {
        for (size_t i = 1; i < n; i++) {
            for (size_t j = 0; j < i; j++) {
                if (names[i].text[0] == names[j].text[0] &&
                    strcmp(names[i].text, names[j].text) == 0)
                    return &names[i];
            }
        }
        return NULL;
    }
    qsort(names, n, sizeof(*names), compare_names);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(names[i - 1].text, names[i].text) == 0)
            return &names[i];
    }
    return NULL;
}

struct tree_elder
tree_elder(const cJSON *before)
{
    bool is_object = before != NULL && before->type == cJSON_Object;

    return (struct tree_elder){.member = is_object ? before->child : NULL, .is_alike = is_object};
}

/* Room for the names of an object: ${few} [PAIRWISE_MAX] or malloc'ed; NULL without memory. */
static struct name *
room_for_names(const cJSON *object, struct name *few)
{
    const cJSON *child;
    size_t n = 0;

    cJSON_ArrayForEach(child, object) n++;
    return n > PAIRWISE_MAX ? malloc(n * sizeof(*few)) : few;
}

int
tree_has_twins(const cJSON *object, const struct tree_elder *elder)
{
    struct name few[PAIRWISE_MAX], *names;
    const cJSON *child;
    size_t n = 0;
    int found;

    if (elder->is_alike && elder->member == NULL) /* it has the names that were compared there */
        return 0;
    if ((names = room_for_names(object, few)) == NULL)
        return -1;
    cJSON_ArrayForEach(child, object) names[n++] = (struct name){.text = child->string};
    found = second_of_two(names, n) != NULL;
    if (names != few)
        free(names);
    return found;
}

/* ${n_names} counts the names passed. 1: found, *ordinal is set; 0; -1 without memory. */
static int
find_duplicate(const cJSON *value, size_t *n_names, size_t *ordinal)
{
    struct name few[PAIRWISE_MAX], *names = few;
    const struct name *second;
    const cJSON *child;
    size_t n = 0;
    int found = 0;

    if (cJSON_IsObject(value) && (names = room_for_names(value, few)) == NULL)
        return -1;
    cJSON_ArrayForEach(child, value)
    {
        if (cJSON_IsObject(value))
            names[n++] = (struct name){.text = child->string, .ordinal = ++*n_names};
        if (child->child != NULL && (found = find_duplicate(child, n_names, ordinal)) != 0)
            goto free_names;
    }
    if ((second = second_of_two(names, n)) != NULL) {
        *ordinal = second->ordinal;
        found = 1;
    }
free_names:
    if (names != few)
        free(names);
    return found;
}

int
tree_duplicate(const cJSON *tree, size_t *ordinal)
{
    size_t n_names = 0;

    return find_duplicate(tree, &n_names, ordinal);
}
