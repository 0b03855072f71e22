/*
 * rate.c - How many submits of one owner fall into a minute, over all processes and models.
 */
#include "common/queue/script.h"

#include <stdio.h>
#include <string.h>

#define RATE_PREFIX "kq:rate:" /* of all models, so in no model's hash slot */

int
queue_rate_call(const char *owner, int64_t window_ms, struct queue_call *call, struct error *err)
{
    struct queue counter = {0}; /* only its prefix, which is the counter's whole name */
    struct queue_args a;

    *call = (struct queue_call){0};
    if (owner[0] == '\0' || strpbrk(owner, "{}") != NULL ||
        (size_t)snprintf(counter.prefix, sizeof(counter.prefix), RATE_PREFIX "%s", owner) >=
            sizeof(counter.prefix))
        return error_set(err, ERR_INVALID, "the owner of a rate has no name that fits a key");
    queue_args_begin(&a, &queue_script_rate, &counter, 1);
    queue_args_int(&a, window_ms);
    return queue_args_end(&a, call, err);
}

int
queue_rate_parse(const redisReply *reply, int64_t *count, int64_t *left_ms, struct error *err)
{
    const char *name = queue_script_rate.name;

    if (queue_reply_array(reply, name, 2, err) == -1)
        return -1;
    if (!queue_reply_int(reply->element[0], count) || *count < 1 ||
        !queue_reply_int(reply->element[1], left_ms) || *left_ms < 1)
        return queue_reply_strange(name, err);
    return 0;
}
