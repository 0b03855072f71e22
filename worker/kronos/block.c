/*
 * block.c - One transformer block with keys and values remembered.
 *
 * Does not know the tokenizer from the model, nor tasks; allocates nothing. Attention works
 * on groups of rows that share a history, so that one reading of its keys and values serves
 * all of them; how rows are grouped never shows in a value, nor does the number of threads.
 */
#include "worker/kronos/block.h"

#include <math.h>
#include <string.h>

#define LINE_BYTES      64
#define ANNOUNCED_LINES 32 /* 2 KB: what the CPU has under way at most */

static size_t
round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

int
kv_shape_init(struct kv_shape *shape, size_t d, size_t n_positions, bool is_half)
{
    size_t width = is_half ? sizeof(uint16_t) : sizeof(float), k, v;

    if (n_positions > SIZE_MAX / 8 || d == 0 || n_positions == 0)
        return -1;
    shape->is_half = is_half;
    shape->n_positions = n_positions;
    shape->k_positions = round_up(n_positions + KERNELS_OVERRUN, KERNELS_KEY_TILE);
    if (__builtin_mul_overflow(d, shape->k_positions, &k) ||
        __builtin_mul_overflow(d, n_positions, &v) || k > SIZE_MAX / 16 || v > SIZE_MAX / 16)
        return -1;
    shape->k_bytes = round_up(k * width, LINE_BYTES);
    shape->layer_bytes = shape->k_bytes + round_up(v * width, LINE_BYTES);
    return 0;
}

/* The keys, or the values, of one head of one layer in ${slab}. */
static struct kernels_kv
keys_of(const struct kv_shape *shape, void *slab, size_t layer, size_t head, size_t e)
{
    size_t width = shape->is_half ? sizeof(uint16_t) : sizeof(float);

    return (struct kernels_kv){
        (unsigned char *)slab + layer * shape->layer_bytes + head * e * shape->k_positions * width,
        shape->is_half};
}

static struct kernels_kv
values_of(const struct kv_shape *shape, void *slab, size_t layer, size_t head, size_t e)
{
    size_t width = shape->is_half ? sizeof(uint16_t) : sizeof(float);

    return (struct kernels_kv){(unsigned char *)slab + layer * shape->layer_bytes + shape->k_bytes +
                                   head * e * shape->n_positions * width,
        shape->is_half};
}

void
rope_fill(struct rope *rope, size_t n_positions, size_t e)
{
    rope->half = e / 2;
    for (size_t i = 0; i < rope->half; i++) {
        /* The reference's tables are float32 at every step; so are these. */
        float exponent = (float)(2 * i) / (float)e;
        float inverse = 1.0f / (float)pow(10000.0, (double)exponent);

        for (size_t p = 0; p < n_positions; p++) {
            float angle = (float)p * inverse;

            rope->cosine[p * rope->half + i] = (float)cos((double)angle);
            rope->sine[p * rope->half + i] = (float)sin((double)angle);
        }
    }
}

/* ---- work shared out among threads ----
 *
 * By outputs, heads or rows, never within a sum: so the number of threads, and who did what, leave
 * no trace in the values.
 */

#define PARTS_PER_THREAD 2  /* of a product: a thread that comes late leaves its second to others */
#define ROWS_PER_PART    32 /* of what is done row by row; fewer are not worth a second thread */

struct products {
    const float *x;
    size_t n_rows;
    const struct block_product *all;
    size_t n, n_panels; /* of all together */
    size_t n_parts;
    struct kernels_soon *soon;
};

static size_t
panels_of(const struct linear *l)
{
    return (l->n_out + PACKED_PANEL - 1) / PACKED_PANEL;
}

/* The panels [first, end) of one product. */
static void
multiply_panels(
    const struct products *p, const struct block_product *product, size_t first, size_t end)
{
    const struct packed *whole = &product->l->packed;
    size_t n_first = first * PACKED_PANEL, n_end = end * PACKED_PANEL;
    struct packed part = *whole;

    if (n_end > whole->n_out)
        n_end = whole->n_out;
    part.bytes = (const unsigned char *)whole->bytes +
                 first * packed_bytes(PACKED_PANEL, whole->n_in, whole->format);
    part.n_out = (uint32_t)(n_end - n_first);
    kernels_packed(product->y + n_first, whole->n_out, p->x, whole->n_in, p->n_rows, &part,
        product->is_added, p->soon);
}

/* Part i of n: panels [i P / n, (i + 1) P / n), which may be the end of a product and the next. */
static void
multiply_part(void *cookie, size_t part, size_t thread)
{
    const struct products *p = cookie;
    size_t first = part * p->n_panels / p->n_parts, end = (part + 1) * p->n_panels / p->n_parts;
    size_t before = 0; /* panels of the products before */

    (void)thread;
    for (size_t i = 0; i < p->n && before < end; i++) {
        size_t n = panels_of(p->all[i].l);
        size_t from = first > before ? first - before : 0, to = end - before < n ? end - before : n;

        if (from < to)
            multiply_panels(p, &p->all[i], from, to);
        before += n;
    }
}

