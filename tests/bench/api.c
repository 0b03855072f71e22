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
#include "common/msgpack_write.h"
#include "tests/bench/measure.h"
#include "tests/bench/repeat.h"
#include "tests/bench/report.h"
#include "tests/support/redis_server.h"

#define HISTORY       400
#define HORIZON       120
#define MODEL         "bench"
#define REPEATS       5
#define SUBMITS_MAX   5000 /* of each: they stay in Redis, 13 KB each */
#define POLLS_MAX     100000
#define SECONDS       2.0
#define BODY_ROOM     (256 * 1024)
#define READY_TRIES   1000 /* 10 ms each */
#define N_CONNECTIONS 3

static const size_t connections[N_CONNECTIONS] = {1, 16, 64};

struct bytes {
    char *data;
    size_t size;
};

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

/* ---- the requests ---- */

struct text {
    char bytes[BODY_ROOM];
    size_t len;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(t->bytes + t->len, sizeof(t->bytes) - t->len, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(t->bytes) - t->len)
        measure_die("a request", "is too long");
    t->len += (size_t)n;
}

/* A random walk: open, high, low, close, volume, amount of each candle. */
static void
make_candles(double (*candles)[6])
{
    unsigned seed = 1;
    double price = 100;

    for (size_t i = 0; i < HISTORY; i++) {
        double step[3];

        for (int k = 0; k < 3; k++) {
            seed = seed * 1664525u + 1013904223u;
            step[k] = (double)(seed >> 8) / (1 << 24);
        }
        candles[i][0] = price;
        price *= 1 + 0.01 * (step[0] - 0.5);
        candles[i][1] = (candles[i][0] > price ? candles[i][0] : price) * (1 + 0.003 * step[1]);
        candles[i][2] = (candles[i][0] < price ? candles[i][0] : price) * (1 - 0.003 * step[2]);
        candles[i][3] = price;
        candles[i][4] = 1000 + 500 * step[1];
        candles[i][5] = candles[i][4] * price;
    }
}

static const char *const fields[6] = {"open", "high", "low", "close", "volume", "amount"};

static void
time_text(size_t i, char *text)
{
    time_t seconds = 1735689600 + (time_t)i * 300; /* 2025-01-01, every 5 minutes */
    struct tm utc;

    gmtime_r(&seconds, &utc);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &utc);
}

static void
add_times(struct text *t, size_t from, size_t n)
{
    char text[32];

    for (size_t i = 0; i < n; i++) {
        time_text(from + i, text);
        add(t, "%s\"%s\"", i > 0 ? "," : "", text);
    }
}

/* ${digits} 17: figures as a program computed them; 6: as exchanges quote them. */
static void
json_body(struct text *t, double (*candles)[6], int digits)
{
    t->len = 0;
    add(t, "{\"series_id\":\"BTC-USD\",\"candles\":[");
    for (size_t i = 0; i < HISTORY; i++)
        for (int f = 0; f < 6; f++)
            add(t, "%s\"%s\": %.*g%s",
                f > 0   ? ", "
                : i > 0 ? ", {"
                        : "{",
                fields[f], digits, candles[i][f], f == 5 ? "}" : "");
    add(t, "],\"timestamps\":[");
    add_times(t, 0, HISTORY);
    add(t, "],\"prediction_timestamps\":[");
    add_times(t, HISTORY, HORIZON);
    add(t, "],\"overrides\":{\"temperature\":1.0,\"top_p\":0.9,\"sample_count\":1}}");
}

static void
write_times(struct msgpack_write *w, size_t from, size_t n)
{
    char text[32];

    msgpack_write_array(w, n);
    for (size_t i = 0; i < n; i++) {
        time_text(from + i, text);
        msgpack_write_text(w, text);
    }
}

