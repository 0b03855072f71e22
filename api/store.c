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

#define STORE_LOOK_MS    1000 /* between looks at the memory of Redis */
#define STORE_FULL_SHARE 0.85

struct store {
    struct redis_link *link;
    struct event *look;
    bool is_full;
    bool allow_volatile;
    bool is_trusted; /* this connection's Redis was judged and is safe, or need not be */
};

/* INFO memory was answered, or not: then the last answer stays, and the next look comes. */
static void
on_memory(void *cookie, const redisReply *reply)
{
    struct store *store = cookie;
    double share;
    bool is_full;

    if (reply == NULL || redis_memory_share(reply, &share) == -1)
        return;
    is_full = share >= STORE_FULL_SHARE;
    if (is_full && !store->is_full)
        log_warning("api.store", "Redis has used up its memory: no new tasks are accepted",
            LOG_NUM("share", share), LOG_NUM("limit", STORE_FULL_SHARE));
    else if (!is_full && store->is_full)
        log_info("api.store", "Redis has memory again", LOG_NUM("share", share));
    store->is_full = is_full;
}

static void
look_at_memory(struct store *store)
{
    static const char *const info[] = {"INFO", "memory"};

    if (redis_link_is_up(store->link) &&
        redis_link_command(
            store->link, STORE_TIMEOUT_MS, on_memory, store, 2, info, (const size_t[]){4, 6}) == -1)
        log_error("api.store", "no memory to look at that of Redis");
}

static void
on_look(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    look_at_memory(cookie);
}

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
    store->is_full = false; /* it may be another Redis */
    look_at_memory(store);
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
    if ((store->look = event_new(base, -1, EV_PERSIST, on_look, store)) == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        goto free_it;
    }
    if ((store->link = redis_link_new(base, settings, "kronosq-api", &events, err)) == NULL)
        goto free_it;
    event_add(store->look, &(struct timeval){STORE_LOOK_MS / 1000, STORE_LOOK_MS % 1000 * 1000});
    return store;

free_it:
    store_free(store);
    return NULL;
}

void
store_free(struct store *store)
{
    if (store == NULL)
        return;
    if (store->look != NULL)
        event_free(store->look);
    if (store->link != NULL)
        redis_link_free(store->link);
    free(store);
}

bool
store_is_ready(const struct store *store)
{
    return store->is_trusted && redis_link_is_up(store->link);
}

bool
store_is_full(const struct store *store)
{
    return store->is_full;
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
