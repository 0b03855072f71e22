/*
 * golden.c - What the Python reference returned, and how close is close.
 *
 * The files are ours, so this reader is strict and short: anything unexpected ends
 * the program.
 */
#include "tests/model/golden.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void *
golden_alloc(size_t n, size_t size)
{
    void *memory = calloc(n > 0 ? n : 1, size);

    if (memory == NULL)
        die("golden: out of memory");
    return memory;
}

static char *
read_text(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text;
    long size;

    if (f == NULL)
        die("golden: no %s; run the tests from the root of the project", path);
    if (fseek(f, 0, SEEK_END) == -1 || (size = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) == -1)
        die("golden: %s cannot be read", path);
    text = golden_alloc((size_t)size + 1, 1);
    if (fread(text, 1, (size_t)size, f) != (size_t)size)
        die("golden: %s cannot be read", path);
    fclose(f);
    return text;
}

static const cJSON *
member(const cJSON *object, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

    if (value == NULL)
        die("golden: %s is missing", name);
    return value;
}

static size_t
count(const cJSON *array)
{
    return (size_t)cJSON_GetArraySize(array);
}

static uint16_t *
read_tokens(const cJSON *array, size_t n)
{
    uint16_t *tokens = golden_alloc(n, sizeof(*tokens)), *next = tokens;
    const cJSON *item;

    if (count(array) != n)
        die("golden: %zu tokens, wanted %zu", count(array), n);
    cJSON_ArrayForEach(item, array) *next++ = (uint16_t)item->valueint;
    return tokens;
}

static float *
read_floats(const cJSON *array, size_t n)
{
    float *values = golden_alloc(n, sizeof(*values)), *next = values;
    const cJSON *item;

    if (count(array) != n)
        die("golden: %zu numbers, wanted %zu", count(array), n);
    cJSON_ArrayForEach(item, array) *next++ = (float)item->valuedouble;
    return values;
}

/* Rows of 6, or of 4 without volume and amount, which are 0 then. */
static float *
read_rows(const cJSON *array, size_t n)
{
    float *rows = golden_alloc(n * MODEL_INPUTS, sizeof(*rows)), *row = rows;
    const cJSON *item, *value;

    if (count(array) != n)
        die("golden: %zu rows, wanted %zu", count(array), n);
    cJSON_ArrayForEach(item, array)
    {
        float *cell = row;

        if (count(item) != 4 && count(item) != MODEL_INPUTS)
            die("golden: a row of %zu columns", count(item));
        cJSON_ArrayForEach(value, item) *cell++ = (float)value->valuedouble;
        row += MODEL_INPUTS;
    }
    return rows;
}

