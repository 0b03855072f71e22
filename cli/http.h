/*
 * http.h - One HTTP exchange with kronosq-api.
 */
#ifndef CLI_HTTP_H
#define CLI_HTTP_H

#include <cjson/cJSON.h>

#include "common/error.h"

#define HTTP_REPLY_MAX (64 * 1024 * 1024) /* bytes of a reply that are read */

struct http_reply {
    long status;
    cJSON *body; /* parsed JSON, NULL if the body is none; http_reply_clear() */
};

/**
 * http_use_key(origin, key, len, err): all exchanges carry this API key. -1: it is none; ${origin}
 * is named, the key is not shown.
 */
int http_use_key(const char *origin, const char *key, size_t len, struct error *err);
void http_forget_key(void);

/**
 * http_exchange(server, method, path, body, timeout_seconds, reply, err):
 * Send ${body} (JSON text, NULL for none) and read the JSON answer, whatever its status.
 * No proxy is used. ERR_UNAVAILABLE when the server cannot be reached.
 */
int http_exchange(const char *server, const char *method, const char *path, const char *body,
    int timeout_seconds, struct http_reply *reply, struct error *err);
void http_reply_clear(struct http_reply *reply);

/** http_reply_error(reply, err): a problem document as an error naming each field. Returns -1. */
int http_reply_error(const struct http_reply *reply, struct error *err);

#endif /* CLI_HTTP_H */
