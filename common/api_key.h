/*
 * api_key.h - A key of the API, and its line in the keys file.
 *
 * A key is "krn_" and 32 or more of [0-9A-Za-z]. The file knows it by its SHA-256 alone:
 *
 *   name sha256-hex scopes max-priority rate     for example
 *   desk-a 9f86d081... submit,read normal 100
 *
 * The rate is submits per minute; "-" is the server's, "0" none. A # starts a comment.
 */
#ifndef COMMON_API_KEY_H
#define COMMON_API_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/task.h"

#define API_KEY_PREFIX       "krn_"
#define API_KEY_RANDOM_MIN   32 /* characters after the prefix */
#define API_KEY_RANDOM_NEW   43 /* of a new key: 256 bits */
#define API_KEY_NEW_MAX      (sizeof(API_KEY_PREFIX) + API_KEY_RANDOM_NEW)
#define API_KEY_NAME_MAX     64
#define API_KEY_DIGEST_BYTES 32
#define API_KEY_LINE_MAX     256

#define API_KEY_RATE_SERVER (-1) /* the server's rate */
#define API_KEY_RATE_MAX    1000000

/* What a key may do; admin may do all of it. */
enum api_scope { API_SCOPE_SUBMIT = 1, API_SCOPE_READ = 2, API_SCOPE_ADMIN = 4 };
#define API_SCOPES_ALL (API_SCOPE_SUBMIT | API_SCOPE_READ | API_SCOPE_ADMIN)

struct api_key { /* what the file knows of one */
    char name[API_KEY_NAME_MAX + 1];
    uint8_t digest[API_KEY_DIGEST_BYTES];
    unsigned scopes;            /* enum api_scope bits; with ADMIN all of them */
    enum task_priority highest; /* the most urgent one it may ask for */
    int64_t rate;               /* submits per minute, 0: no limit, or API_KEY_RATE_SERVER */
};

/** api_key_new(key, err): a random one into ${key} [API_KEY_NEW_MAX]. */
int api_key_new(char *key, struct error *err);

/** api_key_is_well_formed(text, len): prefix, length and letters. */
bool api_key_is_well_formed(const char *text, size_t len);

/** api_key_digest(text, len, digest, err): its SHA-256. */
int api_key_digest(const char *text, size_t len, uint8_t *digest, struct error *err);

/** api_scope_name(scope): "submit" of exactly one. */
const char *api_scope_name(enum api_scope scope);

/**
 * api_key_parse(line, len, key, err):
 * 1: ${key} is filled; 0: blank or a comment; -1 with ERR_INVALID naming the field, never its text:
 * a key may stand where its digest belongs.
 */
int api_key_parse(const char *line, size_t len, struct api_key *key, struct error *err);

/** api_key_write(key, line): its line [API_KEY_LINE_MAX], without a newline. */
void api_key_write(const struct api_key *key, char *line);

#endif /* COMMON_API_KEY_H */
