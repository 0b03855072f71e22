/*
 * wait.c - Requests held until their task has ended: Prefer: wait, ?wait=, sync mode.
 *
 * A hold ends by a read, never by an event alone: events say that it is worth reading. While
 * a read is under way further reasons to read are only noted. Whoever holds a hold's place:
 * its timers while it lives, lookup.c while ${is_reading}.
 */
#include "api/wait.h"

#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "api/departure.h"
#include "api/reply.h"
#include "common/id.h"
#include "common/queue/queue.h"

#define WAIT_BUCKETS   4096 /* twice the usual limit of holds */
#define WAIT_REREAD_MS 1000
#define WAIT_LATE_SECONDS                                                                          \
    0.01 /* libevent's clock is coarse: a wait of N seconds is never shorter */

struct hold {
    struct waiters *owner;
    struct model *model; /* NULL: any */
    struct caller caller;
    char id[ID_LEN + 1];
    wait_fn fn;
    void *cookie;
    struct event *deadline;
    struct event *tick;      /* reads again, and asks whether the client is still there */
    struct event *departure; /* the socket became readable */
    evutil_socket_t fd;
    bool has_unread_bytes; /* of a next request: ${departure} is off, ${tick} looks instead */
    bool is_reading;
    bool reads_again; /* something happened while reading */
    bool is_over;     /* the next read answers, whatever it says */
    enum wait_end end;
    LIST_ENTRY(hold) link;
};
LIST_HEAD(hold_list, hold);

struct waiters {
    struct event_base *base;
    struct store *store;
    struct models *models;
    size_t n, max;
    struct hold_list buckets[WAIT_BUCKETS];
};

static size_t
bucket_of(const char *id)
{
    return id_hash(id) % WAIT_BUCKETS;
}

static void
hold_free(struct hold *h)
{
    if (h == NULL)
        return;
    if (h->deadline != NULL)
        event_free(h->deadline);
    if (h->tick != NULL)
        event_free(h->tick);
    if (h->departure != NULL)
        event_free(h->departure);
    free(h);
}

static void read_task(struct hold *h);

/* The hold is over: give its place free, then answer. The socket is evhttp's again. */
static void
finish(struct hold *h, const struct lookup_answer *a)
{
    wait_fn fn = h->fn;
    void *cookie = h->cookie;
    enum wait_end end = h->end;

    LIST_REMOVE(h, link);
    h->owner->n--;
    hold_free(h);
    fn(cookie, end, a);
}

/* The task was read, or could not be. */
static void
on_task_read(void *cookie, const struct lookup_answer *a)
{
    struct hold *h = cookie;

    h->is_reading = false;
    if (a->outcome != LOOKUP_FOUND || task_status_is_terminal(a->view->status)) {
        if (!h->is_over)
            h->end = WAIT_ENDED;
        finish(h, a);
    } else if (h->reads_again) {
        read_task(h);
    } else if (h->is_over) {
        finish(h, a);
    }
}

static void
read_task(struct hold *h)
{
    if (h->is_reading) {
        h->reads_again = true;
        return;
    }
    h->reads_again = false;
    /* without memory: the next tick tries again, also when the hold is over */
    h->is_reading = lookup_task(h->owner->models, h->owner->store, h->model, &h->caller, h->id,
                        on_task_read, h) == 0;
}

static void
end_hold(struct hold *h, enum wait_end end)
{
    if (h->is_over)
        return;
    h->is_over = true;
    h->end = end;
    event_del(h->departure);
    read_task(h);
}

/* Time is up. */
static void
on_deadline(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    end_hold(cookie, WAIT_OVER);
}

/* The client sent more, closed its half, or is gone. */
static void
on_readable(evutil_socket_t fd, short what, void *cookie)
{
    struct hold *h = cookie;

    (void)what;
    switch (departure_peek(fd)) {
    case DEPARTURE_NONE:
        break;
    case DEPARTURE_BYTES: /* they stay unread, so this event would never rest */
        event_del(h->departure);
        h->has_unread_bytes = true;
        break;
    case DEPARTURE_GONE:
        end_hold(h, WAIT_OVER);
        break;
    }
}

