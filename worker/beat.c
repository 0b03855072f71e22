/*
 * beat.c - Renews leases on a thread and a connection of its own, because a model step may
 * outlast a lease; beats presence; sweeps; takes metrics to Redis.
 *
 * A renewal carries the engine's ticks, and Redis refuses one whose ticks have not grown:
 * what is proved is progress, not that this thread runs. What Redis answers becomes stop
 * flags. A client that cancels is promised an end within 2 s, so leases are renewed more often
 * than they would run out, and four times a second while steps are done and candles sampled,
 * because whoever watches hears of them by renewals; a worker that holds none sends nothing for
 * that. An engine that ignores one for STOP_IGNORED_MS computes for nobody, and the
 * process ends at once so that something better can start in its place.
 *
 * Redis away: no lease can be renewed, none is given up; after a restart of Redis sweeps
 * spare all leases for one lease time, and the next renewal finds them.
 */
#include "worker/beat.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/little_endian.h"
#include "common/log.h"
#include "common/queue/queue.h"
#include "common/queue/queue_admin.h"
#include "common/queue/queue_metrics.h"
#include "worker/lists.h"
#include "common/redis.h"

#define LOGGER          "worker.beat"
#define STOP_IGNORED_MS 15000
#define RENEW_MOST_MS   1000 /* between renewals: how late a cancel may be noticed */
#define NEWS_MS         250  /* between renewals that show progress and candles */
#define AUDIT_MS        60000
#define SWEEP_JITTER    20 /* per cent either way, so that processes do not fall into step */
#define EXIT_HUNG       75 /* EX_TEMPFAIL: restart */

struct beat {
    const struct worker_settings *settings;
    struct handoff *handoff;
    struct handoff_shared *shared;
    const struct model_identity *identity;
    const char *kernel;
    uint32_t vocabulary;
    redisContext *connection; /* NULL: Redis is away */
    char run_id[41];
    struct redis_backoff backoff;
    int64_t retry_at_ms, renew_at_ms, news_at_ms, show_at_ms, sweep_at_ms, audit_at_ms, flush_at_ms;
    char audit_cursor[QUEUE_CURSOR_MAX]; /* where the next slice begins */
    int64_t ticks;                       /* of the last renewal */
    bool is_stuck;                       /* the last renewal was refused for want of progress */
    unsigned seed;                       /* of the jitter */
    pthread_t thread;
};

static void
lose(struct beat *b, const char *what, const struct error *err)
{
    int delay_ms = redis_backoff_next_ms(&b->backoff);

    if (b->connection != NULL)
        redisFree(b->connection);
    b->connection = NULL;
    b->retry_at_ms = clock_monotonic_ms() + delay_ms;
    log_with(b->backoff.attempts > 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, LOGGER, "redis lost",
        LOG_TEXT("operation", what), LOG_TEXT("error_message", err->text),
        LOG_INT("retry_ms", delay_ms));
}

static int
connect_redis(struct beat *b, struct error *err)
{
    if ((b->connection = redis_open(&b->settings->redis, "kronosq-worker:beat", err)) == NULL)
        return -1;
    if (redis_run_id(b->connection, b->run_id, err) == -1 ||
        queue_load_scripts(b->connection, err) == -1) {
        redisFree(b->connection);
        b->connection = NULL;
        return -1;
    }
    return 0;
}

/* ---- leases ---- */

/* What Redis thinks of a lease, as a stop flag for who computes it. */
static void
obey(struct beat *b, const struct handoff_lease *lease, const struct queue_renewal *sent,
    enum queue_renew_code code)
{
    enum job_stop reason;

