/*
 * weight_cache.h - One copy of the weights for all workers of a host.
 *
 * What a model computes with is prepared once (widened, laid out as the kernels read it) and
 * kept as a file that every worker maps read-only. The file is a convenience, never an authority:
 * one that is stale, cut, damaged or somebody else's is built again, and where no file can be
 * kept the same bytes are prepared in private memory. Knows bytes and a key, not the model.
 */
#ifndef WORKER_KRONOS_WEIGHT_CACHE_H
#define WORKER_KRONOS_WEIGHT_CACHE_H

#include <stddef.h>

#include "common/error.h"

#define WEIGHT_CACHE_KEY_MAX   512 /* bytes of a key with the terminator */
#define WEIGHT_CACHE_ALIGNMENT 64  /* of the bytes: a cache line, the widest vector */

enum weight_cache_origin {
    WEIGHT_CACHE_FOUND,   /* the file was there and is sound */
    WEIGHT_CACHE_BUILT,   /* by this call, for the others too */
    WEIGHT_CACHE_PRIVATE, /* memory of this process; note says why */
};

struct weight_cache {
    const unsigned char *data; /* read-only, aligned */
    size_t bytes;
    enum weight_cache_origin origin;
    char path[ERROR_TEXT_MAX]; /* of the file, for a log line; empty when private */
    char note[ERROR_TEXT_MAX]; /* why it is private, or why what was found was built again; or "" */
    /* weight_cache.c's */
    void *base;
    size_t mapped_bytes;
    int fd; /* holds the lock that says "in use"; -1 when private */
};

/**
 * weight_cache_fill_fn(cookie, data, err): write all bytes. Whatever it leaves out is zero. What
 * it refuses is the caller's failure, not the cache's.
 */
typedef int (*weight_cache_fill_fn)(void *cookie, unsigned char *data, struct error *err);

/**
 * weight_cache_open(cache, dir, key, bytes, fill, cookie, err):
 * ${bytes} bytes, as ${fill} makes them, from the file of ${dir} whose key is ${key}. The key
 * is a text that names everything the bytes depend on. Where there is no such file it is built,
 * by one of the processes that want it at the same time; files of other keys that nobody has
 * used for long are removed. ${dir} NULL: private memory, without a note.
 *
 * Returns 0, or -1: ERR_MEMORY, ERR_INVALID for a key or a size out of bounds, or what ${fill}
 * returned. Nothing about the directory is a failure.
 */
int weight_cache_open(struct weight_cache *cache, const char *dir, const char *key, size_t bytes,
    weight_cache_fill_fn fill, void *cookie, struct error *err);

/** weight_cache_close(cache): unmap; the file stays. One that was never opened is allowed. */
void weight_cache_close(struct weight_cache *cache);

/** weight_cache_origin_name(origin): "found", "built" or "private". */
const char *weight_cache_origin_name(enum weight_cache_origin origin);

#endif /* WORKER_KRONOS_WEIGHT_CACHE_H */
