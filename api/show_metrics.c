/*
 * show_metrics.c - GET /metrics and /v1/metrics: what all processes have counted.
 *
 *   flush own -> sums and gauges of all processes, and load, workers and totals of each model -> text
 *
 * Scrapes that come while one is gathered share the next, so that however many ask, Redis is asked
 * by one of them at a time. Redis away: the sums as they were last known and what this process has
 * counted since; nothing is said of what only Redis knows.
 */
#include "api/show_metrics.h"

#include <event2/event.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/meter.h"
#include "api/models.h"
#include "api/reply.h"
#include "api/server.h"
#include "api/store.h"
#include "commit.h"
#include "common/log.h"
#include "common/queue/queue_admin.h"
#include "common/queue/queue_metrics.h"

#define METRICS_TYPE "text/plain; version=0.0.4"

struct asking { /* one scrape */
    struct exchange *exchange;
    struct asking *next;
};

struct scrapes {
    struct server *server;
    struct asking *waiting, *served; /* for the next gathering; by the one under way */
    bool is_gathering, is_away;
    size_t n_pending;
    struct metrics_set *sums, *states; /* what becomes known; what is so at the moment */
};

static void gather(struct scrapes *s);

/* ---- the page ---- */

static void
add_labelled(struct metrics_set *set, enum metric metric, double value, const char *const *labels)
{
    struct metrics_sample *sample = metrics_set_find(set, metric, labels);

    if (sample != NULL)
        sample->values[0] += value;
}
#define add(set, metric, value, ...)                                                               \
    add_labelled((set), (metric), (double)(value), METRICS_LABELS(__VA_ARGS__))

static struct metrics_set *
make_page(struct scrapes *s)
{
    struct models *models = s->server->models;
    const char *names[QUEUE_MODELS_MAX + 1];
    struct metrics_set *page = metrics_set_new();

    if (page == NULL)
        return NULL;
    if (!s->is_away) {
        meter_learn(s->server->meter, s->sums);
        s->sums = NULL;
        metrics_set_add_set(page, s->states);
    }
    meter_add_known(s->server->meter, page);
    metrics_unsent(page, s->is_away);
    add(page, METRIC_REDIS_UP, !s->is_away);
    add(page, METRIC_BUILD_INFO, 1, KRONOSQ_VERSION, KRONOSQ_COMMIT);
    for (size_t i = 0; i < models_count(models); i++)
        names[i] = models_at(models, i)->queue.model;
    metrics_set_expect(page, names, models_count(models));
    return page;
}

/* Answer all that are served. */
static void
answer(struct scrapes *s)
{
    struct metrics_set *page = make_page(s);
    size_t size = 0;
    char *text = page != NULL ? metrics_set_text(page, &size) : NULL;

    metrics_set_free(page);
    while (s->served != NULL) {
        struct asking *asking = s->served;
        char *copy = text != NULL ? malloc(size) : NULL;
        struct error err;

        s->served = asking->next;
        if (copy != NULL) {
            memcpy(copy, text, size);
            reply_header(asking->exchange, "Cache-Control", "no-store");
            reply_bytes(asking->exchange, 200, METRICS_TYPE, copy, size);
        } else {
            error_set(&err, ERR_MEMORY, "no memory for the metrics");
            reply_error(asking->exchange, &err);
        }
        free(asking);
    }
    free(text);
}

static void
conclude(struct scrapes *s)
{
    if (s->n_pending > 0)
        return;
    answer(s);
    metrics_set_free(s->sums);
    metrics_set_free(s->states);
    s->sums = s->states = NULL;
    s->is_gathering = false;
    if (s->waiting != NULL)
        gather(s);
}

/* ---- what is asked of each model ---- */

struct part {
    struct scrapes *scrapes;
    struct model *model; /* NULL: of all processes */
    int (*build)(const struct queue *q, struct queue_call *call, struct error *err);
    int (*hear)(struct part *part, const redisReply *reply, struct error *err);
};

