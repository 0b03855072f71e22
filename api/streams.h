/*
 * streams.h - All event streams of the process: who follows which id, and what comes round.
 *
 * Knows ids, not tasks: a stream follows the id of its task or batch, and those of a batch's
 * members. What it makes of the news is events.c's.
 */
#ifndef API_STREAMS_H
#define API_STREAMS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "api/feed.h"
#include "common/error.h"
#include "common/id.h"
#include "common/queue/queue.h"

struct streams;
struct stream; /* of events_internal.h */

/* One id a stream follows. */
struct follow {
    char id[ID_LEN + 1];
    struct stream *stream;
    size_t index; /* the stream's: which member */
    LIST_ENTRY(follow) link;
};

/* A stream's place among the others; part of the stream. */
struct streams_place {
    struct stream *stream;
    unsigned phase; /* its share of a second */
    LIST_ENTRY(streams_place) link;
};

/* What streams are told. Only on_round and on_stop may take a stream out, and only their own. */
struct streams_calls {
    void (*on_event)(struct follow *follow, enum task_status status);
    void (*on_progress)(struct follow *follow, const struct queue_progress *progress);
    void (*on_missed)(struct stream *stream); /* messages were lost */
    void (*on_round)(struct stream *stream);  /* another second has passed */
    void (*on_stop)(struct stream *stream);   /* the process stops */
};

/** streams_new(base, feed, max, calls, err): told by ${feed}, which is freed first. */
struct streams *streams_new(struct event_base *base, struct feed *feed, size_t max,
    const struct streams_calls *calls, struct error *err);

/** streams_free(streams): ends what is left, by on_stop. */
void streams_free(struct streams *streams);

void streams_limit(struct streams *streams, size_t max); /* from now on */
bool streams_have_room(const struct streams *streams);
size_t streams_count(const struct streams *streams);

/** streams_n_events(streams): of any task so far; positions in queues move by them. */
uint64_t streams_n_events(const struct streams *streams);

/** streams_enter(streams, place), streams_leave(...): once each, in this order. */
void streams_enter(struct streams *streams, struct streams_place *place);
void streams_leave(struct streams *streams, struct streams_place *place);

/** streams_follow(streams, follow), streams_unfollow(follow): ${follow}'s id and stream are set. */
void streams_follow(struct streams *streams, struct follow *follow);
void streams_unfollow(struct follow *follow);

/** streams_end_all(streams): on_stop for each. */
void streams_end_all(struct streams *streams);

extern const struct streams_calls events_calls; /* events.c */

#endif /* API_STREAMS_H */
