/*
 * queue_work.c - The calls of API and worker, with a task and a result of ordinary size.
 */
#include "tests/bench/queue_work.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/id.h"
#include "common/result.h"
#include "tests/bench/measure.h"

#define HISTORY      400
#define HORIZON      120
#define CONTEXT      512
#define FIRST_MINUTE INT64_C(28928700) /* 2025-01-01T09:00:00 */
#define BLPOP_WAIT   "30"
#define SHA256       "e9388fe34ecae009ae84a7e8eba10bc5aafc038f6670c68e1d43bd0da80cc67a"

static const struct task_params params = {
    .sample_count = 1, .temperature = 1.0f, .top_p = 0.9f, .seed = 42, .context_mode = TASK_FIT};

static void
encode_task(struct queue_work *w)
{
    struct task_about about = {.n_horizon = HORIZON, .sample_count = 1};
    struct error err;
    struct task *task = task_new(HISTORY, HORIZON, &err);

    if (task == NULL)
        measure_die("task", err.text);
    for (size_t i = 0; i < HISTORY; i++) {
        float *row = task->candles + i * TASK_FIELDS;
        float price = 65000.0f + 100.0f * sinf((float)i);

        row[0] = row[3] = price;
        row[1] = price * 1.002f;
        row[2] = price * 0.998f;
        row[4] = 10.0f + (float)(i * 31 % 17);
        row[5] = row[4] * price;
        task->history_minutes[i] = FIRST_MINUTE + 5 * (int64_t)i;
    }
    for (size_t i = 0; i < HORIZON; i++) {
        task->horizon[i].wall_us = (FIRST_MINUTE + 5 * (int64_t)(HISTORY + i)) * INT64_C(60000000);
        task->horizon[i].offset_minutes = TASK_NO_OFFSET;
    }
    task->params = params;
    if (task_encode(task, &w->input, &err) == -1 ||
        task_about_encode(&about, &w->about, &err) == -1)
        measure_die("task", err.text);
    w->cost = task_cost(HISTORY, HORIZON, 1, params.context_mode, CONTEXT);
    task_free(task);
}

static void
encode_result(struct queue_work *w)
{
    struct task_output output = {.repair = true};
    struct error err;
    struct result *r = result_new(HORIZON, &output, 1, &err);

    if (r == NULL)
        measure_die("result", err.text);
    for (size_t i = 0; i < HORIZON; i++) {
        r->times[i].wall_us = (FIRST_MINUTE + 5 * (int64_t)(HISTORY + i)) * INT64_C(60000000);
        r->times[i].offset_minutes = TASK_NO_OFFSET;
        for (size_t j = 0; j < TASK_FIELDS; j++)
            r->prediction[i * TASK_FIELDS + j] = 65000.0f + (float)(i + j);
    }
    r->provenance = (struct result_provenance){.weights_sha256 = SHA256,
        .tokenizer_sha256 = SHA256,
        .engine = "0.1.0",
        .kernel = "avx512",
        .precision = "fp32",
        .model_version = "kronos-small@e9388fe34eca",
        .tokenizer_version = "tokenizer@e2e143055142",
        .params = params,
        .context = CONTEXT,
        .rows_given = HISTORY,
        .rows_used = HISTORY,
        .forecast_sha256 = SHA256};
    r->timing = (struct result_timing){.run_ms = 900, .batch_size = 8, .worker = "w-1838c62d"};
    if (result_encode(r, &w->output, &err) == -1)
        measure_die("result", err.text);
    result_free(r);
}

void
queue_work_init(struct queue_work *w)
{
    struct error err;

    memset(w, 0, sizeof(*w));
    if (queue_init(&w->queue, "kronos-small", &err) == -1)
        measure_die("queue", err.text);
    id_new(w->worker);
    memset(w->run_id, 'a', sizeof(w->run_id) - 1);
    encode_task(w);
    encode_result(w);
}

void
queue_work_clear(struct queue_work *w)
{
    free(w->input.data);
    free(w->about.data);
    free(w->output.data);
}

