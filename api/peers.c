/*
 * peers.c - Addresses: who may connect, which proxies are believed, who the client is.
 *
 * Of X-Forwarded-For only the end is worth something: each trusted proxy appended the address it
 * saw, and what stands before the first of those anybody may have written.
 */
#include "api/peers.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define BLANKS " \t"

static int
read_list(const struct config *config, enum config_id id, struct cidr_list *list, struct error *err)
{
    const char *text = config_text(config, id);

    *list = (struct cidr_list){0};
    return text != NULL ? cidr_list_parse(text, list, err) : 0;
}

int
peers_read(const struct config *config, struct peers *peers, struct error *err)
{
    struct peers fresh;

    if (read_list(config, CONFIG_PEER_ALLOW, &fresh.allow, err) == -1)
        return -1;
    if (read_list(config, CONFIG_TRUSTED_PROXIES, &fresh.proxies, err) == -1) {
        cidr_list_clear(&fresh.allow);
        return -1;
    }
    peers_clear(peers);
    *peers = fresh;
    return 0;
}

void
peers_clear(struct peers *peers)
{
    cidr_list_clear(&peers->allow);
    cidr_list_clear(&peers->proxies);
}

static bool
is_listed(const struct cidr_list *list, const char *peer)
{
    struct cidr_address address;

    return list->n > 0 && cidr_address_parse(peer, strlen(peer), &address) == 0 &&
           cidr_list_has(list, &address);
}

bool
peers_may_talk(const struct peers *peers, const char *peer)
{
    return peers->allow.n == 0 || is_listed(&peers->allow, peer);
}

bool
peers_is_proxy(const struct peers *peers, const char *peer)
{
    return is_listed(&peers->proxies, peer);
}

/* "192.0.2.7", "192.0.2.7:4711", "2001:db8::1", "[2001:db8::1]:4711": some proxies add the port. */
static int
parse_hop(const char *text, size_t len, struct cidr_address *address)
{
    const char *end = text + len, *colon = memchr(text, ':', len);
    const char *bracket = memchr(text, ']', len);

    if (len > 0 && text[0] == '[')
        return bracket != NULL && (bracket + 1 == end || bracket[1] == ':')
                   ? cidr_address_parse(text + 1, (size_t)(bracket - text) - 1, address)
                   : -1;
    if (colon != NULL && memchr(colon + 1, ':', (size_t)(end - colon) - 1) == NULL)
        end = colon; /* one colon: an IPv4 address and a port */
    return cidr_address_parse(text, (size_t)(end - text), address);
}

/*
 * The hops of one header line from its end. True when ${client} is the one that was looked for:
 * it is no trusted proxy, or who stands before it cannot be read.
 */
static bool
walk_back(const struct peers *peers, const char *line, char *client)
{
    const char *end = line + strlen(line);
    struct cidr_address address;

    for (;;) {
        const char *begin = end, *hop_end = end;

        while (begin > line && begin[-1] != ',')
            begin--;
        end = begin;
        begin += strspn(begin, BLANKS);
        while (hop_end > begin && strchr(BLANKS, hop_end[-1]) != NULL)
            hop_end--;
        if (parse_hop(begin, (size_t)(hop_end - begin), &address) == -1)
            return true;
        inet_ntop(address.family, address.bytes, client, PEERS_TEXT_MAX);
        if (!cidr_list_has(&peers->proxies, &address))
            return true;
        if (end == line)
            return false;
        end--; /* the comma */
    }
}

void
peers_client(const struct peers *peers, const char *peer, const struct head *head, char *client)
{
    unsigned n = 0;

    snprintf(client, PEERS_TEXT_MAX, "%s", peer);
    if (!peers_is_proxy(peers, peer))
        return;
    while (head_field(head, "X-Forwarded-For", n) != NULL)
        n++;
    while (n-- > 0)
        if (walk_back(peers, head_field(head, "X-Forwarded-For", n), client))
            return;
}
