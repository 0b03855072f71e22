/*
 * dispatch.c - The way of an event.
 *
 *   leased -> its URL judged -> waits for its host -> what it tells of read -> written, signed
 *          -> posted -> closed: delivered, again later, given up
 *
 * An event that cannot go on for a reason of our own (Redis away, no memory, no room, stopping) is
 * given back and costs no attempt.
 */
#include "webhook/dispatch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/metrics.h"
#include "webhook/message.h"
#include "webhook/outbox.h"

#define LOGGER       "webhook.dispatch"
#define PARCELS_MAX  4096 /* leased at once; most of them wait for hosts that are quick */
#define OWN_FAULT_MS 2000 /* until a parcel that was given back for a fault of ours is due again */

struct dispatch {
    const struct webhook_settings *settings;
    struct outbox *outbox;
    struct hosts *hosts;
    struct deliver *deliver;
    struct dispatch_counts counts;
    bool is_stopping;
};

static void pump(struct dispatch *d);

static void
give_back(struct dispatch *d, struct parcel *p, int64_t delay_ms)
{
    const struct queue_hook_result release = {.verdict = QUEUE_HOOK_RELEASE, .delay_ms = delay_ms};

    outbox_done(d->outbox, p, &release);
}

static void
log_parcel(const struct parcel *p, enum log_level level, const char *message, const char *outcome,
    const struct attempt_report *report, const char *reason)
{
    char host[WEBHOOK_AUTHORITY_MAX], trace[TRACE_ID_LEN + 1];

    webhook_url_authority(p->url, host);
    trace_id_of(p->traceparent, trace);
    log_with(level, LOGGER, message, LOG_TEXT("event", parcel_event(p)),
        LOG_TEXT("webhook_id", p->event_id), LOG_TEXT("task_id", p->is_ping ? NULL : p->subject),
        LOG_TEXT("model", outbox_model_name(p->model)), LOG_TEXT("owner", p->owner),
        LOG_TEXT("trace_id", trace[0] != '\0' ? trace : NULL), LOG_TEXT("receiver", host),
        LOG_INT("attempt", p->attempts), LOG_TEXT("outcome", outcome),
        LOG_INT("status_code", report != NULL ? report->status : 0),
        LOG_INT("latency_ms", report != NULL ? report->latency_ms : 0),
        LOG_TEXT("error_type", reason),
        LOG_TEXT("error_message", report != NULL ? report->detail : NULL));
}

/* It will never be sent: the reason is final. */
static void
give_up(struct dispatch *d, struct parcel *p, const char *reason)
{
    const struct queue_hook_result result = {.verdict = QUEUE_HOOK_GIVE_UP, .last_error = reason};

    d->counts.given_up++;
    log_parcel(p, LOG_LEVEL_WARNING, "delivery given up", "failed", NULL, reason);
    outbox_done(d->outbox, p, &result);
}

/* ---- sending ---- */

/* Its place on the way is free; what waits for a host that begins to rest goes back to the outbox. */
static void
leave_host(struct dispatch *d, struct parcel *p, enum host_sign sign, int64_t latency_ms)
{
    struct host *host = p->host;
    struct parcel *waiting;
    int64_t delay_ms;

    if (!hosts_done(d->hosts, p, sign, latency_ms))
        return;
    log_parcel(
        p, LOG_LEVEL_WARNING, "a receiver rests: it failed again and again", NULL, NULL, NULL);
    while ((waiting = hosts_evict(d->hosts, host, &delay_ms)) != NULL)
        give_back(d, waiting, delay_ms);
}

static struct retry_terms
terms_of(const struct dispatch *d, const struct parcel *p)
{
    struct retry_terms t = {
        .attempts = p->attempts,
        .is_ping = p->is_ping,
        .now_ms = parcel_redis_ms(p),
        .expires_ms = p->expires_ms,
        .scale = d->settings->retry_scale,
    };

    (void)!getrandom(&t.random, sizeof(t.random), GRND_NONBLOCK); /* without it: no jitter */
    return t;
}

