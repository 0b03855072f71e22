/*
 * settings.c - From the configuration's values to the worker's: paths found, lists
 * parsed, seconds made milliseconds.
 *
 * Ranges of single values are checked by common/config.c; here is what needs two of
 * them or the file system. Nothing is opened.
 */
#include "worker/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/bundled_model.h"

static bool
is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int
take_path(char *to, size_t size, const char *name, const char *given, struct error *err)
{
    if (strlen(given) >= size)
        return error_set(err, ERR_INVALID, "%s is longer than %zu bytes", name, size - 1);
    strcpy(to, given);
    return 0;
}

/* The tokenizer as the hub's two repositories are usually laid out: in the model's folder or beside it. */
static int
find_tokenizer(struct worker_settings *s, const char *given, struct error *err)
{
    static const char *const places[] = {"tokenizer", "../tokenizer"};

    if (given != NULL)
        return take_path(
            s->tokenizer_dir, sizeof(s->tokenizer_dir), "KRONOS_TOKENIZER_PATH", given, err);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        int n =
            snprintf(s->tokenizer_dir, sizeof(s->tokenizer_dir), "%s/%s", s->model_dir, places[i]);

        if (n > 0 && (size_t)n < sizeof(s->tokenizer_dir) && is_directory(s->tokenizer_dir))
            return 0;
    }
    return error_set(err, ERR_INVALID,
        "there is no folder named tokenizer in or beside the model %s: "
        "give --tokenizer DIR (KRONOS_TOKENIZER_PATH)",
        s->model_dir);
}

static int
find_model(struct worker_settings *s, const struct config *config, struct error *err)
{
    const char *model = config_text(config, CONFIG_MODEL_PATH);
    const char *tokenizer = config_text(config, CONFIG_TOKENIZER_PATH);

    if (model != NULL) {
        if (take_path(s->model_dir, sizeof(s->model_dir), "KRONOS_MODEL_PATH", model, err) == -1)
            return -1;
        return find_tokenizer(s, tokenizer, err);
    }
    if (tokenizer != NULL)
        return error_set(err, ERR_INVALID,
            "KRONOS_TOKENIZER_PATH is given and KRONOS_MODEL_PATH is not: the bundled model has a "
            "tokenizer of its own");
    s->is_bundled = true;
    return bundled_model_find(s->model_dir, s->tokenizer_dir, sizeof(s->model_dir), err);
}

/*
 * Where prepared weights are kept: where we are told to, where systemd has made a directory (the
 * first, should the unit have several), or where a user's caches are. Nowhere is an answer, too.
 */
static int
find_cache(struct worker_settings *s, const char *given, struct error *err)
{
    const char *systemd = getenv("CACHE_DIRECTORY"), *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int n = 0;

    if (given != NULL && strcmp(given, "none") == 0)
        return 0;
    if (given != NULL && given[0] != '/')
        return error_set(err, ERR_INVALID,
            "KRONOS_CACHE_DIR is \"%.100s\": it must be an absolute path, or none", given);
    if (given != NULL)
        n = snprintf(s->cache_dir, sizeof(s->cache_dir), "%s", given);
    else if (systemd != NULL && systemd[0] == '/')
        n = snprintf(
            s->cache_dir, sizeof(s->cache_dir), "%.*s", (int)strcspn(systemd, ":"), systemd);
    else if (xdg != NULL && xdg[0] == '/')
        n = snprintf(s->cache_dir, sizeof(s->cache_dir), "%s/kronosq", xdg);
    else if (home != NULL && home[0] == '/')
        n = snprintf(s->cache_dir, sizeof(s->cache_dir), "%s/.cache/kronosq", home);
    if (n < 0 || (size_t)n >= sizeof(s->cache_dir))
        return error_set(err, ERR_INVALID, "the path of the cache directory is over %zu bytes",
            sizeof(s->cache_dir) - 1);
    return 0;
}

/* "urgent,normal,low" in any order; each once. */
static int
read_queues(struct worker_settings *s, const char *list, struct error *err)
{
    const char *word = list;

    for (;;) {
        size_t len = strcspn(word, ",");
        enum task_priority priority;

        if (task_priority_from_name(word, len, &priority) == -1)
            return error_set(err, ERR_INVALID,
                "KRONOS_QUEUES is \"%.100s\": each of its parts must be urgent, normal or low",
                list);
        if (s->takes[priority])
            return error_set(
                err, ERR_INVALID, "KRONOS_QUEUES names %s twice", task_priority_name(priority));
        s->takes[priority] = true;
        if (word[len] == '\0')
            return 0;
        word += len + 1;
    }
}

