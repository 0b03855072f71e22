/*
 * events.c - GET /v1/tasks/{id}/events: the life of a task as server-sent events.
 *
 * What is shown of the state was read, never guessed from a message: messages of the feed say that
 * it is worth reading. Steps and candles come with messages, because a read for each of them would
 * cost more than they are worth; what does not fit what is known leads to a read.
 *
 * One chunk at a time: while the last one is not in the kernel, nothing is written, and what
 * happens meanwhile is kept as what is newest: one state, one progress, and candles in their place.
 */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "api/event_candles.h"
#include "api/event_text.h"
#include "api/handlers.h"
#include "api/lookup.h"
#include "api/media.h"
#include "api/reply.h"
#include "api/server.h"
#include "api/streams.h"
#include "api/task_reply.h"
#include "common/clock.h"
#include "common/document/batch_document.h"
#include "common/log.h"

#define EVENTS_LOGGER      "api.events"
#define EVENTS_LIFE_MS     3600000 /* then the client connects again */
#define EVENTS_SILENCE_MS  14500   /* looked at each second: a comment at least every 15.5 s */
#define EVENTS_REREAD_MS   10000   /* should a message have been lost without anybody noticing */
#define EVENTS_PROGRESS_MS 250     /* between two events of progress */
#define EVENTS_FIRST       "retry: 3000\n\n"
#define EVENTS_COMMENT     ": keep-alive\n\n"

struct member { /* of a batch */
    uint32_t step, horizon;
};

struct stream {
    struct streams_place place;
    struct server *server;
    struct exchange *exchange; /* NULL: over, and freed when nothing is being read any more */
    struct caller caller;
    struct model *model;
    char id[ID_LEN + 1];
    struct follow *follows; /* [1 + n_members], the first is ${id} */
    struct member *members; /* [n_members] */
    size_t n_members;       /* 0: no batch */
    size_t n_follows;       /* of them that are followed */

    bool is_begun;    /* the reply has begun; until then it may still be a refusal */
    bool is_reading;  /* the task is being read */
    bool reads_again; /* something happened meanwhile */
    bool must_read;   /* at the next round */
    bool is_blocked;  /* the last chunk is not in the kernel yet */
    bool has_input;   /* its input was read, or is not there */
    bool is_final;    /* what is to be shown is the last */
    struct event *pause;
    int64_t began_ms, read_ms, written_ms, progress_ms;
    uint64_t n_events_at_read;
    size_t n_bytes;

    struct json_out status_text; /* to be shown; empty: none */
    bool has_status;
    enum task_status status;
    uint32_t attempt;

    bool is_moving; /* a batch: a member showed progress since the last read */
    uint32_t step, total, shown_step;
    int64_t position, shown_position;
    struct task_document facts; /* of the last read what an estimate needs; owns nothing */
    int64_t estimated_ms;       /* when those of a batch were made */
    struct event_candles candles;
};

static void read_task(struct stream *s);
static void flush(struct stream *s);

/* ---- the end ---- */

static void
stream_free(struct stream *s)
{
    event_candles_clear(&s->candles);
    json_out_clear(&s->status_text);
    if (s->pause != NULL)
        event_free(s->pause);
    free(s->follows);
    free(s->members);
    free(s);
}

/* The stream is over, whoever wanted that. Whoever still reads for it finds no exchange. */
static void
end_stream(struct stream *s)
{
    struct exchange *e = s->exchange;

    if (e == NULL)
        return;
    s->exchange = NULL;
    for (size_t i = 0; i < s->n_follows; i++)
        streams_unfollow(&s->follows[i]);
    s->n_follows = 0;
    streams_leave(s->server->streams, &s->place);
    event_del(s->pause);
    if (s->is_begun)
        reply_stream_end(e, s->n_bytes);
    if (!s->is_reading)
        stream_free(s);
}

/* The client has left. */
static void
on_gone(void *cookie)
{
    end_stream(cookie);
}

