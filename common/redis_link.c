/*
 * redis_link.c - Connecting, the handshake, losing a connection and coming back.
 *
 * Blocks only where a host name needs looking up. Commands are redis_link_command.c's.
 * Two rules keep callers free to send or to free the link in any callback: a call to a
 * caller's function is the last thing its function here does; and ac->data is the link, or
 * NULL once the link has let go of the context, so that what runs while hiredis cleans up
 * sees nobody.
 */
#include "common/redis_link_internal.h"

#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/redis_handshake.h"

/* Commands wait and nothing at all has come for so long: the other end is gone (half-open). */
#define SILENCE_MS 3000

/* A subscriber waits for nothing, so it asks: PSUBSCRIBE once more, which Redis just confirms. */
#define HEARTBEAT_MS 2000

static void send_psubscribe(struct redis_link *link);

void
redis_link_start_timer(struct event *timer, int ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    /* Fails only without memory for the heap's next slot; then the wait is endless, but the
     * silence of the others still ends the connection. */
    (void)evtimer_add(timer, &tv);
}

/* ---- losing a connection ---- */

/* There is no context any more: try again later, tell whoever waits. */
static void
lost(struct redis_link *link, const char *reason)
{
    struct link_command *command;
    char text[ERROR_TEXT_MAX];

    link->state = LINK_WAITING;
    link->n_in_hiredis = 0;
    evtimer_del(link->silence);
    while ((command = TAILQ_FIRST(&link->waiting)) != NULL) {
        TAILQ_REMOVE(&link->waiting, command, next);
        redis_link_command_fail(link, command);
    }
    redis_link_start_timer(link->phase, redis_backoff_next_ms(&link->backoff));
    if (link->told_down)
        return;
    link->told_down = true;
    if (link->events.down != NULL) {
        snprintf(text, sizeof(text), "%s", reason); /* the callback may free what it lies in */
        link->events.down(link->events.cookie, text);
    }
}

void
redis_link_drop(struct redis_link *link, const char *reason)
{
    redisAsyncContext *ac = link->ac;
    char text[ERROR_TEXT_MAX];

    snprintf(text, sizeof(text), "%s", reason); /* it may lie in the context */
    link->ac = NULL;
    if (ac != NULL) {
        ac->data = NULL;
        /* on_reply() must find every waiting command in the failed list, so mark them first. */
        for (struct link_command *c = TAILQ_FIRST(&link->waiting), *after; c != NULL; c = after) {
            after = TAILQ_NEXT(c, next);
            TAILQ_REMOVE(&link->waiting, c, next);
            redis_link_command_fail(link, c);
        }
        redisAsyncFree(ac); /* inside a reply's callback: as soon as that has returned */
    }
    lost(link, text);
}

/* Drop the context from the loop, for callers that stand on hiredis's stack. */
static void
drop_soon(struct redis_link *link, const char *reason)
{
    link->state = LINK_BREAKING;
    snprintf(link->reason, sizeof(link->reason), "%s", reason);
    redis_link_start_timer(link->phase, 0);
}

/* hiredis has closed the connection and called every pending callback with NULL. */
static void
on_disconnected(const redisAsyncContext *ac, int status)
{
    struct redis_link *link = ac->data;

    (void)status;
    if (link == NULL)
        return;
    link->ac = NULL; /* hiredis frees it */
    lost(link, ac->c.errstr[0] != '\0' ? ac->c.errstr : "connection closed");
}

/* ---- silence ---- */

/* Commands wait: has anything at all come lately? */
static void
on_silence(evutil_socket_t fd, short what, void *cookie)
{
    struct redis_link *link = cookie;
    int64_t silent_ms = clock_monotonic_ms() - link->silent_since_ms;

    (void)fd;
    (void)what;
    if (link->n_in_hiredis == 0)
        return;
    if (silent_ms < SILENCE_MS)
        redis_link_start_timer(link->silence, (int)(SILENCE_MS - silent_ms) + 1);
    else
        redis_link_drop(link, "no answer to anything for 3 s");
}

void
redis_link_expect_answer(struct redis_link *link)
{
    if (link->n_in_hiredis++ == 0)
        link->silent_since_ms = clock_monotonic_ms();
    if (!evtimer_pending(link->silence, NULL))
        redis_link_start_timer(link->silence, SILENCE_MS);
}

/* ---- coming up ---- */

