/*
 * secrets.c - The file of master secrets: what its lines are.
 */
#include "webhook/sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "common/secret_file.h"

static bool
is_base64(const char *text, size_t len)
{
    size_t n = 0, pads = 0;

    if (len == 0 || len % 4 != 0)
        return false;
    while (pads < 2 && pads < len && text[len - 1 - pads] == '=')
        pads++;
    for (; n < len - pads; n++) {
        char c = text[n];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                c == '+' || c == '/'))
            return false;
    }
    return true;
}

static int
read_master(struct sign_master *master, const char *text, size_t len, struct error *err)
{
    int decoded;

    if (!is_base64(text, len))
        return error_set(err, ERR_INVALID, "is not base64 (openssl rand -base64 32 makes one)");
    if (len / 4 * 3 > SIGN_MASTER_MAX)
        return error_set(err, ERR_INVALID, "has more than %d bytes", SIGN_MASTER_MAX - 2);
    decoded = EVP_DecodeBlock(master->bytes, (const unsigned char *)text, (int)len);
    if (decoded < 0)
        return error_set(err, ERR_INVALID, "is not base64");
    master->len = (size_t)decoded; /* the bytes that padding stands for are counted, too */
    master->len -= text[len - 1] == '=';
    master->len -= text[len - 2] == '=';
    if (master->len < SIGN_MASTER_MIN)
        return error_set(
            err, ERR_INVALID, "has %zu bytes, fewer than %d", master->len, SIGN_MASTER_MIN);
    return 0;
}

static int
read_lines(struct sign_masters *masters, const char *path, const char *text, struct error *err)
{
    struct error why;

    for (int line = 1; *text != '\0'; line++) {
        size_t line_len = strcspn(text, "\n"), len = line_len;
        const char *at = text;

        text += line_len + (text[line_len] == '\n');
        while (len > 0 && (*at == ' ' || *at == '\t'))
            at++, len--;
        while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t' || at[len - 1] == '\r'))
            len--;
        if (len == 0 || *at == '#')
            continue;
        if (masters->n == SIGN_MASTERS_MAX)
            return error_set(err, ERR_INVALID, "%.150s:%d: more than %d master secrets", path, line,
                SIGN_MASTERS_MAX);
        if (read_master(&masters->masters[masters->n], at, len, &why) == -1)
            return error_set(
                err, ERR_INVALID, "%.150s:%d: the master secret %s", path, line, why.text);
        masters->n++;
    }
    return masters->n > 0
               ? 0
               : error_set(err, ERR_INVALID, "%.150s: there is no master secret in it", path);
}

int
sign_masters_read(struct sign_masters *masters, const char *path, struct error *err)
{
    size_t len;
    char *text = secret_file_read(path, &len, err);
    int status;

    *masters = (struct sign_masters){0};
    if (text == NULL)
        return -1;
    status = read_lines(masters, path, text, err);
    secret_file_free(text, len);
    if (status == -1)
        sign_masters_clear(masters);
    return status;
}

void
sign_masters_clear(struct sign_masters *masters)
{
    OPENSSL_cleanse(masters, sizeof(*masters));
}
