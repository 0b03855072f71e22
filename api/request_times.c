/*
 * request_times.c - The two lists of times of a series: written out, or by a generator.
 *
 * A generator adds its interval to the wall clock it starts from; the offset stays. What it
 * leaves out comes from the candles, the other list or pred_len. Where those are faulty
 * themselves, nothing more is reported here: the cause has been named.
 */
#include "api/request_internal.h"

#include <stdlib.h>
#include <string.h>

#define INTERVAL_PATTERN "^[1-9][0-9]{0,4}(s|min|h|d|w)$"

enum { G_START, G_INTERVAL, G_CALENDAR, G_COUNT, G_MEMBERS };
static const char *const generator_names[G_MEMBERS] = {"start", "interval", "calendar", "count"};

static const char *const calendar_names[] = {"all", "weekdays"};

static bool
read_time(struct reader *r, const cJSON *item, const struct path *at, struct task_time *time)
{
    enum times_fault fault;
    const char *reason = "";

    if (cJSON_IsString(item)) {
        fault = times_parse(item->valuestring, strlen(item->valuestring), time, &reason);
    } else if (cJSON_IsNumber(item)) {
        fault = times_from_epoch(item->valuedouble, time);
    } else {
        if (cJSON_IsBool(item))
            fault_bool_as_time(r, at, item);
        else
            fault_type(r, at, WANTED_TIME, item);
        return false;
    }
    if (fault == TIMES_FORMAT)
        fault_time(r, at, reason, item);
    else if (fault == TIMES_RANGE)
        fault_value(r, at, "range", item, "the year must be 1900 to 2261");
    return fault == TIMES_OK;
}

static bool
allocate(struct reader *r, size_t n, struct times *times)
{
    if ((times->list = malloc(n * sizeof(*times->list))) == NULL) {
        r->out_of_memory = true;
        return false;
    }
    times->n = n;
    return true;
}

static void
forget(struct times *times)
{
    free(times->list);
    times->list = NULL;
}

static void
read_list(
    struct reader *r, const cJSON *list, const struct path *at, size_t most, struct times *times)
{
    const cJSON *item;
    bool is_sound = true;
    size_t n, index = 0;

    if (!value_list(r, list, at, 1, most, &n) || !allocate(r, n, times))
        return;
    cJSON_ArrayForEach(item, list)
    {
        struct path item_at = {.parent = at, .index = index};

        is_sound &= read_time(r, item, &item_at, &times->list[index]);
        index++;
    }
    if (!is_sound)
        forget(times);
}

/* The interval and calendar of a generator, over what ${times} already holds. */
static bool
read_rhythm(struct reader *r, const cJSON *const *found, const struct path *at, bool has_default,
    struct times *times)
{
    struct path interval_at = {.parent = at, .name = generator_names[G_INTERVAL]};
    struct path calendar_at = {.parent = at, .name = generator_names[G_CALENDAR]};
    const cJSON *interval = found[G_INTERVAL];
    bool is_sound = true;
    size_t calendar;

    if (!value_is_given(interval)) {
        if (!has_default) {
            fault_required(r, &interval_at);
            is_sound = false;
        }
    } else if (!cJSON_IsString(interval)) {
        fault_type(r, &interval_at, WANTED_TEXT, interval);
        is_sound = false;
    } else if (times_parse_interval(
                   interval->valuestring, strlen(interval->valuestring), &times->interval) == -1) {
        fault_pattern(r, &interval_at, INTERVAL_PATTERN, interval);
        is_sound = false;
    }
    if (value_is_given(found[G_CALENDAR])) {
        if (value_choice(r, found[G_CALENDAR], &calendar_at, calendar_names, 2, &calendar))
            times->weekdays_only = calendar == 1;
        else
            is_sound = false;
    }
    times->is_generator = true;
    return is_sound && times->interval.count > 0; /* 0: that of the other list is faulty */
}

/* ${count} times from ${start} on. */
static void
generate(struct reader *r, const struct path *at, struct task_time start, size_t count,
    struct times *times)
{
    if (!allocate(r, count, times))
        return;
    for (size_t i = 0; i < count; i++) {
        if (i == 0)
            times->list[i] =
                times->weekdays_only ? times_on_weekday(start, times->interval) : start;
        else
            times->list[i] = times_next(times->list[i - 1], times->interval, times->weekdays_only);
        if (!times_is_in_range(&times->list[i])) {
            fault_value(r, at, "range", NULL, "time %zu leaves the years 1900 to 2261", i);
            forget(times);
            return;
        }
    }
}

void
times_read_history(struct reader *r, const cJSON *item, const struct path *at, size_t n_candles,
    struct times *times)
{
    struct path start_at = {.parent = at, .name = generator_names[G_START]};
    struct path count_at = {.parent = at, .name = generator_names[G_COUNT]};
    const cJSON *found[G_MEMBERS];
    int64_t count = (int64_t)n_candles;
    struct task_time start;
    bool is_sound;

    if (!cJSON_IsObject(item)) {
        read_list(r, item, at, TASK_HISTORY_MAX, times);
        return;
    }
    value_members(r, item, at, generator_names, G_MEMBERS, false, found);
    if (found[G_START] == NULL) {
        fault_required(r, &start_at);
        is_sound = false;
    } else {
        is_sound = read_time(r, found[G_START], &start_at, &start);
    }
    is_sound &= read_rhythm(r, found, at, false, times);
    if (value_is_given(found[G_COUNT]))
        is_sound &= value_integer(r, found[G_COUNT], &count_at, 1, TASK_HISTORY_MAX, &count);
    if (is_sound && count > 0)
        generate(r, at, start, (size_t)count, times);
}

void
times_read_horizon(struct reader *r, const cJSON *item, const struct path *at,
    const struct times *history, const cJSON *pred_len, struct times *times)
{
    struct path start_at = {.parent = at, .name = generator_names[G_START]};
    struct path count_at = {.parent = at, .name = generator_names[G_COUNT]};
    const cJSON *found[G_MEMBERS];
    struct task_time start = {0};
    bool is_sound = true;
    int64_t count = 0;

    if (!cJSON_IsObject(item)) {
        read_list(r, item, at, TASK_HORIZON_MAX, times);
        return;
    }
    value_members(r, item, at, generator_names, G_MEMBERS, false, found);
    times->interval = history->interval;
    times->weekdays_only = history->weekdays_only;
    if (value_is_given(found[G_START]))
        is_sound = read_time(r, found[G_START], &start_at, &start);
    is_sound &= read_rhythm(r, found, at, history->is_generator, times);
    if (value_is_given(found[G_COUNT])) {
        is_sound &= value_integer(r, found[G_COUNT], &count_at, 1, TASK_HORIZON_MAX, &count);
    } else if (!value_is_given(pred_len)) {
        fault_required(r, &count_at);
        is_sound = false;
    } else {
        /* reported with the overrides if it is out of range */
        is_sound &= value_peek_integer(pred_len, &count) && count <= TASK_HORIZON_MAX;
    }
    if (!is_sound || count < 1)
        return;
    if (!value_is_given(found[G_START])) {
        if (history->list == NULL)
            return;
        start = times_next(history->list[history->n - 1], times->interval, times->weekdays_only);
    }
    generate(r, at, start, (size_t)count, times);
}
