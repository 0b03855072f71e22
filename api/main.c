/*
 * main.c - kronosq-api: options, what may not be started, the loop, signals, the end.
 *
 * One process, one thread, one loop: it takes requests, keeps nothing, and asks Redis. More
 * processes may listen on the same port.
 */
#include <event2/event.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/feed.h"
#include "api/listen.h"
#include "api/keys.h"
#include "api/meter.h"
#include "api/models.h"
#include "api/reload.h"
#include "api/server.h"
#include "api/show_metrics.h"
#include "api/store.h"
#include "api/streams.h"
#include "api/sweep.h"
#include "api/wait.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/notify.h"
#include "common/redis.h"

/* What a request leaves free at the heap's end stays for the next one: given back each time, it
 * came as two dozen page faults a submit. Larger pieces, of large bodies, still go at once. */
#define MAIN_HEAP_KEPT_BYTES (4 * 1024 * 1024)
#define MAIN_OWN_PAGES_BYTES (1024 * 1024)

#define MAIN_STOP_MS         4000 /* to get every reply out; systemd and people wait 5 s */
#define MAIN_STOP_LOOK_MS    20
#define MAIN_READY_LOOK_MS   100
#define MAIN_INSECURE_HOURLY 3600
#define MAIN_STATUS_MS       5000 /* between lines for `systemctl status` */
#define MAIN_SPARE_FDS       64   /* Redis, listening, logs */

extern char **environ;

struct daemon {
    struct server server;
    struct config *config; /* the server's, to be changed by HUP */
    struct sweep *sweep;
    struct event *signals[3];
    struct event *ready_look, *stop_look, *insecure_tick, *alive_tick, *status_tick;
    int64_t stop_at_ms;
    bool has_left; /* the last metrics are on their way */
    int argc;
    char **argv;
};

static int
refuse_to_start(const char *why)
{
    log_with(LOG_LEVEL_CRITICAL, "api.main", "cannot start", LOG_TEXT("error_message", why));
    return CONFIG_EXIT_STATUS;
}

/* What only this daemon can tell of its settings: addresses, keys, who could come in. */
static int
check_settings(const struct config *config, struct error *err)
{
    const char *path = config_text(config, CONFIG_KEYS_FILE);
    struct listen_address listen;
    struct webhook_rules rules;
    struct keys *keys;
    int status;

    if (listen_parse(config_text(config, CONFIG_LISTEN), &listen, err) == -1)
        return -1;
    status = webhook_rules_read(&rules, config, err);
    webhook_rules_clear(&rules);
    if (status == -1)
        return -1;
    if (path == NULL && !listen.is_loopback && !config_bool(config, CONFIG_INSECURE))
        return error_set(err, ERR_INVALID,
            "KRONOS_LISTEN is not a loopback address and there are no API keys: anybody could use "
            "it; set KRONOS_KEYS_FILE, listen on 127.0.0.1, or say --insecure");
    if (path != NULL) {
        struct error reason;

        if ((keys = keys_load(path, &reason)) == NULL)
            return error_set(err, reason.code, "KRONOS_KEYS_FILE: %s", reason.text);
        keys_free(keys);
    }
    return 0;
}

/* As many descriptors as there may be connections; fewer is survivable, and said. */
static void
raise_fd_limit(size_t max_connections)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)max_connections + MAIN_SPARE_FDS;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max >= wanted ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur < wanted)
        log_warning("api.main", "fewer open files are allowed than connections",
            LOG_INT("files", limit.rlim_cur), LOG_INT("connections", max_connections));
}

/* ---- while it runs ---- */

static void
schedule(struct event *event, int64_t ms)
{
    event_add(event, &(struct timeval){ms / 1000, ms % 1000 * 1000});
}

static void
on_ready_look(evutil_socket_t fd, short what, void *cookie)
{
    struct daemon *d = cookie;

    (void)fd;
    (void)what;
    if (store_is_ready(d->server.store))
        notify_ready();
    else
        schedule(d->ready_look, MAIN_READY_LOOK_MS);
}

