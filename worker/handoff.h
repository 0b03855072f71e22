/*
 * handoff.h - The only place where the worker's threads meet.
 *
 * A job is one claimed task. The link makes it and gives it; the engine computes it
 * and finishes it; the link delivers it, and only then is it forgotten. From give to
 * forget it stands in the lease table, which the beat renews from. One mutex, held
 * for copies only; an eventfd per thread wakes it out of poll().
 */
#ifndef WORKER_HANDOFF_H
#define WORKER_HANDOFF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/id.h"
#include "common/queue/queue.h"
#include "common/task.h"

#define HANDOFF_JOBS_MAX 512 /* at most a slot each, and those that wait for slots */

/* Why a job must not go on; the first reason stays, but a lost lease beats all. */
enum job_stop {
    JOB_GO_ON,
    JOB_STOP_RELEASE, /* this worker ends: somebody else's task */
    JOB_STOP_CANCELLED,
    JOB_STOP_DEADLINE,
    JOB_STOP_RUN_LIMIT,
    JOB_STOP_FENCED, /* the lease is gone: nothing may be written */
};

enum job_outcome {
    JOB_UNFINISHED,
    JOB_COMPLETED, /* output is there */
    JOB_FAILED,    /* error_code, error_text, is_retryable */
    JOB_STOPPED,   /* because of stop */
};

struct job {
    /* written by the link before handoff_give() */
    char id[ID_LEN + 1];
    uint64_t fence;
    uint32_t attempt, crashes;
    enum task_priority priority;
    int64_t wait_ms;       /* in the queue, on Redis's clock */
    int64_t claimed_at_ms; /* monotonic */
    int64_t eta_ms;        /* to the result, estimated at the submit; 0: unknown */
    char batch_id[ID_LEN + 1], owner[QUEUE_OWNER_MAX + 1], trace_id[TRACE_ID_LEN + 1]; /* "" */
    uint32_t slots;    /* held at once: its samples, or as many as it may have */
    struct task *task; /* the job's; NULL if the input did not decode */

    /* written by any thread */
    atomic_bool stop;           /* the model looks at it between steps */
    atomic_int stop_reason;     /* enum job_stop; set before stop */
    atomic_uint_least32_t step; /* by the engine: decode steps done */

    /* written by the engine before handoff_finish(), then the link's */
    enum job_outcome outcome;
    struct task_bytes output; /* encoded result; the job's */
    const char *error_code;   /* a literal */
    char error_text[ERROR_TEXT_MAX];
    bool is_retryable;
    uint32_t batch_size;    /* most sequences that stepped together with it */
    double prefill_seconds; /* per token, and per step of the whole batch; 0: not measured */
    double step_seconds;
    int64_t run_ms;

    /* handoff.c's, under its lock */
    float *candles; /* [n_candles, TASK_FIELDS] exact already, of a task that streams; or NULL */
    uint32_t n_candles, n_candles_sent;
    struct job *next; /* in the inbox or among the finished */
    bool is_with_engine;
    int64_t stopped_at_ms; /* 0: not told to stop */
};

/** job_new(): zeroed, or NULL when out of memory. job_free(NULL) does nothing. */
struct job *job_new(void);
void job_free(struct job *job);

/** job_fail(job, code, retryable, err): the job ends with ${err}'s text; ${code} is a literal. */
void job_fail(struct job *job, const char *code, bool is_retryable, const struct error *err);

enum job_stop job_stop_reason(const struct job *job);
const char *job_stop_name(enum job_stop reason);

struct handoff;

struct handoff *handoff_new(struct error *err);
void handoff_free(struct handoff *h); /* with every job still in it; all threads have ended */

/* ---- waking ---- */

enum handoff_thread { HANDOFF_MAIN, HANDOFF_LINK, HANDOFF_BEAT, HANDOFF_ENGINE, HANDOFF_THREADS };

void handoff_wake(struct handoff *h, enum handoff_thread thread);
int handoff_fd(const struct handoff *h, enum handoff_thread thread); /* readable after a wake */
void handoff_clear(struct handoff *h, enum handoff_thread thread);

/** handoff_wait(h, thread, timeout_ms): until woken or the time is over; clears the wake. */
void handoff_wait(struct handoff *h, enum handoff_thread thread, int64_t timeout_ms);

/* ---- a job's way ---- */

/** handoff_give(h, job): into the lease table, and to the engine. Takes ${job}. */
int handoff_give(struct handoff *h, struct job *job, struct error *err);

