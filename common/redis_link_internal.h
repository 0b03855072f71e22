/*
 * redis_link_internal.h - What redis_link.c and redis_link_command.c share.
 */
#ifndef COMMON_REDIS_LINK_INTERNAL_H
#define COMMON_REDIS_LINK_INTERNAL_H

#include <event2/event_struct.h>
#include <hiredis/async.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/redis_link.h"

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
    struct event timer; /* runs until it is answered */
    bool in_hiredis;    /* its callback is still to come; it frees a shell */
    bool is_failed;     /* in the list of those to be answered with NULL */
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

/* Of redis_link.c. */

void redis_link_start_timer(struct event *timer, int ms);

/**
 * redis_link_drop(link, reason): give the context up and try again later. Not from
 * on_connected(), where hiredis would go on using the context.
 */
void redis_link_drop(struct redis_link *link, const char *reason);

/** redis_link_expect_answer(link): something was sent that Redis has to answer. */
void redis_link_expect_answer(struct redis_link *link);

/* Of redis_link_events.c. */

/** redis_link_attach(ac, base): until ${ac} is freed. 0, or -1 without memory. */
int redis_link_attach(redisAsyncContext *ac, struct event_base *base);

/* Of redis_link_command.c. */

/** redis_link_command_fail(link, command): it is in no list now; the loop answers it with NULL. */
void redis_link_command_fail(struct redis_link *link, struct link_command *command);

/**
 * redis_link_command_answered(list, command): take it out of ${list} and leave at most a
 * shell. The answer is the caller's to give.
 */
void redis_link_command_answered(struct link_commands *list, struct link_command *command);

/** redis_link_command_on_deferred(fd, what, link): the loop turns to a command that failed. */
void redis_link_command_on_deferred(evutil_socket_t fd, short what, void *cookie);

#endif /* COMMON_REDIS_LINK_INTERNAL_H */
