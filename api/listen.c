/*
 * listen.c - Where the API may listen, and the socket it listens on.
 */
#include "api/listen.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024 /* clients that connect while the loop is busy */

/* Digits, 0..65535; -1 if not. */
static int
parse_port(const char *text)
{
    int port = 0;

    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || (port = port * 10 + (*text - '0')) > 65535)
            return -1;
    }
    return port;
}

static int
set_address(struct listen_address *out, const char *host, bool is_v6, int port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->address;

    if (is_v6) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        out->len = sizeof(*v6);
        if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
            return -1;
        out->is_loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    } else {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        out->len = sizeof(*v4);
        if (inet_pton(AF_INET, host, &v4->sin_addr) != 1)
            return -1;
        out->is_loopback = (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    }
    return 0;
}

int
listen_parse(const char *text, struct listen_address *out, struct error *err)
{
    const char *whole = text, *colon = strrchr(text, ':');
    bool is_v6 = text[0] == '[';
    char host[INET6_ADDRSTRLEN + 2] = "";
    int port = colon != NULL ? parse_port(colon + 1) : -1;
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;

    *out = (struct listen_address){0};
    if (is_v6 && len >= 2 && colon[-1] == ']') {
        text++;
        len -= 2;
    } else if (is_v6) {
        port = -1;
    }
    if (port >= 0 && len < sizeof(host)) {
        memcpy(host, text, len);
        if (set_address(out, host, is_v6, port) == 0)
            return 0;
    }
    return error_set(err, ERR_INVALID,
        "listen: \"%.80s\" is not a numeric address and a port, as 127.0.0.1:8000 or [::1]:8000",
        whole);
}

int
listen_open(const struct listen_address *address, int *port, struct error *err)
{
    const int on = 1;
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    int fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        error_errno(err, "listen: socket");
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == -1) {
        error_errno(err, "listen: setsockopt");
        goto close_fd;
    }
    if (bind(fd, (const struct sockaddr *)&address->address, address->len) == -1) {
        error_errno(err, "listen: bind");
        goto close_fd;
    }
    if (listen(fd, LISTEN_BACKLOG) == -1 ||
        getsockname(fd, (struct sockaddr *)&bound, &len) == -1) {
        error_errno(err, "listen");
        goto close_fd;
    }
    *port = ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port
                                             : ((struct sockaddr_in6 *)&bound)->sin6_port);
    return fd;

close_fd:
    close(fd);
    return -1;
}
