/*
 * retry.h - What an attempt means: delivered, again later, or given up; and what it says of the host.
 *
 * Pure: a report in, a verdict out.
 */
#ifndef WEBHOOK_RETRY_H
#define WEBHOOK_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/queue/queue_outbox.h"

#define RETRY_ATTEMPTS          8
#define RETRY_AFTER_MAX_SECONDS 3600

/* How an attempt ended. */
enum attempt_end {
    ATTEMPT_ANSWERED, /* with an HTTP status */
    ATTEMPT_BLOCKED,  /* an address it must not reach */
    ATTEMPT_NO_NAME,
    ATTEMPT_NO_CONNECTION,
    ATTEMPT_TLS, /* no trust: certificate, host name, protocol */
    ATTEMPT_TIMEOUT,
    ATTEMPT_BROKEN, /* the connection broke, or what came back was no HTTP */
    ATTEMPT_LOCAL,  /* our own fault: no memory, no descriptors */
    ATTEMPT_ENDS
};
const char *attempt_end_name(enum attempt_end end); /* "blocked_address", "timeout" */

struct attempt_report {
    enum attempt_end end;
    uint32_t status;             /* ANSWERED */
    int64_t retry_after_seconds; /* 0: none was given */
    int64_t latency_ms;
    const char *detail; /* for the log: constant text; NULL: nothing to add */
};

struct retry_terms {
    uint32_t attempts; /* with this one */
    bool is_ping;      /* once, whatever becomes of it */
    int64_t now_ms, expires_ms;
    double scale;    /* of the schedule; 1 but in tests */
    uint32_t random; /* any 32 bits */
};

/** retry_judge(report, terms): a verdict for the outbox. */
struct queue_hook_result retry_judge(
    const struct attempt_report *report, const struct retry_terms *terms);

enum host_sign { HOST_WELL, HOST_ILL, HOST_NO_SIGN };

/**
 * retry_host_sign(report): is the host there and at work? A status below 500 shows that it is,
 * whatever it thinks of the event: a wrong path of one client must not rest the host of all others.
 */
enum host_sign retry_host_sign(const struct attempt_report *report);

#endif /* WEBHOOK_RETRY_H */
