/*
 * webhooks.c - POST /v1/tasks/{id}/webhook/replay and POST /v1/webhooks/ping.
 *
 * Both only write into the outbox; kronosq-webhook sends.
 */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "api/arena.h"
#include "api/handlers.h"
#include "api/lookup.h"
#include "api/media.h"
#include "api/models.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/server.h"
#include "api/store.h"
#include "api/task_reply.h"
#include "common/queue/queue_admin.h"
#include "common/queue/queue_outbox.h"
#include "common/webhook.h"

#define PING_VALUES_MAX 64

static void
refuse_memory(struct exchange *e)
{
    struct error err;

    error_set(&err, ERR_MEMORY, "no memory for a webhook");
    reply_error(e, &err);
}

/* ---- replay ---- */

struct replay {
    struct exchange *exchange;
    struct model *model;
};

/* The outbox has the last event again, or never had one. */
static void
on_replayed(void *cookie, const redisReply *reply)
{
    struct replay r = *(struct replay *)cookie;
    enum queue_replay_outcome outcome;
    struct error err;

    free(cookie);
    if (reply == NULL) {
        reply_store_unavailable(r.exchange);
        return;
    }
    if (queue_hook_replay_parse(reply, &outcome, &err) == -1) {
        reply_error(r.exchange, &err);
        return;
    }
    switch (outcome) {
    case QUEUE_REPLAYED:
        task_reply_read(r.exchange, 202, r.model);
        break;
    case QUEUE_REPLAY_NO_WEBHOOK:
        reply_refuse(r.exchange, 409, "no_webhook",
            "the task has no webhook, or nothing has happened yet that it is told of");
        break;
    default: /* it has gone since */
        task_reply_other(r.exchange, &(struct lookup_answer){.outcome = LOOKUP_ABSENT});
        break;
    }
}

/* It is known which model's task it is, and that the caller may see it. */
static void
on_found(void *cookie, const struct lookup_answer *answer)
{
    struct replay *r = cookie;
    struct exchange *e = r->exchange;
    struct queue_call call;

    if (answer->outcome != LOOKUP_FOUND) {
        free(r);
        task_reply_other(e, answer);
        return;
    }
    r->model = answer->model;
    if (queue_hook_replay_call(&r->model->queue, e->task_id, &call, NULL) == -1 ||
        store_send(e->server->store, &call, on_replayed, r) == -1) {
        free(r);
        refuse_memory(e);
    }
}

void
replay_webhook(struct exchange *e, const char *param)
{
    struct replay *r;

    if (!id_is_valid(param)) {
        task_reply_other(e, &(struct lookup_answer){.outcome = LOOKUP_ABSENT});
        return;
    }
    memcpy(e->task_id, param, ID_LEN);
    if ((r = malloc(sizeof(*r))) == NULL) {
        refuse_memory(e);
        return;
    }
    *r = (struct replay){.exchange = e};
    if (lookup_task(
            e->server->models, e->server->store, NULL, &e->caller, e->task_id, on_found, r) == -1) {
        free(r);
        refuse_memory(e);
    }
}

/* ---- ping ---- */

struct ping {
    struct exchange *exchange;
    char id[ID_LEN + 1];
};

/* The outbox has it. */
static void
on_pinged(void *cookie, const redisReply *reply)
{
    struct ping p = *(struct ping *)cookie;
    char event_id[QUEUE_HOOK_EVENT_ID_MAX];
    struct queue_delivery d = {.is_ping = true};
    struct json_out body;
    struct error err;
    bool is_done;

    free(cookie);
    if (reply == NULL) {
        reply_store_unavailable(p.exchange);
        return;
    }
    if (queue_done_parse(reply, &is_done, &err) == -1) {
        reply_error(p.exchange, &err);
        return;
    }
    memcpy(d.subject, p.id, sizeof(d.subject));
    queue_hook_event_id(&d, event_id);
    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_text(&body, "event_id", event_id);
    json_out_close(&body, '}');
    reply_json(p.exchange, 202, &body);
}

/* {"url": ...} and nothing else; 0, or -1 with ${problem}. */
static int
judge_ping(const struct exchange *e, const char *bytes, size_t size, struct webhook *webhook,
    struct problem *problem)
{
    bool is_msgpack = media_form(head_field(e->head, "Content-Type", 0)) == MEDIA_FORM_MSGPACK;
    const char *reason = NULL;
    struct arena arena = {0};
    const cJSON *url;
    cJSON *tree;

    if (request_parse(bytes, size, is_msgpack ? REQUEST_MSGPACK : REQUEST_JSON, PING_VALUES_MAX,
            &arena, &tree, problem) == -1) {
        arena_clear(&arena);
        return -1;
    }
    url = cJSON_GetObjectItemCaseSensitive(tree, "url");
    if (!cJSON_IsObject(tree))
        reason = "the body must be an object with the member url";
    else if (cJSON_GetArraySize(tree) != 1 && url != NULL)
        reason = "the body has other members than url";
    else if (!cJSON_IsString(url))
        reason = "url is required, and a string";
    else if (strlen(url->valuestring) > WEBHOOK_URL_MAX)
        reason = "url has more than 2048 bytes";
    if (reason != NULL)
        (void)problem_set(problem, 422, "validation_failed", "%s", reason);
    else if (webhook_url_check(url->valuestring, &e->server->webhook.url, &reason) == -1)
        (void)problem_set(problem, 422, "webhook_url_blocked", "%s", reason);
    else
        strcpy(webhook->url, url->valuestring);
    arena_clear(&arena);
    return reason == NULL ? 0 : -1;
}

static int
send_ping(struct exchange *e, const struct webhook *webhook)
{
    const struct model *model = models_at(e->server->models, 0); /* the default one's outbox */
    struct ping *p = malloc(sizeof(*p));
    struct task_bytes bytes;
    struct queue_call call;
    int status;

    if (p == NULL)
        return -1;
    p->exchange = e;
    id_new(p->id);
    if (webhook_encode(webhook, &bytes, NULL) == -1) {
        free(p);
        return -1;
    }
    status = queue_hook_ping_call(
        &model->queue, p->id, e->caller.name, bytes.data, bytes.size, &call, NULL);
    free(bytes.data);
    if (status == -1 || store_send(e->server->store, &call, on_pinged, p) == -1) {
        free(p);
        return -1;
    }
    return 0;
}

void
ping_webhook(struct exchange *e, const char *param)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(e->http);
    size_t size = evbuffer_get_length(body);
    const char *bytes = size > 0 ? (const char *)evbuffer_pullup(body, -1) : "";
    struct webhook webhook = {0};
    struct problem problem = {0};

    (void)param;
    memcpy(webhook.traceparent, e->traceparent, sizeof(webhook.traceparent));
    if (config_text(e->server->config, CONFIG_WEBHOOK_SECRET_FILE) == NULL)
        reply_refuse(e, 422, "webhook_disabled",
            "this server sends no webhooks: it has no secret to sign them with");
    else if (bytes == NULL)
        refuse_memory(e);
    else if (judge_ping(e, bytes, size, &webhook, &problem) == -1)
        reply_problem(e, &problem);
    else if (!store_is_ready(e->server->store))
        reply_store_unavailable(e);
    else if (send_ping(e, &webhook) == -1)
        refuse_memory(e);
}
