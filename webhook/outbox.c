/*
 * outbox.c - Leases: taken, renewed, closed.
 *
 * A parcel is in the list until Redis has confirmed what became of it. Replies may outlive what
 * asked for them, so a parcel is held by every reply that names it.
 */
#include "webhook/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/queue/queue_admin.h"
#include "common/redis_link.h"

#define LOGGER      "webhook.outbox"
#define LOOK_MS     500 /* how long a retry that is due may stand */
#define WAKE_MS     5   /* events of tasks are answered together */
#define SOON_MS     20
#define SOON_MAX_MS 5000
#define MODELS_MS   2000
#define COMMAND_MS  3000
#define CLAIM_LIMIT QUEUE_HOOK_CLAIM_MAX

struct outbox_model {
    struct outbox *outbox;
    struct queue queue;
    bool is_claiming, is_wanted;
};

struct outbox {
    struct event_base *base;
    struct redis_link *link, *events_link;
    struct outbox_events events;
    struct event *look, *wake, *renew, *soon;
    TAILQ_HEAD(, parcel) parcels;
    size_t n_parcels, max;
    struct outbox_model *models[QUEUE_MODELS_MAX + 1]; /* the default one first */
    size_t n_models;
    int64_t models_at_ms;  /* when they were read last */
    int64_t busy_until_ms; /* what was given back is due again by then, monotonic */
    bool is_reading_models, is_stopped, is_freeing;
};

static void claim(struct outbox_model *model);
static void tell(struct parcel *p);

/* ---- parcels ---- */

static void
release_hold(struct parcel *p)
{
    p->n_holds--;
    if (p->state == PARCEL_OVER && p->n_holds == 0)
        parcel_free(p);
}

/* It is over: nobody has a pointer to it but replies. */
static void
drop(struct parcel *p)
{
    struct outbox *o = p->model->outbox;

    TAILQ_REMOVE(&o->parcels, p, in_outbox);
    o->n_parcels--;
    p->state = PARCEL_OVER;
    if (p->n_holds == 0)
        parcel_free(p);
}

struct parcel *
outbox_first(const struct outbox *outbox)
{
    return TAILQ_FIRST(&outbox->parcels);
}

struct parcel *
outbox_next(const struct parcel *parcel)
{
    return TAILQ_NEXT(parcel, in_outbox);
}

size_t
outbox_count(const struct outbox *outbox)
{
    return outbox->n_parcels;
}

const char *
outbox_model_name(const struct outbox_model *model)
{
    return model->queue.model;
}

/* ---- closing ---- */

/* Redis knows what became of a parcel; or it is away, and will be told when it is back. */
static void
on_told(void *cookie, const redisReply *reply)
{
    struct parcel *p = cookie;
    struct error err;
    bool is_done;

    if (reply == NULL) {
        p->is_told = false;
        if (p->model->outbox->is_freeing) { /* nobody will come back for it */
            p->n_holds--;
            drop(p);
            return;
        }
        release_hold(p);
        return;
    }
    FAILPOINT(AFTER_HOOK_DONE, -1);
    if (queue_done_parse(reply, &is_done, &err) == -1)
        log_error(LOGGER, "what became of a delivery was not noted",
            LOG_TEXT("webhook_id", p->event_id), LOG_TEXT("error_message", err.text));
    else if (!is_done && p->result.verdict != QUEUE_HOOK_RELEASE)
        log_info(LOGGER, "a delivery was leased by another process, or its task erased",
            LOG_TEXT("webhook_id", p->event_id));
    p->n_holds--;
    drop(p);
}

static void
tell(struct parcel *p)
{
    struct outbox *o = p->model->outbox;
    struct queue_call call;

    if (queue_hook_done_call(&p->model->queue, p->key, p->fence, &p->result, &call, NULL) == -1 ||
        queue_send(o->link, COMMAND_MS, &call, on_told, p) == -1)
        return; /* the next look tries again */
    p->is_told = true;
    p->n_holds++;
}

