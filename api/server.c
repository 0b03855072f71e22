/*
 * server.c - The HTTP front: the route table, and the order in which a request is judged.
 *
 * evhttp is used for its sockets, replies and keep-alive; what a request says was read by the
 * guard. There is one callback for everything, because evhttp matches decoded paths.
 */
#include "api/server.h"

#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/accept.h"
#include "api/access.h"
#include "api/handlers.h"
#include "api/media.h"
#include "api/rate.h"
#include "api/reply.h"
#include "api/route.h"
#include "common/clock.h"
#include "common/log.h"

#define SERVER_ACCEPT_PAUSE_MS 100 /* after accept() failed, most likely for want of descriptors */

/* Literal paths before patterns; lines of one pattern stand together. */
static const struct route routes[] = {
    {HEAD_METHOD_GET, "/", ROUTE_OPEN, 0, get_root},
    {HEAD_METHOD_GET, "/v1/healthz", ROUTE_OPEN, ROUTE_ANY_PEER, get_healthz},
    {HEAD_METHOD_GET, "/v1/healthz/detailed", ROUTE_READ, ROUTE_ANY_PEER, get_health_detailed},
    {HEAD_METHOD_GET, "/v1/readyz", ROUTE_OPEN, ROUTE_ANY_PEER, get_readyz},
    {HEAD_METHOD_GET, "/v2", ROUTE_OPEN, 0, get_v2},
    {HEAD_METHOD_GET, "/v2/health/live", ROUTE_OPEN, ROUTE_ANY_PEER, get_v2_live},
    {HEAD_METHOD_GET, "/v2/health/ready", ROUTE_OPEN, ROUTE_ANY_PEER, get_v2_ready},
    {HEAD_METHOD_GET, "/v2/models/{name}", ROUTE_OPEN, 0, get_v2_model},
    {HEAD_METHOD_GET, "/v2/models/{name}/ready", ROUTE_OPEN, ROUTE_ANY_PEER, get_v2_model_ready},
    {HEAD_METHOD_GET, "/openapi.json", ROUTE_OPEN, 0, get_openapi},
    {HEAD_METHOD_GET, "/metrics", ROUTE_METRICS, ROUTE_ANY_PEER, get_metrics},
    {HEAD_METHOD_GET, "/v1/metrics", ROUTE_METRICS, ROUTE_ANY_PEER, get_metrics},
    {HEAD_METHOD_GET, "/v1/models", ROUTE_READ, 0, list_models},
    {HEAD_METHOD_GET, "/v1/models/{name}", ROUTE_READ, 0, get_model},
    {HEAD_METHOD_GET, "/v1/queues", ROUTE_ADMIN, 0, list_queues},
    {HEAD_METHOD_POST, "/v1/queues/{model}/{priority}/pause", ROUTE_ADMIN, 0, pause_queue},
    {HEAD_METHOD_POST, "/v1/queues/{model}/{priority}/resume", ROUTE_ADMIN, 0, resume_queue},
    {HEAD_METHOD_GET, "/v1/workers", ROUTE_ADMIN, 0, list_workers},
    {HEAD_METHOD_POST, "/v1/workers/{id}/quiet", ROUTE_ADMIN, 0, quiet_worker},
    {HEAD_METHOD_POST, "/v1/workers/{id}/resume", ROUTE_ADMIN, 0, resume_worker},
    {HEAD_METHOD_POST, "/v1/predict/single", ROUTE_SUBMIT,
        ROUTE_NEEDS_BODY | ROUTE_NEGOTIATES | ROUTE_COUNTS | ROUTE_PREDICTS, submit_single},
    {HEAD_METHOD_POST, "/v1/predict/batch", ROUTE_SUBMIT,
        ROUTE_NEEDS_BODY | ROUTE_NEGOTIATES | ROUTE_COUNTS | ROUTE_PREDICTS, submit_batch},
    {HEAD_METHOD_GET, "/v1/predict/{id}", ROUTE_READ, ROUTE_NEGOTIATES, get_task},
    {HEAD_METHOD_GET, "/v1/tasks", ROUTE_READ, 0, list_tasks},
    {HEAD_METHOD_GET, "/v1/tasks/{id}", ROUTE_READ, ROUTE_NEGOTIATES, get_task},
    {HEAD_METHOD_DELETE, "/v1/tasks/{id}", ROUTE_SUBMIT, 0, delete_task},
    {HEAD_METHOD_GET, "/v1/tasks/{id}/result", ROUTE_READ, ROUTE_NEGOTIATES | ROUTE_OFFERS_CSV,
        get_task_result},
    {HEAD_METHOD_GET, "/v1/tasks/{id}/events", ROUTE_READ, ROUTE_NEGOTIATES | ROUTE_STREAMS,
        get_task_events},
    {HEAD_METHOD_POST, "/v1/tasks/{id}/cancel", ROUTE_SUBMIT, ROUTE_NEGOTIATES, cancel_task},
    {HEAD_METHOD_POST, "/v1/tasks/{id}/webhook/replay", ROUTE_SUBMIT, ROUTE_NEGOTIATES,
        replay_webhook},
    {HEAD_METHOD_POST, "/v1/webhooks/ping", ROUTE_SUBMIT, ROUTE_NEEDS_BODY | ROUTE_COUNTS,
        ping_webhook},
    {HEAD_METHOD_GET, "/v1/dead-letters", ROUTE_ADMIN, 0, list_dead_letters},
    {HEAD_METHOD_DELETE, "/v1/dead-letters/{id}", ROUTE_ADMIN, 0, discard_dead_letter},
    {HEAD_METHOD_POST, "/v1/dead-letters/{id}/requeue", ROUTE_ADMIN, ROUTE_NEGOTIATES,
        requeue_dead_letter},
};

