/*
 * query.h - Parameters of a target's query.
 *
 * Unknown parameters are ignored; a known one that is repeated or malformed is refused. No
 * percent decoding: every value known here is made of characters that need none.
 */
#ifndef API_QUERY_H
#define API_QUERY_H

#include <stdbool.h>

#include "api/problem.h"

/**
 * query_integer(query, name, low, high, value, problem):
 * ${value} keeps its content when ${name} is not there (${query} may be NULL). 0, or -1 with
 * 400 bad_parameter.
 */
int query_integer(
    const char *query, const char *name, long low, long high, long *value, struct problem *problem);

#endif /* API_QUERY_H */
