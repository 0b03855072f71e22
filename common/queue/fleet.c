/*
 * fleet.c - Life of the processes around a queue: sweep, presence, the set of models.
 *
 * What workers say of themselves is shown to clients, so it is read as hostile as the
 * rest: a worker whose numbers do not parse counts as live and adds nothing else.
 */
#include "common/queue/script.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODELS_KEY  "kq:models" /* of all queues, so in no model's hash slot */
#define WORKERS_MAX 1000        /* live workers of one model that are looked at */

/* ---- sweep ---- */

int
queue_sweep_call(
    const struct queue *q, const char *run_id, struct queue_call *call, struct error *err)
{
    const struct queue_tuning *t = &q->tuning;
    struct queue_args a;

    queue_args_begin(&a, &queue_script_sweep, q, 10);
    queue_args_text(&a, run_id);
    queue_args_int(&a, t->sweep_throttle_ms);
    queue_args_int(&a, t->lease_ms);
    queue_args_int(&a, t->repair_grace_ms);
    queue_args_int(&a, t->sweep_limit);
    queue_args_int(&a, t->backoff_ms);
    queue_args_int(&a, t->crash_cap);
    queue_args_int(&a, t->dead_max);
    queue_args_int(&a, t->dead_age_ms);
    queue_args_int(&a, t->max_queue_ms);
    return queue_args_end(&a, call, err);
}

int
queue_sweep_parse(const redisReply *reply, struct queue_swept *out, struct error *err)
{
    const char *name = queue_script_sweep.name;
    int *counts[] = {&out->due, &out->leases, &out->expired, &out->hints, &out->trimmed};
    const size_t n = sizeof(counts) / sizeof(counts[0]);
    int64_t value;

    *out = (struct queue_swept){0};
    if (queue_reply_array(reply, name, 0, err) == -1)
        return -1;
    if (reply->elements == 0) {
        out->throttled = true;
        return 0;
    }
    if (reply->elements != n + 1)
        return queue_reply_strange(name, err);
    for (size_t i = 0; i <= n; i++) {
        if (!queue_reply_int(reply->element[i], &value) || value < 0 || value > INT_MAX)
            return queue_reply_strange(name, err);
        if (i < n)
            *counts[i] = (int)value;
        else
            out->more = value != 0;
    }
    return 0;
}

int
queue_sweep(redisContext *c, const struct queue *q, const char *run_id, struct queue_swept *out,
    struct error *err)
{
    struct queue_call call;
    redisReply *reply;
    int rc;

    *out = (struct queue_swept){0};
    if (queue_sweep_call(q, run_id, &call, err) == -1)
        return -1;
    reply = queue_run(c, &call, err);
    queue_call_clear(&call);
    if (!reply)
        return -1;
    rc = queue_sweep_parse(reply, out, err);
    freeReplyObject(reply);
    return rc;
}

/* ---- a worker's side of presence ---- */

/* "28,3,1", or "" for the default; what is neither counts as the default. */
static void
read_weights(const redisReply *reply, struct queue_control *out)
{
    unsigned w[TASK_PRIORITY_COUNT];
    int used = 0;

    if (!queue_reply_is_string(reply) || reply->len > 16 ||
        sscanf(reply->str, "%3u,%3u,%3u%n", &w[0], &w[1], &w[2], &used) != 3 ||
        (size_t)used != (size_t)reply->len || w[0] + w[1] + w[2] == 0)
        return;
    memcpy(out->weights, w, sizeof(w));
    out->has_weights = true;
}

static int
add_model(redisContext *c, const struct queue *q, struct error *err)
{
    redisReply *reply = redisCommand(c, "SADD " MODELS_KEY " %s", q->model);
    int64_t added;
    int rc;

    if (!reply)
        return error_set(err, ERR_UNAVAILABLE, "Redis, SADD: %s", c->err ? c->errstr : "no answer");
    /* with its memory full Redis refuses even a member that is there; workers must go on */
    rc = queue_reply_is_error(reply, "OOM") ? 0 : queue_reply_code(reply, "SADD", &added, err);
    freeReplyObject(reply);
    return rc;
}

