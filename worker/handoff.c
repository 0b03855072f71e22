/*
 * handoff.c - Jobs between link, engine and beat: one mutex, one table, two lists.
 *
 * The table owns every job from give to forget. Inbox and finished are views of it:
 * a job is in one of them, with the engine, or with the link. Only the link frees a
 * job, so a pointer the engine holds stays good until it has finished the job, and
 * the beat, which may look at any time, gets copies.
 */
#include "worker/handoff.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"

struct job_list {
    struct job *first, **end;
};

struct handoff {
    pthread_mutex_t lock;
    struct job *table[HANDOFF_JOBS_MAX]; /* [n_jobs], in order of arrival */
    size_t n_jobs;
    struct job_list inbox, finished;
    int fds[HANDOFF_THREADS];
    atomic_uint_least64_t ticks;
    struct handoff_shared shared;
};

struct job *
job_new(void)
{
    return calloc(1, sizeof(struct job));
}

void
job_free(struct job *job)
{
    if (job == NULL)
        return;
    task_free(job->task);
    free(job->candles);
    free(job->output.data);
    free(job);
}

void
job_fail(struct job *job, const char *code, bool is_retryable, const struct error *err)
{
    job->outcome = JOB_FAILED;
    job->error_code = code;
    job->is_retryable = is_retryable;
    memcpy(job->error_text, err->text, sizeof(job->error_text));
}

enum job_stop
job_stop_reason(const struct job *job)
{
    return (enum job_stop)atomic_load(&job->stop_reason);
}

const char *
job_stop_name(enum job_stop reason)
{
    switch (reason) {
    case JOB_GO_ON:
        return "none";
    case JOB_STOP_RELEASE:
        return "release";
    case JOB_STOP_CANCELLED:
        return "cancelled";
    case JOB_STOP_DEADLINE:
        return "deadline";
    case JOB_STOP_RUN_LIMIT:
        return "run_limit";
    case JOB_STOP_FENCED:
        return "fenced";
    }
    return "unknown";
}

