/*
 * load.c - Clients of a running service, and what they lived through.
 *
 *   build/release/tests/bench/load --port N --body FILE [--json FILE]
 *       --clients N | --rate R | --submit-only N
 *       [--seconds T] [--warm-up T] [--count N] [--seed N] [--first N]
 *
 * --clients: closed loop, each submits, waits for the end of its task and submits the next.
 * --rate: open loop, R tasks a second at random times (Poisson). They are due when they are due:
 * latencies count from there, not from when a slow service let the request out.
 * --submit-only: that many tasks, and nobody waits for them.
 *
 * Tasks due within the first --warm-up seconds are not counted. It ends --seconds later, or after
 * --count tasks, and when every task that was submitted has ended.
 *
 * In FILE "@@@@@@@@@@" becomes another number in every request, from --first on: a seed, so that no
 * task is another's twin. One thread; its own share of a core is in the result, so that nobody takes
 * the generator's limit for the service's.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/id.h"
#include "tests/bench/load_http.h"
#include "tests/bench/load_seen.h"
#include "tests/bench/measure.h"
#include "tests/bench/report.h"

#define MARK         "@@@@@@@@@@"
#define MARK_LEN     10
#define FIRST_NUMBER 1000000000
#define CLIENTS_MAX  4096
#define BODY_MAX     (64 << 20)
#define GRACE        300.0 /* seconds for the last tasks to end in */

struct load;

struct client {
    struct load *load;
    struct load_http *http;
    struct client *next_idle;
    char path[64];      /* of the task waited for */
    double due, submit; /* when it was due; until it was accepted */
};

struct load {
    struct event_base *base;
    struct event *clock; /* the next arrival, or the end of the warm-up */
    const char *json;
    char *body;
    size_t body_size, mark; /* where the number goes; body_size: nowhere */
    uint64_t number, random;
    int port;
    size_t n_clients, count, submit_only;
    double rate, seconds, warm_up;
    double start, next_due, latest; /* latest: the longest a request left after it was due */
    double wall_start;              /* the same moment as ${start} */
    struct client *idle;
    size_t n_connections, n_running, n_submitted, n_refused, n_failed;
    struct load_seen seen;
};

static double
wall_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- arrivals ---- */

/* (0, 1] */
static double
draw(struct load *l)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return ((double)(l->random >> 11) + 1.0) / 9007199254740992.0;
}

/* Is a task that is due at ${due} still part of the load? */
static bool
is_within(const struct load *l, double due)
{
    if (l->submit_only > 0)
        return l->n_submitted < l->submit_only;
    if (l->count > 0 && l->n_submitted >= l->count)
        return false;
    return due < l->start + l->warm_up + l->seconds;
}

static void submit(struct client *c, double due);

/* Nothing runs and nothing more will come. */
static void
end_if_done(struct load *l)
{
    double due = l->rate > 0.0 ? l->next_due : measure_now();

    if (l->n_running == 0 && !is_within(l, due))
        event_base_loopbreak(l->base);
}

static struct client *
take_client(struct load *l)
{
    struct client *c = l->idle;

    if (c != NULL) {
        l->idle = c->next_idle;
        return c;
    }
    if (l->n_connections == CLIENTS_MAX)
        measure_die("--rate", "4096 tasks are waited for: the service does not keep up");
    c = measure_take(1, sizeof(*c));
    c->load = l;
    c->http = load_http_new(l->base, l->port);
    l->n_connections++;
    return c;
}

static void
give_back(struct client *c)
{
    struct load *l = c->load;

    c->next_idle = l->idle;
    l->idle = c;
    l->n_running--;
}

/* An arrival is due. */
static void
on_clock(evutil_socket_t fd, short what, void *cookie)
{
    struct load *l = cookie;
    double now = measure_now(), wait;
    struct timeval after;

    (void)fd;
    (void)what;
    while (l->next_due <= now && is_within(l, l->next_due)) {
        submit(take_client(l), l->next_due);
        l->next_due -= log(draw(l)) / l->rate;
    }
    if (!is_within(l, l->next_due)) {
        end_if_done(l);
        return;
    }
    wait = l->next_due - measure_now();
    wait = wait > 0.0 ? wait : 0.0;
    after.tv_sec = (time_t)wait;
    after.tv_usec = (suseconds_t)((wait - floor(wait)) * 1e6);
    evtimer_add(l->clock, &after);
}

