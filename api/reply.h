/*
 * reply.h - One request from evhttp's hands to its reply; the only place replies leave from.
 *
 * Every struct exchange is answered exactly once, by one of the reply_ functions, which frees
 * it. How many were begun and not answered is counted: 0 whenever nothing is in work.
 */
#ifndef API_REPLY_H
#define API_REPLY_H

#include <event2/http.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/guard.h"
#include "api/keys.h"
#include "api/problem.h"
#include "api/route.h"
#include "common/document/json_out.h"
#include "common/error.h"
#include "common/id.h"
#include "common/trace.h"

struct request_facts;
struct server;

struct exchange {
    struct server *server;
    struct evhttp_request
        *http;         /* libevent's; stays valid until answered, whatever the client does */
    struct head *head; /* what the client sent; owned */
    struct route_match match;
    struct caller caller; /* name "": not known, or nobody asked */
    char request_id[HEAD_REQUEST_ID_MAX + 1];
    char traceparent[TRACE_PARENT_LEN + 1]; /* W3C, of the client; "" without a valid one */
    char peer[PEERS_TEXT_MAX];              /* the socket's other end */
    char client[PEERS_TEXT_MAX]; /* the peer, or whom a trusted proxy speaks for; for logs */
    int64_t began_ms;
    char task_id[ID_LEN + 1]; /* for the log; "" where no task is meant */
    size_t body_bytes;
    const struct request_facts *facts; /* of a submit, for the log; NULL without */
};

/** exchange_begin(server, http, guarded): takes ${guarded}'s head over; NULL without memory. */
struct exchange *exchange_begin(
    struct server *server, struct evhttp_request *http, struct guarded *guarded);

/** reply_header(e, name, value): one more header line for the reply to come. */
void reply_header(struct exchange *e, const char *name, const char *value);

/** reply_is_known(e, etag): the client has that version already (If-None-Match): 304 will do. */
bool reply_is_known(const struct exchange *e, const char *etag);

/** reply_json(e, status, body): takes ${body}'s text over; msgpack if that is what it is. */
void reply_json(struct exchange *e, int status, struct json_out *body);

/** reply_body(e, body): an empty body in the form the client asked for, JSON or msgpack. */
void reply_body(const struct exchange *e, struct json_out *body);

/** reply_bytes(e, status, type, bytes, len): a body of another type; takes ${bytes} over. */
void reply_bytes(struct exchange *e, int status, const char *type, char *bytes, size_t len);

/** reply_nothing(e, status): a status that has no body: 204, 304. */
void reply_nothing(struct exchange *e, int status);

/** reply_stream_begin(e, type, stream): 200 and a body that comes bit by bit; see guard.h. */
void reply_stream_begin(struct exchange *e, const char *type, const struct guard_stream *stream);
void reply_stream_send(struct exchange *e, struct evbuffer *data);

/** reply_stream_end(e, n_bytes): also when the client is gone; ${n_bytes} were sent. Frees ${e}. */
void reply_stream_end(struct exchange *e, size_t n_bytes);

/** reply_problem(e, problem): clears ${problem}. */
void reply_problem(struct exchange *e, struct problem *problem);

/** reply_refuse(e, status, code, format, ...): a problem without extras. */
void reply_refuse(struct exchange *e, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** reply_error(e, err): the one table from an error of ours to a status. The text is logged, not shown. */
void reply_error(struct exchange *e, const struct error *err);

/** reply_store_unavailable(e): Redis is away or unsafe: 503, come back in 2 s. */
void reply_store_unavailable(struct exchange *e);

#endif /* API_REPLY_H */
