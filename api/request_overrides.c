/*
 * request_overrides.c - How to forecast: `overrides`, over the server's defaults.
 */
#include "api/request_internal.h"

#include <string.h>

enum { PRED_LEN, TEMPERATURE, TOP_K, TOP_P, SAMPLE_COUNT, SEED, CONTEXT_MODE, N_MEMBERS };
static const char *const names[N_MEMBERS] = {
    "pred_len", "temperature", "top_k", "top_p", "sample_count", "seed", "context_mode"};

const cJSON *
overrides_member(const cJSON *item, const char *name)
{
    return cJSON_IsObject(item) ? cJSON_GetObjectItemCaseSensitive(item, name) : NULL;
}

/* Absent members leave ${value} as it is. */
static bool
read_integer(struct reader *r, const cJSON *const *found, const struct path *parent, int member,
    int64_t least, int64_t most, int64_t *value)
{
    struct path at = {.parent = parent, .name = names[member]};

    return value_is_given(found[member]) &&
           value_integer(r, found[member], &at, least, most, value);
}

static bool
read_number(struct reader *r, const cJSON *const *found, const struct path *parent, int member,
    const struct value_range *range, float *value)
{
    struct path at = {.parent = parent, .name = names[member]};
    double x;

    if (!value_is_given(found[member]) || !value_number(r, found[member], &at, range, &x))
        return false;
    *value = (float)x;
    return true;
}

static void
read_context_mode(
    struct reader *r, const cJSON *item, const struct path *parent, enum task_context_mode *mode)
{
    struct path at = {.parent = parent, .name = names[CONTEXT_MODE]};
    const char *modes[TASK_CONTEXT_MODE_COUNT];
    size_t choice;

    for (int i = 0; i < TASK_CONTEXT_MODE_COUNT; i++)
        modes[i] = task_context_mode_name((enum task_context_mode)i);
    if (value_choice(r, item, &at, modes, TASK_CONTEXT_MODE_COUNT, &choice))
        *mode = (enum task_context_mode)choice;
}

void
overrides_read(
    struct reader *r, const cJSON *item, const struct path *at, struct overrides *overrides)
{
    static const struct value_range temperatures = {.least = 0, .most = TASK_TEMPERATURE_MAX};
    static const struct value_range shares = {
        .least = 0, .most = 1, .is_above = true, .is_binary32 = true};
    struct task_params *params = &overrides->params;
    const cJSON *found[N_MEMBERS];
    int64_t n;

    if (!cJSON_IsObject(item)) {
        fault_type(r, at, WANTED_OBJECT, item);
        return;
    }
    value_members(r, item, at, names, N_MEMBERS, false, found);
    if (read_integer(r, found, at, PRED_LEN, 1, TASK_HORIZON_MAX, &n)) {
        overrides->pred_len = (uint32_t)n;
        overrides->has_pred_len = true;
    }
    (void)read_number(r, found, at, TEMPERATURE, &temperatures, &params->temperature);
    if (read_integer(r, found, at, TOP_K, 0, TASK_TOP_K_MAX, &n))
        params->top_k = (uint32_t)n;
    if (read_number(r, found, at, TOP_P, &shares, &params->top_p))
        overrides->has_top_p = true;
    if (read_integer(r, found, at, SAMPLE_COUNT, 1, TASK_SAMPLES_MAX, &n))
        params->sample_count = (uint32_t)n;
    if (read_integer(r, found, at, SEED, 0, (int64_t)TASK_SEED_MAX, &n)) {
        params->seed = (uint64_t)n;
        overrides->has_seed = true;
    }
    if (value_is_given(found[CONTEXT_MODE]))
        read_context_mode(r, found[CONTEXT_MODE], at, &params->context_mode);

    if (overrides->has_top_p && params->top_p < 1 && params->top_k > 0) {
        struct path top_p_at = {.parent = at, .name = names[TOP_P]};
        char pointer[PATH_TEXT_MAX];

        path_format(&top_p_at, pointer);
        task_about_warn(r->about, "option_ignored", pointer, "top_p is not applied beside top_k");
    }
}
