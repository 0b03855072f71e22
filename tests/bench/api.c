/*
 * api.c - What the API costs per request on this machine, beside a bare evhttp.
 *
 * Starts a private Redis, the API of this build on a core of its own, and a handler that only
 * reads the same body and answers as many bytes, the floor; the client and Redis share another
 * core. The figure that counts is the API's CPU time per request: the wall clock measures Redis
 * or the client as soon as one of them is slower, and the shares say when that is so.
 *
 *   build/release/tests/bench/api [--seconds N] [--log FILE] [--only WORD] build/release/kronosq-api
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/error.h"
#include "common/id.h"
#include "tests/bench/api_requests.h"
#include "tests/bench/measure.h"
#include "tests/bench/repeat.h"
#include "tests/bench/report.h"
#include "tests/support/redis_server.h"

#define MODEL         "bench"
#define REPEATS       5
#define SUBMITS_MAX   5000 /* of each: they stay in Redis, 13 KB each */
#define POLLS_MAX     100000
#define SECONDS       2.0
#define REPLY_ROOM    (64 * 1024)
#define READY_TRIES   1000 /* 10 ms each */
#define N_CONNECTIONS 3

static const size_t connections[N_CONNECTIONS] = {1, 16, 64};

struct row {
    const char *name;
    struct bytes request;
    int status;
    size_t most;
};

struct figures {
    struct repeat_result client;
    double server_cpu_seconds;
    double redis_cpu_seconds;
};

static int core_of_server = -1, core_of_others = -1;

/* ---- processes and their cores ---- */

static void
choose_cores(void)
{
    cpu_set_t all;

    if (sched_getaffinity(0, sizeof(all), &all) == -1)
        measure_die("sched_getaffinity", strerror(errno));
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET(i, &all))
            continue;
        if (core_of_server == -1)
            core_of_server = i;
        core_of_others = i; /* the last one */
    }
}

static void
go_to_core(pid_t pid, int core)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(core, &one);
    if (sched_setaffinity(pid, sizeof(one), &one) == -1)
        measure_die("sched_setaffinity", strerror(errno));
}

static double
cpu_seconds(pid_t pid)
{
    struct timespec t;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) == -1)
        measure_die("the CPU time of a process", strerror(errno));
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static pid_t
start_api(const char *program, const char *redis_url, const char *log)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == -1)
        measure_die("fork", strerror(errno));
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || fd == -1 || dup2(fd, STDERR_FILENO) == -1)
            _exit(126);
        go_to_core(0, core_of_server);
        execl(program, "kronosq-api", "--listen", "127.0.0.1:0", "--redis", redis_url,
            "--default-model", MODEL, "--queue-max-tasks", "1000000", "--queue-max-mb", "65536",
            (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Its first lines name the port; they stay in ${log} when the rest of them goes elsewhere. */
static int
wait_for_port(pid_t pid, const char *log)
{
    for (int i = 0; i < READY_TRIES; i++) {
        FILE *f = fopen(log, "re");
        char line[4096];
        const char *port = NULL;

        while (f != NULL && port == NULL && fgets(line, sizeof(line), f) != NULL)
            if (strstr(line, "\"event\":\"listening\"") != NULL)
                port = strstr(line, "\"port\":");
        if (f != NULL)
            fclose(f);
        if (port != NULL)
            return atoi(port + strlen("\"port\":"));
        if (waitpid(pid, NULL, WNOHANG) != 0)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    measure_die("kronosq-api did not start; its log", log);
}

/* ---- the bare handler ---- */

struct bare {
    char *reply;
    size_t reply_bytes;
    int status;
};

static void
on_bare_request(struct evhttp_request *http, void *cookie)
{
    const struct bare *bare = cookie;
    struct evbuffer *body = evbuffer_new();

    evbuffer_add(body, bare->reply, bare->reply_bytes);
    evhttp_add_header(evhttp_request_get_output_headers(http), "Content-Type", "application/json");
    evhttp_send_reply(http, bare->status, "OK", body);
    evbuffer_free(body);
}

/* Serves until it is killed. */
static pid_t
start_bare(size_t reply_bytes, int status, int *port)
{
    pid_t parent = getpid(), pid;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) == -1 || (pid = fork()) == -1)
        measure_die("the bare handler", strerror(errno));
    if (pid == 0) {
        struct bare bare = {malloc(reply_bytes + 1), reply_bytes, status};
        struct event_base *base = event_base_new();
        struct evhttp *http = evhttp_new(base);
        struct evhttp_bound_socket *bound;
        struct sockaddr_in address;
        socklen_t len = sizeof(address);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(126);
        go_to_core(0, core_of_server);
        memset(bare.reply, 'x', reply_bytes);
        evhttp_set_gencb(http, on_bare_request, &bare);
        bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
        if (bound == NULL ||
            getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &len) == -1)
            _exit(1);
        *port = ntohs(address.sin_port);
        if (write(ends[1], port, sizeof(*port)) != (ssize_t)sizeof(*port))
            _exit(1);
        event_base_dispatch(base);
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], port, sizeof(*port)) != (ssize_t)sizeof(*port))
        measure_die("the bare handler", "did not start");
    close(ends[0]);
    return pid;
}

