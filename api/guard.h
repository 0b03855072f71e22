/*
 * guard.h - Client connections: who may connect, how long they may take, and the framing
 * guard that stands between their bytes and evhttp.
 *
 * evhttp left alone can be made to see two requests where a proxy saw one (DESIGN.md).
 * So it never reads a client's header block: the guard holds the block back, judges it
 * (head.c), and hands evhttp a block of its own making plus exactly the announced body.
 * A refused request becomes a harmless one whose answer is the refusal, so that every
 * reply leaves through reply.c.
 */
#ifndef API_GUARD_H
#define API_GUARD_H

#include <event2/event.h>
#include <event2/http.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/head.h"
#include "api/peers.h"
#include "common/error.h"

struct guard;  /* one connection */
struct guards; /* all of them */

/*
 * Judge a request before its body is read: peer, route, key, media type. May be NULL. 0, or -1
 * with ${problem}; its connection is closed after the reply.
 */
typedef int (*guard_judge_fn)(
    void *cookie, const struct head *head, const char *peer, struct problem *problem);

struct guard_limits {
    const struct peers *peers;            /* its proxies are not counted per peer either */
    size_t max_connections, max_per_peer; /* peers on loopback are not counted */
    double header_seconds, body_seconds, idle_seconds;
    int64_t body_bytes;
};

/* A request as the guard passed it on. */
struct guarded {
    struct head *head;      /* the receiver's to head_free(); never NULL */
    struct problem problem; /* status != 0: refused, this is the answer; the receiver's to clear */
    char request_id[HEAD_REQUEST_ID_MAX + 1]; /* the client's, "" if it sent none that is fit */
    char peer[PEERS_TEXT_MAX];                /* numeric address */
    int64_t began_ms;                         /* clock_monotonic_ms() of its first byte */
};

/* Install the guard in front of ${http}; guards_free() after evhttp_free(). */
struct guards *guards_new(struct event_base *base, struct evhttp *http,
    const struct guard_limits *limits, guard_judge_fn judge, void *cookie, struct error *err);
void guards_free(struct guards *guards);

/** guards_limit(guards, limits): from now on; connections that are there stay. */
void guards_limit(struct guards *guards, const struct guard_limits *limits);

size_t guards_count(const struct guards *guards); /* open connections */
size_t guards_busy(const struct guards *guards);  /* of them with a request or reply in work */

/**
 * guards_take(guards, http, out): the request that evhttp just handed to the generic callback.
 * 0, or -1 when it did not come through the guard (cannot happen; answer 500).
 */
int guards_take(struct guards *guards, struct evhttp_request *http, struct guarded *out);

/**
 * guards_send(guards, http, status, reason, body, closes):
 * evhttp_send_reply(), the only way to it. Reading stays off until the reply is written: input
 * would gather without bound, and a client that has closed its half would lose its reply.
 * ${closes}: the headers say so, and the client's remaining bytes are read away afterwards.
 */
void guards_send(struct guards *guards, struct evhttp_request *http, int status, const char *reason,
    struct evbuffer *body, bool closes);

/* A reply that is written bit by bit. */
struct guard_stream {
    void (*on_written)(void *cookie); /* all that was sent is in the kernel */
    void (*on_gone)(void *cookie);    /* the client left; guards_stream_end() is still due */
    void *cookie;
};

/** guards_stream_begin(guards, http, reason, stream): status 200 and the headers. ${stream} is copied. */
void guards_stream_begin(struct guards *guards, struct evhttp_request *http, const char *reason,
    const struct guard_stream *stream);

/**
 * guards_stream_send(guards, http, data): takes what is in ${data}. Only when on_written() has told
 * that everything sent before is out: so nothing gathers, and a client that reads nothing for
 * 30 s is found out and closed.
 */
void guards_stream_send(struct guards *guards, struct evhttp_request *http, struct evbuffer *data);

/** guards_stream_end(guards, http, closes): neither function is called any more. */
void guards_stream_end(struct guards *guards, struct evhttp_request *http, bool closes);

#endif /* API_GUARD_H */
