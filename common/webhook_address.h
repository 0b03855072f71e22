/*
 * webhook_address.h - Is an address one of the public network?
 */
#ifndef COMMON_WEBHOOK_ADDRESS_H
#define COMMON_WEBHOOK_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct webhook_address {
    int family;        /* AF_INET or AF_INET6 */
    uint8_t bytes[16]; /* network order; 4 for AF_INET */
};

/** webhook_address_parse(text, len, address):
 * Strictly: four decimal numbers without leading zeros, or IPv6 text (RFC 4291, no zone). 0 or -1. */
int webhook_address_parse(const char *text, size_t len, struct webhook_address *address);

/** webhook_address_is_public(address, allow_cidr):
 * False for private, loopback, link-local, documentation, multicast and translated ones, but
 * for those in ${allow_cidr} ("10.0.0.0/8,fd00::/8" or NULL). */
bool webhook_address_is_public(const struct webhook_address *address, const char *allow_cidr);

#endif /* COMMON_WEBHOOK_ADDRESS_H */