    switch (code) {
    case QUEUE_RENEWED:
    case QUEUE_RENEWED_CANDLES_LOST:
        b->is_stuck = false;
        handoff_candles_sent(b->handoff, lease,
            code == QUEUE_RENEWED ? sent->first_candle + (uint32_t)sent->n_candles : 0);
        return;
    case QUEUE_RENEW_NO_PROGRESS:
        log_with(b->is_stuck ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, LOGGER,
            "lease not renewed: the engine has not moved", LOG_TEXT("task_id", lease->id),
            LOG_INT("step", lease->step));
        b->is_stuck = true;
        return;
    case QUEUE_RENEW_CANCELLED:
        reason = JOB_STOP_CANCELLED;
        break;
    case QUEUE_RENEW_DEADLINE:
        reason = JOB_STOP_DEADLINE;
        break;
    case QUEUE_RENEW_RUN_LIMIT:
        reason = JOB_STOP_RUN_LIMIT;
        break;
    case QUEUE_RENEW_FENCED:
    default:
        reason = JOB_STOP_FENCED;
        break;
    }
    log_debug(
        LOGGER, "stop", LOG_TEXT("task_id", lease->id), LOG_TEXT("reason", job_stop_name(reason)));
    handoff_stop(b->handoff, lease->id, lease->fence, reason);
}

/*
 * The candles that are not in Redis yet, of all leases one after the other, as they are stored. Each
 * renewal points to its own. NULL: there are none, or no memory, and the next renewal brings them.
 */
static uint8_t *
take_candles(
    struct beat *b, const struct handoff_lease *leases, struct queue_renewal *renewals, size_t n)
{
    float rows[TASK_HORIZON_MAX * TASK_FIELDS];
    uint8_t *bytes, *at;
    size_t n_all = 0;

    for (size_t i = 0; i < n; i++)
        n_all += leases[i].n_candles - leases[i].n_candles_sent;
    if (n_all == 0 || (bytes = malloc(n_all * QUEUE_CANDLE_BYTES)) == NULL)
        return NULL;
    at = bytes;
    for (size_t i = 0; i < n; i++) {
        size_t n_new = leases[i].n_candles - leases[i].n_candles_sent;

        if (n_new == 0 || !handoff_candles(b->handoff, &leases[i], rows))
            continue;
        renewals[i].candles = at;
        renewals[i].n_candles = n_new;
        for (size_t v = 0; v < n_new * TASK_FIELDS; v++, at += sizeof(float))
            le_put_float(at, rows[v]);
    }
    return bytes;
}

static int
renew(struct beat *b, struct error *err)
{
    const struct worker_settings *s = b->settings;
    struct handoff_lease leases[HANDOFF_JOBS_MAX];
    struct queue_renewal renewals[HANDOFF_JOBS_MAX];
    enum queue_renew_code codes[HANDOFF_JOBS_MAX];
    uint8_t *candles;
    size_t n;
    int status;

    atomic_store(&b->shared->has_news, false); /* before looking: what comes later is news again */
    b->ticks = (int64_t)atomic_load(handoff_ticks(b->handoff));
    if ((n = handoff_leases(b->handoff, leases)) == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        renewals[i] = (struct queue_renewal){
            .id = leases[i].id,
            .fence = leases[i].fence,
            .ticks = b->ticks,
            .step = leases[i].step,
            .first_candle = leases[i].n_candles_sent,
        };
    candles = take_candles(b, leases, renewals, n);
    FAILPOINT(BEFORE_RENEW, b->connection->fd);
    status = queue_renew(
        b->connection, &s->queue, s->worker, s->lease_ms, s->max_run_ms, renewals, n, codes, err);
    free(candles);
    if (status == -1)
        return -1;
    FAILPOINT(AFTER_RENEW, b->connection->fd);
    for (size_t i = 0; i < n; i++)
        obey(b, &leases[i], &renewals[i], codes[i]);
    return 0;
}

/* A step was done since the last renewal: worth one to those who watch, though no lease needs it. */
static bool
has_news(const struct beat *b)
{
    return atomic_load(&b->shared->has_news) &&
           (int64_t)atomic_load(handoff_ticks(b->handoff)) != b->ticks;
}

/* ---- presence ---- */

static int64_t
resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long pages = 0;

    if (f == NULL)
        return 0; /* shown to operators only */
    if (fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static int
show_presence(struct beat *b, struct error *err)
{
    const struct worker_settings *s = b->settings;
    struct handoff_load load = handoff_load(b->handoff);
    uint32_t busy = load.urgent_slots + load.other_slots;
    struct queue_presence presence = {
        .worker = s->worker,
        .name = s->short_name,
        .host = s->host,
        .version = KRONOSQ_VERSION,
        .model_version = b->identity->model_version,
        .weights_sha256 = b->identity->weights_sha256,
        .tokenizer_version = b->identity->tokenizer_version,
        .tokenizer_sha256 = b->identity->tokenizer_sha256,
        .kernel = b->kernel,
        .pid = getpid(),
        .slots = s->slots,
        .busy = busy < s->slots ? busy : s->slots,
        .tasks = (int64_t)load.n_jobs,
        .context = s->max_context,
        .vocabulary = b->vocabulary,
        .rss_bytes = resident_bytes(),
        .done = (int64_t)atomic_load(&b->shared->n_done),
        .failed = (int64_t)atomic_load(&b->shared->n_failed),
        .warm_up = {b->shared->warm_up_prefill_seconds, b->shared->warm_up_step_seconds},
    };
    struct queue_control control;

    if (queue_beat(b->connection, &s->queue, &presence, &control, err) == -1)
        return -1;
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++)
        atomic_store(&b->shared->is_paused[p], control.paused[p]);
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++)
        atomic_store(&b->shared->weights[p],
            control.has_weights ? control.weights[p] : lists_default_weights[p]);
    atomic_store(&b->shared->is_told_quiet, control.quiet);
    handoff_wake(b->handoff, HANDOFF_LINK); /* which lists it waits on may have changed */
    return 0;
}

