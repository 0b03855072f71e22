/*
 * webhook_address.c - The networks no webhook may reach.
 *
 * An IPv4 address may hide inside an IPv6 one (mapped, compatible): then the inner one is
 * judged. Translation prefixes (64:ff9b::, 2002::) are refused whole.
 */
#include "common/webhook_address.h"

#include <arpa/inet.h>
#include <string.h>

#define LITERAL_MAX 63 /* bytes of the longest address text */

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
    {"::", 128},
    {"::1", 128},
    {"64:ff9b::", 96},
    {"64:ff9b:1::", 48},
    {"100::", 64},
    {"2001::", 23},
    {"2001:db8::", 32},
    {"2002::", 16},
    {"fc00::", 7},
    {"fe80::", 10},
    {"ff00::", 8},
};

/* inet_pton() takes no octal, hexadecimal or short forms, and no zone. */
int
webhook_address_parse(const char *text, size_t len, struct webhook_address *address)
{
    char copy[LITERAL_MAX + 1];

    if (len == 0 || len > LITERAL_MAX)
        return -1;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *address = (struct webhook_address){.family = AF_INET};
    if (inet_pton(AF_INET, copy, address->bytes) == 1)
        return 0;
    address->family = AF_INET6;
    return inet_pton(AF_INET6, copy, address->bytes) == 1 ? 0 : -1;
}

static bool
is_inside(const struct webhook_address *address, const struct webhook_address *prefix, int bits)
{
    int whole = bits / 8, rest = bits % 8;

    if (address->family != prefix->family || bits > (address->family == AF_INET ? 32 : 128))
        return false;
    if (memcmp(address->bytes, prefix->bytes, (size_t)whole) != 0)
        return false;
    return rest == 0 || (address->bytes[whole] ^ prefix->bytes[whole]) >> (8 - rest) == 0;
}

/* One "10.0.0.0/8" of a list; an entry that is none allows nothing. */
static bool
is_in_entry(const struct webhook_address *address, const char *entry, size_t len)
{
    const char *slash = memchr(entry, '/', len);
    struct webhook_address prefix;
    int bits = 0;

    if (slash == NULL || slash + 1 == entry + len || entry + len - slash > 4 ||
        webhook_address_parse(entry, (size_t)(slash - entry), &prefix) == -1)
        return false;
    for (const char *at = slash + 1; at < entry + len; at++) {
        if (*at < '0' || *at > '9')
            return false;
        bits = bits * 10 + (*at - '0');
    }
    return is_inside(address, &prefix, bits);
}

static bool
is_in_list(const struct webhook_address *address, const char *list)
{
    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, ", ");

        if (len > 0 && is_in_entry(address, list, len))
            return true;
        list += len;
        list += strspn(list, ", ");
    }
    return false;
}

/* ::ffff:a.b.c.d and ::a.b.c.d (but :: and ::1) stand for the IPv4 address inside. */
static bool
inner_ipv4(const struct webhook_address *address, struct webhook_address *inner)
{
    static const uint8_t zeros[12];
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    const uint8_t *b = address->bytes;

    if (address->family != AF_INET6)
        return false;
    if (memcmp(b, mapped, 12) != 0 &&
        (memcmp(b, zeros, 12) != 0 || (b[12] == 0 && b[13] == 0 && b[14] == 0 && b[15] <= 1)))
        return false;
    *inner = (struct webhook_address){.family = AF_INET};
    memcpy(inner->bytes, b + 12, 4);
    return true;
}

bool
webhook_address_is_public(const struct webhook_address *address, const char *allow_cidr)
{
    struct webhook_address inner, prefix;

    if (is_in_list(address, allow_cidr))
        return true;
    if (inner_ipv4(address, &inner))
        return webhook_address_is_public(&inner, allow_cidr);
    for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++) {
        const struct network *n = &blocked[i];

        if (webhook_address_parse(n->prefix, strlen(n->prefix), &prefix) == 0 &&
            is_inside(address, &prefix, n->bits))
            return false;
    }
    return true;
}