void
queue_work_submit(const struct queue_work *w, redisContext *c, enum task_priority priority)
{
    char id[ID_LEN + 1];
    struct queue_series series = {.task_id = id,
        .prefill_tokens = w->cost.prefill_tokens,
        .decode_steps = w->cost.decode_steps,
        .horizon = HORIZON,
        .input = w->input.data,
        .input_size = w->input.size,
        .about = w->about.data,
        .about_size = w->about.size};
    struct queue_submission s = {.id = id,
        .priority = priority,
        .owner = "local",
        .digest = SHA256,
        .result_ttl_ms = QUEUE_RESULT_TTL_MS,
        .idem_ttl_ms = QUEUE_IDEM_TTL_MS,
        .max_attempts = QUEUE_MAX_ATTEMPTS,
        .max_queued = 10 * QUEUE_MAX_QUEUED,
        .max_bytes = 10 * QUEUE_MAX_BYTES,
        .n_series = 1,
        .series = &series};
    struct queue_submitted out;
    struct error err;

    id_new(id);
    if (queue_submit(c, &w->queue, &s, &out, &err) == -1)
        measure_die("submit", err.text);
    if (out.outcome != QUEUE_SUBMITTED)
        measure_die("submit", "refused");
}

static bool
claim(const struct queue_work *w, redisContext *c, const char *hint, size_t hint_len,
    struct queue_lease *lease)
{
    struct queue_claim_request request = {.priority = TASK_NORMAL,
        .hint = hint,
        .hint_len = hint_len,
        .worker = w->worker,
        .lease_ms = 3600000,
        .room = 1,
        .room_other = 1,
        .takes = 1u << TASK_URGENT | 1u << TASK_NORMAL};
    struct queue_claims claims;
    struct error err;
    bool found;

    if (queue_claim(c, &w->queue, &request, &claims, &err) == -1)
        measure_die("claim", err.text);
    found = claims.n > 0;
    if (found)
        *lease = claims.leases[0];
    queue_claims_clear(&claims);
    lease->input = NULL; /* freed with the claims */
    return found;
}

bool
queue_work_claim(const struct queue_work *w, redisContext *c, struct queue_lease *lease)
{
    return claim(w, c, NULL, 0, lease);
}

void
queue_work_pop(const struct queue_work *w, redisContext *c, struct queue_lease *lease)
{
    char urgent[QUEUE_KEY_MAX], normal[QUEUE_KEY_MAX];
    redisReply *reply;
    bool found = false;

    queue_list_key(&w->queue, TASK_URGENT, urgent);
    queue_list_key(&w->queue, TASK_NORMAL, normal);
    while (!found) {
        reply = redisCommand(c, "BLPOP %s %s " BLPOP_WAIT, urgent, normal);
        if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
            measure_die("BLPOP", reply == NULL ? c->errstr : reply->str);
        if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
            found = claim(w, c, reply->element[1]->str, reply->element[1]->len, lease);
        freeReplyObject(reply);
    }
}

void
queue_work_renew(const struct queue_work *w, redisContext *c, const struct queue_lease *lease)
{
    struct queue_renewal renewal = {.id = lease->id, .fence = lease->fence, .ticks = 1, .step = 1};
    enum queue_renew_code code;
    struct error err;

    if (queue_renew(c, &w->queue, w->worker, QUEUE_LEASE_MS, QUEUE_MAX_RUN_MS, &renewal, 1, &code,
            &err) == -1)
        measure_die("renew", err.text);
    if (code != QUEUE_RENEWED)
        measure_die("renew", "refused");
}

void
queue_work_complete(const struct queue_work *w, redisContext *c, const struct queue_lease *lease)
{
    struct queue_token token = {lease->id, lease->fence, w->worker};
    enum queue_end end;
    struct error err;

    if (queue_complete(c, &w->queue, &token, w->output.data, w->output.size, &end, &err) == -1)
        measure_die("complete", err.text);
    if (end != QUEUE_END_COMPLETED)
        measure_die("complete", queue_end_name(end));
}

void
queue_work_beat(const struct queue_work *w, redisContext *c)
{
    const struct queue_presence p = {.worker = w->worker,
        .name = "w-1838c62d",
        .host = "here",
        .version = "0.1.0",
        .model_version = "kronos-small@e9388fe34eca",
        .weights_sha256 = SHA256,
        .kernel = "avx512",
        .tokenizer_version = "tokenizer@e2e143055142",
        .tokenizer_sha256 = SHA256,
        .pid = 4711,
        .slots = 8,
        .context = CONTEXT};
    struct queue_control control;
    struct error err;

    if (queue_beat(c, &w->queue, &p, &control, &err) == -1)
        measure_die("beat", err.text);
}

void
queue_work_sweep(const struct queue_work *w, redisContext *c)
{
    struct queue_swept swept;
    struct error err;

    if (queue_sweep(c, &w->queue, w->run_id, &swept, &err) == -1)
        measure_die("sweep", err.text);
}
