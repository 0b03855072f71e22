/*
 * main.c - kronosq-webhook: options, the loop, signals, the end.
 *
 * One process, one thread, one loop (libcurl's resolver has threads of its own). More processes
 * may run beside it: a lease says whose an event is.
 */
#include <event2/event.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/notify.h"
#include "webhook/dispatch.h"
#include "webhook/report.h"

#define LOGGER             "webhook.main"
#define MAIN_LOOK_MS       50
#define MAIN_STATUS_MS     5000
#define MAIN_STOP_GRACE_MS 3000 /* beyond the longest attempt: to tell Redis what became of it */
#define MAIN_FDS_EACH      3 /* of an attempt: two addresses are tried at once, and a resolver's */
#define MAIN_SPARE_FDS     64

extern char **environ;

struct daemon {
    struct webhook_settings settings;
    struct event_base *base;
    struct dispatch *dispatch;
    struct report *report;
    struct event *signals[3], *ready_look, *stop_look, *status_tick, *alive_tick;
    bool is_stopping;
    int64_t stop_at_ms;
    int argc;
    char **argv;
};

static int
refuse_to_start(const char *why)
{
    log_with(LOG_LEVEL_CRITICAL, LOGGER, "cannot start", LOG_TEXT("error_message", why));
    return CONFIG_EXIT_STATUS;
}

/* What --check looks at, too. */
static int
check_settings(const struct config *config, struct error *err)
{
    struct webhook_settings settings;
    int status = webhook_settings_read(&settings, config, err);

    webhook_settings_clear(&settings);
    return status;
}

/* --print-secret: for the operator, who hands it to the owner of the key. */
static int
print_secret(const struct webhook_settings *s)
{
    unsigned char secret[SIGN_SECRET_BYTES];
    char text[SIGN_SECRET_TEXT_MAX];
    struct error err;
    int status = EXIT_SUCCESS;

    for (size_t i = 0; i < s->masters.n && status == EXIT_SUCCESS; i++) {
        if (sign_secret(&s->masters.masters[i], s->print_secret, secret, &err) == -1) {
            status = refuse_to_start(err.text);
        } else {
            sign_secret_text(secret, text);
            printf("%s%s\n", text, i == 0 ? "" : "  # of the master before");
        }
    }
    OPENSSL_cleanse(secret, sizeof(secret));
    OPENSSL_cleanse(text, sizeof(text));
    return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}

/* Sockets for every attempt, and for connections that are kept. */
static void
raise_fd_limit(size_t attempts)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)attempts * MAIN_FDS_EACH + MAIN_SPARE_FDS;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max >= wanted ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur < wanted)
        log_warning(LOGGER, "fewer open files are allowed than attempts may need",
            LOG_INT("files", limit.rlim_cur), LOG_INT("attempts", attempts));
}

static void
schedule(struct event *event, int64_t ms)
{
    event_add(event, &(struct timeval){ms / 1000, ms % 1000 * 1000});
}

/* ---- while it runs ---- */

static void
on_ready_look(evutil_socket_t fd, short what, void *cookie)
{
    struct daemon *d = cookie;

    (void)fd;
    (void)what;
    if (!dispatch_is_up(d->dispatch)) {
        schedule(d->ready_look, MAIN_LOOK_MS);
        return;
    }
    log_info(LOGGER, "ready", LOG_TEXT("event", "ready"), LOG_INT("pid", getpid()),
        LOG_TEXT("version", KRONOSQ_VERSION), LOG_INT("masters", d->settings.masters.n));
    notify_ready();
}

static void
on_status_tick(evutil_socket_t fd, short what, void *cookie)
{
    struct daemon *d = cookie;
    struct dispatch_counts c = dispatch_counts(d->dispatch);

    (void)fd;
    (void)what;
    notify_status("%zu on their way, %zu leased, %zu hosts resting, %llu delivered, %llu given up",
        c.in_flight, c.leased, c.resting_hosts, (unsigned long long)c.delivered,
        (unsigned long long)c.given_up);
}

static void
on_alive_tick(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    (void)cookie;
    notify_watchdog();
}

/* Stopping: has every lease an end? */
static void
on_stop_look(evutil_socket_t fd, short what, void *cookie)
{
    struct daemon *d = cookie;

    (void)fd;
    (void)what;
    if (dispatch_is_idle(d->dispatch))
        report_leave(d->report);
    if ((dispatch_is_idle(d->dispatch) && report_is_idle(d->report)) ||
        clock_monotonic_ms() >= d->stop_at_ms)
        event_base_loopbreak(d->base);
    else
        schedule(d->stop_look, MAIN_LOOK_MS);
}

/* TERM or INT. A second one does not wait for receivers: their leases run out. */
static void
on_stop(evutil_socket_t signal_number, short what, void *cookie)
{
    struct daemon *d = cookie;
    struct dispatch_counts c = dispatch_counts(d->dispatch);

    (void)what;
    if (d->is_stopping) {
        event_base_loopbreak(d->base);
        return;
    }
    log_info(LOGGER, "stopping", LOG_INT("signal", signal_number),
        LOG_INT("in_flight", c.in_flight), LOG_INT("leased", c.leased));
    notify_stopping();
    d->is_stopping = true;
    d->stop_at_ms = clock_monotonic_ms() + d->settings.deliver.timeout_ms + MAIN_STOP_GRACE_MS;
    dispatch_stop(d->dispatch);
    schedule(d->stop_look, 0);
}

