/*
 * request_batch.c - A batch: many series, and one rest that holds for all of them.
 *
 * All items are judged before one of them becomes a task. The stored form knows members only,
 * so what a request says once (metadata, warnings) is given to each of them.
 */
#include "api/request_internal.h"

#include <stdlib.h>
#include <string.h>

enum { ITEMS, OVERRIDES, REST, N_MEMBERS = REST + REST_MEMBERS };
static const char *const own_names[REST] = {"items", "overrides"};

struct batch {
    size_t n;
    struct series *series;     /* [n] */
    struct overrides defaults; /* the batch's own over the server's */
    struct task_output output;
};

static void
read_defaults(struct reader *r, const cJSON *item, struct overrides *defaults)
{
    struct path at = {.name = own_names[OVERRIDES]};

    if (!value_is_given(item))
        return;
    overrides_read(r, item, &at, defaults);
    if (defaults->params.top_k > 0)
        defaults->has_top_p = false; /* that it is ignored was said; the items need not repeat it */
}

/* All items; ${out}'s series take their warnings. */
static void
read_items(struct reader *r, const cJSON *list, const cJSON *pred_len, struct batch *batch,
    struct request *out)
{
    struct path items_at = {.name = own_names[ITEMS]};
    const cJSON *item;
    size_t i = 0;

    if (list == NULL) {
        fault_required(r, &items_at);
        return;
    }
    if (!value_list(r, list, &items_at, 1, REQUEST_BATCH_SERIES_MAX, &batch->n))
        return;
    out->series = calloc(batch->n, sizeof(*out->series));
    batch->series = calloc(batch->n, sizeof(*batch->series));
    if (out->series == NULL || batch->series == NULL) {
        r->out_of_memory = true;
        return;
    }
    out->n_series = batch->n;
    cJSON_ArrayForEach(item, list)
    {
        struct path item_at = {.parent = &items_at, .index = i};
        struct series *series = &batch->series[i];
        const cJSON *found[SERIES_MEMBERS];

        r->about = &out->series[i++].about;
        *series = (struct series){
            .is_batch_item = true, .pred_len = pred_len, .overrides = batch->defaults};
        if (!cJSON_IsObject(item)) {
            fault_type(r, &item_at, WANTED_OBJECT, item);
            continue;
        }
        value_members(r, item, &item_at, request_series_names, SERIES_MEMBERS, false, found);
        series_read(r, found, &item_at, series);
    }
}

/* The first relation of each series that fails. */
static void
judge_items(struct reader *r, const struct batch *batch, uint32_t context)
{
    struct path items_at = {.name = own_names[ITEMS]};

    for (size_t i = 0; i < batch->n; i++) {
        struct path item_at = {.parent = &items_at, .index = i};

        series_judge(r, &batch->series[i], &item_at, context);
    }
}

static void
judge_totals(struct reader *r, const struct batch *batch, uint64_t *path_values)
{
    struct path items_at = {.name = own_names[ITEMS]};
    uint64_t samples = 0;

    *path_values = 0;
    for (size_t i = 0; i < batch->n; i++) {
        const struct series *series = &batch->series[i];

        samples += series->overrides.params.sample_count;
        *path_values += (uint64_t)series->overrides.params.sample_count * series->horizon.n;
    }
    if (samples > REQUEST_BATCH_SAMPLES_MAX)
        fault_value(r, &items_at, "too_many_values", NULL,
            "sample_count of all items is %llu together, more than %d", (unsigned long long)samples,
            REQUEST_BATCH_SAMPLES_MAX);
}

/* What was said once, for every member. */
static bool
share(const struct task_about *from, struct task_about *to)
{
    for (uint32_t i = 0; i < from->n_warnings; i++)
        task_about_warn(
            to, from->warnings[i].code, from->warnings[i].pointer, "%s", from->warnings[i].detail);
    for (uint32_t i = 0; i < from->n_metadata; i++) {
        struct task_metadata *slot = &to->metadata[to->n_metadata++];

        slot->name = strdup(from->metadata[i].name);
        slot->value = strdup(from->metadata[i].value);
        if (slot->name == NULL || slot->value == NULL)
            return false; /* task_about_clear() frees what there is */
    }
    return true;
}

static void
make_tasks(
    struct reader *r, struct batch *batch, const struct task_about *common, struct request *out)
{
    for (size_t i = 0; i < batch->n; i++) {
        if (series_task(r, &batch->series[i], &batch->output, &out->series[i]) == -1 ||
            !share(common, &out->series[i].about)) {
            r->out_of_memory = true;
            return;
        }
    }
}

void
batch_read(struct reader *r, const cJSON *tree, struct request *out)
{
    struct batch batch = {.defaults = request_overrides(r->rules)};
    struct task_about common = {0};
    const char *names[N_MEMBERS];
    const cJSON *found[N_MEMBERS];
    uint64_t path_values;
    uint32_t context = 0;
    bool is_model_known;

    memcpy(names, own_names, sizeof(own_names));
    memcpy(names + REST, request_rest_names, REST_MEMBERS * sizeof(*names));
    r->about = &common;
    value_members(r, tree, NULL, names, N_MEMBERS, false, found);
    read_defaults(r, found[OVERRIDES], &batch.defaults);
    read_items(r, found[ITEMS], overrides_member(found[OVERRIDES], "pred_len"), &batch, out);
    r->about = &common;
    request_read_rest(r, found + REST, out, &batch.output);
    if (request_is_refused(r))
        goto clear;

    is_model_known = r->rules->model_known(r->rules->cookie, out->model, &context);
    judge_items(r, &batch, is_model_known ? context : 0);
    if (request_is_refused(r))
        goto clear;
    judge_totals(r, &batch, &path_values);
    if (!request_is_refused(r))
        request_judge_rest(r, out, &batch.output, path_values, is_model_known);
    if (!request_is_refused(r))
        make_tasks(r, &batch, &common, out);

clear:
    for (size_t i = 0; batch.series != NULL && i < batch.n; i++)
        series_clear(&batch.series[i]);
    free(batch.series);
    task_about_clear(&common);
}
