/*
 * deliver.h - One HTTP POST per attempt, many at once, none of which may go where it must not.
 *
 * libcurl's multi interface on the event loop. Every address is judged when its socket is made,
 * which is after the name was resolved: what a name answered before does not matter. A
 * connection that is used again was judged when it was opened.
 */
#ifndef WEBHOOK_DELIVER_H
#define WEBHOOK_DELIVER_H

#include <event2/event.h>
#include <stddef.h>

#include "common/webhook_url.h"
#include "webhook/retry.h"

#define DELIVER_RESPONSE_MAX (64 * 1024) /* bytes of head and body that are read, and thrown away */

struct deliver;

struct deliver_settings {
    const struct webhook_url_rules *rules;
    const char *ca_file; /* NULL: the system's authorities */
    int64_t timeout_ms, connect_timeout_ms;
    size_t total, per_host; /* connections kept */
};

/** Called once per attempt, never before deliver_post() returns; may start another. */
typedef void (*deliver_fn)(void *cookie, void *what, const struct attempt_report *report);

struct deliver *deliver_new(struct event_base *base, const struct deliver_settings *settings,
    deliver_fn fn, void *cookie, struct error *err);

/** deliver_free(d): attempts on their way are broken off; ${fn} is not called for them. */
void deliver_free(struct deliver *deliver);

struct deliver_post {
    const char *url; /* passed webhook_url_check() */
    const char *id;
    int64_t timestamp; /* Unix seconds */
    const char *signature;
    const char *traceparent; /* "" for none */
    char *body;              /* malloc'ed; deliver_post() takes it over, also on failure */
    size_t size;
};

/** deliver_post(d, post, what, err): start an attempt about ${what}; -1: none was started. */
int deliver_post(
    struct deliver *deliver, const struct deliver_post *post, void *what, struct error *err);

#endif /* WEBHOOK_DELIVER_H */
