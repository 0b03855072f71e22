/*
 * link.c - Waits for hints, claims tasks, delivers what became of them.
 *
 * Two connections: `wait` sits in BLPOP, `work` runs scripts, so a finished forecast
 * is delivered at once and never behind a blocked BLPOP. One task is claimed at a time:
 * how many slots it needs is known only when its input has been decoded, and a task
 * claimed too early would only wait here instead of in a queue where an idle worker
 * sees it. Under a backlog the script pops the hint itself: a claim and a delivery are then
 * all a task costs. Does no maths and keeps no lease alive; beat.c does that.
 *
 * Redis away: what is held stays held, delivery is repeated until answered, and the
 * script decides whether it still counts.
 */
#include "worker/link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/queue/queue.h"
#include "worker/deliver.h"
#include "worker/hint.h"
#include "worker/lists.h"

#define LOGGER           "worker.link"
#define WAIT_EMPTY_MS    2000 /* BLPOP's time-out of an empty worker */
#define WAIT_BUSY_MS     100  /* of one with work: whoever is idle has waited longer and wins */
#define WAIT_SILENT_MS   6000 /* no answer for so long: the connection is dead */
#define WAIT_SILENT_MAX  2    /* so often in a row on fresh connections: give up */
#define IDLE_POLL_MS     1000
#define RELEASE_GRACE_MS 5000 /* for the engine to notice that it must give jobs back */
#define EXIT_GAVE_UP     75   /* EX_TEMPFAIL: a restart may help */

struct link {
    const struct worker_settings *settings;
    struct handoff *handoff;
    struct handoff_shared *shared;
    struct hint_wait wait;
    redisContext *work;
    struct redis_backoff wait_backoff, work_backoff;
    int64_t wait_retry_at_ms, work_retry_at_ms;
    int silent_waits;      /* in a row */
    bool is_claim_unknown; /* a claim or release reply was lost: ask which leases are ours */
    bool has_taken;        /* a task was claimed, for --once */
    bool wants_suspect;    /* empty ourselves, then pop suspect_priority first */
    unsigned backlog;      /* lists (1u << priority) that held more hints at the last claim */
    enum task_priority suspect_priority;
    struct lists_turns turns;
    enum task_priority order[TASK_PRIORITY_COUNT]; /* of this turn */
    struct deliveries deliveries;
    int64_t drain_until_ms;   /* 0: not stopping */
    int64_t release_until_ms; /* 0: the drain time is not over */
    pthread_t thread;
};

/* ---- connections ---- */

/* Said loudly once; the attempts that follow are for the curious. */
static int64_t
retry_at_ms(struct redis_backoff *backoff, const char *what, const struct error *err)
{
    int delay_ms = redis_backoff_next_ms(backoff);

    log_with(backoff->attempts > 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, LOGGER, "redis lost",
        LOG_TEXT("operation", what), LOG_TEXT("error_message", err->text),
        LOG_INT("retry_ms", delay_ms));
    return clock_monotonic_ms() + delay_ms;
}

/* A connection is well again when it has done real work, not when it opens. */
static void
trust(struct redis_backoff *backoff, const char *what)
{
    if (backoff->attempts > 0)
        log_info(LOGGER, "redis is back", LOG_TEXT("operation", what));
    redis_backoff_reset(backoff);
}

static void
lose_work(struct link *l, const char *what, const struct error *err)
{
    if (l->work != NULL)
        redisFree(l->work);
    l->work = NULL;
    l->work_retry_at_ms = retry_at_ms(&l->work_backoff, what, err);
}

static void
lose_wait(struct link *l, const struct error *err)
{
    hint_close(&l->wait);
    l->wait_retry_at_ms = retry_at_ms(&l->wait_backoff, "wait", err);
}

