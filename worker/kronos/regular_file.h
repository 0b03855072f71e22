/*
 * regular_file.h - Open a file a user named, and nothing that only looks like one.
 */
#ifndef WORKER_KRONOS_REGULAR_FILE_H
#define WORKER_KRONOS_REGULAR_FILE_H

#include <stddef.h>

#include "common/error.h"

/**
 * regular_file_open(path, size_bytes, err):
 * Open ${path} for reading, close-on-exec. Returns the descriptor and its size now, or -1:
 * ERR_SYSTEM when it cannot be opened, ERR_INVALID when it is a directory, pipe or device.
 */
int regular_file_open(const char *path, size_t *size_bytes, struct error *err);

#endif /* WORKER_KRONOS_REGULAR_FILE_H */
