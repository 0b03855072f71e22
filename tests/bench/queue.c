/*
 * queue.c - What the queue protocol costs, with no model and no API: the functions workers and API
 * call, against a Redis of its own with the settings of operation (append-only file, a unix socket).
 *
 *   build/release/tests/bench/queue [--json FILE] [--tasks N] [--seconds T] [--connections 1,2,4]
 *
 * Latency: a worker waits in BLPOP, a client submits; from before the submit to after the claim.
 * Cost: CPU of the Redis process for each call of one kind. Throughput: connections that each
 * submit, claim and complete, as fast as they can. Memory: of tasks that wait, of results kept.
 */
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/queue/queue.h"
#include "common/result.h"
#include "common/task.h"
#include "tests/bench/measure.h"
#include "tests/bench/queue_work.h"
#include "tests/bench/report.h"
#include "tests/support/redis_server.h"

#define THREADS_MAX 64
#define TASKS_MAX   100000

struct bench {
    struct redis_server *server;
    redisContext *redis;
    struct queue_work work;
    struct cJSON *report;
    size_t n_tasks;
    double seconds;
};

/* ---- what Redis says of itself ---- */

static double
info(const struct bench *b, const char *section, const char *name)
{
    redisReply *reply = redisCommand(b->redis, "INFO %s", section);
    const char *found;
    char label[64];
    double value;

    snprintf(label, sizeof(label), "\n%s:", name);
    if (reply == NULL || reply->str == NULL || (found = strstr(reply->str, label)) == NULL)
        measure_die("INFO", name);
    value = strtod(found + strlen(label), NULL);
    freeReplyObject(reply);
    return value;
}

static double
redis_cpu(const struct bench *b)
{
    return info(b, "cpu", "used_cpu_user") + info(b, "cpu", "used_cpu_sys");
}

/* Of what is stored: buffers of connections and of the append-only file come and go. */
static double
redis_memory(const struct bench *b)
{
    return info(b, "memory", "used_memory") - info(b, "memory", "mem_clients_normal") -
           info(b, "memory", "mem_aof_buffer");
}

static void
empty(const struct bench *b)
{
    redisReply *reply = redisCommand(b->redis, "FLUSHALL");

    if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
        measure_die("FLUSHALL", "refused");
    freeReplyObject(reply);
}

static void
add(const struct bench *b, const char *name, const char *unit, double value)
{
    report_row(b->report, name, unit, REPORT_LOWER, (struct summary){.median = value});
}

/* ---- latency ---- */

struct waiter {
    struct bench *bench;
    redisContext *redis;
    double *claimed; /* when the claim of the i-th task had its answer */
    size_t n;
    _Atomic size_t done;
};

/* A worker: waits for a hint, claims, completes. */
static void *
wait_and_claim(void *cookie)
{
    struct waiter *w = cookie;
    struct queue_lease lease;

    for (size_t i = 0; i < w->n; i++) {
        queue_work_pop(&w->bench->work, w->redis, &lease);
        w->claimed[i] = measure_now();
        queue_work_complete(&w->bench->work, w->redis, &lease);
        atomic_store(&w->done, i + 1);
    }
    return NULL;
}

static void
add_latency(const struct bench *b, const char *name, double *values, size_t n)
{
    struct cJSON *row = report_row(b->report, name, "s", REPORT_LOWER, measure_summary(values, n));
    struct cJSON *part = report_part(row, "detail");

    report_number(part, "p95", measure_quantile(values, n, 0.95));
    report_number(part, "p99", measure_quantile(values, n, 0.99));
}

