/*
 * submission.h - One submit on its way: submit.c moves it, submit_tasks.c encodes it, submit_reply.c answers it.
 */
#ifndef API_SUBMISSION_H
#define API_SUBMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "api/idempotency.h"
#include "api/lookup.h"
#include "api/prefer.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/request_log.h"
#include "api/wait.h"

struct submission {
    struct exchange *exchange;
    struct model *model;
    enum request_kind kind;
    struct request request;
    char (*task_ids)[ID_LEN + 1]; /* of its series, once they were sent */
    struct prefer prefer;
    bool is_model_unknown;               /* as far as this process knows */
    uint32_t context;                    /* C by which the body was judged, 0: none known */
    bool has_read_names, has_read_fleet; /* from Redis, for this request */
    bool is_sync;                        /* held by default, as the FastAPI service did */
    bool is_replay;                      /* an Idempotency-Key met its first request */
    bool is_new;                         /* this request made the task */
    bool is_unmeetable;                  /* its deadline: it may only repeat an earlier request */
    bool is_short;                       /* the memory of Redis: the same */
    double finish_seconds;               /* estimated, when the deadline is unmeetable */
    uint64_t n_load_asked;               /* of the model, when the task was sent */
    int64_t eta_ms;                      /* to the result, for the worker; 0: not known */
    char trace_id[TRACE_ID_LEN + 1];     /* W3C, "" without one */
    struct request_facts facts;          /* for the log line */
    const char *why_full;                /* static text, while the backlog is asked for */
    int64_t created_ms; /* our clock; only for a document Redis could not be asked for */
    char scope[IDEMPOTENCY_HEX + 1]; /* of the Idempotency-Key, "" without one */
    char digest[IDEMPOTENCY_HEX + 1];
};

/** submit_note_facts(s): what the log line says of the request; its texts are the request's. */
void submit_note_facts(struct submission *s);

/** submit_estimate(s, load, finish_seconds): behind everything that waits; false when nobody can tell. */
bool submit_estimate(
    const struct submission *s, const struct queue_load *load, double *finish_seconds);

/** submit_build_call(s, call, err): its tasks with new ids, encoded: the call that stores them. */
int submit_build_call(struct submission *s, struct queue_call *call, struct error *err);

/**
 * submit_read(s, bytes, size, problem): judge the body; s->request, s->model and what is known of its
 * Idempotency-Key are set. -1: ${problem}, zeroed before, says why. May be called again.
 */
int submit_read(struct submission *s, const char *bytes, size_t size, struct problem *problem);

/**
 * submit_reply_accepted(s, answer, as_new): 202 with ${answer}'s document; without one, with what
 * this request knows of its own task. ${as_new}: a task this request made is shown as it was then.
 */
void submit_reply_accepted(struct submission *s, const struct lookup_answer *answer, bool as_new);

/** submit_reply_end(s, answer): a held submit whose task ended: 200 in the old shape, or the problem it ended with. */
void submit_reply_end(struct submission *s, const struct lookup_answer *answer);

/** submit_reply_sync_over(s, end): sync mode and time is up, or the process stops: the task goes on. */
void submit_reply_sync_over(struct submission *s, enum wait_end end);

/** submit_refuse_full(s, load): 503 queue_full, for s->why_full, with a time to come back; ${load} may be NULL. */
void submit_refuse_full(struct submission *s, const struct queue_load *load);

/** submit_refuse_deadline(s): 422 deadline_unmeetable, by s->finish_seconds. */
void submit_refuse_deadline(struct submission *s);

/** submit_refuse_mismatch(e, first_id): 422: the Idempotency-Key met another request. */
void submit_refuse_mismatch(struct exchange *e, const char *first_id);

#endif /* API_SUBMISSION_H */
