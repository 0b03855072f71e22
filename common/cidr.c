/*
 * cidr.c - Addresses and lists of networks, read strictly.
 *
 * What two readers could take differently (octal numbers, short forms, zones, a prefix that
 * has more bits than it says) is refused, because these lists decide who may come in.
 */
#include "common/cidr.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define LITERAL_MAX (INET6_ADDRSTRLEN - 1)
#define SEPARATORS  ", \t"
#define MAPPED_BITS 96 /* of an IPv6 address before the IPv4 one inside */

static int
family_bits(int family)
{
    return family == AF_INET ? 32 : 128;
}

/* inet_pton() takes no octal, hexadecimal or short forms, and no zone. */
static int
parse_literal(const char *text, size_t len, struct cidr_address *address)
{
    char copy[LITERAL_MAX + 1];

    if (len == 0 || len > LITERAL_MAX || memchr(text, '\0', len) != NULL)
        return -1;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *address = (struct cidr_address){.family = AF_INET};
    if (inet_pton(AF_INET, copy, address->bytes) == 1)
        return 0;
    address->family = AF_INET6;
    return inet_pton(AF_INET6, copy, address->bytes) == 1 ? 0 : -1;
}

static bool
unmap(struct cidr_address *address)
{
    static const uint8_t mapped[MAPPED_BITS / 8] = {[10] = 0xFF, [11] = 0xFF};
    struct cidr_address inner = {.family = AF_INET};

    if (address->family != AF_INET6 || memcmp(address->bytes, mapped, sizeof(mapped)) != 0)
        return false;
    memcpy(inner.bytes, address->bytes + sizeof(mapped), 4);
    *address = inner;
    return true;
}

int
cidr_address_parse(const char *text, size_t len, struct cidr_address *address)
{
    if (parse_literal(text, len, address) == -1)
        return -1;
    (void)unmap(address);
    return 0;
}

bool
cidr_contains(const struct cidr_network *network, const struct cidr_address *address)
{
    size_t whole = (size_t)network->bits / 8;
    int rest = network->bits % 8;

    if (address->family != network->prefix.family ||
        memcmp(address->bytes, network->prefix.bytes, whole) != 0)
        return false;
    return rest == 0 || (address->bytes[whole] ^ network->prefix.bytes[whole]) >> (8 - rest) == 0;
}

/* Digits without a leading zero, up to ${max}; -1 if not. */
static int
parse_bits(const char *text, size_t len, int max)
{
    int bits = 0;

    if (len == 0 || len > 3 || (len > 1 && text[0] == '0'))
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        bits = bits * 10 + (text[i] - '0');
    }
    return bits <= max ? bits : -1;
}

static bool
has_bits_beyond(const struct cidr_network *network)
{
    for (int bit = network->bits; bit < family_bits(network->prefix.family); bit++) {
        if ((network->prefix.bytes[bit / 8] >> (7 - bit % 8) & 1) != 0)
            return true;
    }
    return false;
}

static int
parse_network(const char *text, size_t len, struct cidr_network *network, struct error *err)
{
    const char *slash = memchr(text, '/', len);
    size_t address_len = slash != NULL ? (size_t)(slash - text) : len;
    int shown = len < 60 ? (int)len : 60;

    if (parse_literal(text, address_len, &network->prefix) == -1)
        return error_set(err, ERR_INVALID,
            "\"%.*s\" is not an address or network, as 10.0.0.0/8, 192.0.2.7 or fd00::/8", shown,
            text);
    network->bits = family_bits(network->prefix.family);
    if (slash != NULL)
        network->bits = parse_bits(slash + 1, len - address_len - 1, network->bits);
    if (network->bits == -1)
        return error_set(err, ERR_INVALID, "\"%.*s\": the prefix length must be 0..%d", shown, text,
            family_bits(network->prefix.family));
    if (has_bits_beyond(network))
        return error_set(err, ERR_INVALID,
            "\"%.*s\": the address has bits beyond its prefix of %d: it names a host and a "
            "network at once",
            shown, text, network->bits);
    if (network->bits >= MAPPED_BITS && unmap(&network->prefix))
        network->bits -= MAPPED_BITS;
    return 0;
}

int
cidr_list_parse(const char *text, struct cidr_list *list, struct error *err)
{
    size_t capacity = 0;

    *list = (struct cidr_list){0};
    for (text += strspn(text, SEPARATORS); *text != '\0'; text += strspn(text, SEPARATORS)) {
        size_t len = strcspn(text, SEPARATORS);

        if (list->n == CIDR_NETWORKS_MAX) {
            error_set(err, ERR_INVALID, "more than %d networks", CIDR_NETWORKS_MAX);
            goto clear_list;
        }
        if (list->n == capacity) {
            struct cidr_network *networks;

            capacity = capacity == 0 ? 8 : capacity * 2;
            networks = realloc(list->networks, capacity * sizeof(*networks));
            if (networks == NULL) {
                error_set(err, ERR_MEMORY, "no memory for a list of networks");
                goto clear_list;
            }
            list->networks = networks;
        }
        if (parse_network(text, len, &list->networks[list->n], err) == -1)
            goto clear_list;
        list->n++;
        text += len;
    }
    if (list->n > 0)
        return 0;
    error_set(err, ERR_INVALID, "the list names no network");

clear_list:
    cidr_list_clear(list);
    return -1;
}

void
cidr_list_clear(struct cidr_list *list)
{
    free(list->networks);
    *list = (struct cidr_list){0};
}

bool
cidr_list_has(const struct cidr_list *list, const struct cidr_address *address)
{
    for (size_t i = 0; i < list->n; i++) {
        if (cidr_contains(&list->networks[i], address))
            return true;
    }
    return false;
}
