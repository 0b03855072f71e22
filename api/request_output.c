/*
 * request_output.c - What comes back beside the forecast: `output` and `metadata`.
 */
#include "api/request_internal.h"

#include <stdlib.h>
#include <string.h>

enum { QUANTILES, PATHS, STATS, REPAIR, LAYOUT, STREAM, N_MEMBERS };
static const char *const names[N_MEMBERS] = {
    "quantiles", "paths", "stats", "repair", "layout", "stream"};

static const char *const layout_names[] = {"rows", "columns"};

static void
read_quantiles(
    struct reader *r, const cJSON *list, const struct path *at, struct task_output *output)
{
    static const struct value_range range = {.least = 0.01, .most = 0.99};
    bool is_sound = true;
    const cJSON *item;
    size_t n, i = 0;

    if (!value_list(r, list, at, 0, TASK_QUANTILES_MAX, &n))
        return;
    cJSON_ArrayForEach(item, list)
    {
        struct path item_at = {.parent = at, .index = i};
        double *quantile = &output->quantiles[i];

        if (!value_number(r, item, &item_at, &range, quantile)) {
            is_sound = false;
        } else if (is_sound && i > 0 && *quantile <= quantile[-1]) {
            fault_value(r, &item_at, "not_ascending", item, "must be above %g, is %g", quantile[-1],
                *quantile);
            is_sound = false;
        }
        i++;
    }
    if (is_sound)
        output->n_quantiles = (uint32_t)n;
}

/* true: all; a list of names; false is the same as leaving it out. */
static void
read_stats(struct reader *r, const cJSON *item, const struct path *at, uint32_t *stats)
{
    const char *stat_names[TASK_STAT_COUNT];
    const cJSON *name;
    size_t i = 0, choice;

    if (cJSON_IsBool(item)) {
        *stats = cJSON_IsTrue(item) ? TASK_STAT_ALL : 0;
        return;
    }
    if (!cJSON_IsArray(item)) {
        fault_type(r, at, WANTED_LIST, item);
        return;
    }
    for (int bit = 0; bit < TASK_STAT_COUNT; bit++)
        stat_names[bit] = task_stat_name(UINT32_C(1) << bit);
    cJSON_ArrayForEach(name, item)
    {
        struct path name_at = {.parent = at, .index = i++};

        if (value_choice(r, name, &name_at, stat_names, TASK_STAT_COUNT, &choice))
            *stats |= UINT32_C(1) << choice;
    }
}

static void
read_flag(
    struct reader *r, const cJSON *const *found, const struct path *parent, int member, bool *flag)
{
    struct path at = {.parent = parent, .name = names[member]};

    if (value_is_given(found[member]))
        (void)value_bool(r, found[member], &at, flag);
}

void
output_read(struct reader *r, const cJSON *item, const struct path *at, struct task_output *output)
{
    struct path quantiles_at = {.parent = at, .name = names[QUANTILES]};
    struct path stats_at = {.parent = at, .name = names[STATS]};
    struct path layout_at = {.parent = at, .name = names[LAYOUT]};
    const cJSON *found[N_MEMBERS];
    size_t layout;

    if (!cJSON_IsObject(item)) {
        fault_type(r, at, WANTED_OBJECT, item);
        return;
    }
    value_members(r, item, at, names, N_MEMBERS, true, found);
    if (value_is_given(found[QUANTILES]))
        read_quantiles(r, found[QUANTILES], &quantiles_at, output);
    read_flag(r, found, at, PATHS, &output->paths);
    if (value_is_given(found[STATS]))
        read_stats(r, found[STATS], &stats_at, &output->stats);
    read_flag(r, found, at, REPAIR, &output->repair);
    if (value_is_given(found[LAYOUT]) &&
        value_choice(r, found[LAYOUT], &layout_at, layout_names, 2, &layout))
        output->columns = layout == 1;
    read_flag(r, found, at, STREAM, &output->stream);
}

void
metadata_read(struct reader *r, const cJSON *item, const struct path *at, struct task_about *about)
{
    const cJSON *member;
    size_t bytes = 0, n;

    if (!cJSON_IsObject(item)) {
        fault_type(r, at, WANTED_OBJECT, item);
        return;
    }
    if ((n = (size_t)cJSON_GetArraySize(item)) > TASK_METADATA_MAX) {
        fault_value(
            r, at, "length", NULL, "must have at most %d members, has %zu", TASK_METADATA_MAX, n);
        return;
    }
    cJSON_ArrayForEach(member, item)
    {
        struct path member_at = {.parent = at, .name = member->string};
        size_t name_len = strlen(member->string);
        struct task_metadata *slot = &about->metadata[about->n_metadata];
        const char *value;

        if (name_len < 1 || name_len > TASK_METADATA_NAME_MAX) {
            fault_value(r, &member_at, "length", NULL, "the name must have 1 to %d bytes, has %zu",
                TASK_METADATA_NAME_MAX, name_len);
            continue;
        }
        if (!value_text(r, member, &member_at, 0, TASK_METADATA_VALUE_MAX, &value))
            continue;
        bytes += name_len + strlen(value);
        slot->name = strdup(member->string);
        slot->value = strdup(value);
        about->n_metadata++; /* task_about_clear() frees what there is */
        if (slot->name == NULL || slot->value == NULL)
            r->out_of_memory = true;
    }
    if (bytes > TASK_METADATA_BYTES_MAX)
        fault_value(r, at, "length", NULL,
            "names and values must have at most %d bytes together, have %zu",
            TASK_METADATA_BYTES_MAX, bytes);
}
