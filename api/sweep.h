/*
 * sweep.h - The API's share of the sweeping: retries, dead leases, deadlines, lost hints.
 *
 * Every worker and API process sweeps; the script lets one of them through at a time. With
 * an API alone, deadlines of waiting tasks still pass.
 */
#ifndef API_SWEEP_H
#define API_SWEEP_H

#include <event2/event.h>

#include "common/error.h"

struct models;
struct store;
struct sweep;

struct sweep *sweep_new(
    struct event_base *base, struct store *store, struct models *models, struct error *err);
void sweep_free(struct sweep *sweep);

#endif /* API_SWEEP_H */
