/*
 * stored_values.h - Examples of what is stored, and ways to damage them.
 *
 * The examples are the files of schemas/examples/ as structs; schemas_examples_test
 * holds both together. Damage goes through msgpack-c's own unpacker and packer, so our
 * reader and writer are judged by somebody else's.
 */
#ifndef TESTS_SUPPORT_STORED_VALUES_H
#define TESTS_SUPPORT_STORED_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/result.h"
#include "common/task.h"
#include "common/webhook.h"

struct task *example_task(void);       /* 4 candles, 3 steps at +08:00, everything asked for */
struct task *example_plain_task(void); /* 1 candle before 1970, 1 naive step, nothing asked for */
void example_about(struct task_about *about);       /* for task_about_clear() */
void example_plain_about(struct task_about *about); /* no series_id, metadata or warnings */
struct result *example_result(void);                /* 3 paths, everything asked for */
struct result *example_plain_result(void);          /* the prediction alone */

void example_webhook(struct webhook *webhook);       /* with the result, of a traced submit */
void example_plain_webhook(struct webhook *webhook); /* neither */

bool same_task(const struct task *a, const struct task *b);
bool same_about(const struct task_about *a, const struct task_about *b);
bool same_result(const struct result *a, const struct result *b);

/* What is decoded in a test, without its type. */
enum stored_kind { STORED_TASK, STORED_ABOUT, STORED_RESULT, STORED_WEBHOOK, STORED_KINDS };

/** stored_encode_example(kind): the bytes of the full example; free() the data. */
struct task_bytes stored_encode_example(enum stored_kind kind);

/**
 * stored_accepts(kind, data, size): does it decode? ${data} is copied to memory of exactly
 * ${size} bytes, so that ASan sees a byte too far. What decodes must encode again and
 * come back the same; what does not must say ERR_CORRUPT. Both are asserted.
 */
bool stored_accepts(enum stored_kind kind, const void *data, size_t size);

/* ---- damage ---- */

enum damage {
    DAMAGE_NONE,
    DAMAGE_DROP,    /* the member is gone */
    DAMAGE_TWICE,   /* it is there twice */
    DAMAGE_UNKNOWN, /* before it stands one of a newer writer, with everything nested in it */
    DAMAGE_NIL,     /* and its value is now ... */
    DAMAGE_TRUE,
    DAMAGE_NEGATIVE,
    DAMAGE_HUGE, /* 2^64 - 1 */
    DAMAGE_NAN,
    DAMAGE_TEXT,
    DAMAGE_NOT_UTF8,
    DAMAGE_BIN,
    DAMAGE_ARRAY,
    DAMAGE_MAP,
    DAMAGE_EXT,
    DAMAGE_SHORTER, /* a bin, a byte or an element too short or long; other types stay */
    DAMAGE_LONGER,
    DAMAGE_COUNT
};

/**
 * damage_member(whole, at, damage, name): ${whole} with the ${at}-th member of its maps,
 * counted through all depths, damaged; ${name} [64] tells which that was. No data when
 * there are not so many members.
 */
struct task_bytes damage_member(
    const struct task_bytes *whole, size_t at, enum damage damage, char *name);
const char *damage_name(enum damage damage);

/** damage_rounds(kind, rounds): decode so many random mutations; prints its seed (KRONOSQ_SEED repeats one). */
void damage_rounds(enum stored_kind kind, int rounds);

#endif /* TESTS_SUPPORT_STORED_VALUES_H */