/* One task at a time, for a worker that has nothing to do; ${behind} low ones wait, which it does not take. */
static void
measure_latency(struct bench *b, size_t behind, const char *name)
{
    size_t n = b->n_tasks;
    double *submitted = measure_take(n, sizeof(double));
    struct waiter w = {.bench = b,
        .redis = redis_server_connect(b->server),
        .claimed = measure_take(n, sizeof(double)),
        .n = n};
    pthread_t thread;

    empty(b);
    for (size_t i = 0; i < behind; i++)
        queue_work_submit(&b->work, b->redis, TASK_LOW);
    if (w.redis == NULL || pthread_create(&thread, NULL, wait_and_claim, &w) != 0)
        measure_die("worker", "cannot be started");
    for (size_t i = 0; i < n; i++) {
        while (atomic_load(&w.done) < i)
            sched_yield();
        while (info(b, "clients", "blocked_clients") < 1.0) /* until it waits again */
            sched_yield();
        submitted[i] = measure_now();
        queue_work_submit(&b->work, b->redis, TASK_NORMAL);
    }
    pthread_join(thread, NULL);
    for (size_t i = 0; i < n; i++)
        submitted[i] = w.claimed[i] - submitted[i];
    add_latency(b, name, submitted, n);
    redisFree(w.redis);
    free(w.claimed);
    free(submitted);
}

/* ---- what one call costs Redis, and its caller ---- */

enum call { CALL_SUBMIT, CALL_CLAIM, CALL_RENEW, CALL_COMPLETE, CALL_BEAT, CALL_SWEEP, CALLS };

static void
make_call(const struct bench *b, enum call call, struct queue_lease *lease)
{
    switch (call) {
    case CALL_SUBMIT:
        queue_work_submit(&b->work, b->redis, TASK_NORMAL);
        break;
    case CALL_CLAIM:
        if (!queue_work_claim(&b->work, b->redis, lease))
            measure_die("claim", "nothing waits");
        break;
    case CALL_RENEW:
        queue_work_renew(&b->work, b->redis, lease);
        break;
    case CALL_COMPLETE:
        queue_work_complete(&b->work, b->redis, lease);
        break;
    case CALL_BEAT:
        queue_work_beat(&b->work, b->redis);
        break;
    default:
        queue_work_sweep(&b->work, b->redis);
    }
}

static void
measure_calls(struct bench *b)
{
    static const char *const names[CALLS] = {
        "submit", "claim", "renew", "complete", "beat", "sweep"};
    struct queue_lease *leases = measure_take(b->n_tasks, sizeof(*leases));
    double *seconds = measure_take(b->n_tasks, sizeof(*seconds)), of_task = 0.0;

    empty(b);
    for (enum call call = 0; call < CALLS; call++) {
        double cpu = redis_cpu(b);
        struct cJSON *row;
        char name[48];

        for (size_t i = 0; i < b->n_tasks; i++) {
            double start = measure_now();

            make_call(b, call, &leases[i]);
            seconds[i] = measure_now() - start;
        }
        cpu = (redis_cpu(b) - cpu) / (double)b->n_tasks;
        if (call == CALL_SUBMIT || call == CALL_CLAIM || call == CALL_COMPLETE)
            of_task += cpu;
        snprintf(name, sizeof(name), "call %s", names[call]);
        row = report_row(b->report, name, "s", REPORT_LOWER, measure_summary(seconds, b->n_tasks));
        report_number(report_part(row, "detail"), "redis_cpu", cpu);
        report_number(
            report_part(row, "detail"), "p99", measure_quantile(seconds, b->n_tasks, 0.99));
    }
    add(b, "redis CPU of a task", "s", of_task);
    free(leases);
    free(seconds);
}

/* ---- throughput ---- */

struct runner {
    struct bench *bench;
    redisContext *redis;
    atomic_bool *stop;
    size_t done;
};

static void *
run_tasks(void *cookie)
{
    struct runner *r = cookie;
    struct queue_lease lease;

    while (!atomic_load_explicit(r->stop, memory_order_relaxed)) {
        queue_work_submit(&r->bench->work, r->redis, TASK_NORMAL);
        /* A sister may have taken it and left hers. */
        if (queue_work_claim(&r->bench->work, r->redis, &lease)) {
            queue_work_complete(&r->bench->work, r->redis, &lease);
            r->done++;
        }
    }
    return NULL;
}

