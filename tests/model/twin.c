/*
 * twin.c - The plain twin: Kronos once more, loop by loop, to check the engine with.
 *
 * Vectors are stored as float32, every sum inside one operation is accumulated in double.
 * So the twin is close to the true value of each operation, and a difference to the
 * engine, or to the Python reference, is their rounding and not the twin's. Two things
 * follow the reference's float32 on purpose, because there the rounding is part of the
 * result: the mean and deviation of a column, and the angles of RoPE.
 *
 * Letters: L input candles, P steps, n tokens in a window, d width, h heads, e = d / h,
 * C = max_context. Shapes stand behind each pointer.
 */
#include "tests/model/twin.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *
twin_alloc(size_t n, size_t size)
{
    void *memory = calloc(n > 0 ? n : 1, size);

    if (memory == NULL) {
        fprintf(stderr, "twin: out of memory\n");
        abort();
    }
    return memory;
}

/* y[n_out] = W x + b */
static void
linear(const struct linear *w, const float *x, float *y)
{
    for (size_t o = 0; o < w->n_out; o++) {
        double sum = 0.0;

        for (size_t i = 0; i < w->n_in; i++)
            sum += (double)w->weight[o * w->n_in + i] * x[i];
        y[o] = (float)(w->bias == NULL ? sum : sum + w->bias[o]);
    }
}

/* y = x / sqrt(mean(x^2) + 1e-5) * w */
static void
rms(const float *weight, const float *x, size_t d, float *y)
{
    double sum = 0.0;

    for (size_t i = 0; i < d; i++)
        sum += (double)x[i] * x[i];
    for (size_t i = 0; i < d; i++)
        y[i] = (float)(x[i] / sqrt(sum / (double)d + 1e-5) * weight[i]);
}

/* Turn one head x[e] by its position: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin). */
static void
rope(float *x, size_t e, size_t position)
{
    for (size_t i = 0; i < e / 2; i++) {
        float frequency = 1.0f / powf(10000.0f, (float)(2 * i) / (float)e);
        float angle = (float)position * frequency;
        double x1 = x[i], x2 = x[i + e / 2];
        double c = cosf(angle), s = sinf(angle);

        x[i] = (float)(x1 * c - x2 * s);
        x[i + e / 2] = (float)(x2 * c + x1 * s);
    }
}

/* out[e] = softmax(q . k_j / sqrt(e)) . v_j over j < n; rows of k and v are ${stride} apart. */
static void
attend(
    const float *q, const float *k, const float *v, size_t n, size_t stride, size_t e, float *out)
{
    double *score = twin_alloc(n, sizeof(*score));
    double largest = -INFINITY, total = 0.0;

    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < e; i++)
            score[j] += (double)q[i] * k[j * stride + i];
        score[j] /= sqrt((double)e);
        if (score[j] > largest)
            largest = score[j];
    }
    for (size_t j = 0; j < n; j++) {
        score[j] = exp(score[j] - largest);
        total += score[j];
    }
    for (size_t i = 0; i < e; i++) {
        double sum = 0.0;

        for (size_t j = 0; j < n; j++)
            sum += score[j] / total * v[j * stride + i];
        out[i] = (float)sum;
    }
    free(score);
}

/* x[n, d] += attn(rms(x)), causal */
static void
add_attention(const struct block_weights *w, float *x, size_t n, size_t d, size_t h)
{
    size_t e = d / h;
    float *normed = twin_alloc(d, sizeof(float));
    float *q = twin_alloc(n * d, sizeof(float));
    float *k = twin_alloc(n * d, sizeof(float));
    float *v = twin_alloc(n * d, sizeof(float));
    float *heads = twin_alloc(d, sizeof(float));
    float *out = twin_alloc(d, sizeof(float));

    for (size_t p = 0; p < n; p++) {
        rms(w->norm1, x + p * d, d, normed);
        linear(&w->attention.q, normed, q + p * d);
        linear(&w->attention.k, normed, k + p * d);
        linear(&w->attention.v, normed, v + p * d);
        for (size_t head = 0; head < h; head++) {
            rope(q + p * d + head * e, e, p);
            rope(k + p * d + head * e, e, p);
        }
    }
    for (size_t p = 0; p < n; p++) {
        for (size_t head = 0; head < h; head++)
            attend(q + p * d + head * e, k + head * e, v + head * e, p + 1, d, e, heads + head * e);
        linear(&w->attention.out, heads, out);
        for (size_t i = 0; i < d; i++)
            x[p * d + i] += out[i];
    }
    free(normed);
    free(q);
    free(k);
    free(v);
    free(heads);
    free(out);
}

