/*
 * head.h - The header block of a request, judged byte by byte.
 *
 * The first of the two readers of HTTP here, and the strict one: evhttp behind it sees
 * only a block that guard.c writes anew from what this one understood. Pure: bytes in,
 * a verdict and a parsed block out; no sockets, no clock.
 */
#ifndef API_HEAD_H
#define API_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/problem.h"

#define HEAD_BYTES_MAX  (16 * 1024) /* whole block; 431 beyond */
#define HEAD_LINES_MAX  100         /* header lines; 431 beyond */
#define HEAD_TARGET_MAX 4096        /* bytes of the target; 414 beyond */
#define HEAD_METHOD_MAX 32          /* longest method of any registry is 17 */

enum head_method {
    HEAD_METHOD_UNKNOWN,
    HEAD_METHOD_GET,
    HEAD_METHOD_HEAD,
    HEAD_METHOD_POST,
    HEAD_METHOD_PUT,
    HEAD_METHOD_PATCH,
    HEAD_METHOD_DELETE,
    HEAD_METHOD_OPTIONS,
    HEAD_METHOD_TRACE,
    HEAD_METHOD_CONNECT
};

struct head {
    char *block; /* the lines, each ended by a NUL where CR LF was; offsets below point into it */
    size_t size, capacity;
    size_t line_start; /* of the line that is being gathered */
    bool has_cr;       /* the last byte was a CR: only LF may follow */
    bool has_request_line;
    enum head_method method;
    uint16_t path, query; /* query: 0 without '?' */
    uint8_t minor;        /* HTTP/1.minor */
    uint16_t n_fields;
    struct {
        uint16_t name, value; /* value without white space around it */
    } fields[HEAD_LINES_MAX];
    int64_t content_length; /* -1: none */
    int64_t body_max;       /* limit for content_length */
    bool expects_continue;
    bool has_host;
    bool wants_close; /* the client does not want to keep the connection */
};

enum head_verdict { HEAD_MORE, HEAD_COMPLETE, HEAD_REFUSED };

/** head_new(body_max): an empty block for head_free(), NULL without memory. */
struct head *head_new(int64_t body_max);
void head_free(struct head *head);

/**
 * head_feed(head, data, len, used, problem):
 * Take bytes up to the end of the block; ${used} says how many. HEAD_COMPLETE once, at the
 * empty line. HEAD_REFUSED with ${problem} set as soon as no continuation can be good.
 */
enum head_verdict head_feed(
    struct head *head, const char *data, size_t len, size_t *used, struct problem *problem);

const char *head_method_text(const struct head *head); /* as sent; "" before the request line */
const char *head_path(const struct head *head);        /* "" before the request line */
const char *head_query(const struct head *head);       /* after '?', NULL without */

/** head_field(head, name, nth): value of the nth field of that name (any case), or NULL. */
const char *head_field(const struct head *head, const char *name, unsigned nth);

#define HEAD_REQUEST_ID_MAX 128
/**
 * head_request_id(head, rest, rest_len, id): the client's X-Request-ID into ${id}
 * [HEAD_REQUEST_ID_MAX + 1] if it is [A-Za-z0-9._-]{1,128}; false and "" if not. A refused block
 * ends at its fault, so the bytes that came after it, ${rest}, are searched too: a refusal has to
 * name the request whose block it did not read to the end.
 */
bool head_request_id(const struct head *head, const char *rest, size_t rest_len, char *id);

#endif /* API_HEAD_H */