/* Leases Redis gave to us in replies that never came: somebody else's task. */
static int
release_unknown(struct link *l, struct error *err)
{
    struct queue_held held[HANDOFF_JOBS_MAX];
    const struct worker_settings *s = l->settings;
    size_t n;

    if (queue_held(l->work, &s->queue, s->worker, held, HANDOFF_JOBS_MAX, &n, err) == -1)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct queue_token token = {held[i].id, held[i].fence, s->worker};
        enum queue_end end;

        if (handoff_holds(l->handoff, held[i].id, held[i].fence))
            continue;
        FAILPOINT(BEFORE_RELEASE, l->work->fd);
        if (queue_release(l->work, &s->queue, &token, &end, err) == -1)
            return -1;
        log_warning(LOGGER, "released a lease this worker does not hold",
            LOG_TEXT("task_id", held[i].id), LOG_TEXT("status", queue_end_name(end)));
    }
    l->is_claim_unknown = false;
    return 0;
}

static void
open_work(struct link *l)
{
    struct error err;

    if (clock_monotonic_ms() < l->work_retry_at_ms)
        return;
    if ((l->work = redis_open(&l->settings->redis, "kronosq-worker:work", &err)) == NULL ||
        queue_load_scripts(l->work, &err) == -1 ||
        (l->is_claim_unknown && release_unknown(l, &err) == -1)) {
        lose_work(l, "connect", &err);
        return;
    }
}

static void
open_wait(struct link *l)
{
    struct error err;

    if (clock_monotonic_ms() < l->wait_retry_at_ms)
        return;
    if (hint_open(&l->wait, &l->settings->redis, &err) == -1)
        lose_wait(l, &err);
}

static void
deliver(struct link *l)
{
    struct error err;
    bool had_some;

    deliveries_collect(&l->deliveries, l->handoff);
    had_some = l->deliveries.first != NULL;
    if (deliveries_send(&l->deliveries, l->settings, l->handoff, l->work, &err) == -1)
        lose_work(l, "deliver", &err);
    else if (had_some && l->work != NULL)
        trust(&l->work_backoff, "work");
}

static void
stop_worker(struct link *l, int exit_status)
{
    if (exit_status != 0)
        atomic_store(&l->shared->exit_status, exit_status);
    atomic_store(&l->shared->is_stopping, true);
}

/* ---- claiming ---- */

