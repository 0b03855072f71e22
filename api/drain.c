/*
 * drain.c - Read on for a moment after a refusal, so that the refusal is read.
 *
 * Works on the connection's own descriptor, which stays evhttp's until the end: a duplicate
 * would keep the socket in epoll under a number that is another client's by then.
 */
#include "api/drain.h"

#include <sys/socket.h>

#include "common/clock.h"

#define DRAIN_TOTAL_MS   1000
#define DRAIN_BYTES_MAX  (INT64_C(40) * 1024 * 1024)
#define DRAIN_READ_BYTES 65536
#define DRAIN_READS      16 /* in one go, so that one sender does not hold up the loop */

void
drain_start(struct drain *drain, evutil_socket_t fd)
{
    *drain = (struct drain){
        .until_ms = clock_monotonic_ms() + DRAIN_TOTAL_MS,
        .bytes_left = DRAIN_BYTES_MAX,
    };
    (void)shutdown(fd, SHUT_WR); /* fails when the client is gone: then its end is read */
}

bool
drain_more(struct drain *drain, evutil_socket_t fd, size_t n_read)
{
    static char waste[DRAIN_READ_BYTES];
    ssize_t n = 1;

    drain->bytes_left -= (int64_t)n_read;
    for (int i = 0; i < DRAIN_READS && n > 0 && drain->bytes_left >= 0; i++) {
        n = recv(fd, waste, sizeof(waste), MSG_DONTWAIT);
        drain->bytes_left -= n > 0 ? (int64_t)n : 0;
    }
    return drain->bytes_left >= 0 && clock_monotonic_ms() < drain->until_ms;
}