/* x[n, d] += w2( silu(w1 x) * w3 x ) of rms(x) */
static void
add_ffn(const struct block_weights *w, float *x, size_t n, size_t d)
{
    size_t ff = w->w1.n_out;
    float *normed = twin_alloc(d, sizeof(float));
    float *gate = twin_alloc(ff, sizeof(float));
    float *up = twin_alloc(ff, sizeof(float));
    float *out = twin_alloc(d, sizeof(float));

    for (size_t p = 0; p < n; p++) {
        rms(w->norm2, x + p * d, d, normed);
        linear(&w->w1, normed, gate);
        linear(&w->w3, normed, up);
        for (size_t i = 0; i < ff; i++)
            gate[i] = (float)(gate[i] / (1.0 + exp(-(double)gate[i])) * up[i]);
        linear(&w->w2, gate, out);
        for (size_t i = 0; i < d; i++)
            x[p * d + i] += out[i];
    }
    free(normed);
    free(gate);
    free(up);
    free(out);
}

static void
blocks(const struct block_weights *w, size_t n_blocks, float *x, size_t n, size_t d, size_t h)
{
    for (size_t i = 0; i < n_blocks; i++) {
        add_attention(&w[i], x, n, d, h);
        add_ffn(&w[i], x, n, d);
    }
}

/*
 * The reference keeps its table column by column, so numpy adds each column as one
 * contiguous axis: up to 7 values in order, up to 128 in eight partial sums, more by
 * halves. Adding row by row instead turns one token of golden mini readme_400_120.
 */
float
twin_pairwise_sum(const float *a, size_t n)
{
    float r[8], sum = 0.0f;
    size_t i, half;

    if (n < 8) {
        for (i = 0; i < n; i++)
            sum += a[i];
        return sum;
    }
    if (n > 128) {
        half = n / 2 - n / 2 % 8;
        return twin_pairwise_sum(a, half) + twin_pairwise_sum(a + half, n - half);
    }
    memcpy(r, a, sizeof(r));
    for (i = 8; i + 8 <= n; i += 8) {
        for (size_t j = 0; j < 8; j++)
            r[j] += a[i + j];
    }
    sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; i++)
        sum += a[i];
    return sum;
}

/* Per column: x <- clip((x - mean) / (std + 1e-5), -5, 5), all in float32. */
void
twin_normalise(const float *history, size_t n, float clip, float mean[MODEL_INPUTS],
    float std[MODEL_INPUTS], float *z)
{
    float *column = twin_alloc(n, sizeof(float));

    for (size_t c = 0; c < MODEL_INPUTS; c++) {
        for (size_t p = 0; p < n; p++)
            column[p] = history[p * MODEL_INPUTS + c];
        mean[c] = twin_pairwise_sum(column, n) / (float)n;
        for (size_t p = 0; p < n; p++) {
            float off = history[p * MODEL_INPUTS + c] - mean[c];

            column[p] = off * off;
        }
        std[c] = sqrtf(twin_pairwise_sum(column, n) / (float)n);
        for (size_t p = 0; p < n; p++) {
            float x = (history[p * MODEL_INPUTS + c] - mean[c]) / (std[c] + 1e-5f);

            z[p * MODEL_INPUTS + c] = x < -clip ? -clip : x > clip ? clip : x;
        }
    }
    free(column);
}

