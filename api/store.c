/*
 * store.c - The API's way to Redis: one link for commands, and whether it keeps tasks safe.
 *
 * main.c judges Redis once before the loop runs and refuses to start on a bad one. A Redis
 * that comes later, or comes back as another one, is judged here without blocking.
 */
#include "api/store.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/redis_link.h"

struct store {
    struct redis_link *link;
    bool allow_volatile;
    bool is_trusted; /* this connection's Redis was judged and is safe, or need not be */
};

/* INFO was answered, or not. */
static void
on_info(void *cookie, const redisReply *reply)
{
    struct store *store = cookie;
    struct error err;

    if (reply == NULL)
        return; /* the link went down and will come up again */
    if (redis_info_refusal(reply, &err) == -1) {
        log_with(LOG_LEVEL_CRITICAL, "api.store", "this Redis may lose tasks: none are accepted",
            LOG_TEXT("error_message", err.text));
        return;
    }
    if (err.text[0] != '\0')
        log_warning("api.store", "Redis", LOG_TEXT("error_message", err.text));
    store->is_trusted = true;
}

/* The link is up, for the first time or again. */
static void
on_up(void *cookie)
{
    static const char *const info[] = {"INFO"};
    struct store *store = cookie;

    log_info("api.store", "connected to Redis");
    store->is_trusted = store->allow_volatile;
    if (!store->is_trusted && redis_link_command(store->link, STORE_TIMEOUT_MS, on_info, store, 1,
                                  info, (const size_t[]){4}) == -1)
        log_error("api.store", "no memory to judge Redis");
}

static void
on_down(void *cookie, const char *reason)
{
    struct store *store = cookie;

    store->is_trusted = false;
    log_warning("api.store", "no connection to Redis", LOG_TEXT("error_message", reason));
}

struct store *
store_new(struct event_base *base, const struct redis_settings *settings, bool allow_volatile,
    struct error *err)
{
    struct store *store = calloc(1, sizeof(*store));
    struct redis_link_events events = {.up = on_up, .down = on_down, .cookie = store};

    if (store == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    store->allow_volatile = allow_volatile;
    if ((store->link = redis_link_new(base, settings, "kronosq-api", &events, err)) == NULL) {
        free(store);
        return NULL;
    }
    return store;
}

void
store_free(struct store *store)
{
    if (store == NULL)
        return;
    redis_link_free(store->link);
    free(store);
}

bool
store_is_ready(const struct store *store)
{
    return store->is_trusted && redis_link_is_up(store->link);
}

const char *
store_run_id(const struct store *store)
{
    return redis_link_run_id(store->link);
}

int
store_send(struct store *store, struct queue_call *call, queue_reply_fn fn, void *cookie)
{
    return queue_send(store->link, STORE_TIMEOUT_MS, call, fn, cookie);
}