/* A receiver that is quick must not wait for the next look: look more often while it has a backlog. */
static void
expect_back(struct outbox *o, int64_t delay_ms)
{
    int64_t due_ms = clock_monotonic_ms() + delay_ms;

    if (o->is_stopped || delay_ms > SOON_MAX_MS)
        return;
    if (due_ms > o->busy_until_ms)
        o->busy_until_ms = due_ms;
    if (!event_pending(o->soon, EV_TIMEOUT, NULL))
        event_add(o->soon, &(struct timeval){0, SOON_MS * 1000});
}

void
outbox_done(struct outbox *outbox, struct parcel *parcel, const struct queue_hook_result *result)
{
    if (result->verdict == QUEUE_HOOK_RELEASE)
        expect_back(outbox, result->delay_ms);
    parcel->state = PARCEL_CLOSING;
    parcel->host = NULL;
    parcel->result = *result;
    tell(parcel);
}

static void
tell_again(struct outbox *o)
{
    struct parcel *p;

    TAILQ_FOREACH(p, &o->parcels, in_outbox)
    {
        if (p->state == PARCEL_CLOSING && !p->is_told)
            tell(p);
    }
}

/* ---- leasing ---- */

/* What cannot be read can only be given up. */
static void
give_up_broken(struct outbox_model *model, const struct queue_delivery *d, const struct error *why)
{
    static const struct queue_hook_result broken = {
        .verdict = QUEUE_HOOK_GIVE_UP, .last_error = "corrupt"};
    struct parcel *p;

    log_error(LOGGER, "a stored delivery is given up", LOG_TEXT("model", model->queue.model),
        LOG_TEXT("key", d->key), LOG_TEXT("error_message", why->text));
    if (d->key[0] == '\0' || (p = calloc(1, sizeof(*p))) == NULL)
        return; /* its lease runs out */
    p->model = model;
    p->fence = d->fence;
    memcpy(p->key, d->key, sizeof(p->key));
    TAILQ_INSERT_TAIL(&model->outbox->parcels, p, in_outbox);
    model->outbox->n_parcels++;
    outbox_done(model->outbox, p, &broken);
}

static void
take(struct outbox_model *model, const redisReply *reply, size_t i, int64_t now_ms)
{
    struct outbox *o = model->outbox;
    struct queue_delivery d;
    struct parcel *p;
    struct error err;

    if (queue_hook_delivery_parse(reply, i, &d, &err) == -1 ||
        (p = parcel_new(&d, now_ms, &err)) == NULL) {
        if (err.code == ERR_CORRUPT)
            give_up_broken(model, &d, &err);
        else
            log_error(LOGGER, "a delivery was not taken", LOG_TEXT("error_message", err.text));
        return;
    }
    p->model = model;
    p->state = PARCEL_WAITING;
    TAILQ_INSERT_TAIL(&o->parcels, p, in_outbox);
    o->n_parcels++;
    o->events.leased(o->events.cookie, p);
}

/* Deliveries were leased, or none is due, or Redis is away. */
static void
on_claimed(void *cookie, const redisReply *reply)
{
    struct outbox_model *model = cookie;
    struct outbox *o = model->outbox;
    struct error err;
    int64_t now_ms;
    size_t n = 0;

    model->is_claiming = false;
    if (reply == NULL)
        return;
    if (queue_hook_claim_parse(reply, &now_ms, &n, &err) == -1) {
        log_error(LOGGER, "deliveries cannot be leased", LOG_TEXT("model", model->queue.model),
            LOG_TEXT("error_message", err.text));
        return;
    }
    if (n > 0)
        FAILPOINT(AFTER_HOOK_CLAIM, -1);
    for (size_t i = 0; i < n; i++)
        take(model, reply, i, now_ms);
    if (n == CLAIM_LIMIT || (model->is_wanted && !o->is_stopped))
        claim(model);
}

