/*
 * crew.c - Parts are taken from a ticket, one after the other, by whoever is free.
 *
 * A forward pass gives out work every few tens of microseconds, so a thread without work spins
 * for a moment before it sleeps; when the pass is over it sleeps until the next one and costs
 * nothing. Waking takes longer than many a piece of work: nobody waits for a thread to wake,
 * only for parts that somebody has taken.
 *
 * The ticket holds the number of the work in its upper half and the next part in the lower. It is
 * taken by compare and swap, so a thread that was looking at old work cannot take a part of new
 * work by mistake. Between two works the lower half is CLOSED: only then is the work written.
 */
#include "worker/kronos/crew.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLOSED      UINT32_MAX /* more parts than there can be */
#define SPIN_NS     50000      /* longer than the gaps within a pass, shorter than a pass */
#define SPIN_PAUSES 64         /* between two looks at the clock: about 2 us */
#define WAIT_PAUSES 4096       /* for a part of another thread, before letting others run */
#define LINE        64 /* bytes of a cache line: what different threads write is kept apart */

struct crew {
    _Alignas(LINE) atomic_uint_least64_t ticket; /* written by all */
    _Alignas(LINE) atomic_size_t n_done;         /* parts of this work; written by all */
    _Alignas(LINE) atomic_size_t n_asleep;       /* and not yet called; written by all */
    /* Written by the caller while the ticket is closed. */
    _Alignas(LINE) _Atomic(crew_work_fn) work;
    _Atomic(void *) cookie;
    atomic_size_t n_parts;
    atomic_bool is_ending;

    pthread_mutex_t lock; /* for sleeping only */
    pthread_cond_t call;
    size_t n_helpers;
    struct helper {
        struct crew *crew;
        size_t thread; /* 1.. */
        pthread_t id;
    } helpers[CREW_THREADS_MAX - 1];
};

static inline void
pause_a_moment(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#define NEXT_WORK ((uint64_t)1 << 32) /* in a ticket */

/*
 * Take and do parts until none is left. Returns a ticket of the last work seen: one that is just
 * being written does not count as seen.
 */
static uint64_t
take_parts(struct crew *c, size_t thread)
{
    uint64_t ticket = atomic_load(&c->ticket);

    for (;;) {
        crew_work_fn work = atomic_load_explicit(&c->work, memory_order_relaxed);
        void *cookie = atomic_load_explicit(&c->cookie, memory_order_relaxed);
        size_t n_parts = atomic_load_explicit(&c->n_parts, memory_order_relaxed);
        uint32_t part = (uint32_t)ticket;

        if (part == CLOSED)
            return ticket - NEXT_WORK;
        if (part >= n_parts)
            return ticket;
        /* What was read above is this work's if the ticket is still the same now. */
        atomic_thread_fence(memory_order_acquire);
        if (!atomic_compare_exchange_weak(&c->ticket, &ticket, ticket + 1))
            continue;
        work(cookie, part, thread);
        atomic_fetch_add_explicit(&c->n_done, 1, memory_order_release);
        ticket = atomic_load(&c->ticket);
    }
}

/* Is there another work than that of ${seen}? A closed ticket is one that is just being written. */
static bool
has_news(struct crew *c, uint64_t seen)
{
    uint64_t ticket = atomic_load(&c->ticket);

    return (ticket >> 32 != seen >> 32 && (uint32_t)ticket != CLOSED) || atomic_load(&c->is_ending);
}

static void
await_news(struct crew *c, uint64_t seen)
{
    int64_t until_ns = now_ns() + SPIN_NS;

    do {
        for (int i = 0; i < SPIN_PAUSES; i++) {
            if (has_news(c, seen))
                return;
            pause_a_moment();
        }
    } while (now_ns() < until_ns);

    pthread_mutex_lock(&c->lock);
    for (;;) {
        /* First say that we sleep, then look: the caller first writes the ticket, then asks who sleeps. */
        atomic_fetch_add(&c->n_asleep, 1);
        if (has_news(c, seen))
            break;
        pthread_cond_wait(&c->call, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
}

static void *
helper_main(void *cookie)
{
    struct helper *helper = cookie;
    struct crew *c = helper->crew;

    while (!atomic_load(&c->is_ending))
        await_news(c, take_parts(c, helper->thread));
    return NULL;
}

/* Whoever sleeps, come. One call for all that were asleep until now. */
static void
call_sleepers(struct crew *c)
{
    if (atomic_load(&c->n_asleep) == 0)
        return;
    atomic_store(&c->n_asleep, 0);
    pthread_mutex_lock(&c->lock);
    pthread_cond_broadcast(&c->call);
    pthread_mutex_unlock(&c->lock);
}

struct crew *
crew_new(size_t n_threads, struct error *err)
{
    struct crew *c;
    sigset_t all, before;
    int error = 0;

    if (n_threads < 1 || n_threads > CREW_THREADS_MAX) {
        error_set(err, ERR_INVALID, "%zu threads: 1..%d are possible", n_threads, CREW_THREADS_MAX);
        return NULL;
    }
    if ((c = aligned_alloc(LINE, sizeof(*c))) == NULL) {
        error_set(err, ERR_MEMORY, "no memory for threads");
        return NULL;
    }
    memset(c, 0, sizeof(*c));
    atomic_store(&c->ticket, CLOSED);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->call, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; c->n_helpers < n_threads - 1 && error == 0; c->n_helpers += error == 0) {
        struct helper *helper = &c->helpers[c->n_helpers];

        *helper = (struct helper){.crew = c, .thread = c->n_helpers + 1};
        error = pthread_create(&helper->id, NULL, helper_main, helper);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        error_set(err, ERR_SYSTEM, "start thread %zu of %zu: %s", c->n_helpers + 2, n_threads,
            strerror(error));
        crew_free(c);
        return NULL;
    }
    return c;
}

void
crew_free(struct crew *c)
{
    if (c == NULL)
        return;
    atomic_store(&c->is_ending, true);
    call_sleepers(c);
    for (size_t i = 0; i < c->n_helpers; i++)
        pthread_join(c->helpers[i].id, NULL);
    pthread_cond_destroy(&c->call);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

size_t
crew_threads(const struct crew *c)
{
    return c == NULL ? 1 : c->n_helpers + 1;
}

void
crew_run(struct crew *c, size_t n_parts, crew_work_fn work, void *cookie)
{
    uint64_t number;

    if (c == NULL || c->n_helpers == 0 || n_parts < 2) {
        for (size_t part = 0; part < n_parts; part++)
            work(cookie, part, 0);
        return;
    }
    number = (atomic_load(&c->ticket) >> 32) + 1;
    atomic_store(&c->ticket, number << 32 | CLOSED);
    atomic_thread_fence(memory_order_release); /* what follows is never seen with an older ticket */
    atomic_store_explicit(&c->work, work, memory_order_relaxed);
    atomic_store_explicit(&c->cookie, cookie, memory_order_relaxed);
    atomic_store_explicit(&c->n_parts, n_parts, memory_order_relaxed);
    atomic_store_explicit(&c->n_done, 0, memory_order_relaxed);
    atomic_store(&c->ticket, number << 32);
    call_sleepers(c);
    take_parts(c, 0);
    for (unsigned pauses = 0; atomic_load_explicit(&c->n_done, memory_order_acquire) < n_parts;) {
        /* A thread that does not run just now may need our processor. */
        if (++pauses > WAIT_PAUSES)
            sched_yield();
        else
            pause_a_moment();
    }
}
