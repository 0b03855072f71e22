/*
 * drain.h - Read on for a moment after a refusal, so that the refusal is read.
 *
 * Closing a socket with unread bytes makes the kernel send RST, and RST lets the client's
 * kernel drop the reply it has not read yet. So the descriptor is kept, what still comes is
 * thrown away, and the socket is closed after 100 ms of silence, 1 s or 40 MiB.
 */
#ifndef API_DRAIN_H
#define API_DRAIN_H

#include <event2/event.h>

struct drain; /* all sockets that drain */

struct drain *drain_new(struct event_base *base);
void drain_free(struct drain *drain); /* closes them all */

/** drain_start(drain, fd): keep a duplicate of ${fd}; the caller closes its own as usual. Beyond
 * DRAIN_MAX sockets nothing is kept. */
void drain_start(struct drain *drain, evutil_socket_t fd);

#define DRAIN_MAX 256

#endif /* API_DRAIN_H */
