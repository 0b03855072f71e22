/*
 * redis_link.h - One evented Redis connection that comes back by itself.
 *
 * hiredis async on libevent, with what hiredis 0.14 lacks: a time limit per
 * command, reconnection with backoff and jitter, and a callback that is called
 * exactly once whatever happens to the connection. Not for commands that block on
 * purpose (BLPOP): when commands wait and nothing at all has come for 3 s, the link
 * counts as half-open and connects again. The program ignores SIGPIPE.
 */
#ifndef COMMON_REDIS_LINK_H
#define COMMON_REDIS_LINK_H

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "common/redis.h"

struct redis_link;

/* The reply, owned by the link and gone when the callback returns; NULL when Redis was away or too slow. */
typedef void (*redis_link_reply_fn)(void *cookie, const redisReply *reply);

/* A message of a subscribed channel. */
typedef void (*redis_link_message_fn)(
    void *cookie, const char *channel, size_t channel_len, const char *message, size_t message_len);

/* Each may be NULL; both may send commands and free the link. */
struct redis_link_events {
    void (*up)(void *cookie);
    /* It was up and is lost, or the first attempt failed; once until it is up again. */
    void (*down)(void *cookie, const char *reason);
    void *cookie;
};

/**
 * redis_link_new(base, settings, name, events, err):
 * Start connecting; keeps trying for as long as it lives. ${settings} is copied.
 */
struct redis_link *redis_link_new(struct event_base *base, const struct redis_settings *settings,
    const char *name, const struct redis_link_events *events, struct error *err);

/**
 * redis_link_free(link): every waiting callback is called with NULL first; what they try to
 * send is refused. May be called in any of the link's callbacks; the events are not called.
 */
void redis_link_free(struct redis_link *link);

bool redis_link_is_up(const struct redis_link *link);

/** redis_link_run_id(link): run id read when the connection came up, "" before. */
const char *redis_link_run_id(const struct redis_link *link);

/**
 * redis_link_command(link, timeout_ms, fn, cookie, argc, argv, lens):
 * Send one command. ${fn} is called exactly once, never before this returns:
 * with the reply, or with NULL when the link is down, breaks or ${timeout_ms} pass, or
 * when the reply is an error that means a lost connection (redis_error_is_connection).
 * After a time-out a late reply is dropped. Returns 0, or -1 (out of memory, or the link
 * is being freed) and ${fn} is not called.
 */
int redis_link_command(struct redis_link *link, int timeout_ms, redis_link_reply_fn fn,
    void *cookie, int argc, const char *const *argv, const size_t *lens);

/**
 * redis_link_psubscribe(link, pattern, fn, cookie): once per link, and for a link used for
 * nothing else. Subscribes again after every reconnection; events.up is called once
 * subscribed. Asks Redis for a sign of life every 2 s. Returns 0, or -1 (out of memory).
 */
int redis_link_psubscribe(
    struct redis_link *link, const char *pattern, redis_link_message_fn fn, void *cookie);

#endif /* COMMON_REDIS_LINK_H */
