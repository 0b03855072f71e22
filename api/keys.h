/*
 * keys.h - Who calls: the keys file, and the Authorization header.
 *
 * Without a keys file there is one caller, `local`, who may do everything and has no rate.
 */
#ifndef API_KEYS_H
#define API_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/head.h"
#include "common/api_key.h"
#include "common/error.h"

#define KEYS_MAX 4096 /* lines of the file with a key */

struct keys; /* of one reading of the file */

/** keys_load(path, err): NULL with a text that names FILE:LINE and field, and shows no secret. */
struct keys *keys_load(const char *path, struct error *err);
void keys_free(struct keys *keys);
size_t keys_count(const struct keys *keys);

/** keys_find(keys, text, len): the entry of the key ${text}, NULL: none. Takes the same time for all. */
const struct api_key *keys_find(const struct keys *keys, const char *text, size_t len);

/** keys_of_head(head, len): the key in its one `Authorization: Bearer`, well formed; else NULL. */
const char *keys_of_head(const struct head *head, size_t *len);

/* A caller, copied from the keys, which may be read again while its request is in work. */
struct caller {
    char name[API_KEY_NAME_MAX + 1]; /* owns tasks; "": nobody known */
    unsigned scopes;                 /* enum api_scope bits */
    enum task_priority highest;      /* most urgent priority it may ask for */
    int64_t rate;                    /* submits per minute, 0: no limit, or API_KEY_RATE_SERVER */
};

/** caller_local(): who every caller is while there are no keys. */
struct caller caller_local(void);

/** caller_of_key(key): */
struct caller caller_of_key(const struct api_key *key);

/** caller_sees(caller, owner, owner_len): its own tasks; an admin all. */
bool caller_sees(const struct caller *caller, const char *owner, size_t owner_len);

/** caller_is_admin(caller): lists show everybody's tasks, with their owners. */
bool caller_is_admin(const struct caller *caller);

#endif /* API_KEYS_H */
