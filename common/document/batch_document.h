/*
 * batch_document.h - A batch and its members as one task document.
 *
 * Queue and client see members; the batch is what they are together. A struct task_document
 * with members is a batch: what is written of any task is written of it, too, by the same code.
 */
#ifndef COMMON_DOCUMENT_BATCH_DOCUMENT_H
#define COMMON_DOCUMENT_BATCH_DOCUMENT_H

#include <hiredis/hiredis.h>

#include "common/document/task_document.h"

/**
 * batch_document_open(d, id, model, reply, with_output, err):
 * A reply of queue_group_read_call(), for task_document_close(). Without outputs members have no
 * results here. -1: ERR_CORRUPT, ERR_MEMORY, ERR_UNAVAILABLE.
 */
int batch_document_open(struct task_document *d, const char *id, const char *model,
    const redisReply *reply, bool with_output, struct error *err);

/** batch_document_new(d, id, model, n, err): ${n} members without ids, to be filled in and summed up. */
int batch_document_new(
    struct task_document *d, const char *id, const char *model, size_t n, struct error *err);

/** batch_document_sum_up(d): what the members are together: ${d}'s own view and about. */
void batch_document_sum_up(struct task_document *d);

/** batch_document_estimate(d, load): when the members that have not ended will have. */
bool batch_document_estimate(
    const struct task_document *d, const struct queue_load *load, double *start, double *finish);

/** batch_results_write(d, name, out): an array in the order of the items, null without a result. */
void batch_results_write(const struct task_document *d, const char *name, struct json_out *out);

/** batch_members_write(d, out): members `tasks` and `counts`. */
void batch_members_write(const struct task_document *d, struct json_out *out);

#endif /* COMMON_DOCUMENT_BATCH_DOCUMENT_H */