/* Another second has passed. */
static void
on_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct hold *h = cookie;

    (void)fd;
    (void)what;
    if (h->has_unread_bytes && departure_by_state(h->fd) == DEPARTURE_GONE)
        end_hold(h, WAIT_OVER);
    else
        read_task(h);
}

int
wait_for_task(struct waiters *waiters, struct exchange *e, struct model *model, const char *id,
    double seconds, wait_fn fn, void *cookie)
{
    const struct timeval reread = {WAIT_REREAD_MS / 1000, WAIT_REREAD_MS % 1000 * 1000};
    double until = seconds + WAIT_LATE_SECONDS;
    struct timeval limit = {(time_t)until, (suseconds_t)((until - (double)(time_t)until) * 1e6)};
    struct evhttp_connection *connection = evhttp_request_get_connection(e->http);
    struct hold *h;

    if (waiters->n >= waiters->max || connection == NULL || (h = calloc(1, sizeof(*h))) == NULL)
        return -1;
    h->owner = waiters;
    h->model = model;
    h->caller = e->caller;
    memcpy(h->id, id, ID_LEN);
    h->fn = fn;
    h->cookie = cookie;
    h->fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));
    h->deadline = event_new(waiters->base, -1, 0, on_deadline, h);
    h->tick = event_new(waiters->base, -1, EV_PERSIST, on_tick, h);
    h->departure =
        event_new(waiters->base, h->fd, EV_READ | EV_CLOSED | EV_PERSIST, on_readable, h);
    if (h->deadline == NULL || h->tick == NULL || h->departure == NULL ||
        event_add(h->deadline, &limit) == -1 || event_add(h->tick, &reread) == -1 ||
        event_add(h->departure, NULL) == -1) {
        hold_free(h);
        return -1;
    }
    LIST_INSERT_HEAD(&waiters->buckets[bucket_of(h->id)], h, link);
    waiters->n++;
    read_task(h);
    return 0;
}

/* ---- what wakes all of them ---- */

/* A task moved. */
static void
on_event(void *cookie, const struct queue_event *event)
{
    struct waiters *waiters = cookie;
    struct hold *h;

    if (!task_status_is_terminal(event->status))
        return;
    LIST_FOREACH(h, &waiters->buckets[bucket_of(event->id)], link)
    if (strcmp(h->id, event->id) == 0)
        read_task(h);
}

/* Subscribed, for the first time or again: events were missed meanwhile. */
static void
on_subscribed(void *cookie)
{
    struct waiters *waiters = cookie;
    struct hold *h;

    for (size_t i = 0; i < WAIT_BUCKETS; i++)
        LIST_FOREACH(h, &waiters->buckets[i], link)
    read_task(h);
}

void
waiters_end_all(struct waiters *waiters)
{
    struct hold *h;

    for (size_t i = 0; i < WAIT_BUCKETS; i++)
        LIST_FOREACH(h, &waiters->buckets[i], link)
    end_hold(h, WAIT_STOPPING);
}

void
waiters_limit(struct waiters *waiters, size_t max)
{
    waiters->max = max;
}

size_t
waiters_count(const struct waiters *waiters)
{
    return waiters->n;
}

size_t
waiters_room(const struct waiters *waiters)
{
    return waiters->max > waiters->n ? waiters->max - waiters->n : 0;
}

struct waiters *
waiters_new(struct event_base *base, struct feed *feed, struct store *store, struct models *models,
    size_t max, struct error *err)
{
    struct waiters *waiters = calloc(1, sizeof(*waiters));

    if (waiters == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    waiters->base = base;
    waiters->store = store;
    waiters->models = models;
    waiters->max = max;
    for (size_t i = 0; i < WAIT_BUCKETS; i++)
        LIST_INIT(&waiters->buckets[i]);
    feed_listen(feed, &(struct feed_listener){
                          .on_event = on_event, .on_subscribed = on_subscribed, .cookie = waiters});
    return waiters;
}

void
waiters_free(struct waiters *waiters)
{
    free(waiters);
}
