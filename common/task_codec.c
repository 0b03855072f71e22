/*
 * task_codec.c - What a worker needs of a task, to bytes and back (schemas/task.md).
 *
 * Decoding looks twice: first where each member lies, allocating nothing; then, when
 * the lengths agree with each other, one allocation that the bytes given bound, the
 * numbers, and task_check(). Member names stand in tables that both ways use.
 */
#include <stdlib.h>

#include "common/little_endian.h"
#include "common/task_internal.h"

enum { IN_VERSION, IN_HISTORY, IN_CANDLES, IN_HORIZON, IN_OFFSETS, IN_PARAMS, IN_OUTPUT, IN_COUNT };
static const char *const input_names[IN_COUNT] = {"version", "history_minutes", "candles",
    "horizon_us", "horizon_offset_minutes", "params", "output"};
#define INPUT_REQUIRED ((1u << IN_COUNT) - 1)

enum { P_SAMPLES, P_TOP_K, P_TEMPERATURE, P_TOP_P, P_SEED, P_MODE, P_COUNT };
static const char *const params_names[P_COUNT] = {
    "sample_count", "top_k", "temperature", "top_p", "seed", "context_mode"};
#define PARAMS_REQUIRED ((1u << P_COUNT) - 1)

enum { O_QUANTILES, O_STATS, O_PATHS, O_REPAIR, O_COLUMNS, O_STREAM, O_COUNT };
static const char *const output_names[O_COUNT] = {
    "quantiles", "stats", "paths", "repair", "columns", "stream"};
#define OUTPUT_REQUIRED ((1u << O_COUNT) - 1)

#define MINUTE_BYTES 4
#define CANDLE_BYTES (TASK_FIELDS * 4)
#define TIME_BYTES   8
#define OFFSET_BYTES 2

#define CHUNK 256 /* numbers turned into bytes at a time, on the stack */

int
task_bytes_refuse(const struct msgpack_read *r, const char *what, struct error *err)
{
    return error_set(
        err, ERR_CORRUPT, "stored %s: %s at byte %zu of %zu", what, r->fault, r->at, r->size);
}

int
task_read_version(struct msgpack_read *r, uint32_t newest)
{
    uint32_t version;

    if (msgpack_read_u32(r, UINT32_MAX, &version) == -1)
        return -1;
    if (version < 1 || version > newest)
        return msgpack_read_fault(r, "a version this build does not know");
    return 0;
}

void
task_write_wall_us(struct msgpack_write *w, const struct task_time *times, size_t n)
{
    uint8_t bytes[CHUNK * TIME_BYTES];

    msgpack_write_bin(w, n * TIME_BYTES);
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;

        for (size_t i = 0; i < count; i++)
            le_put_u64(bytes + i * TIME_BYTES, (uint64_t)times[at + i].wall_us);
        msgpack_write_bytes(w, bytes, count * TIME_BYTES);
    }
}

void
task_write_offsets(struct msgpack_write *w, const struct task_time *times, size_t n)
{
    uint8_t bytes[CHUNK * OFFSET_BYTES];

    msgpack_write_bin(w, n * OFFSET_BYTES);
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;

        for (size_t i = 0; i < count; i++)
            le_put_u16(bytes + i * OFFSET_BYTES, (uint16_t)times[at + i].offset_minutes);
        msgpack_write_bytes(w, bytes, count * OFFSET_BYTES);
    }
}

static void
write_minutes(struct msgpack_write *w, const int64_t *minutes, size_t n)
{
    uint8_t bytes[CHUNK * MINUTE_BYTES];

    msgpack_write_bin(w, n * MINUTE_BYTES);
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;

        for (size_t i = 0; i < count; i++)
            le_put_u32(bytes + i * MINUTE_BYTES, (uint32_t)(int32_t)minutes[at + i]);
        msgpack_write_bytes(w, bytes, count * MINUTE_BYTES);
    }
}

void
task_read_times(const uint8_t *wall_us, const uint8_t *offsets, struct task_time *times, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        times[i].wall_us = (int64_t)le_get_u64(wall_us + i * TIME_BYTES);
        times[i].offset_minutes = (int16_t)le_get_u16(offsets + i * OFFSET_BYTES);
    }
}

void
task_write_params(struct msgpack_write *w, const struct task_params *params)
{
    msgpack_write_map(w, P_COUNT);
    msgpack_write_text(w, params_names[P_SAMPLES]);
    msgpack_write_uint(w, params->sample_count);
    msgpack_write_text(w, params_names[P_TOP_K]);
    msgpack_write_uint(w, params->top_k);
    msgpack_write_text(w, params_names[P_TEMPERATURE]);
    msgpack_write_float(w, params->temperature);
    msgpack_write_text(w, params_names[P_TOP_P]);
    msgpack_write_float(w, params->top_p);
    msgpack_write_text(w, params_names[P_SEED]);
    msgpack_write_uint(w, params->seed);
    msgpack_write_text(w, params_names[P_MODE]);
    msgpack_write_text(w, task_context_mode_name(params->context_mode));
}

