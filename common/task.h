/*
 * task.h - One forecast to make: the words of its life, and its stored form.
 *
 * A task is stored as two msgpack values in its Redis hash (schemas/task.md):
 *   input  what the worker needs; erased when the task has ended
 *   about  what a client is shown in every state; never read by a worker
 * Both come back from Redis as hostile bytes: decoding checks every length,
 * type and range, and bounds what it allocates.
 */
#ifndef COMMON_TASK_H
#define COMMON_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* To change a stored form: add members (old readers skip unknown names) and keep the number; raise
 * it only when an old reader would misread, and keep decoding the old number for one release. */
#define TASK_FORMAT 1

#define TASK_FIELDS             6    /* open, high, low, close, volume, amount */
#define TASK_HISTORY_MAX        2048 /* candles */
#define TASK_HORIZON_MAX        512  /* steps */
#define TASK_SAMPLES_MAX        256  /* paths of one task */
#define TASK_TOP_K_MAX          1024
#define TASK_TEMPERATURE_MAX    5.0
#define TASK_SEED_MAX           ((UINT64_C(1) << 53) - 1) /* exact in a JSON number */
#define TASK_PATH_VALUES_MAX    131072 /* samples * steps when paths are returned */
#define TASK_QUANTILES_MAX      9
#define TASK_SERIES_ID_MAX      256 /* bytes */
#define TASK_METADATA_MAX       16  /* members */
#define TASK_METADATA_NAME_MAX  64
#define TASK_METADATA_VALUE_MAX 512
#define TASK_METADATA_BYTES_MAX 2048
#define TASK_WARNINGS_MAX       16
#define TASK_MODEL_NAME_MAX     64
#define TASK_INPUT_BYTES_MAX    (1024 * 1024)
/* Wall clocks lie in the years 1900..2261: what pandas can hold, and minutes fit in 32 bits. */
#define TASK_WALL_US_MIN        INT64_C(-2208988800000000) /* 1900-01-01T00:00:00 */
#define TASK_WALL_US_MAX        INT64_C(9214646399999999)  /* 2261-12-31T23:59:59.999999 */

/* The only six words a client sees; PARKED ("scheduled" in Redis) is shown as queued. */
enum task_status {
    TASK_QUEUED,
    TASK_PROCESSING,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_CANCELLED,
    TASK_EXPIRED,
    TASK_STATUS_COUNT
};
enum task_priority { TASK_URGENT, TASK_NORMAL, TASK_LOW, TASK_PRIORITY_COUNT };
enum task_context_mode { TASK_EXACT, TASK_FIT, TASK_BLOCK, TASK_CONTEXT_MODE_COUNT };

const char *task_status_name(enum task_status status);
const char *task_priority_name(enum task_priority priority);
const char *task_context_mode_name(enum task_context_mode mode);
int task_status_from_name(
    const char *name, size_t len, enum task_status *status); /* knows "scheduled" */
int task_priority_from_name(const char *name, size_t len, enum task_priority *priority);
int task_context_mode_from_name(const char *name, size_t len, enum task_context_mode *mode);
bool task_status_is_terminal(enum task_status status);

/** task_model_name_is_valid(name, len): [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
bool task_model_name_is_valid(const char *name, size_t len);

/** task_series_id_is_valid(id, len): UTF-8 of at most TASK_SERIES_ID_MAX bytes, no control characters (C0, DEL). */
bool task_series_id_is_valid(const char *id, size_t len);

/* A bar's wall clock as the client wrote it: never converted to another zone. */
#define TASK_NO_OFFSET INT16_MIN
struct task_time {
    int64_t wall_us;        /* microseconds since 1970-01-01T00:00:00 on the client's wall clock */
    int16_t offset_minutes; /* -1439..1439 as written, TASK_NO_OFFSET for a naive time */
};

/** task_time_minutes(time): whole minutes since 1970 on the wall clock, rounded down: what the model reads. */
int64_t task_time_minutes(const struct task_time *time);

/** task_time_instant_us(time): microseconds since 1970 UTC; a naive time counts as UTC. Only to compare. */
int64_t task_time_instant_us(const struct task_time *time);

#define TASK_TIME_TEXT_MAX 40

/**
 * task_time_format(time, separator, text):
 * "2025-01-01T09:15:00+08:00" into ${text} [TASK_TIME_TEXT_MAX]; returns the length. UTC is "Z", but
 * "+00:00" after a ' ' as separator, which is how Python prints times in messages.
 */
size_t task_time_format(const struct task_time *time, char separator, char *text);

