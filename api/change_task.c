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
    size_t n_pending; /* tasks the queue was told to cancel and has not answered for */
    bool is_there;    /* it knew one of them */
    bool is_running;  /* a worker has one of them still */
    struct error error;
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

/* The queue has ended the tasks, or has told their workers to. */
static void
conclude_cancel(struct change *c)
{
    struct exchange *e = c->exchange;
    struct model *model = c->model;
    struct error err = c->error;

    if (err.code != ERR_NONE) {
        reply_error(leave(c), &err);
    } else if (!c->is_there) {
        task_reply_other(leave(c), &(struct lookup_answer){.outcome = LOOKUP_ABSENT});
    } else if (!c->erases) {
        task_reply_read(leave(c), 200, model);
    } else if (!c->is_running) {
        purge(c);
    } else if (wait_for_task(e->server->waiters, e, model, e->task_id, DELETE_WAIT_SECONDS,
                   on_ended, c) == -1) {
        refuse_running(leave(c)); /* no place among the held ones */
    }
}

/* The queue answered for one task. */
static void
on_cancelled(void *cookie, const redisReply *reply)
{
    struct change *c = cookie;
    enum queue_cancel_outcome outcome;
    struct error err;

    c->n_pending--;
    if (reply == NULL) {
        error_set(&c->error, ERR_UNAVAILABLE, "Redis does not answer");
    } else if (queue_cancel_parse(reply, &outcome, &err) == -1) {
        c->error = err;
    } else {
        c->is_there = c->is_there || outcome != QUEUE_CANCEL_UNKNOWN;
        c->is_running =
            c->is_running || outcome == QUEUE_CANCEL_ASKED || outcome == QUEUE_CANCEL_SHARED;
    }
    if (c->n_pending == 0)
        conclude_cancel(c);
}

static void
cancel(struct change *c, const char *id)
{
    struct queue_call call;

    if (queue_cancel_call(&c->model->queue, id, &call, NULL) == -1 ||
        store_send(c->exchange->server->store, &call, on_cancelled, c) == -1)
        error_set(&c->error, ERR_MEMORY, "no memory to change a task");
    else
        c->n_pending++;
}

/* A batch is cancelled by those of its members that have not ended, in one exchange. */
static void
cancel_members(struct change *c, const struct lookup_answer *answer)
{
    struct queue_task_view view;
    char id[ID_LEN + 1];
    size_t n;

    c->is_there = true;
    if (queue_group_read_parse(answer->batch, answer->with_results, &view, &n, &c->error) == -1)
        return;
    for (size_t i = 0; i < n && c->error.code == ERR_NONE; i++) {
        if (queue_group_member_parse(
                answer->batch, answer->with_results, i, id, &view, &c->error) == -1)
            return;
        if (view.found && !task_status_is_terminal(view.status))
            cancel(c, id);
    }
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
    } else if (has_ended && answer->batch != NULL) { /* its results were not read */
        task_reply_read(leave(c), 200, answer->model);
    } else if (has_ended) {
        task_reply_document(leave(c), 200, answer, true);
    } else {
        if (answer->batch != NULL)
            cancel_members(c, answer);
        else
            cancel(c, c->exchange->task_id);
        if (c->n_pending == 0)
            conclude_cancel(c);
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
    if (lookup_task(
            e->server->models, e->server->store, NULL, &e->caller, e->task_id, on_found, c) == -1)
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