/* Every connection check has passed, and the subscription stands if there is one. */
static void
came_up(struct redis_link *link)
{
    link->state = LINK_UP;
    link->told_down = false;
    redis_backoff_reset(&link->backoff);
    evtimer_del(link->phase);
    if (link->pattern != NULL)
        redis_link_start_timer(link->phase, HEARTBEAT_MS);
    if (link->events.up != NULL)
        link->events.up(link->events.cookie);
}

static void on_handshake_reply(redisAsyncContext *ac, void *answer, void *cookie);

/* Send the handshake's next command, or be done with it. */
static void
next_step(struct redis_link *link)
{
    struct redis_handshake_command command;

    for (; link->step < REDIS_HANDSHAKE_STEPS; link->step++) {
        redis_handshake_command(
            (enum redis_handshake_step)link->step, &link->settings, link->name, &command);
        if (command.argc == 0)
            continue;
        if (redisAsyncCommandArgv(
                link->ac, on_handshake_reply, NULL, command.argc, command.argv, NULL) != REDIS_OK)
            drop_soon(link, "cannot send");
        return;
    }
    if (link->pattern == NULL) {
        came_up(link);
        return;
    }
    link->state = LINK_SUBSCRIBING;
    send_psubscribe(link);
}

/* A command of the handshake was answered. */
static void
on_handshake_reply(redisAsyncContext *ac, void *answer, void *cookie)
{
    struct redis_link *link = ac->data;
    const redisReply *reply = answer;
    struct error err;

    (void)cookie;
    if (link == NULL || reply == NULL) /* on_disconnected() follows */
        return;
    if (redis_handshake_check(
            (enum redis_handshake_step)link->step, reply, &link->settings, &err) == -1) {
        redis_link_drop(link, err.text);
        return;
    }
    if (link->step == REDIS_HANDSHAKE_RUN_ID)
        (void)redis_handshake_run_id(reply, link->run_id, &err); /* the check has read it too */
    link->step++;
    next_step(link);
}

/* The connection stands, or could not be made; hiredis then frees the context itself. */
static void
on_connected(const redisAsyncContext *ac, int status)
{
    struct redis_link *link = ac->data;
    struct error err;

    if (link == NULL)
        return;
    if (status != REDIS_OK) {
        link->ac = NULL;
        lost(link, ac->c.errstr[0] != '\0' ? ac->c.errstr : "cannot connect");
        return;
    }
    if (redis_keep_alive(ac->c.fd, &link->settings, &err) == -1) {
        drop_soon(link, err.text);
        return;
    }
    link->state = LINK_HANDSHAKE;
    link->step = 0;
    redis_link_start_timer(link->phase, link->settings.connect_timeout_ms);
    next_step(link);
}

static void
connect_now(struct redis_link *link)
{
    redisAsyncContext *ac;

    link->state = LINK_CONNECTING;
    redis_link_start_timer(link->phase, link->settings.connect_timeout_ms);
    if (link->settings.path[0] != '\0')
        ac = redisAsyncConnectUnix(link->settings.path);
    else
        ac = redisAsyncConnect(link->settings.host, link->settings.port);
    if (ac == NULL) {
        lost(link, "out of memory");
        return;
    }
    link->ac = ac;
    if (ac->err != 0) {
        redis_link_drop(link, ac->c.errstr);
        return;
    }
    ac->data = link;
    if (redis_link_attach(ac, link->base) == -1) {
        redis_link_drop(link, "cannot attach to the event loop");
        return;
    }
    redisAsyncSetConnectCallback(ac, on_connected); /* these two fail only when set twice */
    redisAsyncSetDisconnectCallback(ac, on_disconnected);
}

/* ---- subscribing ---- */

/* A message of the pattern came, or Redis confirmed the subscription. */
static void
on_push(redisAsyncContext *ac, void *answer, void *cookie)
{
    struct redis_link *link = ac->data;
    const redisReply *reply = answer;
    const redisReply *kind;

    (void)cookie;
    if (link == NULL || reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements < 3)
        return;
    link->silent_since_ms = clock_monotonic_ms();
    kind = reply->element[0];
    if (kind->type != REDIS_REPLY_STRING)
        return;
    if (strcmp(kind->str, "psubscribe") == 0) {
        if (link->n_in_hiredis > 0)
            link->n_in_hiredis--;
        if (link->state == LINK_SUBSCRIBING)
            came_up(link);
        return;
    }
    if (strcmp(kind->str, "pmessage") == 0 && reply->elements == 4 &&
        reply->element[2]->type == REDIS_REPLY_STRING &&
        reply->element[3]->type == REDIS_REPLY_STRING)
        link->on_message(link->message_cookie, reply->element[2]->str, reply->element[2]->len,
            reply->element[3]->str, reply->element[3]->len);
}

