/*
 * redis_link_events.c - A hiredis context in the event loop.
 *
 * In place of hiredis's own adapter, which asks epoll twice for each command whether a socket may
 * be written that nearly always may. Here the commands of one turn of the loop are written
 * together at its end, and only what the kernel does not take then waits for epoll. Reading is on
 * all the time.
 */
#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "common/redis_link_internal.h"

struct link_events {
    redisAsyncContext *ac;
    struct event *readable;
    struct event *writable; /* pending while connecting, and while the kernel takes no more */
    struct event *soon;     /* at the end of this turn */
    bool is_writing;        /* hiredis was told to write and has not said how that went */
};

/* hiredis may disconnect in these three, and so free ${events}: nothing follows. */

static void
on_readable(evutil_socket_t fd, short what, void *cookie)
{
    struct link_events *events = cookie;

    (void)fd;
    (void)what;
    redisAsyncHandleRead(events->ac);
}

static void
on_writable(evutil_socket_t fd, short what, void *cookie)
{
    struct link_events *events = cookie;

    (void)fd;
    (void)what;
    events->is_writing = (events->ac->c.flags & REDIS_CONNECTED) != 0;
    redisAsyncHandleWrite(events->ac);
}

static void
on_turn_over(evutil_socket_t fd, short what, void *cookie)
{
    on_writable(fd, what, cookie);
}

/* ---- what hiredis asks for ---- */

static void
add_read(void *cookie)
{
    struct link_events *events = cookie;

    if (!event_pending(events->readable, EV_READ, NULL))
        event_add(events->readable, NULL);
}

static void
del_read(void *cookie)
{
    struct link_events *events = cookie;

    event_del(events->readable);
}

/* There is something to write: a new command, or what is left after writing, or a connection. */
static void
add_write(void *cookie)
{
    struct link_events *events = cookie;
    bool is_rest = events->is_writing;

    events->is_writing = false;
    if (is_rest || (events->ac->c.flags & REDIS_CONNECTED) == 0)
        event_add(events->writable, NULL);
    else if (!event_pending(events->writable, EV_WRITE, NULL))
        event_active(events->soon, EV_TIMEOUT, 1);
}

/* All of it is in the kernel. */
static void
del_write(void *cookie)
{
    struct link_events *events = cookie;

    events->is_writing = false;
    if (event_pending(events->writable, EV_WRITE, NULL))
        event_del(events->writable);
}

static void
clean_up(void *cookie)
{
    struct link_events *events = cookie;

    if (events->readable != NULL)
        event_free(events->readable);
    if (events->writable != NULL)
        event_free(events->writable);
    if (events->soon != NULL)
        event_free(events->soon);
    free(events);
}

int
redis_link_attach(redisAsyncContext *ac, struct event_base *base)
{
    struct link_events *events = calloc(1, sizeof(*events));

    if (events == NULL)
        return -1;
    events->ac = ac;
    events->readable = event_new(base, ac->c.fd, EV_READ | EV_PERSIST, on_readable, events);
    events->writable = event_new(base, ac->c.fd, EV_WRITE | EV_PERSIST, on_writable, events);
    events->soon = event_new(base, -1, 0, on_turn_over, events);
    if (events->readable == NULL || events->writable == NULL || events->soon == NULL ||
        event_add(events->readable, NULL) == -1) {
        clean_up(events);
        return -1;
    }
    ac->ev.addRead = add_read;
    ac->ev.delRead = del_read;
    ac->ev.addWrite = add_write;
    ac->ev.delWrite = del_write;
    ac->ev.cleanup = clean_up;
    ac->ev.data = events;
    return 0;
}
