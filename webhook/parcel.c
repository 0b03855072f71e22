/*
 * parcel.c - One event on its way, made of a lease.
 */
#include "webhook/parcel.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/utf8.h"

/* Names of keys are printable ASCII without spaces; this one is signed with. */
static int
copy_owner(struct parcel *p, const struct queue_delivery *d, struct error *err)
{
    if (d->owner_len < 1 || d->owner_len > SIGN_NAME_MAX)
        return error_set(err, ERR_CORRUPT, "stored delivery: owner is not readable");
    for (size_t i = 0; i < d->owner_len; i++) {
        if (d->owner[i] <= ' ' || d->owner[i] > '~')
            return error_set(err, ERR_CORRUPT, "stored delivery: owner is not readable");
    }
    memcpy(p->owner, d->owner, d->owner_len);
    return 0;
}

/* Text for people; what is not fit to be shown is left out by whoever shows it. */
static int
copy_text(char **to, const char *text, size_t len, struct error *err)
{
    if (len == 0)
        return 0;
    if (len > QUEUE_ERROR_TEXT_MAX || memchr(text, '\0', len) != NULL)
        return error_set(err, ERR_CORRUPT, "stored delivery: error is not readable");
    if ((*to = strndup(text, len)) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    return 0;
}

struct parcel *
parcel_new(const struct queue_delivery *d, int64_t now_ms, struct error *err)
{
    struct parcel *p = calloc(1, sizeof(*p));
    struct webhook webhook;

    if (p == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    memcpy(p->key, d->key, sizeof(p->key));
    memcpy(p->subject, d->subject, sizeof(p->subject));
    p->fence = d->fence;
    p->attempts = d->attempts;
    p->is_ping = d->is_ping;
    p->is_group = d->is_group;
    p->status = d->status;
    p->created_ms = d->created_ms;
    p->expires_ms = d->expires_ms;
    p->redis_ahead_ms = now_ms - clock_monotonic_ms();
    queue_hook_event_id(d, p->event_id);
    if (copy_owner(p, d, err) == -1 ||
        copy_text(&p->error_code, d->error_code, d->error_code_len, err) == -1 ||
        copy_text(&p->error_text, d->error_text, d->error_text_len, err) == -1 ||
        webhook_decode(d->webhook, d->webhook_size, &webhook, err) == -1)
        goto free_it;
    if ((p->url = strdup(webhook.url)) == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        goto free_it;
    }
    p->include_result = webhook.include_result;
    memcpy(p->traceparent, webhook.traceparent, sizeof(p->traceparent));
    return p;

free_it:
    parcel_free(p);
    return NULL;
}

void
parcel_free(struct parcel *parcel)
{
    if (parcel == NULL)
        return;
    free(parcel->error_code);
    free(parcel->error_text);
    free(parcel->url);
    free(parcel);
}

int64_t
parcel_redis_ms(const struct parcel *parcel)
{
    return clock_monotonic_ms() + parcel->redis_ahead_ms;
}

const char *
parcel_event(const struct parcel *parcel)
{
    return parcel->is_ping ? WEBHOOK_EVENT_PING : webhook_event_name(parcel->status);
}