static void
fail(struct stream *s, const struct error *err)
{
    log_error(EVENTS_LOGGER, "a stream failed inside", LOG_TEXT("task_id", s->id),
        LOG_TEXT("error_type", error_name(err->code)), LOG_TEXT("error_message", err->text));
    end_stream(s);
}

/* ---- writing ---- */

/* How far it is, and how long the rest will take from now on. */
static int
add_progress(struct stream *s, struct evbuffer *out)
{
    struct task_document *d = &s->facts;
    double seconds = (double)(clock_monotonic_ms() - s->estimated_ms) / 1000;
    struct json_out data;

    d->view.step = s->step;
    if (s->n_members == 0) {
        task_document_estimate(d, models_load(s->model));
    } else { /* its members are not kept: the estimate of the last read has grown older */
        d->start_seconds = d->start_seconds > seconds ? d->start_seconds - seconds : 0;
        d->finish_seconds = d->finish_seconds > seconds ? d->finish_seconds - seconds : 0;
        s->estimated_ms = clock_monotonic_ms();
    }
    json_out_init(&data);
    task_progress_write(d, &data);
    return event_text_add(out, "progress", NULL, &data);
}

static int
add_status(struct stream *s, struct evbuffer *out)
{
    if (s->status_text.len == 0)
        return 0;
    return event_text_add(out, task_status_name(s->status), NULL, &s->status_text);
}

/* Is there progress to show? If it is too early for that, ${pause} calls again. */
static bool
is_progress_due(struct stream *s)
{
    int64_t left_ms = s->progress_ms + EVENTS_PROGRESS_MS - clock_monotonic_ms();

    if (s->is_final || (s->step <= s->shown_step && s->position == s->shown_position))
        return false;
    if (left_ms <= 0)
        return true;
    event_add(s->pause, &(struct timeval){left_ms / 1000, left_ms % 1000 * 1000});
    return false;
}

/* The last state comes after the candles that led to it, any other before them. */
static int
compose(struct stream *s, struct evbuffer *out)
{
    if (!s->is_final && add_status(s, out) == -1)
        return -1;
    if (s->status == TASK_PROCESSING || s->is_final) {
        if (event_candles_show(&s->candles, out) == -1)
            return -1;
    }
    if (is_progress_due(s)) {
        if (add_progress(s, out) == -1)
            return -1;
        s->progress_ms = clock_monotonic_ms();
        s->shown_step = s->step;
        s->shown_position = s->position;
    }
    return s->is_final ? add_status(s, out) : 0;
}

static void
send_text(struct stream *s, struct evbuffer *out)
{
    s->n_bytes += evbuffer_get_length(out);
    s->is_blocked = true;
    s->written_ms = clock_monotonic_ms();
    reply_stream_send(s->exchange, out);
}

/* Write what there is, unless the client has not taken the last chunk. */
static void
flush(struct stream *s)
{
    struct evbuffer *out;
    struct error err;

    if (s->exchange == NULL || !s->is_begun || s->is_blocked)
        return;
    if ((out = evbuffer_new()) == NULL || compose(s, out) == -1) {
        error_set(&err, ERR_MEMORY, "no memory for events");
        fail(s, &err);
    } else {
        if (evbuffer_get_length(out) > 0)
            send_text(s, out);
        if (s->is_final)
            end_stream(s);
    }
    if (out != NULL)
        evbuffer_free(out);
}

/* All that was written is in the kernel. */
static void
on_written(void *cookie)
{
    struct stream *s = cookie;

    s->is_blocked = false;
    flush(s);
}

static void
on_pause_over(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    flush(cookie);
}

/* ---- what was read ---- */

static void
note_members(struct stream *s, const struct task_document *d)
{
    for (size_t i = 0; i < s->n_members && i < d->n_members; i++) {
        const struct task_document *member = &d->members[i];
        uint32_t horizon = member->about.n_horizon, step = member->view.step;

        s->members[i].horizon = horizon;
        s->members[i].step =
            member->view.status == TASK_COMPLETED || step > horizon ? horizon : step;
    }
}

