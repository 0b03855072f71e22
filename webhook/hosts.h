/*
 * hosts.h - Who may be sent to now: so many at once per host and in all, and hosts that rest.
 *
 * A host is "name:port". Events of a host without room are not kept here but given back to
 * the outbox with a time, so that a slow or dead host never stands before others.
 */
#ifndef WEBHOOK_HOSTS_H
#define WEBHOOK_HOSTS_H

#include <stddef.h>

#include "webhook/parcel.h"
#include "webhook/retry.h"

#define HOSTS_FAILURES_MAX 5     /* in a row; then the host rests */
#define HOSTS_REST_MS      60000 /* then one event tries whether it is back */

struct hosts;

struct hosts_limits {
    size_t per_host, total; /* events on their way at once */
    int64_t rest_ms;
};

struct hosts *hosts_new(const struct hosts_limits *limits, struct error *err);

/** hosts_free(hosts): no parcel is waiting or on its way any more. */
void hosts_free(struct hosts *hosts);

/**
 * hosts_offer(hosts, authority, p, delay_ms): ${p} waits for its host. false: not taken; ask again
 * after ${delay_ms}, because the host rests or has as much waiting as it can do in a while.
 */
bool hosts_offer(
    struct hosts *hosts, const char *authority, struct parcel *parcel, int64_t *delay_ms);

/** hosts_next(hosts): one that may be sent now and counts as on its way, or NULL. Hosts take turns. */
struct parcel *hosts_next(struct hosts *hosts);

/**
 * hosts_done(hosts, p, sign, latency_ms): ${p} is not on its way any more. True when its host begins
 * to rest: what waits for it is to be taken back with hosts_evict().
 */
bool hosts_done(
    struct hosts *hosts, struct parcel *parcel, enum host_sign sign, int64_t latency_ms);

/** hosts_evict(host, delay_ms): one that waits for a resting ${host}, or NULL. */
struct parcel *hosts_evict(struct hosts *hosts, struct host *host, int64_t *delay_ms);

/** hosts_withdraw(hosts, p): ${p} waits no longer. */
void hosts_withdraw(struct hosts *hosts, struct parcel *parcel);

/** hosts_in_flight(hosts), hosts_resting(hosts): for the status line. */
size_t hosts_in_flight(const struct hosts *hosts);
size_t hosts_resting(const struct hosts *hosts);

#endif /* WEBHOOK_HOSTS_H */
