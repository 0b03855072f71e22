/*
 * hosts.c - Per host: what waits, what is on its way, how it has been lately.
 *
 * Hosts that could send something stand in a ring, so that each turn costs the same however
 * many hosts there are. A host that nobody needs is forgotten when there are many.
 */
#include "webhook/hosts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/webhook_url.h"

#define BUCKETS           1024
#define HOSTS_KEPT        4096 /* idle ones are forgotten beyond */
#define BACKLOG_MS        2000 /* as much may wait as the host does in that time */
#define WAITING_MIN       8
#define WAITING_MAX       1024
#define WAITING_UNKNOWN   32 /* before the first answer */
#define FULL_DELAY_MIN_MS 50
#define FULL_DELAY_MAX_MS 30000

struct host {
    char authority[WEBHOOK_AUTHORITY_MAX];
    LIST_ENTRY(host) in_bucket;
    TAILQ_ENTRY(host) in_ring; /* while it could send something */
    bool is_in_ring;
    TAILQ_HEAD(, parcel) waiting, on_its_way; /* in the order of their beginning */
    size_t n_waiting, n_in_flight;
    unsigned n_failures;   /* in a row */
    int64_t rest_until_ms; /* monotonic; 0: it never rested, or was well since */
    double latency_ms;     /* running average; 0: unknown */
    double busy_until_ms;  /* with what waits and what was given back, monotonic */
};

struct hosts {
    struct hosts_limits limits;
    LIST_HEAD(, host) buckets[BUCKETS];
    TAILQ_HEAD(, host) ring;
    size_t n, n_in_flight;
};

static size_t
bucket_of(const char *authority)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *authority != '\0'; authority++)
        hash = (hash ^ (unsigned char)*authority) * 16777619u;
    return hash % BUCKETS;
}

