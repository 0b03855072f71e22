/*
 * guard_internal.h - What guard.c and guard_reply.c share.
 */
#ifndef API_GUARD_INTERNAL_H
#define API_GUARD_INTERNAL_H

#include <event2/bufferevent.h>
#include <sys/queue.h>

#include "api/drain.h"
#include "api/guard.h"

enum guard_state {
    GUARD_IDLE,
    GUARD_HEAD,
    GUARD_BODY,
    GUARD_BUSY,
    GUARD_REFUSED,
    GUARD_LEAVING /* the last reply is written; what still comes is thrown away */
};

struct guard {
    struct guards *owner;
    struct bufferevent *bev;
    struct evhttp_connection *connection; /* NULL until on_kick() has met it */
    evutil_socket_t fd;
    enum guard_state state;
    struct head *head; /* from the first byte until guards_take() */
    struct evbuffer *pending;
    int64_t body_left;
    struct problem problem;     /* REFUSED: the answer */
    bool closes;                /* the reply in work is the last one */
    struct guard_stream stream; /* the reply in work, if it is one */
    char request_id[HEAD_REQUEST_ID_MAX + 1];
    char peer[PEERS_TEXT_MAX];
    bool is_exempt;     /* loopback or a trusted proxy: not counted per peer */
    struct drain drain; /* LEAVING */
    int64_t began_ms;
    int64_t until_ms;       /* the deadline; INT64_MAX: none */
    struct event *deadline; /* comes at ${until_ms} or before, never later */
    int64_t deadline_ms;    /* when it comes; INT64_MAX: it is not pending */
    struct event *quiet;    /* keeps the descriptor in epoll while a request is in work */
    struct event *kick;     /* runs on_kick() soon, outside of whatever is going on */
    bool is_moving;         /* we change the input buffer ourselves */
    bool is_reading;        /* inside libevent's read: its read callback follows by itself */
    LIST_ENTRY(guard) link;
};

struct guards {
    struct event_base *base;
    struct evhttp *http;
    struct guard_limits limits;
    guard_judge_fn judge;
    void *cookie;
    size_t n, n_busy;
    struct guard **by_fd; /* [n_fds]; descriptors are small numbers */
    size_t n_fds;
    LIST_HEAD(, guard) all;
};

/* Of guard.c. */

bool guard_is_busy(const struct guard *g); /* a request or its reply is in work */
void guard_set_state(struct guard *g, enum guard_state state);

/** guard_set_deadline(g, seconds): of the state it is in. */
void guard_set_deadline(struct guard *g, double seconds);

#endif /* API_GUARD_INTERNAL_H */
