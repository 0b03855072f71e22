/*
 * event_candles.c - The candles of one stream: which are known, and which were shown.
 *
 * An attempt that was given back is counted again under the same number; its candles are the same
 * numbers, so what was shown of it stays shown.
 */
#include "api/event_candles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/event_text.h"
#include "common/document/task_document.h"
#include "common/little_endian.h"
#include "common/queue/queue.h"

int
event_candles_init(
    struct event_candles *c, const char *task_id, const struct task_about *about, struct error *err)
{
    c->task_id = task_id;
    c->total = about->n_horizon < TASK_HORIZON_MAX ? about->n_horizon : TASK_HORIZON_MAX;
    if (about->series_id != NULL && (c->series_id = strdup(about->series_id)) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    return 0;
}

void
event_candles_clear(struct event_candles *c)
{
    free(c->series_id);
    free(c->rows);
    free(c->times);
    *c = (struct event_candles){0};
}

/* A number of at most nine digits up to ${end}; where it ends, or NULL. */
static const char *
read_number(const char *p, char end, uint32_t *value)
{
    size_t digits = strspn(p, "0123456789");

    if (digits < 1 || digits > 9 || p[digits] != end)
        return NULL;
    *value = (uint32_t)strtoul(p, NULL, 10);
    return p + digits;
}

void
event_candles_seen(struct event_candles *c, const char *last_event_id)
{
    uint32_t attempt, step;
    const char *p = last_event_id;

    if (p == NULL || (p = read_number(p, '-', &attempt)) == NULL ||
        read_number(p + 1, '\0', &step) == NULL)
        return;
    c->seen_attempt = attempt;
    c->seen_step = step;
}

static void
set_attempt(struct event_candles *c, uint32_t attempt)
{
    if (attempt == c->attempt)
        return;
    c->attempt = attempt;
    c->n_shown = attempt == c->seen_attempt ? c->seen_step : 0;
}

void
event_candles_run(struct event_candles *c, uint32_t attempt, uint64_t fence)
{
    set_attempt(c, attempt);
    if (fence == c->fence)
        return;
    c->fence = fence;
    c->n = 0;
}

static int
make_room(struct event_candles *c)
{
    if (c->rows == NULL)
        c->rows = calloc(c->total, TASK_FIELDS * sizeof(*c->rows));
    return c->rows != NULL ? 0 : -1;
}

int
event_candles_add(struct event_candles *c, uint32_t first, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;

    if (n == 0)
        return 0;
    if (first > c->n || first > c->total || n > c->total - first || make_room(c) == -1)
        return -1;
    for (size_t i = 0; i < n * TASK_FIELDS; i++)
        c->rows[first * TASK_FIELDS + i] = le_get_float(at + i * sizeof(float));
    if (first + n > c->n)
        c->n = first + (uint32_t)n;
    return 0;
}

int
event_candles_times(struct event_candles *c, const struct task_time *times, size_t n)
{
    if (c->times != NULL)
        return 0;
    if (n != c->total || n == 0 || (c->times = calloc(n, sizeof(*times))) == NULL)
        return -1;
    memcpy(c->times, times, n * sizeof(*times));
    return 0;
}

int
event_candles_end(struct event_candles *c, const struct result *result, uint32_t attempt)
{
    set_attempt(c, attempt);
    if (event_candles_times(c, result->times, result->n_horizon) == -1 || make_room(c) == -1)
        return -1;
    memcpy(c->rows, result_candles(result), c->total * TASK_FIELDS * sizeof(*c->rows));
    c->n = c->total;
    return 0;
}

int
event_candles_show(struct event_candles *c, struct evbuffer *out)
{
    if (c->times == NULL || c->rows == NULL)
        return 0;
    for (; c->n_shown < c->n; c->n_shown++) {
        struct task_candle candle = {
            .task_id = c->task_id,
            .series_id = c->series_id,
            .step = c->n_shown + 1,
            .total = c->total,
            .time = &c->times[c->n_shown],
            .values = c->rows + c->n_shown * TASK_FIELDS,
        };
        struct json_out data;
        char id[32];

        json_out_init(&data);
        task_candle_write(&candle, &data);
        snprintf(id, sizeof(id), "%u-%u", (unsigned)c->attempt, (unsigned)candle.step);
        if (event_text_add(out, "candle", id, &data) == -1)
            return -1;
    }
    return 0;
}
