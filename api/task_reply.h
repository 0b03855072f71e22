/*
 * task_reply.h - What was looked up of a task -> a reply.
 *
 * Each function answers ${e} once, whatever the lookup's outcome.
 */
#ifndef API_TASK_REPLY_H
#define API_TASK_REPLY_H

#include <stdbool.h>

#include "api/lookup.h"
#include "api/reply.h"
#include "common/document/task_document.h"

/** task_reply_document(e, status, answer, with_data): the task document; ${e}->task_id names it. */
void task_reply_document(
    struct exchange *e, int status, const struct lookup_answer *answer, bool with_data);

/** task_reply_open(e, answer, d): what was found, decoded, with estimates, for task_document_close(); -1: ${e} is answered. */
int task_reply_open(
    struct exchange *e, const struct lookup_answer *answer, struct task_document *d);

/** task_reply_read(e, status, model): read the task ${e} names in ${model}, and reply its document. */
void task_reply_read(struct exchange *e, int status, struct model *model);

/** task_reply_opened(e, status, d, with_data): the same of a document that is open; it stays open. */
void task_reply_opened(
    struct exchange *e, int status, const struct task_document *d, bool with_data);

/** task_reply_result(e, answer): the result alone: 200, 304, or 409 without one. */
void task_reply_result(struct exchange *e, const struct lookup_answer *answer);

/** task_problem_of_end(d, problem): a held submit whose task ended without a result: 500, 409, 504. */
void task_problem_of_end(const struct task_document *d, struct problem *problem);

/** task_reply_other(e, answer): the reply to an outcome that is not FOUND. */
void task_reply_other(struct exchange *e, const struct lookup_answer *answer);

#endif /* API_TASK_REPLY_H */
