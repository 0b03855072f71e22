/*
 * model_identity.c - SHA-256 of both weight files.
 *
 * Large reads rather than a mapping: a file that shrinks under a mapping kills the
 * process, and the hash should not be able to.
 */
#include "worker/model_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/bundled_model.h"

#define READ_BYTES ((size_t)1024 * 1024)
#define SHORT_HASH 12 /* digits of it in a default version */

static int
weight_path(char path[PATH_MAX], const char *dir, struct error *err)
{
    int n = snprintf(path, PATH_MAX, "%s/model.safetensors", dir);

    if (n < 0 || n >= PATH_MAX)
        return error_set(err, ERR_INVALID, "the path %.100s... is too long", dir);
    return 0;
}

static int
hash_bytes(
    char sha256[65], int fd, const char *path, EVP_MD_CTX *digest, char *buf, struct error *err)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int hash_len;
    ssize_t got;

    if (EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        return error_set(err, ERR_SYSTEM, "libcrypto has no SHA-256");
    while ((got = read(fd, buf, READ_BYTES)) != 0) {
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return error_errno(err, "read %s", path);
        if (EVP_DigestUpdate(digest, buf, (size_t)got) != 1)
            return error_set(err, ERR_SYSTEM, "SHA-256 of %s failed", path);
    }
    if (EVP_DigestFinal_ex(digest, hash, &hash_len) != 1 || hash_len != 32)
        return error_set(err, ERR_SYSTEM, "SHA-256 of %s failed", path);
    for (unsigned i = 0; i < hash_len; i++)
        snprintf(sha256 + 2 * i, 3, "%02x", hash[i]);
    return 0;
}

static int
hash_file(char sha256[65], struct stat *st, const char *dir, struct error *err)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    char *buf = malloc(READ_BYTES), path[PATH_MAX];
    int fd, status = -1;

    if (digest == NULL || buf == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        goto free_buffers;
    }
    if (weight_path(path, dir, err) == -1)
        goto free_buffers;
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1) {
        error_errno(err, "open %s", path);
        goto free_buffers;
    }
    if (fstat(fd, st) == -1)
        error_errno(err, "stat %s", path);
    else
        status = hash_bytes(sha256, fd, path, digest, buf, err);
    close(fd);

free_buffers:
    free(buf);
    EVP_MD_CTX_free(digest);
    return status;
}

/* "name@0123456789ab", or what the operator calls it. */
static void
make_version(char version[RESULT_NAME_MAX], const char *given, const char *name, const char *sha256)
{
    if (given != NULL)
        snprintf(version, RESULT_NAME_MAX, "%s", given);
    else
        snprintf(version, RESULT_NAME_MAX, "%s@%.*s", name, SHORT_HASH, sha256);
}

int
model_identity_read(
    struct model_identity *identity, const struct worker_settings *settings, struct error *err)
{
    *identity = (struct model_identity){0};
    if (hash_file(identity->tokenizer_sha256, &identity->tokenizer_file, settings->tokenizer_dir,
            err) == -1 ||
        hash_file(identity->weights_sha256, &identity->model_file, settings->model_dir, err) == -1)
        return -1;
    make_version(identity->model_version, settings->model_id,
        settings->is_bundled ? BUNDLED_MODEL_NAME : settings->name, identity->weights_sha256);
    make_version(identity->tokenizer_version, settings->tokenizer_id, "tokenizer",
        identity->tokenizer_sha256);
    return 0;
}

/* Weights are replaced by rename: then what was hashed and what was loaded may be two files. */
static int
check_unchanged(const struct stat *then, const char *dir, struct error *err)
{
    char path[PATH_MAX];
    struct stat now;

    if (weight_path(path, dir, err) == -1)
        return -1;
    if (stat(path, &now) == -1)
        return error_errno(err, "stat %s", path);
    if (now.st_dev != then->st_dev || now.st_ino != then->st_ino || now.st_size != then->st_size ||
        now.st_mtim.tv_sec != then->st_mtim.tv_sec || now.st_mtim.tv_nsec != then->st_mtim.tv_nsec)
        return error_set(err, ERR_INVALID, "%s was replaced while it was loaded", path);
    return 0;
}

int
model_identity_confirm(const struct model_identity *identity,
    const struct worker_settings *settings, struct error *err)
{
    if (check_unchanged(&identity->model_file, settings->model_dir, err) == -1)
        return -1;
    return check_unchanged(&identity->tokenizer_file, settings->tokenizer_dir, err);
}
