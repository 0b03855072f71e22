/*
 * parcel.h - One event on its way: leased from the outbox, waiting, being sent, or over.
 *
 * Everything in it came from Redis and was checked when it was made; the URL is judged by
 * dispatch.c, because that depends on settings.
 */
#ifndef WEBHOOK_PARCEL_H
#define WEBHOOK_PARCEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/queue/queue_outbox.h"
#include "common/webhook.h"
#include "webhook/sign.h"

struct host;
struct outbox_model;

enum parcel_state {
    PARCEL_WAITING, /* for its host to have room */
    PARCEL_READING, /* what it tells of is read from Redis */
    PARCEL_SENDING,
    PARCEL_CLOSING, /* Redis is being told what became of it */
    PARCEL_OVER
};

struct parcel {
    TAILQ_ENTRY(parcel) in_outbox; /* all that are not OVER */
    TAILQ_ENTRY(parcel) in_host;   /* those WAITING, READING, SENDING */
    struct outbox_model *model;
    struct host *host; /* of those WAITING, READING, SENDING */
    enum parcel_state state;
    unsigned n_holds; /* replies still to come that name it */
    bool is_told;     /* CLOSING: Redis has been told and has not answered */
    char key[QUEUE_HOOK_KEY_MAX];
    char event_id[QUEUE_HOOK_EVENT_ID_MAX];
    char subject[ID_LEN + 1];
    char owner[SIGN_NAME_MAX + 1];
    uint64_t fence;
    uint32_t attempts;
    bool is_ping, is_group;
    enum task_status status;
    int64_t created_ms, expires_ms;
    int64_t redis_ahead_ms;        /* Redis's clock minus our monotonic one */
    int64_t posted_ms;             /* this attempt, monotonic; 0: not yet */
    char *error_code, *error_text; /* NULL: none */
    char *url;
    bool include_result;
    char traceparent[TRACE_PARENT_LEN + 1];
    struct queue_hook_result result; /* CLOSING */
};

/** parcel_new(d, now_ms, err): of a lease; ${now_ms} is Redis's. ERR_CORRUPT: it can only be given up. */
struct parcel *parcel_new(const struct queue_delivery *d, int64_t now_ms, struct error *err);
void parcel_free(struct parcel *parcel);

/** parcel_redis_ms(p): Redis's clock, now. */
int64_t parcel_redis_ms(const struct parcel *parcel);

/** parcel_event(p): "task.completed", "test.ping". */
const char *parcel_event(const struct parcel *parcel);

#endif /* WEBHOOK_PARCEL_H */
