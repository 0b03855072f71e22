/*
 * weight_cache_internal.h - What weight_cache.c (which file, who builds it) and weight_file.c (one
 * file: what makes it sound) share.
 */
#ifndef WORKER_KRONOS_WEIGHT_CACHE_INTERNAL_H
#define WORKER_KRONOS_WEIGHT_CACHE_INTERNAL_H

#include <stdint.h>

#include "worker/kronos/weight_cache.h"

/*
 * The first page of a file; the bytes follow. Raise WEIGHT_FILE_VERSION with any change: files of
 * another version are built again.
 */
#define WEIGHT_FILE_VERSION      1u
#define WEIGHT_FILE_HEADER_BYTES 4096
#define WEIGHT_FILE_BYTES_MAX    (SIZE_MAX / 4)

struct weight_file_header {
    char magic[8];                  /* "KQWEIGHT" */
    uint32_t version;               /* WEIGHT_FILE_VERSION */
    uint32_t byte_order;            /* 0x01020304 as this machine writes it */
    uint64_t header_bytes;          /* WEIGHT_FILE_HEADER_BYTES */
    uint64_t data_bytes;            /* of what follows; the file ends there */
    unsigned char sum[16];          /* XXH3-128 of the data */
    char key[WEIGHT_CACHE_KEY_MAX]; /* filled up with zeros */
    unsigned char header_sum[16];   /* XXH3-128 of all of the above */
};

/** weight_pages_map(bytes): zeroed private memory in large pages where there are any; or NULL. */
void *weight_pages_map(size_t bytes);

/**
 * weight_file_open(cache, dir_fd, name, key, err): map the file if it is sound: ours or root's, written
 * by nobody else, a regular file, whole, of this key, undamaged. 0, or -1 with the reason: ERR_NOT_FOUND
 * when there is none.
 */
int weight_file_open(struct weight_cache *cache, int dir_fd, const char *name, const char *key,
    size_t bytes, struct error *err);

/**
 * weight_file_write(dir_fd, name, image, key, bytes, err): the file ${name}, complete and on disk,
 * or nothing. ${image} is the page of the header, filled here, and the data behind it.
 */
int weight_file_write(int dir_fd, const char *name, unsigned char *image, const char *key,
    size_t bytes, struct error *err);

#endif /* WORKER_KRONOS_WEIGHT_CACHE_INTERNAL_H */
