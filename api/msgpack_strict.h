/*
 * msgpack_strict.h - Bytes of a msgpack body -> the cJSON tree its JSON form would give.
 *
 * Refused: bin and ext, names that are no text, duplicate names, texts that are not UTF-8 or
 * hold a NUL, depth over JSON_STRICT_DEPTH_MAX, bytes after the value. All number types are
 * numbers; NaN and infinities are left to whoever knows the field.
 */
#ifndef API_MSGPACK_STRICT_H
#define API_MSGPACK_STRICT_H

#include "api/json_strict.h"

/**
 * msgpack_strict_parse(data, size, max_values, arena, fault):
 * The tree in ${arena}, as json_strict_parse() gives it; NULL with ${fault}, whose offset is that
 * of the value or name that is wrong. Memory grows with the bytes read, not with promised lengths.
 */
cJSON *msgpack_strict_parse(const void *data, size_t size, size_t max_values, struct arena *arena,
    struct json_fault *fault);

#endif /* API_MSGPACK_STRICT_H */