static struct bytes
msgpack_body(double (*candles)[6])
{
    struct msgpack_write w;
    struct bytes body;
    struct error err;
    void *data;

    msgpack_write_init(&w);
    msgpack_write_map(&w, 5);
    msgpack_write_text(&w, "series_id");
    msgpack_write_text(&w, "BTC-USD");
    msgpack_write_text(&w, "candles");
    msgpack_write_array(&w, HISTORY);
    for (size_t i = 0; i < HISTORY; i++) {
        msgpack_write_map(&w, 6);
        for (int f = 0; f < 6; f++) {
            msgpack_write_text(&w, fields[f]);
            msgpack_write_double(&w, candles[i][f]);
        }
    }
    msgpack_write_text(&w, "timestamps");
    write_times(&w, 0, HISTORY);
    msgpack_write_text(&w, "prediction_timestamps");
    write_times(&w, HISTORY, HORIZON);
    msgpack_write_text(&w, "overrides");
    msgpack_write_map(&w, 3);
    msgpack_write_text(&w, "temperature");
    msgpack_write_double(&w, 1.0);
    msgpack_write_text(&w, "top_p");
    msgpack_write_double(&w, 0.9);
    msgpack_write_text(&w, "sample_count");
    msgpack_write_uint(&w, 1);
    if (msgpack_write_finish(&w, &data, &body.size, &err) == -1)
        measure_die("a request", err.text);
    body.data = data;
    return body;
}

static struct bytes
post(const char *type, const char *body, size_t size, bool closes)
{
    struct bytes request = {.data = malloc(size + 256)};
    int n;

    if (request.data == NULL)
        measure_die("memory", strerror(errno));
    n = snprintf(request.data, 256,
        "POST /v1/predict/single HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\n"
        "Content-Length: %zu\r\n%s\r\n",
        type, size, closes ? "Connection: close\r\n" : "");
    memcpy(request.data + n, body, size);
    request.size = (size_t)n + size;
    return request;
}

static struct bytes
get(const char *path, const char *id)
{
    struct bytes request = {.data = malloc(256)};

    if (request.data == NULL)
        measure_die("memory", strerror(errno));
    request.size =
        (size_t)snprintf(request.data, 256, "GET %s%s HTTP/1.1\r\nHost: bench\r\n\r\n", path, id);
    return request;
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
submit_one(int port, const struct text *body, char *id)
{
    struct bytes request = post("application/json", body->bytes, body->len, true);
    static char reply[BODY_ROOM];
    const char *found;

    repeat_ask(port, request.data, request.size, reply, sizeof(reply));
    if ((found = strstr(reply, "\"task_id\":\"")) == NULL)
        measure_die("a submit was refused", reply);
    memcpy(id, found + strlen("\"task_id\":\""), ID_LEN);
    id[ID_LEN] = '\0';
    free(request.data);
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
make_requests(cJSON *setup, struct text *quoted)
{
    static double candles[HISTORY][6];
    static struct text computed;
    struct bytes packed;

    make_candles(candles);
    json_body(quoted, candles, 6);
    json_body(&computed, candles, 17);
    packed = msgpack_body(candles);
    rows[SUBMIT_JSON].request = post("application/json", quoted->bytes, quoted->len, false);
    rows[SUBMIT_DIGITS].request = post("application/json", computed.bytes, computed.len, false);
    rows[SUBMIT_MSGPACK].request = post("application/msgpack", packed.data, packed.size, false);
    rows[HEALTH].request = get("/v1/healthz", "");
    report_number(setup, "candles", HISTORY);
    report_number(setup, "horizon", HORIZON);
    report_number(setup, "json_bytes", (double)quoted->len);
    report_number(setup, "json_17_digits_bytes", (double)computed.len);
    report_number(setup, "msgpack_bytes", (double)packed.size);
    free(packed.data);
}

int
main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);
    cJSON *all = report_new("api"), *setup = report_part(all, "setup");
    static struct text quoted;
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
    make_requests(setup, &quoted);
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
                submit_one(port, &quoted, id);
                free(row->request.data);
                row->request = get("/v1/tasks/", id);
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
