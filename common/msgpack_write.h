/*
 * msgpack_write.h - Packing a stored value, with one look at what went wrong.
 *
 * A thin layer over msgpack-c's packer: it remembers whether any call failed (only
 * memory can), and writes numbers in bins as little-endian bytes. The caller counts
 * the members of its maps, as the format wants the number first.
 */
#ifndef COMMON_MSGPACK_WRITE_H
#define COMMON_MSGPACK_WRITE_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct msgpack_write {
    msgpack_sbuffer buffer;
    msgpack_packer packer; /* points at buffer: the struct must stay where it is */
    bool failed;
};

void msgpack_write_init(struct msgpack_write *w);

void msgpack_write_map(struct msgpack_write *w, size_t members);
void msgpack_write_array(struct msgpack_write *w, size_t elements);
void msgpack_write_text(struct msgpack_write *w, const char *text);
void msgpack_write_uint(struct msgpack_write *w, uint64_t value);
void msgpack_write_float(struct msgpack_write *w, float value);
void msgpack_write_double(struct msgpack_write *w, double value);
void msgpack_write_bool(struct msgpack_write *w, bool value);
void msgpack_write_nil(struct msgpack_write *w);

/* A bin in one piece, or its length and then exactly that many bytes. */
void msgpack_write_bin(struct msgpack_write *w, size_t size);
void msgpack_write_bytes(struct msgpack_write *w, const void *bytes, size_t size);
void msgpack_write_floats(struct msgpack_write *w, const float *values, size_t n);
void msgpack_write_doubles(struct msgpack_write *w, const double *values, size_t n);

/**
 * msgpack_write_finish(w, data, size, err): the bytes, malloc'ed, to the caller; or -1
 * with ERR_MEMORY and nothing to free. Ends ${w} either way.
 */
int msgpack_write_finish(struct msgpack_write *w, void **data, size_t *size, struct error *err);

#endif /* COMMON_MSGPACK_WRITE_H */
