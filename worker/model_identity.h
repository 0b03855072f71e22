/*
 * model_identity.h - Which weights are these: SHA-256 of both files, and their names.
 *
 * Every result carries the hashes, so a forecast can be reproduced or distrusted; and prepared
 * weights are kept under them, so nobody computes with those of another file.
 */
#ifndef WORKER_MODEL_IDENTITY_H
#define WORKER_MODEL_IDENTITY_H

#include <sys/stat.h>

#include "common/error.h"
#include "common/result.h"
#include "worker/settings.h"

struct model_identity {
    char weights_sha256[65]; /* of the model's model.safetensors, hexadecimal */
    char tokenizer_sha256[65];
    char model_version[RESULT_NAME_MAX]; /* KRONOS_MODEL_ID, else name@ and 12 digits */
    char tokenizer_version[RESULT_NAME_MAX];
    struct stat model_file, tokenizer_file; /* as they were when they were opened to be hashed */
};

/**
 * model_identity_read(identity, settings, err): hash both files; about 60 ms per 100 MB that are
 * in the page cache. -1 if one cannot be read.
 */
int model_identity_read(
    struct model_identity *identity, const struct worker_settings *settings, struct error *err);

/**
 * model_identity_confirm(identity, settings, err): both paths still lead to the files that were
 * hashed, unchanged. Asked after they were read again, it proves that both saw the same bytes.
 */
int model_identity_confirm(const struct model_identity *identity,
    const struct worker_settings *settings, struct error *err);

#endif /* WORKER_MODEL_IDENTITY_H */
