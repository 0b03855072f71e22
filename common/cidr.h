/*
 * cidr.h - Addresses, and lists of networks as operators write them: "10.0.0.0/8, ::1".
 *
 * An IPv4-mapped address (::ffff:10.0.0.1), as a dual-stack socket shows its peers, is the IPv4
 * address inside: in what is parsed, so in whatever is compared.
 */
#ifndef COMMON_CIDR_H
#define COMMON_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define CIDR_NETWORKS_MAX 1024 /* of one list; more belongs into a firewall */

struct cidr_address {
    int family;        /* AF_INET or AF_INET6 */
    uint8_t bytes[16]; /* network order; 4 for AF_INET */
};

struct cidr_network {
    struct cidr_address prefix;
    int bits; /* of the prefix, 0..32 or 0..128 */
};

struct cidr_list {
    size_t n;
    struct cidr_network *networks; /* owned; NULL: the list holds nobody */
};

/**
 * cidr_address_parse(text, len, address):
 * Strictly: four decimal numbers without leading zeros, or IPv6 text (RFC 4291) without a zone.
 * 0 or -1.
 */
int cidr_address_parse(const char *text, size_t len, struct cidr_address *address);

/** cidr_contains(network, address): families differ, so does the answer. */
bool cidr_contains(const struct cidr_network *network, const struct cidr_address *address);

/**
 * cidr_list_parse(text, list, err):
 * Networks between commas or white space; an address without "/bits" stands for itself. 0, and
 * ${list} is for cidr_list_clear(); -1 with ERR_INVALID naming the entry, and an empty ${list}.
 * A prefix with bits beyond its length is refused: 10.1.2.3/8 may mean one host or millions.
 */
int cidr_list_parse(const char *text, struct cidr_list *list, struct error *err);
void cidr_list_clear(struct cidr_list *list);

/** cidr_list_has(list, address): is it in one of the networks? */
bool cidr_list_has(const struct cidr_list *list, const struct cidr_address *address);

#endif /* COMMON_CIDR_H */
