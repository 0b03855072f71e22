/*
 * redis_link.c - Connecting, the handshake, commands in flight, and coming back.
 *
 * Blocks only where a host name needs looking up. What callers may rely on:
 *
 *  - A NULL answer never comes out of hiredis's own callbacks, where new commands are
 *    refused and freeing is dangerous. It comes from the loop, one at a time, so a
 *    callback may send again or free the link. For the same reason every call to a
 *    caller's function is the last thing its function here does.
 *  - hiredis keeps the cookie of a command until its reply comes or its context goes. So a
 *    command that timed out stays as an empty shell (fn NULL) until then.
 *  - ac->data is the link, or NULL once the link has let go of the context: callbacks that
 *    run while hiredis cleans up see nobody.
 */
#include "common/redis_link.h"

#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/redis_handshake.h"

/* Commands wait and nothing at all has come for so long: the other end is gone (half-open). */
#define SILENCE_MS 3000

/* A subscriber waits for nothing, so it asks: PSUBSCRIBE once more, which Redis just confirms. */
#define HEARTBEAT_MS 2000

enum link_state {
    LINK_WAITING,     /* no context; the phase timer starts the next attempt */
    LINK_CONNECTING,  /* until the phase timer ends it */
    LINK_HANDSHAKE,   /* the same */
    LINK_SUBSCRIBING, /* the same */
    LINK_UP,
    LINK_BREAKING /* hiredis is about to say so, or the phase timer drops the context at once */
};

struct link_command {
    struct redis_link *link;
    redis_link_reply_fn fn; /* NULL: a shell, answered already */
    void *cookie;
    struct event *timer;
    bool in_hiredis; /* its callback is still to come; it frees a shell */
    bool is_failed;  /* in the list of those to be answered with NULL */
    TAILQ_ENTRY(link_command) next;
};
TAILQ_HEAD(link_commands, link_command);

struct redis_link {
    struct event_base *base;
    struct redis_settings settings;
    char name[64];
    struct redis_link_events events;
    enum link_state state;
    redisAsyncContext *ac;        /* NULL: none */
    struct event *phase;          /* what the state waits for; in LINK_UP the heartbeat */
    struct event *silence;        /* pending while commands wait */
    struct event *deferred;       /* answers the failed, one per turn */
    struct link_commands waiting; /* sent, not answered */
    struct link_commands failed;
    size_t n_in_hiredis; /* of this context, shells included */
    int64_t silent_since_ms;
    int step; /* of the handshake */
    char run_id[41];
    char reason[ERROR_TEXT_MAX]; /* why the phase timer drops the context */
    bool told_down;              /* events.down was called and events.up not since */
    bool is_freeing;
    struct redis_backoff backoff;
    char *pattern; /* NULL: no subscriber */
    redis_link_message_fn on_message;
    void *message_cookie;
};

static void send_psubscribe(struct redis_link *link);

static void
start_timer(struct event *timer, int ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

    /* Fails only without memory for the heap's next slot; then the wait is endless, but the
     * silence of the others still ends the connection. */
    (void)evtimer_add(timer, &tv);
}

/* ---- commands ---- */

static void
command_free(struct link_command *command)
{
    if (command->timer != NULL)
        event_free(command->timer);
    free(command);
}

/* To be answered with NULL by the loop. */
static void
command_fail(struct redis_link *link, struct link_command *command)
{
    evtimer_del(command->timer);
    command->is_failed = true;
    TAILQ_INSERT_TAIL(&link->failed, command, next);
    event_active(link->deferred, EV_TIMEOUT, 0);
}

/* Take it out of ${list} and leave at most a shell. The answer is the caller's to give. */
static void
command_answered(struct link_commands *list, struct link_command *command)
{
    TAILQ_REMOVE(list, command, next);
    if (command->in_hiredis) {
        command->fn = NULL;
        event_free(command->timer);
        command->timer = NULL;
    } else {
        command_free(command);
    }
}

/* The loop turns to a command that failed. */
static void
on_deferred(evutil_socket_t fd, short what, void *cookie)
{
    struct redis_link *link = cookie;
    struct link_command *command = TAILQ_FIRST(&link->failed);
    redis_link_reply_fn fn;
    void *fn_cookie;

    (void)fd;
    (void)what;
    if (command == NULL)
        return;
    fn = command->fn;
    fn_cookie = command->cookie;
    command_answered(&link->failed, command);
    if (!TAILQ_EMPTY(&link->failed))
        event_active(link->deferred, EV_TIMEOUT, 0);
    fn(fn_cookie, NULL);
}

