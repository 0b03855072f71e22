/*
 * outbox.c - The outbox from nothing to its end: its models, its clock, its link, what is read.
 *
 * Leases are taken and renewed in outbox_lease.c and closed in outbox_close.c; here is when.
 */
#include "webhook/outbox_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/redis_link.h"

#define LOOK_MS   500 /* how long a retry that is due may stand */
#define WAKE_MS   5   /* events of tasks are answered together */
#define MODELS_MS 2000

/* ---- parcels ---- */

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
        log_error(OUTBOX_LOGGER, "the models cannot be read", LOG_TEXT("error_message", err.text));
    for (size_t i = 0; i < models->n; i++)
        if (find_model(o, models->names[i]) == NULL && add_model(o, models->names[i], NULL) == 0)
            outbox_claim(o->models[o->n_models - 1]);
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
        queue_send(o->link, OUTBOX_COMMAND_MS, &call, on_models, o) == 0)
        o->is_reading_models = true;
}

/* ---- the clock and the link ---- */

static void
on_renew_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct outbox *o = cookie;

    (void)fd;
    (void)what;
    if (redis_link_is_up(o->link))
        for (size_t i = 0; i < o->n_models; i++)
            outbox_renew(o->models[i]);
}

static void
on_look(evutil_socket_t fd, short what, void *cookie)
{
    struct outbox *o = cookie;

    (void)fd;
    (void)what;
    if (!redis_link_is_up(o->link))
        return;
    outbox_tell_again(o);
    read_models(o);
    for (size_t i = 0; i < o->n_models; i++)
        outbox_claim(o->models[i]);
}

/* Something that was given back may be due. */
static void
on_soon(evutil_socket_t fd, short what, void *cookie)
{
    struct outbox *o = cookie;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < o->n_models; i++)
        outbox_claim(o->models[i]);
    if (clock_monotonic_ms() < o->busy_until_ms + OUTBOX_SOON_MS)
        event_add(o->soon, &(struct timeval){0, OUTBOX_SOON_MS * 1000});
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
            outbox_claim(o->models[i]);
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
    log_info(OUTBOX_LOGGER, "connected to Redis");
    on_look(-1, 0, cookie);
}

static void
on_down(void *cookie, const char *reason)
{
    (void)cookie;
    log_warning(OUTBOX_LOGGER, "no connection to Redis", LOG_TEXT("error_message", reason));
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
        queue_send(outbox->link, OUTBOX_COMMAND_MS, &call, on_read, r) == -1) {
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
