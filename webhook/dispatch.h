/*
 * dispatch.h - A leased event goes its way: judged, waiting for its host, written, signed, sent, closed.
 */
#ifndef WEBHOOK_DISPATCH_H
#define WEBHOOK_DISPATCH_H

#include <event2/event.h>

#include "webhook/settings.h"

struct dispatch;

/** dispatch_new(base, settings, err): ${settings} is borrowed; its masters may be changed between callbacks. */
struct dispatch *dispatch_new(
    struct event_base *base, const struct webhook_settings *settings, struct error *err);
void dispatch_free(struct dispatch *dispatch);

/** dispatch_stop(dispatch): lease nothing more, give back what waits, let end what is on its way. */
void dispatch_stop(struct dispatch *dispatch);

/** dispatch_is_idle(dispatch): nothing is leased any more. */
bool dispatch_is_idle(const struct dispatch *dispatch);

/** dispatch_is_up(dispatch): Redis is there. */
bool dispatch_is_up(const struct dispatch *dispatch);

struct dispatch_counts {
    uint64_t delivered, failed_attempts, given_up;
    size_t in_flight, leased, resting_hosts;
};
struct dispatch_counts dispatch_counts(const struct dispatch *dispatch);

#endif /* WEBHOOK_DISPATCH_H */