/* What progress is made of, without anything that points into the reply or is the document's. */
static void
note_facts(struct stream *s, const struct task_document *d)
{
    struct task_document *f = &s->facts;

    *f = (struct task_document){.id = s->id,
        .model = s->model->queue.model,
        .has_estimate = d->has_estimate,
        .start_seconds = d->start_seconds,
        .finish_seconds = d->finish_seconds};
    f->view.status = d->view.status;
    f->view.priority = d->view.priority;
    f->view.position = d->view.position;
    f->view.prefill_tokens = d->view.prefill_tokens;
    f->about.n_horizon = d->about.n_horizon;
    f->about.sample_count = d->about.sample_count;
    s->estimated_ms = clock_monotonic_ms();
    s->total = d->about.n_horizon;
    s->position = d->view.position;
    s->is_moving = false;
}

/* A state that differs from the one shown last is to be shown; its document tells the progress, too. */
static void
take_document(struct stream *s, const struct task_document *d)
{
    const struct queue_task_view *v = &d->view;
    bool is_new = !s->has_status || v->status != s->status || v->attempts != s->attempt;

    note_facts(s, d);
    note_members(s, d);
    if (is_new) {
        s->has_status = true;
        s->status = v->status;
        s->attempt = v->attempts;
        s->is_final = task_status_is_terminal(v->status);
        json_out_clear(&s->status_text);
        json_out_init(&s->status_text);
        task_document_write(d, false, &s->status_text);
        s->step = s->shown_step = v->step;
        s->shown_position = v->position;
    } else if (v->step > s->step) { /* a message may have been faster */
        s->step = v->step;
    }
}

/* When the candles will be: until the task ends only its input tells. */
static void
take_input(struct stream *s, const void *input, size_t size)
{
    struct error err;
    struct task *task = task_decode(input, size, &err);

    if (task == NULL) { /* the worker will say so */
        log_debug(EVENTS_LOGGER, "an input is not readable", LOG_TEXT("task_id", s->id),
            LOG_TEXT("error_message", err.text));
        return;
    }
    if (task->output.stream &&
        event_candles_times(&s->candles, task->horizon, task->n_horizon) == -1)
        s->has_input = false; /* no memory: the next read brings it again */
    task_free(task);
}

/* A task and its candles were read. */
static void
take_watched(struct stream *s, const struct queue_watched *w)
{
    struct task_document d;
    struct error err;

    if (!w->view.found) { /* erased, or its life is over: connecting again tells which */
        end_stream(s);
        return;
    }
    if (task_document_open(&d, s->id, s->model->queue.model, &w->view, &err) == -1) {
        fail(s, &err);
        return;
    }
    task_document_estimate(&d, models_load(s->model));
    s->has_input = true;
    if (w->input != NULL)
        take_input(s, w->input, w->input_size);
    event_candles_run(&s->candles, w->view.attempts, w->fence);
    if (event_candles_add(&s->candles, w->first_candle, w->candles, w->n_candles) == -1)
        s->must_read = true;
    if (d.result != NULL && d.result->output.stream &&
        event_candles_end(&s->candles, d.result, w->view.attempts) == -1)
        log_warning(
            EVENTS_LOGGER, "the candles of a result cannot be shown", LOG_TEXT("task_id", s->id));
    take_document(s, &d);
    task_document_close(&d);
    flush(s);
}

/* The reading has ended: true while the stream lives. */
static bool
has_read(struct stream *s)
{
    s->is_reading = false;
    if (s->exchange != NULL)
        return true;
    stream_free(s);
    return false;
}

static void
on_watched(void *cookie, const redisReply *reply)
{
    struct stream *s = cookie;
    struct queue_watched watched;
    struct error err = {.code = ERR_UNAVAILABLE};
    bool again = s->reads_again;

    if (!has_read(s))
        return;
    if (reply == NULL || queue_watch_parse(reply, &watched, &err) == -1) {
        if (err.code == ERR_UNAVAILABLE)
            s->must_read = true; /* Redis is away: so are changes */
        else
            fail(s, &err);
        return;
    }
    s->is_reading = true; /* so that it outlives its own end until here */
    take_watched(s, &watched);
    if (has_read(s) && again)
        read_task(s);
}

