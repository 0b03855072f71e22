/*
 * events_read.c - An event stream's task is read, and what was read becomes what is to be shown.
 *
 * A task is read with the candles that are not known yet, a batch is looked up. When to read is
 * events.c's; Redis being away is no end, but a read at the next round.
 */
#include "api/events_internal.h"

#include "api/lookup.h"
#include "common/clock.h"
#include "common/document/batch_document.h"
#include "common/log.h"

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
void
stream_take(struct stream *s, const struct task_document *d)
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
        stream_end(s);
        return;
    }
    if (task_document_open(&d, s->id, s->model->queue.model, &w->view, &err) == -1) {
        stream_fail(s, &err);
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
    stream_take(s, &d);
    task_document_close(&d);
    stream_flush(s);
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
            stream_fail(s, &err);
        return;
    }
    s->is_reading = true; /* so that it outlives its own end until here */
    take_watched(s, &watched);
    if (has_read(s) && again)
        stream_read(s);
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
        stream_fail(s, answer->error);
    } else if (answer->outcome != LOOKUP_FOUND || answer->batch == NULL) {
        stream_end(s);
    } else if (batch_document_open(&d, s->id, s->model->queue.model, answer->batch, false, &err) ==
               -1) {
        stream_fail(s, &err);
    } else {
        task_document_estimate(&d, models_load(s->model));
        stream_take(s, &d);
        task_document_close(&d);
        s->is_reading = true;
        stream_flush(s);
        if (has_read(s) && again)
            stream_read(s);
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

void
stream_read(struct stream *s)
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
