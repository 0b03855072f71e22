/*
 * list_tasks.c - GET /v1/tasks and GET /v1/dead-letters: pages of task documents, newest first.
 *
 * Keys are per model, so every model gives a page and the pages are merged. A cursor is a place in
 * the one order they share, (time, id), and means the same to each of them; a page ends where the
 * first model's page ended, because what is behind that is not known yet. So a page may be short.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/everywhere.h"
#include "api/handlers.h"
#include "api/models.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/server.h"
#include "api/task_document.h"
#include "common/log.h"
#include "common/queue/queue_admin.h"

#define LIST_LIMIT_DEFAULT 50

/* Where a task stands in the order of a list. */
struct place {
    int64_t ms;
    char id[ID_LEN + 1];
};

struct item {
    struct place place;
    struct json_out document;
};

struct listing {
    struct exchange *exchange;
    struct queue_page_request request;
    char cursor[QUEUE_PAGE_CURSOR_MAX];
    char series_id[TASK_SERIES_ID_MAX + 1]; /* "": any */
    size_t limit;
    struct item *items;
    size_t n, capacity;
    bool has_end; /* some model's page ended before its list did, the first of them here: */
    struct place end;
};

/* Newest first: below 0 when ${a} comes before ${b}. */
static int
compare(const struct place *a, const struct place *b)
{
    if (a->ms != b->ms)
        return a->ms > b->ms ? -1 : 1;
    return strcmp(b->id, a->id);
}

static int
compare_items(const void *a, const void *b)
{
    return compare(&((const struct item *)a)->place, &((const struct item *)b)->place);
}

/* Of a cursor that queue_page_call() takes or queue_page_parse() made. */
static struct place
place_of_cursor(const char *cursor)
{
    struct place place = {.ms = strtoll(cursor, NULL, 10)};

    snprintf(place.id, sizeof(place.id), "%s", strchr(cursor, '-') + 1);
    return place;
}

static void
free_listing(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        json_out_clear(&l->items[i].document);
    free(l->items);
    free(l);
}

/* ---- a model's page ---- */

static int
ask_page(void *cookie, struct model *model, struct queue_call *call, struct error *err)
{
    struct listing *l = cookie;

    return queue_page_call(&model->queue, &l->request, call, err);
}

/* Room for one more. */
static struct item *
new_item(struct listing *l, struct error *err)
{
    struct item *items;

    if (l->n == l->capacity) {
        size_t capacity = l->capacity * 2 + 64;

        if ((items = reallocarray(l->items, capacity, sizeof(*items))) == NULL) {
            error_set(err, ERR_MEMORY, "no memory for a list");
            return NULL;
        }
        l->items = items;
        l->capacity = capacity;
    }
    return &l->items[l->n];
}

/* The document of a task, unless it is not asked for or cannot be read: then 0, too. */
static int
add_task(struct listing *l, const struct model *model, const char *id,
    const struct queue_task_view *view, struct error *err)
{
    struct task_document d = {
        .id = id, .model = model->queue.model, .view = *view, .shows_owner = true};
    struct item *item;

    if (task_about_decode(view->about, view->about_size, &d.about, err) == -1) {
        log_error("api.list", "a task cannot be shown", LOG_TEXT("task_id", id),
            LOG_TEXT("error_message", err->text));
        return err->code == ERR_MEMORY ? -1 : 0;
    }
    if (l->series_id[0] != '\0' &&
        (d.about.series_id == NULL || strcmp(d.about.series_id, l->series_id) != 0))
        goto close_document;
    if ((item = new_item(l, err)) == NULL) {
        task_document_close(&d);
        return -1;
    }
    *item = (struct item){
        .place.ms = l->request.list == QUEUE_LIST_DEAD ? view->finished_ms : view->created_ms};
    memcpy(item->place.id, id, sizeof(item->place.id));
    json_out_init(&item->document);
    task_document_write(&d, false, &item->document);
    l->n++;

close_document:
    task_document_close(&d);
    return 0;
}

static int
hear_page(void *cookie, struct model *model, const redisReply *reply, struct error *err)
{
    struct listing *l = cookie;
    struct queue_page page;
    struct queue_task_view view;
    char id[ID_LEN + 1];
    bool is_group;

    if (queue_page_parse(reply, &page, err) == -1)
        return -1;
    for (size_t i = 0; i < page.n; i++) {
        if (queue_page_item_parse(reply, i, id, &is_group, &view, err) == -1) {
            /* one broken task must not hide the others */
            log_error("api.list", "a task cannot be shown", LOG_TEXT("error_message", err->text));
            continue;
        }
        if (!is_group && add_task(l, model, id, &view, err) == -1)
            return -1;
    }
    if (page.cursor[0] != '\0') {
        struct place end = place_of_cursor(page.cursor);

        if (!l->has_end || compare(&end, &l->end) < 0)
            l->end = end;
        l->has_end = true;
    }
    return 0;
}

/* ---- all of them ---- */