static int
hear_load(struct part *part, const redisReply *reply, struct error *err)
{
    struct metrics_set *states = part->scrapes->states;
    const char *model = part->model->queue.model;
    struct queue_load load;

    if (queue_load_parse(reply, &load, err) == -1)
        return -1;
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++) {
        const char *queue = task_priority_name(p);
        double backlog = queue_backlog_seconds(&load, p);

        add(states, METRIC_QUEUE_DEPTH, load.queues[p].depth, model, queue);
        add(states, METRIC_QUEUE_OLDEST_AGE,
            load.queues[p].depth > 0 ? (double)load.queues[p].oldest_ms / 1000 : 0, model, queue);
        add(states, METRIC_QUEUE_BACKLOG, backlog >= 0 ? backlog : (double)NAN, model, queue);
        add(states, METRIC_QUEUE_PAUSED, load.queues[p].is_paused, model, queue);
    }
    add(states, METRIC_DEAD_LETTERS, load.n_dead, model);
    add(states, METRIC_WEBHOOK_PENDING, load.n_webhooks);
    return 0;
}

static int
hear_workers(struct part *part, const redisReply *reply, struct error *err)
{
    static const enum queue_worker_state all[] = {
        QUEUE_WORKER_IDLE, QUEUE_WORKER_BUSY, QUEUE_WORKER_QUIET, QUEUE_WORKER_LOST};
    struct metrics_set *states = part->scrapes->states;
    const char *model = part->model->queue.model;
    struct queue_worker worker;
    int64_t now_ms;
    size_t n;

    if (queue_workers_parse(reply, &now_ms, &n, err) == -1)
        return -1;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        add(states, METRIC_WORKERS, 0, model, queue_worker_state_name(all[i]));
    add(states, METRIC_SLOTS, 0, model, "idle");
    add(states, METRIC_SLOTS, 0, model, "busy");
    for (size_t i = 0; i < n; i++) {
        enum queue_worker_state state;
        struct metrics_sample *info;

        if (queue_worker_parse(reply, i, &worker) == -1)
            continue;
        state = queue_worker_state(&worker, now_ms);
        add(states, METRIC_WORKERS, 1, model, queue_worker_state_name(state));
        if (state == QUEUE_WORKER_LOST)
            continue;
        info = metrics_set_find(
            states, METRIC_MODEL_INFO, METRICS_LABELS(model, worker.weights_sha256));
        if (info != NULL)
            info->values[0] = 1;
        if (state == QUEUE_WORKER_QUIET || worker.busy > worker.slots)
            continue;
        add(states, METRIC_SLOTS, worker.slots - worker.busy, model, "idle");
        add(states, METRIC_SLOTS, worker.busy, model, "busy");
    }
    return 0;
}

static int
hear_totals(struct part *part, const redisReply *reply, struct error *err)
{
    struct metrics_set *sums = part->scrapes->sums;
    const char *model = part->model->queue.model;
    struct queue_totals totals;

    if (queue_totals_parse(reply, &totals, err) == -1)
        return -1;
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++) {
        for (int s = 0; s < TASK_STATUS_COUNT; s++) {
            if (task_status_is_terminal(s))
                add(sums, METRIC_TASKS, totals.ends[p][s], model, task_priority_name(p),
                    task_status_name(s));
        }
    }
    add(sums, METRIC_RECOVERED, totals.recovered_pop, "lost_pop");
    add(sums, METRIC_RECOVERED, totals.recovered_lease, "lease");
    add(sums, METRIC_FENCED, totals.fenced);
    add(sums, METRIC_WEBHOOK_ATTEMPTS, totals.hook_delivered, "delivered");
    add(sums, METRIC_WEBHOOK_ATTEMPTS, totals.hook_retry, "retry");
    add(sums, METRIC_WEBHOOK_ATTEMPTS, totals.hook_failed, "failed");
    add(sums, METRIC_WEBHOOK_ATTEMPTS, totals.hook_disabled, "disabled");
    return 0;
}

static int
build_read(const struct queue *q, struct queue_call *call, struct error *err)
{
    (void)q;
    return queue_metrics_read_call(call, err);
}

