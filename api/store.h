/*
 * store.h - The API's way to Redis: one link for commands, and whether it keeps tasks safe.
 */
#ifndef API_STORE_H
#define API_STORE_H

#include <event2/event.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/queue/queue.h"
#include "common/redis.h"

#define STORE_TIMEOUT_MS 1500 /* of one reply; with it every request is answered within 2 s */

struct store;

/**
 * store_new(base, settings, allow_volatile, err):
 * Start connecting; Redis need not be there yet. Each Redis that answers is judged before it is
 * trusted with new tasks: one that may lose them is logged and not ready, unless ${allow_volatile}.
 */
struct store *store_new(struct event_base *base, const struct redis_settings *settings,
    bool allow_volatile, struct error *err);

/** store_free(store): callbacks that wait are called with NULL first. */
void store_free(struct store *store);

/** store_is_ready(store): connected, and new tasks are safe there. */
bool store_is_ready(const struct store *store);

/**
 * store_is_full(store): Redis uses so much of its maxmemory that new tasks must wait: what is left
 * is for those that are there, whose results need room too. As of a second ago.
 */
bool store_is_full(const struct store *store);

/** store_run_id(store): of the Redis process, "" before the first connection. */
const char *store_run_id(const struct store *store);

/** store_send(store, call, fn, cookie): queue_send() with our time limit. */
int store_send(struct store *store, struct queue_call *call, queue_reply_fn fn, void *cookie);

#endif /* API_STORE_H */
