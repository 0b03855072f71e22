/*
 * get_task.c - GET /v1/tasks/{id} and its result.
 *
 * With ?wait=N the request is held until the task has ended or N seconds have passed.
 */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/lookup.h"
#include "api/prefer.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/server.h"
#include "api/task_reply.h"
#include "api/wait.h"

struct reading {
    struct exchange *exchange;
    bool with_data;
    bool is_result;
};

static bool
wants_results(const struct reading *r)
{
    return r->is_result || r->with_data;
}

/* The task was read. */
static void
on_task_read(void *cookie, const struct lookup_answer *answer)
{
    struct reading *r = cookie;

    if (r->is_result)
        task_reply_result(r->exchange, answer);
    else
        task_reply_document(r->exchange, 200, answer, r->with_data);
    free(r);
}

/* The task ended, or the wait did. While a batch was waited for, its results were not read. */
static void
on_waited(void *cookie, enum wait_end end, const struct lookup_answer *answer)
{
    struct reading *r = cookie;
    struct exchange *e = r->exchange;

    (void)end; /* the present document is right for all of them */
    if (answer->outcome == LOOKUP_FOUND && answer->batch != NULL && wants_results(r) &&
        lookup_results(e->server->models, e->server->store, answer->model, &e->caller, e->task_id,
            on_task_read, r) == 0)
        return;
    on_task_read(cookie, answer);
}

static void
read_task(struct exchange *e, const char *id, struct reading reading, long wait_seconds)
{
    struct server *server = e->server;
    struct error err;
    struct reading *r;

    if (!id_is_valid(id)) {
        reply_refuse(e, 404, "task_not_found", "there is no task of this id");
        return;
    }
    memcpy(e->task_id, id, ID_LEN);
    if ((r = malloc(sizeof(*r))) == NULL)
        goto no_memory;
    *r = reading;
    r->exchange = e;
    /* without a place among the held ones the client gets its answer now and may ask again */
    if (wait_seconds > 0 && wait_for_task(server->waiters, e, NULL, e->task_id,
                                (double)wait_seconds, on_waited, r) == 0)
        return;
    if ((wants_results(r) ? lookup_results : lookup_task)(
            server->models, server->store, NULL, &e->caller, e->task_id, on_task_read, r) == 0)
        return;
    free(r);

no_memory:
    error_set(&err, ERR_MEMORY, "no memory to look a task up");
    reply_error(e, &err);
}

void
get_task(struct exchange *e, const char *param)
{
    struct problem problem = {0};
    long wait_seconds = 0, data = 1;

    if (query_integer(head_query(e->head), "wait", 0, PREFER_WAIT_MAX_SECONDS, &wait_seconds,
            &problem) == -1 ||
        query_integer(head_query(e->head), "data", 0, 1, &data, &problem) == -1) {
        reply_problem(e, &problem);
        return;
    }
    read_task(e, param, (struct reading){.with_data = data == 1}, wait_seconds);
}

void
get_task_result(struct exchange *e, const char *param)
{
    read_task(e, param, (struct reading){.is_result = true}, 0);
}