/* A leased task becomes a job; an input that does not decode becomes one that has failed already. */
static int
take_lease(struct link *l, struct queue_lease *lease, struct error *err)
{
    const struct worker_settings *s = l->settings;
    struct job *job = job_new();
    struct error why;
    int status;

    if (job == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    memcpy(job->id, lease->id, sizeof(job->id));
    job->fence = lease->fence;
    job->attempt = lease->attempt;
    job->crashes = lease->crashes;
    job->priority = lease->priority;
    job->wait_ms = lease->wait_ms;
    job->eta_ms = lease->eta_ms;
    memcpy(job->batch_id, lease->group, sizeof(job->batch_id));
    memcpy(job->owner, lease->owner, sizeof(job->owner));
    memcpy(job->trace_id, lease->trace_id, sizeof(job->trace_id));
    job->claimed_at_ms = clock_monotonic_ms();
    job->slots = 1;
    job->task = task_decode(lease->input, lease->input_size, &why);
    if (job->task != NULL) {
        uint32_t room = worker_settings_room(s, job->priority);

        job->slots = job->task->params.sample_count;
        if (job->slots > room) /* the pool runs the rest in rounds */
            job->slots = room;
        status = handoff_give(l->handoff, job, err);
    } else {
        job_fail(job, why.code == ERR_MEMORY ? "inference_failed" : "input_corrupt",
            why.code == ERR_MEMORY, &why);
        status = handoff_refuse(l->handoff, job, err);
    }
    if (status == -1)
        job_free(job);
    else
        l->has_taken = true;
    return status;
}

/* One task: the hint's, or, without a ${hint}, the first waiting one of ${lists} in ${order}. */
static void
claim(struct link *l, const struct hint *hint, unsigned lists, const enum task_priority *order)
{
    const struct worker_settings *s = l->settings;
    struct handoff_load load = handoff_load(l->handoff);
    struct queue_claim_request request = {
        .worker = s->worker,
        .lease_ms = s->lease_ms,
        .busy = (int)load.n_jobs,
        .room = 1, /* this one and no more: see the top of the file */
        .room_other = hint == NULL,
        .takes = lists,
        .order = order,
    };
    struct queue_claims claims;
    struct error err;

    if (hint != NULL) {
        request.priority = hint->priority;
        request.hint = hint->id;
        request.hint_len = hint->len;
    }
    l->backlog = 0;
    FAILPOINT(AFTER_BLPOP, l->work->fd);
    if (queue_claim(l->work, &s->queue, &request, &claims, &err) == -1) {
        l->is_claim_unknown = true;
        lose_work(l, "claim", &err);
        return;
    }
    if (claims.n > 0)
        FAILPOINT(AFTER_CLAIM, l->work->fd);
    trust(&l->work_backoff, "work");
    l->wants_suspect = claims.wait_for_suspect;
    l->suspect_priority = claims.wait_for;
    l->backlog = claims.more;
    for (size_t i = 0; i < claims.n; i++) {
        struct queue_lease *lease = &claims.leases[i];

        /* The script was told --queues; what comes out of Redis is checked all the same. */
        if (!s->takes[lease->priority]) {
            l->is_claim_unknown = true;
        } else if (take_lease(l, lease, &err) == -1) {
            log_error(LOGGER, "a claimed task is given back", LOG_TEXT("task_id", lease->id),
                LOG_TEXT("error_message", err.text));
            l->is_claim_unknown = true;
        }
    }
    queue_claims_clear(&claims);
    if (l->is_claim_unknown && release_unknown(l, &err) == -1)
        lose_work(l, "release", &err);
}

/* The lists of --queues. */
static unsigned
takes_mask(const struct worker_settings *s)
{
    unsigned lists = 0;

    for (int p = 0; p < TASK_PRIORITY_COUNT; p++)
        lists |= s->takes[p] ? 1u << p : 0;
    return lists;
}

static bool
takes_work(const struct link *l)
{
    return l->drain_until_ms == 0 && l->work != NULL && !atomic_load(&l->shared->is_quiet) &&
           !atomic_load(&l->shared->is_told_quiet) && !(l->settings->once && l->has_taken);
}

static void
next_turn(struct link *l)
{
    unsigned weights[TASK_PRIORITY_COUNT];

    for (int p = 0; p < TASK_PRIORITY_COUNT; p++)
        weights[p] = atomic_load(&l->shared->weights[p]);
    lists_order(&l->turns, weights, l->order);
}

/* The lists to wait on now, in order; none while there is no slot to put a task in. */
static int
choose_lists(struct link *l, enum task_priority order[TASK_PRIORITY_COUNT])
{
    struct handoff_load load = handoff_load(l->handoff);
    unsigned wanted;
    int n = 0;

    if (!takes_work(l) || (l->wants_suspect && load.n_jobs > 0))
        return 0;
    wanted = lists_wanted(l->settings, &load);
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++) {
        if (atomic_load(&l->shared->is_paused[p]))
            wanted &= ~(1u << p);
    }
    if (l->wants_suspect && (wanted & 1u << l->suspect_priority)) {
        order[n++] = l->suspect_priority;
        wanted &= ~(1u << l->suspect_priority);
    }
    for (int i = 0; i < TASK_PRIORITY_COUNT; i++) {
        if (wanted & 1u << l->order[i])
            order[n++] = l->order[i];
    }
    return n;
}

/*
 * While hints are left, free slots are filled without BLPOP: nobody idle waits for what is
 * still in a list. Not from lists a BLPOP is out for: it has a slot kept for its reply. A
 * suspect's hint at the head ends it, like a list that has run empty.
 */