/* ---- sweep ---- */

static int
sweep(struct beat *b, struct error *err)
{
    struct queue_swept swept;

    FAILPOINT(BEFORE_SWEEP, b->connection->fd);
    if (queue_sweep(b->connection, &b->settings->queue, b->run_id, &swept, err) == -1)
        return -1;
    if (swept.leases > 0 || swept.hints > 0)
        log_warning(LOGGER, "recovered lost work", LOG_INT("leases", swept.leases),
            LOG_INT("hints", swept.hints));
    b->sweep_at_ms = clock_monotonic_ms();
    if (!swept.more)
        b->sweep_at_ms += QUEUE_SWEEP_MS * (100 - SWEEP_JITTER) / 100 +
                          rand_r(&b->seed) % (QUEUE_SWEEP_MS * 2 * SWEEP_JITTER / 100);
    return 0;
}

/* A slice of all tasks: is each where its state says? Scripts keep it so; this is for what nobody foresaw. */
static int
audit(struct beat *b, struct error *err)
{
    struct queue_audited audited;

    if (queue_audit(b->connection, &b->settings->queue, b->audit_cursor, &audited, err) == -1)
        return -1;
    if (audited.fixed > 0)
        log_warning(LOGGER, "the audit mended an index", LOG_INT("fixed", audited.fixed));
    memcpy(b->audit_cursor, audited.cursor, sizeof(b->audit_cursor));
    b->audit_at_ms = clock_monotonic_ms() + AUDIT_MS;
    return 0;
}

/* ---- the thread ---- */

static void
end_if_hung(struct beat *b)
{
    struct handoff_lease lease;

    if (!handoff_ignored(b->handoff, STOP_IGNORED_MS, &lease))
        return;
    log_line(LOG_LEVEL_CRITICAL, LOGGER, "the engine ignores a stop flag, ending at once",
        (const struct log_field[]){LOG_TEXT("task_id", lease.id), LOG_INT("fence", lease.fence),
            LOG_INT("step", lease.step), LOG_INT("ticks", atomic_load(handoff_ticks(b->handoff))),
            LOG_INT("tasks", handoff_load(b->handoff).n_jobs), {.name = NULL}});
    _exit(EXIT_HUNG); /* nothing an exit handler does may wait for that thread */
}

static int64_t
renew_interval_ms(const struct beat *b)
{
    return b->settings->renew_ms < RENEW_MOST_MS ? b->settings->renew_ms : RENEW_MOST_MS;
}