static void
claim(struct outbox_model *model)
{
    struct outbox *o = model->outbox;
    size_t room = o->max > o->n_parcels ? o->max - o->n_parcels : 0;
    struct queue_call call;

    model->is_wanted = model->is_claiming;
    if (o->is_stopped || model->is_claiming || room < CLAIM_LIMIT || !redis_link_is_up(o->link))
        return;
    if (queue_hook_claim_call(&model->queue, QUEUE_HOOK_LEASE_MS, (int)CLAIM_LIMIT, &call, NULL) ==
            0 &&
        queue_send(o->link, COMMAND_MS, &call, on_claimed, model) == 0)
        model->is_claiming = true;
}

/* ---- models ---- */

static struct outbox_model *
find_model(struct outbox *o, const char *name)
{
    for (size_t i = 0; i < o->n_models; i++)
        if (strcmp(o->models[i]->queue.model, name) == 0)
            return o->models[i];
    return NULL;
}

static int
add_model(struct outbox *o, const char *name, struct error *err)
{
    struct outbox_model *model;

    if (find_model(o, name) != NULL || o->n_models == sizeof(o->models) / sizeof(o->models[0]))
        return 0;
    if ((model = calloc(1, sizeof(*model))) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    if (queue_init(&model->queue, name, err) == -1) {
        free(model);
        return -1;
    }
    model->outbox = o;
    o->models[o->n_models++] = model;
    return 0;
}

static void
on_models(void *cookie, const redisReply *reply)
{
    struct outbox *o = cookie;
    struct queue_models *models;
    struct error err;

    o->is_reading_models = false;
    if (reply == NULL || (models = malloc(sizeof(*models))) == NULL)
        return;
    if (queue_models_parse(reply, models, &err) == -1)
        log_error(LOGGER, "the models cannot be read", LOG_TEXT("error_message", err.text));
    for (size_t i = 0; i < models->n; i++)
        if (find_model(o, models->names[i]) == NULL && add_model(o, models->names[i], NULL) == 0)
            claim(o->models[o->n_models - 1]);
    free(models);
}

static void
read_models(struct outbox *o)
{
    struct queue_call call;

    if (o->is_reading_models || clock_monotonic_ms() < o->models_at_ms + MODELS_MS ||
        !redis_link_is_up(o->link))
        return;
    o->models_at_ms = clock_monotonic_ms();
    if (queue_models_call(&call, NULL) == 0 &&
        queue_send(o->link, COMMAND_MS, &call, on_models, o) == 0)
        o->is_reading_models = true;
}

/* ---- renewing ---- */

struct renewing {
    struct outbox *outbox;
    size_t n;
    struct parcel *parcels[QUEUE_HOOK_RENEW_MAX];
};

static void
on_renewed(void *cookie, const redisReply *reply)
{
    struct renewing *r = cookie;
    struct outbox *o = r->outbox;
    bool kept[QUEUE_HOOK_RENEW_MAX];
    struct error err;
    bool is_known = reply != NULL && queue_hook_renew_parse(reply, r->n, kept, &err) == 0;

    if (reply != NULL && !is_known)
        log_error(LOGGER, "leases cannot be renewed", LOG_TEXT("error_message", err.text));
    for (size_t i = 0; i < r->n; i++) {
        struct parcel *p = r->parcels[i];
        bool is_lost = is_known && !kept[i] && p->state == PARCEL_WAITING && !o->is_freeing;

        p->n_holds--;
        if (is_lost) { /* one that is being sent is told apart by its fence */
            o->events.lost(o->events.cookie, p);
            drop(p);
        } else if (p->state == PARCEL_OVER && p->n_holds == 0) {
            parcel_free(p);
        }
    }
    free(r);
}

/* Send what was gathered; false: no memory, the next time comes soon. */
static bool
send_renewal(struct outbox_model *model, struct renewing *r)
{
    struct queue_hook_lease leases[QUEUE_HOOK_RENEW_MAX];
    struct queue_call call;

    for (size_t i = 0; i < r->n; i++)
        leases[i] =
            (struct queue_hook_lease){.key = r->parcels[i]->key, .fence = r->parcels[i]->fence};
    if (queue_hook_renew_call(&model->queue, QUEUE_HOOK_LEASE_MS, leases, r->n, &call, NULL) ==
            -1 ||
        queue_send(model->outbox->link, COMMAND_MS, &call, on_renewed, r) == -1)
        return false;
    for (size_t i = 0; i < r->n; i++)
        r->parcels[i]->n_holds++;
    return true;
}

static void
renew_model(struct outbox_model *model)
{
    struct parcel *p = TAILQ_FIRST(&model->outbox->parcels);

    while (p != NULL) {
        struct renewing *r = malloc(sizeof(*r));

        if (r == NULL)
            return;
        r->outbox = model->outbox;
        for (r->n = 0; p != NULL && r->n < QUEUE_HOOK_RENEW_MAX; p = TAILQ_NEXT(p, in_outbox))
            if (p->model == model && p->state != PARCEL_CLOSING)
                r->parcels[r->n++] = p;
        if (r->n == 0 || !send_renewal(model, r)) {
            free(r);
            return;
        }
    }
}

static void
on_renew_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct outbox *o = cookie;

    (void)fd;
    (void)what;
    if (redis_link_is_up(o->link))
        for (size_t i = 0; i < o->n_models; i++)
            renew_model(o->models[i]);
}