static void
claim_backlog(struct link *l)
{
    enum task_priority order[TASK_PRIORITY_COUNT];
    unsigned lists;
    int n;

    while (l->backlog != 0 && !l->wants_suspect && (n = choose_lists(l, order)) > 0) {
        lists = 0;
        for (int i = 0; i < n; i++)
            lists |= 1u << order[i];
        if (l->wait.is_waiting)
            lists &= ~l->wait.priorities;
        if ((lists & l->backlog) == 0)
            return;
        claim(l, NULL, lists, l->order);
        next_turn(l);
    }
}

static void
start_wait(struct link *l, const enum task_priority *order, int n)
{
    struct handoff_load load = handoff_load(l->handoff);
    struct error err;

    next_turn(l);
    if (hint_send(&l->wait, &l->settings->queue, order, n,
            load.n_jobs > 0 ? WAIT_BUSY_MS : WAIT_EMPTY_MS, &err) == -1)
        lose_wait(l, &err);
}

/* Keep one BLPOP in flight, on the lists that have room; cut it when those have changed. */
static void
keep_waiting(struct link *l)
{
    enum task_priority order[TASK_PRIORITY_COUNT];
    unsigned lists = 0;
    struct error err;
    int n = choose_lists(l, order);

    for (int i = 0; i < n; i++)
        lists |= 1u << order[i];
    if (l->wait.is_waiting) {
        if (l->wait.priorities != lists && !l->wait.is_cut && l->work != NULL &&
            hint_cut(&l->wait, l->work, &err) == -1)
            lose_work(l, "unblock", &err);
        return;
    }
    if (n == 0)
        return;
    if (l->wait.connection == NULL)
        open_wait(l);
    if (l->wait.connection != NULL)
        start_wait(l, order, n);
}

static void
on_wait_readable(struct link *l)
{
    struct hint hint;
    struct error err;
    int got = hint_read(&l->wait, &l->settings->queue, &hint, &err);

    if (got == -1) {
        lose_wait(l, &err);
        return;
    }
    if (got == 0)
        return;
    l->silent_waits = 0;
    trust(&l->wait_backoff, "wait");
    if (hint.id != NULL && l->work != NULL) { /* else: lost hints are repaired by the sweep */
        if (takes_work(l))
            claim(l, &hint, takes_mask(l->settings), NULL);
        else if (hint_return(&l->settings->queue, &hint, l->work, &err) == -1)
            lose_work(l, "return", &err);
    }
    freeReplyObject(hint.reply);
}

/* A half-open connection, or a Redis that never serves us: a new one, then a new process. */
static void
on_wait_silent(struct link *l)
{
    struct error err;

    error_set(&err, ERR_UNAVAILABLE, "BLPOP did not return within %d ms", WAIT_SILENT_MS);
    lose_wait(l, &err);
    if (++l->silent_waits < WAIT_SILENT_MAX)
        return;
    log_error(LOGGER, "redis never answers BLPOP, giving up");
    stop_worker(l, EXIT_GAVE_UP);
}

/* ---- the end ---- */

/* Leases of jobs the engine has not given back in time. */
static void
release_rest(struct link *l)
{
    struct handoff_lease leases[HANDOFF_JOBS_MAX];
    size_t n = handoff_leases(l->handoff, leases);
    struct error err;

    for (size_t i = 0; i < n && l->work != NULL; i++) {
        struct queue_token token = {leases[i].id, leases[i].fence, l->settings->worker};
        enum queue_end end;

        if (queue_release(l->work, &l->settings->queue, &token, &end, &err) == -1)
            lose_work(l, "release", &err);
    }
    if (n > 0)
        log_warning(LOGGER, "left with tasks in work", LOG_INT("tasks", n));
}

