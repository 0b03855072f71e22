/*
 * msgpack_read.h - A cursor over msgpack bytes that nobody vouches for.
 *
 * Why not msgpack-c's unpacker: it builds a tree, and an array header of five bytes
 * that promises 2^32-1 elements makes it allocate for them before it has seen one.
 * This cursor allocates nothing: it points into the bytes, refuses a count that the
 * bytes left could not hold, and the caller allocates when it knows what is there.
 *
 * Strict: ext types, names that are no text, texts that are not UTF-8 or hold a NUL,
 * a known member twice, numbers that are not finite, depth beyond MSGPACK_READ_DEPTH
 * and bytes after the value are refused. A longer form of a number or length than was
 * needed is fine: other writers may choose it.
 *
 * The first fault stays: every later call returns -1 too, so a decoder may look once.
 */
#ifndef COMMON_MSGPACK_READ_H
#define COMMON_MSGPACK_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MSGPACK_READ_DEPTH 16 /* containers inside each other, in members that are skipped */

struct msgpack_read {
    const uint8_t *data; /* borrowed */
    size_t size, at;
    const char *fault; /* static text of the first fault; NULL while there is none */
};

void msgpack_read_init(struct msgpack_read *r, const void *data, size_t size);

/** msgpack_read_fault(r, text): the caller refuses what it read; ${text} is static. Returns -1. */
int msgpack_read_fault(struct msgpack_read *r, const char *text);

/* A map being read. */
struct msgpack_map {
    uint32_t left; /* members not yet read */
    uint32_t seen; /* bit i: the caller's name i was there */
};
int msgpack_read_map(struct msgpack_read *r, struct msgpack_map *map);

/**
 * msgpack_read_member(r, map, names, n_names, index):
 * Go to the next member called one of ${names} (at most 32); its value is next. Others are
 * skipped: a newer writer may add some. 1: ${index} is set. 0: the map is over. -1: a fault.
 */
int msgpack_read_member(struct msgpack_read *r, struct msgpack_map *map, const char *const *names,
    size_t n_names, size_t *index);

/* One value of one type. Texts and bins point into the bytes; texts are not terminated. */
int msgpack_read_array(struct msgpack_read *r, uint32_t *n);
int msgpack_read_text(struct msgpack_read *r, const char **text, size_t *len);
int msgpack_read_bin(struct msgpack_read *r, const uint8_t **bytes, size_t *size);
int msgpack_read_uint(struct msgpack_read *r, uint64_t max, uint64_t *value); /* 0..max */
int msgpack_read_real(struct msgpack_read *r, double *value); /* any number, finite */
int msgpack_read_bool(struct msgpack_read *r, bool *value);

/** msgpack_read_nil(r): true when nil was next; it is read. */
bool msgpack_read_nil(struct msgpack_read *r);

/** msgpack_read_text_into(r, to, size): a text with its terminator into ${to}; longer is a fault. */
int msgpack_read_text_into(struct msgpack_read *r, char *to, size_t size);

/** msgpack_read_u32(r, max, value): as msgpack_read_uint. */
int msgpack_read_u32(struct msgpack_read *r, uint32_t max, uint32_t *value);

/** msgpack_read_skip(r): pass over one value, whatever it is. */
int msgpack_read_skip(struct msgpack_read *r);

/** msgpack_read_end(r): a fault unless every byte was read. */
int msgpack_read_end(struct msgpack_read *r);

#endif /* COMMON_MSGPACK_READ_H */
