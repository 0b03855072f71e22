/*
 * msgpack_strict.c - A msgpack body as a cJSON tree, by the cursor of common/msgpack_read.
 *
 * The tree is the one a JSON body gives, so everything behind it is judged by the same code
 * and answered with the same words.
 */
#include "api/msgpack_strict.h"

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "api/tree.h"
#include "common/msgpack_read.h"

struct builder {
    struct msgpack_read in;
    struct arena *arena;
    size_t depth;
    size_t values_left;
    size_t names_left; /* names before the wanted one; SIZE_MAX: none is wanted */
    size_t wanted_at;  /* where the wanted name starts, once passed */
    size_t fault_at;   /* where the value or name starts that is wrong */
    bool has_twins;    /* two members of one name in some map */
    bool out_of_memory;
};

static cJSON *build(struct builder *b, const cJSON *elder);

static cJSON *
refuse(struct builder *b, size_t at, const char *reason)
{
    (void)msgpack_read_fault(&b->in, reason);
    b->fault_at = at;
    return NULL;
}

static cJSON *
new_item(struct builder *b, int type)
{
    cJSON *item = tree_new_item(b->arena);

    if (item != NULL)
        item->type = type;
    else
        b->out_of_memory = true;
    return item;
}

static cJSON *
new_number(struct builder *b, double value)
{
    cJSON *item = new_item(b, cJSON_Number);

    if (item != NULL)
        tree_set_number(item, value);
    return item;
}

