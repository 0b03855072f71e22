/*
 * beat.h - The thread that keeps leases alive, shows that the worker is there, and sweeps.
 */
#ifndef WORKER_BEAT_H
#define WORKER_BEAT_H

#include "common/error.h"
#include "worker/handoff.h"
#include "worker/model_identity.h"
#include "worker/settings.h"

struct beat;

/**
 * beat_start(settings, handoff, identity, kernel, vocabulary, err): connect, beat once, so that the
 * worker is known when this returns, and start the thread. All must outlive it; ${kernel}
 * and ${vocabulary} are shown to operators. ERR_UNAVAILABLE when Redis is away.
 */
struct beat *beat_start(const struct worker_settings *settings, struct handoff *handoff,
    const struct model_identity *identity, const char *kernel, uint32_t vocabulary,
    struct error *err);

/** beat_join(beat): after shared->is_ending: takes the presence away, waits, frees. NULL is allowed. */
void beat_join(struct beat *beat);

#endif /* WORKER_BEAT_H */