/* An attempt has ended. */
static void
on_attempt_ended(void *cookie, void *what, const struct attempt_report *report)
{
    static const char *const outcomes[] = {
        [QUEUE_HOOK_SENT] = "delivered",
        [QUEUE_HOOK_RETRY] = "retry",
        [QUEUE_HOOK_RELEASE] = "released",
        [QUEUE_HOOK_GIVE_UP] = "failed",
        [QUEUE_HOOK_DISABLE] = "disabled",
    };
    struct dispatch *d = cookie;
    struct parcel *p = what;
    struct retry_terms terms = terms_of(d, p);
    struct queue_hook_result result = retry_judge(report, &terms);

    FAILPOINT(AFTER_HOOK_SEND, -1);
    if (report->end == ATTEMPT_LOCAL && result.verdict == QUEUE_HOOK_RETRY)
        result =
            (struct queue_hook_result){.verdict = QUEUE_HOOK_RELEASE, .delay_ms = OWN_FAULT_MS};
    if (result.verdict == QUEUE_HOOK_SENT)
        d->counts.delivered++;
    else
        d->counts.failed_attempts++;
    d->counts.given_up +=
        result.verdict == QUEUE_HOOK_GIVE_UP || result.verdict == QUEUE_HOOK_DISABLE;
    if (result.verdict == QUEUE_HOOK_SENT)
        metrics_observe(METRIC_WEBHOOK_DELIVERY, (double)(terms.now_ms - p->created_ms) / 1000.0);
    log_parcel(p, result.verdict == QUEUE_HOOK_SENT ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
        "delivery attempted", outcomes[result.verdict], report,
        report->end != ATTEMPT_ANSWERED ? attempt_end_name(report->end) : NULL);
    leave_host(d, p, retry_host_sign(report), report->latency_ms);
    outbox_done(d->outbox, p, &result);
    pump(d);
}

/* Sign ${body}, which is taken over, and post it. */
static int
post(struct dispatch *d, struct parcel *p, char *body, size_t size, struct error *err)
{
    char signature[SIGN_TEXT_MAX];
    struct deliver_post parts = {
        .url = p->url,
        .id = p->event_id,
        .timestamp = clock_wall_ms() / 1000,
        .signature = signature,
        .traceparent = p->traceparent,
        .body = body,
        .size = size,
    };

    if (sign_all(&d->settings->masters, p->owner, p->event_id, parts.timestamp, body, size,
            signature, err) == -1) {
        free(body);
        return -1;
    }
    FAILPOINT(BEFORE_HOOK_SEND, -1);
    if (deliver_post(d->deliver, &parts, p, err) == -1)
        return -1;
    p->state = PARCEL_SENDING;
    p->posted_ms = clock_monotonic_ms();
    return 0;
}

/* It cannot be sent: for good if its task is gone or broken, else for a while. */
static void
cannot_send(struct dispatch *d, struct parcel *p, const struct error *err)
{
    leave_host(d, p, HOST_NO_SIGN, 0);
    if (err->code == ERR_NOT_FOUND) {
        give_up(d, p, "gone");
    } else if (err->code == ERR_CORRUPT || err->code == ERR_INVALID) {
        log_parcel(p, LOG_LEVEL_ERROR, "an event cannot be written", NULL, NULL, err->text);
        give_up(d, p, "corrupt");
    } else {
        log_warning(LOGGER, "an event is given back", LOG_TEXT("webhook_id", p->event_id),
            LOG_TEXT("error_message", err->text));
        give_back(d, p, OWN_FAULT_MS);
    }
}

/* Write what was read, sign it, post it. */
static int
write_and_post(struct dispatch *d, struct parcel *p, const redisReply *reply, struct error *err)
{
    struct json_out out;

    json_out_init(&out);
    if (p->is_ping)
        message_write_ping(p, &out);
    else if (message_write(
                 p, outbox_model_name(p->model), reply, d->settings->public_url, &out, err) == -1) {
        json_out_clear(&out);
        return -1;
    }
    if (out.failed) {
        json_out_clear(&out);
        return error_set(err, ERR_MEMORY, "no memory to write an event");
    }
    return post(d, p, out.text, out.len, err);
}

