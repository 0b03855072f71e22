/*
 * query.h - Parameters of a target's query.
 *
 * Unknown parameters are ignored; a known one that is repeated or malformed is refused. Names and
 * numbers match byte for byte; texts are decoded as forms are: "%41" and, for a space, "+".
 */
#ifndef API_QUERY_H
#define API_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "api/problem.h"

/**
 * query_integer(query, name, low, high, value, problem):
 * ${value} keeps its content when ${name} is not there (${query} may be NULL). 0, or -1 with
 * 400 bad_parameter.
 */
int query_integer(
    const char *query, const char *name, long low, long high, long *value, struct problem *problem);

/**
 * query_text(query, name, text, size, problem):
 * The same for a text, which "" stays or becomes when ${name} is not there, or empty. Longer than
 * ${size} allows, with a NUL, or not to be decoded: -1 with 400 bad_parameter.
 */
int query_text(
    const char *query, const char *name, char *text, size_t size, struct problem *problem);

/** query_refuse(problem, name, must): 400 bad_parameter, "<name> must be <must>". Returns -1. */
int query_refuse(struct problem *problem, const char *name, const char *must);

#endif /* API_QUERY_H */