/* A number that is kept as binary32; beyond its range the cast would be undefined. */
static int
read_small_real(struct msgpack_read *r, float *value)
{
    double wide;

    *value = 0;
    if (msgpack_read_real(r, &wide) == -1)
        return -1;
    if (wide < 0 || wide > TASK_TEMPERATURE_MAX) /* the larger of the two limits */
        return msgpack_read_fault(r, "a number out of range");
    *value = (float)wide;
    return 0;
}

static int
read_context_mode(struct msgpack_read *r, enum task_context_mode *mode)
{
    const char *name;
    size_t len;

    if (msgpack_read_text(r, &name, &len) == -1)
        return -1;
    if (task_context_mode_from_name(name, len, mode) == -1)
        return msgpack_read_fault(r, "an unknown context_mode");
    return 0;
}

int
task_read_params(struct msgpack_read *r, struct task_params *params)
{
    struct msgpack_map map;
    size_t member;
    int rc;

    *params = (struct task_params){0};
    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, params_names, P_COUNT, &member)) == 1) {
        switch (member) {
        case P_SAMPLES:
            rc = msgpack_read_u32(r, TASK_SAMPLES_MAX, &params->sample_count);
            break;
        case P_TOP_K:
            rc = msgpack_read_u32(r, TASK_TOP_K_MAX, &params->top_k);
            break;
        case P_TEMPERATURE:
            rc = read_small_real(r, &params->temperature);
            break;
        case P_TOP_P:
            rc = read_small_real(r, &params->top_p);
            break;
        case P_SEED:
            rc = msgpack_read_uint(r, TASK_SEED_MAX, &params->seed);
            break;
        case P_MODE:
            rc = read_context_mode(r, &params->context_mode);
            break;
        }
        if (rc == -1)
            return -1;
    }
    if (rc == 0 && map.seen != PARAMS_REQUIRED)
        return msgpack_read_fault(r, "a member of params is missing");
    return rc;
}

void
task_write_output(struct msgpack_write *w, const struct task_output *output)
{
    size_t n_stats = 0;

    for (uint32_t i = 0; i < TASK_STAT_COUNT; i++)
        n_stats += output->stats >> i & 1;

    msgpack_write_map(w, O_COUNT);
    msgpack_write_text(w, output_names[O_QUANTILES]);
    msgpack_write_array(w, output->n_quantiles);
    for (uint32_t i = 0; i < output->n_quantiles; i++)
        msgpack_write_double(w, output->quantiles[i]);
    msgpack_write_text(w, output_names[O_STATS]);
    msgpack_write_array(w, n_stats);
    for (uint32_t i = 0; i < TASK_STAT_COUNT; i++)
        if (output->stats >> i & 1)
            msgpack_write_text(w, task_stat_name(UINT32_C(1) << i));
    msgpack_write_text(w, output_names[O_PATHS]);
    msgpack_write_bool(w, output->paths);
    msgpack_write_text(w, output_names[O_REPAIR]);
    msgpack_write_bool(w, output->repair);
    msgpack_write_text(w, output_names[O_COLUMNS]);
    msgpack_write_bool(w, output->columns);
    msgpack_write_text(w, output_names[O_STREAM]);
    msgpack_write_bool(w, output->stream);
}

static int
read_quantiles(struct msgpack_read *r, struct task_output *output)
{
    if (msgpack_read_array(r, &output->n_quantiles) == -1)
        return -1;
    if (output->n_quantiles > TASK_QUANTILES_MAX)
        return msgpack_read_fault(r, "too many quantiles");
    for (uint32_t i = 0; i < output->n_quantiles; i++)
        if (msgpack_read_real(r, &output->quantiles[i]) == -1)
            return -1;
    return 0;
}

static int
read_stats(struct msgpack_read *r, uint32_t *stats)
{
    uint32_t n, stat;

    if (msgpack_read_array(r, &n) == -1)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        const char *name;
        size_t len;

        if (msgpack_read_text(r, &name, &len) == -1)
            return -1;
        if (task_stat_from_name(name, len, &stat) == -1)
            return msgpack_read_fault(r, "an unknown name in stats");
        if (*stats & stat)
            return msgpack_read_fault(r, "a name twice in stats");
        *stats |= stat;
    }
    return 0;
}

int
task_read_output(struct msgpack_read *r, struct task_output *output)
{
    struct msgpack_map map;
    size_t member;
    int rc;

    *output = (struct task_output){0};
    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, output_names, O_COUNT, &member)) == 1) {
        switch (member) {
        case O_QUANTILES:
            rc = read_quantiles(r, output);
            break;
        case O_STATS:
            rc = read_stats(r, &output->stats);
            break;
        case O_PATHS:
            rc = msgpack_read_bool(r, &output->paths);
            break;
        case O_REPAIR:
            rc = msgpack_read_bool(r, &output->repair);
            break;
        case O_COLUMNS:
            rc = msgpack_read_bool(r, &output->columns);
            break;
        case O_STREAM:
            rc = msgpack_read_bool(r, &output->stream);
            break;
        }
        if (rc == -1)
            return -1;
    }
    if (rc == 0 && map.seen != OUTPUT_REQUIRED)
        return msgpack_read_fault(r, "a member of output is missing");
    return rc;
}

