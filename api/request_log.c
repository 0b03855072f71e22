/*
 * request_log.c - The one log line of a request: which keys it has.
 *
 * The names are those of the FastAPI service where it had them. A key that says nothing about this
 * request is left out, but for those that people filter by.
 */
#include "api/request_log.h"

#include <string.h>

#include "api/reply.h"
#include "api/server.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/trace.h"

#define FIELDS_MAX 32

struct line {
    struct log_field fields[FIELDS_MAX + 1]; /* the last one ends the list */
    size_t n;
};

static void
add_field(struct line *line, struct log_field field)
{
    if (line->n < FIELDS_MAX)
        line->fields[line->n++] = field;
}

/* ${text} NULL is written as null. */
static void
add_text(struct line *line, const char *name, const char *text)
{
    add_field(line, (struct log_field)LOG_TEXT(name, text));
}

static void
add_integer(struct line *line, const char *name, int64_t value)
{
    add_field(line, (struct log_field)LOG_INT(name, value));
}

static void
add_text_if_any(struct line *line, const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0')
        add_text(line, name, text);
}

static void
add_integer_if_any(struct line *line, const char *name, int64_t value)
{
    if (value > 0)
        add_integer(line, name, value);
}

static void
add_facts(struct line *line, const struct request_facts *facts)
{
    add_text_if_any(line, "batch_id", facts->batch_id);
    add_text_if_any(line, "model", facts->model);
    add_text_if_any(line, "priority", facts->priority);
    add_text_if_any(line, "series_id", facts->series_id);
    add_integer_if_any(line, "series_count", (int64_t)facts->n_series);
    add_integer_if_any(line, "rows", (int64_t)facts->rows);
    add_integer_if_any(line, "pred_len", (int64_t)facts->pred_len);
    add_integer_if_any(line, "queue_time_ms", facts->queue_time_ms);
    add_integer_if_any(line, "model_inference_ms", facts->model_inference_ms);
    add_integer_if_any(line, "timeout_seconds", facts->timeout_seconds);
}

static enum log_level
level_of(int status, const char *code)
{
    switch (status) {
    case 401:
    case 403:
    case 408:
    case 411:
    case 413:
    case 414:
    case 417:
    case 429:
    case 431:
    case 505:
        return LOG_LEVEL_WARNING;
    default:
        return code != NULL && strcmp(code, "malformed_request") == 0 ? LOG_LEVEL_WARNING
                                                                      : LOG_LEVEL_INFO;
    }
}

void
request_log(const struct exchange *e, int status, const struct problem *problem, size_t n_bytes)
{
    const char *code = problem != NULL ? problem->code : NULL;
    char trace_id[TRACE_ID_LEN + 1];
    struct line line = {.n = 0};

    trace_id_of(e->traceparent, trace_id);
    add_text(&line, "request_id", e->request_id);
    add_text(&line, "client_host", e->client);
    add_text(&line, "container", e->caller.name[0] != '\0' ? e->caller.name : NULL);
    add_text(&line, "method", head_method_text(e->head));
    add_text(&line, "path", head_path(e->head));
    add_integer(&line, "status_code", status);
    add_integer(&line, "latency_ms", clock_monotonic_ms() - e->began_ms);
    add_integer(&line, "request_size_bytes", (int64_t)e->body_bytes);
    add_integer(&line, "response_size_bytes", (int64_t)n_bytes);
    add_text(&line, "task_id", e->task_id[0] != '\0' ? e->task_id : NULL);
    add_text_if_any(&line, "trace_id", trace_id);
    if (e->facts != NULL)
        add_facts(&line, e->facts);
    add_text(&line, "error_type", code);
    if (status != 422 && problem != NULL) /* what was wrong with a body may quote it */
        add_text_if_any(&line, "error_message", problem->detail);
    if (peers_is_proxy(&e->server->peers, e->peer)) /* it says where the request comes from */
        add_text_if_any(&line, "container_name", head_field(e->head, "X-Container-Name", 0));
    log_line(level_of(status, code), "api.http", "request completed", line.fields);
}
