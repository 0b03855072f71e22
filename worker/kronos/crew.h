/*
 * crew.h - Threads that share one piece of work at a time, for a forecast that is wanted sooner.
 *
 * The work is cut into parts by whoever gives it, the same parts however many threads there
 * are, so what is computed does not depend on them. The caller works along; a thread that sleeps,
 * or that the system runs elsewhere, only means that the others do more of the parts.
 */
#ifndef WORKER_KRONOS_CREW_H
#define WORKER_KRONOS_CREW_H

#include <stddef.h>

#include "common/error.h"

#define CREW_THREADS_MAX 64

struct crew;

/**
 * Part ${part} of the work, done by thread ${thread} of the crew (0 is the caller): for scratch
 * that every thread has its own of.
 */
typedef void (*crew_work_fn)(void *cookie, size_t part, size_t thread);

/**
 * crew_new(n_threads, err): ${n_threads} with the caller's, 1..CREW_THREADS_MAX. They block all
 * signals. NULL: ERR_INVALID, ERR_MEMORY, ERR_SYSTEM.
 */
struct crew *crew_new(size_t n_threads, struct error *err);

/** crew_free(crew): ends and joins its threads; NULL is allowed. */
void crew_free(struct crew *crew);

/** crew_threads(crew): with the caller's; 1 for NULL. */
size_t crew_threads(const struct crew *crew);

/**
 * crew_run(crew, n_parts, work, cookie): all parts, in whatever order, each once; returns when they
 * are done and what they wrote is visible. From one thread at a time, never from within a part.
 * ${crew} may be NULL: then the caller does it all. Allocates nothing.
 */
void crew_run(struct crew *crew, size_t n_parts, crew_work_fn work, void *cookie);

#endif /* WORKER_KRONOS_CREW_H */
