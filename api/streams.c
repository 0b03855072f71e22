/*
 * streams.c - All event streams of the process: who follows which id, and what comes round.
 *
 * A second is cut into phases and each stream has its own, so that what comes round never comes for
 * all of them at once and other requests do not wait behind it. Without streams nothing ticks.
 */
#include "api/streams.h"

#include <stdlib.h>
#include <string.h>

#define STREAMS_BUCKETS  4096
#define STREAMS_PHASES   20
#define STREAMS_PHASE_MS (1000 / STREAMS_PHASES)

struct streams {
    const struct streams_calls *calls;
    size_t n, max;
    uint64_t n_events;
    unsigned phase, next_phase;
    struct event *tick;
    LIST_HEAD(, streams_place) all;
    LIST_HEAD(, follow) buckets[STREAMS_BUCKETS];
};

/* A task moved. */
static void
on_event(void *cookie, const struct queue_event *event)
{
    struct streams *streams = cookie;
    struct follow *f;

    streams->n_events++;
    LIST_FOREACH(f, &streams->buckets[id_hash(event->id) % STREAMS_BUCKETS], link)
    if (strcmp(f->id, event->id) == 0)
        streams->calls->on_event(f, event->status);
}

/* A worker showed how far it is. */
static void
on_progress(void *cookie, const struct queue_progress *progress)
{
    struct streams *streams = cookie;
    struct follow *f;

    LIST_FOREACH(f, &streams->buckets[id_hash(progress->id) % STREAMS_BUCKETS], link)
    if (strcmp(f->id, progress->id) == 0)
        streams->calls->on_progress(f, progress);
}

static void
on_subscribed(void *cookie)
{
    struct streams *streams = cookie;
    struct streams_place *place;

    LIST_FOREACH(place, &streams->all, link)
    streams->calls->on_missed(place->stream);
}

/* The next phase of the second. */
static void
on_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct streams *streams = cookie;
    struct streams_place *place, *next;

    (void)fd;
    (void)what;
    streams->phase = (streams->phase + 1) % STREAMS_PHASES;
    for (place = LIST_FIRST(&streams->all); place != NULL; place = next) {
        next = LIST_NEXT(place, link); /* this one may leave */
        if (place->phase == streams->phase)
            streams->calls->on_round(place->stream);
    }
}

void
streams_enter(struct streams *streams, struct streams_place *place)
{
    const struct timeval interval = {0, STREAMS_PHASE_MS * 1000};

    place->phase = streams->next_phase++ % STREAMS_PHASES;
    LIST_INSERT_HEAD(&streams->all, place, link);
    if (streams->n++ == 0)
        event_add(streams->tick, &interval);
}

void
streams_leave(struct streams *streams, struct streams_place *place)
{
    LIST_REMOVE(place, link);
    if (--streams->n == 0)
        event_del(streams->tick);
}

void
streams_follow(struct streams *streams, struct follow *follow)
{
    LIST_INSERT_HEAD(&streams->buckets[id_hash(follow->id) % STREAMS_BUCKETS], follow, link);
}

void
streams_unfollow(struct follow *follow)
{
    LIST_REMOVE(follow, link);
}

void
streams_end_all(struct streams *streams)
{
    struct streams_place *place, *next;

    for (place = LIST_FIRST(&streams->all); place != NULL; place = next) {
        next = LIST_NEXT(place, link);
        streams->calls->on_stop(place->stream);
    }
}

void
streams_limit(struct streams *streams, size_t max)
{
    streams->max = max;
}

bool
streams_have_room(const struct streams *streams)
{
    return streams->n < streams->max;
}

size_t
streams_count(const struct streams *streams)
{
    return streams->n;
}

uint64_t
streams_n_events(const struct streams *streams)
{
    return streams->n_events;
}

struct streams *
streams_new(struct event_base *base, struct feed *feed, size_t max,
    const struct streams_calls *calls, struct error *err)
{
    struct streams *streams = calloc(1, sizeof(*streams));

    if (streams == NULL ||
        (streams->tick = event_new(base, -1, EV_PERSIST, on_tick, streams)) == NULL) {
        free(streams);
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    streams->calls = calls;
    streams->max = max;
    LIST_INIT(&streams->all);
    for (size_t i = 0; i < STREAMS_BUCKETS; i++)
        LIST_INIT(&streams->buckets[i]);
    feed_listen(feed, &(struct feed_listener){.on_event = on_event,
                          .on_progress = on_progress,
                          .on_subscribed = on_subscribed,
                          .cookie = streams});
    return streams;
}

void
streams_free(struct streams *streams)
{
    if (streams == NULL)
        return;
    streams_end_all(streams);
    event_free(streams->tick);
    free(streams);
}
