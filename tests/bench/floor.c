/*
 * floor.c - Counts the FLOP and bytes that no program computing this model can do without.
 */
#include "tests/bench/floor.h"

#define BLOCK 64 /* places that a window in blocks drops at once; MODEL.md */

struct work {
    double flop;         /* of products and attention over many rows: prefill and tokenizer */
    double kv_bytes;     /* keys and values read by all decode steps */
    size_t decode_steps; /* of each sample */
};

/* Products and causal attention of ${rows} rows that come after ${before} others, n_layers blocks. */
static double
blocks_flop(double d, double ff, double n_layers, double rows, double before)
{
    double products = 2.0 * rows * (4.0 * d * d + 3.0 * d * ff);
    double attended = rows * before + rows * (rows + 1.0) / 2.0;

    return n_layers * (products + 4.0 * d * attended);
}

static double
model_rows_flop(const struct model *model, double rows, double before)
{
    double d = model->config.d_model;

    /* keys and values of the dependency layer; the fusion is a table */
    return blocks_flop(d, model->config.ff_dim, model->config.n_layers, rows, before) +
           2.0 * rows * 2.0 * d * d;
}

/* What encoding the history and decoding the window cannot do without. */
static double
tokenizer_flop(const struct model *model, const struct floor_task *t)
{
    const struct tokenizer_config *c = &model->tokenizer_config;
    double d = c->d_model, ff = c->ff_dim, L = (double)t->n_past, P = (double)t->horizon;
    double C = (double)t->context, window = L + P < C ? L + P : C;
    double before = window - P, S = t->samples;
    double ends = 2.0 * d * (MODEL_INPUTS + c->s1_bits + c->s2_bits);
    double flop = L * ends + blocks_flop(d, ff, c->n_enc_layers, L, 0.0);

    /* Of the window's history the last layer gives keys and values only. */
    flop += before * ends / 2.0 + blocks_flop(d, ff, c->n_dec_layers - 1.0, before, 0.0) +
            2.0 * before * 2.0 * d * d;
    return flop + S * (P * ends + blocks_flop(d, ff, c->n_dec_layers, P, before));
}

static struct work
work_of(const struct model *model, const struct floor_task *t)
{
    double position = (model->config.n_layers + 1.0) * 2.0 * model->config.d_model * sizeof(float);
    size_t L = t->n_past, P = t->horizon, C = t->context, start = L > C ? L - C : 0;
    size_t block = C / 2 < BLOCK ? C / 2 : BLOCK;
    double S = t->samples;
    struct work work = {0};

    if (t->window == FORECAST_FIT && L + P - 1 > C)
        start = L + P - 1 - C;
    work.flop = tokenizer_flop(model, t) + model_rows_flop(model, (double)(L - start), 0.0);
    for (size_t i = 1; i < P; i++) {
        if (L + i - start > C) {
            start = t->window == FORECAST_BLOCK ? start + block : L + i - C;
            if (start >= L) { /* nothing of the history is left to be shared */
                work.flop += S * model_rows_flop(model, (double)(L + i - start), 0.0);
                continue;
            }
            work.flop += model_rows_flop(model, (double)(L - start), 0.0) +
                         S * model_rows_flop(model, (double)i, (double)(L - start));
        } else {
            work.kv_bytes += position * ((double)(L - start) + S * (double)i);
            work.decode_steps++;
        }
    }
    return work;
}

struct floor_seconds
floor_of_forecast(
    const struct machine *machine, const struct model *model, const struct floor_task *task)
{
    struct work work = work_of(model, task);
    double bare = work.flop / machine->flops +
                  (double)work.decode_steps * floor_of_step(machine, model, task->samples);

    return (struct floor_seconds){bare, bare + work.kv_bytes / machine->bytes};
}

double
floor_of_step(const struct machine *machine, const struct model *model, uint32_t m)
{
    double reading = machine_step_bytes(model) / machine->bytes;
    double computing = machine_step_flop(model) * m / machine->flops;

    return reading > computing ? reading : computing;
}

struct floor_seconds
floor_of_share(const struct machine *machine, const struct model *model,
    const struct floor_task *task, uint32_t slots)
{
    struct work work = work_of(model, task);
    double per_step = floor_of_step(machine, model, slots) / slots;
    double bare =
        work.flop / machine->flops + (double)work.decode_steps * (double)task->samples * per_step;

    return (struct floor_seconds){bare, bare + work.kv_bytes / machine->bytes};
}