static int
refuse_route(enum route_outcome outcome, struct problem *problem)
{
    switch (outcome) {
    case ROUTE_UNKNOWN_METHOD:
        return problem_set(problem, 501, "method_not_implemented", "the method is not known");
    case ROUTE_OTHER_METHOD: /* reply.c adds Allow */
        return problem_set(problem, 405, "method_not_allowed", "Method Not Allowed");
    case ROUTE_UNKNOWN_PATH:
    case ROUTE_FOUND:
        break;
    }
    return problem_set(problem, 404, "route_not_found", "Not Found");
}

/* Content-Type and Content-Encoding of a request with a body. */
static int
judge_media(const struct head *head, struct problem *problem)
{
    const char *encoding = head_field(head, "Content-Encoding", 0);
    cJSON *supported;

    if (head_field(head, "Content-Type", 1) == NULL &&
        media_form(head_field(head, "Content-Type", 0)) != MEDIA_FORM_OTHER &&
        (encoding == NULL || strcasecmp(encoding, "identity") == 0) &&
        head_field(head, "Content-Encoding", 1) == NULL)
        return 0;
    problem_set(problem, 415, "unsupported_media_type",
        "the body must be %s or %s, without a Content-Encoding", MEDIA_JSON, MEDIA_MSGPACK);
    problem->closes = true;
    supported = cJSON_CreateArray();
    cJSON_AddItemToArray(supported, cJSON_CreateString(MEDIA_JSON));
    cJSON_AddItemToArray(supported, cJSON_CreateString(MEDIA_MSGPACK));
    problem_extra(problem, "supported", supported);
    return -1;
}

static unsigned
offers_of(const struct route *route)
{
    if ((route->flags & ROUTE_STREAMS) != 0)
        return ACCEPT_EVENTS;
    return ACCEPT_JSON | ACCEPT_MSGPACK |
           ((route->flags & ROUTE_OFFERS_CSV) != 0 ? ACCEPT_CSV : 0u);
}

static int
judge_accept(const struct head *head, const struct route *route, struct problem *problem)
{
    unsigned offers = offers_of(route);
    cJSON *available;

    if (accept_choose(head, offers) != ACCEPT_NONE)
        return 0;
    problem_set(problem, 406, "not_acceptable", "the reply can be in no form of Accept");
    available = cJSON_CreateArray();
    for (unsigned form = ACCEPT_JSON; form <= ACCEPT_EVENTS; form <<= 1) {
        if ((offers & form) != 0)
            cJSON_AddItemToArray(available, cJSON_CreateString(accept_type(form)));
    }
    problem_extra(problem, "available", available);
    return -1;
}

/* All that the header block can tell, in the order of the contract; framing and sizes are done. */
static int
judge_head(const struct server *server, const struct head *head, const char *peer,
    struct route_match *match, struct caller *caller, struct problem *problem)
{
    enum route_outcome outcome = route_find(
        routes, sizeof(routes) / sizeof(routes[0]), head->method, head_path(head), match);

    *caller = (struct caller){0};
    if (access_judge_peer(server, peer, match->route, problem) == -1)
        return -1;
    if (outcome != ROUTE_FOUND)
        return refuse_route(outcome, problem);
    if (access_judge_caller(server, head, match->route, caller, problem) == -1)
        return -1;
    if (head->content_length > 0 && judge_media(head, problem) == -1)
        return -1;
    if ((match->route->flags & ROUTE_NEGOTIATES) != 0 &&
        judge_accept(head, match->route, problem) == -1)
        return -1;
    if ((match->route->flags & ROUTE_NEEDS_BODY) != 0 && head->content_length == -1) {
        problem_set(problem, 411, "length_required", "this route needs a Content-Length");
        problem->closes = true;
        return -1;
    }
    return 0;
}

/* The guard asks before a body is read; without one there is time until on_request(). */
static int
judge_before_body(void *cookie, const struct head *head, const char *peer, struct problem *problem)
{
    const struct server *server = cookie;
    struct route_match match;
    struct caller caller;

    if (head->content_length <= 0)
        return 0;
    if (server->is_stopping)
        return problem_set(problem, 503, "shutting_down", "the server stops");
    return judge_head(server, head, peer, &match, &caller, problem);
}