int
queue_beat(redisContext *c, const struct queue *q, const struct queue_presence *p,
    struct queue_control *out, struct error *err)
{
    const struct {
        const char *name, *value;
    } texts[] = {
        {"name", p->name},
        {"host", p->host},
        {"version", p->version},
        {"model_version", p->model_version},
        {"weights_sha256", p->weights_sha256},
        {"kernel", p->kernel},
        {"tokenizer_version", p->tokenizer_version},
        {"tokenizer_sha256", p->tokenizer_sha256},
    };
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"pid", p->pid},
        {"slots", p->slots},
        {"busy", p->busy},
        {"tasks", p->tasks},
        {"context", p->context},
        {"vocabulary", p->vocabulary},
        {"rss_bytes", p->rss_bytes},
        {"done", p->done},
        {"failed", p->failed},
    };
    const size_t n_texts = sizeof(texts) / sizeof(texts[0]);
    const size_t n_numbers = sizeof(numbers) / sizeof(numbers[0]);
    const char *name = queue_script_beat.name;
    int64_t flags[TASK_PRIORITY_COUNT + 1];
    struct queue_args a;
    redisReply *reply;
    int rc;

    *out = (struct queue_control){0};
    queue_args_begin(&a, &queue_script_beat, q, 1 + 2 * (n_texts + n_numbers + 2));
    queue_args_text(&a, p->worker);
    for (size_t i = 0; i < n_texts; i++) {
        queue_args_text(&a, texts[i].name);
        queue_args_text(&a, texts[i].value);
    }
    for (size_t i = 0; i < n_numbers; i++) {
        queue_args_text(&a, numbers[i].name);
        queue_args_int(&a, numbers[i].value);
    }
    queue_args_text(&a, "prefill_seconds");
    queue_args_seconds(&a, p->warm_up.prefill_seconds);
    queue_args_text(&a, "step_seconds");
    queue_args_seconds(&a, p->warm_up.step_seconds);
    if (!(reply = queue_args_run(&a, c, err)))
        return -1;
    rc = queue_reply_array(reply, name, TASK_PRIORITY_COUNT + 2, err);
    for (size_t i = 0; rc == 0 && i < TASK_PRIORITY_COUNT + 1; i++) {
        if (!queue_reply_int(reply->element[i], &flags[i]))
            rc = queue_reply_strange(name, err);
    }
    if (rc == 0)
        read_weights(reply->element[TASK_PRIORITY_COUNT + 1], out);
    freeReplyObject(reply);
    if (rc == -1)
        return -1;
    for (size_t i = 0; i < TASK_PRIORITY_COUNT; i++)
        out->paused[i] = flags[i] != 0;
    out->quiet = flags[TASK_PRIORITY_COUNT] != 0;
    return add_model(c, q, err);
}

int
queue_leave(redisContext *c, const struct queue *q, const char *worker, struct error *err)
{
    struct queue_args a;
    redisReply *reply;
    int64_t code;
    int rc;

    queue_args_begin(&a, &queue_script_leave, q, 1);
    queue_args_text(&a, worker);
    if (!(reply = queue_args_run(&a, c, err)))
        return -1;
    rc = queue_reply_code(reply, queue_script_leave.name, &code, err);
    freeReplyObject(reply);
    return rc;
}

/* ---- the API's side of presence ---- */

static const char *const seen_fields[] = {"slots", "busy", "context", "vocabulary", "quiet",
    "version", "kernel", "model_version", "tokenizer_version", "weights_sha256",
    "tokenizer_sha256"};
enum { SEEN_SLOTS, SEEN_BUSY, SEEN_CONTEXT, SEEN_VOCABULARY, SEEN_QUIET, SEEN_TEXTS };
#define N_SEEN  (sizeof(seen_fields) / sizeof(seen_fields[0]))
#define N_TEXTS (N_SEEN - SEEN_TEXTS)

