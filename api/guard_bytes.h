/*
 * guard_bytes.h - A client's bytes on their way between its socket and evhttp's buffers.
 *
 * Only for guard.c. evhttp's input buffer may be written to by bufferevent alone, unless it is
 * thawed: ${is_reading} says that bufferevent is reading just now, and has thawed it itself.
 */
#ifndef API_GUARD_BYTES_H
#define API_GUARD_BYTES_H

#include <event2/bufferevent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** bytes_cut_tail(bev, n, to): remove the last ${n} bytes of the input; into ${to} unless NULL. */
void bytes_cut_tail(struct bufferevent *bev, size_t n, struct evbuffer *to);

/**
 * bytes_give(bev, is_reading, block, from, n, n_more):
 * Put ${block}, then ${n} bytes of ${from}, where evhttp reads; ${n_more} are to follow them.
 */
void bytes_give(struct bufferevent *bev, bool is_reading, const char *block, struct evbuffer *from,
    size_t n, uint64_t n_more);

/**
 * bytes_read_ahead(bev, most): while bufferevent is reading, read on from the socket, at most
 * ${most} bytes. Returns how many came. It reads 4 KiB at a time, a body has ten times that. The
 * end of file, and errors, are left to the next reader.
 */
size_t bytes_read_ahead(struct bufferevent *bev, uint64_t most);

/**
 * bytes_write_now(bev): write the output to the socket instead of asking epoll first whether there
 * is room, which there mostly is. True when all of it is in the kernel. Errors are left to the
 * next writer.
 */
bool bytes_write_now(struct bufferevent *bev);

#endif /* API_GUARD_BYTES_H */
