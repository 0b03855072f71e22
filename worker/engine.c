/*
 * engine.c - Admits jobs into slots, moves all forecasts one step at a time, retires them.
 *
 * Between two steps it looks at the inbox and at stop flags; there is no waiting to fill
 * a batch. An urgent job goes first; a job that does not fit yet waits here, and nothing
 * of its class or below overtakes it, so it will fit. Touches no Redis: a job comes from
 * the handoff and goes back to it.
 */
#include "worker/engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/metrics.h"
#include "worker/answer.h"
#include "worker/kronos/forecast.h"
#include "worker/kronos/kernels.h"

#define LOGGER        "worker.engine"
#define IDLE_TICK_MS  1000 /* well below a renewal: an idle loop lives, too */
#define DELAY_TICK_MS 50
#define CANDLES_MS                                                                                 \
    100 /* between looks for candles to show: many steps share a pass of the decoder */
#define WARM_UP_ROWS  16
/* Everybody waits for a prefill as long as for some 25 steps. Beside an urgent task at most one
 * of the others begins in so many steps, so that it spends its time on steps of its own. */
#define URGENT_STEPS  120
#define WARM_UP_STEPS 2

struct run { /* a job in slots */
    struct job *job;
    struct forecast *forecast;
    uint32_t recomputed;  /* windows, when last looked at */
    uint32_t counted;     /* steps that were counted */
    uint32_t n_timed;     /* steps that were nothing but steps, for whoever was in the batch */
    double timed_seconds; /* they took */
    int64_t show_at_ms;   /* when candles are looked for again; 0: at once */
    bool shows_none;      /* they could not be had; the end will tell why */
};

struct engine {
    const struct worker_settings *settings;
    struct handoff *handoff;
    struct handoff_shared *shared;
    struct answer_maker maker;
    struct forecast_pool *pool;
    struct job *waiting[HANDOFF_JOBS_MAX]; /* [n_waiting] for slots, in order of arrival */
    size_t n_waiting;
    struct run *runs;        /* [n_runs] of at most settings->slots */
    struct forecast **batch; /* the same, as forecast_step() wants them */
    size_t n_runs;
    unsigned since_other; /* steps since one that is not urgent began */
    bool is_started;
    pthread_t thread;
};

static void
tick(struct engine *e)
{
    atomic_fetch_add(handoff_ticks(e->handoff), 1);
}

/* ---- the ends of a job ---- */

static void
hand_back(struct engine *e, struct job *job)
{
    job->run_ms = clock_monotonic_ms() - job->claimed_at_ms;
    handoff_finish(e->handoff, job);
}

static void
hand_back_stopped(struct engine *e, struct job *job)
{
    job->outcome = JOB_STOPPED;
    hand_back(e, job);
}

/* A code a client can act on. What is wrong with the request fails at once, the rest is tried again. */
static void
hand_back_failed(struct engine *e, struct job *job, const struct error *err)
{
    const char *code = err->code == ERR_NOT_FINITE ? "non_finite_output" : "inference_failed";
    bool is_retryable = err->code != ERR_NOT_FINITE && err->code != ERR_INVALID;

    if (err->code == ERR_CANCELLED) {
        hand_back_stopped(e, job);
        return;
    }
    job_fail(job, code, is_retryable, err);
    hand_back(e, job);
}

/* ---- admission ---- */

static void
take_new(struct engine *e)
{
    struct job *job;

    while (e->n_waiting < HANDOFF_JOBS_MAX && (job = handoff_take(e->handoff)) != NULL)
        e->waiting[e->n_waiting++] = job;
}

static struct job *
remove_waiting(struct engine *e, size_t i)
{
    struct job *job = e->waiting[i];

    e->n_waiting--;
    memmove(&e->waiting[i], &e->waiting[i + 1], (e->n_waiting - i) * sizeof(e->waiting[0]));
    return job;
}

static void
remove_run(struct engine *e, size_t i)
{
    forecast_end(e->runs[i].forecast);
    e->n_runs--;
    memmove(&e->runs[i], &e->runs[i + 1], (e->n_runs - i) * sizeof(e->runs[0]));
}

static void
drop_stopped(struct engine *e)
{
    for (size_t i = 0; i < e->n_waiting;) {
        if (atomic_load(&e->waiting[i]->stop))
            hand_back_stopped(e, remove_waiting(e, i));
        else
            i++;
    }
    for (size_t i = 0; i < e->n_runs;) {
        struct job *job = e->runs[i].job;

        if (atomic_load(&job->stop)) {
            remove_run(e, i);
            hand_back_stopped(e, job);
        } else {
            i++;
        }
    }
}