/* z = quant_embed( blocks( embed(x) ) ); bit j = (z_j > 0), s1 first, bit 0 weighs 1 */
void
twin_tokenize(
    const struct model *model, const float *z, size_t n, uint16_t *s1, uint16_t *s2, float *signs)
{
    const struct tokenizer_config *c = &model->tokenizer_config;
    const struct tokenizer_weights *w = &model->tokenizer;
    size_t d = c->d_model, bits = c->s1_bits + c->s2_bits;
    float *x = twin_alloc(n * d, sizeof(float));

    for (size_t p = 0; p < n; p++)
        linear(&w->embed, z + p * MODEL_INPUTS, x + p * d);
    blocks(w->encoder, c->n_enc_layers, x, n, d, c->n_heads);
    for (size_t p = 0; p < n; p++) {
        linear(&w->quant_embed, x + p * d, signs + p * bits);
        s1[p] = s2[p] = 0;
        for (size_t j = 0; j < bits; j++) {
            if (signs[p * bits + j] > 0.0f && j < c->s1_bits)
                s1[p] |= (uint16_t)(1u << j);
            else if (signs[p * bits + j] > 0.0f)
                s2[p] |= (uint16_t)(1u << (j - c->s1_bits));
        }
    }
    free(x);
}

/* bits as +-1/sqrt(s1_bits + s2_bits) -> head( blocks( post_quant_embed(bits) ) ) */
void
twin_decode(
    const struct model *model, const uint16_t *s1, const uint16_t *s2, size_t n, float *rows)
{
    const struct tokenizer_config *c = &model->tokenizer_config;
    const struct tokenizer_weights *w = &model->tokenizer;
    size_t d = c->d_model, n_bits = c->s1_bits + c->s2_bits;
    float one = (float)(1.0 / sqrt((double)n_bits));
    float *bits = twin_alloc(n_bits, sizeof(float));
    float *x = twin_alloc(n * d, sizeof(float));

    for (size_t p = 0; p < n; p++) {
        for (size_t j = 0; j < n_bits; j++) {
            unsigned bit = j < c->s1_bits ? s1[p] >> j & 1u : s2[p] >> (j - c->s1_bits) & 1u;

            bits[j] = bit != 0 ? one : -one;
        }
        linear(&w->post_quant_embed, bits, x + p * d);
    }
    blocks(w->decoder, c->n_dec_layers, x, n, d, c->n_heads);
    for (size_t p = 0; p < n; p++)
        linear(&w->head, x + p * d, rows + p * MODEL_INPUTS);
    free(bits);
    free(x);
}

/* Minute, hour, weekday (Monday = 0), day, month (January = 1) of the client's wall clock. */
static void
time_features(int64_t minutes, size_t feature[TIME_FEATURES])
{
    time_t seconds = (time_t)minutes * 60;
    struct tm tm;

    gmtime_r(&seconds, &tm);
    feature[TIME_MINUTE] = (size_t)tm.tm_min;
    feature[TIME_HOUR] = (size_t)tm.tm_hour;
    feature[TIME_WEEKDAY] = (size_t)(tm.tm_wday + 6) % 7;
    feature[TIME_DAY] = (size_t)tm.tm_mday;
    feature[TIME_MONTH] = (size_t)tm.tm_mon + 1;
}

/* x[d] = fusion( [ E1[s1] sqrt(d), E2[s2] sqrt(d) ] ) + minute + hour + weekday + day + month */
static void
embed_token(const struct model *model, uint16_t s1, uint16_t s2, int64_t minutes, float *x)
{
    const struct transformer_weights *w = &model->transformer;
    size_t d = model->config.d_model, feature[TIME_FEATURES];
    float *pair = twin_alloc(2 * d, sizeof(float));

    for (size_t i = 0; i < d; i++) {
        pair[i] = (float)(w->emb_s1[s1 * d + i] * sqrt((double)d));
        pair[d + i] = (float)(w->emb_s2[s2 * d + i] * sqrt((double)d));
    }
    linear(&w->fusion, pair, x);
    time_features(minutes, feature);
    for (size_t i = 0; i < d; i++) {
        double time = 0.0;

        for (size_t t = 0; t < TIME_FEATURES; t++)
            time += w->time[t][feature[t] * d + i];
        x[i] = (float)(x[i] + time);
    }
    free(pair);
}

