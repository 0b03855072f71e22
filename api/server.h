/*
 * server.h - The API process: what every handler may reach, and the HTTP front of it.
 */
#ifndef API_SERVER_H
#define API_SERVER_H

#include <event2/event.h>
#include <event2/http.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/guard.h"
#include "api/peers.h"
#include "common/config.h"
#include "common/error.h"
#include "common/webhook_rules.h"

struct feed;
struct keys;
struct meter;
struct models;
struct scrapes;
struct store;
struct streams;
struct waiters;

struct server {
    struct event_base *base;
    const struct config *config;
    struct keys *keys; /* NULL: every caller is local */
    struct peers peers;
    struct webhook_rules webhook; /* what receivers of events may be */
    struct store *store;
    struct models *models;
    struct feed *feed;
    struct waiters *waiters;
    struct streams *streams;
    struct meter *meter;
    struct scrapes *scrapes;
    struct evhttp *http;
    struct guards *guards;
    struct evhttp_bound_socket *bound; /* NULL once no client is accepted any more */
    struct event *accept_again;        /* after a pause for want of descriptors */
    bool is_stopping;                  /* no new requests; every reply closes its connection */
    int64_t began_ms;                  /* serving since, monotonic */
    size_t n_taken, n_answered;        /* reply.c counts */
};

/**
 * server_listen(server, fd, err): serve HTTP on the listening socket ${fd}, which is taken over.
 * The other members must be set.
 */
int server_listen(struct server *server, int fd, struct error *err);

/** server_limit(server): the settings have changed: caps and deadlines of connections follow. */
void server_limit(struct server *server);

/** server_stop(server): accept nobody, refuse new requests; what is in work goes on. */
void server_stop(struct server *server);

/** server_close(server): free evhttp with all connections; nothing may be held any more. */
void server_close(struct server *server);

/** server_is_idle(server): every request was answered and every reply is out. */
bool server_is_idle(const struct server *server);

#endif /* API_SERVER_H */