void
block_products(struct block_scratch *scratch, const float *x, size_t n_rows,
    const struct block_product *products, size_t n)
{
    struct crew *crew = scratch->crew;
    struct products work = {
        .x = x, .n_rows = n_rows, .all = products, .n = n, .soon = &scratch->soon};

    for (size_t i = 0; i < n; i++)
        work.n_panels += panels_of(products[i].l);
    work.n_parts = crew_threads(crew) > 1 ? PARTS_PER_THREAD * crew_threads(crew) : 1;
    if (work.n_parts > work.n_panels)
        work.n_parts = work.n_panels;
    crew_run(crew, work.n_parts, multiply_part, &work);
}

void
block_linear(struct block_scratch *scratch, float *y, const float *x, size_t n_rows,
    const struct linear *l, bool is_added)
{
    struct block_product product = {.y = y, .l = l, .is_added = is_added};

    block_products(scratch, x, n_rows, &product, 1);
}

struct rms {
    float *y;
    const float *x, *w;
    size_t n_rows, d;
};

/* The rows of a part of what is done row by row. */
static size_t
rows_of_part(size_t n_rows, size_t part)
{
    size_t left = n_rows - part * ROWS_PER_PART;

    return left < ROWS_PER_PART ? left : ROWS_PER_PART;
}

static size_t
parts_of_rows(size_t n_rows)
{
    return (n_rows + ROWS_PER_PART - 1) / ROWS_PER_PART;
}

static void
rms_part(void *cookie, size_t part, size_t thread)
{
    const struct rms *r = cookie;
    size_t first = part * ROWS_PER_PART;

    (void)thread;
    kernels_rms(
        r->y + first * r->d, r->x + first * r->d, r->w, rows_of_part(r->n_rows, part), r->d);
}

void
block_rms(struct crew *crew, float *y, const float *x, const float *w, size_t n_rows, size_t d)
{
    struct rms work = {.y = y, .x = x, .w = w, .n_rows = n_rows, .d = d};

    crew_run(crew, parts_of_rows(n_rows), rms_part, &work);
}

/* ---- keys, values, attention ---- */

/* The end of the run of rows from ${m} that write to one slab; their positions follow. */
static size_t
run_end(const struct block_row *rows, size_t m, size_t n_rows)
{
    size_t end = m + 1;

    while (end < n_rows && rows[end].own == rows[m].own && rows[end].n_shared == rows[m].n_shared &&
           rows[end].position == rows[end - 1].position + 1)
        end++;
    return end;
}

void
block_store(const struct kv_shape *shape, size_t n_heads, size_t d, size_t layer, const float *k,
    const float *v, const struct block_row *rows, size_t n_rows)
{
    size_t e = d / n_heads;

    for (size_t m = 0, end; m < n_rows; m = end) {
        end = run_end(rows, m, n_rows);
        for (size_t h = 0; h < n_heads; h++) {
            kernels_store_keys(keys_of(shape, rows[m].own, layer, h, e), rows[m].position,
                k + m * d + h * e, d, end - m, e);
            kernels_store_values(values_of(shape, rows[m].own, layer, h, e), rows[m].position,
                v + m * d + h * e, d, end - m, e);
        }
    }
}

/* The end of the group from ${m} that one pass over a shared history serves. */
static size_t
group_end(const struct block_row *rows, size_t m, size_t n_rows)
{
    size_t end = m + 1;

    while (
        end < n_rows && end - m < BLOCK_QUERIES && rows[end].n_shared == rows[m].n_shared &&
        (rows[m].n_shared == 0 ? rows[end].own == rows[m].own : rows[end].shared == rows[m].shared))
        end++;
    return end;
}

/* The positions [first, end) of one head: its keys, in whole tiles, or its values. */
static void
expect_positions(
    struct kernels_soon *soon, struct kernels_kv kv, size_t first, size_t end, size_t e)
{
    size_t position = e * (kv.is_half ? sizeof(uint16_t) : sizeof(float)),
           n = (end - first) * position;
    const unsigned char *at = (const unsigned char *)kv.at + first * position;

    for (size_t done = 0; done < n && soon->n < KERNELS_PIECES_MAX; done += KERNELS_PIECE_BYTES) {
        size_t left = n - done;

        /* The last piece ends where the positions end. */
        if (left < KERNELS_PIECE_BYTES && done > 0)
            done -= KERNELS_PIECE_BYTES - left;
        soon->pieces[soon->n++] = at + done;
    }
}

