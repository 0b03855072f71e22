/*
 * json_strict.h - Bytes of a body -> a cJSON tree, by RFC 8259 and not a byte more.
 *
 * cJSON's own reader takes byte order marks, invalid UTF-8, raw control characters, `01`, text
 * after the value and duplicate names, and cuts strings at \u0000. The tree is plain cJSON in an
 * arena (api/tree.h).
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

#endif /* API_JSON_STRICT_H */
