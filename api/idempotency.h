/*
 * idempotency.h - The Idempotency-Key header, and the fingerprint of a request.
 */
#ifndef API_IDEMPOTENCY_H
#define API_IDEMPOTENCY_H

#include <stddef.h>

#include "api/head.h"
#include "api/problem.h"
#include "common/error.h"

#define IDEMPOTENCY_KEY_MAX 255
#define IDEMPOTENCY_HEX     64 /* characters of a SHA-256 in hexadecimal */

/**
 * idempotency_key(head, key, problem):
 * The key, quotes removed, into ${key} [IDEMPOTENCY_KEY_MAX + 1]; "" when the header is not there.
 * -1 with 400 bad_idempotency_key.
 */
int idempotency_key(const struct head *head, char *key, struct problem *problem);

/** idempotency_scope(owner, key, hex): what one owner's key is stored under; ${hex} [65]. */
int idempotency_scope(const char *owner, const char *key, char *hex, struct error *err);

/** idempotency_fingerprint(path, type, body, size, hex): same request, same ${hex} [65]. */
int idempotency_fingerprint(const char *path, const char *type, const void *body, size_t size,
    char *hex, struct error *err);

#endif /* API_IDEMPOTENCY_H */
