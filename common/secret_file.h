/*
 * secret_file.h - A file that holds secrets: API keys, master secrets.
 */
#ifndef COMMON_SECRET_FILE_H
#define COMMON_SECRET_FILE_H

#include <stddef.h>

#include "common/error.h"

#define SECRET_FILE_BYTES_MAX (1024 * 1024) /* more is a wrong path */

/**
 * secret_file_read(path, len, err):
 * The whole file, ended by a NUL that ${len} does not count; for secret_file_free(). NULL with
 * ERR_INVALID when it is no regular file, readable or writable by everybody, too large, or has a
 * zero byte; ERR_SYSTEM when it cannot be read. No text of it is in ${err}.
 */
char *secret_file_read(const char *path, size_t *len, struct error *err);

/** secret_file_free(text, len): wiped first. NULL is nothing. */
void secret_file_free(char *text, size_t len);

#endif /* COMMON_SECRET_FILE_H */
