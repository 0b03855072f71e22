/*
 * route.c - The route table: which handler answers a method and a path.
 *
 * No decoding, no folding of "//" or "/./", no trailing slash: a path that needs reading
 * twice is read differently twice.
 */
#include "api/route.h"

#include <stdio.h>
#include <string.h>

/* Does ${path} match? ${param} gets what {id} stands for. */
static bool
matches(const char *pattern, const char *path, char *param)
{
    const char *hole = strstr(pattern, "{id}");
    const char *rest;
    size_t before, len;

    param[0] = '\0';
    if (hole == NULL)
        return strcmp(pattern, path) == 0;
    before = (size_t)(hole - pattern);
    if (strncmp(pattern, path, before) != 0)
        return false;
    len = strcspn(path + before, "/");
    rest = hole + strlen("{id}");
    if (len == 0 || strcmp(path + before + len, rest) != 0)
        return false;
    if (len > ROUTE_PARAM_MAX)
        len = ROUTE_PARAM_MAX; /* still longer than any id, so it names nothing */
    memcpy(param, path + before, len);
    param[len] = '\0';
    return true;
}

static const char *
method_name(enum head_method method)
{
    switch (method) {
    case HEAD_METHOD_GET:
        return "GET, HEAD";
    case HEAD_METHOD_POST:
        return "POST";
    case HEAD_METHOD_DELETE:
        return "DELETE";
    default:
        return "";
    }
}

static void
list_method(char *allow, enum head_method method)
{
    size_t len = strlen(allow);

    snprintf(allow + len, ROUTE_ALLOW_MAX - len, "%s%s", len > 0 ? ", " : "", method_name(method));
}

enum route_outcome
route_find(const struct route *table, size_t n, enum head_method method, const char *path,
    struct route_match *match)
{
    const char *pattern = NULL;

    *match = (struct route_match){0};
    if (method == HEAD_METHOD_UNKNOWN)
        return ROUTE_UNKNOWN_METHOD;
    if (method == HEAD_METHOD_HEAD)
        method = HEAD_METHOD_GET;
    for (size_t i = 0; i < n; i++) {
        if (pattern != NULL ? strcmp(table[i].pattern, pattern) != 0
                            : !matches(table[i].pattern, path, match->param))
            continue;
        pattern = table[i].pattern;
        if (table[i].serve == NULL)
            return ROUTE_UNKNOWN_PATH;
        if (table[i].method == method) {
            match->route = &table[i];
            return ROUTE_FOUND;
        }
        list_method(match->allow, table[i].method);
    }
    return pattern != NULL ? ROUTE_OTHER_METHOD : ROUTE_UNKNOWN_PATH;
}
