/*
 * engine.h - The thread that computes: slots, and which forecasts step together.
 */
#ifndef WORKER_ENGINE_H
#define WORKER_ENGINE_H

#include <stddef.h>

#include "common/error.h"
#include "worker/handoff.h"
#include "worker/kronos/model.h"
#include "worker/model_identity.h"
#include "worker/settings.h"

struct engine;

/** engine_new(settings, handoff, model, err): room for all slots. All three must outlive it. */
struct engine *engine_new(const struct worker_settings *settings, struct handoff *handoff,
    const struct model *model, struct error *err);
size_t engine_pool_bytes(const struct engine *engine);
/** engine_precision(engine): as results say it, "fp32" or what is kept in half precision. */
const char *engine_precision(const struct engine *engine);
uint32_t engine_vocabulary(const struct engine *engine); /* the larger of its two */

/** engine_warm_up(engine, err): short forecasts, so that weights are in memory and the first task is not slow; how fast the last was goes to the handoff. */
int engine_warm_up(struct engine *engine, struct error *err);

/** engine_start(engine, identity, err): start the thread; ${identity} goes into every result. */
int engine_start(struct engine *engine, const struct model_identity *identity, struct error *err);

/**
 * engine_free(engine): after shared->is_ending if it was started: waits for the step it is
 * in. Jobs it still had stay with the handoff. NULL is allowed.
 */
void engine_free(struct engine *engine);

#endif /* WORKER_ENGINE_H */