/* A command has waited for as long as its sender wants. */
static void
on_command_timeout(evutil_socket_t fd, short what, void *cookie)
{
    struct link_command *command = cookie;
    redis_link_reply_fn fn = command->fn;
    void *fn_cookie = command->cookie;

    (void)fd;
    (void)what;
    command_answered(&command->link->waiting, command);
    fn(fn_cookie, NULL);
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
        command_fail(link, command);
    }
    start_timer(link->phase, redis_backoff_next_ms(&link->backoff));
    if (link->told_down)
        return;
    link->told_down = true;
    if (link->events.down != NULL) {
        snprintf(text, sizeof(text), "%s", reason); /* the callback may free what it lies in */
        link->events.down(link->events.cookie, text);
    }
}

/* Give the context up. Not from on_connected(), where hiredis would go on using it. */
static void
drop(struct redis_link *link, const char *reason)
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
            command_fail(link, c);
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
    start_timer(link->phase, 0);
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

/* ---- replies ---- */

/* Redis answered a command, or hiredis gives its cookie back. */
static void
on_reply(redisAsyncContext *ac, void *answer, void *cookie)
{
    struct redis_link *link = ac->data;
    struct link_command *command = cookie;
    const redisReply *reply = answer; /* hiredis frees it when we return */
    redis_link_reply_fn fn = command->fn;
    void *fn_cookie = command->cookie;

    command->in_hiredis = false;
    if (link != NULL) {
        link->n_in_hiredis--;
        link->silent_since_ms = clock_monotonic_ms();
    }
    if (fn == NULL) { /* a shell: too late */
        command_free(command);
        return;
    }
    if (command->is_failed) /* on_deferred() answers and frees it */
        return;
    if (reply == NULL || redis_error_is_connection(reply)) {
        TAILQ_REMOVE(&link->waiting, command, next);
        command_fail(link, command);
        if (reply == NULL)
            link->state = LINK_BREAKING; /* on_disconnected() follows */
        else if (link->state == LINK_UP)
            drop(link, reply->str);
        return;
    }
    command_answered(&link->waiting, command);
    fn(fn_cookie, reply);
}

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
        start_timer(link->silence, (int)(SILENCE_MS - silent_ms) + 1);
    else
        drop(link, "no answer to anything for 3 s");
}

/* Something was sent that Redis has to answer. */
static void
expect_answer(struct redis_link *link)
{
    if (link->n_in_hiredis++ == 0)
        link->silent_since_ms = clock_monotonic_ms();
    if (!evtimer_pending(link->silence, NULL))
        start_timer(link->silence, SILENCE_MS);
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
        start_timer(link->phase, HEARTBEAT_MS);
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
        drop(link, err.text);
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
    start_timer(link->phase, link->settings.connect_timeout_ms);
    next_step(link);
}

static void
connect_now(struct redis_link *link)
{
    redisAsyncContext *ac;

    link->state = LINK_CONNECTING;
    start_timer(link->phase, link->settings.connect_timeout_ms);
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
        drop(link, ac->c.errstr);
        return;
    }
    ac->data = link;
    if (redisLibeventAttach(ac, link->base) != REDIS_OK) {
        drop(link, "cannot attach to the event loop");
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
    expect_answer(link);
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
        drop(link, "no connection in time");
        break;
    case LINK_HANDSHAKE:
    case LINK_SUBSCRIBING:
        drop(link, "connected, but no answer in time");
        break;
    case LINK_UP: /* a subscriber's heartbeat; on_silence() judges it */
        start_timer(link->phase, HEARTBEAT_MS);
        if (link->n_in_hiredis == 0)
            send_psubscribe(link);
        break;
    case LINK_BREAKING:
        drop(link, link->reason);
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
    link->deferred = evtimer_new(base, on_deferred, link);
    if (link->phase == NULL || link->silence == NULL || link->deferred == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        redis_link_free(link);
        return NULL;
    }
    start_timer(link->phase, 0); /* from the loop, so that no event comes before this returns */
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

            command_answered(lists[i], command);
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
redis_link_command(struct redis_link *link, int timeout_ms, redis_link_reply_fn fn, void *cookie,
    int argc, const char *const *argv, const size_t *lens)
{
    struct link_command *command;

    if (link->is_freeing || (command = calloc(1, sizeof(*command))) == NULL)
        return -1;
    *command = (struct link_command){.link = link, .fn = fn, .cookie = cookie};
    if ((command->timer = evtimer_new(link->base, on_command_timeout, command)) == NULL) {
        free(command);
        return -1;
    }
    /* hiredis does not write through argv, its type only says so. */
    if (link->state != LINK_UP || link->pattern != NULL ||
        redisAsyncCommandArgv(link->ac, on_reply, command, argc, (const char **)argv, lens) !=
            REDIS_OK) {
        command_fail(link, command);
        return 0;
    }
    command->in_hiredis = true;
    TAILQ_INSERT_TAIL(&link->waiting, command, next);
    start_timer(command->timer, timeout_ms);
    expect_answer(link);
    return 0;
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
        start_timer(link->phase, link->settings.connect_timeout_ms);
        send_psubscribe(link);
    }
    return 0;
}