/* Everything that is due; a failure closes the connection and the rest waits for the next. */
static void
work(struct beat *b)
{
    int64_t now_ms = clock_monotonic_ms();
    struct error err;

    if (b->connection == NULL && now_ms >= b->retry_at_ms && connect_redis(b, &err) == -1)
        lose(b, "connect", &err);
    if (b->connection != NULL &&
        (now_ms >= b->renew_at_ms || (now_ms >= b->news_at_ms && has_news(b)))) {
        if (renew(b, &err) == -1) {
            lose(b, "renew", &err);
        } else {
            b->renew_at_ms = now_ms + renew_interval_ms(b);
            b->news_at_ms = now_ms + NEWS_MS;
        }
    }
    if (b->connection != NULL && now_ms >= b->show_at_ms) {
        if (show_presence(b, &err) == -1) {
            lose(b, "beat", &err);
        } else {
            b->show_at_ms = now_ms + b->settings->renew_ms;
            redis_backoff_reset(&b->backoff);
        }
    }
    if (b->connection != NULL && now_ms >= b->audit_at_ms && audit(b, &err) == -1)
        lose(b, "audit", &err);
    if (b->connection != NULL && now_ms >= b->sweep_at_ms && sweep(b, &err) == -1)
        lose(b, "sweep", &err);
    if (b->connection != NULL && now_ms >= b->flush_at_ms) {
        if (queue_metrics_flush(b->connection, b->settings->worker, false, &err) == -1)
            lose(b, "metrics", &err);
        else
            b->flush_at_ms = now_ms + QUEUE_METRICS_FLUSH_MS;
    }
    end_if_hung(b);
}

static int64_t
next_at_ms(const struct beat *b)
{
    int64_t at_ms = b->renew_at_ms < b->sweep_at_ms ? b->renew_at_ms : b->sweep_at_ms;

    if (b->connection == NULL)
        return b->retry_at_ms;
    if (b->flush_at_ms < at_ms)
        at_ms = b->flush_at_ms;
    if (has_news(b) && b->news_at_ms < at_ms)
        at_ms = b->news_at_ms;
    return at_ms < b->show_at_ms ? at_ms : b->show_at_ms;
}

static void *
beat_main(void *cookie)
{
    struct beat *b = cookie;
    struct error err;

    while (!atomic_load(&b->shared->is_ending)) {
        work(b);
        atomic_fetch_add(&b->shared->beat_turns, 1);
        handoff_wait(b->handoff, HANDOFF_BEAT, next_at_ms(b) - clock_monotonic_ms());
    }
    if (b->connection != NULL &&
        (queue_metrics_flush(b->connection, b->settings->worker, true, &err) == -1 ||
            queue_leave(b->connection, &b->settings->queue, b->settings->worker, &err) == -1))
        lose(b, "leave", &err);
    return NULL;
}

struct beat *
beat_start(const struct worker_settings *settings, struct handoff *handoff,
    const struct model_identity *identity, const char *kernel, uint32_t vocabulary,
    struct error *err)
{
    struct beat *b = calloc(1, sizeof(*b));
    int error;

    if (b == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    b->settings = settings;
    b->handoff = handoff;
    b->shared = handoff_shared(handoff);
    b->identity = identity;
    b->kernel = kernel;
    b->vocabulary = vocabulary;
    memcpy(b->audit_cursor, "0", 2);
    b->seed = (unsigned)getpid() ^ (unsigned)clock_monotonic_ms();
    if (connect_redis(b, err) == -1 || show_presence(b, err) == -1)
        goto free_beat;
    b->show_at_ms = clock_monotonic_ms() + settings->renew_ms;
    b->renew_at_ms = clock_monotonic_ms() + renew_interval_ms(b);
    if ((error = pthread_create(&b->thread, NULL, beat_main, b)) != 0) {
        error_set(err, ERR_SYSTEM, "start the beat thread: %s", strerror(error));
        goto free_beat;
    }
    return b;

free_beat:
    if (b->connection != NULL)
        redisFree(b->connection);
    free(b);
    return NULL;
}

void
beat_join(struct beat *b)
{
    if (b == NULL)
        return;
    handoff_wake(b->handoff, HANDOFF_BEAT);
    pthread_join(b->thread, NULL);
    if (b->connection != NULL)
        redisFree(b->connection);
    free(b);
}
