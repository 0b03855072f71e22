/*
 * submit_task.c - Puts a task into a queue without the API, and shows what became of one.
 *
 *   submit_task --redis URL --model NAME [options]         prints the id of the new task
 *   submit_task --redis URL --model NAME --show ID         prints a JSON object
 *
 * Candles are made up, the same for the same number of them. For tests of the worker
 * alone; people use `kronosq`.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/id.h"
#include "common/queue/queue.h"
#include "common/redis.h"
#include "common/result.h"
#include "common/task.h"

struct wish {
    const char *redis, *model, *show;
    enum task_priority priority;
    uint32_t samples;
    size_t history, horizon;
    uint64_t seed;
    int64_t deadline_ms;
    bool is_corrupt, wants_paths, wants_statistics;
    enum task_context_mode mode;
};

static int
fail(const struct error *err)
{
    fprintf(stderr, "submit_task: %s\n", err->text);
    return 1;
}

static struct task *
make_task(const struct wish *w, struct error *err)
{
    const int64_t first_minute = INT64_C(28928700); /* 2025-01-01T09:00:00 */
    struct task *task = task_new(w->history, w->horizon, err);
    float price = 100.0f;

    if (task == NULL)
        return NULL;
    for (size_t i = 0; i < w->history; i++) {
        float *row = task->candles + i * TASK_FIELDS;
        float close = price * (1.0f + 0.004f * ((float)(i * 7919 % 13) - 6.0f) / 6.0f);

        row[0] = price;
        row[1] = (price > close ? price : close) * 1.002f;
        row[2] = (price < close ? price : close) * 0.998f;
        row[3] = close;
        row[4] = 10.0f + (float)(i * 31 % 17);
        row[5] = row[4] * close;
        task->history_minutes[i] = first_minute + 5 * (int64_t)i;
        price = close;
    }
    for (size_t i = 0; i < w->horizon; i++) {
        task->horizon[i].wall_us =
            (first_minute + 5 * (int64_t)(w->history + i)) * INT64_C(60000000);
        task->horizon[i].offset_minutes = TASK_NO_OFFSET;
    }
    task->params = (struct task_params){.sample_count = w->samples,
        .temperature = 1.0f,
        .top_p = 0.9f,
        .seed = w->seed,
        .context_mode = w->mode};
    task->output.paths = w->wants_paths;
    if (w->wants_statistics) {
        task->output.stats = TASK_STAT_ALL;
        task->output.n_quantiles = 1;
        task->output.quantiles[0] = 0.5;
    }
    return task;
}

static int
submit(redisContext *redis, const struct queue *queue, const struct wish *w)
{
    struct task_about about = {.n_horizon = (uint32_t)w->horizon, .sample_count = w->samples};
    struct task_cost cost = task_cost(w->history, w->horizon, w->samples, w->mode, 512);
    struct task_bytes input = {0}, shown = {0};
    struct queue_submitted submitted;
    struct error err;
    struct task *task;
    char id[ID_LEN + 1];
    int status = -1;

    id_new(id);
    task = make_task(w, &err);
    if (task != NULL && task_encode(task, &input, &err) == 0 &&
        task_about_encode(&about, &shown, &err) == 0) {
        struct queue_series series = {.task_id = id,
            .prefill_tokens = cost.prefill_tokens,
            .decode_steps = cost.decode_steps,
            .input = input.data,
            .input_size = w->is_corrupt ? input.size / 2 : input.size,
            .about = shown.data,
            .about_size = shown.size};
        struct queue_submission s = {.id = id,
            .priority = w->priority,
            .owner = "local",
            .digest = id,
            .result_ttl_ms = QUEUE_RESULT_TTL_MS,
            .idem_ttl_ms = QUEUE_IDEM_TTL_MS,
            .deadline_in_ms = w->deadline_ms,
            .max_attempts = QUEUE_MAX_ATTEMPTS,
            .max_queued = QUEUE_MAX_QUEUED,
            .max_bytes = QUEUE_MAX_BYTES,
            .n_series = 1,
            .series = &series};

        status = queue_submit(redis, queue, &s, &submitted, &err);
        if (status == 0 && submitted.outcome != QUEUE_SUBMITTED)
            status = error_set(&err, ERR_INVALID, "refused with %d", (int)submitted.outcome);
    }
    task_free(task);
    free(input.data);
    free(shown.data);
    if (status == -1)
        return fail(&err);
    puts(id);
    return 0;
}

