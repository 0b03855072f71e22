/*
 * retry.c - What an attempt means.
 */
#include "webhook/retry.h"

#include <stddef.h>

/* Before attempts 2, 3, ... 8; times 0.8 to 1.2, so that what failed together does not stay together. */
static const int64_t delays_ms[RETRY_ATTEMPTS - 1] = {
    5000, 30000, 120000, 600000, 1800000, 7200000, 21600000};

static const char *const names[ATTEMPT_ENDS] = {
    [ATTEMPT_ANSWERED] = "refused",
    [ATTEMPT_BLOCKED] = "blocked_address",
    [ATTEMPT_NO_NAME] = "dns",
    [ATTEMPT_NO_CONNECTION] = "connect",
    [ATTEMPT_TLS] = "tls",
    [ATTEMPT_TIMEOUT] = "timeout",
    [ATTEMPT_BROKEN] = "broken",
    [ATTEMPT_LOCAL] = "local",
};

const char *
attempt_end_name(enum attempt_end end)
{
    return (unsigned)end < ATTEMPT_ENDS ? names[end] : "";
}

static int64_t
delay_of(const struct attempt_report *report, const struct retry_terms *terms)
{
    bool asks = report->end == ATTEMPT_ANSWERED &&
                (report->status == 429 || report->status == 503) && report->retry_after_seconds > 0;
    double jitter = 0.8 + 0.4 * ((double)terms->random / (double)UINT32_MAX);

    if (asks)
        return 1000 * (report->retry_after_seconds < RETRY_AFTER_MAX_SECONDS
                              ? report->retry_after_seconds
                              : RETRY_AFTER_MAX_SECONDS);
    return (int64_t)((double)delays_ms[terms->attempts - 1] * jitter * terms->scale);
}

struct queue_hook_result
retry_judge(const struct attempt_report *report, const struct retry_terms *terms)
{
    struct queue_hook_result r = {
        .verdict = QUEUE_HOOK_GIVE_UP,
        .last_status = report->end == ATTEMPT_ANSWERED ? report->status : 0,
        .last_error = attempt_end_name(report->end),
    };

    if (report->end == ATTEMPT_ANSWERED && report->status >= 200 && report->status < 300) {
        r.verdict = QUEUE_HOOK_SENT;
        r.last_error = NULL;
        return r;
    }
    if (report->end == ATTEMPT_ANSWERED && report->status == 410) {
        r.verdict = QUEUE_HOOK_DISABLE;
        return r;
    }
    if (report->end == ATTEMPT_BLOCKED || terms->is_ping || terms->attempts >= RETRY_ATTEMPTS ||
        terms->attempts < 1)
        return r;
    r.delay_ms = delay_of(report, terms);
    if (terms->now_ms + r.delay_ms < terms->expires_ms)
        r.verdict = QUEUE_HOOK_RETRY;
    else
        r.delay_ms = 0; /* what it tells of would be gone by then */
    return r;
}

enum host_sign
retry_host_sign(const struct attempt_report *report)
{
    switch (report->end) {
    case ATTEMPT_ANSWERED:
        return report->status < 500 && report->status != 429 ? HOST_WELL : HOST_ILL;
    case ATTEMPT_NO_NAME:
    case ATTEMPT_NO_CONNECTION:
    case ATTEMPT_TLS:
    case ATTEMPT_TIMEOUT:
    case ATTEMPT_BROKEN:
        return HOST_ILL;
    default:
        return HOST_NO_SIGN;
    }
}
