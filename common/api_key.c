/*
 * api_key.c - A key of the API, and its line in the keys file.
 */
#include "common/api_key.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define BLANKS        " \t\r"
#define N_FIELDS      5
#define UNBIASED_BYTE 248 /* 4 x 62: bytes above would favour the first letters */

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* In order of their bits. */
static const char *const scope_names[] = {"submit", "read", "admin"};
#define N_SCOPES (sizeof(scope_names) / sizeof(scope_names[0]))

static bool
is_letter(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

int
api_key_new(char *key, struct error *err)
{
    size_t used = strlen(API_KEY_PREFIX), end = used + API_KEY_RANDOM_NEW;
    uint8_t bytes[64];

    memcpy(key, API_KEY_PREFIX, used);
    while (used < end) {
        ssize_t n = getrandom(bytes, sizeof(bytes), 0);

        if (n == -1 && errno != EINTR)
            return error_errno(err, "getrandom");
        for (ssize_t i = 0; i < n && used < end; i++)
            if (bytes[i] < UNBIASED_BYTE)
                key[used++] = letters[bytes[i] % 62];
    }
    key[end] = '\0';
    explicit_bzero(bytes, sizeof(bytes));
    return 0;
}

bool
api_key_is_well_formed(const char *text, size_t len)
{
    size_t prefix = strlen(API_KEY_PREFIX);

    if (len < prefix + API_KEY_RANDOM_MIN || memcmp(text, API_KEY_PREFIX, prefix) != 0)
        return false;
    for (size_t i = prefix; i < len; i++)
        if (!is_letter(text[i]))
            return false;
    return true;
}

int
api_key_digest(const char *text, size_t len, uint8_t *digest, struct error *err)
{
    if (EVP_Digest(text, len, digest, NULL, EVP_sha256(), NULL) != 1)
        return error_set(err, ERR_MEMORY, "SHA-256 failed");
    return 0;
}

const char *
api_scope_name(enum api_scope scope)
{
    for (size_t i = 0; i < N_SCOPES; i++)
        if (1u << i == (unsigned)scope)
            return scope_names[i];
    return "";
}

/* ---- a line ---- */

struct field {
    const char *text;
    size_t len;
};

static bool
field_is(const struct field *f, const char *word)
{
    return strlen(word) == f->len && memcmp(word, f->text, f->len) == 0;
}

/* "unknown" stands for callers without a key in logs and metrics. */
static int
parse_name(const struct field *f, char *name, struct error *err)
{
    bool is_good = f->len <= API_KEY_NAME_MAX && is_letter(f->text[0]);

    for (size_t i = 1; i < f->len && is_good; i++)
        is_good = is_letter(f->text[i]) || strchr("._-", f->text[i]) != NULL;
    if (!is_good || field_is(f, "unknown"))
        return error_set(err, ERR_INVALID,
            "the name (first field) must be [A-Za-z0-9][A-Za-z0-9._-]{0,%d}, and not \"unknown\"",
            API_KEY_NAME_MAX - 1);
    memcpy(name, f->text, f->len);
    name[f->len] = '\0';
    return 0;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int
parse_digest(const struct field *f, uint8_t *digest, struct error *err)
{
    bool is_good = f->len == 2 * API_KEY_DIGEST_BYTES;

    for (size_t i = 0; i < API_KEY_DIGEST_BYTES && is_good; i++) {
        int high = hex_value(f->text[2 * i]), low = hex_value(f->text[2 * i + 1]);

        is_good = high != -1 && low != -1;
        digest[i] = (uint8_t)(is_good ? high << 4 | low : 0);
    }
    if (!is_good)
        return error_set(err, ERR_INVALID,
            "the second field must be %d hexadecimal digits, the SHA-256 of the key and not the "
            "key itself",
            2 * API_KEY_DIGEST_BYTES);
    return 0;
}

static int
parse_scopes(const struct field *f, unsigned *scopes, struct error *err)
{
    struct field word = {.text = f->text};
    const char *end = f->text + f->len;

    *scopes = 0;
    for (; word.text <= end; word.text += word.len + 1) {
        const char *comma = memchr(word.text, ',', (size_t)(end - word.text));
        unsigned scope = 0;

        word.len = (size_t)((comma != NULL ? comma : end) - word.text);
        for (size_t i = 0; i < N_SCOPES; i++)
            scope |= field_is(&word, scope_names[i]) ? 1u << i : 0;
        if (scope == 0 || (*scopes & scope) != 0)
            return error_set(err, ERR_INVALID,
                "the scopes (third field) must be some of submit,read,admin, each once");
        *scopes |= scope;
    }
    if ((*scopes & API_SCOPE_ADMIN) != 0)
        *scopes = API_SCOPES_ALL;
    return 0;
}

static int
parse_priority(const struct field *f, enum task_priority *highest, struct error *err)
{
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++) {
        *highest = (enum task_priority)p;
        if (field_is(f, task_priority_name(*highest)))
            return 0;
    }
    return error_set(
        err, ERR_INVALID, "the highest priority (fourth field) must be urgent, normal or low");
}

static int
parse_rate(const struct field *f, int64_t *rate, struct error *err)
{
    bool is_good = f->len <= 7;

    *rate = 0;
    if (field_is(f, "-")) {
        *rate = API_KEY_RATE_SERVER;
        return 0;
    }
    for (size_t i = 0; i < f->len && is_good; i++) {
        is_good = f->text[i] >= '0' && f->text[i] <= '9';
        *rate = *rate * 10 + (f->text[i] - '0');
    }
    if (!is_good || *rate > API_KEY_RATE_MAX)
        return error_set(err, ERR_INVALID,
            "the rate (fifth field) must be submits per minute in 0..%d (0: no limit), or - for "
            "the server's",
            API_KEY_RATE_MAX);
    return 0;
}

int
api_key_parse(const char *line, size_t len, struct api_key *key, struct error *err)
{
    struct field fields[N_FIELDS] = {{0}};
    const char *at = line, *end = line + len;
    size_t n = 0;

    *key = (struct api_key){0};
    while (at < end) {
        const char *begin;

        while (at < end && strchr(BLANKS, *at) != NULL)
            at++;
        if (at == end || *at == '#')
            break;
        for (begin = at; at < end && strchr(BLANKS, *at) == NULL;)
            at++;
        if (n < N_FIELDS)
            fields[n] = (struct field){begin, (size_t)(at - begin)};
        n++;
    }
    if (n == 0)
        return 0;
    if (n != N_FIELDS)
        return error_set(err, ERR_INVALID,
            "a key has %d fields, name sha256-hex scopes max-priority rate, and this line %zu",
            N_FIELDS, n);
    if (parse_name(&fields[0], key->name, err) == -1 ||
        parse_digest(&fields[1], key->digest, err) == -1 ||
        parse_scopes(&fields[2], &key->scopes, err) == -1 ||
        parse_priority(&fields[3], &key->highest, err) == -1 ||
        parse_rate(&fields[4], &key->rate, err) == -1)
        return -1;
    return 1;
}

void
api_key_write(const struct api_key *key, char *line)
{
    char scopes[32] = "", rate[24] = "-";
    char hex[2 * API_KEY_DIGEST_BYTES + 1];

    for (size_t i = 0; i < API_KEY_DIGEST_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", key->digest[i]);
    for (size_t i = 0; i < N_SCOPES; i++) {
        if ((key->scopes & 1u << i) == 0)
            continue;
        strcat(scopes, scopes[0] != '\0' ? "," : "");
        strcat(scopes, scope_names[i]);
    }
    if ((key->scopes & API_SCOPE_ADMIN) != 0)
        strcpy(scopes, api_scope_name(API_SCOPE_ADMIN));
    if (key->rate != API_KEY_RATE_SERVER)
        snprintf(rate, sizeof(rate), "%lld", (long long)key->rate);
    snprintf(line, API_KEY_LINE_MAX, "%s %s %s %s %s", key->name, hex, scopes,
        task_priority_name(key->highest), rate);
}
