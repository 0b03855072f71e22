/*
 * meter.h - What this process has counted goes to Redis once a second, and before a scrape.
 */
#ifndef API_METER_H
#define API_METER_H

#include <stdbool.h>

#include "common/error.h"
#include "common/metrics_set.h"

struct meter;
struct server;

/** meter_new(server, err): ${server} has its base and store, and outlives the meter. */
struct meter *meter_new(struct server *server, struct error *err);
void meter_free(struct meter *meter);

typedef void (*meter_fn)(void *cookie, bool has_arrived);

/** meter_flush(meter, fn, cookie): all that is counted by now; ${fn} is called once, perhaps before this returns. One at a time. */
void meter_flush(struct meter *meter, meter_fn fn, void *cookie);

/** meter_leave(meter): the last flush: this process has no gauges any more. */
void meter_leave(struct meter *meter);
bool meter_is_idle(const struct meter *meter);

/** meter_learn(meter, sums): what all processes have counted; takes ${sums} over, not NULL. */
void meter_learn(struct meter *meter, struct metrics_set *sums);

/** meter_add_known(meter, page): the sums as they were last learned, and what has arrived since. */
void meter_add_known(struct meter *meter, struct metrics_set *page);

#endif /* API_METER_H */