/* Moves the shutdown on: drain, then release, then leave. True when the thread may return. */
static bool
may_end(struct link *l)
{
    int64_t now_ms = clock_monotonic_ms();
    struct handoff_load load = handoff_load(l->handoff);

    if (!atomic_load(&l->shared->is_stopping))
        return false;
    if (l->drain_until_ms == 0) {
        l->drain_until_ms = now_ms + l->settings->drain_ms;
        log_info(LOGGER, "stopping", LOG_INT("tasks", load.n_jobs),
            LOG_INT("drain_ms", l->settings->drain_ms));
    }
    if (load.n_jobs == 0)
        /* A wait that could not be cut ends by its own time-out. */
        return !l->wait.is_waiting || l->work == NULL;
    if (l->release_until_ms == 0 &&
        (now_ms >= l->drain_until_ms || atomic_load(&l->shared->is_drain_over))) {
        l->release_until_ms = now_ms + RELEASE_GRACE_MS;
        handoff_stop_all(l->handoff, JOB_STOP_RELEASE);
    }
    if (l->release_until_ms != 0 && now_ms >= l->release_until_ms) {
        release_rest(l);
        return true;
    }
    return false;
}

static int
poll_timeout(const struct link *l)
{
    int64_t until_ms = clock_monotonic_ms() + IDLE_POLL_MS;
    int64_t left_ms;

    if (l->work == NULL && l->work_retry_at_ms < until_ms)
        until_ms = l->work_retry_at_ms;
    if (l->wait.connection == NULL && l->work != NULL && l->wait_retry_at_ms < until_ms &&
        l->wait_backoff.attempts > 0)
        until_ms = l->wait_retry_at_ms;
    if (l->release_until_ms != 0 && l->release_until_ms < until_ms)
        until_ms = l->release_until_ms;
    else if (l->drain_until_ms != 0 && l->drain_until_ms < until_ms)
        until_ms = l->drain_until_ms;
    left_ms = until_ms - clock_monotonic_ms();
    return left_ms > 0 ? (int)left_ms : 0;
}

static void *
link_main(void *cookie)
{
    struct link *l = cookie;

    for (;;) {
        struct pollfd fds[2];

        atomic_fetch_add(&l->shared->link_turns, 1);
        if (l->work == NULL)
            open_work(l);
        deliver(l);
        if (may_end(l))
            break;
        claim_backlog(l);
        keep_waiting(l);

        fds[0] = (struct pollfd){.fd = handoff_fd(l->handoff, HANDOFF_LINK), .events = POLLIN};
        fds[1] = (struct pollfd){.fd = hint_fd(&l->wait), .events = POLLIN};
        if (poll(fds, 2, poll_timeout(l)) == -1 && errno != EINTR) {
            log_error(LOGGER, "poll failed", LOG_TEXT("error_message", strerror(errno)));
            stop_worker(l, EXIT_GAVE_UP);
        }
        if (fds[0].revents != 0)
            handoff_clear(l->handoff, HANDOFF_LINK);
        if (l->wait.is_waiting && fds[1].revents != 0)
            on_wait_readable(l);
        else if (l->wait.is_waiting && clock_monotonic_ms() - l->wait.since_ms > WAIT_SILENT_MS)
            on_wait_silent(l);
    }
    hint_close(&l->wait);
    if (l->work != NULL)
        redisFree(l->work);
    l->work = NULL;
    atomic_store(&l->shared->is_link_done, true);
    handoff_wake(l->handoff, HANDOFF_MAIN);
    return NULL;
}

struct link *
link_start(const struct worker_settings *settings, struct handoff *handoff, struct error *err)
{
    struct link *l = calloc(1, sizeof(*l));
    int error;

    if (l == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    l->settings = settings;
    l->handoff = handoff;
    l->shared = handoff_shared(handoff);
    next_turn(l);
    if ((error = pthread_create(&l->thread, NULL, link_main, l)) != 0) {
        error_set(err, ERR_SYSTEM, "start the link thread: %s", strerror(error));
        free(l);
        return NULL;
    }
    return l;
}

void
link_join(struct link *l)
{
    if (l == NULL)
        return;
    pthread_join(l->thread, NULL);
    deliveries_clear(&l->deliveries);
    free(l);
}
