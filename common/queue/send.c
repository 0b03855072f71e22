/*
 * send.c - The evented way of running a script, apart so that a worker needs no libevent.
 *
 * The call is kept until its reply is here: it may have to go again as EVAL.
 */
#include "common/queue/script.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/redis_link.h"

struct sent {
    struct redis_link *link;
    int timeout_ms;
    struct queue_call call;
    bool is_eval;
    double began; /* clock_seconds() */
    queue_reply_fn fn;
    void *cookie;
};

static void
sent_free(struct sent *s)
{
    queue_call_clear(&s->call);
    free(s);
}

static void
on_sent_reply(void *cookie, const redisReply *reply)
{
    struct sent *s = cookie;

    if (!s->is_eval && queue_call_is_unknown(&s->call, reply)) {
        s->is_eval = true;
        queue_call_make_eval(s->call.script, s->call.argv, s->call.lens);
        if (redis_link_command(s->link, s->timeout_ms, on_sent_reply, s, s->call.argc, s->call.argv,
                s->call.lens) == 0)
            return;
        reply = NULL;
    }
    queue_call_measured(&s->call, reply, s->began);
    s->fn(s->cookie, reply);
    sent_free(s);
}

int
queue_send(struct redis_link *link, int timeout_ms, struct queue_call *call, queue_reply_fn fn,
    void *cookie)
{
    struct sent *s = calloc(1, sizeof(*s));

    if (!s) {
        queue_call_clear(call);
        return -1;
    }
    *s = (struct sent){.link = link,
        .timeout_ms = timeout_ms,
        .call = *call,
        .began = clock_seconds(),
        .fn = fn,
        .cookie = cookie};
    *call = (struct queue_call){0};
    if (redis_link_command(
            link, timeout_ms, on_sent_reply, s, s->call.argc, s->call.argv, s->call.lens) == -1) {
        sent_free(s);
        return -1;
    }
    return 0;
}
