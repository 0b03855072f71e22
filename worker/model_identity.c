/*
 * model_identity.c - SHA-256 of both weight files, read once on a thread of its own.
 *
 * Large reads rather than a mapping: a file that shrinks under a mapping kills the
 * process, and the hash should not be able to.
 */
#include "worker/model_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/bundled_model.h"

#define READ_BYTES ((size_t)1024 * 1024)
#define SHORT_HASH 12 /* digits of it in a default version */

struct weight_file {
    char path[PATH_MAX];
    int fd;
    struct stat st;
    char sha256[65];
};

struct model_identity_reader {
    const struct worker_settings *settings;
    struct weight_file model, tokenizer;
    atomic_bool is_abandoned;
    int status; /* written by the thread, read after the join */
    struct error err;
    pthread_t thread;
};

static int
weight_file_open(struct weight_file *f, const char *dir, struct error *err)
{
    int n = snprintf(f->path, sizeof(f->path), "%s/model.safetensors", dir);

    f->fd = -1;
    if (n < 0 || (size_t)n >= sizeof(f->path))
        return error_set(err, ERR_INVALID, "the path %.100s... is too long", dir);
    if ((f->fd = open(f->path, O_RDONLY | O_CLOEXEC)) == -1)
        return error_errno(err, "open %s", f->path);
    if (fstat(f->fd, &f->st) == -1) {
        error_errno(err, "stat %s", f->path);
        close(f->fd);
        f->fd = -1;
        return -1;
    }
    return 0;
}

static int
hash_bytes(struct weight_file *f, EVP_MD_CTX *digest, char *buf, const atomic_bool *is_abandoned,
    struct error *err)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int hash_len;
    ssize_t got;

    if (EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        return error_set(err, ERR_SYSTEM, "libcrypto has no SHA-256");
    while ((got = read(f->fd, buf, READ_BYTES)) != 0) {
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return error_errno(err, "read %s", f->path);
        if (atomic_load(is_abandoned))
            return error_set(err, ERR_CANCELLED, "told to stop");
        if (EVP_DigestUpdate(digest, buf, (size_t)got) != 1)
            return error_set(err, ERR_SYSTEM, "SHA-256 of %s failed", f->path);
    }
    if (EVP_DigestFinal_ex(digest, hash, &hash_len) != 1 || hash_len != 32)
        return error_set(err, ERR_SYSTEM, "SHA-256 of %s failed", f->path);
    for (unsigned i = 0; i < hash_len; i++)
        snprintf(f->sha256 + 2 * i, 3, "%02x", hash[i]);
    return 0;
}

static void *
reader_main(void *cookie)
{
    struct model_identity_reader *r = cookie;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    char *buf = malloc(READ_BYTES);

    if (digest == NULL || buf == NULL)
        r->status = error_set(&r->err, ERR_MEMORY, "out of memory");
    else if (hash_bytes(&r->tokenizer, digest, buf, &r->is_abandoned, &r->err) == -1 ||
             hash_bytes(&r->model, digest, buf, &r->is_abandoned, &r->err) == -1)
        r->status = -1;
    free(buf);
    EVP_MD_CTX_free(digest);
    return NULL;
}

struct model_identity_reader *
model_identity_start(const struct worker_settings *settings, struct error *err)
{
    struct model_identity_reader *r = calloc(1, sizeof(*r));
    int error;

    if (r == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    r->settings = settings;
    if (weight_file_open(&r->model, settings->model_dir, err) == -1)
        goto free_reader;
    if (weight_file_open(&r->tokenizer, settings->tokenizer_dir, err) == -1)
        goto close_model;
    if ((error = pthread_create(&r->thread, NULL, reader_main, r)) != 0) {
        error_set(err, ERR_SYSTEM, "start a thread: %s", strerror(error));
        goto close_tokenizer;
    }
    return r;

close_tokenizer:
    close(r->tokenizer.fd);
close_model:
    close(r->model.fd);
free_reader:
    free(r);
    return NULL;
}

/* Weights are replaced by rename: then what was hashed and what was mapped may be two files. */
static int
check_unchanged(const struct weight_file *f, struct error *err)
{
    struct stat now;

    if (stat(f->path, &now) == -1)
        return error_errno(err, "stat %s", f->path);
    if (now.st_dev != f->st.st_dev || now.st_ino != f->st.st_ino || now.st_size != f->st.st_size ||
        now.st_mtim.tv_sec != f->st.st_mtim.tv_sec || now.st_mtim.tv_nsec != f->st.st_mtim.tv_nsec)
        return error_set(err, ERR_INVALID, "%s was replaced while it was loaded", f->path);
    return 0;
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
model_identity_finish(
    struct model_identity_reader *r, struct model_identity *identity, struct error *err)
{
    int status = 0;

    if (identity == NULL)
        atomic_store(&r->is_abandoned, true);
    pthread_join(r->thread, NULL);
    if (identity != NULL) {
        *err = r->err;
        status = r->status;
        if (status == 0 &&
            (check_unchanged(&r->model, err) == -1 || check_unchanged(&r->tokenizer, err) == -1))
            status = -1;
    }
    if (identity != NULL && status == 0) {
        memcpy(identity->weights_sha256, r->model.sha256, sizeof(r->model.sha256));
        memcpy(identity->tokenizer_sha256, r->tokenizer.sha256, sizeof(r->tokenizer.sha256));
        make_version(identity->model_version, r->settings->model_id,
            r->settings->is_bundled ? BUNDLED_MODEL_NAME : r->settings->name, r->model.sha256);
        make_version(identity->tokenizer_version, r->settings->tokenizer_id, "tokenizer",
            r->tokenizer.sha256);
    }
    close(r->model.fd);
    close(r->tokenizer.fd);
    free(r);
    return status;
}
