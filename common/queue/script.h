/*
 * script.h - Inside common/queue: the embedded scripts, arguments, replies.
 *
 * A call owns a copy of its arguments, because an evented call outlives the caller's
 * buffers and may have to be sent again as EVAL. Replies are hostile: nothing of one
 * is used before its type and size were looked at.
 */
#ifndef COMMON_QUEUE_SCRIPT_H
#define COMMON_QUEUE_SCRIPT_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/queue/queue.h"

struct queue_script {
    const char *name;   /* "submit" */
    const char *source; /* what Redis gets, ${size} bytes */
    size_t size;
    char sha1[41]; /* of the source */
};

/* build/.../scripts.c, written by scripts/embed-lua from the .lua files */
extern const struct queue_script queue_script_submit;
extern const struct queue_script queue_script_claim;
extern const struct queue_script queue_script_renew;
extern const struct queue_script queue_script_complete;
extern const struct queue_script queue_script_fail;
extern const struct queue_script queue_script_release;
extern const struct queue_script queue_script_sweep;
extern const struct queue_script queue_script_beat;
extern const struct queue_script queue_script_leave;
extern const struct queue_script queue_script_presence;
extern const struct queue_script queue_script_held;
extern const struct queue_script queue_script_read;
extern const struct queue_script queue_script_group;
extern const struct queue_script queue_script_watch;
extern const struct queue_script queue_script_cancel;
extern const struct queue_script queue_script_control;
extern const struct queue_script queue_script_quiet;
extern const struct queue_script queue_script_audit;
extern const struct queue_script queue_script_requeue;
extern const struct queue_script queue_script_move;
extern const struct queue_script queue_script_purge;
extern const struct queue_script queue_script_hook_claim;
extern const struct queue_script queue_script_hook_renew;
extern const struct queue_script queue_script_hook_done;
extern const struct queue_script queue_script_hook_replay;
extern const struct queue_script queue_script_hook_ping;
extern const struct queue_script queue_script_load;
extern const struct queue_script queue_script_workers;
extern const struct queue_script queue_script_page;
extern const struct queue_script queue_script_rate;
extern const struct queue_script queue_script_metrics_add;
extern const struct queue_script queue_script_metrics_read;
extern const struct queue_script *const queue_scripts[]; /* all of them, then NULL */

/* ---- building a call: begin, the arguments in order, end ---- */

struct queue_args {
    struct queue_call call;
    size_t capacity; /* of argv and lens */
    size_t *offsets; /* of each argument in bytes */
    char *bytes;
    size_t used, room;
    bool failed; /* out of memory; told once, by queue_args_end() */
};

/** queue_args_begin(a, script, q, n): for at most ${n} arguments after the prefix. */
void queue_args_begin(
    struct queue_args *a, const struct queue_script *script, const struct queue *q, size_t n);
/** queue_args_begin_plain(a, n): for a command of ${n} words without a script. */
void queue_args_begin_plain(struct queue_args *a, size_t n);
void queue_args_bytes(struct queue_args *a, const void *data, size_t size);
void queue_args_text(struct queue_args *a, const char *text); /* NULL is "" */
void queue_args_int(struct queue_args *a, int64_t value);
void queue_args_uint(struct queue_args *a, uint64_t value);
void queue_args_seconds(struct queue_args *a, double value); /* "" unless it is above 0 */

/** queue_args_end(a, call, err): the finished ${call}; releases everything else, also on failure. */
int queue_args_end(struct queue_args *a, struct queue_call *call, struct error *err);

/** queue_args_run(a, c, err): end, run blocking, clear. A reply for freeReplyObject(), or NULL. */
redisReply *queue_args_run(struct queue_args *a, redisContext *c, struct error *err);

/** queue_call_is_unknown(call, reply): Redis does not know the script; nothing was done. */
bool queue_call_is_unknown(const struct queue_call *call, const redisReply *reply);

/** queue_call_measured(call, reply, began): for metrics; NULL: no answer; ${began} is clock_seconds(). */
void queue_call_measured(const struct queue_call *call, const redisReply *reply, double began);

/** queue_call_make_eval(script, argv, lens): the same command by source instead of by SHA-1. */
void queue_call_make_eval(const struct queue_script *script, const char **argv, size_t *lens);

/* ---- reading a reply ---- */

/** queue_reply_is_error(reply, prefix): an error reply whose first word is ${prefix}? */
bool queue_reply_is_error(const redisReply *reply, const char *prefix);

/** queue_reply_array(reply, script, min, err): an array of at least ${min}; else ERR_UNAVAILABLE. */
int queue_reply_array(const redisReply *reply, const char *script, size_t min, struct error *err);

/** queue_reply_code(reply, script, code, err): one integer; else ERR_UNAVAILABLE. */
int queue_reply_code(const redisReply *reply, const char *script, int64_t *code, struct error *err);

/** queue_reply_strange(script, err): it has a form no script of ours answers; -1. */
int queue_reply_strange(const char *script, struct error *err);

/** queue_reply_int(reply, value): an integer, or the decimal text of one; else false. */
bool queue_reply_int(const redisReply *reply, int64_t *value);

/** queue_reply_count(reply, value): an integer of 0 or more, capped at 2^32 - 1; else false. */
bool queue_reply_count(const redisReply *reply, uint32_t *value);

/** queue_reply_text(reply, text, size): copied and cut at a NUL or the end of ${text}; "" for none. */
void queue_reply_text(const redisReply *reply, char *text, size_t size);

/** queue_reply_seconds(reply, value): a text written by a script, 0 for "" and for nonsense. */
double queue_reply_seconds(const redisReply *reply);

/** queue_reply_id(reply, id): a UUID into ${id} [ID_LEN + 1]; else false. */
bool queue_reply_id(const redisReply *reply, char *id);

/* ---- what a document shows, for every script that shows tasks (read.c) ---- */

/** queue_view_args(a, with_output): the names of the fields; queue_view_n_args() of them. */
void queue_view_args(struct queue_args *a, bool with_output);
size_t queue_view_n_args(bool with_output);

/**
 * queue_view_parse(parts, n, with_output, now_ms, view, err): {left, position, {delivery}, fields...}
 * as view() in _lib.lua answers; ${with_forgotten}: also shows a dead letter past its life.
 */
int queue_view_parse(redisReply *const *parts, size_t n, bool with_output, bool with_forgotten,
    int64_t now_ms, struct queue_task_view *view, struct error *err);

static inline bool
queue_reply_is_string(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_STRING && reply->str;
}

#endif /* COMMON_QUEUE_SCRIPT_H */
