/*
 * webhook.c - Whom to tell of a task's events, to bytes and back.
 */
#include "common/webhook.h"

#include <string.h>

#include "common/msgpack_read.h"
#include "common/msgpack_write.h"

enum { FORMAT, URL, INCLUDE_RESULT, TRACEPARENT, N_MEMBERS };
static const char *const names[N_MEMBERS] = {"format", "url", "include_result", "traceparent"};

static const char *const events[TASK_STATUS_COUNT] = {
    [TASK_PROCESSING] = "task.processing",
    [TASK_COMPLETED] = "task.completed",
    [TASK_FAILED] = "task.failed",
    [TASK_CANCELLED] = "task.cancelled",
    [TASK_EXPIRED] = "task.expired",
};

const char *
webhook_event_name(enum task_status status)
{
    return (unsigned)status < TASK_STATUS_COUNT ? events[status] : NULL;
}

int
webhook_encode(const struct webhook *webhook, struct task_bytes *out, struct error *err)
{
    struct msgpack_write w;

    msgpack_write_init(&w);
    msgpack_write_map(&w, N_MEMBERS);
    msgpack_write_text(&w, names[FORMAT]);
    msgpack_write_uint(&w, WEBHOOK_FORMAT);
    msgpack_write_text(&w, names[URL]);
    msgpack_write_text(&w, webhook->url);
    msgpack_write_text(&w, names[INCLUDE_RESULT]);
    msgpack_write_bool(&w, webhook->include_result);
    msgpack_write_text(&w, names[TRACEPARENT]);
    msgpack_write_text(&w, webhook->traceparent);
    return msgpack_write_finish(&w, &out->data, &out->size, err);
}

/* It becomes a header line: one that we would accept, or nothing. */
static bool
is_traceparent(const char *text)
{
    char parent[TRACE_PARENT_LEN + 1];

    return text[0] == '\0' || trace_parent_read(text, parent);
}

static int
read_member(struct msgpack_read *r, size_t member, struct webhook *webhook)
{
    uint32_t format;

    switch (member) {
    case FORMAT:
        if (msgpack_read_u32(r, UINT32_MAX, &format) == 0 && format != WEBHOOK_FORMAT)
            msgpack_read_fault(r, "an unknown format");
        break;
    case URL:
        msgpack_read_text_into(r, webhook->url, sizeof(webhook->url));
        break;
    case INCLUDE_RESULT:
        msgpack_read_bool(r, &webhook->include_result);
        break;
    default:
        if (msgpack_read_text_into(r, webhook->traceparent, sizeof(webhook->traceparent)) == 0 &&
            !is_traceparent(webhook->traceparent))
            msgpack_read_fault(r, "traceparent is none");
    }
    return r->fault == NULL ? 0 : -1;
}

int
webhook_decode(const void *data, size_t size, struct webhook *webhook, struct error *err)
{
    struct msgpack_read r;
    struct msgpack_map map;
    size_t member;
    int more = -1;

    *webhook = (struct webhook){0};
    msgpack_read_init(&r, data, size);
    if (msgpack_read_map(&r, &map) == 0)
        while ((more = msgpack_read_member(&r, &map, names, N_MEMBERS, &member)) == 1 &&
               read_member(&r, member, webhook) == 0)
            ;
    if (more == 0 && (map.seen & 1u << FORMAT) == 0)
        msgpack_read_fault(&r, "it has no format");
    else if (more == 0 && webhook->url[0] == '\0')
        msgpack_read_fault(&r, "it has no url");
    else if (more == 0)
        msgpack_read_end(&r);
    if (r.fault == NULL && more == 0)
        return 0;
    return error_set(err, ERR_CORRUPT, "stored webhook: %s at byte %zu",
        r.fault != NULL ? r.fault : "not readable", r.at);
}
