/*
 * request_webhook.c - `webhook`: where events of this task are to be sent.
 *
 * The schema is judged with the other members; whether the address may be used is judged
 * last, and by webhook_url.c.
 */
#include "api/request_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/webhook.h"

enum { URL, EVENTS, INCLUDE_RESULT, N_MEMBERS };
static const char *const names[N_MEMBERS] = {"url", "events", "include_result"};

/* What there are events of, in the order of task_status. */
static const enum task_status told[] = {
    TASK_PROCESSING, TASK_COMPLETED, TASK_FAILED, TASK_CANCELLED, TASK_EXPIRED};
#define N_EVENTS (sizeof(told) / sizeof(told[0]))

#define DEFAULT_EVENTS                                                                             \
    (1u << TASK_COMPLETED | 1u << TASK_FAILED | 1u << TASK_CANCELLED | 1u << TASK_EXPIRED)

static void
read_events(struct reader *r, const cJSON *list, const struct path *at, uint32_t *events)
{
    const char *event_names[N_EVENTS];
    const cJSON *item;
    size_t n, i = 0, choice;

    if (!value_list(r, list, at, 1, N_EVENTS, &n))
        return;
    for (size_t e = 0; e < N_EVENTS; e++)
        event_names[e] = webhook_event_name(told[e]);
    *events = 0;
    cJSON_ArrayForEach(item, list)
    {
        struct path item_at = {.parent = at, .index = i++};

        if (value_choice(r, item, &item_at, event_names, N_EVENTS, &choice))
            *events |= 1u << told[choice];
    }
}

void
webhook_read(
    struct reader *r, const cJSON *item, const struct path *at, struct request_webhook *webhook)
{
    struct path url_at = {.parent = at, .name = names[URL]};
    struct path events_at = {.parent = at, .name = names[EVENTS]};
    struct path include_at = {.parent = at, .name = names[INCLUDE_RESULT]};
    const cJSON *found[N_MEMBERS];
    const char *url;

    if (!cJSON_IsObject(item)) {
        fault_type(r, at, WANTED_OBJECT, item);
        return;
    }
    value_members(r, item, at, names, N_MEMBERS, true, found);
    webhook->events = DEFAULT_EVENTS;
    if (found[URL] == NULL)
        fault_required(r, &url_at);
    else if (value_text(r, found[URL], &url_at, 1, WEBHOOK_URL_MAX, &url) &&
             (webhook->url = strdup(url)) == NULL)
        r->out_of_memory = true;
    if (value_is_given(found[EVENTS]))
        read_events(r, found[EVENTS], &events_at, &webhook->events);
    if (value_is_given(found[INCLUDE_RESULT]))
        (void)value_bool(r, found[INCLUDE_RESULT], &include_at, &webhook->include_result);
}

void
webhook_judge(struct reader *r, const struct request_webhook *webhook, const struct path *at)
{
    struct path url_at = {.parent = at, .name = names[URL]};
    const char *reason;

    if (!r->rules->webhook_enabled)
        fault_value(r, &url_at, "webhook_disabled", NULL,
            "this server sends no webhooks: it has no secret to sign them with");
    else if (webhook_url_check(webhook->url, &r->rules->webhook_urls, &reason) == -1)
        fault_value(r, &url_at, "webhook_url_blocked", NULL, "%s", reason);
}