/* y[d] = rms_dep( c_last + out(attn) ): query E1[s1], keys and values from all of c[n, d] */
static void
dependency(const struct model *model, size_t s1, const float *c, size_t n, float *y)
{
    const struct transformer_weights *w = &model->transformer;
    size_t d = model->config.d_model, e = d / MODEL_DEP_HEADS;
    float *q = twin_alloc(d, sizeof(float));
    float *k = twin_alloc(n * d, sizeof(float));
    float *v = twin_alloc(n * d, sizeof(float));
    float *heads = twin_alloc(d, sizeof(float));
    float *out = twin_alloc(d, sizeof(float));

    linear(&w->dep.q, w->emb_s1 + s1 * d, q);
    for (size_t p = 0; p < n; p++) {
        linear(&w->dep.k, c + p * d, k + p * d);
        linear(&w->dep.v, c + p * d, v + p * d);
    }
    for (size_t head = 0; head < MODEL_DEP_HEADS; head++)
        attend(q + head * e, k + head * e, v + head * e, n, d, e, heads + head * e);
    linear(&w->dep.out, heads, out);
    for (size_t i = 0; i < d; i++)
        out[i] += c[(n - 1) * d + i];
    rms(w->dep_norm, out, d, y);
    free(q);
    free(k);
    free(v);
    free(heads);
    free(out);
}

size_t
twin_best(const float *logits, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++) {
        if (logits[i] > logits[best])
            best = i;
    }
    return best;
}

void
twin_step(const struct model *model, const uint16_t *s1, const uint16_t *s2, const int64_t *minutes,
    size_t n, int take_s1, float *s1_logits, float *s2_logits)
{
    const struct model_config *config = &model->config;
    const struct transformer_weights *w = &model->transformer;
    size_t d = config->d_model, next;
    float *x = twin_alloc(n * d, sizeof(float));
    float *c = twin_alloc(n * d, sizeof(float));
    float *y = twin_alloc(d, sizeof(float));

    for (size_t p = 0; p < n; p++)
        embed_token(model, s1[p], s2[p], minutes[p], x + p * d);
    blocks(w->blocks, config->n_layers, x, n, d, config->n_heads);
    for (size_t p = 0; p < n; p++)
        rms(w->norm, x + p * d, d, c + p * d);
    linear(&w->head_s1, c + (n - 1) * d, s1_logits);

    next = take_s1 >= 0 ? (size_t)take_s1 : twin_best(s1_logits, (size_t)1 << config->s1_bits);
    dependency(model, next, c, n, y);
    linear(&w->head_s2, y, s2_logits);
    free(x);
    free(c);
    free(y);
}

size_t
twin_block_drop(size_t max_context)
{
    return max_context / 2 < 64 ? max_context / 2 : 64;
}

/* The largest pre-sign value on which ${s1}, ${s2} have the other sign. */
static float
sign_regret(
    const struct model *model, const float *signs, size_t n, const uint16_t *s1, const uint16_t *s2)
{
    size_t s1_bits = model->config.s1_bits, bits = s1_bits + model->config.s2_bits;
    float worst = 0.0f;

    for (size_t p = 0; p < n; p++) {
        for (size_t j = 0; j < bits; j++) {
            unsigned bit = j < s1_bits ? s1[p] >> j & 1u : s2[p] >> (j - s1_bits) & 1u;

            if ((signs[p * bits + j] > 0.0f) != (bit != 0))
                worst = fmaxf(worst, fabsf(signs[p * bits + j]));
        }
    }
    return worst;
}

/* Tokens of all L + P places, and where the window of the next step begins. */
struct path {
    uint16_t *s1, *s2; /* [L + P] */
    size_t length, start;
};

static void
move_window(struct path *path, const struct twin_request *r)
{
    size_t overflow = r->n_past + r->horizon - 1;

    if (r->window == FORECAST_FIT)
        path->start = overflow > r->max_context ? overflow - r->max_context : 0;
    else if (path->length == r->n_past || r->window == FORECAST_EXACT)
        path->start = path->length > r->max_context ? path->length - r->max_context : 0;
    else if (path->length - path->start > r->max_context)
        path->start += twin_block_drop(r->max_context);
}

static void
take_context(const struct model *model, const struct twin_request *r, const float *z,
    struct path *path, struct twin_forecast *f)
{
    size_t L = r->n_past;
    float *signs = twin_alloc(L * (model->config.s1_bits + model->config.s2_bits), sizeof(float));

    twin_tokenize(model, z, L, f->context_s1, f->context_s2, signs);
    if (r->follow_context_s1 != NULL) {
        memcpy(f->context_s1, r->follow_context_s1, L * sizeof(uint16_t));
        memcpy(f->context_s2, r->follow_context_s2, L * sizeof(uint16_t));
        f->context_regret = sign_regret(model, signs, L, f->context_s1, f->context_s2);
    }
    memcpy(path->s1, f->context_s1, L * sizeof(uint16_t));
    memcpy(path->s2, f->context_s2, L * sizeof(uint16_t));
    path->length = L;
    free(signs);
}

