/*
 * route.h - The route table: which handler answers a method and a path.
 *
 * Paths match byte for byte; "{name}" in a pattern matches one segment. Pure. To add a
 * route, add its line to the table in server.c.
 */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "api/head.h"

#define ROUTE_PARAMS    2   /* segments in braces a pattern may have */
#define ROUTE_PARAM_MAX 128 /* bytes of a segment that one matches; longer names nothing */
#define ROUTE_ALLOW_MAX 64

struct exchange;

enum route_flags {
    ROUTE_NEEDS_BODY = 1,  /* 411 without Content-Length */
    ROUTE_NEGOTIATES = 2,  /* Accept is honoured: 406 */
    ROUTE_SHOWS_TASKS = 4, /* replies are documents of tasks */
    ROUTE_OFFERS_CSV = 8,  /* beside what is negotiated everywhere */
    ROUTE_ANY_PEER = 16,   /* KRONOS_PEER_ALLOW does not hold: probes and scrapers */
    ROUTE_COUNTS = 32,     /* a submit, for the rate of its key */
    ROUTE_PREDICTS = 64,   /* counted as the FastAPI service counted its two routes */
    ROUTE_STREAMS = 128,   /* replies are event streams: no HEAD, no other form */
};

/* Who may use a route. 0 is none of them, so that a line without one serves nobody. */
enum route_scope {
    ROUTE_OPEN = 1,
    ROUTE_METRICS, /* open, or READ with KRONOS_METRICS_AUTH */
    ROUTE_SUBMIT,
    ROUTE_READ,
    ROUTE_ADMIN,
};

struct route {
    enum head_method method; /* GET serves HEAD too, but for a stream */
    const char *pattern;
    enum route_scope scope;
    unsigned flags;
    /* ${param}: what the first {name} matched, "" without, the second is in ${e}->match; answers ${e} exactly once, now or later. NULL: the
     * path is known and reserved, and not served. */
    void (*serve)(struct exchange *e, const char *param);
};

enum route_outcome { ROUTE_FOUND, ROUTE_UNKNOWN_METHOD, ROUTE_UNKNOWN_PATH, ROUTE_OTHER_METHOD };

struct route_match {
    const struct route *route;                      /* ROUTE_FOUND */
    char params[ROUTE_PARAMS][ROUTE_PARAM_MAX + 1]; /* in order, "" where there are fewer */
    char allow[ROUTE_ALLOW_MAX];                    /* ROUTE_OTHER_METHOD: value of Allow */
};

/**
 * route_find(table, n, method, path, match):
 * The first pattern that matches ${path} is the resource, so that literal paths stand before
 * patterns with holes; its other lines are its other methods.
 */
enum route_outcome route_find(const struct route *table, size_t n, enum head_method method,
    const char *path, struct route_match *match);

#endif /* API_ROUTE_H */