/* What attend_group() reads of one head, in its order. */
static void
expect_group(struct kernels_soon *soon, const struct kv_shape *shape, size_t e, size_t layer,
    size_t head, const struct block_row *rows, size_t n_rows)
{
    size_t n_shared = rows[0].n_shared;

    if (n_rows == 1 && rows[0].shared == rows[0].own)
        n_shared = 0;
    if (n_shared > 0)
        expect_positions(soon, keys_of(shape, rows[0].shared, layer, head, e), 0, n_shared, e);
    for (size_t m = 0; m < n_rows; m = run_end(rows, m, n_rows)) {
        size_t first = n_shared / KERNELS_KEY_TILE * KERNELS_KEY_TILE;

        expect_positions(soon, keys_of(shape, rows[m].own, layer, head, e), first,
            round_up((size_t)rows[m].position + 1, KERNELS_KEY_TILE), e);
        expect_positions(soon, values_of(shape, rows[m].own, layer, head, e), n_shared,
            (size_t)rows[m].position + 1, e);
    }
    if (n_shared > 0)
        expect_positions(soon, values_of(shape, rows[0].shared, layer, head, e), 0, n_shared, e);
}

void
block_expect(const struct kv_shape *shape, size_t n_heads, size_t d, size_t layer,
    struct block_scratch *scratch, const struct block_row *rows, size_t n_rows)
{
    struct kernels_soon *soon = &scratch->soon;

    soon->n = 0;
    atomic_store_explicit(&soon->n_taken, 0, memory_order_relaxed);
    for (size_t head = 0; head < n_heads; head++)
        for (size_t m = 0, end; m < n_rows; m = end) {
            end = group_end(rows, m, n_rows);
            expect_group(soon, shape, d / n_heads, layer, head, rows + m, end - m);
        }
}

/*
 * The first lines of a stream that is read soon: from them on the CPU sees it coming. With many
 * separate histories the streams are short, and each would begin with a wait.
 */
static void
announce(struct kernels_kv kv)
{
    for (size_t line = 0; line < ANNOUNCED_LINES; line++)
        __builtin_prefetch((const unsigned char *)kv.at + line * LINE_BYTES);
}

/* One head of one group: q and mixed point at the head of the group's first row. */
static void
attend_group(const struct kv_shape *shape, size_t e, size_t d, size_t layer, size_t head,
    float *scores, size_t stride, const float *q, float *mixed, const struct block_row *rows,
    size_t n_rows)
{
    size_t n_shared = rows[0].n_shared;
    float sums[BLOCK_QUERIES];

    /* A row alone whose history is in its own slab has one run of positions. */
    if (n_rows == 1 && rows[0].shared == rows[0].own)
        n_shared = 0;
    if (n_shared > 0)
        kernels_scores(scores, stride, q, d, keys_of(shape, rows[0].shared, layer, head, e), 0,
            n_shared, n_rows, e);
    for (size_t m = 0, end; m < n_rows; m = end) {
        size_t n;

        end = run_end(rows, m, n_rows);
        n = rows[end - 1].position + 1; /* seen by the last of the run; the others see less */
        announce(values_of(shape, rows[m].own, layer, head, e));
        kernels_scores(scores + m * stride, stride, q + m * d, d,
            keys_of(shape, rows[m].own, layer, head, e), n_shared, n, end - m, e);
        for (size_t i = m; i < end; i++) {
            float *s = scores + i * stride;

            sums[i] = kernels_softmax(s, (size_t)rows[i].position + 1);
            memset(s + rows[i].position + 1, 0, (n - rows[i].position - 1) * sizeof(float));
            memset(mixed + i * d, 0, e * sizeof(float));
        }
    }
    if (n_shared > 0)
        kernels_mix(mixed, d, scores, stride, values_of(shape, rows[0].shared, layer, head, e), 0,
            n_shared, n_rows, e);
    for (size_t m = 0, end; m < n_rows; m = end) {
        end = run_end(rows, m, n_rows);
        /* A weight of zero adds nothing, so what a row must not see does not show. */
        kernels_mix(mixed + m * d, d, scores + m * stride, stride,
            values_of(shape, rows[m].own, layer, head, e), n_shared,
            (size_t)rows[end - 1].position + 1, end - m, e);
        for (size_t i = m; i < end; i++)
            for (size_t c = 0; c < e; c++)
                mixed[i * d + c] /= sums[i];
    }
}

struct attention {
    const struct kv_shape *shape;
    size_t e, d, layer;
    const struct block_scratch *scratch;
    const float *q;
    float *mixed;
    const struct block_row *rows;
    size_t n_rows;
};