static char *
copy_text(struct builder *b, const char *text, size_t len)
{
    char *copy = arena_take(b->arena, len + 1);

    if (copy == NULL) {
        b->out_of_memory = true;
        return NULL;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

/* Is this the first byte of a text? */
static bool
is_text(uint8_t first)
{
    return (first & 0xE0) == 0xA0 || (first >= 0xD9 && first <= 0xDB);
}

static cJSON *
build_text(struct builder *b, size_t at)
{
    const char *text;
    cJSON *item;
    size_t len;

    if (msgpack_read_text(&b->in, &text, &len) == -1)
        return refuse(b, at, "a text that cannot be read");
    if ((item = new_item(b, cJSON_String)) == NULL)
        return NULL;
    item->valuestring = copy_text(b, text, len);
    return item->valuestring != NULL ? item : NULL;
}

/* float32 and float64 are read here, because the cursor refuses what is not finite. */
static cJSON *
build_real(struct builder *b, size_t at, size_t n)
{
    const uint8_t *bytes = b->in.data + b->in.at + 1;
    double value;

    if (b->in.size - b->in.at < 1 + n)
        return refuse(b, at, "cut off");
    if (n == 4) {
        uint32_t bits;
        float single;

        memcpy(&bits, bytes, sizeof(bits));
        bits = be32toh(bits);
        memcpy(&single, &bits, sizeof(single));
        value = (double)single;
    } else {
        uint64_t bits;

        memcpy(&bits, bytes, sizeof(bits));
        bits = be64toh(bits);
        memcpy(&value, &bits, sizeof(value));
    }
    b->in.at += 1 + n;
    return new_number(b, value);
}

/* Passes the name at the cursor if it is ${name}, which was sound where it stood. */
static bool
skip_name(struct builder *b, const char *name)
{
    const uint8_t *at = b->in.data + b->in.at;
    size_t left = b->in.size - b->in.at, len;

    if (left == 0 || (at[0] & 0xE0) != 0xA0) /* longer than 31 bytes: no name of ours */
        return false;
    len = at[0] & 0x1F;
    if (left - 1 < len || strncmp(name, (const char *)at + 1, len) != 0 || name[len] != '\0')
        return false;
    b->in.at += 1 + len;
    return true;
}

/* The name of the next member, or NULL. */
static char *
build_name(struct builder *b, struct tree_elder *elder)
{
    size_t at = b->in.at, len;
    const char *text;

    if (b->names_left != SIZE_MAX && b->names_left-- == 0) {
        b->wanted_at = at;
        b->names_left = SIZE_MAX;
    }
    if (elder->member != NULL && skip_name(b, elder->member->string)) {
        char *name = elder->member->string;

        elder->member = elder->member->next;
        return name;
    }
    elder->is_alike = false;
    elder->member = NULL;
    if (at < b->in.size && !is_text(b->in.data[at])) {
        (void)refuse(b, at, "a name that is no text");
        return NULL;
    }
    if (msgpack_read_text(&b->in, &text, &len) == -1) {
        (void)refuse(b, at, "a name that cannot be read");
        return NULL;
    }
    return copy_text(b, text, len);
}

static bool
add_member(struct builder *b, cJSON *object, struct tree_elder *elder)
{
    char *name = build_name(b, elder);
    cJSON *item;

    if (name == NULL || (item = build(b, NULL)) == NULL)
        return false;
    item->string = name;
    tree_append(object, item);
    return true;
}

static bool
add_element(struct builder *b, cJSON *array)
{
    cJSON *item = build(b, tree_last(array));

    if (item == NULL)
        return false;
    tree_append(array, item);
    return true;
}

static cJSON *
build_container(struct builder *b, size_t at, bool is_map, const cJSON *before)
{
    struct tree_elder elder = tree_elder(before);
    struct msgpack_map map;
    uint32_t n;
    cJSON *tree;

    if (b->depth == JSON_STRICT_DEPTH_MAX)
        return refuse(b, at, "nested deeper than 16");
    if ((is_map ? msgpack_read_map(&b->in, &map) : msgpack_read_array(&b->in, &n)) == -1)
        return refuse(b, at, "cut off");
    if (is_map)
        n = map.left;
    if ((tree = new_item(b, is_map ? cJSON_Object : cJSON_Array)) == NULL)
        return NULL;
    b->depth++;
    for (uint32_t i = 0; i < n; i++) {
        if (!(is_map ? add_member(b, tree, &elder) : add_element(b, tree)))
            return NULL;
    }
    if (is_map) {
        int found = tree_has_twins(tree, &elder);

        b->has_twins |= found == 1;
        b->out_of_memory |= found == -1;
        if (found == -1)
            return NULL;
    }
    b->depth--;
    return tree;
}

/* ${elder}: the value before it in an array, or NULL. */
static cJSON *
build(struct builder *b, const cJSON *elder)
{
    size_t at = b->in.at;
    uint8_t first;
    bool flag;
    double value;

    if (at == b->in.size)
        return refuse(b, at, "cut off");
    if (b->values_left-- == 0) {
        b->values_left = 0;
        return refuse(b, at, "more values than any request has");
    }
    first = b->in.data[at];
    if ((first & 0xF0) == 0x80 || first == 0xDE || first == 0xDF)
        return build_container(b, at, true, elder);
    if ((first & 0xF0) == 0x90 || first == 0xDC || first == 0xDD)
        return build_container(b, at, false, NULL);
    if (is_text(first))
        return build_text(b, at);
    if (first >= 0xC4 && first <= 0xC6)
        return refuse(b, at, "a bin, which no member is");
    if (first == 0xCA || first == 0xCB)
        return build_real(b, at, first == 0xCA ? 4 : 8);
    if (msgpack_read_nil(&b->in))
        return new_item(b, cJSON_NULL);
    if (first == 0xC2 || first == 0xC3) {
        (void)msgpack_read_bool(&b->in, &flag);
        return new_item(b, flag ? cJSON_True : cJSON_False);
    }
    if (msgpack_read_real(&b->in, &value) == -1) /* an integer, or a type nobody uses */
        return refuse(b, at, "a value that cannot be read");
    return new_number(b, value);
}

static cJSON *
build_document(struct builder *b, const void *data, size_t size)
{
    cJSON *tree;

    msgpack_read_init(&b->in, data, size);
    tree = build(b, NULL);
    if (tree != NULL && b->in.at != size)
        return refuse(b, b->in.at, "bytes after the value");
    return tree;
}

cJSON *
msgpack_strict_parse(
    const void *data, size_t size, size_t max_values, struct arena *arena, struct json_fault *fault)
{
    struct builder b = {.arena = arena, .values_left = max_values, .names_left = SIZE_MAX};
    struct builder again = {.arena = arena, .values_left = max_values};
    size_t ordinal = 0;
    cJSON *tree = build_document(&b, data, size);

    *fault = (struct json_fault){0};
    if (tree == NULL) {
        if (!b.out_of_memory)
            *fault = (struct json_fault){.offset = b.fault_at, .reason = b.in.fault};
        return NULL;
    }
    if (!b.has_twins)
        return tree;
    if (tree_duplicate(tree, &ordinal) != 1)
        return NULL; /* no memory to find out which */
    arena_clear(arena);
    again.names_left = ordinal - 1;
    if (build_document(&again, data, size) == NULL)
        return NULL; /* sound a moment ago: this is memory */
    fault->offset = again.wanted_at;
    fault->reason = "a name occurs twice in one map";
    return NULL;
}
