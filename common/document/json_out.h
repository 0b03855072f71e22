/*
 * json_out.h - Writing JSON where cJSON is not enough: numbers of forecasts. And the same
 * tree as msgpack, so that a document is described once.
 *
 * A growing text; commas and quotes are the writer's business. binary32 values are
 * the shortest decimal that reads back to the same binary32, others the shortest
 * double; NaN and infinities become null. Strings must be UTF-8 (checked on input).
 */
#ifndef COMMON_DOCUMENT_JSON_OUT_H
#define COMMON_DOCUMENT_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_OUT_DEPTH 32

struct json_out {
    char *text; /* malloc'ed, not terminated; free with json_out_clear */
    size_t len, capacity;
    bool failed; /* out of memory; every later call does nothing */
    bool needs_comma;
    bool is_msgpack; /* set it right after json_out_init() */
    size_t depth; /* msgpack: containers that are open, whose counts are filled in at their end */
    struct {
        size_t at; /* of the count */
        uint32_t n;
    } open[JSON_OUT_DEPTH];
};

void json_out_init(struct json_out *out);
void json_out_clear(struct json_out *out);

void json_out_open(
    struct json_out *out, const char *name, char bracket); /* '{' or '['; name NULL in arrays */
void json_out_close(struct json_out *out, char bracket);   /* '}' or ']' */
void json_out_text(
    struct json_out *out, const char *name, const char *value); /* NULL value: null */
void json_out_text_n(struct json_out *out, const char *name, const char *value, size_t len);
void json_out_integer(struct json_out *out, const char *name, int64_t value);
void json_out_float(struct json_out *out, const char *name, float value);
void json_out_double(struct json_out *out, const char *name, double value);
void json_out_bool(struct json_out *out, const char *name, bool value);
void json_out_null(struct json_out *out, const char *name);
void json_out_raw(struct json_out *out, const char *name, const char *json,
    size_t len); /* already JSON; not for msgpack */
void json_out_bytes(struct json_out *out, const char *name, const void *bytes,
    size_t len); /* msgpack only: a bin */

/* Shortest decimals; ${text} [32]; return the length. */
size_t json_format_float(float value, char *text);
size_t json_format_double(double value, char *text);

#endif /* COMMON_DOCUMENT_JSON_OUT_H */
