/*
 * forecast_internal.h - What forecast.c, forecast_candles.c, forecast_pool.c, forecast_window.c and
 * forecast_input.c share: the pool's memory and one task in it.
 *
 * Letters: L history bars, P horizon, S samples, C max_context, d width, V vocabularies.
 * A place counts from the oldest bar of the history: 0..L-1 known, L..L+P-1 drawn. A window
 * begins at a place; a position counts from the window's beginning.
 */
#ifndef WORKER_KRONOS_FORECAST_INTERNAL_H
#define WORKER_KRONOS_FORECAST_INTERNAL_H

#include "worker/kronos/calendar.h"
#include "worker/kronos/forecast.h"
#include "worker/kronos/sampler.h"
#include "worker/kronos/tokenizer.h"
#include "worker/kronos/transformer.h"

#define FORECAST_SLOTS_MAX 256

/* One sequence: its keys and values, and the hidden state its next draw starts from. */
struct forecast_slot {
    bool is_taken;
    void *slab;        /* [slab_bytes] */
    void *decode_slab; /* [decode_bytes] of the tokenizer, for candles asked for early */
    float *c;          /* [d] */
};

/*
 * One task. Samples run in rounds of round_size sequences; sample s of the round's j-th
 * sequence is round * round_size + j. The history's keys and values are in the slab of the
 * first slot and every sequence of the round reads them there.
 */
struct forecast {
    struct forecast_pool *pool;
    bool is_taken;
    struct forecast_options options;
    size_t n_past, horizon;        /* L, P */
    float mean[FORECAST_FIELDS];   /* of the history's columns */
    float std[FORECAST_FIELDS];    /* population */
    uint16_t *s1, *s2;             /* [FORECAST_HISTORY_MAX] the history's tokens */
    uint16_t *drawn_s1, *drawn_s2; /* [FORECAST_SAMPLES_MAX, horizon_max] each sample's tokens */
    struct calendar *times;        /* [FORECAST_HISTORY_MAX + FORECAST_HORIZON_MAX] */
    struct forecast_slot *slots[FORECAST_SLOTS_MAX]; /* the first is the leader */
    uint32_t round_size, n_rounds;
    uint32_t round;            /* of n_rounds */
    uint32_t step;             /* of horizon, in this round */
    size_t first_start, start; /* places where the first and the present window begin */
    bool has_history;          /* the leader's slab holds the first window's history */
    float *first_c;            /* [d] hidden state after the first window */
    float *first_s1_logits;    /* [V1] of sample 0 */
    float *first_s2_logits;    /* [V2] */
    uint32_t recomputed_windows;
    uint32_t decoded_round, decoded_steps; /* candles up to here are in ${sum} */
    bool
        has_decode_history; /* the leader's decode_slab holds the history: candles were asked for */
    bool is_decode_broken;  /* a decoding was stopped half-way */
    double *sum;        /* [horizon_max, 6] normalised candles, over the samples decoded so far */
    float *rows;        /* [horizon_max, 6] of the mean, in the history's units */
    bool is_stopped;    /* the stop flag was seen; what the slabs hold may be half done */
    bool is_not_finite; /* logits were NaN or infinite */
};

struct forecast_pool {
    const struct model *model;
    struct forecast_pool_options options;
    struct tokenizer tokenizer;
    struct transformer transformer;
    struct block_scratch scratch;
    size_t horizon_max; /* min(FORECAST_HORIZON_MAX, C) */
    size_t n_s1, n_s2;  /* V1, V2 */

    uint32_t n_free;
    struct forecast_slot *slots; /* [n_slots] */
    struct forecast *forecasts;  /* [n_slots] */

    /* For the work of one call. */
    float *input;                     /* [FORECAST_HISTORY_MAX, 6] normalised */
    float *column;                    /* [2, FORECAST_HISTORY_MAX] */
    float *candles;                   /* [BLOCK_ROWS_MAX, 6] decoded */
    double *sum;                      /* [horizon_max, 6] over samples */
    uint16_t *decode_s1, *decode_s2;  /* [BLOCK_ROWS_MAX] tokens of the rows to decode */
    struct transformer_token *tokens; /* [BLOCK_ROWS_MAX] */
    struct block_row *rows;           /* [BLOCK_ROWS_MAX] */
    struct block_watch *watches;      /* [n_slots] */
    float *c;                         /* [n_slots, d] */
    float *logits;                    /* [n_slots, max(V1, V2)] */
    uint16_t *draws;                  /* [n_slots] */
    struct sampler_scratch sampler;

    size_t bytes;
    struct forecast_memory *memory; /* all of the above, to be freed */
};

/* forecast_input.c */

/** forecast_take_input(f, history, minutes, err): mean, std, times and pool->input from ${history}. */
int forecast_take_input(
    struct forecast *f, const float *history, const int64_t *minutes, struct error *err);

/** forecast_pairwise_sum(a, n): numpy's sum of a contiguous float32 axis, bit for bit. */
float forecast_pairwise_sum(const float *a, size_t n);

/* forecast_candles.c */

/** forecast_candles_begin(f): nothing is decoded yet. */
void forecast_candles_begin(struct forecast *f);

/* forecast_window.c */

/** forecast_first_start(f): the place where the first window begins. */
size_t forecast_first_start(const struct forecast *f);
/** forecast_next_start(f): the place where the window of the step to come begins; f->step >= 1. */
size_t forecast_next_start(const struct forecast *f);
/** forecast_fill(f): prefill the first window and set first_c. -1 when told to stop. */
int forecast_fill(struct forecast *f);
/**
 * forecast_recompute(f, n_sequences): the window of the step to come from f->start on, afresh:
 * its history once, then each sequence's own rows; sets each slot's c. -1 when told to stop.
 */
int forecast_recompute(struct forecast *f, size_t n_sequences);

/** forecast_token(f, j, place): what the model reads of a place, for the round's sequence j. */
struct transformer_token forecast_token(const struct forecast *f, size_t j, size_t place);
/** forecast_row(f, j, place): where that place lies in the present window. */
struct block_row forecast_row(const struct forecast *f, size_t j, size_t place);
/** forecast_round_sequences(f): sequences of the present round. */
size_t forecast_round_sequences(const struct forecast *f);
/** forecast_watch(f): its stop flag and tick counter. */
struct block_watch forecast_watch(const struct forecast *f);

#endif /* WORKER_KRONOS_FORECAST_INTERNAL_H */