/* evhttp has a whole request, or the stand-in for one that the guard refused. */
static void
on_request(struct evhttp_request *http, void *cookie)
{
    struct server *server = cookie;
    struct guarded guarded;
    struct problem problem = {0};
    struct exchange *e;

    if (guards_take(server->guards, http, &guarded) == -1) {
        log_error("api.server", "a request came past the guard");
        evhttp_send_reply(http, 500, "Internal Server Error", NULL);
        return;
    }
    if ((e = exchange_begin(server, http, &guarded)) == NULL) {
        head_free(guarded.head);
        problem_clear(&guarded.problem);
        guards_send(server->guards, http, 503, "Service Unavailable", NULL, false);
        return;
    }
    if (guarded.problem.status != 0) {
        /* a block that was read to its end tells what Allow to send, and whom to name in the log */
        (void)judge_head(server, e->head, e->peer, &e->match, &e->caller, &problem);
        problem_clear(&problem);
        reply_problem(e, &guarded.problem);
    } else if (server->is_stopping) {
        reply_refuse(e, 503, "shutting_down", "the server stops");
    } else if (judge_head(server, e->head, e->peer, &e->match, &e->caller, &problem) == -1) {
        reply_problem(e, &problem);
    } else if ((e->match.route->flags & ROUTE_COUNTS) != 0) {
        rate_serve(e);
    } else {
        e->match.route->serve(e, e->match.params[0]);
    }
}

/* ---- accepting ---- */

/* A listener's error callback gets evhttp, whose listener it is; a process has one server. */
static struct server *accepting;

static void
on_accept_again(evutil_socket_t fd, short what, void *cookie)
{
    struct server *server = cookie;

    (void)fd;
    (void)what;
    if (server->bound != NULL)
        evconnlistener_enable(evhttp_bound_socket_get_listener(server->bound));
}

/* accept() failed. The client stays in the queue, and the loop would spin on it. */
static void
on_accept_failed(struct evconnlistener *listener, void *cookie)
{
    const struct timeval pause = {0, SERVER_ACCEPT_PAUSE_MS * 1000};
    struct error err;

    (void)cookie;
    error_errno(&err, "accept");
    log_error("api.server", "no connection can be accepted for a moment",
        LOG_TEXT("error_message", err.text));
    evconnlistener_disable(listener);
    event_add(accepting->accept_again, &pause);
}

static struct guard_limits
limits_of(const struct server *server)
{
    const struct config *c = server->config;

    return (struct guard_limits){
        .peers = &server->peers,
        .max_connections = (size_t)config_integer(c, CONFIG_MAX_CONNECTIONS),
        .max_per_peer = (size_t)config_integer(c, CONFIG_MAX_CONNECTIONS_PER_PEER),
        .header_seconds = config_number(c, CONFIG_HEADER_TIMEOUT),
        .body_seconds = config_number(c, CONFIG_BODY_TIMEOUT),
        .idle_seconds = config_number(c, CONFIG_IDLE_TIMEOUT),
        .body_bytes = config_integer(c, CONFIG_MAX_REQUEST_SIZE_MB) * 1024 * 1024,
    };
}

void
server_limit(struct server *server)
{
    const struct guard_limits limits = limits_of(server);

    if (server->guards != NULL)
        guards_limit(server->guards, &limits);
}

int
server_listen(struct server *server, int fd, struct error *err)
{
    const struct guard_limits limits = limits_of(server);

    if ((server->http = evhttp_new(server->base)) == NULL ||
        (server->accept_again = event_new(server->base, -1, 0, on_accept_again, server)) == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the HTTP server");
    server->guards =
        guards_new(server->base, server->http, &limits, judge_before_body, server, err);
    if (server->guards == NULL)
        return -1;
    server->began_ms = clock_monotonic_ms();
    evhttp_set_gencb(server->http, on_request, server);
    evhttp_set_default_content_type(server->http, NULL); /* else text/html on what has no body */
    if ((server->bound = evhttp_accept_socket_with_handle(server->http, fd)) == NULL)
        return error_set(err, ERR_SYSTEM, "the listening socket cannot be used");
    accepting = server;
    evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(server->bound), on_accept_failed);
    return 0;
}

void
server_stop(struct server *server)
{
    server->is_stopping = true;
    if (server->bound != NULL)
        evhttp_del_accept_socket(server->http, server->bound);
    server->bound = NULL;
}

bool
server_is_idle(const struct server *server)
{
    return server->n_taken == server->n_answered && guards_busy(server->guards) == 0;
}

void
server_close(struct server *server)
{
    if (server->http != NULL)
        evhttp_free(server->http);
    guards_free(server->guards);
    if (server->accept_again != NULL)
        event_free(server->accept_again);
    server->http = NULL;
    server->guards = NULL;
    server->accept_again = NULL;
    server->bound = NULL;
}
