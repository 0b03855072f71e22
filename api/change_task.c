/*
 * change_task.c - POST /v1/tasks/{id}/cancel and DELETE /v1/tasks/{id}.
 *
 * The task is read first, because an id does not tell its model. DELETE of a task that is not
 * over cancels it; one that runs ends at its next step, and DELETE is held until then.
 */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/lookup.h"
#include "api/models.h"
#include "api/reply.h"
#include "api/server.h"
#include "api/store.h"
#include "api/task_reply.h"
#include "api/wait.h"
#include "common/queue/queue_admin.h"

#define DELETE_WAIT_SECONDS  5 /* a worker ends a cancelled task within 2 s */
#define DELETE_RETRY_SECONDS 2

struct change {
    struct exchange *exchange;
    struct model *model;
    bool erases;
    char batch_id[ID_LEN + 1];
};

/* The change is over: forget it, and answer by what is returned. */
static struct exchange *
leave(struct change *c)
{
    struct exchange *e = c->exchange;

    free(c);
    return e;
}

static void
refuse_memory(struct exchange *e)
{
    struct error err;

    error_set(&err, ERR_MEMORY, "no memory to change a task");
    reply_error(e, &err);
}

/* ---- erasing ---- */

static void
refuse_running(struct exchange *e)
{
    struct problem problem = {0};

    problem_set(&problem, 409, "not_finished",
        "the task was told to stop and has not stopped yet; delete it again");
    problem_extra(&problem, "task_id", cJSON_CreateString(e->task_id));
    problem_extra(&problem, "task_status", cJSON_CreateString(task_status_name(TASK_PROCESSING)));
    problem.retry_after = DELETE_RETRY_SECONDS;
    reply_problem(e, &problem);
}

static void
refuse_member(struct exchange *e, const char *batch_id)
{
    struct problem problem = {0};

    problem_set(&problem, 409, "batch_member", "the task is part of a batch: delete that");
    problem_extra(&problem, "batch_id", cJSON_CreateString(batch_id));
    reply_problem(e, &problem);
}

/* The queue has erased it, or says why not. */
static void
on_purged(void *cookie, const redisReply *reply)
{
    struct change *c = cookie;
    enum queue_purge_outcome outcome;
    char batch_id[ID_LEN + 1];
    struct exchange *e;
    struct error err;

    memcpy(batch_id, c->batch_id, sizeof(batch_id));
    e = leave(c);
    if (reply == NULL) {
        reply_store_unavailable(e);
        return;
    }
    if (queue_purge_parse(reply, &outcome, &err) == -1) {
        reply_error(e, &err);
        return;
    }
    switch (outcome) {
    case QUEUE_PURGED:
        reply_nothing(e, 204);
        break;
    case QUEUE_PURGE_NOT_ENDED:
        refuse_running(e);
        break;
    case QUEUE_PURGE_MEMBER:
        refuse_member(e, batch_id);
        break;
    case QUEUE_PURGE_UNKNOWN:
    default: /* somebody else was faster */
        task_reply_other(e, &(struct lookup_answer){.outcome = LOOKUP_ABSENT});
        break;
    }
}

static void
purge(struct change *c)
{
    struct server *server = c->exchange->server;
    struct queue_call call;

    if (queue_purge_call(&c->model->queue, c->exchange->task_id, &call, NULL) == -1 ||
        store_send(server->store, &call, on_purged, c) == -1)
        refuse_memory(leave(c));
}

/* A running task that was to be deleted has ended, or goes on for too long. */
static void
on_ended(void *cookie, enum wait_end end, const struct lookup_answer *answer)
{
    struct change *c = cookie;

    (void)end;
    if (answer->outcome != LOOKUP_FOUND && answer->outcome != LOOKUP_GONE)
        task_reply_other(leave(c), answer);
    else if (!task_status_is_terminal(answer->view->status))
        refuse_running(leave(c));
    else
        purge(c);
}

/* ---- cancelling ---- */

/* The queue has ended it, or has told its worker to. */
static void
on_cancelled(void *cookie, const redisReply *reply)
{
    struct change *c = cookie;
    struct exchange *e = c->exchange;
    struct model *model = c->model;
    enum queue_cancel_outcome outcome;
    struct error err;

    if (reply == NULL) {
        reply_store_unavailable(leave(c));
    } else if (queue_cancel_parse(reply, &outcome, &err) == -1) {
        reply_error(leave(c), &err);
    } else if (outcome == QUEUE_CANCEL_UNKNOWN) {
        task_reply_other(leave(c), &(struct lookup_answer){.outcome = LOOKUP_ABSENT});
    } else if (!c->erases) {
        task_reply_read(leave(c), 200, model);
    } else if (outcome == QUEUE_CANCEL_DONE || outcome == QUEUE_CANCEL_ENDED) {
        purge(c);
    } else if (wait_for_task(e->server->waiters, e, model, e->task_id, DELETE_WAIT_SECONDS,
                   on_ended, c) == -1) {
        refuse_running(leave(c)); /* no place among the held ones */
    }
}

static void
cancel(struct change *c)
{
    struct server *server = c->exchange->server;
    struct queue_call call;

    if (queue_cancel_call(&c->model->queue, c->exchange->task_id, &call, NULL) == -1 ||
        store_send(server->store, &call, on_cancelled, c) == -1)
        refuse_memory(leave(c));
}

/* ---- both ---- */

/* It is known which model's task it is. */
static void
on_found(void *cookie, const struct lookup_answer *answer)
{
    struct change *c = cookie;
    bool has_ended;

    if (answer->outcome != LOOKUP_FOUND && !(answer->outcome == LOOKUP_GONE && c->erases)) {
        task_reply_other(leave(c), answer);
        return;
    }
    c->model = answer->model;
    memcpy(c->batch_id, answer->view->group, sizeof(c->batch_id));
    has_ended = task_status_is_terminal(answer->view->status);
    if (c->erases && has_ended) {
        purge(c);
    } else if (c->erases && c->batch_id[0] != '\0') { /* refused before it is cancelled */
        refuse_member(c->exchange, c->batch_id);
        free(c);
    } else if (has_ended) {
        task_reply_document(leave(c), 200, answer, true);
    } else {
        cancel(c);
    }
}

static void
change_task(struct exchange *e, const char *id, bool erases)
{
    struct change *c;

    if (!id_is_valid(id)) {
        task_reply_other(e, &(struct lookup_answer){.outcome = LOOKUP_ABSENT});
        return;
    }
    memcpy(e->task_id, id, ID_LEN);
    if ((c = malloc(sizeof(*c))) == NULL) {
        refuse_memory(e);
        return;
    }
    *c = (struct change){.exchange = e, .erases = erases};
    if (lookup_task(e->server->models, e->server->store, NULL, e->task_id, on_found, c) == -1)
        refuse_memory(leave(c));
}

void
cancel_task(struct exchange *e, const char *param)
{
    change_task(e, param, false);
}

void
delete_task(struct exchange *e, const char *param)
{
    change_task(e, param, true);
}
