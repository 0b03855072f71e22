/*
 * result_decode.c - Bytes that may be anything to a finished forecast.
 *
 * As task_codec.c: first where each member lies, without allocating, then one
 * allocation that the bytes given bound, the numbers, and result_check(). A part that
 * was not asked for must not be there, so that one form has one meaning.
 */
#include <math.h>

#include "common/little_endian.h"
#include "common/result_internal.h"
#include "common/task_internal.h"

#define PROVENANCE_REQUIRED ((1u << V_COUNT) - 1)
#define TIMING_REQUIRED     ((1u << T_COUNT) - 1)
#define REPAIRED_REQUIRED   ((1u << F_COUNT) - 1)

struct bin {
    const uint8_t *bytes;
    size_t size;
};

/* What was read, before there is memory for the arrays. */
struct parts {
    struct result fixed; /* its pointers stay NULL */
    struct bin times, offsets, prediction, sampled, quantiles, paths;
    struct bin p_up, return_mean, return_std; /* return_std: no bytes for null */
    uint32_t stats_seen;                      /* members of stats that were there */
};

static int
read_bin(struct msgpack_read *r, struct bin *bin)
{
    return msgpack_read_bin(r, &bin->bytes, &bin->size);
}

/* A map of all ${names}; null becomes NaN. */
static int
read_reals(struct msgpack_read *r, const char *const *names, double *values, size_t n)
{
    struct msgpack_map map;
    size_t member;
    int rc;

    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, names, n, &member)) == 1) {
        if (msgpack_read_nil(r))
            values[member] = NAN;
        else if (msgpack_read_real(r, &values[member]) == -1)
            return -1;
    }
    if (rc == 0 && map.seen != (1u << n) - 1)
        return msgpack_read_fault(r, "a member of a statistic is missing");
    return rc;
}

static int
read_stats(struct msgpack_read *r, struct parts *parts)
{
    struct result_stats *s = &parts->fixed.stats;
    double vol[3] = {0}, drawdown[2] = {0}, range[4] = {0};
    struct msgpack_map map;
    size_t member;
    int rc;

    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, result_stats_names, S_COUNT, &member)) == 1) {
        switch (member) {
        case S_LAST_CLOSE:
            rc = msgpack_read_real(r, &s->last_close);
            break;
        case S_P_UP:
            rc = read_bin(r, &parts->p_up);
            break;
        case S_RETURN_MEAN:
            rc = read_bin(r, &parts->return_mean);
            break;
        case S_RETURN_STD:
            rc = msgpack_read_nil(r) ? 0 : read_bin(r, &parts->return_std);
            break;
        case S_VOL:
            rc = read_reals(r, result_vol_names, vol, VOL_FIGURES);
            break;
        case S_VOL_EXCLUDED:
            rc = msgpack_read_u32(r, TASK_SAMPLES_MAX, &s->realized_vol_excluded);
            break;
        case S_DRAWDOWN:
            rc = read_reals(r, result_drawdown_names, drawdown, DRAWDOWN_FIGURES);
            break;
        case S_RANGE:
            rc = read_reals(r, result_range_names, range, RANGE_FIGURES);
            break;
        }
        if (rc == -1)
            return -1;
    }
    s->realized_vol_mean = vol[0];
    s->realized_vol_q10 = vol[1];
    s->realized_vol_q90 = vol[2];
    s->max_drawdown_mean = drawdown[0];
    s->max_drawdown_q90 = drawdown[1];
    s->range_high_mean = range[0];
    s->range_high_q90 = range[1];
    s->range_low_mean = range[2];
    s->range_low_q10 = range[3];
    parts->stats_seen = map.seen;
    return rc;
}

#define READ_TEXT(r, member) msgpack_read_text_into((r), (member), sizeof(member))

