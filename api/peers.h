/*
 * peers.h - Addresses: who may connect, which proxies are believed, who the client is.
 */
#ifndef API_PEERS_H
#define API_PEERS_H

#include <stdbool.h>

#include "api/head.h"
#include "common/cidr.h"
#include "common/config.h"
#include "common/error.h"

#define PEERS_TEXT_MAX 64 /* bytes of an address with its terminator */

struct peers {
    struct cidr_list allow;   /* KRONOS_PEER_ALLOW; empty: everybody */
    struct cidr_list proxies; /* KRONOS_TRUSTED_PROXIES */
};

/** peers_read(config, peers, err): the two lists; ${peers} keeps what it held on -1. */
int peers_read(const struct config *config, struct peers *peers, struct error *err);
void peers_clear(struct peers *peers);

/** peers_may_talk(peers, peer): ${peer} is the numeric address of a socket's other end. */
bool peers_may_talk(const struct peers *peers, const char *peer);

/** peers_is_proxy(peers, peer): may it say for whom it speaks? */
bool peers_is_proxy(const struct peers *peers, const char *peer);

/**
 * peers_client(peers, peer, head, client):
 * Who the client is, into ${client} [PEERS_TEXT_MAX]: ${peer}, or behind trusted proxies the last
 * hop of X-Forwarded-For that is none of them. For logs: no right rests on it.
 */
void peers_client(
    const struct peers *peers, const char *peer, const struct head *head, char *client);

#endif /* API_PEERS_H */