/* "fp32" or "fp16". */
static int
read_format(enum packed_format *format, const char *setting, const char *value, struct error *err)
{
    if (strcmp(value, "fp32") == 0)
        *format = PACKED_F32;
    else if (strcmp(value, "fp16") == 0)
        *format = PACKED_F16;
    else
        return error_set(err, ERR_INVALID, "%s is \"%.40s\": fp32 or fp16", setting, value);
    return 0;
}

int
worker_settings_read(struct worker_settings *s, const struct config *config, struct error *err)
{
    const char *device = config_text(config, CONFIG_DEVICE);
    struct error why;

    *s = (struct worker_settings){0};
    s->name = config_text(config, CONFIG_MODEL_NAME);
    s->model_id = config_text(config, CONFIG_MODEL_ID);
    s->tokenizer_id = config_text(config, CONFIG_TOKENIZER_ID);
    s->allow_volatile = config_bool(config, CONFIG_ALLOW_VOLATILE);
    s->slots = (uint32_t)config_integer(config, CONFIG_SLOTS);
    s->threads = (int)config_integer(config, CONFIG_THREADS);
    s->max_context = (uint32_t)config_integer(config, CONFIG_MAX_CONTEXT);
    s->clip = (float)config_number(config, CONFIG_CLIP_VALUE);
    s->startup_ms = config_integer(config, CONFIG_STARTUP_TIMEOUT) * 1000;
    s->drain_ms = config_integer(config, CONFIG_DRAIN_TIMEOUT) * 1000;
    s->max_run_ms = config_integer(config, CONFIG_INFERENCE_TIMEOUT) * 1000;
    s->lease_ms = config_integer(config, CONFIG_LEASE_MS);
    s->renew_ms = s->lease_ms * QUEUE_RENEW_MS / QUEUE_LEASE_MS;
    s->step_delay_ms = config_integer(config, CONFIG_STEP_DELAY_MS);
    s->once = config_bool(config, CONFIG_ONCE);

    if (strcmp(device, "cpu") != 0)
        return error_set(
            err, ERR_INVALID, "KRONOS_DEVICE is \"%.40s\": cpu is all there is", device);
    if (queue_init(&s->queue, s->name, &why) == -1)
        return error_set(err, ERR_INVALID, "KRONOS_MODEL_NAME is \"%.80s\": %s", s->name, why.text);
    if (find_model(s, config, err) == -1 ||
        find_cache(s, config_text(config, CONFIG_CACHE_DIR), err) == -1 ||
        read_queues(s, config_text(config, CONFIG_QUEUES), err) == -1 ||
        read_format(&s->weights, "KRONOS_WEIGHTS", config_text(config, CONFIG_WEIGHTS), err) ==
            -1 ||
        read_format(&s->kv, "KRONOS_KV", config_text(config, CONFIG_KV), err) == -1)
        return -1;
    s->queue.tuning.lease_ms = s->lease_ms; /* also spared by sweeps after a restart of Redis */
    s->queue.tuning.max_queue_ms = config_integer(config, CONFIG_MAX_QUEUE_SECONDS) * 1000;
    /* One slot kept for urgent work, if there is other work that could take it. */
    if (s->slots >= 2 && s->takes[TASK_URGENT] && (s->takes[TASK_NORMAL] || s->takes[TASK_LOW]))
        s->reserve = 1;

    id_new(s->worker);
    snprintf(s->short_name, sizeof(s->short_name), "w-%.8s", s->worker);
    if (gethostname(s->host, sizeof(s->host) - 1) == -1)
        strcpy(s->host, "unknown");
    return redis_settings_parse(&s->redis, config_text(config, CONFIG_REDIS_URL),
        config_text(config, CONFIG_REDIS_PASSWORD_FILE), err);
}

void
worker_settings_clear(struct worker_settings *s)
{
    redis_settings_clear(&s->redis);
}

uint32_t
worker_settings_room(const struct worker_settings *s, enum task_priority priority)
{
    return priority == TASK_URGENT ? s->slots : s->slots - s->reserve;
}