/* Step i: a forward pass over the window, then the best pair, or the one to follow. */
static void
take_step(const struct model *model, const struct twin_request *r, size_t i, struct path *path,
    struct twin_forecast *f)
{
    size_t n_s1 = (size_t)1 << model->config.s1_bits, n_s2 = (size_t)1 << model->config.s2_bits;
    float *s1_logits = twin_alloc(n_s1, sizeof(float));
    float *s2_logits = twin_alloc(n_s2, sizeof(float));
    size_t n, best_s1, best_s2, s1, s2;

    move_window(path, r);
    n = path->length - path->start;
    twin_step(model, path->s1 + path->start, path->s2 + path->start, r->minutes + path->start, n,
        r->follow_generated_s1 != NULL ? r->follow_generated_s1[i] : -1, s1_logits, s2_logits);
    s1 = best_s1 = twin_best(s1_logits, n_s1);
    s2 = best_s2 = twin_best(s2_logits, n_s2);
    if (r->follow_generated_s1 != NULL) {
        s1 = r->follow_generated_s1[i];
        s2 = r->follow_generated_s2[i];
        f->generated_regret = fmaxf(f->generated_regret,
            fmaxf(s1_logits[best_s1] - s1_logits[s1], s2_logits[best_s2] - s2_logits[s2]));
    }
    if (i == 0) {
        memcpy(f->first_s1_logits, s1_logits, n_s1 * sizeof(float));
        memcpy(f->first_s2_logits, s2_logits, n_s2 * sizeof(float));
    }
    path->s1[path->length] = f->generated_s1[i] = (uint16_t)s1;
    path->s2[path->length] = f->generated_s2[i] = (uint16_t)s2;
    path->length++;
    free(s1_logits);
    free(s2_logits);
}

struct twin_forecast *
twin_forecast_new(const struct model *model, const struct twin_request *r)
{
    size_t L = r->n_past, P = r->horizon, n;
    struct twin_forecast *f = twin_alloc(1, sizeof(*f));
    struct path path = {
        .s1 = twin_alloc(L + P, sizeof(uint16_t)), .s2 = twin_alloc(L + P, sizeof(uint16_t))};
    float mean[MODEL_INPUTS], std[MODEL_INPUTS];
    float *z = twin_alloc((L + P) * MODEL_INPUTS, sizeof(float));

    f->context_s1 = twin_alloc(L, sizeof(uint16_t));
    f->context_s2 = twin_alloc(L, sizeof(uint16_t));
    f->generated_s1 = twin_alloc(P, sizeof(uint16_t));
    f->generated_s2 = twin_alloc(P, sizeof(uint16_t));
    f->first_s1_logits = twin_alloc((size_t)1 << model->config.s1_bits, sizeof(float));
    f->first_s2_logits = twin_alloc((size_t)1 << model->config.s2_bits, sizeof(float));
    f->forecast = twin_alloc(P * MODEL_INPUTS, sizeof(float));

    twin_normalise(r->history, L, r->clip, mean, std, z);
    take_context(model, r, z, &path, f);
    for (size_t i = 0; i < P; i++)
        take_step(model, r, i, &path, f);

    /* the last min(L + P, C) places, of which the last P rows; back to the history's units */
    n = L + P < r->max_context ? L + P : r->max_context;
    twin_decode(model, path.s1 + L + P - n, path.s2 + L + P - n, n, z);
    for (size_t i = 0; i < P * MODEL_INPUTS; i++) {
        size_t c = i % MODEL_INPUTS;

        f->forecast[i] = z[(n - P) * MODEL_INPUTS + i] * (std[c] + 1e-5f) + mean[c];
    }
    free(path.s1);
    free(path.s2);
    free(z);
    return f;
}

void
twin_forecast_free(struct twin_forecast *f)
{
    if (f == NULL)
        return;
    free(f->context_s1);
    free(f->context_s2);
    free(f->generated_s1);
    free(f->generated_s2);
    free(f->first_s1_logits);
    free(f->first_s2_logits);
    free(f->forecast);
    free(f);
}
