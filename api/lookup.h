/*
 * lookup.h - A task's id -> what is known of the task.
 *
 * An id does not tell its model, and keys are per model: the models known are all asked at
 * once, and again with the latest list of models before a task is said not to exist.
 */
#ifndef API_LOOKUP_H
#define API_LOOKUP_H

#include "api/keys.h"
#include "api/models.h"
#include "api/store.h"
#include "common/error.h"
#include "common/queue/queue.h"

enum lookup_outcome {
    LOOKUP_FOUND,
    LOOKUP_GONE, /* it was there: its life is over */
    LOOKUP_ABSENT,
    LOOKUP_AWAY,   /* Redis does not answer */
    LOOKUP_FAILED, /* what is stored is corrupt, or no memory */
};

struct lookup_answer {
    enum lookup_outcome outcome;
    struct model *model;                /* FOUND, GONE */
    const struct queue_task_view *view; /* FOUND, GONE; only until the callback returns */
    const redisReply
        *batch;        /* FOUND a batch: its members, for task_reply_open(); as long as view */
    bool with_results; /* of those members */
    const struct error *error; /* FAILED */
};

typedef void (*lookup_fn)(void *cookie, const struct lookup_answer *answer);

/**
 * lookup_task(models, store, model, caller, id, fn, cookie):
 * What ${caller} may not see is ABSENT, by the same steps as what is not there. ${model} NULL: any. ${fn} is called once, never before this returns. The result of a task is
 * there if there is one; of a batch only its members' states. -1: no memory, not called.
 */
int lookup_task(struct models *models, struct store *store, struct model *model,
    const struct caller *caller, const char *id, lookup_fn fn, void *cookie);

/** lookup_results(...): the same, with the results of a batch's members. */
int lookup_results(struct models *models, struct store *store, struct model *model,
    const struct caller *caller, const char *id, lookup_fn fn, void *cookie);

#endif /* API_LOOKUP_H */
