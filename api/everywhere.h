/*
 * everywhere.h - One question to the queues of all models, or of one.
 *
 * Keys are per model, and what an operator asks is not. The list of models is read anew first,
 * so that an API that has just started knows what one knows that runs for a year.
 */
#ifndef API_EVERYWHERE_H
#define API_EVERYWHERE_H

#include "common/document/json_out.h"
#include "api/models.h"
#include "api/store.h"
#include "common/error.h"

struct everywhere_talk {
    /* Build the question to ${model}. */
    int (*ask)(void *cookie, struct model *model, struct queue_call *call, struct error *err);
    /* Its answer, never NULL, in any order. */
    int (*hear)(void *cookie, struct model *model, const redisReply *reply, struct error *err);
    /* Called once and last; ${err} NULL: all have answered, else the first failure. */
    void (*done)(void *cookie, const struct error *err);
};

/**
 * everywhere_ask(models, store, name, talk, cookie):
 * ${name} NULL: all models; an unknown one is nobody. ${talk} must outlive the talk; none of it is
 * called before this returns. -1: no memory, nothing is called.
 */
int everywhere_ask(struct models *models, struct store *store, const char *name,
    const struct everywhere_talk *talk, void *cookie);

/** everywhere_ask_for(e, name, talk, cookie): the same for a request; -1: ${e} is answered. */
struct exchange;
int everywhere_ask_for(
    struct exchange *e, const char *name, const struct everywhere_talk *talk, void *cookie);

/* A list gathered from every model: {"NAME":[ ... ]}. Its talk's hear writes elements into body. */
struct everywhere_list {
    struct exchange *exchange;
    struct json_out body;
};

/** everywhere_list(e, name, talk): answer ${e}; the talk's cookie is a struct everywhere_list. */
void everywhere_list(struct exchange *e, const char *name, const struct everywhere_talk *talk);

/** everywhere_list_done(cookie, err): done of such a talk. */
void everywhere_list_done(void *cookie, const struct error *err);

#endif /* API_EVERYWHERE_H */
