/*
 * result_internal.h - The members of a stored result, for its writer and its reader.
 *
 * For result_encode.c and result_decode.c only. The names stand in tables, one enum
 * each; result_members() says which of them a result has.
 */
#ifndef COMMON_RESULT_INTERNAL_H
#define COMMON_RESULT_INTERNAL_H

#include <stdint.h>

#include "common/result.h"

enum {
    R_VERSION,
    R_TIMES,
    R_OFFSETS,
    R_PREDICTION,
    R_OUTPUT,
    R_PROVENANCE,
    R_TIMING,
    R_WARNINGS,
    R_QUANTILES,
    R_PATHS,
    R_STATS,
    R_REPAIRED,
    R_SAMPLED, /* younger than the others: a reader must do without */
    R_COUNT
};
extern const char *const result_member_names[R_COUNT];

enum {
    S_LAST_CLOSE,
    S_P_UP,
    S_RETURN_MEAN,
    S_RETURN_STD,
    S_VOL,
    S_VOL_EXCLUDED,
    S_DRAWDOWN,
    S_RANGE,
    S_COUNT
};
extern const char *const result_stats_names[S_COUNT];

enum {
    V_WEIGHTS,
    V_TOKENIZER,
    V_ENGINE,
    V_KERNEL,
    V_PRECISION,
    V_MODEL,
    V_TOKENIZER_VERSION,
    V_PARAMS,
    V_CONTEXT,
    V_ROWS_GIVEN,
    V_ROWS_USED,
    V_RECOMPUTED,
    V_FORECAST,
    V_COUNT
};
extern const char *const result_provenance_names[V_COUNT];

enum { T_RUN, T_BATCH, T_WORKER, T_COUNT };
extern const char *const result_timing_names[T_COUNT];

enum { F_OHLC, F_VOLUME, F_COUNT };
extern const char *const result_repaired_names[F_COUNT];

/* The first members are always there. */
#define RESULT_ALWAYS ((1u << R_QUANTILES) - 1)

/* Figures of one statistic, in the order of struct result_stats. */
#define VOL_FIGURES      3
#define DRAWDOWN_FIGURES 2
#define RANGE_FIGURES    4
extern const char *const result_vol_names[VOL_FIGURES];
extern const char *const result_drawdown_names[DRAWDOWN_FIGURES];
extern const char *const result_range_names[RANGE_FIGURES];

/* Bit i: member i is there, when this was asked for. */
uint32_t result_members(const struct task_output *output);
uint32_t result_stats_members(uint32_t stats);

#endif /* COMMON_RESULT_INTERNAL_H */