static void
end_process(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
        ;
}

/* ---- measuring ---- */

static void
empty_redis(const struct redis_server *redis)
{
    redisContext *c = redis_server_connect(redis);
    redisReply *reply = c != NULL ? redisCommand(c, "FLUSHALL SYNC") : NULL;

    if (reply == NULL || reply->type != REDIS_REPLY_STATUS)
        measure_die("FLUSHALL", "no answer");
    freeReplyObject(reply);
    redisFree(c);
}

static struct figures
measure_once(const struct row *row, int port, size_t n_connections, double seconds, pid_t server,
    pid_t redis)
{
    struct repeat_job job = {.port = port,
        .n_connections = n_connections,
        .request = row->request.data,
        .request_size = row->request.size,
        .status = row->status,
        .most_seconds = seconds,
        .most = row->most};
    struct repeat_job warm_up = job;
    struct figures f;

    warm_up.most = n_connections + 50;
    repeat_run(&warm_up, &f.client);
    f.server_cpu_seconds = -cpu_seconds(server);
    f.redis_cpu_seconds = -cpu_seconds(redis);
    repeat_run(&job, &f.client);
    f.server_cpu_seconds += cpu_seconds(server);
    f.redis_cpu_seconds += cpu_seconds(redis);
    return f;
}

/* ${repeats} of them on end; seconds of the server's CPU time per request. */
static struct summary
measure(const struct row *row, int port, size_t n_connections, double seconds, pid_t server,
    pid_t redis, struct figures *sum)
{
    double values[REPEATS];

    *sum = (struct figures){0};
    for (int i = 0; i < REPEATS; i++) {
        struct figures f = measure_once(row, port, n_connections, seconds / REPEATS, server, redis);

        values[i] = f.server_cpu_seconds / (double)f.client.n;
        sum->server_cpu_seconds += f.server_cpu_seconds;
        sum->redis_cpu_seconds += f.redis_cpu_seconds;
        sum->client.n += f.client.n;
        sum->client.seconds += f.client.seconds;
        sum->client.client_cpu_seconds += f.client.client_cpu_seconds;
        sum->client.p50 += f.client.p50 / REPEATS;
        sum->client.p99 += f.client.p99 / REPEATS;
        sum->client.reply_body_bytes = f.client.reply_body_bytes;
    }
    return measure_summary(values, REPEATS);
}

static void
report(cJSON *all, const struct row *row, size_t n_connections, struct summary value, double bare,
    const struct figures *f)
{
    const struct repeat_result *c = &f->client;
    char name[64], rate[32];
    cJSON *one, *part;

    snprintf(name, sizeof(name), "%s, %zu connection%s", row->name, n_connections,
        n_connections == 1 ? "" : "s");
    one = report_row(all, name, "s", REPORT_LOWER, value);
    report_number(one, "floor", bare);
    part = report_part(one, "where");
    report_text(part, "request", row->name);
    report_number(part, "connections", (double)n_connections);
    part = report_part(one, "detail");
    snprintf(rate, sizeof(rate), "%.0f /s", 1 / value.median);
    report_text(part, "per_cpu_second", rate);
    snprintf(rate, sizeof(rate), "%.0f /s", (double)c->n / c->seconds);
    report_text(part, "wall", rate);
    report_number(part, "p50", c->p50);
    report_number(part, "p99", c->p99);
    report_number(part, "api_share", f->server_cpu_seconds / c->seconds);
    report_number(part, "redis_share", f->redis_cpu_seconds / c->seconds);
    report_number(part, "client_share", c->client_cpu_seconds / c->seconds);
}

