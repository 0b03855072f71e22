/*
 * list.c - What operators and owners are shown as lists: workers, and tasks by pages.
 *
 * A page's cursor is "<score>-<id>" of the last id looked at, so it stays good while tasks come
 * and go.
 */
#include "common/queue/queue_admin.h"
#include "common/queue/script.h"

#include <stdio.h>
#include <string.h>

#define WORKERS_MAX 1000

/* ---- workers ---- */

static const char *const worker_fields[] = {"name", "host", "version", "kernel", "model_version",
    "weights_sha256", "pid", "slots", "busy", "tasks", "context", "rss_bytes", "done", "failed",
    "quiet"};
#define N_WORKER_FIELDS (sizeof(worker_fields) / sizeof(worker_fields[0]))
#define N_WORKER_TEXTS  6
enum { WORKER_ID, WORKER_BEAT, WORKER_FIELDS };

enum queue_worker_state
queue_worker_state(const struct queue_worker *worker, int64_t now_ms)
{
    if (now_ms - worker->beat_ms > QUEUE_PRESENCE_MS)
        return QUEUE_WORKER_LOST;
    if (worker->is_quiet)
        return QUEUE_WORKER_QUIET;
    return worker->tasks > 0 || worker->busy > 0 ? QUEUE_WORKER_BUSY : QUEUE_WORKER_IDLE;
}

const char *
queue_worker_state_name(enum queue_worker_state state)
{
    static const char *const names[] = {[QUEUE_WORKER_IDLE] = "idle",
        [QUEUE_WORKER_BUSY] = "busy",
        [QUEUE_WORKER_QUIET] = "quiet",
        [QUEUE_WORKER_LOST] = "lost"};

    return names[state];
}

int
queue_workers_call(const struct queue *q, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_workers, q, 1 + N_WORKER_FIELDS);
    queue_args_int(&a, WORKERS_MAX);
    for (size_t i = 0; i < N_WORKER_FIELDS; i++)
        queue_args_text(&a, worker_fields[i]);
    return queue_args_end(&a, call, err);
}

int
queue_workers_parse(const redisReply *reply, int64_t *now_ms, size_t *n, struct error *err)
{
    const char *name = queue_script_workers.name;

    *n = 0;
    if (queue_reply_array(reply, name, 1, err) == -1)
        return -1;
    if (!queue_reply_int(reply->element[0], now_ms))
        return queue_reply_strange(name, err);
    *n = reply->elements - 1;
    return 0;
}

int
queue_worker_parse(const redisReply *reply, size_t i, struct queue_worker *out)
{
    const redisReply *worker;
    redisReply **fields;

    *out = (struct queue_worker){0};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 || i >= reply->elements - 1)
        return -1;
    worker = reply->element[1 + i];
    if (worker->type != REDIS_REPLY_ARRAY || worker->elements != WORKER_FIELDS + N_WORKER_FIELDS ||
        !queue_reply_id(worker->element[WORKER_ID], out->worker) ||
        !queue_reply_int(worker->element[WORKER_BEAT], &out->beat_ms))
        return -1;
    fields = worker->element + WORKER_FIELDS;
    const struct {
        char *to;
        size_t size;
    } texts[N_WORKER_TEXTS] = {
        {out->name, sizeof(out->name)},
        {out->host, sizeof(out->host)},
        {out->version, sizeof(out->version)},
        {out->kernel, sizeof(out->kernel)},
        {out->model_version, sizeof(out->model_version)},
        {out->weights_sha256, sizeof(out->weights_sha256)},
    };
    int64_t *const numbers[] = {&out->pid, &out->slots, &out->busy, &out->tasks, &out->context,
        &out->rss_bytes, &out->done, &out->failed};

    for (size_t t = 0; t < N_WORKER_TEXTS; t++)
        queue_reply_text(fields[t], texts[t].to, texts[t].size);
    for (size_t t = 0; t < sizeof(numbers) / sizeof(numbers[0]); t++) {
        if (!queue_reply_int(fields[N_WORKER_TEXTS + t], numbers[t]) || *numbers[t] < 0)
            *numbers[t] = 0;
    }
    out->is_quiet = fields[N_WORKER_FIELDS - 1]->type != REDIS_REPLY_NIL;
    return 0;
}

/* ---- pages of tasks ---- */

enum { PAGE_NOW, PAGE_SCORE, PAGE_LAST, PAGE_ITEMS };
enum { ITEM_ID, ITEM_IS_GROUP, ITEM_VIEW };

