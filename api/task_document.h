/*
 * task_document.h - What a client is shown of a task, as JSON.
 *
 * Two files: task_document.c, and result_document.c for `data`. Pure: a view of the stored task in, text out. Stored bytes are hostile until decoded; what
 * does not decode is an error, never half a document.
 */
#ifndef API_TASK_DOCUMENT_H
#define API_TASK_DOCUMENT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/json_out.h"
#include "common/error.h"
#include "common/queue/queue.h"
#include "common/result.h"
#include "common/task.h"

#define TASK_POSITION_UNKNOWN (-1) /* in view.position: shown as null */

/* A task, decoded. */
struct task_document {
    const char *id;
    const char *model;
    struct queue_task_view view; /* its pointers live as long as the reply they point into */
    struct task_about about;
    struct result *result; /* of a completed task, else NULL */
};

/**
 * task_document_open(d, id, model, view, err):
 * Decode what ${view} holds. 0: task_document_close() it. -1: ERR_CORRUPT, ERR_MEMORY.
 */
int task_document_open(struct task_document *d, const char *id, const char *model,
    const struct queue_task_view *view, struct error *err);
void task_document_close(struct task_document *d);

/** task_document_write(d, with_data, out): the whole document; without ${with_data}, data is null. */
void task_document_write(const struct task_document *d, bool with_data, struct json_out *out);

/** task_warnings_write(d, out): member `warnings`: what the request was warned of, then what the run was. */
void task_warnings_write(const struct task_document *d, struct json_out *out);

/** task_result_write(d, name, out): the result alone; there must be one. ${name} NULL: not a member. */
void task_result_write(const struct task_document *d, const char *name, struct json_out *out);

/** task_document_error(d): {"code","detail","retryable"} of a task that did not complete, NULL without memory. */
cJSON *task_document_error(const struct task_document *d);

/** task_retry_after(d): seconds after which asking again makes sense. */
int task_retry_after(const struct task_document *d);

#define TASK_URL_MAX 64
/** task_url(id, part, url): "/v1/tasks/<id>" and "/<part>" unless that is "". */
void task_url(const char *id, const char *part, char *url);

#endif /* API_TASK_DOCUMENT_H */
