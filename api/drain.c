/*
 * drain.c - Read on for a moment after a refusal, so that the refusal is read.
 *
 * Works on a duplicate of the descriptor, because evhttp closes its own as soon as the
 * reply is written: the connection lives until the last descriptor is closed.
 */
#include "api/drain.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"

#define DRAIN_SILENCE_MS 100
#define DRAIN_TOTAL_MS   1000
#define DRAIN_BYTES_MAX  (40LL * 1024 * 1024)
#define DRAIN_READ_BYTES 65536
#define DRAIN_READS      16 /* in one go, so that one sender does not hold up the loop */

struct drained {
    struct drain *owner;
    evutil_socket_t fd;
    struct event *readable;
    int64_t until_ms;
    long long n_bytes;
    LIST_ENTRY(drained) link;
};

struct drain {
    struct event_base *base;
    int n;
    LIST_HEAD(, drained) all;
};

struct drain *
drain_new(struct event_base *base)
{
    struct drain *drain = calloc(1, sizeof(*drain));

    if (drain != NULL) {
        drain->base = base;
        LIST_INIT(&drain->all);
    }
    return drain;
}

static void
drained_free(struct drained *l)
{
    LIST_REMOVE(l, link);
    l->owner->n--;
    event_free(l->readable);
    close(l->fd);
    free(l);
}

void
drain_free(struct drain *drain)
{
    if (drain == NULL)
        return;
    while (!LIST_EMPTY(&drain->all))
        drained_free(LIST_FIRST(&drain->all));
    free(drain);
}

/* Bytes came that nobody wants, the client closed, or it was silent long enough. */
static void
on_readable(evutil_socket_t fd, short what, void *cookie)
{
    static char waste[DRAIN_READ_BYTES];
    struct drained *l = cookie;
    ssize_t n = 1;

    if ((what & EV_TIMEOUT) != 0 || clock_monotonic_ms() >= l->until_ms) {
        drained_free(l);
        return;
    }
    for (int i = 0; i < DRAIN_READS && n > 0; i++) {
        n = recv(fd, waste, sizeof(waste), MSG_DONTWAIT);
        l->n_bytes += n > 0 ? n : 0;
    }
    if (n == 0 || l->n_bytes > DRAIN_BYTES_MAX)
        drained_free(l);
    /* an error is left to the next event: EAGAIN is none, others come again as end of file */
}

void
drain_start(struct drain *drain, evutil_socket_t fd)
{
    const struct timeval silence = {0, DRAIN_SILENCE_MS * 1000};
    struct drained *l;

    if (drain->n >= DRAIN_MAX || (l = calloc(1, sizeof(*l))) == NULL)
        return; /* the socket is closed at once, which is what happened without us */
    l->owner = drain;
    l->until_ms = clock_monotonic_ms() + DRAIN_TOTAL_MS;
    if ((l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
        goto free_it;
    l->readable = event_new(drain->base, l->fd, EV_READ | EV_PERSIST, on_readable, l);
    if (l->readable == NULL || event_add(l->readable, &silence) == -1)
        goto close_it;
    LIST_INSERT_HEAD(&drain->all, l, link);
    drain->n++;
    return;

close_it:
    if (l->readable != NULL)
        event_free(l->readable);
    close(l->fd);
free_it:
    free(l);
}
