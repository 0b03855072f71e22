/*
 * access.c - May this peer connect, may this caller use the route?
 *
 * Judged from the header block alone, so before a body is read.
 */
#include "api/access.h"

#include "api/server.h"

int
access_judge_peer(const struct server *server, const char *peer, const struct route *route,
    struct problem *problem)
{
    if (peers_may_talk(&server->peers, peer) ||
        (route != NULL && (route->flags & ROUTE_ANY_PEER) != 0))
        return 0;
    problem_set(problem, 403, "not_whitelisted", "this address may not use the API");
    problem_extra(problem, "error", cJSON_CreateString("Forbidden"));
    problem_extra(problem, "message", cJSON_CreateString("Container not whitelisted"));
    return -1;
}

static bool
is_open(const struct server *server, const struct route *route)
{
    return route->scope == ROUTE_OPEN ||
           (route->scope == ROUTE_METRICS && !config_bool(server->config, CONFIG_METRICS_AUTH));
}

static enum api_scope
needed_scope(const struct route *route)
{
    switch (route->scope) {
    case ROUTE_SUBMIT:
        return API_SCOPE_SUBMIT;
    case ROUTE_METRICS:
    case ROUTE_READ:
        return API_SCOPE_READ;
    case ROUTE_OPEN:
    case ROUTE_ADMIN:
        break;
    }
    return API_SCOPE_ADMIN;
}

/* Which key is it? */
static int
identify(const struct keys *keys, const struct head *head, struct caller *caller,
    struct problem *problem)
{
    const struct api_key *key;
    const char *text;
    size_t len;

    if (head_field(head, "Authorization", 0) == NULL)
        return problem_set(
            problem, 401, "unauthenticated", "this needs an API key: Authorization: Bearer KEY");
    if ((text = keys_of_head(head, &len)) == NULL)
        return problem_set(problem, 401, "unauthenticated",
            "Authorization must be given once, as Bearer and a key that begins with %s",
            API_KEY_PREFIX);
    if ((key = keys_find(keys, text, len)) == NULL)
        return problem_set(problem, 401, "unauthenticated", "the API key is not known");
    *caller = caller_of_key(key);
    return 0;
}

int
access_judge_caller(const struct server *server, const struct head *head, const struct route *route,
    struct caller *caller, struct problem *problem)
{
    enum api_scope scope = needed_scope(route);

    if (server->keys == NULL) {
        *caller = caller_local();
        return 0;
    }
    if (is_open(server, route))
        return 0;
    if (identify(server->keys, head, caller, problem) == -1)
        return -1;
    if ((caller->scopes & (unsigned)scope) != 0)
        return 0;
    problem_set(problem, 403, "forbidden_scope", "this key may not do that: it lacks the scope %s",
        api_scope_name(scope));
    problem_extra(problem, "scope", cJSON_CreateString(api_scope_name(scope)));
    return -1;
}
