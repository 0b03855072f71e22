/*
 * finish.c - The ends of a run: complete, fail, release.
 *
 * Each names the lease (id, fence, worker). A refusal is the outcome FENCED, not an
 * error: somebody else holds the task or it has ended, and this run is to be dropped.
 */
#include "common/queue/script.h"

#include <string.h>

/* What the codes of one script mean; code 0 is FENCED in all of them. */
struct meaning {
    int64_t code;
    enum queue_end end;
};

static const struct meaning complete_codes[] = {{1, QUEUE_END_COMPLETED}, {2, QUEUE_END_ALREADY},
    {3, QUEUE_END_CANCELLED}, {4, QUEUE_END_EXPIRED}, {0, QUEUE_END_FENCED}};
static const struct meaning fail_codes[] = {{1, QUEUE_END_PARKED}, {2, QUEUE_END_FAILED},
    {3, QUEUE_END_CANCELLED}, {4, QUEUE_END_EXPIRED}, {0, QUEUE_END_FENCED}};
static const struct meaning release_codes[] = {{1, QUEUE_END_RELEASED}, {3, QUEUE_END_CANCELLED},
    {4, QUEUE_END_EXPIRED}, {0, QUEUE_END_FENCED}};

static void
begin(struct queue_args *a, const struct queue_script *script, const struct queue *q,
    const struct queue_token *t, size_t n_more)
{
    queue_args_begin(a, script, q, 3 + n_more);
    queue_args_text(a, t->id);
    queue_args_uint(a, t->fence);
    queue_args_text(a, t->worker);
}

static int
run(struct queue_args *a, redisContext *c, const char *name, const struct meaning *meanings,
    enum queue_end *end, struct error *err)
{
    redisReply *reply = queue_args_run(a, c, err);
    int64_t code;
    int rc;

    if (!reply)
        return -1;
    rc = queue_reply_code(reply, name, &code, err);
    freeReplyObject(reply);
    if (rc == -1)
        return -1;
    while (meanings->code != code && meanings->code != 0)
        meanings++;
    if (meanings->code != code)
        return queue_reply_strange(name, err);
    *end = meanings->end;
    return 0;
}

int
queue_complete(redisContext *c, const struct queue *q, const struct queue_token *t,
    const void *output, size_t output_size, enum queue_end *end, struct error *err)
{
    const struct queue_speed unknown = {0};

    return queue_complete_measured(c, q, t, output, output_size, &unknown, end, err);
}

int
queue_complete_measured(redisContext *c, const struct queue *q, const struct queue_token *t,
    const void *output, size_t output_size, const struct queue_speed *speed, enum queue_end *end,
    struct error *err)
{
    struct queue_args a;

    begin(&a, &queue_script_complete, q, t, 3);
    queue_args_bytes(&a, output, output_size);
    queue_args_seconds(&a, speed->prefill_seconds);
    queue_args_seconds(&a, speed->step_seconds);
    return run(&a, c, queue_script_complete.name, complete_codes, end, err);
}

/* Bytes of ${text} that fit into a stored message, without half a UTF-8 character at the end. */
static size_t
message_size(const char *text)
{
    size_t n = strnlen(text, QUEUE_ERROR_TEXT_MAX + 1);

    if (n <= QUEUE_ERROR_TEXT_MAX)
        return n;
    n = QUEUE_ERROR_TEXT_MAX;
    while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--;
    return n;
}

int
queue_fail(redisContext *c, const struct queue *q, const struct queue_token *t, const char *code,
    const char *message, bool retryable, enum queue_end *end, struct error *err)
{
    struct queue_args a;

    if (!message)
        message = "";
    begin(&a, &queue_script_fail, q, t, 4);
    queue_args_text(&a, code);
    queue_args_bytes(&a, message, message_size(message));
    queue_args_text(&a, retryable ? "1" : "0");
    queue_args_int(&a, q->tuning.backoff_ms);
    return run(&a, c, queue_script_fail.name, fail_codes, end, err);
}

int
queue_release(redisContext *c, const struct queue *q, const struct queue_token *t,
    enum queue_end *end, struct error *err)
{
    struct queue_args a;

    begin(&a, &queue_script_release, q, t, 0);
    return run(&a, c, queue_script_release.name, release_codes, end, err);
}