static void
read_minutes(const cJSON *array, size_t n, int64_t *minutes)
{
    const cJSON *item;

    if (count(array) != n)
        die("golden: %zu timestamps, wanted %zu", count(array), n);
    cJSON_ArrayForEach(item, array)
    {
        struct tm tm = {0};

        if (strptime(item->valuestring, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
            die("golden: timestamp %s", item->valuestring);
        *minutes++ = (int64_t)timegm(&tm) / 60;
    }
}

static void
read_case(const cJSON *json, struct golden_case *c)
{
    const cJSON *expected = member(json, "expected");
    const cJSON *logits = cJSON_GetObjectItemCaseSensitive(expected, "first_s1_logits");

    c->name = strdup(member(json, "name")->valuestring);
    c->max_context = (size_t)member(json, "max_context")->valueint;
    c->horizon = (size_t)member(json, "pred_len")->valueint;
    c->samples = (size_t)member(json, "sample_count")->valueint;
    c->n_past = count(member(json, "candles"));
    c->history = read_rows(member(json, "candles"), c->n_past);
    c->minutes = golden_alloc(c->n_past + c->horizon, sizeof(*c->minutes));
    read_minutes(member(json, "timestamps"), c->n_past, c->minutes);
    read_minutes(member(json, "prediction_timestamps"), c->horizon, c->minutes + c->n_past);
    c->context_s1 = read_tokens(member(expected, "context_s1"), c->n_past);
    c->context_s2 = read_tokens(member(expected, "context_s2"), c->n_past);
    c->generated_s1 = read_tokens(member(expected, "generated_s1"), c->horizon);
    c->generated_s2 = read_tokens(member(expected, "generated_s2"), c->horizon);
    c->forecast = read_rows(member(expected, "forecast"), c->horizon);
    if (logits != NULL) {
        c->n_s1_logits = count(logits);
        c->first_s1_logits = read_floats(logits, c->n_s1_logits);
        logits = member(expected, "first_s2_logits");
        c->n_s2_logits = count(logits);
        c->first_s2_logits = read_floats(logits, c->n_s2_logits);
    }
}

struct golden *
golden_open(const char *name)
{
    struct golden *golden = golden_alloc(1, sizeof(*golden));
    const cJSON *item;
    char path[256], *text;
    cJSON *root;

    snprintf(path, sizeof(path), "tests/data/golden/%s.json", name);
    text = read_text(path);
    if ((root = cJSON_Parse(text)) == NULL || !cJSON_IsArray(root))
        die("golden: %s is not a JSON list", path);
    golden->cases = golden_alloc(count(root), sizeof(*golden->cases));
    cJSON_ArrayForEach(item, root) read_case(item, &golden->cases[golden->n_cases++]);
    cJSON_Delete(root);
    free(text);
    return golden;
}

void
golden_close(struct golden *golden)
{
    for (size_t i = 0; i < golden->n_cases; i++) {
        struct golden_case *c = &golden->cases[i];

        free(c->name);
        free(c->history);
        free(c->minutes);
        free(c->context_s1);
        free(c->context_s2);
        free(c->generated_s1);
        free(c->generated_s2);
        free(c->forecast);
        free(c->first_s1_logits);
        free(c->first_s2_logits);
    }
    free(golden->cases);
    free(golden);
}

struct model *
golden_model(const char *name)
{
    const char *root = getenv("KRONOSQ_TEST_MODELS");
    char model_dir[1024], tokenizer_dir[1024];
    struct model *model;
    struct error err;

    if (root == NULL || root[0] == '\0')
        root = "build/test-models";
    snprintf(model_dir, sizeof(model_dir), "%s/%s/model", root, name);
    snprintf(tokenizer_dir, sizeof(tokenizer_dir), "%s/%s/tokenizer", root, name);
    if ((model = model_open(model_dir, tokenizer_dir, NULL, &err)) == NULL)
        die("golden: %s\nTest models are written by: scripts/test-models %.*s", err.text,
            (int)strcspn(name, "-"), name);
    return model;
}

bool
golden_is_full(void)
{
    const char *full = getenv("KRONOSQ_FULL");

    return full != NULL && strcmp(full, "1") == 0;
}

static void
widen_range(
    const float *rows, size_t n, size_t column, float *smallest, float *largest, float *magnitude)
{
    for (size_t i = 0; i < n; i++) {
        float x = rows[i * MODEL_INPUTS + column];

        *smallest = fminf(*smallest, x);
        *largest = fmaxf(*largest, x);
        *magnitude = fmaxf(*magnitude, fabsf(x));
    }
}

float
golden_tolerance(
    const float *history, size_t n_past, const float *expected, size_t horizon, size_t column)
{
    float smallest = INFINITY, largest = -INFINITY, magnitude = 0.0f, past_range;

    widen_range(history, n_past, column, &smallest, &largest, &magnitude);
    past_range = largest - smallest;
    widen_range(expected, horizon, column, &smallest, &largest, &magnitude);
    if (!(past_range > 0.0f))
        return GOLDEN_COLUMN * magnitude;
    return fmaxf(GOLDEN_COLUMN * (largest - smallest), 4.0f * FLT_EPSILON * magnitude);
}

bool
golden_compare_forecast(const char *what, const float *history, size_t n_past,
    const float *expected, const float *found, size_t horizon)
{
    for (size_t c = 0; c < MODEL_INPUTS; c++) {
        float tolerance = golden_tolerance(history, n_past, expected, horizon, c);

        for (size_t i = 0; i < horizon; i++) {
            float want = expected[i * MODEL_INPUTS + c], got = found[i * MODEL_INPUTS + c];

            if (!(fabsf(got - want) <= tolerance)) {
                fprintf(stderr, "%s: row %zu column %zu is %.9g, wanted %.9g +- %.3g\n", what, i, c,
                    (double)got, (double)want, (double)tolerance);
                return false;
            }
        }
    }
    return true;
}

bool
golden_compare_logits(const char *what, const float *expected, const float *found, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(found[i] - expected[i]) <= GOLDEN_LOGIT)) {
            fprintf(stderr, "%s: logit %zu is %.9g, wanted %.9g +- %.3g\n", what, i,
                (double)found[i], (double)expected[i], (double)GOLDEN_LOGIT);
            return false;
        }
    }
    return true;
}

size_t
golden_first_difference(const uint16_t *a, const uint16_t *b, size_t n)
{
    size_t i = 0;

    while (i < n && a[i] == b[i])
        i++;
    return i;
}
