/*
 * events.c - GET /v1/tasks/{id}/events: the life of a task as server-sent events.
 *
 * What is shown of the state was read, never guessed from a message: messages of the feed say that
 * it is worth reading. Steps and candles come with messages, because a read for each of them would
 * cost more than they are worth; what does not fit what is known leads to a read.
 *
 * Here is how a stream begins and what it is told; events_read.c reads, events_write.c writes.
 */
#include "api/events_internal.h"

#include <stdlib.h>
#include <string.h>

#include "api/lookup.h"
#include "api/media.h"
#include "api/reply.h"
#include "common/clock.h"

#define EVENTS_LIFE_MS    3600000 /* then the client connects again */
#define EVENTS_SILENCE_MS 14500   /* looked at each second: a comment at least every 15.5 s */
#define EVENTS_REREAD_MS  10000   /* should a message have been lost without anybody noticing */
#define EVENTS_FIRST      "retry: 3000\n\n"
#define EVENTS_COMMENT    ": keep-alive\n\n"

/* ---- news ---- */

/* The task, its batch or one of its members moved. */
static void
on_event(struct follow *follow, enum task_status status)
{
    (void)status; /* that it moved is all a message is believed */
    stream_read(follow->stream);
}

static void
on_member_progress(struct stream *s, struct member *member, uint32_t step)
{
    if (step > member->horizon)
        step = member->horizon;
    if (step <= member->step)
        return;
    s->step += step - member->step;
    member->step = step;
    s->is_moving = true;
}

/* A worker showed how far it is, and candles. */
static void
on_progress(struct follow *follow, const struct queue_progress *p)
{
    struct stream *s = follow->stream;

    if (follow->index > 0) {
        on_member_progress(s, &s->members[follow->index - 1], p->step);
    } else if (s->n_members > 0) {
        return;
    } else if (p->fence != s->candles.fence || s->status != TASK_PROCESSING) {
        stream_read(s); /* of a run that is not known yet */
        return;
    } else {
        if (p->step > s->step)
            s->step = p->step;
        if (event_candles_add(&s->candles, p->first_candle, p->candles, p->n_candles) == -1)
            stream_read(s);
    }
    models_want_load(s->server->models, s->model); /* in time for the next estimate */
    stream_flush(s);
}

static void
on_missed(struct stream *s)
{
    s->must_read = true;
}

/* Another second has passed. */
static void
on_round(struct stream *s)
{
    int64_t now_ms = clock_monotonic_ms();
    bool has_queue_moved = s->status == TASK_QUEUED && s->has_status &&
                           s->n_events_at_read != streams_n_events(s->server->streams);
    struct evbuffer *out;

    if (!s->is_begun)
        return;
    if (now_ms - s->began_ms >= EVENTS_LIFE_MS) {
        stream_end(s);
        return;
    }
    if (s->must_read || has_queue_moved || s->is_moving || now_ms - s->read_ms >= EVENTS_REREAD_MS)
        stream_read(s);
    if (s->is_blocked || now_ms - s->written_ms < EVENTS_SILENCE_MS ||
        (out = evbuffer_new()) == NULL)
        return;
    if (evbuffer_add(out, EVENTS_COMMENT, strlen(EVENTS_COMMENT)) == 0)
        stream_send(s, out);
    evbuffer_free(out);
}

/* The process stops. A stream that has not begun is refused when its task was read. */
static void
on_stop(struct stream *s)
{
    if (s->is_begun)
        stream_end(s);
}

const struct streams_calls events_calls = {
    .on_event = on_event,
    .on_progress = on_progress,
    .on_missed = on_missed,
    .on_round = on_round,
    .on_stop = on_stop,
};

/* ---- the client ---- */

/* The client has left. */
static void
on_gone(void *cookie)
{
    stream_end(cookie);
}

/* All that was written is in the kernel. */
static void
on_written(void *cookie)
{
    struct stream *s = cookie;

    s->is_blocked = false;
    stream_flush(s);
}

static void
on_pause_over(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    stream_flush(cookie);
}

/* ---- the beginning ---- */