/* The client has nothing to wait for any more. */
static void
go_on(struct client *c)
{
    struct load *l = c->load;
    double now = measure_now();

    give_back(c);
    if (l->rate <= 0.0 && is_within(l, now))
        submit(take_client(l), now);
    end_if_done(l);
}

/* ---- what became of a task ---- */

/* "2025-01-01T09:00:00.123Z" as seconds since 1970; 0 when it is none. */
static double
seconds_of(const cJSON *document, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(document, name));
    struct tm t = {0};
    const char *rest;

    if (text == NULL || (rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &t)) == NULL)
        return 0.0;
    return (double)timegm(&t) + (*rest == '.' ? strtod(rest, NULL) : 0.0);
}

static void on_document(void *cookie, const struct load_reply *reply);

/* The task's document has come, finished or not. */
static void
on_document(void *cookie, const struct load_reply *reply)
{
    struct client *c = cookie;
    struct load *l = c->load;
    cJSON *document;
    const char *status;
    double now = measure_now();

    if (reply->status != 200)
        measure_die("task", reply->body);
    document = cJSON_ParseWithLength(reply->body, reply->size);
    status = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(document, "status"));
    if (status == NULL)
        measure_die("task", "its document has no status");
    if (strcmp(status, "queued") == 0 || strcmp(status, "processing") == 0) {
        load_http_get(c->http, c->path, on_document, c);
    } else if (strcmp(status, "completed") != 0) {
        l->n_failed++;
        go_on(c);
    } else {
        double created = seconds_of(document, "created_at");
        struct seen *seen = load_seen_add(&l->seen);

        seen->submit = c->submit;
        seen->end_to_end = now - c->due;
        seen->started = seconds_of(document, "started_at");
        seen->finished = seconds_of(document, "finished_at");
        seen->wait = seen->started - created;
        seen->run = seen->finished - seen->started;
        seen->is_counted = c->due >= l->start + l->warm_up;
        go_on(c);
    }
    cJSON_Delete(document);
}

/* The submit has been answered. */
static void
on_submitted(void *cookie, const struct load_reply *reply)
{
    struct client *c = cookie;
    struct load *l = c->load;
    const char *id;

    c->submit = measure_now() - c->due;
    if (reply->status != 202) {
        if (l->n_refused++ == 0)
            fprintf(stderr, "bench: refused with %d: %.300s\n", reply->status, reply->body);
        if (l->n_refused > 100)
            measure_die("submit", "refused a hundred times");
        go_on(c);
        return;
    }
    id = strstr(reply->body, "\"task_id\":\"");
    if (id == NULL)
        measure_die("submit", "no task_id");
    if (l->submit_only > 0) {
        struct seen *seen = load_seen_add(&l->seen);

        seen->submit = c->submit;
        seen->is_counted = true;
        go_on(c);
        return;
    }
    snprintf(c->path, sizeof(c->path), "/v1/tasks/%.*s?wait=60", ID_LEN, id + 11);
    load_http_get(c->http, c->path, on_document, c);
}

static void
submit(struct client *c, double due)
{
    struct load *l = c->load;
    double late = measure_now() - due;

    if (l->mark < l->body_size) {
        char number[MARK_LEN + 1];

        snprintf(number, sizeof(number), "%010llu", (unsigned long long)(l->number % 9000000000));
        memcpy(l->body + l->mark, number, MARK_LEN);
        l->number++;
    }
    c->due = due;
    l->latest = late > l->latest ? late : l->latest;
    l->n_submitted++;
    l->n_running++;
    load_http_post(c->http, "/v1/predict/single", l->body, l->body_size, on_submitted, c);
}

/* ---- the report ---- */

static void
report(struct load *l, double cpu, double elapsed)
{
    struct cJSON *result = report_new("load"), *part = report_part(result, "counts");

    report_number(part, "submitted", (double)(l->n_submitted - l->n_refused));
    report_number(part, "refused", (double)l->n_refused);
    report_number(part, "failed", (double)l->n_failed);
    report_number(part, "completed", l->submit_only > 0 ? 0.0 : (double)l->seen.n);
    part = report_part(result, "generator");
    report_number(part, "cpu_share", cpu / elapsed);
    report_number(part, "latest_seconds", l->rate > 0.0 ? l->latest : 0.0);
    report_number(part, "connections", (double)l->n_connections);
    report_number(part, "seconds", elapsed);
    load_seen_latencies(&l->seen, result, l->submit_only == 0);
    if (l->submit_only == 0) {
        double from = l->wall_start + l->warm_up, to = from + l->seconds;
        struct summary s = {.n = 0};

        if (l->count > 0)
            to = load_seen_last(&l->seen);
        if (to > from) {
            s.median = load_seen_throughput(&l->seen, from, to);
            report_row(result, "throughput", "1/s", REPORT_HIGHER, s);
        }
    }
    report_write(result, l->json);
}