/* One head: its keys and values stay in the cache while all rows look. */
static void
attend_head(void *cookie, size_t head, size_t thread)
{
    const struct attention *a = cookie;
    size_t stride = a->scratch->scores_stride;
    float *scores = a->scratch->scores + thread * BLOCK_QUERIES * stride;

    for (size_t m = 0, end; m < a->n_rows; m = end) {
        size_t at = m * a->d + head * a->e;

        end = group_end(a->rows, m, a->n_rows);
        if (end < a->n_rows)
            announce(keys_of(a->shape, a->rows[end].own, a->layer, head, a->e));
        attend_group(a->shape, a->e, a->d, a->layer, head, scores, stride, a->q + at, a->mixed + at,
            a->rows + m, end - m);
    }
}

void
block_attend(const struct kv_shape *shape, size_t n_heads, size_t d, size_t layer,
    struct block_scratch *scratch, const float *q, float *mixed, const struct block_row *rows,
    size_t n_rows)
{
    struct attention work = {.shape = shape,
        .e = d / n_heads,
        .d = d,
        .layer = layer,
        .scratch = scratch,
        .q = q,
        .mixed = mixed,
        .rows = rows,
        .n_rows = n_rows};

    scratch->soon.n = 0; /* too late to fetch the rest ahead */
    crew_run(scratch->crew, n_heads, attend_head, &work);
}

/* ---- the block ---- */

struct rotation {
    const struct block_size *size;
    const struct kv_shape *shape;
    const struct rope *rope;
    size_t layer;
    const struct block_scratch *scratch;
    const struct block_row *rows;
    size_t n_rows;
    bool has_queries;
};

/* Rotate keys and queries of some rows, and put keys and values away. */
static void
rotate_part(void *cookie, size_t part, size_t thread)
{
    const struct rotation *r = cookie;
    const struct block_scratch *s = r->scratch;
    size_t d = r->size->d, h = r->size->n_heads, e = d / h, first = part * ROWS_PER_PART;
    size_t n = rows_of_part(r->n_rows, part);
    float scale = 1.0f / sqrtf((float)e);

    (void)thread;
    for (size_t m = first; m < first + n; m++) {
        const float *cosine = r->rope->cosine + r->rows[m].position * r->rope->half;
        const float *sine = r->rope->sine + r->rows[m].position * r->rope->half;

        kernels_rotate(s->k + m * d, cosine, sine, h, e, 1.0f);
        if (r->has_queries)
            kernels_rotate(s->q + m * d, cosine, sine, h, e, scale);
    }
    block_store(r->shape, h, d, r->layer, s->k + first * d, s->v + first * d, r->rows + first, n);
}

struct gating {
    const struct block_scratch *scratch;
    size_t n_rows, ff;
};

static void
gate_part(void *cookie, size_t part, size_t thread)
{
    const struct gating *g = cookie;
    size_t at = part * ROWS_PER_PART * g->ff;

    (void)thread;
    kernels_silu_mul(
        g->scratch->gate + at, g->scratch->up + at, rows_of_part(g->n_rows, part) * g->ff);
}

void
block_forward(const struct block_weights *w, const struct block_size *size,
    const struct kv_shape *shape, const struct rope *rope, size_t layer,
    struct block_scratch *scratch, const struct block_row *rows, size_t n_rows,
    bool is_only_remembered, size_t next_heads)
{
    const struct attention_weights *a = &w->attention;
    struct block_scratch *s = scratch;
    struct block_product kvq[] = {{s->k, &a->k, false}, {s->v, &a->v, false}, {s->q, &a->q, false}};
    struct block_product gates[] = {{s->gate, &w->w1, false}, {s->up, &w->w3, false}};
    struct rotation rotation = {size, shape, rope, layer, s, rows, n_rows, !is_only_remembered};
    struct gating gating = {s, n_rows, size->ff};
    size_t d = size->d, n_parts = parts_of_rows(n_rows);

    block_rms(s->crew, s->normed, s->x, w->norm1, n_rows, d);
    block_products(s, s->normed, n_rows, kvq, is_only_remembered ? 2 : 3);
    crew_run(s->crew, n_parts, rotate_part, &rotation);
    if (is_only_remembered)
        return;
    block_attend(shape, size->n_heads, d, layer, s, s->q, s->mixed, rows, n_rows);
    if (next_heads > 0)
        block_expect(shape, next_heads, d, layer + 1, s, rows, n_rows);
    block_linear(s, s->x, s->mixed, n_rows, &a->out, true);

    block_rms(s->crew, s->normed, s->x, w->norm2, n_rows, d);
    block_products(s, s->normed, n_rows, gates, 2);
    crew_run(s->crew, n_parts, gate_part, &gating);
    block_linear(s, s->x, s->gate, n_rows, &w->w2, true);
}

bool
block_tick(const struct block_watch *watch)
{
    if (watch->ticks != NULL)
        atomic_fetch_add_explicit(watch->ticks, 1, memory_order_relaxed);
    return watch->stop != NULL && atomic_load_explicit(watch->stop, memory_order_relaxed);
}
