/*
 * webhook_address.h - Is an address one of the public network?
 */
#ifndef COMMON_WEBHOOK_ADDRESS_H
#define COMMON_WEBHOOK_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/cidr.h"

/**
 * webhook_address_is_public(address, allow):
 * False for private, loopback, link-local, documentation, multicast and translated ones, but
 * for those in ${allow} (NULL: none).
 */
bool webhook_address_is_public(const struct cidr_address *address, const struct cidr_list *allow);

/** webhook_address_of(address, len, out): of a socket's address; -1: it is neither IPv4 nor IPv6. */
int webhook_address_of(const struct sockaddr *address, socklen_t len, struct cidr_address *out);

#endif /* COMMON_WEBHOOK_ADDRESS_H */
