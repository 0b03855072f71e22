/*
 * main.c - kronosq-worker: configuration, start, signals, end.
 *
 * Redis is asked first, because that fails fastest; then the weight files are hashed, the model
 * is opened, from weights kept under these hashes if there are any, and warmed up; then the
 * three threads start, and only then the worker says that it is ready. This thread keeps signals, the watchdog and the exit status.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/notify.h"
#include "common/redis.h"
#include "worker/beat.h"
#include "worker/engine.h"
#include "worker/handoff.h"
#include "worker/kronos/kernels.h"
#include "worker/kronos/model.h"
#include "worker/link.h"
#include "worker/model_identity.h"
#include "worker/settings.h"
#include "worker/signals.h"

#define LOGGER        "worker.main"
#define EXIT_TEMPFAIL 75 /* a restart may help */
#define STATUS_MS     5000

struct worker {
    int argc;
    char **argv, **environment;
    struct worker_settings settings;
    struct model *model;
    struct model_identity identity;
    struct handoff *handoff;
    struct engine *engine;
    struct beat *beat;
    struct link *link;
};

static int
fatal(int status, const struct error *err)
{
    log_line(LOG_LEVEL_CRITICAL, LOGGER, err->text,
        (const struct log_field[]){LOG_TEXT("error_type", error_name(err->code)), {.name = NULL}});
    return status;
}

/* ---- signals ---- */

static void
reload(const struct worker *w)
{
    enum config_action action;
    struct config *config;
    struct error err;

    if (config_load(&config, CONFIG_WORKER, w->argc, w->argv, w->environment, &action, &err) ==
        -1) {
        log_error(LOGGER, "configuration not read again", LOG_TEXT("error_message", err.text));
        return;
    }
    log_set_level(config_level(config, CONFIG_LOG_LEVEL));
    log_info(LOGGER, "log level read again",
        LOG_TEXT("level_now", config_text(config, CONFIG_LOG_LEVEL)));
    config_free(config);
}

/* While starting: true once the worker was told to end. */
static bool
is_interrupted(const struct worker *w, int wait_ms)
{
    int signo;

    signals_wait(-1, wait_ms);
    while ((signo = signals_next()) != 0) {
        if (signo == SIGTERM || signo == SIGINT)
            return true;
        if (signo == SIGHUP)
            reload(w);
    }
    return false;
}

static void
on_signal(struct worker *w, int signo)
{
    struct handoff_shared *shared = handoff_shared(w->handoff);

    switch (signo) {
    case SIGHUP:
        reload(w);
        return;
    case SIGTSTP:
        log_info(LOGGER, "quiet: no more work is taken");
        atomic_store(&shared->is_quiet, true);
        break;
    default: /* TERM, INT */
        if (atomic_exchange(&shared->is_stopping, true))
            atomic_store(&shared->is_drain_over, true);
        notify_stopping();
        break;
    }
    handoff_wake(w->handoff, HANDOFF_LINK);
}

/* ---- start ---- */

/* Is this Redis one to trust tasks to? 0, or the exit status. */
static int
judge_redis(const struct worker *w, redisContext *redis, struct error *err)
{
    if (redis_refusal(redis, err) == 0) {
        if (err->text[0] != '\0')
            log_warning(LOGGER, err->text);
        return 0;
    }
    if (err->code == ERR_UNAVAILABLE)
        return EXIT_TEMPFAIL;
    if (!w->settings.allow_volatile)
        return CONFIG_EXIT_STATUS;
    log_warning(LOGGER, "this redis may lose tasks, allowed by --allow-volatile",
        LOG_TEXT("reason", err->text));
    return 0;
}

/* Wait for Redis as long as starting may take; -1: interrupted. */
static int
await_redis(const struct worker *w, int64_t until_ms, struct error *err)
{
    struct redis_backoff backoff = {0};

    for (;;) {
        redisContext *redis = redis_open(&w->settings.redis, "kronosq-worker:start", err);
        int status = EXIT_TEMPFAIL;

        if (redis != NULL) {
            status = judge_redis(w, redis, err);
            redisFree(redis);
        } else if (err->code == ERR_INVALID) {
            status = CONFIG_EXIT_STATUS; /* a wrong password does not become right by waiting */
        }
        if (status != EXIT_TEMPFAIL || clock_monotonic_ms() >= until_ms)
            return status;
        if (backoff.attempts == 0)
            log_warning(LOGGER, "waiting for redis", LOG_TEXT("error_message", err->text));
        if (is_interrupted(w, redis_backoff_next_ms(&backoff)))
            return -1;
    }
}