static void
on_batch_read(void *cookie, const struct lookup_answer *answer)
{
    struct stream *s = cookie;
    struct task_document d;
    struct error err;
    bool again = s->reads_again;

    if (!has_read(s))
        return;
    if (answer->outcome == LOOKUP_AWAY) {
        s->must_read = true;
    } else if (answer->outcome == LOOKUP_FAILED) {
        fail(s, answer->error);
    } else if (answer->outcome != LOOKUP_FOUND || answer->batch == NULL) {
        end_stream(s);
    } else if (batch_document_open(&d, s->id, s->model->queue.model, answer->batch, false, &err) ==
               -1) {
        fail(s, &err);
    } else {
        task_document_estimate(&d, models_load(s->model));
        take_document(s, &d);
        task_document_close(&d);
        s->is_reading = true;
        flush(s);
        if (has_read(s) && again)
            read_task(s);
    }
}

static int
ask_for_task(struct stream *s)
{
    const struct queue_known known = {
        .fence = s->candles.fence, .n_candles = s->candles.n, .has_input = s->has_input};
    struct queue_call call;
    struct error err;

    models_want_load(s->server->models, s->model);
    if (queue_watch_call(&s->model->queue, s->id, &known, &call, &err) == -1)
        return -1;
    return store_send(s->server->store, &call, on_watched, s);
}

static void
read_task(struct stream *s)
{
    int status;

    if (s->is_reading) {
        s->reads_again = true;
        return;
    }
    status = s->n_members == 0 ? ask_for_task(s)
                               : lookup_task(s->server->models, s->server->store, s->model,
                                     &s->caller, s->id, on_batch_read, s);
    s->reads_again = false;
    s->is_reading = status == 0;
    s->must_read = status == -1; /* no memory: the next round tries again */
    s->read_ms = clock_monotonic_ms();
    s->n_events_at_read = streams_n_events(s->server->streams);
}

/* ---- news ---- */

/* The task, its batch or one of its members moved. */
static void
on_event(struct follow *follow, enum task_status status)
{
    (void)status; /* that it moved is all a message is believed */
    read_task(follow->stream);
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
        read_task(s); /* of a run that is not known yet */
        return;
    } else {
        if (p->step > s->step)
            s->step = p->step;
        if (event_candles_add(&s->candles, p->first_candle, p->candles, p->n_candles) == -1)
            read_task(s);
    }
    models_want_load(s->server->models, s->model); /* in time for the next estimate */
    flush(s);
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
        end_stream(s);
        return;
    }
    if (s->must_read || has_queue_moved || s->is_moving || now_ms - s->read_ms >= EVENTS_REREAD_MS)
        read_task(s);
    if (s->is_blocked || now_ms - s->written_ms < EVENTS_SILENCE_MS ||
        (out = evbuffer_new()) == NULL)
        return;
    if (evbuffer_add(out, EVENTS_COMMENT, strlen(EVENTS_COMMENT)) == 0)
        send_text(s, out);
    evbuffer_free(out);
}

/* The process stops. A stream that has not begun is refused when its task was read. */
static void
on_stop(struct stream *s)
{
    if (s->is_begun)
        end_stream(s);
}

const struct streams_calls events_calls = {
    .on_event = on_event,
    .on_progress = on_progress,
    .on_missed = on_missed,
    .on_round = on_round,
    .on_stop = on_stop,
};

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
        end_stream(s);
        goto free_out;
    }
    if (out != NULL && evbuffer_add(out, EVENTS_FIRST, strlen(EVENTS_FIRST)) == 0)
        send_text(s, out);
    take_document(s, d);
    if (!s->is_final)
        read_task(s);

free_out:
    if (out != NULL)
        evbuffer_free(out);
}

static void
refuse(struct stream *s, const struct error *err)
{
    struct exchange *e = s->exchange;

    end_stream(s);
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
        end_stream(s);
        reply_refuse(e, 503, "shutting_down", "the server stops");
        return;
    }
    if (task_reply_open(e, answer, &d) == -1) {
        end_stream(s);
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