static void
send_psubscribe(struct redis_link *link)
{
    const char *argv[] = {"PSUBSCRIBE", link->pattern};

    if (redisAsyncCommandArgv(link->ac, on_push, NULL, 2, argv, NULL) != REDIS_OK) {
        drop_soon(link, "cannot subscribe");
        return;
    }
    redis_link_expect_answer(link);
}

/* The state has lasted for as long as it may. */
static void
on_phase(evutil_socket_t fd, short what, void *cookie)
{
    struct redis_link *link = cookie;

    (void)fd;
    (void)what;
    switch (link->state) {
    case LINK_WAITING:
        connect_now(link);
        break;
    case LINK_CONNECTING:
        redis_link_drop(link, "no connection in time");
        break;
    case LINK_HANDSHAKE:
    case LINK_SUBSCRIBING:
        redis_link_drop(link, "connected, but no answer in time");
        break;
    case LINK_UP: /* a subscriber's heartbeat; on_silence() judges it */
        redis_link_start_timer(link->phase, HEARTBEAT_MS);
        if (link->n_in_hiredis == 0)
            send_psubscribe(link);
        break;
    case LINK_BREAKING:
        redis_link_drop(link, link->reason);
        break;
    }
}

/* ---- for callers ---- */

struct redis_link *
redis_link_new(struct event_base *base, const struct redis_settings *settings, const char *name,
    const struct redis_link_events *events, struct error *err)
{
    struct redis_link *link = calloc(1, sizeof(*link));

    if (link == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    link->base = base;
    link->settings = *settings;
    snprintf(link->name, sizeof(link->name), "%s", name);
    if (events != NULL)
        link->events = *events;
    TAILQ_INIT(&link->waiting);
    TAILQ_INIT(&link->failed);
    link->phase = evtimer_new(base, on_phase, link);
    link->silence = evtimer_new(base, on_silence, link);
    link->deferred = evtimer_new(base, redis_link_command_on_deferred, link);
    if (link->phase == NULL || link->silence == NULL || link->deferred == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        redis_link_free(link);
        return NULL;
    }
    redis_link_start_timer(
        link->phase, 0); /* from the loop, so that no event comes before this returns */
    return link;
}

void
redis_link_free(struct redis_link *link)
{
    struct link_commands *lists[2];
    redisAsyncContext *ac;

    if (link == NULL || link->is_freeing)
        return;
    link->is_freeing = true; /* a callback that sends again is refused */
    link->state = LINK_WAITING;
    ac = link->ac;
    link->ac = NULL;
    if (ac != NULL)
        ac->data = NULL;
    lists[0] = &link->waiting;
    lists[1] = &link->failed;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct link_command *command;

        while ((command = TAILQ_FIRST(lists[i])) != NULL) {
            redis_link_reply_fn fn = command->fn;
            void *fn_cookie = command->cookie;

            redis_link_command_answered(lists[i], command);
            fn(fn_cookie, NULL);
        }
    }
    if (ac != NULL)
        redisAsyncFree(ac); /* gives the shells back to on_reply() */
    if (link->phase != NULL)
        event_free(link->phase);
    if (link->silence != NULL)
        event_free(link->silence);
    if (link->deferred != NULL)
        event_free(link->deferred);
    redis_settings_clear(&link->settings);
    free(link->pattern);
    free(link);
}

bool
redis_link_is_up(const struct redis_link *link)
{
    return link->state == LINK_UP;
}

const char *
redis_link_run_id(const struct redis_link *link)
{
    return link->run_id;
}

int
redis_link_psubscribe(
    struct redis_link *link, const char *pattern, redis_link_message_fn fn, void *cookie)
{
    char *copy = strdup(pattern);

    if (copy == NULL)
        return -1;
    free(link->pattern);
    link->pattern = copy;
    link->on_message = fn;
    link->message_cookie = cookie;
    if (link->state == LINK_UP) {
        link->state = LINK_SUBSCRIBING;
        redis_link_start_timer(link->phase, link->settings.connect_timeout_ms);
        send_psubscribe(link);
    }
    return 0;
}
