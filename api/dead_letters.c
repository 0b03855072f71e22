/*
 * dead_letters.c - POST /v1/dead-letters/{id}/requeue and DELETE /v1/dead-letters/{id}.
 *
 * A dead letter may outlive its document, so it is not looked up first: every model is asked to
 * do it, and the one that has it does.
 */
#include <stdlib.h>
#include <string.h>

#include "api/everywhere.h"
#include "api/handlers.h"
#include "api/models.h"
#include "api/reply.h"
#include "api/server.h"
#include "api/task_reply.h"
#include "common/queue/queue_admin.h"

struct letter {
    struct exchange *exchange;
    struct model *model; /* whose it was; NULL: nobody's so far */
};

static int
ask_requeue(void *cookie, struct model *model, struct queue_call *call, struct error *err)
{
    const struct letter *l = cookie;

    return queue_requeue_call(&model->queue, l->exchange->task_id, call, err);
}

static int
ask_discard(void *cookie, struct model *model, struct queue_call *call, struct error *err)
{
    const struct letter *l = cookie;

    return queue_discard_call(&model->queue, l->exchange->task_id, call, err);
}

static int
hear_done(void *cookie, struct model *model, const redisReply *reply, struct error *err)
{
    struct letter *l = cookie;
    bool is_done;

    if (queue_done_parse(reply, &is_done, err) == -1)
        return -1;
    if (is_done)
        l->model = model;
    return 0;
}

static void
refuse_unknown(struct exchange *e)
{
    reply_refuse(e, 404, "task_not_found", "there is no dead letter of this id");
}

/* NULL when ${e} is answered: it was no dead letter, or that is not known. */
static struct model *
end(struct letter *l, const struct error *err)
{
    struct model *model = l->model;

    if (model == NULL && err != NULL)
        reply_error(l->exchange, err);
    else if (model == NULL)
        refuse_unknown(l->exchange);
    free(l);
    return model;
}

static void
requeued(void *cookie, const struct error *err)
{
    struct letter *l = cookie;
    struct exchange *e = l->exchange;
    struct model *model = end(l, err);

    if (model != NULL)
        task_reply_read(e, 202, model);
}

static void
discarded(void *cookie, const struct error *err)
{
    struct letter *l = cookie;
    struct exchange *e = l->exchange;

    if (end(l, err) != NULL)
        reply_nothing(e, 204);
}

static void
change(struct exchange *e, const char *id, const struct everywhere_talk *talk)
{
    struct letter *l;
    struct error err;

    if (!id_is_valid(id)) {
        refuse_unknown(e);
        return;
    }
    memcpy(e->task_id, id, ID_LEN);
    if ((l = malloc(sizeof(*l))) != NULL) {
        *l = (struct letter){.exchange = e};
        if (everywhere_ask(e->server->models, e->server->store, NULL, talk, l) == 0)
            return;
        free(l);
    }
    error_set(&err, ERR_MEMORY, "no memory to change a dead letter");
    reply_error(e, &err);
}

void
requeue_dead_letter(struct exchange *e, const char *param)
{
    static const struct everywhere_talk talk = {ask_requeue, hear_done, requeued};

    change(e, param, &talk);
}

void
discard_dead_letter(struct exchange *e, const char *param)
{
    static const struct everywhere_talk talk = {ask_discard, hear_done, discarded};

    change(e, param, &talk);
}
