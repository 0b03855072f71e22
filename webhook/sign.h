/*
 * sign.h - Signatures of webhooks, as Standard Webhooks 1.0.0 has them.
 *
 *   secret of a key  = HMAC-SHA256(master, "webhook:" + name of the key)
 *   signature        = HMAC-SHA256(secret, id + "." + timestamp + "." + body)
 *
 * So one file of masters gives every key a secret of its own, and nothing but a key's secret
 * ever leaves this program.
 */
#ifndef WEBHOOK_SIGN_H
#define WEBHOOK_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define SIGN_MASTERS_MAX     2 /* the current one, and the one before it while clients change over */
#define SIGN_MASTER_MIN      32
#define SIGN_MASTER_MAX      256
#define SIGN_SECRET_BYTES    32
#define SIGN_SECRET_TEXT_MAX 64  /* "whsec_" and base64 */
#define SIGN_TEXT_MAX        128 /* "v1,<base64>" for each master */
#define SIGN_NAME_MAX        64  /* bytes of a key's name */

struct sign_masters {
    size_t n; /* 1..SIGN_MASTERS_MAX, the current one first */
    struct sign_master {
        unsigned char bytes[SIGN_MASTER_MAX];
        size_t len;
    } masters[SIGN_MASTERS_MAX];
};

/**
 * sign_masters_read(masters, path, err):
 * One master a line, base64 of at least 32 bytes; # comments. ERR_INVALID names line and reason,
 * never a byte of it; also when other users may read the file. sign_masters_clear() it.
 */
int sign_masters_read(struct sign_masters *masters, const char *path, struct error *err);
void sign_masters_clear(struct sign_masters *masters);

/** sign_secret(master, name, secret): the secret of the key ${name}, [SIGN_SECRET_BYTES]. */
int sign_secret(
    const struct sign_master *master, const char *name, unsigned char *secret, struct error *err);

/** sign_secret_text(secret, len, text): "whsec_..." into ${text} [SIGN_SECRET_TEXT_MAX]. */
void sign_secret_text(const unsigned char *secret, char *text);

/** sign_with(secret, len, id, timestamp, body, size, text): "v1,<base64>" into ${text} [64]. */
int sign_with(const unsigned char *secret, size_t len, const char *id, int64_t timestamp,
    const void *body, size_t size, char *text, struct error *err);

/** sign_all(masters, name, ...): one signature per master, between spaces, into ${text} [SIGN_TEXT_MAX]. */
int sign_all(const struct sign_masters *masters, const char *name, const char *id,
    int64_t timestamp, const void *body, size_t size, char *text, struct error *err);

#endif /* WEBHOOK_SIGN_H */
