/*
 * settings.h - What one worker process was told to be, read once from the configuration.
 *
 * Nothing here changes after the threads have started, so all of them read it
 * without a lock. Texts point into the config, which outlives it.
 */
#ifndef WORKER_SETTINGS_H
#define WORKER_SETTINGS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "common/id.h"
#include "common/queue/queue.h"
#include "common/redis.h"
#include "common/task.h"
#include "worker/kronos/packed.h"

struct worker_settings {
    char worker[ID_LEN + 1]; /* of this process incarnation: part of every lease */
    char short_name[16];     /* "w-1b2c3d4e", shown in results */
    char host[65];
    const char *name; /* of the model: its queue */
    struct queue queue;
    struct redis_settings redis;
    bool allow_volatile;
    bool is_bundled; /* no model was given: it is the one that comes with Kronosq */
    char model_dir[PATH_MAX], tokenizer_dir[PATH_MAX];
    const char *model_id, *tokenizer_id; /* NULL: name@hash */
    char cache_dir[PATH_MAX];            /* of prepared weights; empty: keep none */
    uint32_t slots;
    uint32_t reserve; /* of the slots, kept free of normal and low tasks; less than slots */
    bool takes[TASK_PRIORITY_COUNT];
    int threads;
    uint32_t max_context;
    enum packed_format weights, kv; /* kept in half precision or not */
    float clip;
    int64_t startup_ms, drain_ms, max_run_ms;
    int64_t lease_ms, renew_ms;
    int64_t step_delay_ms;
    bool once;
};

/**
 * worker_settings_read(s, config, err): ERR_INVALID names the setting. On success
 * ${s} is the caller's to worker_settings_clear().
 */
int worker_settings_read(struct worker_settings *s, const struct config *config, struct error *err);
void worker_settings_clear(struct worker_settings *s);

/**
 * worker_settings_room(s, priority): the most slots tasks of that priority may hold together,
 * and so one of them alone: all for urgent ones, all but the reserve for others.
 */
uint32_t worker_settings_room(const struct worker_settings *s, enum task_priority priority);

#endif /* WORKER_SETTINGS_H */
