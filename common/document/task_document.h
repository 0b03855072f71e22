/*
 * task_document.h - What a client is shown of a task, as JSON.
 *
 * Three files: task_document.c, result_document.c for `data`, batch_document.c for batches. Pure: a view of the stored task in, text out. Stored bytes are hostile until decoded; what
 * does not decode is an error, never half a document.
 */
#ifndef COMMON_DOCUMENT_TASK_DOCUMENT_H
#define COMMON_DOCUMENT_TASK_DOCUMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/document/json_out.h"
#include "common/error.h"
#include "common/queue/queue.h"
#include "common/queue/queue_admin.h"
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
    bool has_estimate;     /* in seconds from now, of a task that has not ended */
    double start_seconds, finish_seconds;
    size_t n_members; /* a batch: view and about are what its members are together */
    struct task_document *members;
    char (*member_ids)[ID_LEN + 1];
    bool shows_owner; /* in lists of everybody's tasks */
};

/**
 * task_document_open(d, id, model, view, err):
 * Decode what ${view} holds. 0: task_document_close() it. -1: ERR_CORRUPT, ERR_MEMORY.
 */
int task_document_open(struct task_document *d, const char *id, const char *model,
    const struct queue_task_view *view, struct error *err);
void task_document_close(struct task_document *d);

/** task_document_open_part(...): the same; without ${with_result} a completed task has none here. */
int task_document_open_part(struct task_document *d, const char *id, const char *model,
    const struct queue_task_view *view, bool with_result, struct error *err);

/** task_document_as_new(d): as it was at its submit, even if a worker was faster. */
void task_document_as_new(struct task_document *d);

/** task_document_estimate(d, load): when it will be done; ${load} NULL: not known. */
void task_document_estimate(struct task_document *d, const struct queue_load *load);

/** task_document_work(d): what is to be done, for queue_estimate(). */
struct queue_work task_document_work(const struct task_document *d);

/** task_document_has_result(d): of a batch, of one member at least. */
bool task_document_has_result(const struct task_document *d);

/** task_data_write_csv(d, text, len): the same as CSV; malloc'ed, the caller's to free(). -1: no memory. */
int task_data_write_csv(const struct task_document *d, char **text, size_t *len);

/** task_data_write(d, name, out): `data` of a document, body of a result: one forecast, or an array. */
void task_data_write(const struct task_document *d, const char *name, struct json_out *out);

/** task_document_write(d, with_data, out): the whole document; without ${with_data}, data is null. */
void task_document_write(const struct task_document *d, bool with_data, struct json_out *out);

/** task_progress_write(d, out): {"task_id","step","total","queue"}: how far it is, as the document says. */
void task_progress_write(const struct task_document *d, struct json_out *out);

/* One row of a forecast, while the others are still to come. */
struct task_candle {
    const char *task_id, *series_id; /* series_id may be NULL */
    uint32_t step, total;            /* 1 is the first */
    const struct task_time *time;
    const float *values; /* [TASK_FIELDS] */
};
void task_candle_write(const struct task_candle *candle, struct json_out *out);

/** task_warnings_write(d, out): member `warnings`: what the request was warned of, then what the run was. */
void task_warnings_write(const struct task_document *d, struct json_out *out);

/** task_result_write(d, name, out): the result alone; there must be one. ${name} NULL: not a member. */
void task_result_write(const struct task_document *d, const char *name, struct json_out *out);

/** task_document_error_write(d, name, out): {"code","detail","retryable"}, or null of a task that did not end badly. */
void task_document_error_write(
    const struct task_document *d, const char *name, struct json_out *out);

/** task_retry_after(d): seconds after which asking again makes sense. */
int task_retry_after(const struct task_document *d);

#define TASK_URL_MAX 64
/** task_url(id, part, url): "/v1/tasks/<id>" and "/<part>" unless that is "". */
void task_url(const char *id, const char *part, char *url);

#endif /* COMMON_DOCUMENT_TASK_DOCUMENT_H */