static int
read_provenance(struct msgpack_read *r, struct result_provenance *p)
{
    struct msgpack_map map;
    size_t member;
    int rc;

    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, result_provenance_names, V_COUNT, &member)) == 1) {
        switch (member) {
        case V_WEIGHTS:
            rc = READ_TEXT(r, p->weights_sha256);
            break;
        case V_TOKENIZER:
            rc = READ_TEXT(r, p->tokenizer_sha256);
            break;
        case V_ENGINE:
            rc = READ_TEXT(r, p->engine);
            break;
        case V_KERNEL:
            rc = READ_TEXT(r, p->kernel);
            break;
        case V_PRECISION:
            rc = READ_TEXT(r, p->precision);
            break;
        case V_MODEL:
            rc = READ_TEXT(r, p->model_version);
            break;
        case V_TOKENIZER_VERSION:
            rc = READ_TEXT(r, p->tokenizer_version);
            break;
        case V_PARAMS:
            rc = task_read_params(r, &p->params);
            break;
        case V_CONTEXT:
            rc = msgpack_read_u32(r, UINT32_MAX, &p->context);
            break;
        case V_ROWS_GIVEN:
            rc = msgpack_read_u32(r, TASK_HISTORY_MAX, &p->rows_given);
            break;
        case V_ROWS_USED:
            rc = msgpack_read_u32(r, TASK_HISTORY_MAX, &p->rows_used);
            break;
        case V_RECOMPUTED:
            rc = msgpack_read_u32(r, UINT32_MAX, &p->recomputed_windows);
            break;
        case V_FORECAST:
            rc = READ_TEXT(r, p->forecast_sha256);
            break;
        }
        if (rc == -1)
            return -1;
    }
    if (rc == 0 && map.seen != PROVENANCE_REQUIRED)
        return msgpack_read_fault(r, "a member of provenance is missing");
    return rc;
}

static int
read_timing(struct msgpack_read *r, struct result_timing *timing)
{
    struct msgpack_map map;
    uint64_t run_ms = 0;
    size_t member;
    int rc;

    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, result_timing_names, T_COUNT, &member)) == 1) {
        switch (member) {
        case T_RUN:
            rc = msgpack_read_uint(r, INT64_MAX, &run_ms);
            break;
        case T_BATCH:
            rc = msgpack_read_u32(r, UINT32_MAX, &timing->batch_size);
            break;
        case T_WORKER:
            rc = READ_TEXT(r, timing->worker);
            break;
        }
        if (rc == -1)
            return -1;
    }
    timing->run_ms = (int64_t)run_ms;
    if (rc == 0 && map.seen != TIMING_REQUIRED)
        return msgpack_read_fault(r, "a member of timing is missing");
    return rc;
}

static int
read_repaired(struct msgpack_read *r, struct result *fixed)
{
    struct msgpack_map map;
    size_t member;
    int rc;

    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, result_repaired_names, F_COUNT, &member)) == 1) {
        uint32_t *count = member == F_OHLC ? &fixed->repaired_ohlc : &fixed->repaired_volume;

        if (msgpack_read_u32(r, TASK_HORIZON_MAX, count) == -1)
            return -1;
    }
    if (rc == 0 && map.seen != REPAIRED_REQUIRED)
        return msgpack_read_fault(r, "a member of repaired is missing");
    return rc;
}

/* Are the parts there that were asked for, no others, and as long as they must be? */
static int
check_parts(struct msgpack_read *r, const struct parts *parts, uint32_t seen)
{
    const struct task_output *output = &parts->fixed.output;
    const size_t steps = parts->times.size / 8;
    const size_t candles_size = steps * TASK_FIELDS * 4;
    const size_t samples = parts->fixed.provenance.params.sample_count; /* 256 at most: as read */

    /* a worker of an older version leaves out what was sampled */
    if ((seen | (result_members(output) & 1u << R_SAMPLED)) != result_members(output))
        return msgpack_read_fault(r, "a member is missing, or was not asked for");
    if (output->stats != 0 && parts->stats_seen != result_stats_members(output->stats))
        return msgpack_read_fault(r, "a statistic is missing, or was not asked for");
    if (parts->times.size % 8 != 0 || steps > TASK_HORIZON_MAX ||
        parts->offsets.size != steps * 2 || parts->prediction.size != candles_size ||
        (seen & 1u << R_SAMPLED && parts->sampled.size != candles_size) ||
        parts->quantiles.size != output->n_quantiles * candles_size ||
        parts->paths.size != (output->paths ? samples * candles_size : 0))
        return msgpack_read_fault(r, "lengths that do not agree");
    if (output->stats & TASK_STAT_P_UP && parts->p_up.size != steps * 8)
        return msgpack_read_fault(r, "p_up of another length");
    if (output->stats & TASK_STAT_RETURN &&
        (parts->return_mean.size != steps * 8 ||
            (parts->return_std.bytes != NULL && parts->return_std.size != steps * 8)))
        return msgpack_read_fault(r, "return of another length");
    if (parts->return_std.size > 0 && isnan(le_get_double(parts->return_std.bytes)))
        return msgpack_read_fault(
            r, "a NaN where nil is meant"); /* one NaN: all, or refused later */
    return 0;
}