static void
measure_throughput(struct bench *b, size_t n_connections)
{
    struct runner runners[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    atomic_bool stop = false;
    double start, cpu, own;
    size_t done = 0;
    struct cJSON *row;
    char name[48];

    empty(b);
    for (size_t i = 0; i < n_connections; i++) {
        runners[i] = (struct runner){b, redis_server_connect(b->server), &stop, 0};
        if (runners[i].redis == NULL)
            measure_die("connection", "refused");
    }
    cpu = redis_cpu(b);
    own = measure_cpu_seconds();
    start = measure_now();
    for (size_t i = 0; i < n_connections; i++)
        if (pthread_create(&threads[i], NULL, run_tasks, &runners[i]) != 0)
            measure_die("thread", "cannot be started");
    while (measure_now() - start < b->seconds)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 5000000}, NULL);
    atomic_store(&stop, true);
    for (size_t i = 0; i < n_connections; i++) {
        pthread_join(threads[i], NULL);
        done += runners[i].done;
        redisFree(runners[i].redis);
    }
    start = measure_now() - start;
    own = measure_cpu_seconds() - own;
    cpu = redis_cpu(b) - cpu;
    snprintf(name, sizeof(name), "tasks through %zu connections", n_connections);
    row = report_row(
        b->report, name, "1/s", REPORT_HIGHER, (struct summary){.median = (double)done / start});
    report_number(report_part(row, "where"), "connections", (double)n_connections);
    report_number(report_part(row, "detail"), "redis_cpu_share", cpu / start);
    report_number(report_part(row, "detail"), "clients_cpu_share", own / start);
    report_number(report_part(row, "detail"), "redis_cpu_per_task", cpu / (double)done);
}

/* ---- memory ---- */

static void
measure_memory(struct bench *b)
{
    double n = (double)b->n_tasks, before, waiting;
    struct queue_lease lease;

    empty(b);
    before = redis_memory(b);
    for (size_t i = 0; i < b->n_tasks; i++)
        queue_work_submit(&b->work, b->redis, TASK_NORMAL);
    waiting = redis_memory(b) - before;
    add(b, "memory of a task that waits", "B", waiting / n);
    while (queue_work_claim(&b->work, b->redis, &lease))
        queue_work_complete(&b->work, b->redis, &lease);
    add(b, "memory of a result kept", "B", (redis_memory(b) - before) / n);
    report_number(report_part(b->report, "setup"), "input_bytes", (double)b->work.input.size);
    report_number(report_part(b->report, "setup"), "output_bytes", (double)b->work.output.size);
}

int
main(int argc, char **argv)
{
    static const struct option known[] = {
        {"json", required_argument, NULL, 'j'},
        {"tasks", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'},
        {"connections", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    struct bench b = {.n_tasks = 2000, .seconds = 3.0};
    char connections_default[] = "1,2,4,8,16", *connections = connections_default, *word;
    const char *json = "-";
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'j':
            json = optarg;
            break;
        case 'n':
            b.n_tasks = measure_number("--tasks", optarg, 10, QUEUE_MAX_QUEUED);
            break;
        case 's':
            b.seconds = measure_real("--seconds", optarg, 0.1, 600.0);
            break;
        case 'c':
            connections = optarg;
            break;
        default:
            return 2;
        }
    }
    if ((b.server = redis_server_new(NULL)) == NULL ||
        (b.redis = redis_server_connect(b.server)) == NULL)
        measure_die("redis-server", "cannot be used");
    b.report = report_new("queue");
    queue_work_init(&b.work);
    measure_latency(&b, 0, "submit to claimed");
    measure_latency(&b, 1000, "submit to claimed, 1000 wait in low");
    measure_calls(&b);
    while ((word = strsep(&connections, ",")) != NULL)
        measure_throughput(&b, measure_number("--connections", word, 1, THREADS_MAX));
    measure_memory(&b);
    report_write(b.report, json);
    queue_work_clear(&b.work);
    redisFree(b.redis);
    redis_server_free(b.server);
    return 0;
}
