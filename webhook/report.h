/*
 * report.h - What this daemon has counted goes to Redis once a second, over a connection of its own.
 */
#ifndef WEBHOOK_REPORT_H
#define WEBHOOK_REPORT_H

#include <event2/event.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/redis.h"

struct report;

struct report *report_new(
    struct event_base *base, const struct redis_settings *redis, struct error *err);
void report_free(struct report *report);

/** report_leave(report): all that was counted by now, for the last time; then until report_is_idle(). */
void report_leave(struct report *report);
bool report_is_idle(const struct report *report);

#endif /* WEBHOOK_REPORT_H */