/* What an event tells of was read, or Redis is away. */
static void
on_read(void *cookie, struct parcel *p, const redisReply *reply)
{
    struct dispatch *d = cookie;
    struct error err;

    error_set(&err, ERR_UNAVAILABLE, "Redis does not answer");
    if (reply != NULL && write_and_post(d, p, reply, &err) == 0)
        return;
    cannot_send(d, p, &err);
    pump(d);
}

static void
start(struct dispatch *d, struct parcel *p)
{
    struct error err;

    p->state = PARCEL_READING;
    error_set(&err, ERR_MEMORY, "out of memory");
    if (p->is_ping ? write_and_post(d, p, NULL, &err) == -1
                   : outbox_read(d->outbox, p, message_needs_output(p), on_read) == -1)
        cannot_send(d, p, &err);
}

static void
pump(struct dispatch *d)
{
    struct parcel *p;

    while (!d->is_stopping && (p = hosts_next(d->hosts)) != NULL)
        start(d, p);
}

/* ---- what the outbox says ---- */

/* A parcel was leased. */
static void
on_leased(void *cookie, struct parcel *p)
{
    struct dispatch *d = cookie;
    char authority[WEBHOOK_AUTHORITY_MAX];
    const char *reason;
    int64_t delay_ms;

    if (d->is_stopping)
        give_back(d, p, 0);
    else if (webhook_url_check(p->url, &d->settings->rules.url, &reason) == -1)
        give_up(d, p, "blocked_url");
    else if (p->attempts > RETRY_ATTEMPTS) /* it has ended those who tried */
        give_up(d, p, "attempts");
    else if (parcel_redis_ms(p) >= p->expires_ms)
        give_up(d, p, "expired");
    else {
        webhook_url_authority(p->url, authority);
        if (hosts_offer(d->hosts, authority, p, &delay_ms))
            pump(d);
        else
            give_back(d, p, delay_ms);
    }
}

/* A parcel that waits is another process's. */
static void
on_lost(void *cookie, struct parcel *p)
{
    struct dispatch *d = cookie;

    hosts_withdraw(d->hosts, p);
}

/* ---- life ---- */

struct dispatch *
dispatch_new(struct event_base *base, const struct webhook_settings *settings, struct error *err)
{
    struct dispatch *d = calloc(1, sizeof(*d));
    const struct outbox_events events = {.leased = on_leased, .lost = on_lost, .cookie = d};

    if (d == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    d->settings = settings;
    if ((d->hosts = hosts_new(&settings->hosts, err)) == NULL ||
        (d->deliver = deliver_new(base, &settings->deliver, on_attempt_ended, d, err)) == NULL ||
        (d->outbox = outbox_new(
             base, &settings->redis, settings->default_model, PARCELS_MAX, &events, err)) == NULL) {
        dispatch_free(d);
        return NULL;
    }
    return d;
}

void
dispatch_free(struct dispatch *dispatch)
{
    if (dispatch == NULL)
        return;
    deliver_free(dispatch->deliver);
    outbox_free(dispatch->outbox);
    hosts_free(dispatch->hosts);
    free(dispatch);
}

void
dispatch_stop(struct dispatch *dispatch)
{
    struct parcel *p, *next;

    dispatch->is_stopping = true;
    outbox_stop(dispatch->outbox);
    for (p = outbox_first(dispatch->outbox); p != NULL; p = next) {
        next = outbox_next(p);
        if (p->state == PARCEL_WAITING) {
            hosts_withdraw(dispatch->hosts, p);
            give_back(dispatch, p, 0);
        }
    }
}

bool
dispatch_is_idle(const struct dispatch *dispatch)
{
    return outbox_count(dispatch->outbox) == 0;
}

bool
dispatch_is_up(const struct dispatch *dispatch)
{
    return outbox_is_up(dispatch->outbox);
}

struct dispatch_counts
dispatch_counts(const struct dispatch *dispatch)
{
    struct dispatch_counts counts = dispatch->counts;

    counts.in_flight = hosts_in_flight(dispatch->hosts);
    counts.leased = outbox_count(dispatch->outbox);
    counts.resting_hosts = hosts_resting(dispatch->hosts);
    return counts;
}
