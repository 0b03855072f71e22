/*
 * model_identity.h - Which weights are these: SHA-256 of both files, and their names.
 *
 * Every result carries the hashes, so a forecast can be reproduced or distrusted.
 */
#ifndef WORKER_MODEL_IDENTITY_H
#define WORKER_MODEL_IDENTITY_H

#include "common/error.h"
#include "common/result.h"
#include "worker/settings.h"

struct model_identity {
    char weights_sha256[65]; /* of the model's model.safetensors, hexadecimal */
    char tokenizer_sha256[65];
    char model_version[RESULT_NAME_MAX]; /* KRONOS_MODEL_ID, else name@ and 12 digits */
    char tokenizer_version[RESULT_NAME_MAX];
};

/*
 * Reading takes as long as the files are large, so it runs on a thread of its own while the
 * model warms up.
 */
struct model_identity_reader;

/**
 * model_identity_start(settings, err): open both files and start reading. Call it before
 * model_open(); the other end then proves that both saw the same files.
 */
struct model_identity_reader *model_identity_start(
    const struct worker_settings *settings, struct error *err);

/**
 * model_identity_finish(reader, identity, err): wait for it and free it. ${identity} may be
 * NULL: nobody wants to know any more. -1 if a file could not be read, or another one has
 * taken its place since the start.
 */
int model_identity_finish(
    struct model_identity_reader *reader, struct model_identity *identity, struct error *err);

#endif /* WORKER_MODEL_IDENTITY_H */