static int
confirm_identity(void *cookie, struct error *err)
{
    const struct worker *w = cookie;

    return model_identity_confirm(&w->identity, &w->settings, err);
}

/* Hash the weight files, get the weights ready, warm up. */
static int
load_model(struct worker *w, struct error *err)
{
    const struct worker_settings *s = &w->settings;
    char source[192];
    struct model_options options = {
        .weights = s->weights,
        .cache_dir = s->cache_dir[0] != '\0' ? s->cache_dir : NULL,
        .source = source,
        .confirm = confirm_identity,
        .confirm_cookie = w,
    };

    if (model_identity_read(&w->identity, s, err) == -1)
        return -1;
    snprintf(source, sizeof(source), "model %s, tokenizer %s", w->identity.weights_sha256,
        w->identity.tokenizer_sha256);
    if ((w->model = model_open(s->model_dir, s->tokenizer_dir, &options, err)) == NULL)
        return -1;
    if (w->model->weights.note[0] != '\0')
        log_warning(LOGGER,
            w->model->weights.origin == WEIGHT_CACHE_PRIVATE
                ? "weights are not shared with other workers of this host"
                : "kept weights were not sound and have been built again",
            LOG_TEXT("reason", w->model->weights.note));
    if ((w->engine = engine_new(s, w->handoff, w->model, err)) == NULL ||
        engine_warm_up(w->engine, err) == -1)
        return -1;
    return 0;
}

static void
log_ready(const struct worker *w, int64_t started_at_ms)
{
    const struct worker_settings *s = &w->settings;
    char redis[REDIS_DESCRIBE_MAX];

    redis_settings_describe(&s->redis, redis, sizeof(redis));
    log_info(LOGGER, "model loaded", LOG_TEXT("model", s->name),
        LOG_TEXT("model_version", w->identity.model_version),
        LOG_TEXT("tokenizer_version", w->identity.tokenizer_version),
        LOG_TEXT("weights_sha256", w->identity.weights_sha256),
        LOG_TEXT("tokenizer_sha256", w->identity.tokenizer_sha256),
        LOG_INT("parameters", w->model->n_parameters),
        LOG_INT("tokenizer_parameters", w->model->n_tokenizer_parameters),
        LOG_TEXT("kernel", kernels_name()), LOG_TEXT("precision", engine_precision(w->engine)),
        LOG_TEXT("weights", weight_cache_origin_name(w->model->weights.origin)),
        LOG_TEXT("weights_file", w->model->weights.path),
        LOG_INT("weights_bytes", w->model->weights.bytes),
        LOG_INT("pool_bytes", engine_pool_bytes(w->engine)));
    if (s->is_bundled)
        log_warning(LOGGER,
            "no --model was given: the bundled demonstration model answers, which is not for "
            "trading",
            LOG_TEXT("model", s->name), LOG_TEXT("model_version", w->identity.model_version));
    log_info(LOGGER, "ready", LOG_TEXT("event", "ready"), LOG_TEXT("worker_id", s->worker),
        LOG_TEXT("model", s->name), LOG_TEXT("redis", redis), LOG_INT("slots", s->slots),
        LOG_INT("reserve", s->reserve), LOG_INT("context", s->max_context),
        LOG_INT("pid", getpid()), LOG_INT("start_ms", clock_monotonic_ms() - started_at_ms));
}

static int
start_threads(struct worker *w, struct error *err)
{
    if (engine_start(w->engine, &w->identity, err) == -1)
        return -1;
    w->beat = beat_start(
        &w->settings, w->handoff, &w->identity, kernels_name(), engine_vocabulary(w->engine), err);
    if (w->beat == NULL)
        return -1;
    return (w->link = link_start(&w->settings, w->handoff, err)) == NULL ? -1 : 0;
}

/* ---- life and end ---- */

static void
show_status(const struct worker *w)
{
    struct handoff_shared *shared = handoff_shared(w->handoff);

    notify_status("%s: %zu tasks in work, %llu completed, %llu failed", w->settings.name,
        handoff_load(w->handoff).n_jobs, (unsigned long long)atomic_load(&shared->n_done),
        (unsigned long long)atomic_load(&shared->n_failed));
}