static void
on_alive_tick(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    (void)cookie;
    notify_watchdog();
}

/* One line for `systemctl status`. */
static void
on_status_tick(evutil_socket_t fd, short what, void *cookie)
{
    const struct server *s = &((struct daemon *)cookie)->server;
    int64_t n_queued = 0;
    bool is_known = store_is_ready(s->store);

    (void)fd;
    (void)what;
    for (size_t i = 0; i < models_count(s->models); i++) {
        const struct queue_load *load = models_recent_load(models_at(s->models, i));

        for (int p = 0; load != NULL && p < TASK_PRIORITY_COUNT; p++)
            n_queued += load->queues[p].depth;
        is_known = is_known && load != NULL;
    }
    if (is_known)
        notify_status("%zu connections, %zu held, %lld tasks queued", guards_count(s->guards),
            waiters_count(s->waiters), (long long)n_queued);
    else
        notify_status("%zu connections, %zu held, Redis is away", guards_count(s->guards),
            waiters_count(s->waiters));
}

static void
on_insecure_tick(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    (void)cookie;
    log_warning("api.main", "serving other than loopback without API keys (--insecure)");
}

/* Stopping: are all replies out, and what they counted? */
static void
on_stop_look(evutil_socket_t fd, short what, void *cookie)
{
    struct daemon *d = cookie;

    (void)fd;
    (void)what;
    if (server_is_idle(&d->server) && !d->has_left) {
        d->has_left = true;
        meter_leave(d->server.meter);
    }
    if ((d->has_left && meter_is_idle(d->server.meter)) || clock_monotonic_ms() >= d->stop_at_ms)
        event_base_loopbreak(d->server.base);
    else
        schedule(d->stop_look, MAIN_STOP_LOOK_MS);
}

/* TERM or INT. A second one changes nothing: the end is near. */
static void
on_stop(evutil_socket_t signal_number, short what, void *cookie)
{
    struct daemon *d = cookie;

    (void)what;
    if (d->server.is_stopping)
        return;
    if (d->server.http == NULL) { /* not listening yet: nobody to answer */
        d->server.is_stopping = true;
        event_base_loopbreak(d->server.base);
        return;
    }
    log_info("api.main", "stopping", LOG_INT("signal", signal_number),
        LOG_INT("held", waiters_count(d->server.waiters)),
        LOG_INT("streams", streams_count(d->server.streams)),
        LOG_INT("connections", guards_count(d->server.guards)));
    notify_stopping();
    d->stop_at_ms = clock_monotonic_ms() + MAIN_STOP_MS;
    server_stop(&d->server);
    waiters_end_all(d->server.waiters);
    streams_end_all(d->server.streams);
    schedule(d->stop_look, MAIN_STOP_LOOK_MS);
}

/* HUP: settings that may change while we run, when they stand in a file; and the keys. */
static void
on_hangup(evutil_socket_t signal_number, short what, void *cookie)
{
    struct daemon *d = cookie;

    (void)signal_number;
    (void)what;
    reload_settings(&d->server, d->config, d->argc, d->argv);
    reload_keys(&d->server);
}

/* libevent's own words, as log lines like ours. */
static void
on_libevent_message(int severity, const char *message)
{
    log_with(severity >= EVENT_LOG_ERR    ? LOG_LEVEL_ERROR
             : severity == EVENT_LOG_WARN ? LOG_LEVEL_WARNING
                                          : LOG_LEVEL_DEBUG,
        "api.libevent", message);
}

/* ---- from nothing to the loop and back ---- */

static int
catch_signals(struct daemon *d, struct error *err)
{
    static const struct {
        int number;
        event_callback_fn fn;
    } signals[] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_hangup}};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        d->signals[i] = evsignal_new(d->server.base, signals[i].number, signals[i].fn, d);
        if (d->signals[i] == NULL || event_add(d->signals[i], NULL) == -1)
            return error_set(err, ERR_SYSTEM, "signal %d cannot be caught", signals[i].number);
    }
    if ((d->stop_look = event_new(d->server.base, -1, 0, on_stop_look, d)) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    return 0;
}

