/*
 * listen.h - Where the API may listen, and the socket it listens on.
 */
#ifndef API_LISTEN_H
#define API_LISTEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "common/error.h"

struct listen_address {
    struct sockaddr_storage address;
    socklen_t len;
    bool is_loopback;
};

/** listen_parse(text, out, err): "127.0.0.1:8000", "[::1]:0"; numeric, so that no name server decides who may connect. */
int listen_parse(const char *text, struct listen_address *out, struct error *err);

/** listen_open(address, port, err): a listening socket and the port it has; -1 with ${err}. Several
 * processes may listen on one port: the kernel shares the clients out. */
int listen_open(const struct listen_address *address, int *port, struct error *err);

#endif /* API_LISTEN_H */
