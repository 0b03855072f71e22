/*
 * show_metrics.h - The scrapes that wait for an answer; the handler is in handlers.h.
 */
#ifndef API_SHOW_METRICS_H
#define API_SHOW_METRICS_H

#include "common/error.h"

struct scrapes;
struct server;

struct scrapes *scrapes_new(struct server *server, struct error *err);
void scrapes_free(struct scrapes *scrapes); /* all were answered */

#endif /* API_SHOW_METRICS_H */