static int
start_timers(struct daemon *d, bool is_insecure, struct error *err)
{
    struct event_base *base = d->server.base;

    d->ready_look = event_new(base, -1, 0, on_ready_look, d);
    d->insecure_tick = event_new(base, -1, EV_PERSIST, on_insecure_tick, d);
    d->alive_tick = event_new(base, -1, EV_PERSIST, on_alive_tick, d);
    d->status_tick = event_new(base, -1, EV_PERSIST, on_status_tick, d);
    if (d->ready_look == NULL || d->insecure_tick == NULL || d->alive_tick == NULL ||
        d->status_tick == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    schedule(d->ready_look, 0);
    schedule(d->status_tick, MAIN_STATUS_MS);
    if (notify_watchdog_ms() > 0)
        schedule(d->alive_tick, notify_watchdog_ms());
    if (is_insecure) {
        on_insecure_tick(-1, 0, d);
        schedule(d->insecure_tick, MAIN_INSECURE_HOURLY * 1000LL);
    }
    return 0;
}

/*
 * Redis answered a moment ago: let the link come up before the first client does, so that
 * nobody is refused for being early. Ticks of models.c turn the loop.
 */
static void
meet_redis(struct server *s)
{
    int64_t until_ms = clock_monotonic_ms() + REDIS_LOOK_MS;

    while (!(store_is_ready(s->store) && models_at(s->models, 0)->is_seen) &&
           clock_monotonic_ms() < until_ms)
        event_base_loop(s->base, EVLOOP_ONCE);
}

/* Who may call. They were looked at a moment ago, but that was then. */
static int
read_access(struct server *s, struct error *err)
{
    const char *path = config_text(s->config, CONFIG_KEYS_FILE);

    if (peers_read(s->config, &s->peers, err) == -1 ||
        (path != NULL && (s->keys = keys_load(path, err)) == NULL))
        return -1;
    if (s->keys != NULL)
        log_info("api.main", "keys read", LOG_INT("keys", keys_count(s->keys)));
    return 0;
}

/*
 * What is watched for changes several times for each request, and mostly back again before the
 * loop turns: with a list of changes the kernel hears of what is left. That allows no duplicated
 * descriptors in the loop, and there are none.
 */
static struct event_base *
new_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    return base;
}

static int
start(struct daemon *d, const struct redis_settings *redis, bool redis_is_there,
    const struct listen_address *listen, struct error *err)
{
    const struct config *c = d->server.config;
    struct server *s = &d->server;
    int fd, port;

    if (read_access(s, err) == -1)
        return -1;
    if ((s->base = new_base()) == NULL)
        return error_set(err, ERR_MEMORY, "no event loop");
    if (catch_signals(d, err) == -1) /* first of all: process 1 has no other way to be stopped */
        return -1;
    if ((s->store = store_new(s->base, redis, config_bool(c, CONFIG_ALLOW_VOLATILE), err)) == NULL)
        return -1;
    s->models = models_new(s->base, s->store, config_text(c, CONFIG_DEFAULT_MODEL),
        config_integer(c, CONFIG_MAX_QUEUE_SECONDS) * 1000, err);
    if (s->models == NULL)
        return -1;
    if ((s->feed = feed_new(s->base, redis, err)) == NULL)
        return -1;
    s->waiters = waiters_new(
        s->base, s->feed, s->store, s->models, (size_t)config_integer(c, CONFIG_MAX_WAITERS), err);
    s->streams = streams_new(
        s->base, s->feed, (size_t)config_integer(c, CONFIG_MAX_STREAMS), &events_calls, err);
    if (s->waiters == NULL || s->streams == NULL ||
        (d->sweep = sweep_new(s->base, s->store, s->models, err)) == NULL ||
        (s->meter = meter_new(s, err)) == NULL || (s->scrapes = scrapes_new(s, err)) == NULL)
        return -1;
    if (redis_is_there)
        meet_redis(s);
    if (s->is_stopping)
        return 0; /* told to stop before it began */
    if ((fd = listen_open(listen, &port, err)) == -1)
        return -1;
    if (server_listen(s, fd, err) == -1) {
        close(fd);
        return -1;
    }
    if (start_timers(d, !listen->is_loopback && s->keys == NULL, err) == -1)
        return -1;
    log_info("api.main", "listening", LOG_TEXT("event", "listening"), LOG_INT("port", port),
        LOG_TEXT("listen", config_text(c, CONFIG_LISTEN)), LOG_TEXT("version", KRONOSQ_VERSION),
        LOG_INT("pid", getpid()));
    return 0;
}

