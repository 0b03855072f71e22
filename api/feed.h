/*
 * feed.h - What Redis tells by itself: one subscription of the process, for all who listen.
 *
 * Events and progress of all models come on one connection, so in the order in which they
 * happened. After a connection was lost messages are missing: listeners read what they need again.
 */
#ifndef API_FEED_H
#define API_FEED_H

#include <event2/event.h>

#include "common/error.h"
#include "common/queue/queue.h"
#include "common/redis.h"

#define FEED_LISTENERS_MAX 4

struct feed;

struct feed_listener {                                               /* each may be NULL */
    void (*on_event)(void *cookie, const struct queue_event *event); /* a task or a batch moved */
    void (*on_progress)(void *cookie, const struct queue_progress *progress);
    void (*on_subscribed)(void *cookie); /* for the first time or again: messages were missed */
    void *cookie;
};

struct feed *feed_new(
    struct event_base *base, const struct redis_settings *settings, struct error *err);
void feed_free(struct feed *feed); /* before its listeners */

/** feed_listen(feed, listener): for as long as the feed lives; at most FEED_LISTENERS_MAX do. */
void feed_listen(struct feed *feed, const struct feed_listener *listener);

#endif /* API_FEED_H */