int
queue_presence_call(const struct queue *q, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_presence, q, 2 + N_SEEN);
    queue_args_int(&a, q->tuning.presence_ms);
    queue_args_int(&a, WORKERS_MAX);
    for (size_t i = 0; i < N_SEEN; i++)
        queue_args_text(&a, seen_fields[i]);
    return queue_args_end(&a, call, err);
}

/* A number a sum of a thousand of which cannot overflow. */
static bool
small_number(const redisReply *reply, int64_t *value)
{
    return queue_reply_int(reply, value) && *value >= 0 && *value <= INT32_MAX;
}

static void
count_worker(struct queue_fleet *out, redisReply *const *seen)
{
    const struct {
        char *to;
        size_t size;
    } texts[N_TEXTS] = {
        {out->version, sizeof(out->version)},
        {out->kernel, sizeof(out->kernel)},
        {out->model_version, sizeof(out->model_version)},
        {out->tokenizer_version, sizeof(out->tokenizer_version)},
        {out->weights_sha256, sizeof(out->weights_sha256)},
        {out->tokenizer_sha256, sizeof(out->tokenizer_sha256)},
    };
    bool is_quiet = seen[SEEN_QUIET]->type != REDIS_REPLY_NIL;
    int64_t slots, busy, context, vocabulary;
    char hash[65];

    if (out->n_live++ == 0) {
        for (size_t i = 0; i < N_TEXTS; i++)
            queue_reply_text(seen[SEEN_TEXTS + i], texts[i].to, texts[i].size);
        if (small_number(seen[SEEN_VOCABULARY], &vocabulary))
            out->vocabulary = (uint32_t)vocabulary;
    }
    for (size_t i = N_TEXTS - 2; i < N_TEXTS; i++) { /* the two hashes */
        queue_reply_text(seen[SEEN_TEXTS + i], hash, sizeof(hash));
        if (strcmp(hash, texts[i].to) != 0)
            out->is_uniform = false;
    }
    out->n_quiet += is_quiet;
    if (!small_number(seen[SEEN_SLOTS], &slots) || !small_number(seen[SEEN_BUSY], &busy) ||
        !small_number(seen[SEEN_CONTEXT], &context) || context == 0)
        return;
    if (out->context == 0 || context < out->context)
        out->context = (uint32_t)context;
    if (!is_quiet) {
        out->slots += slots;
        out->busy += busy;
    }
}

int
queue_presence_parse(const redisReply *reply, struct queue_fleet *out, struct error *err)
{
    const char *name = queue_script_presence.name;

    *out = (struct queue_fleet){.is_uniform = true};
    if (queue_reply_array(reply, name, 1, err) == -1)
        return -1;
    if (!queue_reply_int(reply->element[0], &out->now_ms) || reply->elements > WORKERS_MAX + 1)
        return queue_reply_strange(name, err);
    for (size_t i = 1; i < reply->elements; i++) {
        const redisReply *worker = reply->element[i];

        if (worker->type != REDIS_REPLY_ARRAY || worker->elements != N_SEEN)
            return queue_reply_strange(name, err);
        count_worker(out, worker->element);
    }
    return 0;
}

/* ---- models ---- */

int
queue_models_call(struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin_plain(&a, 2);
    queue_args_text(&a, "SMEMBERS");
    queue_args_text(&a, MODELS_KEY);
    return queue_args_end(&a, call, err);
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

int
queue_models_parse(const redisReply *reply, struct queue_models *out, struct error *err)
{
    out->n = 0;
    if (queue_reply_array(reply, "SMEMBERS", 0, err) == -1)
        return -1;
    for (size_t i = 0; i < reply->elements && out->n < QUEUE_MODELS_MAX; i++) {
        const redisReply *name = reply->element[i];

        if (!queue_reply_is_string(name) || !task_model_name_is_valid(name->str, name->len))
            continue;
        memcpy(out->names[out->n], name->str, name->len);
        out->names[out->n++][name->len] = '\0';
    }
    qsort(out->names, out->n, sizeof(out->names[0]), compare_names);
    return 0;
}
