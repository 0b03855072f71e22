/*
 * events_write.c - What an event stream shows, and its end.
 *
 * One chunk at a time: while the last one is not in the kernel, nothing is written, and what
 * happens meanwhile is kept as what is newest: one state, one progress, and candles in their place.
 * It shows what is known and asks for nothing.
 */
#include "api/events_internal.h"

#include <stdlib.h>

#include "api/event_text.h"
#include "api/reply.h"
#include "common/clock.h"
#include "common/log.h"

#define EVENTS_PROGRESS_MS 250 /* between two events of progress */

/* ---- the end ---- */

void
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
void
stream_end(struct stream *s)
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

void
stream_fail(struct stream *s, const struct error *err)
{
    log_error(EVENTS_LOGGER, "a stream failed inside", LOG_TEXT("task_id", s->id),
        LOG_TEXT("error_type", error_name(err->code)), LOG_TEXT("error_message", err->text));
    stream_end(s);
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

void
stream_send(struct stream *s, struct evbuffer *out)
{
    s->n_bytes += evbuffer_get_length(out);
    s->is_blocked = true;
    s->written_ms = clock_monotonic_ms();
    reply_stream_send(s->exchange, out);
}

/* Write what there is, unless the client has not taken the last chunk. */
void
stream_flush(struct stream *s)
{
    struct evbuffer *out;
    struct error err;

    if (s->exchange == NULL || !s->is_begun || s->is_blocked)
        return;
    if ((out = evbuffer_new()) == NULL || compose(s, out) == -1) {
        error_set(&err, ERR_MEMORY, "no memory for events");
        stream_fail(s, &err);
    } else {
        if (evbuffer_get_length(out) > 0)
            stream_send(s, out);
        if (s->is_final)
            stream_end(s);
    }
    if (out != NULL)
        evbuffer_free(out);
}
