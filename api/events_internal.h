/*
 * events_internal.h - One event stream, for the files events*.c only.
 *
 * events.c begins it and hears the news; it calls both others. events_read.c reads its task and
 * calls events_write.c, which shows it and ends it, and calls neither.
 */
#ifndef API_EVENTS_INTERNAL_H
#define API_EVENTS_INTERNAL_H

#include <event2/buffer.h>

#include "api/event_candles.h"
#include "api/handlers.h"
#include "api/server.h"
#include "api/streams.h"
#include "api/task_reply.h"

#define EVENTS_LOGGER "api.events"

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

/* Of events_write.c. */

void stream_free(struct stream *s); /* only one that stream_end() has ended, or has not begun */

/** stream_end(s): frees it, too, unless it is being read. */
void stream_end(struct stream *s);

/** stream_fail(s, err): logs why, and ends it. */
void stream_fail(struct stream *s, const struct error *err);

/** stream_send(s, out): takes what is in ${out}; the last chunk must be in the kernel. */
void stream_send(struct stream *s, struct evbuffer *out);

/** stream_flush(s): may end it. */
void stream_flush(struct stream *s);

/* Of events_read.c. */

/** stream_take(s, d): notes what ${d} tells; writes nothing. */
void stream_take(struct stream *s, const struct task_document *d);

/** stream_read(s): now, or after the read that is on its way. */
void stream_read(struct stream *s);

#endif /* API_EVENTS_INTERNAL_H */
