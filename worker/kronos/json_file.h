/*
 * json_file.h - Read JSON that somebody else wrote: bounded, complete, no name twice.
 *
 * For config.json and the header of a safetensors file; the only user of cJSON here
 * besides those two.
 */
#ifndef WORKER_KRONOS_JSON_FILE_H
#define WORKER_KRONOS_JSON_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "common/error.h"

/**
 * json_file_parse(text, length, err):
 * ${text} need not end in a NUL. Returns an object for cJSON_Delete(), or NULL with
 * ERR_INVALID when it is no JSON, not an object, is followed by something, or when any
 * object in it has one name twice. The text of ${err} says what, not where: the caller
 * knows the file.
 */
cJSON *json_file_parse(const char *text, size_t length, struct error *err);

/** json_file_read(path, max_bytes, err): the same of a whole file; ${err} names it. */
cJSON *json_file_read(const char *path, size_t max_bytes, struct error *err);

/**
 * json_file_size(value, out): a non-negative integer that a double holds exactly.
 * Returns 0, or -1 when ${value} is anything else (NULL too).
 */
int json_file_size(const cJSON *value, uint64_t *out);

/**
 * json_file_uint(object, name, min, max, out, err):
 * The integer ${name} of ${object}, within limits; else -1 with ERR_INVALID.
 */
int json_file_uint(const cJSON *object, const char *name, uint32_t min, uint32_t max, uint32_t *out,
    struct error *err);

#endif /* WORKER_KRONOS_JSON_FILE_H */
