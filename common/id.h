/*
 * id.h - Task, request and worker ids: lower-case UUID text from libuuid.
 */
#ifndef COMMON_ID_H
#define COMMON_ID_H

#include <stdbool.h>
#include <stdint.h>

#define ID_LEN 36 /* characters of a UUID, without the terminator */

/** id_new(id): a random UUID (RFC 9562 version 4) into ${id} [ID_LEN + 1]. */
void id_new(char *id);

/** id_hash(id): spreads ids over a table of buckets. */
uint32_t id_hash(const char *id);

/** id_is_valid(text): 36 characters, lower-case hexadecimal and hyphens in their places. */
bool id_is_valid(const char *text);

#endif /* COMMON_ID_H */
