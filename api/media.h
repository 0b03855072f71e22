/*
 * media.h - Media types: what a body is in, what a client accepts.
 */
#ifndef API_MEDIA_H
#define API_MEDIA_H

#include <stdbool.h>

#define MEDIA_JSON    "application/json"
#define MEDIA_PROBLEM "application/problem+json"

/** media_is_json(content_type): application/json, application/...+json, or NULL, which counts as JSON; parameters are ignored. */
bool media_is_json(const char *content_type);

/**
 * media_quality(accept, type): the quality 0..1000 one Accept line gives to ${type}, by its most
 * specific range; ${precision} tells which that was: 0 none, 1 any, 2 type, 3 subtype.
 */
int media_quality(const char *accept, const char *type, int *precision);

#endif /* API_MEDIA_H */
