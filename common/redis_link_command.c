/*
 * redis_link_command.c - Commands in flight: sent, answered, timed out, or failed.
 *
 *  - A NULL answer never comes out of hiredis's own callbacks, where new commands are
 *    refused and freeing is dangerous. It comes from the loop, one at a time, so a
 *    callback may send again or free the link.
 *  - hiredis keeps the cookie of a command until its reply comes or its context goes. So a
 *    command that timed out stays as an empty shell (fn NULL) until then.
 */
#include "common/redis_link_internal.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "common/clock.h"

/* To be answered with NULL by the loop. */
void
redis_link_command_fail(struct redis_link *link, struct link_command *command)
{
    evtimer_del(&command->timer);
    command->is_failed = true;
    TAILQ_INSERT_TAIL(&link->failed, command, next);
    event_active(link->deferred, EV_TIMEOUT, 0);
}

/* Take it out of ${list} and leave at most a shell. The answer is the caller's to give. */
void
redis_link_command_answered(struct link_commands *list, struct link_command *command)
{
    TAILQ_REMOVE(list, command, next);
    evtimer_del(&command->timer);
    if (command->in_hiredis)
        command->fn = NULL;
    else
        free(command);
}

/* The loop turns to a command that failed. */
void
redis_link_command_on_deferred(evutil_socket_t fd, short what, void *cookie)
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
    redis_link_command_answered(&link->failed, command);
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
    redis_link_command_answered(&command->link->waiting, command);
    fn(fn_cookie, NULL);
}

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
        free(command);
        return;
    }
    if (command->is_failed) /* redis_link_command_on_deferred() answers and frees it */
        return;
    if (reply == NULL || redis_error_is_connection(reply)) {
        TAILQ_REMOVE(&link->waiting, command, next);
        redis_link_command_fail(link, command);
        if (reply == NULL)
            link->state = LINK_BREAKING; /* on_disconnected() follows */
        else if (link->state == LINK_UP)
            redis_link_drop(link, reply->str);
        return;
    }
    redis_link_command_answered(&link->waiting, command);
    fn(fn_cookie, reply);
}

int
redis_link_command(struct redis_link *link, int timeout_ms, redis_link_reply_fn fn, void *cookie,
    int argc, const char *const *argv, const size_t *lens)
{
    struct link_command *command;

    if (link->is_freeing || (command = calloc(1, sizeof(*command))) == NULL)
        return -1;
    *command = (struct link_command){.link = link, .fn = fn, .cookie = cookie};
    if (evtimer_assign(&command->timer, link->base, on_command_timeout, command) == -1) {
        free(command);
        return -1;
    }
    /* hiredis does not write through argv, its type only says so. */
    if (link->state != LINK_UP || link->pattern != NULL ||
        redisAsyncCommandArgv(link->ac, on_reply, command, argc, (const char **)argv, lens) !=
            REDIS_OK) {
        redis_link_command_fail(link, command);
        return 0;
    }
    command->in_hiredis = true;
    TAILQ_INSERT_TAIL(&link->waiting, command, next);
    redis_link_start_timer(&command->timer, timeout_ms);
    redis_link_expect_answer(link);
    return 0;
}
