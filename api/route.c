/*
 * route.c - The route table: which handler answers a method and a path.
 *
 * No decoding, no folding of "//" or "/./", no trailing slash: a path that needs reading
 * twice is read differently twice.
 */
#include "api/route.h"

#include <stdio.h>
#include <string.h>

/* Does ${path} match? ${params} get what the holes stand for. */
static bool
matches(const char *pattern, const char *path, char params[ROUTE_PARAMS][ROUTE_PARAM_MAX + 1])
{
    for (size_t i = 0; i < ROUTE_PARAMS; i++)
        params[i][0] = '\0';
    for (size_t i = 0; i < ROUTE_PARAMS; i++) {
        size_t before = strcspn(pattern, "{"), len;

        if (pattern[before] == '\0')
            break;
        if (strncmp(pattern, path, before) != 0)
            return false;
        pattern += before + strcspn(pattern + before, "}") + 1;
        path += before;
        if ((len = strcspn(path, "/")) == 0)
            return false;
        /* what is cut is still longer than any name, so it names nothing */
        snprintf(params[i], ROUTE_PARAM_MAX + 1, "%.*s",
            (int)(len < ROUTE_PARAM_MAX ? len : ROUTE_PARAM_MAX), path);
        path += len;
    }
    return strcmp(pattern, path) == 0;
}

static const char *
method_name(const struct route *route)
{
    switch (route->method) {
    case HEAD_METHOD_GET:
        return (route->flags & ROUTE_STREAMS) != 0 ? "GET" : "GET, HEAD";
    case HEAD_METHOD_POST:
        return "POST";
    case HEAD_METHOD_DELETE:
        return "DELETE";
    default:
        return "";
    }
}

static void
list_method(char *allow, const struct route *route)
{
    size_t len = strlen(allow);

    snprintf(allow + len, ROUTE_ALLOW_MAX - len, "%s%s", len > 0 ? ", " : "", method_name(route));
}

static bool
serves(const struct route *route, enum head_method method)
{
    if (method == HEAD_METHOD_HEAD && (route->flags & ROUTE_STREAMS) == 0)
        method = HEAD_METHOD_GET;
    return route->method == method;
}

enum route_outcome
route_find(const struct route *table, size_t n, enum head_method method, const char *path,
    struct route_match *match)
{
    const char *pattern = NULL;

    *match = (struct route_match){0};
    if (method == HEAD_METHOD_UNKNOWN)
        return ROUTE_UNKNOWN_METHOD;
    for (size_t i = 0; i < n; i++) {
        if (pattern != NULL ? strcmp(table[i].pattern, pattern) != 0
                            : !matches(table[i].pattern, path, match->params))
            continue;
        pattern = table[i].pattern;
        if (table[i].serve == NULL)
            return ROUTE_UNKNOWN_PATH;
        if (serves(&table[i], method)) {
            match->route = &table[i];
            return ROUTE_FOUND;
        }
        list_method(match->allow, &table[i]);
    }
    return pattern != NULL ? ROUTE_OTHER_METHOD : ROUTE_UNKNOWN_PATH;
}