struct hosts *
hosts_new(const struct hosts_limits *limits, struct error *err)
{
    struct hosts *hosts = calloc(1, sizeof(*hosts));

    if (hosts == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    hosts->limits = *limits;
    TAILQ_INIT(&hosts->ring);
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_INIT(&hosts->buckets[i]);
    return hosts;
}

static void
forget(struct hosts *hosts, struct host *host)
{
    LIST_REMOVE(host, in_bucket);
    hosts->n--;
    free(host);
}

void
hosts_free(struct hosts *hosts)
{
    struct host *host;

    if (hosts == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while ((host = LIST_FIRST(&hosts->buckets[i])) != NULL)
            forget(hosts, host);
    free(hosts);
}

static bool
is_resting(const struct host *host)
{
    return host->n_failures >= HOSTS_FAILURES_MAX && clock_monotonic_ms() < host->rest_until_ms;
}

/* Those that have nothing to do and nothing to be remembered for. */
static void
forget_idle(struct hosts *hosts)
{
    struct host *host, *next;

    for (size_t i = 0; i < BUCKETS; i++)
        for (host = LIST_FIRST(&hosts->buckets[i]); host != NULL; host = next) {
            next = LIST_NEXT(host, in_bucket);
            if (host->n_waiting == 0 && host->n_in_flight == 0 && !is_resting(host))
                forget(hosts, host);
        }
}

static struct host *
find(struct hosts *hosts, const char *authority)
{
    size_t bucket = bucket_of(authority);
    struct host *host;

    LIST_FOREACH(host, &hosts->buckets[bucket], in_bucket)
    {
        if (strcmp(host->authority, authority) == 0)
            return host;
    }
    if (hosts->n >= HOSTS_KEPT)
        forget_idle(hosts);
    if ((host = calloc(1, sizeof(*host))) == NULL)
        return NULL;
    strncpy(host->authority, authority, sizeof(host->authority) - 1);
    TAILQ_INIT(&host->waiting);
    TAILQ_INIT(&host->on_its_way);
    LIST_INSERT_HEAD(&hosts->buckets[bucket], host, in_bucket);
    hosts->n++;
    return host;
}

/* A host that has rested is tried by one event first. */
static size_t
width(const struct hosts *hosts, const struct host *host)
{
    if (host->n_failures < HOSTS_FAILURES_MAX)
        return hosts->limits.per_host;
    return is_resting(host) ? 0 : 1;
}

/* Into the ring if it could send something, out of it if not. */
static void
place(struct hosts *hosts, struct host *host)
{
    bool could = host->n_waiting > 0 && host->n_in_flight < width(hosts, host);

    if (could && !host->is_in_ring)
        TAILQ_INSERT_TAIL(&hosts->ring, host, in_ring);
    else if (!could && host->is_in_ring)
        TAILQ_REMOVE(&hosts->ring, host, in_ring);
    host->is_in_ring = could;
}

/* What an answer takes: as long as they took lately, or as the first one on its way has waited by now. */
static double
latency_of(const struct host *host)
{
    const struct parcel *first = TAILQ_FIRST(&host->on_its_way);
    double silence_ms = first != NULL && first->posted_ms != 0
                            ? (double)(clock_monotonic_ms() - first->posted_ms)
                            : 0;

    return silence_ms > host->latency_ms ? silence_ms : host->latency_ms;
}

static size_t
room_for_waiting(const struct hosts *hosts, const struct host *host)
{
    size_t max = host->latency_ms > 0 ? WAITING_MAX : WAITING_UNKNOWN;
    double n;

    if (host->n_failures >= HOSTS_FAILURES_MAX)
        return WAITING_MIN;
    if (latency_of(host) <= 0)
        return max;
    n = (double)hosts->limits.per_host * BACKLOG_MS / latency_of(host);
    return n < WAITING_MIN ? WAITING_MIN : n > (double)max ? max : (size_t)n;
}

/* 0 up to ${max}, so that what is given back together does not come back together. */
static int64_t
spread(int64_t max)
{
    uint32_t random = 0;

    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
    return (int64_t)((double)random / (double)UINT32_MAX * (double)max);
}

/* Each one that is given back comes again about when the host will have got so far. */
static int64_t
delay_of(const struct hosts *hosts, struct host *host)
{
    double now_ms = (double)clock_monotonic_ms();
    double each_ms = latency_of(host) / (double)hosts->limits.per_host;
    double soonest_ms = now_ms + (double)host->n_waiting * each_ms;

    if (is_resting(host))
        return host->rest_until_ms - (int64_t)now_ms + spread(hosts->limits.rest_ms / 2);
    if (soonest_ms < now_ms + FULL_DELAY_MIN_MS)
        soonest_ms = now_ms + FULL_DELAY_MIN_MS;
    if (host->busy_until_ms < soonest_ms)
        host->busy_until_ms = soonest_ms;
    if (host->busy_until_ms > now_ms + FULL_DELAY_MAX_MS)
        return FULL_DELAY_MAX_MS / 2 + spread(FULL_DELAY_MAX_MS);
    host->busy_until_ms += each_ms;
    return (int64_t)(host->busy_until_ms - now_ms);
}

bool
hosts_offer(struct hosts *hosts, const char *authority, struct parcel *parcel, int64_t *delay_ms)
{
    struct host *host = find(hosts, authority);

    if (host == NULL) { /* no memory: later */
        *delay_ms = FULL_DELAY_MAX_MS;
        return false;
    }
    if (is_resting(host) || host->n_waiting >= room_for_waiting(hosts, host)) {
        *delay_ms = delay_of(hosts, host);
        return false;
    }
    parcel->host = host;
    TAILQ_INSERT_TAIL(&host->waiting, parcel, in_host);
    host->n_waiting++;
    place(hosts, host);
    return true;
}

void
hosts_withdraw(struct hosts *hosts, struct parcel *parcel)
{
    struct host *host = parcel->host;

    TAILQ_REMOVE(&host->waiting, parcel, in_host);
    host->n_waiting--;
    parcel->host = NULL;
    place(hosts, host);
}

struct parcel *
hosts_next(struct hosts *hosts)
{
    struct host *host = TAILQ_FIRST(&hosts->ring);
    struct parcel *parcel;

    if (host == NULL || hosts->n_in_flight >= hosts->limits.total)
        return NULL;
    parcel = TAILQ_FIRST(&host->waiting);
    TAILQ_REMOVE(&host->waiting, parcel, in_host);
    TAILQ_INSERT_TAIL(&host->on_its_way, parcel, in_host);
    parcel->posted_ms = 0;
    host->n_waiting--;
    host->n_in_flight++;
    hosts->n_in_flight++;
    TAILQ_REMOVE(&hosts->ring, host, in_ring); /* to the end of it, if it can still send */
    host->is_in_ring = false;
    place(hosts, host);
    return parcel;
}

bool
hosts_done(struct hosts *hosts, struct parcel *parcel, enum host_sign sign, int64_t latency_ms)
{
    struct host *host = parcel->host;
    bool begins_rest = false;

    TAILQ_REMOVE(&host->on_its_way, parcel, in_host);
    host->n_in_flight--;
    hosts->n_in_flight--;
    if (sign != HOST_NO_SIGN)
        host->latency_ms = host->latency_ms <= 0
                               ? (double)latency_ms + 1
                               : 0.8 * host->latency_ms + 0.2 * ((double)latency_ms + 1);
    if (sign == HOST_WELL) {
        host->n_failures = 0;
        host->rest_until_ms = 0;
    } else if (sign == HOST_ILL && !is_resting(host)) {
        /* what was under way when the rest began does not make it longer */
        begins_rest = ++host->n_failures >= HOSTS_FAILURES_MAX;
        if (begins_rest)
            host->rest_until_ms = clock_monotonic_ms() + hosts->limits.rest_ms;
    }
    place(hosts, host);
    return begins_rest;
}

struct parcel *
hosts_evict(struct hosts *hosts, struct host *host, int64_t *delay_ms)
{
    struct parcel *parcel = TAILQ_FIRST(&host->waiting);

    if (parcel == NULL || !is_resting(host))
        return NULL;
    *delay_ms = delay_of(hosts, host);
    hosts_withdraw(hosts, parcel);
    return parcel;
}

size_t
hosts_in_flight(const struct hosts *hosts)
{
    return hosts->n_in_flight;
}

size_t
hosts_resting(const struct hosts *hosts)
{
    const struct host *host;
    size_t n = 0;

    for (size_t i = 0; i < BUCKETS; i++)
        LIST_FOREACH(host, &hosts->buckets[i], in_bucket) n += is_resting(host);
    return n;
}