/* "<digits>-<uuid>" into its two parts. */
static int
split_cursor(const char *cursor, char *score, size_t size, char *id, struct error *err)
{
    size_t digits = strspn(cursor, "0123456789");

    if (digits == 0 || digits >= size || cursor[digits] != '-' || !id_is_valid(cursor + digits + 1))
        return error_set(err, ERR_INVALID, "not a cursor of a list");
    memcpy(score, cursor, digits);
    score[digits] = '\0';
    memcpy(id, cursor + digits + 1, ID_LEN + 1);
    return 0;
}

int
queue_page_call(const struct queue *q, const struct queue_page_request *r, struct queue_call *call,
    struct error *err)
{
    char score[20] = "", id[ID_LEN + 1] = "", list[160];
    struct queue_args a;

    *call = (struct queue_call){0};
    if (r->limit < 1 || r->limit > QUEUE_PAGE_MAX)
        return error_set(
            err, ERR_INVALID, "a page has 1 to %d items, not %d", QUEUE_PAGE_MAX, r->limit);
    if (r->cursor && r->cursor[0] != '\0' &&
        split_cursor(r->cursor, score, sizeof(score), id, err) == -1)
        return -1;
    if (r->list == QUEUE_LIST_OWNER &&
        (!r->owner || r->owner[0] == '\0' || strlen(r->owner) > sizeof(list) - 16))
        return error_set(err, ERR_INVALID, "a list of an owner's tasks needs its name");
    snprintf(list, sizeof(list), r->list == QUEUE_LIST_OWNER ? "owner:%s" : "%s",
        r->list == QUEUE_LIST_OWNER  ? r->owner
        : r->list == QUEUE_LIST_DEAD ? "dead"
                                     : "recent");
    queue_args_begin(&a, &queue_script_page, q, 6 + queue_view_n_args(false));
    queue_args_text(&a, list);
    queue_args_text(&a, score);
    queue_args_text(&a, id);
    queue_args_int(&a, r->limit);
    queue_args_text(&a, r->has_status ? task_status_name(r->status) : "");
    queue_args_text(&a, r->has_priority ? task_priority_name(r->priority) : "");
    queue_view_args(&a, false);
    return queue_args_end(&a, call, err);
}

int
queue_page_parse(const redisReply *reply, struct queue_page *out, struct error *err)
{
    const char *name = queue_script_page.name;
    char id[ID_LEN + 1];
    int64_t score;

    *out = (struct queue_page){0};
    if (queue_reply_array(reply, name, PAGE_ITEMS, err) == -1)
        return -1;
    if (!queue_reply_int(reply->element[PAGE_NOW], &out->now_ms) ||
        reply->elements - PAGE_ITEMS > QUEUE_PAGE_MAX)
        return queue_reply_strange(name, err);
    /* a stored id that is none ends the list here rather than repeat it for ever */
    if (queue_reply_int(reply->element[PAGE_SCORE], &score) && score >= 0 &&
        queue_reply_id(reply->element[PAGE_LAST], id))
        snprintf(out->cursor, sizeof(out->cursor), "%lld-%s", (long long)score, id);
    out->n = reply->elements - PAGE_ITEMS;
    return 0;
}

int
queue_page_item_parse(const redisReply *reply, size_t i, char *id, bool *is_group,
    struct queue_task_view *view, struct error *err)
{
    const char *name = queue_script_page.name;
    const redisReply *item;
    int64_t now_ms, flag;

    *view = (struct queue_task_view){0};
    if (queue_reply_array(reply, name, PAGE_ITEMS, err) == -1)
        return -1;
    if (i >= reply->elements - PAGE_ITEMS || !queue_reply_int(reply->element[PAGE_NOW], &now_ms))
        return queue_reply_strange(name, err);
    item = reply->element[PAGE_ITEMS + i];
    if (item->type != REDIS_REPLY_ARRAY || item->elements < ITEM_VIEW ||
        !queue_reply_int(item->element[ITEM_IS_GROUP], &flag))
        return queue_reply_strange(name, err);
    if (!queue_reply_id(item->element[ITEM_ID], id))
        return error_set(err, ERR_CORRUPT, "stored list: an id is not a UUID");
    *is_group = flag == 1;
    return queue_view_parse(
        item->element + ITEM_VIEW, item->elements - ITEM_VIEW, false, true, now_ms, view, err);
}
