/*
 * reply.c - The only place replies leave from.
 *
 * Adds what every reply carries, counts, and writes the one log line of a request. Bodies
 * are JSON; what went wrong inside is logged and never shown.
 */
#include "api/reply.h"

#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/accept.h"
#include "api/media.h"
#include "api/request_log.h"
#include "api/server.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"

#define REPLY_STORE_RETRY_SECONDS 2

struct exchange *
exchange_begin(struct server *server, struct evhttp_request *http, struct guarded *guarded)
{
    struct exchange *e = calloc(1, sizeof(*e));
    const char *trace;

    if (e == NULL)
        return NULL;
    e->server = server;
    e->http = http;
    e->head = guarded->head;
    guarded->head = NULL;
    e->began_ms = guarded->began_ms;
    e->body_bytes = evbuffer_get_length(evhttp_request_get_input_buffer(http));
    memcpy(e->peer, guarded->peer, sizeof(e->peer));
    memcpy(e->request_id, guarded->request_id, sizeof(e->request_id));
    peers_client(&server->peers, e->peer, e->head, e->client);
    if (e->request_id[0] == '\0')
        id_new(e->request_id);
    if ((trace = head_field(e->head, "traceparent", 0)) != NULL &&
        head_field(e->head, "traceparent", 1) == NULL)
        (void)trace_parent_read(trace, e->traceparent);
    server->n_taken++;
    return e;
}

void
reply_header(struct exchange *e, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(e->http), name, value);
}

static const char *
reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    default:
        return problem_title(status);
    }
}

static const char *
result_name(int status)
{
    if (status == 200 || status == 202)
        return "success";
    return status == 504 ? "timeout" : status >= 500 ? "error" : NULL;
}

static void
count_reply(const struct exchange *e, int status)
{
    const struct route *route = e->match.route;
    const char *pattern = route != NULL ? route->pattern : "other", *result = result_name(status);
    const char *container = e->caller.name[0] != '\0' ? e->caller.name : "unknown";
    char code[16];

    snprintf(code, sizeof(code), "%d", status);
    metrics_count(METRIC_HTTP_RESPONSES, pattern, code);
    if (status == 413)
        metrics_count(METRIC_REQUEST_SIZE_REJECTIONS, container);
    if (status == 429)
        metrics_count(METRIC_RATE_LIMIT_HITS, container);
    if (status == 401 || status == 403)
        metrics_count(METRIC_SECURITY_EVENTS, "unauthorized", container);
    else if (e->caller.name[0] != '\0')
        metrics_count(METRIC_SECURITY_EVENTS, "authorized", container);
    metrics_observe(
        METRIC_REQUEST_DURATION, (double)(clock_monotonic_ms() - e->began_ms) / 1000, pattern);
    if (route == NULL || (route->flags & ROUTE_PREDICTS) == 0)
        return;
    if (result != NULL)
        metrics_count(METRIC_REQUESTS, pattern, result);
    if (status == 504)
        metrics_count(METRIC_TIMEOUTS, pattern);
}

static void
free_text(const void *data, size_t size, void *text)
{
    (void)data;
    (void)size;
    free(text);
}

/* Send and forget ${e}. ${text} is malloc'ed and taken over; NULL: no body, also no length. */
static void
send_reply(struct exchange *e, int status, const char *type, char *text, size_t len,
    const struct problem *problem, bool closes)
{
    struct evbuffer *body = NULL;
    char length[24];

    closes = closes || e->server->is_stopping;
    if (text != NULL) {
        reply_header(e, "Content-Type", type);
        snprintf(length, sizeof(length), "%zu", len);
        reply_header(e, "Content-Length", length);
        if (e->head->method != HEAD_METHOD_HEAD && (body = evbuffer_new()) != NULL &&
            evbuffer_add_reference(body, text, len, free_text, text) == 0)
            text = NULL; /* the buffer's now */
        else if (e->head->method != HEAD_METHOD_HEAD)
            closes = true; /* no memory: the length was a promise that cannot be kept */
        free(text);
    }
    reply_header(e, "X-Request-ID", e->request_id);
    reply_header(e, "X-Content-Type-Options", "nosniff");
    if (closes)
        reply_header(e, "Connection", "close");
    request_log(e, status, problem, body != NULL ? len : 0);
    count_reply(e, status);
    e->server->n_answered++;
    guards_send(e->server->guards, e->http, status, reason(status), body, closes);
    if (body != NULL)
        evbuffer_free(body);
    head_free(e->head);
    free(e);
}