int
task_encode(const struct task *task, struct task_bytes *out, struct error *err)
{
    struct msgpack_write w;

    *out = (struct task_bytes){0};
    if (task_check(task, err) == -1)
        return -1;
    msgpack_write_init(&w);
    msgpack_write_map(&w, IN_COUNT);
    msgpack_write_text(&w, input_names[IN_VERSION]);
    msgpack_write_uint(&w, TASK_FORMAT);
    msgpack_write_text(&w, input_names[IN_HISTORY]);
    write_minutes(&w, task->history_minutes, task->n_history);
    msgpack_write_text(&w, input_names[IN_CANDLES]);
    msgpack_write_floats(&w, task->candles, task->n_history * TASK_FIELDS);
    msgpack_write_text(&w, input_names[IN_HORIZON]);
    task_write_wall_us(&w, task->horizon, task->n_horizon);
    msgpack_write_text(&w, input_names[IN_OFFSETS]);
    task_write_offsets(&w, task->horizon, task->n_horizon);
    msgpack_write_text(&w, input_names[IN_PARAMS]);
    task_write_params(&w, &task->params);
    msgpack_write_text(&w, input_names[IN_OUTPUT]);
    task_write_output(&w, &task->output);
    return msgpack_write_finish(&w, &out->data, &out->size, err);
}

/* Where the parts of a stored task lie. */
struct input {
    const uint8_t *history, *candles, *horizon, *offsets;
    size_t history_size, candles_size, horizon_size, offsets_size; /* bytes */
    struct task_params params;
    struct task_output output;
};

static int
read_input(struct msgpack_read *r, struct input *in)
{
    struct msgpack_map map;
    size_t member;
    int rc;

    *in = (struct input){0};
    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, input_names, IN_COUNT, &member)) == 1) {
        switch (member) {
        case IN_VERSION:
            rc = task_read_version(r, TASK_FORMAT);
            break;
        case IN_HISTORY:
            rc = msgpack_read_bin(r, &in->history, &in->history_size);
            break;
        case IN_CANDLES:
            rc = msgpack_read_bin(r, &in->candles, &in->candles_size);
            break;
        case IN_HORIZON:
            rc = msgpack_read_bin(r, &in->horizon, &in->horizon_size);
            break;
        case IN_OFFSETS:
            rc = msgpack_read_bin(r, &in->offsets, &in->offsets_size);
            break;
        case IN_PARAMS:
            rc = task_read_params(r, &in->params);
            break;
        case IN_OUTPUT:
            rc = task_read_output(r, &in->output);
            break;
        }
        if (rc == -1)
            return -1;
    }
    if (rc == -1 || msgpack_read_end(r) == -1)
        return -1;
    if (map.seen != INPUT_REQUIRED)
        return msgpack_read_fault(r, "a member is missing");
    if (in->candles_size % CANDLE_BYTES != 0 || in->horizon_size % TIME_BYTES != 0 ||
        in->candles_size / CANDLE_BYTES * MINUTE_BYTES != in->history_size ||
        in->horizon_size / TIME_BYTES * OFFSET_BYTES != in->offsets_size)
        return msgpack_read_fault(r, "lengths that do not agree");
    return 0;
}

struct task *
task_decode(const void *data, size_t size, struct error *err)
{
    struct msgpack_read r;
    struct input in;
    struct error why;
    struct task *task;

    if (size > TASK_INPUT_BYTES_MAX) {
        error_set(
            err, ERR_CORRUPT, "stored task: %zu bytes are over %d", size, TASK_INPUT_BYTES_MAX);
        return NULL;
    }
    msgpack_read_init(&r, data, size);
    if (read_input(&r, &in) == -1) {
        task_bytes_refuse(&r, "task", err);
        return NULL;
    }
    task = task_new(in.candles_size / CANDLE_BYTES, in.horizon_size / TIME_BYTES, &why);
    if (task == NULL)
        goto refuse;
    for (size_t i = 0; i < task->n_history; i++)
        task->history_minutes[i] = (int32_t)le_get_u32(in.history + i * MINUTE_BYTES);
    for (size_t i = 0; i < task->n_history * TASK_FIELDS; i++)
        task->candles[i] = le_get_float(in.candles + i * 4);
    task_read_times(in.horizon, in.offsets, task->horizon, task->n_horizon);
    task->params = in.params;
    task->output = in.output;
    if (task_check(task, &why) == -1)
        goto refuse;
    return task;

refuse: /* what is a bad argument elsewhere is damage here; no memory stays no memory */
    error_set(err, why.code == ERR_MEMORY ? ERR_MEMORY : ERR_CORRUPT, "stored task: %s", why.text);
    task_free(task);
    return NULL;
}