static int
follow_all(struct stream *s, const struct task_document *d, struct error *err)
{
    s->n_members = d->n_members;
    s->follows = calloc(1 + s->n_members, sizeof(*s->follows));
    s->members = calloc(s->n_members > 0 ? s->n_members : 1, sizeof(*s->members));
    if (s->follows == NULL || s->members == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i <= s->n_members; i++) {
        struct follow *f = &s->follows[i];

        memcpy(f->id, i == 0 ? s->id : d->member_ids[i - 1], sizeof(f->id));
        f->stream = s;
        f->index = i;
        streams_follow(s->server->streams, f);
        s->n_follows++;
    }
    return 0;
}

/* The reply begins with what is known; what happened since then the next read tells. */
static void
begin(struct stream *s, const struct task_document *d)
{
    const struct guard_stream calls = {on_written, on_gone, s};
    struct evbuffer *out = evbuffer_new();

    s->is_begun = true;
    s->began_ms = s->progress_ms = clock_monotonic_ms();
    reply_header(s->exchange, "Cache-Control", "no-store");
    reply_header(s->exchange, "X-Accel-Buffering", "no");
    reply_stream_begin(s->exchange, MEDIA_EVENTS "; charset=utf-8", &calls);
    if (evhttp_request_get_connection(s->exchange->http) == NULL) { /* nobody would tell us */
        stream_end(s);
        goto free_out;
    }
    if (out != NULL && evbuffer_add(out, EVENTS_FIRST, strlen(EVENTS_FIRST)) == 0)
        stream_send(s, out);
    stream_take(s, d);
    if (!s->is_final)
        stream_read(s);

free_out:
    if (out != NULL)
        evbuffer_free(out);
}

static void
refuse(struct stream *s, const struct error *err)
{
    struct exchange *e = s->exchange;

    stream_end(s);
    reply_error(e, err);
}

/* The task was looked up: a refusal, or the beginning. */
static void
on_found(void *cookie, const struct lookup_answer *answer)
{
    struct stream *s = cookie;
    struct exchange *e = s->exchange;
    struct task_document d;
    struct error err;

    s->is_reading = false;
    if (s->server->is_stopping) {
        stream_end(s);
        reply_refuse(e, 503, "shutting_down", "the server stops");
        return;
    }
    if (task_reply_open(e, answer, &d) == -1) {
        stream_end(s);
        return;
    }
    s->model = answer->model;
    if (event_candles_init(&s->candles, s->id, &d.about, &err) == -1 ||
        follow_all(s, &d, &err) == -1) {
        refuse(s, &err);
    } else {
        event_candles_seen(&s->candles, head_field(e->head, "Last-Event-ID", 0));
        if (d.result != NULL && d.result->output.stream)
            (void)event_candles_end(&s->candles, d.result, d.view.attempts); /* or without them */
        begin(s, &d);
    }
    task_document_close(&d);
}

void
get_task_events(struct exchange *e, const char *param)
{
    struct server *server = e->server;
    struct error err;
    struct stream *s;

    if (!id_is_valid(param)) {
        reply_refuse(e, 404, "task_not_found", "there is no task of this id");
        return;
    }
    memcpy(e->task_id, param, ID_LEN);
    if (!streams_have_room(server->streams)) {
        reply_refuse(e, 503, "too_many_streams",
            "as many event streams are open as this process may have: ask for the task instead");
        return;
    }
    if ((s = calloc(1, sizeof(*s))) == NULL)
        goto no_memory;
    s->server = server;
    s->caller = e->caller;
    memcpy(s->id, e->task_id, sizeof(s->id));
    s->place.stream = s;
    if ((s->pause = event_new(server->base, -1, 0, on_pause_over, s)) == NULL ||
        lookup_task(server->models, server->store, NULL, &s->caller, s->id, on_found, s) == -1) {
        stream_free(s);
        goto no_memory;
    }
    s->exchange = e;
    s->is_reading = true;
    streams_enter(server->streams, &s->place);
    return;

no_memory:
    error_set(&err, ERR_MEMORY, "no memory for a stream");
    reply_error(e, &err);
}
