/*
 * json_strict.h - Bytes of a body -> a cJSON tree, by RFC 8259 and not a byte more.
 *
 * cJSON's own reader takes byte order marks, invalid UTF-8, raw control characters, `01`, text
 * after the value and duplicate names, and cuts strings at \u0000. The tree is plain cJSON in an
 * arena: another front end (msgpack) builds the same one, and what goes on judges both.
 */
#ifndef API_JSON_STRICT_H
#define API_JSON_STRICT_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "api/arena.h"
#include "api/decimal.h"

#define JSON_STRICT_DEPTH_MAX  16          /* arrays and objects inside each other */
#define JSON_STRICT_NUMBER_MAX DECIMAL_MAX /* bytes of one number */

struct json_fault {
    size_t offset; /* of the first byte that is wrong; the size where the text ends too early */
    const char *reason; /* static text, "a value is expected"; NULL: out of memory */
};

/**
 * json_strict_parse(text, size, max_values, arena, fault):
 * Read ${text} as one JSON value: grammar, UTF-8 without byte order mark, no lone surrogate, no
 * \u0000, at most JSON_STRICT_DEPTH_MAX deep, at most ${max_values} values, no object with two
 * members of one name, nothing after it. The tree lies in ${arena}, which the caller clears when
 * done, also after NULL with ${fault}; cJSON_Delete() is not for it.
 */
cJSON *json_strict_parse(const char *text, size_t size, size_t max_values, struct arena *arena,
    struct json_fault *fault);

/* ---- building such a tree ---- */

/** json_strict_new_item(arena): a null without a name, or NULL. */
cJSON *json_strict_new_item(struct arena *arena);
void json_strict_set_number(cJSON *item, double value);
/** json_strict_append(parent, item): ${item} becomes the last of an array or object. */
void json_strict_append(cJSON *parent, cJSON *item);

/**
 * json_strict_duplicate(tree, ordinal):
 * Find an object with two members of one name. Returns 1 with ${ordinal}, which counts the
 * names of the document from 1; 0 if there is none; -1 without memory.
 */
int json_strict_duplicate(const cJSON *tree, size_t *ordinal);

#endif /* API_JSON_STRICT_H */