/* Does a job fit beside what runs, with the reserve left to urgent ones? */
static bool
fits(const struct engine *e, const struct job *job)
{
    uint32_t used = 0, used_by_others = 0;

    for (size_t i = 0; i < e->n_runs; i++) {
        used += e->runs[i].job->slots;
        if (e->runs[i].job->priority != TASK_URGENT)
            used_by_others += e->runs[i].job->slots;
    }
    if (job->priority != TASK_URGENT &&
        used_by_others + job->slots > worker_settings_room(e->settings, job->priority))
        return false;
    return used + job->slots <= e->settings->slots;
}

/* The waiting job whose turn it is: the oldest urgent one, else the oldest. */
static size_t
next_waiting(const struct engine *e)
{
    for (size_t i = 0; i < e->n_waiting; i++) {
        if (e->waiting[i]->priority == TASK_URGENT)
            return i;
    }
    return 0;
}

static enum forecast_window
window_of(enum task_context_mode mode)
{
    switch (mode) {
    case TASK_FIT:
        return FORECAST_FIT;
    case TASK_BLOCK:
        return FORECAST_BLOCK;
    default:
        return FORECAST_EXACT;
    }
}

static struct forecast *
begin(struct engine *e, struct job *job, struct error *err)
{
    const struct task *task = job->task;
    size_t n = task->n_history + task->n_horizon; /* both within the limits of task.h */
    int64_t *minutes = malloc(n * sizeof(*minutes));
    struct forecast_options options = {
        .samples = task->params.sample_count,
        .max_slots = job->slots,
        .top_k = task->params.top_k,
        .temperature = task->params.temperature,
        .top_p = task->params.top_p,
        .seed = task->params.seed,
        .window = window_of(task->params.context_mode),
        .stop = &job->stop,
        .ticks = handoff_ticks(e->handoff),
    };
    struct forecast *forecast;

    FAILPOINT_TASK(task->params.seed);
    if (minutes == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    memcpy(minutes, task->history_minutes, task->n_history * sizeof(*minutes));
    for (size_t i = 0; i < task->n_horizon; i++)
        minutes[task->n_history + i] = task_time_minutes(&task->horizon[i]);
    forecast = forecast_begin(
        e->pool, task->candles, minutes, task->n_history, task->n_horizon, &options, err);
    free(minutes);
    return forecast;
}

/* Would its prefill hold up an urgent task that has just been held up by another's? */
static bool
is_held_back(const struct engine *e, const struct job *job)
{
    if (job->priority == TASK_URGENT || e->since_other >= URGENT_STEPS)
        return false;
    for (size_t i = 0; i < e->n_runs; i++) {
        if (e->runs[i].job->priority == TASK_URGENT)
            return true;
    }
    return false;
}

/* Start what fits. The prefill of one takes long enough for an urgent one to arrive. */
static void
admit(struct engine *e)
{
    struct error err;

    for (take_new(e); e->n_waiting > 0; take_new(e)) {
        size_t i = next_waiting(e);
        struct forecast *forecast;
        double began = clock_seconds();
        struct job *job;

        if (!fits(e, e->waiting[i]) || is_held_back(e, e->waiting[i]))
            return;
        job = remove_waiting(e, i);
        if (job->priority != TASK_URGENT)
            e->since_other = 0;
        if ((forecast = begin(e, job, &err)) == NULL) {
            hand_back_failed(e, job, &err);
        } else {
            job->prefill_seconds =
                (clock_seconds() - began) / forecast_progress(forecast).rows_used;
            metrics_add(
                METRIC_PREFILL_TOKENS, forecast_progress(forecast).rows_used, e->settings->name);
            e->runs[e->n_runs++] = (struct run){.job = job, .forecast = forecast};
        }
        tick(e);
    }
}

/* ---- steps ---- */

/* A step took so long. With a window computed anew in it, it was not only a step. */
static void
note_step(struct engine *e, double seconds)
{
    bool is_pure = true;

    for (size_t i = 0; i < e->n_runs; i++) {
        struct run *run = &e->runs[i];
        uint32_t recomputed = forecast_progress(run->forecast).recomputed_windows;

        is_pure = is_pure && recomputed == run->recomputed;
        if (recomputed != run->recomputed)
            metrics_add(METRIC_PREFILL_TOKENS,
                (double)(recomputed - run->recomputed) * e->settings->max_context,
                e->settings->name);
        run->recomputed = recomputed;
    }
    for (size_t i = 0; is_pure && i < e->n_runs; i++) {
        e->runs[i].timed_seconds += seconds;
        e->runs[i].n_timed++;
    }
}

static void
step_all(struct engine *e)
{
    uint32_t width = 0;
    double began, sequence_steps = 0;

    for (size_t i = 0; i < e->n_runs; i++) {
        e->batch[i] = e->runs[i].forecast;
        width += e->runs[i].job->slots;
    }
    for (size_t i = 0; i < e->n_runs; i++) {
        if (e->runs[i].job->batch_size < width)
            e->runs[i].job->batch_size = width;
    }
    began = clock_seconds();
    forecast_step(e->pool, e->batch, e->n_runs);
    e->since_other++;
    /* what --step-delay-ms adds to a step is part of how slow this worker is */
    note_step(e, clock_seconds() - began + (double)e->settings->step_delay_ms / 1000);
    FAILPOINT(MID_FORECAST, -1);
    tick(e);
    for (size_t i = 0; i < e->n_runs; i++) {
        struct run *run = &e->runs[i];
        uint32_t done = forecast_progress(run->forecast).done;

        atomic_store(&run->job->step, done);
        sequence_steps += (double)(done - run->counted) * run->job->task->params.sample_count;
        run->counted = done;
    }
    metrics_add(METRIC_DECODE_STEPS, sequence_steps, e->settings->name);
    metrics_observe(METRIC_BATCH_SIZE, width, e->settings->name);
}

/* Candles of those that stream, as far as they are exact; what is done shows them in its result. */
static void
show_candles(struct engine *e)
{
    for (size_t i = 0; i < e->n_runs; i++) {
        struct run *run = &e->runs[i];
        int64_t now_ms = clock_monotonic_ms();
        struct error err;
        const float *rows;
        size_t n;

        if (!run->job->task->output.stream || run->shows_none || now_ms < run->show_at_ms ||
            forecast_progress(run->forecast).is_finished)
            continue;
        run->show_at_ms = now_ms + CANDLES_MS;
        if (forecast_candles(run->forecast, &rows, &n, &err) == -1)
            run->shows_none = true;
        else if (n > 0)
            handoff_show(e->handoff, run->job, rows, n);
    }
}

static void
retire_finished(struct engine *e)
{
    for (size_t i = 0; i < e->n_runs;) {
        struct job *job = e->runs[i].job;
        struct error err;

        if (!forecast_progress(e->runs[i].forecast).is_finished) {
            i++;
            continue;
        }
        job->run_ms = clock_monotonic_ms() - job->claimed_at_ms;
        if (e->runs[i].n_timed > 0)
            job->step_seconds = e->runs[i].timed_seconds / e->runs[i].n_timed;
        if (answer_make(&e->maker, job, e->runs[i].forecast, &err) == -1) {
            remove_run(e, i);
            hand_back_failed(e, job, &err);
        } else {
            remove_run(e, i);
            job->outcome = JOB_COMPLETED;
            hand_back(e, job);
        }
    }
}

static bool
is_any_stopped(const struct engine *e)
{
    for (size_t i = 0; i < e->n_waiting; i++) {
        if (atomic_load(&e->waiting[i]->stop))
            return true;
    }
    for (size_t i = 0; i < e->n_runs; i++) {
        if (atomic_load(&e->runs[i].job->stop))
            return true;
    }
    return atomic_load(&e->shared->is_ending);
}

/* --step-delay-ms; proves progress meanwhile, because the loop does live. */
static void
delay(struct engine *e)
{
    int64_t until_ms = clock_monotonic_ms() + e->settings->step_delay_ms;
    int64_t left_ms;

    while (!is_any_stopped(e) && (left_ms = until_ms - clock_monotonic_ms()) > 0) {
        handoff_wait(e->handoff, HANDOFF_ENGINE, left_ms < DELAY_TICK_MS ? left_ms : DELAY_TICK_MS);
        tick(e);
    }
}

static void *
engine_main(void *cookie)
{
    struct engine *e = cookie;

    while (!atomic_load(&e->shared->is_ending)) {
        tick(e);
        take_new(e);
        drop_stopped(e);
        admit(e);
        if (e->n_runs == 0) {
            handoff_wait(e->handoff, HANDOFF_ENGINE, IDLE_TICK_MS);
            continue;
        }
        step_all(e);
        show_candles(e);
        handoff_tell(e->handoff);
        retire_finished(e);
        if (e->settings->step_delay_ms > 0)
            delay(e);
    }
    while (e->n_runs > 0)
        remove_run(e, e->n_runs - 1);
    return NULL;
}

/* ---- life ---- */

struct engine *
engine_new(const struct worker_settings *settings, struct handoff *handoff,
    const struct model *model, struct error *err)
{
    struct forecast_pool_options options = {
        .n_slots = settings->slots,
        .max_context = settings->max_context,
        .clip = settings->clip,
        .n_threads = (uint32_t)settings->threads,
        .kv = settings->kv,
    };
    const struct model_config *bits = &model->config;
    struct engine *e = calloc(1, sizeof(*e));

    if (e == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    e->settings = settings;
    e->handoff = handoff;
    e->shared = handoff_shared(handoff);
    e->maker = (struct answer_maker){
        .kernel = kernels_name(),
        .worker = settings->short_name,
        .context = settings->max_context,
        .vocabulary = 1u << (bits->s1_bits > bits->s2_bits ? bits->s1_bits : bits->s2_bits),
    };
    e->runs = calloc(settings->slots, sizeof(*e->runs));
    e->batch = calloc(settings->slots, sizeof(*e->batch));
    if (e->runs == NULL || e->batch == NULL)
        error_set(err, ERR_MEMORY, "out of memory");
    else
        e->pool = forecast_pool_new(model, &options, err);
    if (e->pool != NULL) {
        e->maker.precision = forecast_pool_precision(e->pool);
        return e;
    }
    engine_free(e);
    return NULL;
}

uint32_t
engine_vocabulary(const struct engine *e)
{
    return e->maker.vocabulary;
}

const char *
engine_precision(const struct engine *e)
{
    return e->maker.precision;
}

size_t
engine_pool_bytes(const struct engine *e)
{
    return forecast_pool_bytes(e->pool);
}

/* One short forecast; the second one is warm, and the one whose speed counts. */
static int
run_once(struct engine *e, const float *history, const int64_t *minutes, struct error *err)
{
    struct forecast_options options = {
        .samples = 1, .temperature = 1.0f, .top_p = 1.0f, .window = FORECAST_FIT};
    double began = clock_seconds(), stepping;
    struct forecast *forecast =
        forecast_begin(e->pool, history, minutes, WARM_UP_ROWS, WARM_UP_STEPS, &options, err);

    if (forecast == NULL)
        return -1;
    stepping = clock_seconds();
    while (!forecast_progress(forecast).is_finished)
        forecast_step(e->pool, &forecast, 1);
    e->shared->warm_up_prefill_seconds = (stepping - began) / forecast_progress(forecast).rows_used;
    e->shared->warm_up_step_seconds =
        (clock_seconds() - stepping) / WARM_UP_STEPS + (double)e->settings->step_delay_ms / 1000;
    forecast_end(forecast);
    return 0;
}

int
engine_warm_up(struct engine *e, struct error *err)
{
    float history[WARM_UP_ROWS * FORECAST_FIELDS];
    int64_t minutes[WARM_UP_ROWS + WARM_UP_STEPS];

    for (int i = 0; i < WARM_UP_ROWS * FORECAST_FIELDS; i++)
        history[i] = 100.0f + (float)(i % 7);
    for (int i = 0; i < WARM_UP_ROWS + WARM_UP_STEPS; i++)
        minutes[i] = i;
    if (run_once(e, history, minutes, err) == -1)
        return -1;
    return run_once(e, history, minutes, err);
}

int
engine_start(struct engine *e, const struct model_identity *identity, struct error *err)
{
    int error;

    e->maker.identity = identity;
    if ((error = pthread_create(&e->thread, NULL, engine_main, e)) != 0)
        return error_set(err, ERR_SYSTEM, "start the engine thread: %s", strerror(error));
    e->is_started = true;
    return 0;
}

void
engine_free(struct engine *e)
{
    if (e == NULL)
        return;
    if (e->is_started) {
        handoff_wake(e->handoff, HANDOFF_ENGINE);
        pthread_join(e->thread, NULL);
    }
    forecast_pool_free(e->pool);
    free(e->batch);
    free(e->runs);
    free(e);
}