static void
print_result(const struct result *r)
{
    printf(
        ",\"horizon\":%zu,\"forecast_sha256\":\"%s\",\"weights_sha256\":\"%s\",\"kernel\":\"%s\","
        "\"model_version\":\"%s\",\"seed\":%" PRIu64 ",\"rows_used\":%" PRIu32
        ",\"batch_size\":%" PRIu32 ",\"run_ms\":%" PRId64 ",\"worker\":\"%s\","
        "\"has_paths\":%s,\"n_quantiles\":%" PRIu32 ",\"prediction\":[",
        r->n_horizon, r->provenance.forecast_sha256, r->provenance.weights_sha256,
        r->provenance.kernel, r->provenance.model_version, r->provenance.params.seed,
        r->provenance.rows_used, r->timing.batch_size, r->timing.run_ms, r->timing.worker,
        r->paths != NULL ? "true" : "false", r->output.n_quantiles);
    for (size_t i = 0; i < r->n_horizon * TASK_FIELDS; i++)
        printf("%s%.9g", i > 0 ? "," : "", (double)r->prediction[i]);
    printf("]");
}

static int
show(redisContext *redis, const struct queue *queue, const char *id)
{
    struct queue_call call;
    struct queue_task_view view;
    struct result *result = NULL;
    struct error err;
    redisReply *reply;
    int status = 1;

    if (queue_read_call(queue, id, true, &call, &err) == -1)
        return fail(&err);
    reply = queue_run(redis, &call, &err);
    queue_call_clear(&call);
    if (reply == NULL)
        return fail(&err);
    if (queue_read_parse(reply, true, &view, &err) == -1) {
        fail(&err);
    } else if (!view.found) {
        puts("{\"status\":null}");
        status = 0;
    } else if (view.output != NULL &&
               (result = result_decode(view.output, view.output_size, &err)) == NULL) {
        fail(&err);
    } else {
        printf("{\"status\":\"%s\",\"attempts\":%" PRIu32 ",\"step\":%" PRIu32
               ",\"error_code\":\"%.*s\",\"error_text\":\"%.*s\"",
            task_status_name(view.status), view.attempts, view.step, (int)view.error_code_len,
            view.error_code_len > 0 ? view.error_code : "", (int)view.error_text_len,
            view.error_text_len > 0 ? view.error_text : "");
        if (result != NULL)
            print_result(result);
        puts("}");
        status = 0;
    }
    result_free(result);
    freeReplyObject(reply);
    return status;
}

static int
read_options(int argc, char **argv, struct wish *w)
{
    static const struct option options[] = {
        {"redis", required_argument, NULL, 'r'},
        {"model", required_argument, NULL, 'm'},
        {"show", required_argument, NULL, 'w'},
        {"priority", required_argument, NULL, 'p'},
        {"samples", required_argument, NULL, 's'},
        {"history", required_argument, NULL, 'l'},
        {"horizon", required_argument, NULL, 'h'},
        {"seed", required_argument, NULL, 'e'},
        {"deadline-ms", required_argument, NULL, 'd'},
        {"mode", required_argument, NULL, 'o'},
        {"corrupt", no_argument, NULL, 'c'},
        {"paths", no_argument, NULL, 'a'},
        {"statistics", no_argument, NULL, 't'},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'r':
            w->redis = optarg;
            break;
        case 'm':
            w->model = optarg;
            break;
        case 'w':
            w->show = optarg;
            break;
        case 'p':
            if (task_priority_from_name(optarg, strlen(optarg), &w->priority) == -1)
                return -1;
            break;
        case 's':
            w->samples = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'l':
            w->history = strtoul(optarg, NULL, 10);
            break;
        case 'h':
            w->horizon = strtoul(optarg, NULL, 10);
            break;
        case 'e':
            w->seed = strtoull(optarg, NULL, 10);
            break;
        case 'd':
            w->deadline_ms = strtoll(optarg, NULL, 10);
            break;
        case 'o':
            if (task_context_mode_from_name(optarg, strlen(optarg), &w->mode) == -1)
                return -1;
            break;
        case 'c':
            w->is_corrupt = true;
            break;
        case 'a':
            w->wants_paths = true;
            break;
        case 't':
            w->wants_statistics = true;
            break;
        default:
            return -1;
        }
    }
    return w->redis != NULL && w->model != NULL && optind == argc ? 0 : -1;
}

int
main(int argc, char **argv)
{
    struct wish w = {.priority = TASK_NORMAL, .samples = 1, .history = 24, .horizon = 8, .seed = 1};
    struct redis_settings settings;
    redisContext *redis;
    struct queue queue;
    struct error err;
    int status;

    if (read_options(argc, argv, &w) == -1) {
        fprintf(stderr, "usage: submit_task --redis URL --model NAME [--priority P] [--samples N] "
                        "[--history N] [--horizon N] [--seed N] [--deadline-ms N] [--mode M] "
                        "[--corrupt] [--paths] [--statistics] | --show ID\n");
        return 2;
    }
    if (queue_init(&queue, w.model, &err) == -1 ||
        redis_settings_parse(&settings, w.redis, NULL, &err) == -1)
        return fail(&err);
    if ((redis = redis_open(&settings, "submit_task", &err)) == NULL)
        return fail(&err);
    status = w.show != NULL ? show(redis, &queue, w.show) : submit(redis, &queue, &w);
    redisFree(redis);
    redis_settings_clear(&settings);
    return status;
}
