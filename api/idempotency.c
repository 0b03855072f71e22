/*
 * idempotency.c - The Idempotency-Key header, and the fingerprint of a request.
 *
 * Parts of a hash are separated by a newline, which none of the parts before the last can
 * contain: so no two lists of parts hash the same bytes.
 */
#include "api/idempotency.h"

#include <openssl/evp.h>
#include <string.h>

static int
refuse(struct problem *problem, const char *why)
{
    return problem_set(problem, 400, "bad_idempotency_key",
        "Idempotency-Key must be 1 to %d printable ASCII characters without spaces%s",
        IDEMPOTENCY_KEY_MAX, why);
}

int
idempotency_key(const struct head *head, char *key, struct problem *problem)
{
    const char *value = head_field(head, "Idempotency-Key", 0);
    bool is_quoted;
    size_t n = 0;

    key[0] = '\0';
    if (value == NULL)
        return 0;
    if (head_field(head, "Idempotency-Key", 1) != NULL)
        return refuse(problem, ", and be given once");
    if ((is_quoted = value[0] == '"'))
        value++;
    for (; *value != '\0' && !(is_quoted && *value == '"'); value++) {
        if (is_quoted && *value == '\\' && (value[1] == '"' || value[1] == '\\'))
            value++;
        if (*value < 0x21 || *value > 0x7e)
            return refuse(problem, "");
        if (n == IDEMPOTENCY_KEY_MAX)
            return refuse(problem, "");
        key[n++] = *value;
    }
    if (is_quoted && (value[0] != '"' || value[1] != '\0'))
        return refuse(problem, "; the closing quote must end it");
    if (n == 0)
        return refuse(problem, "");
    key[n] = '\0';
    return 0;
}

static int
hash_parts(const void *const *parts, const size_t *sizes, size_t n, char *hex, struct error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;

    for (size_t i = 0; i < n && is_done; i++)
        is_done = (i == 0 || EVP_DigestUpdate(context, "\n", 1) == 1) &&
                  EVP_DigestUpdate(context, parts[i], sizes[i]) == 1;
    is_done = is_done && EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    if (!is_done)
        return error_set(err, ERR_MEMORY, "SHA-256 failed");
    for (size_t i = 0; i < IDEMPOTENCY_HEX / 2; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[IDEMPOTENCY_HEX] = '\0';
    return 0;
}

int
idempotency_scope(const char *owner, const char *key, char *hex, struct error *err)
{
    const void *parts[] = {owner, key};
    const size_t sizes[] = {strlen(owner), strlen(key)};

    return hash_parts(parts, sizes, 2, hex, err);
}

int
idempotency_fingerprint(
    const char *path, const char *type, const void *body, size_t size, char *hex, struct error *err)
{
    const void *parts[] = {path, type, body};
    const size_t sizes[] = {strlen(path), strlen(type), size};

    return hash_parts(parts, sizes, 3, hex, err);
}