struct task_params {
    uint32_t sample_count; /* 1..TASK_SAMPLES_MAX paths */
    uint32_t top_k;        /* 0 off; else top_p is not applied */
    float temperature;     /* 0..5; 0 is greedy */
    float top_p;           /* (0, 1] */
    uint64_t seed;         /* 0..TASK_SEED_MAX */
    enum task_context_mode context_mode;
};

enum {
    TASK_STAT_P_UP = 1,
    TASK_STAT_RETURN = 2,
    TASK_STAT_REALIZED_VOL = 4,
    TASK_STAT_MAX_DRAWDOWN = 8,
    TASK_STAT_RANGE = 16,
    TASK_STAT_ALL = 31
};
#define TASK_STAT_COUNT 5

/* The words of output.stats; a stat is one TASK_STAT_* bit. NULL and -1 for what is none. */
const char *task_stat_name(uint32_t stat);
int task_stat_from_name(const char *name, size_t len, uint32_t *stat);

struct task_output {
    double quantiles[TASK_QUANTILES_MAX]; /* ascending, 0.01..0.99 */
    uint32_t n_quantiles;
    uint32_t stats; /* TASK_STAT_* bits; 0 none */
    bool paths;
    bool repair;
    bool columns; /* layout "columns" instead of "rows" */
    bool stream;
};

/* What a worker needs; `input` in the hash. */
struct task {
    size_t n_history; /* 1..TASK_HISTORY_MAX */
    size_t n_horizon; /* 1..TASK_HORIZON_MAX */
    float *candles;   /* [n_history, TASK_FIELDS], finite, prices > 0, volume and amount >= 0 */
    int64_t *history_minutes;  /* [n_history] whole minutes since 1970 on the client's wall clock */
    struct task_time *horizon; /* [n_horizon], strictly ascending */
    struct task_params params;
    struct task_output output;
};

struct task_warning {
    char code[32];    /* "unknown_member" */
    char pointer[96]; /* JSON Pointer, "" when it does not apply */
    char detail[160]; /* a sentence */
};

struct task_metadata {
    char *name;  /* UTF-8, 1..64 bytes */
    char *value; /* UTF-8, ..512 bytes */
};

/* What a client is shown whatever the state; `about` in the hash. */
struct task_about {
    char *series_id; /* UTF-8 without control characters, NULL for null */
    uint32_t n_horizon;
    uint32_t sample_count;
    uint32_t n_metadata;
    struct task_metadata metadata[TASK_METADATA_MAX];
    uint32_t n_warnings;
    struct task_warning warnings[TASK_WARNINGS_MAX];
    bool columns;
};

/* Encoded bytes: malloc'ed, the caller's to free(). */
struct task_bytes {
    void *data;
    size_t size;
};

/**
 * task_new(n_history, n_horizon, err): a task with room for its arrays, zeroed;
 * one allocation. ERR_INVALID beyond the limits. task_free(NULL) does nothing.
 */
struct task *task_new(size_t n_history, size_t n_horizon, struct error *err);
void task_free(struct task *task);

/** task_check(task, err): is every value in its range? What decode enforces; ERR_INVALID. */
int task_check(const struct task *task, struct error *err);

int task_encode(const struct task *task, struct task_bytes *out, struct error *err);

/**
 * task_decode(data, size, err): hostile bytes -> a checked task for task_free(), or NULL
 * with ERR_CORRUPT (ERR_MEMORY). What it allocates is bounded by ${size}.
 */
struct task *task_decode(const void *data, size_t size, struct error *err);

int task_about_encode(const struct task_about *about, struct task_bytes *out, struct error *err);
int task_about_decode(const void *data, size_t size, struct task_about *about, struct error *err);
void task_about_clear(struct task_about *about);

/**
 * task_about_warn(about, code, pointer, format, ...): add a warning. Text that is too long
 * is cut, between characters; beyond TASK_WARNINGS_MAX warnings are dropped.
 */
void task_about_warn(struct task_about *about, const char *code, const char *pointer,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/**
 * task_cost(n_history, n_horizon, samples, mode, context): prefill tokens T and decode
 * steps D of one series. With r = max(0, min(P-1, L+P-1-C)) sliding steps:
 *   fit    T = min(L, C-P+1)
 *   exact  T = min(L, C) + sum over the last r steps i of (C + (S-1) min(i, C))
 *   block  the same sum over the last ceil(r/64) steps, with C-63 for C
 * Context 0 means that C is not known yet: then nothing slides.
 */
struct task_cost {
    uint64_t prefill_tokens;
    uint64_t decode_steps; /* P * S */
};
struct task_cost task_cost(size_t n_history, size_t n_horizon, uint32_t samples,
    enum task_context_mode mode, size_t context);

#endif /* COMMON_TASK_H */
