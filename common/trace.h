/*
 * trace.h - W3C Trace Context: the traceparent header, read strictly.
 */
#ifndef COMMON_TRACE_H
#define COMMON_TRACE_H

#include <stdbool.h>
#include <stddef.h>

#define TRACE_PARENT_LEN 55 /* "00-<32 hex>-<16 hex>-<2 hex>" */
#define TRACE_ID_LEN     32

/**
 * trace_parent_read(text, parent): a traceparent of any version as one of version 00, into ${parent}
 * [TRACE_PARENT_LEN + 1]. False, and "", when it must be ignored: malformed, upper case, version ff,
 * or an id of zeros.
 */
bool trace_parent_read(const char *text, char *parent);

/** trace_id_of(parent, id): "" of "", into ${id} [TRACE_ID_LEN + 1]. */
void trace_id_of(const char *parent, char *id);

/** trace_id_is_valid(id, len): 32 lower-case hexadecimal digits, not all 0. */
bool trace_id_is_valid(const char *id, size_t len);

#endif /* COMMON_TRACE_H */
