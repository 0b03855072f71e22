/*
 * trace.c - W3C Trace Context (REC 2021-11-23): the traceparent header, read strictly.
 *
 * version "-" trace-id "-" parent-id "-" trace-flags; a version above 00 may have more behind a
 * hyphen, which this version of the standard says to pass over.
 */
#include "common/trace.h"

#include <stdio.h>
#include <string.h>

#define HEX        "0123456789abcdef"
#define TRACE_AT   3
#define PARENT_AT  36
#define PARENT_LEN 16
#define FLAGS_AT   53
#define FLAGS_LEN  2

static bool
is_hex(const char *text, size_t len)
{
    return strspn(text, HEX) >= len;
}

static bool
is_zero(const char *text, size_t len)
{
    return strspn(text, "0") >= len;
}

bool
trace_id_is_valid(const char *id, size_t len)
{
    return len == TRACE_ID_LEN && is_hex(id, len) && !is_zero(id, len);
}

bool
trace_parent_read(const char *text, char *parent)
{
    size_t len = strlen(text);

    parent[0] = '\0';
    if (len < TRACE_PARENT_LEN || !is_hex(text, 2) || strncmp(text, "ff", 2) == 0 ||
        text[TRACE_AT - 1] != '-' || !trace_id_is_valid(text + TRACE_AT, TRACE_ID_LEN) ||
        text[PARENT_AT - 1] != '-' || !is_hex(text + PARENT_AT, PARENT_LEN) ||
        is_zero(text + PARENT_AT, PARENT_LEN) || text[FLAGS_AT - 1] != '-' ||
        !is_hex(text + FLAGS_AT, FLAGS_LEN))
        return false;
    if (len > TRACE_PARENT_LEN && (strncmp(text, "00", 2) == 0 || text[TRACE_PARENT_LEN] != '-'))
        return false;
    memcpy(parent, text, TRACE_PARENT_LEN);
    parent[TRACE_PARENT_LEN] = '\0';
    if (strncmp(text, "00", 2) != 0) { /* of another version only what 00 has is known */
        bool is_sampled = (strchr(HEX, text[FLAGS_AT + 1]) - HEX) % 2 == 1;

        memcpy(parent, "00", 2);
        parent[FLAGS_AT] = '0';
        parent[FLAGS_AT + 1] = is_sampled ? '1' : '0';
    }
    return true;
}

void
trace_id_of(const char *parent, char *id)
{
    size_t len = strlen(parent) == TRACE_PARENT_LEN ? TRACE_ID_LEN : 0;

    memcpy(id, parent + (len > 0 ? TRACE_AT : 0), len);
    id[len] = '\0';
}