/* Redis goes first: whoever still waits for it is answered, while evhttp can still answer. */
static void
finish(struct daemon *d)
{
    struct event *events[] = {d->signals[0], d->signals[1], d->signals[2], d->ready_look,
        d->stop_look, d->insecure_tick, d->alive_tick, d->status_tick};
    struct server *s = &d->server;
    sigset_t all;

    sigfillset(&all); /* a second TERM must not end what the first has begun */
    sigprocmask(SIG_BLOCK, &all, NULL);
    s->is_stopping = true;
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i] != NULL)
            event_free(events[i]);
    sweep_free(d->sweep);
    store_free(s->store);
    feed_free(s->feed);
    streams_free(s->streams);
    waiters_free(s->waiters);
    meter_free(s->meter);
    scrapes_free(s->scrapes);
    models_free(s->models);
    if (s->http != NULL) { /* the last replies, as far as sockets take them at once */
        event_base_loop(s->base, EVLOOP_NONBLOCK);
        server_close(s);
    }
    if (s->base != NULL)
        event_base_free(s->base);
    keys_free(s->keys);
    peers_clear(&s->peers);
    if (s->n_taken != s->n_answered)
        log_error("api.main", "requests were left without an answer",
            LOG_INT("requests", s->n_taken - s->n_answered));
}

int
main(int argc, char *argv[])
{
    struct daemon d = {.argc = argc, .argv = argv};
    struct listen_address listen;
    struct redis_settings redis;
    struct config *config;
    struct error err;
    bool redis_is_there = false;
    int status = config_start_checked(&config, CONFIG_API, argc, argv, environ, check_settings);

    if (status != CONFIG_START_RUN)
        return status;
    (void)mallopt(M_TRIM_THRESHOLD, MAIN_HEAP_KEPT_BYTES); /* both only cost speed if they fail */
    (void)mallopt(M_MMAP_THRESHOLD, MAIN_OWN_PAGES_BYTES);
    signal(SIGPIPE, SIG_IGN);
    event_set_log_callback(on_libevent_message);
    d.config = config;
    d.server.config = config;
    if (listen_parse(config_text(config, CONFIG_LISTEN), &listen, &err) == -1 ||
        redis_settings_parse(&redis, config_text(config, CONFIG_REDIS_URL),
            config_text(config, CONFIG_REDIS_PASSWORD_FILE), &err) == -1) {
        status = refuse_to_start(err.text);
        goto free_config;
    }
    if (webhook_rules_read(&d.server.webhook, config, &err) == -1) { /* it was right a moment ago */
        status = refuse_to_start(err.text);
        goto clear_redis;
    }
    if (redis_look(&redis, "kronosq-api-start", "api.main",
            config_bool(config, CONFIG_ALLOW_VOLATILE), &redis_is_there, &err) == -1) {
        status = refuse_to_start(err.text);
        goto clear_redis;
    }
    raise_fd_limit((size_t)config_integer(config, CONFIG_MAX_CONNECTIONS));
    if (start(&d, &redis, redis_is_there, &listen, &err) == -1) {
        log_with(
            LOG_LEVEL_CRITICAL, "api.main", "cannot start", LOG_TEXT("error_message", err.text));
        status = EXIT_FAILURE;
    } else {
        if (!d.server.is_stopping)
            event_base_dispatch(d.server.base);
        log_info("api.main", "stopped");
        status = EXIT_SUCCESS;
    }
    finish(&d);

clear_redis:
    webhook_rules_clear(&d.server.webhook);
    redis_settings_clear(&redis);
free_config:
    config_free(config);
    return status;
}