static void
read_body(struct load *l, const char *path)
{
    FILE *f = fopen(path, "r");
    char *mark;

    if (f == NULL)
        measure_die(path, strerror(errno));
    l->body = measure_take(BODY_MAX, 1);
    l->body_size = fread(l->body, 1, BODY_MAX - 1, f);
    if (ferror(f))
        measure_die(path, strerror(errno));
    fclose(f);
    mark = strstr(l->body, MARK);
    l->mark = mark != NULL ? (size_t)(mark - l->body) : l->body_size;
}

static void
on_too_late(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    (void)cookie;
    measure_die("tasks", "did not end within five minutes after the load");
}

int
main(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},
        {"body", required_argument, NULL, 'b'},
        {"json", required_argument, NULL, 'j'},
        {"clients", required_argument, NULL, 'c'},
        {"rate", required_argument, NULL, 'r'},
        {"submit-only", required_argument, NULL, 'o'},
        {"seconds", required_argument, NULL, 's'},
        {"warm-up", required_argument, NULL, 'w'},
        {"count", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 'd'},
        {"first", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    struct load l = {.json = "-", .number = FIRST_NUMBER, .random = 1, .seconds = 10.0};
    struct event_config *config = event_config_new();
    const char *body = NULL;
    struct timeval limit;
    struct event *too_late;
    double cpu;
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'p':
            l.port = (int)measure_number("--port", optarg, 1, 65535);
            break;
        case 'b':
            body = optarg;
            break;
        case 'j':
            l.json = optarg;
            break;
        case 'c':
            l.n_clients = measure_number("--clients", optarg, 1, CLIENTS_MAX);
            break;
        case 'r':
            l.rate = measure_real("--rate", optarg, 0.001, 1e6);
            break;
        case 'o':
            l.submit_only = measure_number("--submit-only", optarg, 1, LOAD_TASKS_MAX);
            break;
        case 's':
            l.seconds = measure_real("--seconds", optarg, 0.1, 86400.0);
            break;
        case 'w':
            l.warm_up = measure_real("--warm-up", optarg, 0.0, 86400.0);
            break;
        case 'n':
            l.count = measure_number("--count", optarg, 1, LOAD_TASKS_MAX);
            break;
        case 'd':
            l.random = 2 * measure_number("--seed", optarg, 0, UINT32_MAX) + 1;
            break;
        case 'f':
            l.number = measure_number("--first", optarg, FIRST_NUMBER, 8999999999);
            break;
        default:
            return 2;
        }
    }
    if (l.port == 0 || body == NULL ||
        (l.n_clients > 0) + (l.rate > 0.0) + (l.submit_only > 0) != 1)
        measure_die("usage", "load --port N --body FILE and one of --clients --rate --submit-only");
    read_body(&l, body);
    for (int i = 0; i < 64; i++) /* a small seed has few bits: mix them */
        (void)draw(&l);
    if (config == NULL || event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == -1 ||
        (l.base = event_base_new_with_config(config)) == NULL ||
        (l.clock = evtimer_new(l.base, on_clock, &l)) == NULL ||
        (too_late = evtimer_new(l.base, on_too_late, &l)) == NULL)
        measure_die("events", "out of memory");
    event_config_free(config);
    limit.tv_sec = (time_t)(l.warm_up + l.seconds + GRACE);
    limit.tv_usec = 0;
    evtimer_add(too_late, &limit);

    cpu = measure_cpu_seconds();
    l.start = l.next_due = measure_now();
    l.wall_start = wall_now();
    if (l.rate > 0.0) {
        on_clock(-1, EV_TIMEOUT, &l);
    } else {
        size_t n = l.submit_only > 0 ? 1 : l.n_clients;

        for (size_t i = 0; i < n && is_within(&l, l.start); i++)
            submit(take_client(&l), measure_now());
    }
    event_base_dispatch(l.base);
    report(&l, measure_cpu_seconds() - cpu, measure_now() - l.start);

    while (l.idle != NULL) {
        struct client *c = l.idle;

        l.idle = c->next_idle;
        load_http_free(c->http);
        free(c);
    }
    event_free(l.clock);
    event_free(too_late);
    event_base_free(l.base);
    free(l.body);
    load_seen_clear(&l.seen);
    return 0;
}
