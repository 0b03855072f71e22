/*
 * health_detailed.c - GET /v1/healthz/detailed: the old service's document for dashboards.
 *
 * Always 200; `status` says how it is. Members and words are the old ones, with checks of Redis
 * and of the workers beside them.
 */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "api/handlers.h"
#include "api/models.h"
#include "api/reply.h"
#include "api/server.h"
#include "common/clock.h"

#define WARNING_PERCENT 90.0 /* of memory or disk in use */
#define KIB_PER_MB      1024.0
#define BYTES_PER_GB    (1024.0 * 1024 * 1024)

static const char *
word_of_percent(double percent)
{
    return percent >= WARNING_PERCENT ? "warning" : "healthy";
}

/* A figure of two decimals is as much as anybody reads. */
static void
write_figure(struct json_out *out, const char *name, double value)
{
    json_out_double(out, name, (double)(int64_t)(value * 100 + 0.5) / 100);
}

/* "MemTotal: 16000 kB" of /proc/meminfo; 0 when it is not there. */
static void
read_meminfo(double *total_kib, double *available_kib)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];

    *total_kib = *available_kib = 0;
    if (f == NULL)
        return;
    while (fgets(line, sizeof(line), f) != NULL) {
        (void)sscanf(line, "MemTotal: %lf kB", total_kib);
        (void)sscanf(line, "MemAvailable: %lf kB", available_kib);
    }
    fclose(f);
}

static double
resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long pages = 0;

    if (f == NULL)
        return 0;
    if (fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

/* Each check returns whether it is well. */
static bool
write_memory(struct json_out *out)
{
    double total, available, percent;

    read_meminfo(&total, &available);
    percent = total > 0 ? (total - available) / total * 100 : 0;
    json_out_open(out, "memory", '{');
    json_out_text(out, "status", word_of_percent(percent));
    write_figure(out, "process_mb", resident_kib() / KIB_PER_MB);
    write_figure(out, "system_total_mb", total / KIB_PER_MB);
    write_figure(out, "system_available_mb", available / KIB_PER_MB);
    write_figure(out, "system_percent", percent);
    json_out_close(out, '}');
    return percent < WARNING_PERCENT;
}

static bool
write_disk(struct json_out *out)
{
    struct statvfs disk;
    double total = 0, available = 0, percent;

    if (statvfs("/", &disk) == 0) {
        total = (double)disk.f_blocks * (double)disk.f_frsize;
        available = (double)disk.f_bavail * (double)disk.f_frsize;
    }
    percent = total > 0 ? (total - available) / total * 100 : 0;
    json_out_open(out, "disk", '{');
    json_out_text(out, "status", word_of_percent(percent));
    write_figure(out, "total_gb", total / BYTES_PER_GB);
    write_figure(out, "free_gb", available / BYTES_PER_GB);
    write_figure(out, "percent", percent);
    json_out_close(out, '}');
    return percent < WARNING_PERCENT;
}

static bool
write_fleet(struct json_out *out, const struct queue_fleet *fleet)
{
    bool is_loaded = fleet != NULL && fleet->n_live > 0;
    const char *word = is_loaded ? "healthy" : "unhealthy";

    json_out_open(out, "model", '{');
    json_out_text(out, "status", word);
    json_out_bool(out, "loaded", is_loaded);
    json_out_text(out, "version", is_loaded ? fleet->model_version : NULL);
    json_out_close(out, '}');
    json_out_open(out, "workers", '{');
    json_out_text(out, "status", word);
    json_out_integer(out, "live", fleet != NULL ? (int64_t)fleet->n_live : 0);
    json_out_integer(out, "quiet", fleet != NULL ? (int64_t)fleet->n_quiet : 0);
    json_out_integer(out, "slots", fleet != NULL ? fleet->slots : 0);
    json_out_integer(out, "slots_busy", fleet != NULL ? fleet->busy : 0);
    json_out_close(out, '}');
    json_out_open(out, "redis", '{');
    json_out_text(out, "status", fleet != NULL ? "healthy" : "unhealthy");
    json_out_close(out, '}');
    return is_loaded;
}

/* The default model's fleet answered, or Redis did not. */
static void
on_fleet(void *cookie, const struct queue_fleet *fleet)
{
    struct exchange *e = cookie;
    struct json_out checks, body;
    char timestamp[CLOCK_RFC3339_MAX];
    bool is_well;

    json_out_init(&checks);
    json_out_open(&checks, NULL, '{');
    is_well = write_fleet(&checks, fleet);
    is_well = write_memory(&checks) && is_well;
    is_well = write_disk(&checks) && is_well;
    json_out_close(&checks, '}');

    clock_format_ms(clock_wall_ms(), timestamp);
    json_out_init(&body);
    json_out_open(&body, NULL, '{');
    json_out_text(&body, "status", is_well ? "healthy" : "degraded");
    json_out_text(&body, "timestamp", timestamp);
    write_figure(
        &body, "uptime_seconds", (double)(clock_monotonic_ms() - e->server->began_ms) / 1000);
    json_out_text(&body, "version", KRONOSQ_VERSION);
    if (checks.failed)
        body.failed = true;
    else
        json_out_raw(&body, "checks", checks.text, checks.len);
    json_out_close(&body, '}');
    json_out_clear(&checks);
    reply_header(e, "Cache-Control", "no-store");
    reply_json(e, 200, &body);
}

void
get_health_detailed(struct exchange *e, const char *param)
{
    struct server *server = e->server;

    (void)param;
    if (models_ask_fleet(server->models, models_at(server->models, 0), on_fleet, e) == -1)
        on_fleet(e, NULL);
}
