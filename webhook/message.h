/*
 * message.h - The body of an event. schemas/webhook.md is its contract.
 */
#ifndef WEBHOOK_MESSAGE_H
#define WEBHOOK_MESSAGE_H

#include <hiredis/hiredis.h>

#include "common/document/json_out.h"
#include "webhook/parcel.h"

#define MESSAGE_RESULT_MAX (256 * 1024) /* bytes of data.result */
#define MESSAGE_THIN_MAX   19999        /* bytes of a body without a result */

/** message_write_ping(p, out): needs nothing from Redis. */
void message_write_ping(const struct parcel *parcel, struct json_out *out);

/**
 * message_write(p, model, reply, public_url, out, err):
 * ${reply} is that of queue_read_call(), of queue_group_read_call() for a group. ${public_url} may
 * be NULL. ERR_NOT_FOUND: the task is gone, so is the event. ERR_CORRUPT, ERR_MEMORY,
 * ERR_UNAVAILABLE.
 */
int message_write(const struct parcel *parcel, const char *model, const redisReply *reply,
    const char *public_url, struct json_out *out, struct error *err);

/** message_needs_output(p): must the stored result be read? */
bool message_needs_output(const struct parcel *parcel);

#endif /* WEBHOOK_MESSAGE_H */