/** handoff_refuse(h, job): into the lease table and back to the link as finished; never seen by the engine. */
int handoff_refuse(struct handoff *h, struct job *job, struct error *err);

/** handoff_take(h): the engine's next job, urgent ones first, else in order of arrival; or NULL. */
struct job *handoff_take(struct handoff *h);

/** handoff_finish(h, job): the engine is done with it, outcome set. Wakes the link. */
void handoff_finish(struct handoff *h, struct job *job);

/** handoff_next_finished(h): for the link to deliver; stays in the lease table. NULL: none. */
struct job *handoff_next_finished(struct handoff *h);

/** handoff_forget(h, job): Redis has answered for it: out of the lease table, freed. */
void handoff_forget(struct handoff *h, struct job *job);

/** handoff_show(h, job, rows, n): the engine has ${n} candles of it by now, [n, TASK_FIELDS]. */
void handoff_show(struct handoff *h, struct job *job, const float *rows, size_t n);

/** handoff_tell(h): the engine has done a step: wakes the beat, unless it is awake already. */
void handoff_tell(struct handoff *h);

/* ---- the lease table ---- */

struct handoff_load {
    size_t n_jobs;
    uint32_t urgent_slots; /* held or waited for by urgent jobs */
    uint32_t other_slots;  /* by normal and low ones */
    uint32_t crashes;      /* the most of any job: a suspect runs alone */
};
struct handoff_load handoff_load(struct handoff *h);

struct handoff_lease {
    char id[ID_LEN + 1];
    uint64_t fence;
    uint32_t step;
    uint32_t n_candles, n_candles_sent; /* there are, and the beat has sent */
    bool is_with_engine;
};
/** handoff_leases(h, leases): a copy of the table into ${leases} [HANDOFF_JOBS_MAX]. */
size_t handoff_leases(struct handoff *h, struct handoff_lease *leases);

/** handoff_candles(h, lease, out): those not sent, into ${out} [n_candles - n_candles_sent]; false: it is gone. */
bool handoff_candles(struct handoff *h, const struct handoff_lease *lease, float *out);

/** handoff_candles_sent(h, lease, n): the first ${n} have arrived. */
void handoff_candles_sent(struct handoff *h, const struct handoff_lease *lease, uint32_t n);

/** handoff_holds(h, id, fence): is this lease in the table? */
bool handoff_holds(struct handoff *h, const char *id, uint64_t fence);

/** handoff_stop(h, id, fence, reason): raise the stop flag of one job, if it is still there. */
void handoff_stop(struct handoff *h, const char *id, uint64_t fence, enum job_stop reason);
void handoff_stop_all(struct handoff *h, enum job_stop reason);

/** handoff_ignored(h, limit_ms, lease): a job the engine keeps ${limit_ms} after its stop flag. */
bool handoff_ignored(struct handoff *h, int64_t limit_ms, struct handoff_lease *lease);

/* ---- what all threads may ask ---- */

/**
 * handoff_ticks(h): the engine's proof of life, bumped by the model after every layer and
 * by the engine's loop. One for all jobs, so that a job that waits for its slots, or for a
 * neighbour's long prefill, keeps its lease as long as the engine moves at all; a hung
 * engine loses them all.
 */
atomic_uint_least64_t *handoff_ticks(struct handoff *h);

struct handoff_shared {
    atomic_bool is_quiet;                       /* by main (TSTP): take no more work */
    atomic_bool is_told_quiet;                  /* by the beat: the same, said in Redis */
    atomic_bool is_paused[TASK_PRIORITY_COUNT]; /* by the beat: lists not worth waiting on */
    atomic_uint weights[TASK_PRIORITY_COUNT];   /* by the beat: lists_order()'s */
    atomic_bool is_stopping;                    /* by main or the link: take no more, drain, end */
    atomic_bool is_drain_over; /* by main: a second TERM, do not wait for results */
    atomic_bool is_link_done;  /* by the link: nothing is held any more */
    atomic_bool is_ending;     /* by main: engine and beat return */
    atomic_bool has_news;      /* by handoff_tell(); by the beat when it has told Redis */
    double warm_up_prefill_seconds, warm_up_step_seconds; /* by the engine, before the threads */
    atomic_int exit_status; /* by the link or the beat: not 0 if it had to give up */
    atomic_uint_least64_t n_done, n_failed; /* by the link */
    /* How often each thread has come round: proof that it lives (the engine's is handoff_ticks). */
    atomic_uint_least64_t link_turns, beat_turns;
};
struct handoff_shared *handoff_shared(struct handoff *h);

#endif /* WORKER_HANDOFF_H */
