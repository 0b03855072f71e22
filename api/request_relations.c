/*
 * request_relations.c - What must hold between the parts of one series.
 *
 * Judged only once every part is sound, and only the first failure is reported: the ones
 * after it would be its consequences. The texts are those of the FastAPI service, which had
 * one form for a single series and a shorter one, with the series' name, in a batch.
 */
#include "api/request_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

#define NAME_SHOWN_MAX 64 /* bytes of a series_id in a sentence */

/* "[id] " before the text in a batch, "" else. */
static void
prefix(const struct series *series, char *text, size_t size)
{
    size_t len;

    text[0] = '\0';
    if (!series->is_batch_item || series->series_id == NULL)
        return;
    len = utf8_cut(series->series_id, strlen(series->series_id), NAME_SHOWN_MAX);
    snprintf(text, size, "[%.*s] ", (int)len, series->series_id);
}

static bool
judge_lengths(struct reader *r, const struct series *series, const struct path *at)
{
    char name[NAME_SHOWN_MAX + 8], message[256], detail[128];

    if (series->candles.n == series->history.n)
        return true;
    prefix(series, name, sizeof(name));
    snprintf(message, sizeof(message),
        "%scandles and timestamps length mismatch: %zu candles but %zu timestamps", name,
        series->candles.n, series->history.n);
    snprintf(detail, sizeof(detail), "%zu candles but %zu timestamps", series->candles.n,
        series->history.n);
    fault_old_text(r, at, "length_mismatch", message, detail);
    return false;
}

static bool
judge_offsets(struct reader *r, const struct series *series, const struct path *at)
{
    const struct times *lists[] = {&series->history, &series->horizon};
    static const char *const names[] = {"timestamps", "prediction_timestamps"};
    bool first_has = series->history.list[0].offset_minutes != TASK_NO_OFFSET;

    for (int l = 0; l < 2; l++) {
        for (size_t i = 0; i < lists[l]->n; i++) {
            struct path list_at = {.parent = at, .name = names[l]};
            struct path time_at = {.parent = &list_at, .index = i};

            if ((lists[l]->list[i].offset_minutes != TASK_NO_OFFSET) == first_has)
                continue;
            fault_value(r, &time_at, "tz_mixed", NULL,
                "all times have an offset from UTC or none has: timestamps[0] has %s, %s[%zu] "
                "has %s",
                first_has ? "one" : "none", names[l], i, first_has ? "none" : "one");
            return false;
        }
    }
    return true;
}

/* ${element}: how the old text names one time of the list. */
static bool
judge_ascending(struct reader *r, const struct series *series, const struct times *times,
    const struct path *list_at, const char *element)
{
    for (size_t i = 1; i < times->n; i++) {
        struct path time_at = {.parent = list_at, .index = i};
        char before[TASK_TIME_TEXT_MAX], after[TASK_TIME_TEXT_MAX], name[NAME_SHOWN_MAX + 8];
        char message[320], detail[128];

        if (task_time_instant_us(&times->list[i - 1]) < task_time_instant_us(&times->list[i]))
            continue;
        task_time_format(&times->list[i - 1], ' ', before);
        task_time_format(&times->list[i], ' ', after);
        if (series->is_batch_item) {
            prefix(series, name, sizeof(name));
            snprintf(message, sizeof(message), "%s%s must be in ascending order at index %zu", name,
                list_at->name, i);
        } else {
            snprintf(message, sizeof(message),
                "%s must be in ascending order: %s[%zu] = %s >= %s[%zu] = %s", list_at->name,
                element, i - 1, before, element, i, after);
        }
        snprintf(detail, sizeof(detail), "must be after %s, is %s", before, after);
        fault_old_text(r, &time_at, "not_ascending", message, detail);
        return false;
    }
    return true;
}

static bool
judge_start(struct reader *r, const struct series *series, const struct path *list_at)
{
    const struct task_time *last = &series->history.list[series->history.n - 1];
    const struct task_time *first = &series->horizon.list[0];
    struct path time_at = {.parent = list_at, .index = 0};
    char last_text[TASK_TIME_TEXT_MAX], first_text[TASK_TIME_TEXT_MAX], name[NAME_SHOWN_MAX + 8];
    char message[320], detail[128];

    if (task_time_instant_us(last) < task_time_instant_us(first))
        return true;
    task_time_format(last, ' ', last_text);
    task_time_format(first, ' ', first_text);
    if (series->is_batch_item) {
        prefix(series, name, sizeof(name));
        snprintf(message, sizeof(message), "%sprediction_timestamps must be after input timestamps",
            name);
    } else {
        snprintf(message, sizeof(message),
            "prediction_timestamps must be after input timestamps: last input timestamp = %s, "
            "first prediction timestamp = %s",
            last_text, first_text);
    }
    snprintf(detail, sizeof(detail), "must be after the last of timestamps %s, is %s", last_text,
        first_text);
    fault_old_text(r, &time_at, "before_input_end", message, detail);
    return false;
}

void
series_judge(struct reader *r, const struct series *series, const struct path *at, uint32_t context)
{
    struct path history_at = {.parent = at, .name = "timestamps"};
    struct path horizon_at = {.parent = at, .name = "prediction_timestamps"};
    struct path overrides_at = {.parent = at, .name = "overrides"};
    struct path pred_len_at = {.parent = &overrides_at, .name = "pred_len"};

    if (!judge_lengths(r, series, at) || !judge_offsets(r, series, at) ||
        !judge_ascending(r, series, &series->history, &history_at, "timestamp") ||
        !judge_ascending(r, series, &series->horizon, &horizon_at, "prediction_timestamps") ||
        !judge_start(r, series, &horizon_at))
        return;
    if (series->overrides.has_pred_len && series->overrides.pred_len != series->horizon.n)
        fault_value(r, &pred_len_at, "pred_len_mismatch", NULL,
            "pred_len is %u but there are %zu prediction timestamps",
            (unsigned)series->overrides.pred_len, series->horizon.n);
    else if (context > 0 && series->horizon.n > context)
        fault_value(r, &horizon_at, "exceeds_context", NULL,
            "%zu prediction timestamps are more than the model's context of %u", series->horizon.n,
            (unsigned)context);
}
