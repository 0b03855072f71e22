/*
 * list_tasks.c - GET /v1/tasks and GET /v1/dead-letters: pages of task documents, newest first.
 *
 * Keys are per model, so every model gives a page and the pages are merged. A cursor is a place in
 * the one order they share, (time, id), and means the same to each of them; a page ends where the
 * first model's page ended, because what is behind that is not known yet. So a page may be short.
 * A batch on a page is read on its own, because its document is made of its members.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/document/batch_document.h"
#include "api/everywhere.h"
#include "api/handlers.h"
#include "api/models.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/server.h"
#include "common/document/task_document.h"
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
    bool has_status;                        /* judged here: see read_filters() */
    enum task_status status;
    size_t limit;
    size_t n_pending;   /* batches being read */
    bool has_all_pages; /* each model has answered */
    struct error error; /* the first failure */
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

/* A document, if it is asked for. */
static int
add_document(
    struct listing *l, struct place place, const struct task_document *d, struct error *err)
{
    struct item *item;

    if ((l->has_status && d->view.status != l->status) ||
        (l->series_id[0] != '\0' &&
            (d->about.series_id == NULL || strcmp(d->about.series_id, l->series_id) != 0)))
        return 0;
    if ((item = new_item(l, err)) == NULL)
        return -1;
    *item = (struct item){.place = place};
    json_out_init(&item->document);
    task_document_write(d, false, &item->document);
    l->n++;
    return 0;
}

/* One broken task must not hide the others. */
static int
leave_out(const char *id, const struct error *err)
{
    log_error("api.list", "a task cannot be shown", LOG_TEXT("task_id", id),
        LOG_TEXT("error_message", err->text));
    return err->code == ERR_MEMORY ? -1 : 0;
}

static struct place
place_of(const struct listing *l, const char *id, const struct queue_task_view *view)
{
    struct place place = {
        .ms = l->request.list == QUEUE_LIST_DEAD ? view->finished_ms : view->created_ms};

    memcpy(place.id, id, sizeof(place.id));
    return place;
}

static int
add_task(struct listing *l, const struct model *model, const char *id,
    const struct queue_task_view *view, struct error *err)
{
    struct task_document d = {.id = id,
        .model = model->queue.model,
        .view = *view,
        .shows_owner = caller_is_admin(&l->exchange->caller)};
    int status;

    if (task_about_decode(view->about, view->about_size, &d.about, err) == -1)
        return leave_out(id, err);
    status = add_document(l, place_of(l, id, view), &d, err);
    task_document_close(&d);
    return status;
}

/* ---- batches ---- */

struct batch {
    struct listing *listing;
    const struct model *model;
    struct place place;
};

static void finish_if_all(struct listing *l);

/* A batch was read with its members. */
static void
on_batch(void *cookie, const redisReply *reply)
{
    struct batch *b = cookie;
    struct listing *l = b->listing;
    struct queue_task_view view;
    struct task_document d;
    struct error err = {.code = ERR_NONE};
    size_t n;

    if (reply == NULL) {
        error_set(&err, ERR_UNAVAILABLE, "Redis does not answer");
    } else if (queue_group_read_parse(reply, false, &view, &n, &err) == -1) {
        if (leave_out(b->place.id, &err) == 0)
            err.code = ERR_NONE;
    } else if (view.found) { /* else it was erased meanwhile */
        if (batch_document_open(&d, b->place.id, b->model->queue.model, reply, false, &err) == -1) {
            if (leave_out(b->place.id, &err) == 0)
                err.code = ERR_NONE;
        } else {
            d.shows_owner = caller_is_admin(&l->exchange->caller);
            if (add_document(l, b->place, &d, &err) == 0)
                err.code = ERR_NONE;
            task_document_close(&d);
        }
    }
    if (err.code != ERR_NONE && l->error.code == ERR_NONE)
        l->error = err;
    l->n_pending--;
    free(b);
    finish_if_all(l);
}

static int
read_batch(struct listing *l, const struct model *model, struct place place, struct error *err)
{
    struct batch *b = malloc(sizeof(*b));
    struct queue_call call;

    if (b == NULL)
        return error_set(err, ERR_MEMORY, "no memory for a list");
    *b = (struct batch){.listing = l, .model = model, .place = place};
    if (queue_group_read_call(&model->queue, place.id, false, &call, err) == -1 ||
        store_send(l->exchange->server->store, &call, on_batch, b) == -1) {
        free(b);
        return error_set(err, ERR_MEMORY, "no memory for a list");
    }
    l->n_pending++;
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
            log_error("api.list", "a task cannot be shown", LOG_TEXT("error_message", err->text));
            continue;
        }
        if ((is_group ? read_batch(l, model, place_of(l, id, &view), err)
                      : add_task(l, model, id, &view, err)) == -1)
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
finish_if_all(struct listing *l)
{
    struct json_out body;

    if (!l->has_all_pages || l->n_pending > 0)
        return;
    if (l->error.code != ERR_NONE) {
        reply_error(l->exchange, &l->error);
    } else {
        json_out_init(&body);
        write_list(l, &body);
        reply_header(l->exchange, "Cache-Control", "no-store");
        reply_json(l->exchange, 200, &body);
    }
    free_listing(l);
}

static void
list_done(void *cookie, const struct error *err)
{
    struct listing *l = cookie;

    if (err != NULL && l->error.code == ERR_NONE)
        l->error = *err;
    l->has_all_pages = true;
    finish_if_all(l);
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
    if (status[0] != '\0' && task_status_from_name(status, strlen(status), &l->status) == -1)
        return query_refuse(
            problem, "status", "queued, processing, completed, failed, cancelled or expired");
    if (priority[0] != '\0' &&
        task_priority_from_name(priority, strlen(priority), &l->request.priority) == -1)
        return query_refuse(problem, "priority", "urgent, normal or low");
    if (model[0] != '\0' && !task_model_name_is_valid(model, strlen(model)))
        return query_refuse(problem, "model", "the name of a model");
    l->has_status = status[0] != '\0';
    /* a batch that has not ended is queued to Redis, and processing when its members are */
    l->request.has_status = l->has_status && task_status_is_terminal(l->status);
    l->request.status = l->status;
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
    l->request.owner = e->caller.name; /* of QUEUE_LIST_OWNER */
    if (read_filters(l, head_query(e->head), model, &problem) == -1)
        goto refuse;
    /* what Redis does not judge is picked out here of all it may give */
    l->request.limit = l->series_id[0] != '\0' || l->has_status != l->request.has_status
                           ? QUEUE_PAGE_MAX
                           : (int)l->limit;
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
    list(e, caller_is_admin(&e->caller) ? QUEUE_LIST_RECENT : QUEUE_LIST_OWNER);
}

void
list_dead_letters(struct exchange *e, const char *param)
{
    (void)param;
    list(e, QUEUE_LIST_DEAD);
}
