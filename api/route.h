/*
 * route.h - The route table: which handler answers a method and a path.
 *
 * Paths match byte for byte; "{id}" in a pattern matches one segment. Pure. To add a
 * route, add its line to the table in server.c.
 */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "api/head.h"

#define ROUTE_PARAM_MAX 128 /* bytes of a segment that {id} matches; longer names nothing */
#define ROUTE_ALLOW_MAX 64

struct exchange;

enum route_flags {
    ROUTE_NEEDS_BODY = 1,  /* 411 without Content-Length */
    ROUTE_NEGOTIATES = 2,  /* Accept is honoured: 406 */
    ROUTE_SHOWS_TASKS = 4, /* replies are documents of tasks */
};

struct route {
    enum head_method method; /* GET serves HEAD too */
    const char *pattern;
    unsigned flags;
    /* ${param}: what {id} matched, "" without; answers ${e} exactly once, now or later. NULL: the
     * path is known and reserved, and not served. */
    void (*serve)(struct exchange *e, const char *param);
};

enum route_outcome { ROUTE_FOUND, ROUTE_UNKNOWN_METHOD, ROUTE_UNKNOWN_PATH, ROUTE_OTHER_METHOD };

struct route_match {
    const struct route *route; /* ROUTE_FOUND */
    char param[ROUTE_PARAM_MAX + 1];
    char allow[ROUTE_ALLOW_MAX]; /* ROUTE_OTHER_METHOD: value of Allow */
};

/**
 * route_find(table, n, method, path, match):
 * The first pattern that matches ${path} is the resource, so that literal paths stand before
 * patterns with {id}; its other lines are its other methods.
 */
enum route_outcome route_find(const struct route *table, size_t n, enum head_method method,
    const char *path, struct route_match *match);

#endif /* API_ROUTE_H */
