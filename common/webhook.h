/*
 * webhook.h - Whom to tell of a task's events: what is stored with the task, and the words.
 *
 * `webhook` in the hash of a task or group, copied into each of its events. Comes back from
 * Redis as hostile bytes.
 */
#ifndef COMMON_WEBHOOK_H
#define COMMON_WEBHOOK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "common/task.h"
#include "common/trace.h"
#include "common/webhook_url.h"

#define WEBHOOK_FORMAT 1 /* rules for raising it: see TASK_FORMAT */

struct webhook {
    char url[WEBHOOK_URL_MAX + 1];
    bool include_result;
    char traceparent[TRACE_PARENT_LEN + 1]; /* of the submit; "" without a valid one */
};

int webhook_encode(const struct webhook *webhook, struct task_bytes *out, struct error *err);

/** webhook_decode(data, size, webhook, err): checked, but for webhook_url_check(); ERR_CORRUPT. */
int webhook_decode(const void *data, size_t size, struct webhook *webhook, struct error *err);

/** webhook_event_name(status): "task.completed"; NULL: no event tells of it. */
const char *webhook_event_name(enum task_status status);

#define WEBHOOK_EVENT_PING "test.ping"

#endif /* COMMON_WEBHOOK_H */