/* ---- the clock and the link ---- */

static void
on_look(evutil_socket_t fd, short what, void *cookie)
{
    struct outbox *o = cookie;

    (void)fd;
    (void)what;
    if (!redis_link_is_up(o->link))
        return;
    tell_again(o);
    read_models(o);
    for (size_t i = 0; i < o->n_models; i++)
        claim(o->models[i]);
}

/* Something that was given back may be due. */
static void
on_soon(evutil_socket_t fd, short what, void *cookie)
{
    struct outbox *o = cookie;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < o->n_models; i++)
        claim(o->models[i]);
    if (clock_monotonic_ms() < o->busy_until_ms + SOON_MS)
        event_add(o->soon, &(struct timeval){0, SOON_MS * 1000});
}

/* Something happened to tasks a moment ago. */
static void
on_wake(evutil_socket_t fd, short what, void *cookie)
{
    struct outbox *o = cookie;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < o->n_models; i++)
        if (o->models[i]->is_wanted)
            claim(o->models[i]);
}

/* "kq:{model}:events" */
static struct outbox_model *
find_channel(struct outbox *o, const char *channel, size_t len)
{
    static const char tail[] = ":events";

    for (size_t i = 0; i < o->n_models; i++) {
        const char *prefix = o->models[i]->queue.prefix;
        size_t prefix_len = strlen(prefix);

        if (len == prefix_len + strlen(tail) && memcmp(channel, prefix, prefix_len) == 0 &&
            memcmp(channel + prefix_len, tail, strlen(tail)) == 0)
            return o->models[i];
    }
    return NULL;
}

static void
on_message(void *cookie, const char *channel, size_t channel_len, const char *message, size_t len)
{
    struct outbox *o = cookie;
    struct outbox_model *model;

    (void)message;
    (void)len;
    if ((model = find_channel(o, channel, channel_len)) == NULL)
        return;
    model->is_wanted = true;
    if (!event_pending(o->wake, EV_TIMEOUT, NULL))
        event_add(o->wake, &(struct timeval){0, WAKE_MS * 1000});
}

static void
on_up(void *cookie)
{
    log_info(LOGGER, "connected to Redis");
    on_look(-1, 0, cookie);
}

static void
on_down(void *cookie, const char *reason)
{
    (void)cookie;
    log_warning(LOGGER, "no connection to Redis", LOG_TEXT("error_message", reason));
}

bool
outbox_is_up(const struct outbox *outbox)
{
    return redis_link_is_up(outbox->link);
}

void
outbox_stop(struct outbox *outbox)
{
    outbox->is_stopped = true;
}

/* ---- reading ---- */

struct reading {
    struct outbox *outbox;
    struct parcel *parcel;
    outbox_read_fn fn;
};

