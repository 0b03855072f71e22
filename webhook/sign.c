/*
 * sign.c - Signatures of webhooks. Secrets are wiped when they have done their work.
 */
#include "webhook/sign.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
hmac(const unsigned char *key, size_t key_len, const void *data, size_t size, unsigned char *out,
    struct error *err)
{
    unsigned len = SIGN_SECRET_BYTES;

    if (HMAC(EVP_sha256(), key, (int)key_len, data, size, out, &len) == NULL ||
        len != SIGN_SECRET_BYTES)
        return error_set(err, ERR_SYSTEM, "HMAC-SHA256 failed");
    return 0;
}

int
sign_secret(
    const struct sign_master *master, const char *name, unsigned char *secret, struct error *err)
{
    char message[sizeof("webhook:") + SIGN_NAME_MAX];
    int len;

    if (name[0] == '\0' || strlen(name) > SIGN_NAME_MAX)
        return error_set(
            err, ERR_INVALID, "the name of a key has 1 to %d characters", SIGN_NAME_MAX);
    len = snprintf(message, sizeof(message), "webhook:%s", name);
    return hmac(master->bytes, master->len, message, (size_t)len, secret, err);
}

void
sign_secret_text(const unsigned char *secret, char *text)
{
    memcpy(text, "whsec_", 6);
    EVP_EncodeBlock((unsigned char *)text + 6, secret, SIGN_SECRET_BYTES);
}

int
sign_with(const unsigned char *secret, size_t len, const char *id, int64_t timestamp,
    const void *body, size_t size, char *text, struct error *err)
{
    unsigned char digest[SIGN_SECRET_BYTES];
    char head[160], *message;
    int head_len = snprintf(head, sizeof(head), "%s.%" PRId64 ".", id, timestamp);
    int status;

    if (head_len < 0 || (size_t)head_len >= sizeof(head))
        return error_set(err, ERR_INVALID, "the id of an event is too long");
    if ((message = malloc((size_t)head_len + size)) == NULL)
        return error_set(err, ERR_MEMORY, "no memory to sign an event");
    memcpy(message, head, (size_t)head_len);
    if (size > 0)
        memcpy(message + head_len, body, size);
    status = hmac(secret, len, message, (size_t)head_len + size, digest, err);
    free(message);
    if (status == -1)
        return -1;
    memcpy(text, "v1,", 3);
    EVP_EncodeBlock((unsigned char *)text + 3, digest, sizeof(digest));
    return 0;
}

int
sign_all(const struct sign_masters *masters, const char *name, const char *id, int64_t timestamp,
    const void *body, size_t size, char *text, struct error *err)
{
    unsigned char secret[SIGN_SECRET_BYTES];
    int status = 0;

    for (size_t i = 0; i < masters->n && status == 0; i++) {
        if (i > 0)
            *text++ = ' ';
        status = sign_secret(&masters->masters[i], name, secret, err);
        if (status == 0)
            status = sign_with(secret, sizeof(secret), id, timestamp, body, size, text, err);
        if (status == 0)
            text += strlen(text);
    }
    OPENSSL_cleanse(secret, sizeof(secret));
    return status;
}
