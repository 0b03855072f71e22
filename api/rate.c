/*
 * rate.c - How many submits a key may make in a minute.
 *
 * Counted in Redis, for all API processes together, before the body is read into a request: a
 * client that sends too much must not cost parsing. The headers that tell what is left are put
 * on the reply here, so that every answer to a counted submit has them.
 */
#include "api/rate.h"

#include <stdio.h>

#include "api/reply.h"
#include "api/server.h"
#include "api/store.h"
#include "common/queue/queue.h"

#define RATE_WINDOW_SECONDS 60
#define RATE_POLICY         "\"default\""

/* Submits per window, 0: no limit. */
static int64_t
limit_of(const struct exchange *e)
{
    const struct config *config = e->server->config;

    if (!config_bool(config, CONFIG_RATE_LIMIT_ENABLED))
        return 0;
    return e->caller.rate != API_KEY_RATE_SERVER
               ? e->caller.rate
               : config_integer(config, CONFIG_RATE_LIMIT_PER_MINUTE);
}

static void
add_number(struct exchange *e, const char *name, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    reply_header(e, name, text);
}

/* The draft of the IETF, and the older names that many clients read. */
static void
add_headers(struct exchange *e, int64_t limit, int64_t left, int64_t seconds)
{
    char text[96];

    snprintf(text, sizeof(text), RATE_POLICY ";q=%lld;w=%d", (long long)limit, RATE_WINDOW_SECONDS);
    reply_header(e, "RateLimit-Policy", text);
    snprintf(text, sizeof(text), RATE_POLICY ";r=%lld;t=%lld", (long long)left, (long long)seconds);
    reply_header(e, "RateLimit", text);
    add_number(e, "X-RateLimit-Limit", limit);
    add_number(e, "X-RateLimit-Remaining", left);
    add_number(e, "X-RateLimit-Reset", seconds);
}

/* Redis has counted it, or is away: then nobody knows, and nothing can be stored either. */
static void
on_counted(void *cookie, const redisReply *reply)
{
    struct exchange *e = cookie;
    struct problem problem = {0};
    int64_t count, left_ms, seconds, limit = limit_of(e);
    struct error err;

    if (reply == NULL) {
        reply_store_unavailable(e);
        return;
    }
    if (queue_rate_parse(reply, &count, &left_ms, &err) == -1) {
        reply_error(e, &err);
        return;
    }
    if (limit == 0) { /* a HUP has just lifted it */
        e->match.route->serve(e, e->match.params[0]);
        return;
    }
    seconds = (left_ms + 999) / 1000;
    add_headers(e, limit, count < limit ? limit - count : 0, seconds);
    if (count <= limit) {
        e->match.route->serve(e, e->match.params[0]);
        return;
    }
    problem_set(
        &problem, 429, "rate_limited", "this key may submit %lld times a minute", (long long)limit);
    problem.retry_after = (int)seconds;
    reply_problem(e, &problem);
}

void
rate_serve(struct exchange *e)
{
    struct queue_call call;
    struct error err;

    if (limit_of(e) == 0) {
        e->match.route->serve(e, e->match.params[0]);
    } else if (!store_is_ready(e->server->store)) {
        reply_store_unavailable(e);
    } else if (queue_rate_call(e->caller.name, RATE_WINDOW_SECONDS * 1000, &call, &err) == -1) {
        reply_error(e, &err);
    } else if (store_send(e->server->store, &call, on_counted, e) == -1) {
        error_set(&err, ERR_MEMORY, "no memory to count a submit");
        reply_error(e, &err);
    }
}