static void
on_read(void *cookie, const redisReply *reply)
{
    struct reading r = *(struct reading *)cookie;

    free(cookie);
    r.parcel->n_holds--;
    if (r.outbox->is_freeing)
        return; /* it is in the list still, and freed with it */
    r.fn(r.outbox->events.cookie, r.parcel, reply);
}

int
outbox_read(struct outbox *outbox, struct parcel *parcel, bool with_output, outbox_read_fn fn)
{
    const struct queue *q = &parcel->model->queue;
    struct reading *r = malloc(sizeof(*r));
    struct queue_call call;

    if (r == NULL)
        return -1;
    *r = (struct reading){.outbox = outbox, .parcel = parcel, .fn = fn};
    if ((parcel->is_group ? queue_group_read_call(q, parcel->subject, with_output, &call, NULL)
                          : queue_read_call(q, parcel->subject, with_output, &call, NULL)) == -1 ||
        queue_send(outbox->link, COMMAND_MS, &call, on_read, r) == -1) {
        free(r);
        return -1;
    }
    parcel->n_holds++;
    return 0;
}

/* ---- from nothing to leases and back ---- */

static int
start_timers(struct outbox *o, struct error *err)
{
    o->look = event_new(o->base, -1, EV_PERSIST, on_look, o);
    o->wake = event_new(o->base, -1, 0, on_wake, o);
    o->renew = event_new(o->base, -1, EV_PERSIST, on_renew_tick, o);
    o->soon = event_new(o->base, -1, 0, on_soon, o);
    if (o->look == NULL || o->wake == NULL || o->renew == NULL || o->soon == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    event_add(o->look, &(struct timeval){0, LOOK_MS * 1000});
    event_add(o->renew, &(struct timeval){QUEUE_HOOK_RENEW_MS / 1000, 0});
    return 0;
}

struct outbox *
outbox_new(struct event_base *base, const struct redis_settings *redis, const char *default_model,
    size_t max, const struct outbox_events *events, struct error *err)
{
    struct outbox *o = calloc(1, sizeof(*o));
    struct redis_link_events of_link = {.up = on_up, .down = on_down, .cookie = o};
    struct redis_link_events of_events = {.cookie = o};

    if (o == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    o->base = base;
    o->events = *events;
    o->max = max;
    TAILQ_INIT(&o->parcels);
    if (add_model(o, default_model, err) == -1 || start_timers(o, err) == -1)
        goto free_it;
    o->link = redis_link_new(base, redis, "kronosq-webhook", &of_link, err);
    if (o->link == NULL)
        goto free_it;
    o->events_link = redis_link_new(base, redis, "kronosq-webhook:events", &of_events, err);
    if (o->events_link == NULL)
        goto free_it;
    if (redis_link_psubscribe(o->events_link, QUEUE_EVENTS_PATTERN, on_message, o) == -1) {
        error_set(err, ERR_MEMORY, "out of memory");
        goto free_it;
    }
    return o;

free_it:
    outbox_free(o);
    return NULL;
}

void
outbox_free(struct outbox *outbox)
{
    struct event *events[4];
    struct parcel *p;

    if (outbox == NULL)
        return;
    events[0] = outbox->look;
    events[1] = outbox->wake;
    events[2] = outbox->renew;
    events[3] = outbox->soon;
    outbox->is_freeing = outbox->is_stopped = true;
    for (size_t i = 0; i < 4; i++)
        if (events[i] != NULL)
            event_free(events[i]);
    if (outbox->events_link != NULL)
        redis_link_free(outbox->events_link);
    if (outbox->link != NULL)
        redis_link_free(outbox->link); /* answers what waits for it */
    while ((p = TAILQ_FIRST(&outbox->parcels)) != NULL) {
        TAILQ_REMOVE(&outbox->parcels, p, in_outbox);
        parcel_free(p);
    }
    for (size_t i = 0; i < outbox->n_models; i++)
        free(outbox->models[i]);
    free(outbox);
}
