/*
 * departure.c - Has the client of a held request gone?
 *
 * A closed connection and one whose client has only finished sending look alike; both end the
 * hold, and the second still gets its reply.
 */
#include "api/departure.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum departure
departure_peek(evutil_socket_t fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (n > 0)
        return DEPARTURE_BYTES;
    if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return DEPARTURE_NONE;
    return DEPARTURE_GONE;
}

enum departure
departure_by_state(evutil_socket_t fd)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);
    int error = 0;
    socklen_t error_size = sizeof(error);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) == -1 || error != 0)
        return DEPARTURE_GONE;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == -1)
        return DEPARTURE_NONE; /* cannot be asked: the hold ends by its own limit */
    return info.tcpi_state == TCP_ESTABLISHED ? DEPARTURE_NONE : DEPARTURE_GONE;
}