/* A thread that hangs starves the watchdog: it is fed when all three have moved since the last time. */
static void
feed_watchdog(struct worker *w, uint64_t fed_at[3])
{
    struct handoff_shared *shared = handoff_shared(w->handoff);
    const uint64_t now[3] = {atomic_load(handoff_ticks(w->handoff)),
        atomic_load(&shared->link_turns), atomic_load(&shared->beat_turns)};

    for (int i = 0; i < 3; i++) {
        if (now[i] == fed_at[i])
            return;
    }
    notify_watchdog();
    memcpy(fed_at, now, sizeof(now));
}

/* Until the link has nothing left to do. */
static void
supervise(struct worker *w)
{
    struct handoff_shared *shared = handoff_shared(w->handoff);
    int64_t watchdog_ms = notify_watchdog_ms();
    int64_t period_ms = watchdog_ms > 0 && watchdog_ms < STATUS_MS ? watchdog_ms : STATUS_MS;
    uint64_t fed_at[3] = {0};

    while (!atomic_load(&shared->is_link_done)) {
        int signo;

        signals_wait(handoff_fd(w->handoff, HANDOFF_MAIN), (int)period_ms);
        handoff_clear(w->handoff, HANDOFF_MAIN);
        while ((signo = signals_next()) != 0)
            on_signal(w, signo);
        feed_watchdog(w, fed_at);
        show_status(w);
    }
}

static void
clear(struct worker *w)
{
    if (w->handoff != NULL) {
        atomic_store(&handoff_shared(w->handoff)->is_stopping, true);
        handoff_wake(w->handoff, HANDOFF_LINK);
        link_join(w->link);
        atomic_store(&handoff_shared(w->handoff)->is_ending, true);
    }
    engine_free(w->engine);
    beat_join(w->beat);
    handoff_free(w->handoff);
    model_close(w->model);
    worker_settings_clear(&w->settings);
}

/* The worker's life; returns the exit status. Signals are open, settings read. */
static int
run(struct worker *w)
{
    int64_t started_at_ms = clock_monotonic_ms();
    int64_t until_ms = started_at_ms + w->settings.startup_ms;
    struct error err;
    int status;

    if ((status = await_redis(w, until_ms, &err)) == -1)
        return 0;
    if (status != 0)
        return fatal(status, &err);
    if ((w->handoff = handoff_new(&err)) == NULL)
        return fatal(EXIT_FAILURE, &err);
    if (load_model(w, &err) == -1)
        return fatal(err.code == ERR_MEMORY ? EXIT_FAILURE : CONFIG_EXIT_STATUS, &err);
    if (clock_monotonic_ms() > until_ms) {
        error_set(&err, ERR_UNAVAILABLE, "loading took longer than KRONOS_STARTUP_TIMEOUT");
        return fatal(EXIT_TEMPFAIL, &err);
    }
    if (is_interrupted(w, 0))
        return 0;
    if (start_threads(w, &err) == -1)
        return fatal(EXIT_TEMPFAIL, &err);
    log_ready(w, started_at_ms);
    notify_ready();
    supervise(w);
    status = atomic_load(&handoff_shared(w->handoff)->exit_status);
    log_info(LOGGER, "stopped", LOG_INT("exit_status", status),
        LOG_INT("completed", atomic_load(&handoff_shared(w->handoff)->n_done)),
        LOG_INT("failed", atomic_load(&handoff_shared(w->handoff)->n_failed)));
    return status;
}

/* --check has looked at single values; here is what needs the file system. */
static int
check(int argc, char **argv, char **environment)
{
    enum config_action action;
    struct worker_settings settings;
    struct config *config;
    struct error err;
    int status = 0;

    if (config_load(&config, CONFIG_WORKER, argc, argv, environment, &action, &err) == -1)
        return fatal(CONFIG_EXIT_STATUS, &err);
    if (action == CONFIG_CHECK) {
        if (worker_settings_read(&settings, config, &err) == -1)
            status = fatal(CONFIG_EXIT_STATUS, &err);
        worker_settings_clear(&settings);
    }
    config_free(config);
    return status;
}

int
main(int argc, char **argv)
{
    struct worker w = {.argc = argc, .argv = argv, .environment = environ};
    struct config *config;
    struct error err;
    int status = config_start(&config, CONFIG_WORKER, argc, argv, environ);

    if (status == 0)
        return check(argc, argv, environ);
    if (status != CONFIG_START_RUN)
        return status;
    if (signals_open(&err) == -1)
        status = fatal(EXIT_FAILURE, &err);
    else if (worker_settings_read(&w.settings, config, &err) == -1)
        status = fatal(CONFIG_EXIT_STATUS, &err);
    else
        status = run(&w);
    clear(&w);
    signals_close();
    config_free(config);
    return status;
}
