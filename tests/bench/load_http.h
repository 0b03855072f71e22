/*
 * load_http.h - One keep-alive connection to the API for a load generator: a request, its reply.
 *
 * Only what the API sends: a status line, Content-Length, JSON. Anything else ends the program.
 */
#ifndef TESTS_BENCH_LOAD_HTTP_H
#define TESTS_BENCH_LOAD_HTTP_H

#include <event2/event.h>
#include <stddef.h>

struct load_http;

struct load_reply {
    int status;
    const char *body; /* [size], NUL after it; until the callback returns */
    size_t size;
};
typedef void (*load_http_fn)(void *cookie, const struct load_reply *reply);

/** load_http_new(base, port): to 127.0.0.1; connects with its first request. */
struct load_http *load_http_new(struct event_base *base, int port);
void load_http_free(struct load_http *h);

/** load_http_post(h, path, body, size, fn, cookie): ${fn} comes from the event loop, once. */
void load_http_post(struct load_http *h, const char *path, const void *body, size_t size,
    load_http_fn fn, void *cookie);
void load_http_get(struct load_http *h, const char *path, load_http_fn fn, void *cookie);

#endif /* TESTS_BENCH_LOAD_HTTP_H */
