/*
 * load_http.c - Keep-alive over a bufferevent; the length of a reply is its Content-Length.
 *
 * A connection that the server closes between two requests is opened again by the next one. One
 * that breaks under a request ends the program: a benchmark with lost requests says nothing.
 */
#include "tests/bench/load_http.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/bench/measure.h"

#define HEADERS_MAX 16384

struct load_http {
    struct event_base *base;
    struct bufferevent *connection; /* NULL: not connected */
    int port;
    load_http_fn fn; /* NULL: nothing asked */
    void *cookie;
};

/* The value of Content-Length; headers end in a NUL. */
static size_t
content_length(const char *headers)
{
    const char *line = strcasestr(headers, "\r\ncontent-length:");

    if (line == NULL)
        measure_die("reply", "no Content-Length");
    return strtoul(line + strlen("\r\ncontent-length:"), NULL, 10);
}

/* Bytes have come. */
static void
on_read(struct bufferevent *connection, void *cookie)
{
    struct load_http *h = cookie;
    struct evbuffer *in = bufferevent_get_input(connection);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    char headers[HEADERS_MAX];
    struct load_reply reply;
    load_http_fn fn = h->fn;
    size_t head, length;
    char *body;

    if (end.pos == -1)
        return;
    head = (size_t)end.pos + 4;
    if (head >= sizeof(headers))
        measure_die("reply", "headers too long");
    evbuffer_copyout(in, headers, head);
    headers[head] = '\0';
    length = content_length(headers);
    if (evbuffer_get_length(in) < head + length)
        return;
    if (fn == NULL)
        measure_die("reply", "nobody asked for it");
    evbuffer_drain(in, head);
    body = measure_take(length + 1, 1);
    evbuffer_remove(in, body, length);
    reply = (struct load_reply){
        .status = atoi(headers + strcspn(headers, " ")), .body = body, .size = length};
    h->fn = NULL;
    if (strcasestr(headers, "\r\nconnection: close") != NULL) {
        bufferevent_free(connection);
        h->connection = NULL;
    }
    fn(h->cookie, &reply);
    free(body);
}

/* The connection is up, or gone. */
static void
on_event(struct bufferevent *connection, short what, void *cookie)
{
    struct load_http *h = cookie;

    if (what & BEV_EVENT_CONNECTED) {
        int on = 1;

        (void)setsockopt(bufferevent_getfd(connection), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        return;
    }
    if (h->fn != NULL)
        measure_die("connection", "broke before the reply had come");
    bufferevent_free(connection);
    h->connection = NULL;
}

struct load_http *
load_http_new(struct event_base *base, int port)
{
    struct load_http *h = measure_take(1, sizeof(*h));

    h->base = base;
    h->port = port;
    return h;
}

void
load_http_free(struct load_http *h)
{
    if (h == NULL)
        return;
    if (h->connection != NULL)
        bufferevent_free(h->connection);
    free(h);
}

static struct evbuffer *
output(struct load_http *h, load_http_fn fn, void *cookie)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)h->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    if (h->fn != NULL)
        measure_die("request", "the one before has no reply yet");
    if (h->connection == NULL) {
        h->connection = bufferevent_socket_new(h->base, -1, BEV_OPT_CLOSE_ON_FREE);
        if (h->connection == NULL)
            measure_die("connection", "out of memory");
        bufferevent_setcb(h->connection, on_read, NULL, on_event, h);
        if (bufferevent_enable(h->connection, EV_READ | EV_WRITE) == -1 ||
            bufferevent_socket_connect(
                h->connection, (struct sockaddr *)&address, sizeof(address)) == -1)
            measure_die("connection", "cannot be opened");
    }
    h->fn = fn;
    h->cookie = cookie;
    return bufferevent_get_output(h->connection);
}

void
load_http_post(struct load_http *h, const char *path, const void *body, size_t size,
    load_http_fn fn, void *cookie)
{
    struct evbuffer *out = output(h, fn, cookie);

    if (evbuffer_add_printf(out,
            "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            "Content-Length: %zu\r\n\r\n",
            path, size) == -1 ||
        evbuffer_add(out, body, size) == -1)
        measure_die("request", "out of memory");
}

void
load_http_get(struct load_http *h, const char *path, load_http_fn fn, void *cookie)
{
    if (evbuffer_add_printf(
            output(h, fn, cookie), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path) == -1)
        measure_die("request", "out of memory");
}
