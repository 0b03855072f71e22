/*
 * departure.h - Has the client of a held request gone?
 *
 * evhttp does not look while a request is in work. Neither function reads anything.
 */
#ifndef API_DEPARTURE_H
#define API_DEPARTURE_H

#include <event2/util.h>

enum departure {
    DEPARTURE_NONE,
    DEPARTURE_BYTES, /* still there, and has sent its next request: readable for good */
    DEPARTURE_GONE   /* closed, reset, or closed its sending half */
};

/** departure_peek(fd): when ${fd} is readable. */
enum departure departure_peek(evutil_socket_t fd);

/** departure_by_state(fd): when unread bytes hide an end of file: asks the kernel's TCP state. */
enum departure departure_by_state(evutil_socket_t fd);

#endif /* API_DEPARTURE_H */
