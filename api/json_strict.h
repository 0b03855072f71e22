/*
 * json_strict.h - Bytes of a body -> a cJSON tree, by RFC 8259 and not a byte more.
 *
 * cJSON alone takes byte order marks, invalid UTF-8, raw control characters, `01`, text after
 * the value and duplicate names, and cuts strings at \u0000. So the bytes are scanned first.
 * The tree is plain cJSON: another front end (msgpack) may build the same one.
 */
#ifndef API_JSON_STRICT_H
#define API_JSON_STRICT_H

#include <cjson/cJSON.h>
#include <stddef.h>

#define JSON_STRICT_DEPTH_MAX  16 /* arrays and objects inside each other */
#define JSON_STRICT_NUMBER_MAX 63 /* bytes of one number; cJSON reads no more */

struct json_fault {
    size_t offset; /* of the first byte that is wrong; the size where the text ends too early */
    const char *reason; /* static text, "a value is expected"; NULL: out of memory */
};

/**
 * json_strict_scan(text, size, max_values, fault):
 * Is ${text} one JSON value: grammar, UTF-8 without byte order mark, no lone surrogate, no
 * \u0000, at most JSON_STRICT_DEPTH_MAX deep, at most ${max_values} values, nothing after it?
 * Duplicate names are not seen. Returns 0, or -1 with ${fault}.
 */
int json_strict_scan(const char *text, size_t size, size_t max_values, struct json_fault *fault);

/**
 * json_strict_parse(text, size, max_values, fault):
 * Scan, parse and refuse duplicate names. The tree is the caller's to cJSON_Delete(); NULL
 * with ${fault}.
 */
cJSON *json_strict_parse(
    const char *text, size_t size, size_t max_values, struct json_fault *fault);

/** json_strict_number(text, size): length of the JSON number ${text} starts with, 0 if none. */
size_t json_strict_number(const char *text, size_t size);

/**
 * json_strict_duplicate(tree, ordinal):
 * Find an object with two members of one name. Returns 1 with ${ordinal}, which counts the
 * names of the document from 1; 0 if there is none; -1 without memory.
 */
int json_strict_duplicate(const cJSON *tree, size_t *ordinal);

#endif /* API_JSON_STRICT_H */