static int
hear_read(struct part *part, const redisReply *reply, struct error *err)
{
    return queue_metrics_read_parse(reply, part->scrapes->sums, part->scrapes->states, err);
}

/* ---- gathering ---- */

/* One of the questions was answered, or Redis is away. */
static void
on_reply(void *cookie, const redisReply *reply)
{
    struct part *part = cookie;
    struct scrapes *s = part->scrapes;
    struct error err;

    s->n_pending--;
    if (reply == NULL) {
        s->is_away = true;
    } else if (!s->is_away && part->hear(part, reply, &err) == -1) {
        log_warning("api.metrics", "metrics could not be read",
            LOG_TEXT("model", part->model != NULL ? part->model->queue.model : NULL),
            LOG_TEXT("error_message", err.text));
        s->is_away = true;
    }
    free(part);
    conclude(s);
}

/* Without memory it is as if Redis did not answer. */
static void
ask(struct scrapes *s, const struct part *question)
{
    struct part *part = malloc(sizeof(*part));
    struct queue_call call;
    struct error err;

    if (part == NULL) {
        s->is_away = true;
        return;
    }
    *part = *question;
    part->scrapes = s;
    if (part->build(part->model != NULL ? &part->model->queue : NULL, &call, &err) == -1 ||
        store_send(s->server->store, &call, on_reply, part) == -1) {
        free(part);
        s->is_away = true;
        return;
    }
    s->n_pending++;
}

/* The list of models is as new as it gets. */
static void
on_refreshed(void *cookie, bool is_redis_there)
{
    struct scrapes *s = cookie;
    struct models *models = s->server->models;

    s->n_pending--;
    s->is_away = s->is_away || !is_redis_there;
    if (!s->is_away)
        ask(s, &(struct part){.build = build_read, .hear = hear_read});
    for (size_t i = 0; i < models_count(models) && !s->is_away; i++) {
        struct model *model = models_at(models, i);

        ask(s, &(struct part){.model = model, .build = queue_load_call, .hear = hear_load});
        ask(s, &(struct part){.model = model, .build = queue_workers_call, .hear = hear_workers});
        ask(s, &(struct part){.model = model, .build = queue_totals_call, .hear = hear_totals});
    }
    conclude(s);
}

/* Redis knows what this process has counted, or is away. */
static void
on_flushed(void *cookie, bool has_arrived)
{
    struct scrapes *s = cookie;

    s->is_away = s->is_away || !has_arrived;
    if (!s->is_away && models_refresh(s->server->models, on_refreshed, s) == 0)
        s->n_pending++;
    else
        s->is_away = true;
    conclude(s);
}

static void
gather(struct scrapes *s)
{
    s->is_gathering = true;
    s->served = s->waiting;
    s->waiting = NULL;
    s->sums = metrics_set_new();
    s->states = metrics_set_new();
    s->is_away = s->sums == NULL || s->states == NULL;
    meter_flush(s->server->meter, on_flushed, s);
}

void
get_metrics(struct exchange *e, const char *param)
{
    struct scrapes *s = e->server->scrapes;
    struct asking *asking;
    struct error err;

    (void)param;
    if (!config_bool(e->server->config, CONFIG_ENABLE_METRICS)) {
        reply_refuse(e, 404, "route_not_found", "Not Found");
        return;
    }
    if ((asking = malloc(sizeof(*asking))) == NULL) {
        error_set(&err, ERR_MEMORY, "no memory for the metrics");
        reply_error(e, &err);
        return;
    }
    *asking = (struct asking){.exchange = e, .next = s->waiting};
    s->waiting = asking;
    if (!s->is_gathering)
        gather(s);
}

struct scrapes *
scrapes_new(struct server *server, struct error *err)
{
    struct scrapes *s = calloc(1, sizeof(*s));

    if (s == NULL)
        error_set(err, ERR_MEMORY, "out of memory");
    else
        s->server = server;
    return s;
}

void
scrapes_free(struct scrapes *s)
{
    free(s);
}
