/*
 * keys.c - Who calls: the keys file, and the Authorization header.
 *
 * Keys are compared by their SHA-256 with every entry, to the end: how long that takes tells
 * nobody how close a guess was. A digest may stand in the file once, a name more often: that is
 * how a key is rotated.
 */
#include "api/keys.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/secret_file.h"

#define CALLER_LOCAL "local"

struct keys {
    size_t n, capacity;
    struct api_key *entries;
    unsigned *lines; /* [n] where each stands */
};

static int
grow(struct keys *keys)
{
    size_t capacity = keys->capacity * 2 + 16;
    struct api_key *entries = reallocarray(keys->entries, capacity, sizeof(*entries));
    unsigned *lines;

    if (entries == NULL)
        return -1;
    keys->entries = entries;
    if ((lines = reallocarray(keys->lines, capacity, sizeof(*lines))) == NULL)
        return -1;
    keys->lines = lines;
    keys->capacity = capacity;
    return 0;
}

/* One line; 0, or -1 with what is wrong in it. */
static int
add_line(struct keys *keys, const char *text, size_t len, unsigned line, struct error *err)
{
    struct api_key key;
    int status = api_key_parse(text, len, &key, err);

    if (status != 1)
        return status;
    for (size_t i = 0; i < keys->n; i++)
        if (memcmp(keys->entries[i].digest, key.digest, sizeof(key.digest)) == 0)
            return error_set(err, ERR_INVALID, "the same key as in line %u: it can have one line",
                keys->lines[i]);
    if (keys->n == KEYS_MAX)
        return error_set(err, ERR_INVALID, "more than %d keys", KEYS_MAX);
    if (keys->n == keys->capacity && grow(keys) == -1)
        return error_set(err, ERR_MEMORY, "no memory for the keys");
    keys->entries[keys->n] = key;
    keys->lines[keys->n++] = line;
    return 0;
}

static int
read_lines(struct keys *keys, const char *path, const char *text, size_t len, struct error *err)
{
    const char *end = text + len;
    struct error reason;

    for (unsigned line = 1; text < end; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline != NULL ? newline : end;

        if (add_line(keys, text, (size_t)(line_end - text), line, &reason) == -1)
            return error_set(err, reason.code, "%.80s:%u: %s", path, line, reason.text);
        text = line_end + 1;
    }
    if (keys->n == 0) /* most likely half a write: with none of them nobody could call */
        return error_set(err, ERR_INVALID, "%.100s has no key in it", path);
    return 0;
}

struct keys *
keys_load(const char *path, struct error *err)
{
    struct keys *keys = calloc(1, sizeof(*keys));
    size_t len;
    char *text;

    if (keys == NULL) {
        error_set(err, ERR_MEMORY, "no memory for the keys");
        return NULL;
    }
    if ((text = secret_file_read(path, &len, err)) == NULL)
        goto free_keys;
    if (read_lines(keys, path, text, len, err) == -1)
        goto free_text;
    secret_file_free(text, len);
    return keys;

free_text:
    secret_file_free(text, len);
free_keys:
    keys_free(keys);
    return NULL;
}

void
keys_free(struct keys *keys)
{
    if (keys == NULL)
        return;
    free(keys->entries);
    free(keys->lines);
    free(keys);
}

size_t
keys_count(const struct keys *keys)
{
    return keys->n;
}

const struct api_key *
keys_find(const struct keys *keys, const char *text, size_t len)
{
    const struct api_key *found = NULL;
    uint8_t digest[API_KEY_DIGEST_BYTES];

    if (api_key_digest(text, len, digest, NULL) == -1)
        return NULL;
    for (size_t i = 0; i < keys->n; i++)
        if (CRYPTO_memcmp(keys->entries[i].digest, digest, sizeof(digest)) == 0)
            found = &keys->entries[i];
    return found;
}

/* RFC 9110 section 11: the scheme in any case, then one or more spaces, then the token. */
const char *
keys_of_head(const struct head *head, size_t *len)
{
    static const char scheme[] = "Bearer ";
    const char *value = head_field(head, "Authorization", 0);

    if (value == NULL || head_field(head, "Authorization", 1) != NULL ||
        strncasecmp(value, scheme, strlen(scheme)) != 0)
        return NULL;
    value += strlen(scheme);
    value += strspn(value, " ");
    *len = strlen(value);
    return api_key_is_well_formed(value, *len) ? value : NULL;
}

/* ---- callers ---- */

struct caller
caller_local(void)
{
    return (struct caller){
        .name = CALLER_LOCAL, .scopes = API_SCOPES_ALL, .highest = TASK_URGENT, .rate = 0};
}

struct caller
caller_of_key(const struct api_key *key)
{
    struct caller caller = {.scopes = key->scopes, .highest = key->highest, .rate = key->rate};

    memcpy(caller.name, key->name, sizeof(caller.name));
    return caller;
}

bool
caller_is_admin(const struct caller *caller)
{
    return (caller->scopes & API_SCOPE_ADMIN) != 0;
}

bool
caller_sees(const struct caller *caller, const char *owner, size_t owner_len)
{
    return caller_is_admin(caller) ||
           (owner != NULL && owner_len == strlen(caller->name) && owner_len > 0 &&
               memcmp(owner, caller->name, owner_len) == 0);
}