static int
read_parts(struct msgpack_read *r, struct parts *parts)
{
    struct result *fixed = &parts->fixed;
    struct msgpack_map map;
    size_t member;
    int rc;

    *parts = (struct parts){0};
    if (msgpack_read_map(r, &map) == -1)
        return -1;
    while ((rc = msgpack_read_member(r, &map, result_member_names, R_COUNT, &member)) == 1) {
        switch (member) {
        case R_VERSION:
            rc = task_read_version(r, RESULT_FORMAT);
            break;
        case R_TIMES:
            rc = read_bin(r, &parts->times);
            break;
        case R_OFFSETS:
            rc = read_bin(r, &parts->offsets);
            break;
        case R_PREDICTION:
            rc = read_bin(r, &parts->prediction);
            break;
        case R_OUTPUT:
            rc = task_read_output(r, &fixed->output);
            break;
        case R_PROVENANCE:
            rc = read_provenance(r, &fixed->provenance);
            break;
        case R_TIMING:
            rc = read_timing(r, &fixed->timing);
            break;
        case R_WARNINGS:
            rc = task_read_warnings(r, fixed->warnings, &fixed->n_warnings);
            break;
        case R_QUANTILES:
            rc = read_bin(r, &parts->quantiles);
            break;
        case R_PATHS:
            rc = read_bin(r, &parts->paths);
            break;
        case R_STATS:
            rc = read_stats(r, parts);
            break;
        case R_REPAIRED:
            rc = read_repaired(r, fixed);
            break;
        case R_SAMPLED:
            rc = read_bin(r, &parts->sampled);
            break;
        }
        if (rc == -1)
            return -1;
    }
    if (rc == -1 || msgpack_read_end(r) == -1)
        return -1;
    return check_parts(r, parts, map.seen);
}

static void
get_floats(const struct bin *bin, float *values)
{
    for (size_t i = 0; i < bin->size / 4; i++)
        values[i] = le_get_float(bin->bytes + 4 * i);
}

static void
get_doubles(const struct bin *bin, double *values)
{
    for (size_t i = 0; i < bin->size / 8; i++)
        values[i] = le_get_double(bin->bytes + 8 * i);
}

/* The arrays of ${result}, for which result_new() made room, and the rest. */
static void
fill(struct result *result, const struct parts *parts)
{
    struct result_stats stats = parts->fixed.stats;

    stats.p_up = result->stats.p_up;
    stats.return_mean = result->stats.return_mean;
    stats.return_std = result->stats.return_std;
    result->stats = stats;
    result->provenance = parts->fixed.provenance;
    result->timing = parts->fixed.timing;
    result->repaired_ohlc = parts->fixed.repaired_ohlc;
    result->repaired_volume = parts->fixed.repaired_volume;
    result->n_warnings = parts->fixed.n_warnings;
    for (uint32_t i = 0; i < result->n_warnings; i++)
        result->warnings[i] = parts->fixed.warnings[i];

    task_read_times(parts->times.bytes, parts->offsets.bytes, result->times, result->n_horizon);
    get_floats(&parts->prediction, result->prediction);
    if (result->sampled != NULL)
        get_floats(parts->sampled.size > 0 ? &parts->sampled : &parts->prediction, result->sampled);
    get_floats(&parts->paths, result->paths);
    for (size_t i = 0; i < parts->quantiles.size / 4; i++)
        result->quantiles[i] = (double)le_get_float(parts->quantiles.bytes + 4 * i);
    if (result->stats.p_up != NULL)
        get_doubles(&parts->p_up, result->stats.p_up);
    if (result->stats.return_mean == NULL)
        return;
    get_doubles(&parts->return_mean, result->stats.return_mean);
    if (parts->return_std.bytes != NULL)
        get_doubles(&parts->return_std, result->stats.return_std);
    else
        for (size_t i = 0; i < result->n_horizon; i++)
            result->stats.return_std[i] = NAN;
}

struct result *
result_decode(const void *data, size_t size, struct error *err)
{
    struct msgpack_read r;
    struct parts parts;
    struct error why;
    struct result *result;

    if (size > RESULT_BYTES_MAX) {
        error_set(err, ERR_CORRUPT, "stored result: %zu bytes are over %d", size, RESULT_BYTES_MAX);
        return NULL;
    }
    msgpack_read_init(&r, data, size);
    if (read_parts(&r, &parts) == -1) {
        task_bytes_refuse(&r, "result", err);
        return NULL;
    }
    result = result_new(parts.times.size / 8, &parts.fixed.output,
        parts.fixed.provenance.params.sample_count, &why);
    if (result == NULL)
        goto refuse;
    fill(result, &parts);
    if (result_check(result, &why) == -1)
        goto refuse;
    return result;

refuse: /* what is a bad argument elsewhere is damage here; no memory stays no memory */
    error_set(
        err, why.code == ERR_MEMORY ? ERR_MEMORY : ERR_CORRUPT, "stored result: %s", why.text);
    result_free(result);
    return NULL;
}