static void
list_init(struct job_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void
list_append(struct job_list *list, struct job *job)
{
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
}

/* Takes out what ${link}, a pointer inside ${list}, points to. */
static struct job *
list_remove(struct job_list *list, struct job **link)
{
    struct job *job = *link;

    *link = job->next;
    if (list->end == &job->next)
        list->end = link;
    job->next = NULL;
    return job;
}

struct handoff *
handoff_new(struct error *err)
{
    struct handoff *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    list_init(&h->inbox);
    list_init(&h->finished);
    for (int i = 0; i < HANDOFF_THREADS; i++) {
        if ((h->fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) == -1) {
            error_errno(err, "eventfd");
            while (i-- > 0)
                close(h->fds[i]);
            free(h);
            return NULL;
        }
    }
    pthread_mutex_init(&h->lock, NULL); /* a default mutex cannot fail on Linux */
    return h;
}

void
handoff_free(struct handoff *h)
{
    if (h == NULL)
        return;
    for (size_t i = 0; i < h->n_jobs; i++)
        job_free(h->table[i]);
    for (int i = 0; i < HANDOFF_THREADS; i++)
        close(h->fds[i]);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

void
handoff_wake(struct handoff *h, enum handoff_thread thread)
{
    uint64_t one = 1;

    /* It can only fail when the counter is full, and then the fd is readable anyway. */
    if (write(h->fds[thread], &one, sizeof(one)) == -1)
        return;
}

int
handoff_fd(const struct handoff *h, enum handoff_thread thread)
{
    return h->fds[thread];
}

void
handoff_clear(struct handoff *h, enum handoff_thread thread)
{
    uint64_t count;

    /* EAGAIN: nobody had called. */
    if (read(h->fds[thread], &count, sizeof(count)) == -1)
        return;
}

void
handoff_wait(struct handoff *h, enum handoff_thread thread, int64_t timeout_ms)
{
    struct pollfd fd = {.fd = h->fds[thread], .events = POLLIN};

    if (timeout_ms > INT32_MAX)
        timeout_ms = INT32_MAX;
    if (poll(&fd, 1, timeout_ms < 0 ? 0 : (int)timeout_ms) > 0)
        handoff_clear(h, thread);
}

static int
add(struct handoff *h, struct job *job, struct job_list *list, bool is_with_engine,
    struct error *err)
{
    int status = 0;

    pthread_mutex_lock(&h->lock);
    if (h->n_jobs == HANDOFF_JOBS_MAX) {
        status = error_set(err, ERR_INVALID, "%d jobs are held already", HANDOFF_JOBS_MAX);
    } else {
        h->table[h->n_jobs++] = job;
        job->is_with_engine = is_with_engine;
        list_append(list, job);
    }
    pthread_mutex_unlock(&h->lock);
    return status;
}

int
handoff_give(struct handoff *h, struct job *job, struct error *err)
{
    if (add(h, job, &h->inbox, true, err) == -1)
        return -1;
    handoff_wake(h, HANDOFF_ENGINE);
    return 0;
}

int
handoff_refuse(struct handoff *h, struct job *job, struct error *err)
{
    if (add(h, job, &h->finished, false, err) == -1)
        return -1;
    handoff_wake(h, HANDOFF_LINK);
    return 0;
}

struct job *
handoff_take(struct handoff *h)
{
    struct job **link, *job = NULL;

    pthread_mutex_lock(&h->lock);
    for (link = &h->inbox.first; *link != NULL && (*link)->priority != TASK_URGENT;)
        link = &(*link)->next;
    if (*link == NULL)
        link = &h->inbox.first;
    if (*link != NULL)
        job = list_remove(&h->inbox, link);
    pthread_mutex_unlock(&h->lock);
    return job;
}

void
handoff_finish(struct handoff *h, struct job *job)
{
    pthread_mutex_lock(&h->lock);
    job->is_with_engine = false;
    list_append(&h->finished, job);
    pthread_mutex_unlock(&h->lock);
    handoff_wake(h, HANDOFF_LINK);
}

struct job *
handoff_next_finished(struct handoff *h)
{
    struct job *job = NULL;

    pthread_mutex_lock(&h->lock);
    if (h->finished.first != NULL)
        job = list_remove(&h->finished, &h->finished.first);
    pthread_mutex_unlock(&h->lock);
    return job;
}

void
handoff_forget(struct handoff *h, struct job *job)
{
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->n_jobs; i++) {
        if (h->table[i] != job)
            continue;
        h->n_jobs--;
        memmove(&h->table[i], &h->table[i + 1], (h->n_jobs - i) * sizeof(h->table[0]));
        break;
    }
    pthread_mutex_unlock(&h->lock);
    job_free(job);
}

void
handoff_show(struct handoff *h, struct job *job, const float *rows, size_t n)
{
    size_t room = job->task->n_horizon * TASK_FIELDS;

    pthread_mutex_lock(&h->lock);
    if (job->candles == NULL)
        job->candles = calloc(room, sizeof(*job->candles)); /* without memory nothing is shown */
    if (job->candles != NULL && n <= job->task->n_horizon && n > job->n_candles) {
        size_t first = job->n_candles * TASK_FIELDS;

        memcpy(job->candles + first, rows + first, (n * TASK_FIELDS - first) * sizeof(*rows));
        job->n_candles = (uint32_t)n;
    }
    pthread_mutex_unlock(&h->lock);
}

void
handoff_tell(struct handoff *h)
{
    if (!atomic_exchange(&h->shared.has_news, true))
        handoff_wake(h, HANDOFF_BEAT);
}

struct handoff_load
handoff_load(struct handoff *h)
{
    struct handoff_load load = {0};

    pthread_mutex_lock(&h->lock);
    load.n_jobs = h->n_jobs;
    for (size_t i = 0; i < h->n_jobs; i++) {
        const struct job *job = h->table[i];

        if (job->priority == TASK_URGENT) {
            load.urgent_slots += job->slots;
        } else {
            load.other_slots += job->slots;
        }
        if (job->crashes > load.crashes)
            load.crashes = job->crashes;
    }
    pthread_mutex_unlock(&h->lock);
    return load;
}

static void
copy_lease(const struct job *job, struct handoff_lease *lease)
{
    memcpy(lease->id, job->id, sizeof(lease->id));
    lease->fence = job->fence;
    lease->step = atomic_load(&job->step);
    lease->n_candles = job->n_candles;
    lease->n_candles_sent = job->n_candles_sent;
    lease->is_with_engine = job->is_with_engine;
}

size_t
handoff_leases(struct handoff *h, struct handoff_lease *leases)
{
    size_t n;

    pthread_mutex_lock(&h->lock);
    n = h->n_jobs;
    for (size_t i = 0; i < n; i++)
        copy_lease(h->table[i], &leases[i]);
    pthread_mutex_unlock(&h->lock);
    return n;
}

static struct job *
find(struct handoff *h, const char *id, uint64_t fence)
{
    for (size_t i = 0; i < h->n_jobs; i++) {
        if (h->table[i]->fence == fence && strcmp(h->table[i]->id, id) == 0)
            return h->table[i];
    }
    return NULL;
}

bool
handoff_candles(struct handoff *h, const struct handoff_lease *lease, float *out)
{
    struct job *job;

    pthread_mutex_lock(&h->lock);
    if ((job = find(h, lease->id, lease->fence)) != NULL)
        memcpy(out, job->candles + lease->n_candles_sent * TASK_FIELDS,
            (lease->n_candles - lease->n_candles_sent) * TASK_FIELDS * sizeof(*out));
    pthread_mutex_unlock(&h->lock);
    return job != NULL;
}

void
handoff_candles_sent(struct handoff *h, const struct handoff_lease *lease, uint32_t n)
{
    struct job *job;

    pthread_mutex_lock(&h->lock);
    if ((job = find(h, lease->id, lease->fence)) != NULL)
        job->n_candles_sent = n;
    pthread_mutex_unlock(&h->lock);
}

bool
handoff_holds(struct handoff *h, const char *id, uint64_t fence)
{
    bool is_there;

    pthread_mutex_lock(&h->lock);
    is_there = find(h, id, fence) != NULL;
    pthread_mutex_unlock(&h->lock);
    return is_there;
}

static void
raise_stop(struct job *job, enum job_stop reason)
{
    enum job_stop old = job_stop_reason(job);

    if (old == JOB_GO_ON || reason == JOB_STOP_FENCED)
        atomic_store(&job->stop_reason, (int)reason);
    if (job->stopped_at_ms == 0)
        job->stopped_at_ms = clock_monotonic_ms();
    atomic_store(&job->stop, true);
}

void
handoff_stop(struct handoff *h, const char *id, uint64_t fence, enum job_stop reason)
{
    struct job *job;

    pthread_mutex_lock(&h->lock);
    if ((job = find(h, id, fence)) != NULL)
        raise_stop(job, reason);
    pthread_mutex_unlock(&h->lock);
    handoff_wake(h, HANDOFF_ENGINE);
    handoff_wake(h, HANDOFF_LINK); /* it may hold a finished one it cannot deliver */
}

void
handoff_stop_all(struct handoff *h, enum job_stop reason)
{
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->n_jobs; i++)
        raise_stop(h->table[i], reason);
    pthread_mutex_unlock(&h->lock);
    handoff_wake(h, HANDOFF_ENGINE);
}

bool
handoff_ignored(struct handoff *h, int64_t limit_ms, struct handoff_lease *lease)
{
    int64_t now_ms = clock_monotonic_ms();
    bool is_ignored = false;

    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->n_jobs && !is_ignored; i++) {
        const struct job *job = h->table[i];

        if (job->is_with_engine && job->stopped_at_ms != 0 &&
            now_ms - job->stopped_at_ms > limit_ms) {
            copy_lease(job, lease);
            is_ignored = true;
        }
    }
    pthread_mutex_unlock(&h->lock);
    return is_ignored;
}

atomic_uint_least64_t *
handoff_ticks(struct handoff *h)
{
    return &h->ticks;
}

struct handoff_shared *
handoff_shared(struct handoff *h)
{
    return &h->shared;
}
