/*
 * drain.h - Read on for a moment after a refusal, so that the refusal is read.
 *
 * Closing a socket with unread bytes makes the kernel send RST, and RST lets the client's
 * kernel drop the reply it has not read yet. So our half is closed, what still comes is thrown
 * away, and the socket is closed after 100 ms of silence, 1 s or 40 MiB.
 */
#ifndef API_DRAIN_H
#define API_DRAIN_H

#include <event2/util.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRAIN_SILENCE_SECONDS 0.1

/* One socket that drains. */
struct drain {
    int64_t until_ms;
    int64_t bytes_left;
};

/** drain_start(drain, fd): the last reply is in the kernel: the client gets it, then the end. */
void drain_start(struct drain *drain, evutil_socket_t fd);

/**
 * drain_more(drain, fd, n_read): ${n_read} bytes came that nobody wants; reads what came behind
 * them. False when that was enough and the socket is to be closed. The end of file, and errors,
 * are left to the next reader.
 */
bool drain_more(struct drain *drain, evutil_socket_t fd, size_t n_read);

#endif /* API_DRAIN_H */
