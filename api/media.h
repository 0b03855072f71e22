/*
 * media.h - Media types: what a body is in, what a client accepts.
 */
#ifndef API_MEDIA_H
#define API_MEDIA_H

#include <stdbool.h>

#define MEDIA_JSON    "application/json"
#define MEDIA_MSGPACK "application/msgpack"
#define MEDIA_CSV     "text/csv"
#define MEDIA_EVENTS  "text/event-stream"
#define MEDIA_PROBLEM "application/problem+json"

enum media_form { MEDIA_FORM_OTHER, MEDIA_FORM_JSON, MEDIA_FORM_MSGPACK };

/**
 * media_form(content_type): what a body is in. application/json, application/...+json, and NULL,
 * which counts as JSON; application/msgpack, x-msgpack and vnd.msgpack. Parameters are ignored.
 */
enum media_form media_form(const char *content_type);

/**
 * media_quality(accept, type): the quality 0..1000 one Accept line gives to ${type}, by its most
 * specific range; ${precision} tells which that was: 0 none, 1 any, 2 type, 3 subtype.
 */
int media_quality(const char *accept, const char *type, int *precision);

#endif /* API_MEDIA_H */
