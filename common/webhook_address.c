/*
 * webhook_address.c - The networks no webhook may reach.
 *
 * An IPv4 address may hide inside an IPv6 one (mapped, compatible): then the inner one is
 * judged. Translation prefixes (64:ff9b::, 2002::) are refused whole, and so is every IPv6
 * address that is no global unicast one.
 */
#include "common/webhook_address.h"

#include <netinet/in.h>
#include <string.h>

struct network {
    const char *prefix;
    int bits;
};

static const struct network blocked[] = {
    {"0.0.0.0", 8},
    {"10.0.0.0", 8},
    {"100.64.0.0", 10},
    {"127.0.0.0", 8},
    {"169.254.0.0", 16},
    {"172.16.0.0", 12},
    {"192.0.0.0", 24},
    {"192.0.2.0", 24},
    {"192.88.99.0", 24},
    {"192.168.0.0", 16},
    {"198.18.0.0", 15},
    {"198.51.100.0", 24},
    {"203.0.113.0", 24},
    {"224.0.0.0", 4},
    {"240.0.0.0", 4},
    {"2001::", 23},
    {"2001:db8::", 32},
    {"2002::", 16},
};

static const struct network global_unicast = {"2000::", 3};

static bool
is_inside(const struct cidr_address *address, const struct network *network)
{
    struct cidr_network n = {.bits = network->bits};

    return cidr_address_parse(network->prefix, strlen(network->prefix), &n.prefix) == 0 &&
           cidr_contains(&n, address);
}

/* ::ffff:a.b.c.d and ::a.b.c.d (but :: and ::1) stand for the IPv4 address inside. */
static bool
inner_ipv4(const struct cidr_address *address, struct cidr_address *inner)
{
    static const uint8_t zeros[12];
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    const uint8_t *b = address->bytes;

    if (address->family != AF_INET6)
        return false;
    if (memcmp(b, mapped, 12) != 0 &&
        (memcmp(b, zeros, 12) != 0 || (b[12] == 0 && b[13] == 0 && b[14] == 0 && b[15] <= 1)))
        return false;
    *inner = (struct cidr_address){.family = AF_INET};
    memcpy(inner->bytes, b + 12, 4);
    return true;
}

bool
webhook_address_is_public(const struct cidr_address *address, const struct cidr_list *allow)
{
    struct cidr_address inner;

    if (allow != NULL && cidr_list_has(allow, address))
        return true;
    if (inner_ipv4(address, &inner))
        return webhook_address_is_public(&inner, allow);
    if (address->family == AF_INET6 && !is_inside(address, &global_unicast))
        return false;
    for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++) {
        if (is_inside(address, &blocked[i]))
            return false;
    }
    return true;
}

int
webhook_address_of(const struct sockaddr *address, socklen_t len, struct cidr_address *out)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    *out = (struct cidr_address){.family = address->sa_family};
    if (address->sa_family == AF_INET && len >= sizeof(v4)) {
        memcpy(&v4, address, sizeof(v4));
        memcpy(out->bytes, &v4.sin_addr, sizeof(v4.sin_addr));
        return 0;
    }
    if (address->sa_family == AF_INET6 && len >= sizeof(v6)) {
        memcpy(&v6, address, sizeof(v6));
        memcpy(out->bytes, &v6.sin6_addr, sizeof(v6.sin6_addr));
        return 0;
    }
    return -1;
}