/* HUP: master secrets and the log level may have changed. */
static void
on_hangup(evutil_socket_t signal_number, short what, void *cookie)
{
    struct daemon *d = cookie;
    struct sign_masters masters;
    enum config_action action;
    struct config *fresh;
    const char *path;
    struct error err;

    (void)signal_number;
    (void)what;
    if (config_load(&fresh, CONFIG_WEBHOOK, d->argc, d->argv, environ, &action, &err) == -1) {
        log_error(LOGGER, "HUP: the old settings stay", LOG_TEXT("error_message", err.text));
        return;
    }
    log_set_level(config_level(fresh, CONFIG_LOG_LEVEL));
    path = config_text(fresh, CONFIG_WEBHOOK_SECRET_FILE);
    if (path == NULL)
        error_set(&err, ERR_INVALID, "KRONOS_WEBHOOK_SECRET_FILE is not set any more");
    if (path == NULL || sign_masters_read(&masters, path, &err) == -1) {
        log_error(LOGGER, "HUP: the old master secrets stay", LOG_TEXT("error_message", err.text));
    } else {
        d->settings.masters = masters;
        sign_masters_clear(&masters);
        log_info(LOGGER, "HUP: master secrets and log level read again",
            LOG_INT("masters", d->settings.masters.n),
            LOG_TEXT("log_level", config_text(fresh, CONFIG_LOG_LEVEL)));
    }
    config_free(fresh);
}

/* libevent's own words, as log lines like ours. */
static void
on_libevent_message(int severity, const char *message)
{
    log_with(severity >= EVENT_LOG_ERR    ? LOG_LEVEL_ERROR
             : severity == EVENT_LOG_WARN ? LOG_LEVEL_WARNING
                                          : LOG_LEVEL_DEBUG,
        "webhook.libevent", message);
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
        d->signals[i] = evsignal_new(d->base, signals[i].number, signals[i].fn, d);
        if (d->signals[i] == NULL || event_add(d->signals[i], NULL) == -1)
            return error_set(err, ERR_SYSTEM, "signal %d cannot be caught", signals[i].number);
    }
    return 0;
}

static int
start(struct daemon *d, struct error *err)
{
    if ((d->base = event_base_new()) == NULL)
        return error_set(err, ERR_MEMORY, "no event loop");
    if ((d->dispatch = dispatch_new(d->base, &d->settings, err)) == NULL ||
        (d->report = report_new(d->base, &d->settings.redis, err)) == NULL ||
        catch_signals(d, err) == -1)
        return -1;
    d->ready_look = event_new(d->base, -1, 0, on_ready_look, d);
    d->stop_look = event_new(d->base, -1, 0, on_stop_look, d);
    d->status_tick = event_new(d->base, -1, EV_PERSIST, on_status_tick, d);
    d->alive_tick = event_new(d->base, -1, EV_PERSIST, on_alive_tick, d);
    if (d->ready_look == NULL || d->stop_look == NULL || d->status_tick == NULL ||
        d->alive_tick == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    schedule(d->ready_look, 0);
    schedule(d->status_tick, MAIN_STATUS_MS);
    if (notify_watchdog_ms() > 0)
        schedule(d->alive_tick, notify_watchdog_ms());
    return 0;
}

static void
finish(struct daemon *d)
{
    struct event *events[] = {d->signals[0], d->signals[1], d->signals[2], d->ready_look,
        d->stop_look, d->status_tick, d->alive_tick};
    sigset_t all;

    sigfillset(&all); /* a further TERM must not end what the first has begun */
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i] != NULL)
            event_free(events[i]);
    dispatch_free(d->dispatch);
    report_free(d->report);
    if (d->base != NULL)
        event_base_free(d->base);
}

static int
run(struct daemon *d)
{
    struct error err;
    bool redis_is_there;
    int status = EXIT_SUCCESS;

    if (redis_look(&d->settings.redis, "kronosq-webhook-start", LOGGER, d->settings.allow_volatile,
            &redis_is_there, &err) == -1)
        return refuse_to_start(err.text);
    raise_fd_limit(d->settings.hosts.total);
    if (start(d, &err) == -1) {
        log_with(LOG_LEVEL_CRITICAL, LOGGER, "cannot start", LOG_TEXT("error_message", err.text));
        status = EXIT_FAILURE;
    } else {
        event_base_dispatch(d->base);
        log_info(LOGGER, "stopped", LOG_INT("delivered", dispatch_counts(d->dispatch).delivered),
            LOG_INT("leased", dispatch_counts(d->dispatch).leased));
    }
    finish(d);
    return status;
}

int
main(int argc, char *argv[])
{
    struct daemon d = {.argc = argc, .argv = argv};
    struct config *config;
    struct error err;
    int status = config_start_checked(&config, CONFIG_WEBHOOK, argc, argv, environ, check_settings);

    if (status != CONFIG_START_RUN)
        return status;
    signal(SIGPIPE, SIG_IGN);
    event_set_log_callback(on_libevent_message);
    if (webhook_settings_read(&d.settings, config, &err) == -1)
        status = refuse_to_start(err.text);
    else
        status = d.settings.print_secret != NULL ? print_secret(&d.settings) : run(&d);
    webhook_settings_clear(&d.settings);
    config_free(config);
    return status;
}