/* Submit one task and find its id. */
static void
submit_one(int port, const struct bytes *request, char *id)
{
    static char reply[REPLY_ROOM];
    const char *found;

    repeat_once(
        &(struct repeat_job){
            .port = port, .request = request->data, .request_size = request->size, .status = 202},
        reply, sizeof(reply));
    if ((found = strstr(reply, "\"task_id\":\"")) == NULL)
        measure_die("a submit was refused", reply);
    memcpy(id, found + strlen("\"task_id\":\""), ID_LEN);
    id[ID_LEN] = '\0';
}

enum { SUBMIT_JSON, SUBMIT_DIGITS, SUBMIT_MSGPACK, POLL, HEALTH, N_ROWS };
static struct row rows[N_ROWS] = {
    {.name = "submit JSON", .status = 202, .most = SUBMITS_MAX},
    {.name = "submit JSON of 17 digits", .status = 202, .most = SUBMITS_MAX},
    {.name = "submit msgpack", .status = 202, .most = SUBMITS_MAX},
    {.name = "poll", .status = 200, .most = POLLS_MAX},
    {.name = "healthz", .status = 200, .most = POLLS_MAX},
};

struct options {
    const char *api, *log, *only;
    double seconds;
};

static struct options
read_options(int argc, char **argv)
{
    struct options o = {.seconds = SECONDS, .log = NULL};
    int i = 1;

    for (; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--log") == 0)
            o.log = argv[i + 1];
        else if (strcmp(argv[i], "--only") == 0)
            o.only = argv[i + 1];
        else if (strcmp(argv[i], "--seconds") == 0)
            o.seconds = measure_real("--seconds", argv[i + 1], 0.1, 60);
        else
            measure_die("no such option", argv[i]);
    }
    if (i + 1 != argc)
        measure_die("usage", "api [--seconds N] [--log FILE] [--only WORD] KRONOSQ_API");
    o.api = argv[i];
    return o;
}

static void
make_requests(cJSON *setup)
{
    struct api_requests r = api_requests_new();

    rows[SUBMIT_JSON].request = r.json;
    rows[SUBMIT_DIGITS].request = r.json_17_digits;
    rows[SUBMIT_MSGPACK].request = r.msgpack;
    rows[HEALTH].request = api_get("/v1/healthz", "");
    report_number(setup, "candles", API_HISTORY);
    report_number(setup, "horizon", API_HORIZON);
    report_number(setup, "json_bytes", (double)r.json.size);
    report_number(setup, "json_17_digits_bytes", (double)r.json_17_digits.size);
    report_number(setup, "msgpack_bytes", (double)r.msgpack.size);
}

int
main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);
    cJSON *all = report_new("api"), *setup = report_part(all, "setup");
    char log_path[128], id[ID_LEN + 1];
    struct redis_server *redis;
    pid_t api;
    int port;

    choose_cores();
    if ((redis = redis_server_new(NULL)) == NULL)
        measure_die("Redis", "did not start");
    go_to_core(redis_server_pid(redis), core_of_others);
    go_to_core(0, core_of_others);
    snprintf(log_path, sizeof(log_path), "%s/api.log", redis_server_directory(redis));
    api = start_api(o.api, redis_server_url(redis), o.log != NULL ? o.log : log_path);
    port = wait_for_port(api, o.log != NULL ? o.log : log_path);
    make_requests(setup);
    report_number(setup, "core_of_api", core_of_server);
    report_number(setup, "core_of_client_and_redis", core_of_others);
    report_text(setup, "log", o.log != NULL ? o.log : "a file");

    for (int i = 0; i < N_ROWS; i++) {
        struct row *row = &rows[i];

        for (int k = 0; k < N_CONNECTIONS; k++) {
            struct figures ours, theirs;
            struct summary value, bare;
            int bare_port;
            pid_t pid;

            if (o.only != NULL && strstr(row->name, o.only) == NULL)
                continue;
            empty_redis(redis);
            if (i == POLL) {
                submit_one(port, &rows[SUBMIT_JSON].request, id);
                free(row->request.data);
                row->request = api_get("/v1/tasks/", id);
            }
            value =
                measure(row, port, connections[k], o.seconds, api, redis_server_pid(redis), &ours);
            pid = start_bare(ours.client.reply_body_bytes, row->status, &bare_port);
            bare = measure(row, bare_port, connections[k], o.seconds / 4, pid,
                redis_server_pid(redis), &theirs);
            end_process(pid);
            report(all, row, connections[k], value, bare.median, &ours);
        }
    }
    end_process(api);
    redis_server_free(redis);
    for (int i = 0; i < N_ROWS; i++)
        free(rows[i].request.data);
    report_write(all, "-");
    return 0;
}
