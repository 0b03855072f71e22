/*
 * forecast_pool.c - The memory of a pool: slabs, scratch, tables; all of it made here.
 *
 * Slabs come straight from the system as zero pages, large ones where it has them, so a slot
 * never used costs nothing; the rest from the heap, where the sanitizers can see its ends.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "worker/kronos/forecast_internal.h"
#include "worker/kronos/kernels.h"

#define ALIGNMENT 64 /* bytes of a cache line and of the widest vector */

/* What was taken, to be given back. */
struct forecast_memory {
    struct forecast_memory *next;
    void *base;
    size_t bytes;
    bool is_mapped;
};

/* ${count} zeroed items of ${size} bytes, or NULL; remembered by the pool. */
static void *
pool_take(struct forecast_pool *pool, size_t count, size_t size, bool is_mapped)
{
    struct forecast_memory *piece;
    size_t bytes;

    if (count == 0 || __builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if ((piece = malloc(sizeof(*piece))) == NULL)
        return NULL;
    *piece = (struct forecast_memory){.next = pool->memory, .bytes = bytes, .is_mapped = is_mapped};
    if (is_mapped) {
        piece->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (piece->base == MAP_FAILED)
            goto free_piece;
        /* Only a hint: fewer page-table walks on the way through a slab. */
        (void)madvise(piece->base, bytes, MADV_HUGEPAGE);
    } else {
        if ((piece->base = aligned_alloc(ALIGNMENT, bytes)) == NULL)
            goto free_piece;
        memset(piece->base, 0, bytes);
    }
    pool->memory = piece;
    pool->bytes += bytes;
    return piece->base;

free_piece:
    free(piece);
    return NULL;
}

/* a * b floats. */
static float *
take_floats(struct forecast_pool *pool, size_t a, size_t b)
{
    size_t n;

    return __builtin_mul_overflow(a, b, &n) ? NULL : pool_take(pool, n, sizeof(float), false);
}

static size_t
larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The widths a block can run with, and the tables of its positions. */
static int
take_stack(struct forecast_pool *pool, const char *name, const struct block_size *size,
    size_t n_positions, bool is_half, struct kv_shape *shape, struct rope *rope, struct error *err)
{
    size_t e = size->n_heads > 0 ? size->d / size->n_heads : 0;

    if (e == 0 || size->d % size->n_heads != 0 || e % 2 != 0)
        return error_set(err, ERR_INVALID, "%s: %zu heads do not divide a width of %zu evenly",
            name, size->n_heads, size->d);
    if (kv_shape_init(shape, size->d, n_positions, is_half) == -1)
        return error_set(err, ERR_INVALID, "%s: %zu positions of width %zu are too many", name,
            n_positions, size->d);
    rope->cosine = take_floats(pool, n_positions, e / 2);
    rope->sine = take_floats(pool, n_positions, e / 2);
    if (rope->cosine == NULL || rope->sine == NULL)
        return error_set(err, ERR_MEMORY, "no memory for %s", name);
    rope_fill(rope, n_positions, e);
    return 0;
}

static int
take_tokenizer(struct forecast_pool *pool, struct error *err)
{
    const struct tokenizer_config *config = &pool->model->tokenizer_config;
    struct tokenizer *t = &pool->tokenizer;
    /* Rows to encode: the history. To decode: a window, history and horizon at most. */
    size_t window = smaller(pool->options.max_context, FORECAST_HISTORY_MAX + FORECAST_HORIZON_MAX);
    size_t layers = larger(config->n_enc_layers, config->n_dec_layers), bytes;

    t->config = config;
    t->weights = &pool->model->tokenizer;
    t->size = (struct block_size){config->d_model, config->n_heads, config->ff_dim};
    t->scratch = &pool->scratch;
    if (config->d_in != FORECAST_FIELDS)
        return error_set(err, ERR_INVALID, "the tokenizer reads %u columns, not %d",
            (unsigned)config->d_in, FORECAST_FIELDS);
    if (take_stack(pool, "tokenizer", &t->size, larger(FORECAST_HISTORY_MAX, window), false,
            &t->shape, &t->rope, err) == -1)
        return -1;
    if (__builtin_mul_overflow(larger(layers, 1), t->shape.layer_bytes, &bytes) ||
        (t->slab = pool_take(pool, bytes, 1, true)) == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the tokenizer's keys and values");
    if (kv_shape_init(&t->decode_shape, t->size.d, window, false) == -1 ||
        __builtin_mul_overflow(
            larger(config->n_dec_layers, 1), t->decode_shape.layer_bytes, &t->decode_bytes))
        return error_set(err, ERR_INVALID, "the tokenizer's keys and values are too many");
    return 0;
}

static int
take_transformer(struct forecast_pool *pool, struct error *err)
{
    const struct model_config *config = &pool->model->config;
    struct transformer *t = &pool->transformer;

    t->config = config;
    t->weights = &pool->model->transformer;
    t->size = (struct block_size){config->d_model, config->n_heads, config->ff_dim};
    t->scratch = &pool->scratch;
    if (config->d_model % MODEL_DEP_HEADS != 0)
        return error_set(err, ERR_INVALID, "the model's width %u is no multiple of %d",
            (unsigned)config->d_model, MODEL_DEP_HEADS);
    if (take_stack(pool, "model", &t->size, pool->options.max_context,
            pool->options.kv == PACKED_F16, &t->shape, &t->rope, err) == -1)
        return -1;
    if (__builtin_mul_overflow((size_t)config->n_layers + 1, t->shape.layer_bytes, &t->slab_bytes))
        return error_set(err, ERR_INVALID, "the model's keys and values are too many");
    return 0;
}

static int
take_scratch(struct forecast_pool *pool, struct error *err)
{
    struct block_scratch *s = &pool->scratch;
    const struct block_size *model = &pool->transformer.size, *tokenizer = &pool->tokenizer.size;
    size_t rows = BLOCK_ROWS_MAX, d = larger(model->d, tokenizer->d);
    size_t ff = larger(model->ff, tokenizer->ff);
    /* normed also holds the bits of a tokenizer's row. */
    size_t wide = larger(d, 2 * MODEL_BITS_MAX);

    s->scores_stride =
        larger(pool->transformer.shape.k_positions, pool->tokenizer.shape.k_positions);
    s->x = take_floats(pool, rows, d);
    s->normed = take_floats(pool, rows, wide);
    s->q = take_floats(pool, rows, d);
    s->k = take_floats(pool, rows, d);
    s->v = take_floats(pool, rows, d);
    s->mixed = take_floats(pool, rows, d);
    s->gate = take_floats(pool, rows, ff);
    s->up = take_floats(pool, rows, ff);
    s->scores = take_floats(pool, crew_threads(s->crew) * BLOCK_QUERIES, s->scores_stride);
    if (s->x == NULL || s->normed == NULL || s->q == NULL || s->k == NULL || s->v == NULL ||
        s->mixed == NULL || s->gate == NULL || s->up == NULL || s->scores == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the engine's scratch");
    return 0;
}

static int
take_work(struct forecast_pool *pool, struct error *err)
{
    size_t slots = pool->options.n_slots, v = larger(pool->n_s1, pool->n_s2);
    size_t candles = pool->horizon_max * FORECAST_FIELDS;
    struct sampler_scratch *s = &pool->sampler;

    pool->input = take_floats(pool, FORECAST_HISTORY_MAX, FORECAST_FIELDS);
    pool->column = take_floats(pool, FORECAST_HISTORY_MAX, 2);
    pool->candles = take_floats(pool, BLOCK_ROWS_MAX, FORECAST_FIELDS);
    pool->decode_s1 = pool_take(pool, BLOCK_ROWS_MAX, sizeof(uint16_t), false);
    pool->decode_s2 = pool_take(pool, BLOCK_ROWS_MAX, sizeof(uint16_t), false);
    pool->sum = pool_take(pool, candles, sizeof(double), false);
    pool->tokens = pool_take(pool, BLOCK_ROWS_MAX, sizeof(*pool->tokens), false);
    pool->rows = pool_take(pool, BLOCK_ROWS_MAX, sizeof(*pool->rows), false);
    pool->watches = pool_take(pool, slots, sizeof(*pool->watches), false);
    pool->c = take_floats(pool, slots, pool->transformer.size.d);
    pool->logits = take_floats(pool, slots, v);
    pool->draws = pool_take(pool, slots, sizeof(uint16_t), false);
    s->weight = take_floats(pool, v, 1);
    s->key = pool_take(pool, v, sizeof(uint32_t), false);
    s->key_next = pool_take(pool, v, sizeof(uint32_t), false);
    s->order = pool_take(pool, v, sizeof(uint16_t), false);
    s->order_next = pool_take(pool, v, sizeof(uint16_t), false);
    if (pool->input == NULL || pool->column == NULL || pool->candles == NULL || pool->sum == NULL ||
        pool->decode_s1 == NULL || pool->decode_s2 == NULL || pool->tokens == NULL ||
        pool->rows == NULL || pool->watches == NULL || pool->c == NULL || pool->logits == NULL ||
        pool->draws == NULL || s->weight == NULL || s->key == NULL || s->key_next == NULL ||
        s->order == NULL || s->order_next == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the engine's work");
    return 0;
}

static int
take_slots(struct forecast_pool *pool, struct error *err)
{
    size_t slots = pool->options.n_slots, d = pool->transformer.size.d, bytes;
    size_t n_times = FORECAST_HISTORY_MAX + FORECAST_HORIZON_MAX;
    size_t drawn_bytes = pool->horizon_max * sizeof(uint16_t); /* of one sample */
    size_t candles = pool->horizon_max * FORECAST_FIELDS, decode_bytes;
    unsigned char *slabs, *decode_slabs;
    float *c;

    pool->slots = pool_take(pool, slots, sizeof(*pool->slots), false);
    pool->forecasts = pool_take(pool, slots, sizeof(*pool->forecasts), false);
    c = take_floats(pool, slots, d);
    if (pool->slots == NULL || pool->forecasts == NULL || c == NULL)
        return error_set(err, ERR_MEMORY, "no memory for %zu slots", slots);
    if (__builtin_mul_overflow(slots, pool->transformer.slab_bytes, &bytes) ||
        (slabs = pool_take(pool, bytes, 1, true)) == NULL)
        return error_set(err, ERR_MEMORY, "no memory for the keys and values of %zu slots", slots);
    /* Not touched, so not there, until somebody wants candles early. */
    if (__builtin_mul_overflow(slots, pool->tokenizer.decode_bytes, &decode_bytes) ||
        (decode_slabs = pool_take(pool, decode_bytes, 1, true)) == NULL)
        return error_set(err, ERR_MEMORY, "no memory to decode candles of %zu slots", slots);
    for (size_t i = 0; i < slots; i++) {
        struct forecast *f = &pool->forecasts[i];

        pool->slots[i].slab = slabs + i * pool->transformer.slab_bytes;
        pool->slots[i].decode_slab = decode_slabs + i * pool->tokenizer.decode_bytes;
        pool->slots[i].c = c + i * d;
        f->s1 = pool_take(pool, FORECAST_HISTORY_MAX, sizeof(uint16_t), false);
        f->s2 = pool_take(pool, FORECAST_HISTORY_MAX, sizeof(uint16_t), false);
        f->drawn_s1 = pool_take(pool, FORECAST_SAMPLES_MAX, drawn_bytes, false);
        f->drawn_s2 = pool_take(pool, FORECAST_SAMPLES_MAX, drawn_bytes, false);
        f->times = pool_take(pool, n_times, sizeof(*f->times), false);
        f->sum = pool_take(pool, candles, sizeof(double), false);
        f->rows = take_floats(pool, candles, 1);
        f->first_c = take_floats(pool, d, 1);
        f->first_s1_logits = take_floats(pool, pool->n_s1, 1);
        f->first_s2_logits = take_floats(pool, pool->n_s2, 1);
        if (f->s1 == NULL || f->s2 == NULL || f->drawn_s1 == NULL || f->drawn_s2 == NULL ||
            f->times == NULL || f->sum == NULL || f->rows == NULL || f->first_c == NULL ||
            f->first_s1_logits == NULL || f->first_s2_logits == NULL)
            return error_set(err, ERR_MEMORY, "no memory for %zu tasks", slots);
    }
    pool->n_free = pool->options.n_slots;
    return 0;
}

struct forecast_pool *
forecast_pool_new(
    const struct model *model, const struct forecast_pool_options *options, struct error *err)
{
    struct forecast_pool *pool;

    if (options->n_slots < 1 || options->n_slots > FORECAST_SLOTS_MAX) {
        error_set(err, ERR_INVALID, "%u slots: 1..%d are possible", (unsigned)options->n_slots,
            FORECAST_SLOTS_MAX);
        return NULL;
    }
    if (options->max_context < 2 || options->max_context > MODEL_CONTEXT_MAX) {
        error_set(err, ERR_INVALID, "a context of %u: 2..%d are possible",
            (unsigned)options->max_context, MODEL_CONTEXT_MAX);
        return NULL;
    }
    if (!(options->clip > 0.0f)) {
        error_set(err, ERR_INVALID, "clip %g is not above 0", (double)options->clip);
        return NULL;
    }
    if ((pool = calloc(1, sizeof(*pool))) == NULL) {
        error_set(err, ERR_MEMORY, "no memory for the engine");
        return NULL;
    }
    if (options->n_threads > 1 &&
        (pool->scratch.crew = crew_new(options->n_threads, err)) == NULL) {
        free(pool);
        return NULL;
    }
    pool->model = model;
    pool->options = *options;
    pool->horizon_max = smaller(FORECAST_HORIZON_MAX, options->max_context);
    pool->n_s1 = (size_t)1 << model->config.s1_bits;
    pool->n_s2 = (size_t)1 << model->config.s2_bits;
    if (take_tokenizer(pool, err) == -1 || take_transformer(pool, err) == -1 ||
        take_scratch(pool, err) == -1 || take_work(pool, err) == -1 ||
        take_slots(pool, err) == -1) {
        forecast_pool_free(pool);
        return NULL;
    }
    return pool;
}

void
forecast_pool_free(struct forecast_pool *pool)
{
    if (pool == NULL)
        return;
    crew_free(pool->scratch.crew);
    for (struct forecast_memory *piece = pool->memory, *next; piece != NULL; piece = next) {
        next = piece->next;
        if (piece->is_mapped)
            munmap(piece->base, piece->bytes);
        else
            free(piece->base);
        free(piece);
    }
    free(pool);
}

uint32_t
forecast_pool_free_slots(const struct forecast_pool *pool)
{
    return pool->n_free;
}

size_t
forecast_pool_bytes(const struct forecast_pool *pool)
{
    return pool->bytes;
}

const char *
forecast_pool_precision(const struct forecast_pool *pool)
{
    bool has_half_weights = pool->model->weights_format == PACKED_F16;

    if (pool->options.kv == PACKED_F16)
        return has_half_weights ? "fp16" : "fp16-kv";
    return has_half_weights ? "fp16-weights" : "fp32";
}
