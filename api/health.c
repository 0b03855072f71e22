/*
 * health.c - Is the process alive, and can a forecast be made? And GET /.
 *
 * Alive is answered from the loop alone. Ready asks Redis at that moment, because a balancer
 * that is told of yesterday sends its clients into a wall.
 */
#include "api/handlers.h"
#include "api/models.h"
#include "api/reply.h"
#include "api/server.h"

static void
reply_document(struct exchange *e, int status, struct json_out *body)
{
    reply_header(e, "Cache-Control", "no-store");
    reply_json(e, status, body);
}

void
get_root(struct exchange *e, const char *param)
{
    struct json_out body;

    (void)param;
    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_text(&body, "message", config_text(e->server->config, CONFIG_APP_NAME));
    json_out_close(&body, '}');
    reply_document(e, 200, &body);
}

void
get_healthz(struct exchange *e, const char *param)
{
    struct json_out body;

    (void)param;
    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_text(&body, "status", "ok");
    json_out_close(&body, '}');
    reply_document(e, 200, &body);
}

void
get_v2(struct exchange *e, const char *param)
{
    struct json_out body;

    (void)param;
    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_text(&body, "name", "kronosq");
    json_out_text(&body, "version", KRONOSQ_VERSION);
    json_out_open(&body, "extensions", '[');
    json_out_close(&body, ']');
    json_out_close(&body, '}');
    reply_document(e, 200, &body);
}

void
get_v2_live(struct exchange *e, const char *param)
{
    struct json_out body;

    (void)param;
    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_bool(&body, "live", true);
    json_out_close(&body, '}');
    reply_document(e, 200, &body);
}

/* ---- ready: a worker of the default model has a fresh heartbeat ---- */

static void
ask_default_fleet(struct exchange *e, models_fleet_fn fn)
{
    struct server *server = e->server;

    if (models_ask_fleet(server->models, models_at(server->models, 0), fn, e) == -1)
        fn(e, NULL);
}

/* The fleet answered, or Redis did not. */
static void
on_fleet_for_readyz(void *cookie, const struct queue_fleet *fleet)
{
    struct exchange *e = cookie;
    bool is_loaded = fleet != NULL && fleet->n_live > 0;
    struct json_out body;

    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_text(&body, "status", is_loaded ? "ok" : "loading");
    json_out_bool(&body, "model_loaded", is_loaded);
    json_out_text(&body, "device", is_loaded ? "cpu" : NULL);
    json_out_null(&body, "device_warning");
    json_out_text(&body, "redis", fleet != NULL ? "ok" : "down");
    json_out_integer(&body, "workers", fleet != NULL ? (int64_t)fleet->n_live : 0);
    json_out_text(&body, "version", KRONOSQ_VERSION);
    json_out_close(&body, '}');
    reply_document(e, is_loaded ? 200 : 503, &body);
}

void
get_readyz(struct exchange *e, const char *param)
{
    (void)param;
    ask_default_fleet(e, on_fleet_for_readyz);
}

/* The fleet answered, or Redis did not. */
static void
on_fleet_for_v2(void *cookie, const struct queue_fleet *fleet)
{
    struct exchange *e = cookie;
    bool is_ready = fleet != NULL && fleet->n_live > 0;
    struct json_out body;

    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_bool(&body, "ready", is_ready);
    json_out_close(&body, '}');
    reply_document(e, is_ready ? 200 : 503, &body);
}

void
get_v2_ready(struct exchange *e, const char *param)
{
    (void)param;
    ask_default_fleet(e, on_fleet_for_v2);
}