static void
write_cursor(const struct place *place, struct json_out *out)
{
    char cursor[QUEUE_PAGE_CURSOR_MAX];

    snprintf(cursor, sizeof(cursor), "%lld-%s", (long long)place->ms, place->id);
    json_out_text(out, "next_cursor", cursor);
}

static void
write_list(struct listing *l, struct json_out *out)
{
    size_t n_known = 0, n_shown;

    if (l->n > 0)
        qsort(l->items, l->n, sizeof(l->items[0]), compare_items);
    while (n_known < l->n && (!l->has_end || compare(&l->items[n_known].place, &l->end) <= 0))
        n_known++;
    n_shown = n_known < l->limit ? n_known : l->limit;
    json_out_open(out, NULL, '{');
    json_out_open(out, "tasks", '[');
    for (size_t i = 0; i < n_shown; i++) {
        const struct json_out *document = &l->items[i].document;

        if (document->failed)
            out->failed = true;
        else
            json_out_raw(out, NULL, document->text, document->len);
    }
    json_out_close(out, ']');
    if (n_shown < n_known)
        write_cursor(&l->items[n_shown - 1].place, out);
    else if (l->has_end)
        write_cursor(&l->end, out);
    else
        json_out_null(out, "next_cursor");
    json_out_close(out, '}');
}

static void
list_done(void *cookie, const struct error *err)
{
    struct listing *l = cookie;
    struct json_out body;

    if (err != NULL) {
        reply_error(l->exchange, err);
    } else {
        json_out_init(&body);
        write_list(l, &body);
        reply_header(l->exchange, "Cache-Control", "no-store");
        reply_json(l->exchange, 200, &body);
    }
    free_listing(l);
}

/* ---- the request ---- */

static int
read_filters(struct listing *l, const char *query, char *model, struct problem *problem)
{
    char status[16], priority[16];
    long limit = LIST_LIMIT_DEFAULT;

    if (query_text(query, "status", status, sizeof(status), problem) == -1 ||
        query_text(query, "priority", priority, sizeof(priority), problem) == -1 ||
        query_text(query, "model", model, TASK_MODEL_NAME_MAX + 1, problem) == -1 ||
        query_text(query, "series_id", l->series_id, sizeof(l->series_id), problem) == -1 ||
        query_text(query, "cursor", l->cursor, sizeof(l->cursor), problem) == -1 ||
        query_integer(query, "limit", 1, QUEUE_PAGE_MAX, &limit, problem) == -1)
        return -1;
    if (status[0] != '\0' &&
        task_status_from_name(status, strlen(status), &l->request.status) == -1)
        return query_refuse(
            problem, "status", "queued, processing, completed, failed, cancelled or expired");
    if (priority[0] != '\0' &&
        task_priority_from_name(priority, strlen(priority), &l->request.priority) == -1)
        return query_refuse(problem, "priority", "urgent, normal or low");
    if (model[0] != '\0' && !task_model_name_is_valid(model, strlen(model)))
        return query_refuse(problem, "model", "the name of a model");
    l->request.has_status = status[0] != '\0';
    l->request.has_priority = priority[0] != '\0';
    l->limit = (size_t)limit;
    return 0;
}

static void
list(struct exchange *e, enum queue_list which)
{
    static const struct everywhere_talk talk = {ask_page, hear_page, list_done};
    struct server *server = e->server;
    struct problem problem = {0};
    struct listing *l = calloc(1, sizeof(*l));
    char model[TASK_MODEL_NAME_MAX + 1];
    struct queue_call call;
    struct error err;

    if (l == NULL)
        goto no_memory;
    l->exchange = e;
    l->request.list = which;
    if (read_filters(l, head_query(e->head), model, &problem) == -1)
        goto refuse;
    /* Redis does not know series: it gives all it may, and what fits is picked out here */
    l->request.limit = l->series_id[0] != '\0' ? QUEUE_PAGE_MAX : (int)l->limit;
    l->request.cursor = l->cursor[0] != '\0' ? l->cursor : NULL;
    /* the queue judges its cursors, and here it is not too late to refuse one */
    if (queue_page_call(&models_at(server->models, 0)->queue, &l->request, &call, &err) == -1) {
        if (err.code != ERR_INVALID)
            goto no_memory;
        query_refuse(&problem, "cursor", "the next_cursor of a page");
        goto refuse;
    }
    queue_call_clear(&call);
    if (everywhere_ask(server->models, server->store, model[0] != '\0' ? model : NULL, &talk, l) ==
        0)
        return;

no_memory:
    free(l);
    error_set(&err, ERR_MEMORY, "no memory for a list");
    reply_error(e, &err);
    return;

refuse:
    free(l);
    reply_problem(e, &problem);
}

void
list_tasks(struct exchange *e, const char *param)
{
    (void)param;
    list(e, QUEUE_LIST_RECENT); /* every caller is an operator while there are no keys */
}

void
list_dead_letters(struct exchange *e, const char *param)
{
    (void)param;
    list(e, QUEUE_LIST_DEAD);
}
