/*
 * feed.c - What Redis tells by itself: one subscription of the process, for all who listen.
 */
#include "api/feed.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/redis_link.h"

struct feed {
    struct redis_link *link;
    struct feed_listener listeners[FEED_LISTENERS_MAX];
    size_t n_listeners;
};

/* A message: an event, progress, or nothing of ours. */
static void
on_message(
    void *cookie, const char *channel, size_t channel_len, const char *message, size_t message_len)
{
    struct feed *feed = cookie;
    struct queue_progress progress;
    struct queue_event event;

    if (queue_progress_parse(channel, channel_len, message, message_len, &progress) == 0) {
        for (size_t i = 0; i < feed->n_listeners; i++) {
            const struct feed_listener *l = &feed->listeners[i];

            if (l->on_progress != NULL)
                l->on_progress(l->cookie, &progress);
        }
    } else if (queue_event_parse(message, message_len, &event) == 0) {
        for (size_t i = 0; i < feed->n_listeners; i++) {
            const struct feed_listener *l = &feed->listeners[i];

            if (l->on_event != NULL)
                l->on_event(l->cookie, &event);
        }
    }
}

static void
on_subscribed(void *cookie)
{
    struct feed *feed = cookie;

    for (size_t i = 0; i < feed->n_listeners; i++) {
        const struct feed_listener *l = &feed->listeners[i];

        if (l->on_subscribed != NULL)
            l->on_subscribed(l->cookie);
    }
}

static void
on_unsubscribed(void *cookie, const char *reason)
{
    (void)cookie;
    log_warning("api.feed", "no events from Redis", LOG_TEXT("error_message", reason));
}

struct feed *
feed_new(struct event_base *base, const struct redis_settings *settings, struct error *err)
{
    struct feed *feed = calloc(1, sizeof(*feed));
    struct redis_link_events events = {
        .up = on_subscribed, .down = on_unsubscribed, .cookie = feed};

    if (feed == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    if ((feed->link = redis_link_new(base, settings, "kronosq-api-events", &events, err)) == NULL)
        goto free_it;
    if (redis_link_psubscribe(feed->link, QUEUE_WATCH_PATTERN, on_message, feed) == -1) {
        error_set(err, ERR_MEMORY, "out of memory");
        goto free_it;
    }
    return feed;

free_it:
    feed_free(feed);
    return NULL;
}

void
feed_free(struct feed *feed)
{
    if (feed == NULL)
        return;
    if (feed->link != NULL)
        redis_link_free(feed->link);
    free(feed);
}

void
feed_listen(struct feed *feed, const struct feed_listener *listener)
{
    if (feed->n_listeners < FEED_LISTENERS_MAX)
        feed->listeners[feed->n_listeners++] = *listener;
}