/* RFC 9110 section 13.1.2: weak comparison, a list, or "*". */
bool
reply_is_known(const struct exchange *e, const char *etag)
{
    const char *value;

    for (unsigned i = 0; (value = head_field(e->head, "If-None-Match", i)) != NULL; i++) {
        const char *found = strstr(value, etag); /* an id in quotes is part of no other tag */

        if (strcmp(value, "*") == 0 || found != NULL)
            return true;
    }
    return false;
}

void
reply_json(struct exchange *e, int status, struct json_out *body)
{
    struct error err;

    if (body->failed) {
        json_out_clear(body);
        error_set(&err, ERR_MEMORY, "no memory for a reply");
        reply_error(e, &err);
        return;
    }
    send_reply(e, status, body->is_msgpack ? MEDIA_MSGPACK : MEDIA_JSON, body->text, body->len,
        NULL, false);
    *body = (struct json_out){0};
}

void
reply_body(const struct exchange *e, struct json_out *body)
{
    json_out_init(body);
    body->is_msgpack = accept_choose(e->head, ACCEPT_JSON | ACCEPT_MSGPACK) == ACCEPT_MSGPACK;
}

void
reply_bytes(struct exchange *e, int status, const char *type, char *bytes, size_t len)
{
    send_reply(e, status, type, bytes, len, NULL, false);
}

void
reply_nothing(struct exchange *e, int status)
{
    send_reply(e, status, NULL, NULL, 0, NULL, false);
}

void
reply_stream_begin(struct exchange *e, const char *type, const struct guard_stream *stream)
{
    reply_header(e, "Content-Type", type);
    reply_header(e, "X-Request-ID", e->request_id);
    reply_header(e, "X-Content-Type-Options", "nosniff");
    if (e->head->minor == 0) /* without chunks the end is the end of the connection */
        reply_header(e, "Connection", "close");
    guards_stream_begin(e->server->guards, e->http, reason(200), stream);
}

void
reply_stream_send(struct exchange *e, struct evbuffer *data)
{
    guards_stream_send(e->server->guards, e->http, data);
}

void
reply_stream_end(struct exchange *e, size_t n_bytes)
{
    request_log(e, 200, NULL, n_bytes);
    count_reply(e, 200);
    e->server->n_answered++;
    guards_stream_end(e->server->guards, e->http, e->server->is_stopping || e->head->minor == 0);
    head_free(e->head);
    free(e);
}

void
reply_problem(struct exchange *e, struct problem *problem)
{
    const char *allow = problem->allow != NULL ? problem->allow : e->match.allow;
    cJSON *json = problem_to_json(problem, e->request_id);
    char *text = json != NULL ? cJSON_PrintUnformatted(json) : NULL;
    char seconds[16];

    cJSON_Delete(json);
    if (text == NULL) /* without memory: the status alone still says most of it */
        text = strdup("{}");
    reply_header(e, "Cache-Control", "no-store");
    if (problem->status == 405 && allow[0] != '\0')
        reply_header(e, "Allow", allow);
    if (problem->status == 401)
        reply_header(e, "WWW-Authenticate", "Bearer");
    if (problem->retry_after > 0) {
        snprintf(seconds, sizeof(seconds), "%d", problem->retry_after);
        reply_header(e, "Retry-After", seconds);
    }
    send_reply(e, problem->status, MEDIA_PROBLEM, text, text != NULL ? strlen(text) : 0, problem,
        problem->closes);
    problem_clear(problem);
}

void
reply_refuse(struct exchange *e, int status, const char *code, const char *format, ...)
{
    struct problem problem = {0};
    char detail[sizeof(problem.detail)];
    va_list args;

    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    problem_set(&problem, status, code, "%s", detail);
    reply_problem(e, &problem);
}

void
reply_store_unavailable(struct exchange *e)
{
    struct problem problem = {0};

    problem_set(&problem, 503, "store_unavailable", "the task store does not answer");
    problem.retry_after = REPLY_STORE_RETRY_SECONDS;
    reply_problem(e, &problem);
}

void
reply_error(struct exchange *e, const struct error *err)
{
    if (err->code == ERR_UNAVAILABLE) {
        log_warning("api.store", "the task store is away", LOG_TEXT("request_id", e->request_id),
            LOG_TEXT("error_message", err->text));
        reply_store_unavailable(e);
        return;
    }
    log_error("api.http", "a request failed inside", LOG_TEXT("request_id", e->request_id),
        LOG_TEXT("task_id", e->task_id[0] != '\0' ? e->task_id : NULL),
        LOG_TEXT("error_type", error_name(err->code)), LOG_TEXT("error_message", err->text));
    reply_refuse(e, 500, "internal", "the request failed inside; the log tells why");
}
