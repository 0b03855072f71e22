/*
 * request_fields.c - A tree -> a request: the order of judgement.
 *
 * First the schema, every fault of it in the order of the schema; then the relations of each
 * series; then totals, model and webhook, one fault answers. Only a request that passed all
 * of that becomes tasks. A batch is many series with one such rest; see request_batch.c.
 */
#include "api/request_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MODEL = SERIES_MEMBERS,
    PRIORITY,
    DEADLINE,
    RESULT_TTL,
    WEBHOOK,
    METADATA,
    OUTPUT,
    N_MEMBERS
};
_Static_assert(N_MEMBERS == SERIES_MEMBERS + REST_MEMBERS, "the rest of a request");
static const char *const names[N_MEMBERS] = {
    [SERIES_ID] = "series_id",
    [SERIES_CANDLES] = "candles",
    [SERIES_TIMESTAMPS] = "timestamps",
    [SERIES_PREDICTION] = "prediction_timestamps",
    [SERIES_OVERRIDES] = "overrides",
    [MODEL] = "model",
    [PRIORITY] = "priority",
    [DEADLINE] = "deadline_seconds",
    [RESULT_TTL] = "result_ttl_seconds",
    [WEBHOOK] = "webhook",
    [METADATA] = "metadata",
    [OUTPUT] = "output",
};

#define MODEL_PATTERN "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

#define DEADLINE_LEAST_SECONDS 0.1
#define DEADLINE_MOST_SECONDS  86400
#define TTL_LEAST_SECONDS      60
#define TTL_MOST_SECONDS       604800

static struct path
member_at(int member)
{
    return (struct path){.name = names[member]};
}

static void
read_model(struct reader *r, const cJSON *item, char *model)
{
    struct path at = member_at(MODEL);
    const char *text = r->rules->default_model;
    size_t len;

    if (value_is_given(item)) {
        if (!cJSON_IsString(item)) {
            fault_type(r, &at, WANTED_TEXT, item);
            return;
        }
        text = item->valuestring;
        if (!task_model_name_is_valid(text, strlen(text))) {
            fault_pattern(r, &at, MODEL_PATTERN, item);
            return;
        }
    }
    len = strnlen(text, TASK_MODEL_NAME_MAX);
    memcpy(model, text, len);
    model[len] = '\0';
}

static void
read_priority(struct reader *r, const cJSON *item, enum task_priority *priority)
{
    struct path at = member_at(PRIORITY);
    const char *words[TASK_PRIORITY_COUNT];
    size_t choice;

    for (int i = 0; i < TASK_PRIORITY_COUNT; i++)
        words[i] = task_priority_name((enum task_priority)i);
    *priority = r->rules->highest_priority > TASK_NORMAL ? r->rules->highest_priority : TASK_NORMAL;
    if (value_is_given(item) && value_choice(r, item, &at, words, TASK_PRIORITY_COUNT, &choice))
        *priority = (enum task_priority)choice;
}

static void
read_times_to_live(struct reader *r, const cJSON *const *found, struct request *request)
{
    static const struct value_range deadlines = {
        .least = DEADLINE_LEAST_SECONDS, .most = DEADLINE_MOST_SECONDS};
    struct path deadline_at = member_at(DEADLINE), ttl_at = member_at(RESULT_TTL);
    int64_t ttl_seconds = r->rules->result_ttl_seconds;
    double seconds;

    if (value_is_given(found[DEADLINE]) &&
        value_number(r, found[DEADLINE], &deadline_at, &deadlines, &seconds))
        request->deadline_ms = llround(seconds * 1000);
    if (value_is_given(found[RESULT_TTL]))
        (void)value_integer(
            r, found[RESULT_TTL], &ttl_at, TTL_LEAST_SECONDS, TTL_MOST_SECONDS, &ttl_seconds);
    request->result_ttl_ms = ttl_seconds * 1000;
}

const char *const *const request_series_names = names;
const char *const *const request_rest_names = names + SERIES_MEMBERS;

void
request_read_rest(
    struct reader *r, const cJSON *const *rest, struct request *request, struct task_output *output)
{
    const cJSON *found[N_MEMBERS] = {NULL};

    struct path webhook_at = member_at(WEBHOOK), metadata_at = member_at(METADATA);
    struct path output_at = member_at(OUTPUT);

    memcpy(found + SERIES_MEMBERS, rest, REST_MEMBERS * sizeof(*found));
    read_model(r, found[MODEL], request->model);
    read_priority(r, found[PRIORITY], &request->priority);
    read_times_to_live(r, found, request);
    if (value_is_given(found[WEBHOOK]))
        webhook_read(r, found[WEBHOOK], &webhook_at, &request->webhook);
    if (value_is_given(found[METADATA]))
        metadata_read(r, found[METADATA], &metadata_at, r->about);
    if (value_is_given(found[OUTPUT]))
        output_read(r, found[OUTPUT], &output_at, output);
}

void
request_judge_rest(struct reader *r, const struct request *request,
    const struct task_output *output, uint64_t path_values, bool is_model_known)
{
    struct path output_at = member_at(OUTPUT), webhook_at = member_at(WEBHOOK);
    struct path paths_at = {.parent = &output_at, .name = "paths"};
    struct path model_at = member_at(MODEL);

    if (output->paths && path_values > TASK_PATH_VALUES_MAX)
        fault_value(r, &paths_at, "too_many_values", NULL,
            "paths of %llu steps in all are more than %d", (unsigned long long)path_values,
            TASK_PATH_VALUES_MAX);
    else if (!is_model_known)
        fault_value(r, &model_at, "unknown_model", NULL,
            "there is no model '%s' here, and no worker has registered it", request->model);
    else if (request->webhook.url != NULL)
        webhook_judge(r, &request->webhook, &webhook_at);
}

struct overrides
request_overrides(const struct request_rules *rules)
{
    return (struct overrides){
        .params =
            {
                .temperature = (float)rules->temperature,
                .top_k = rules->top_k,
                .top_p = (float)rules->top_p,
                .sample_count = rules->sample_count,
                .context_mode = TASK_EXACT,
            },
    };
}

bool
request_is_refused(const struct reader *r)
{
    return r->out_of_memory || r->problem->status != 0;
}

static void
read_single(struct reader *r, const cJSON *tree, struct request *out)
{
    struct series series = {.overrides = request_overrides(r->rules)};
    struct task_output output = {0};
    const cJSON *found[N_MEMBERS];
    uint32_t context = 0;
    bool is_model_known;

    if ((out->series = calloc(1, sizeof(*out->series))) == NULL) {
        r->out_of_memory = true;
        return;
    }
    out->n_series = 1;
    r->about = &out->series[0].about;
    value_members(r, tree, NULL, names, N_MEMBERS, false, found);
    series_read(r, found, NULL, &series);
    request_read_rest(r, found + SERIES_MEMBERS, out, &output);
    if (request_is_refused(r))
        goto clear;

    is_model_known = r->rules->model_known(r->rules->cookie, out->model, &context);
    series_judge(r, &series, NULL, is_model_known ? context : 0);
    if (request_is_refused(r))
        goto clear;
    request_judge_rest(r, out, &output,
        (uint64_t)series.overrides.params.sample_count * series.horizon.n, is_model_known);
    if (!request_is_refused(r))
        (void)series_task(r, &series, &output, &out->series[0]);
clear:
    series_clear(&series);
}

void
request_clear(struct request *request)
{
    for (size_t i = 0; i < request->n_series; i++) {
        task_free(request->series[i].task);
        task_about_clear(&request->series[i].about);
    }
    free(request->series);
    free(request->webhook.url);
    *request = (struct request){0};
}

int
request_read_tree(const cJSON *tree, enum request_kind kind, const struct request_rules *rules,
    struct request *out, struct problem *problem)
{
    struct reader r = {.rules = rules, .problem = problem};

    *out = (struct request){0};
    problem_clear(problem);
    if (tree == NULL) {
        fault_required(&r, NULL);
        return -1;
    }
    if (!cJSON_IsObject(tree)) {
        fault_type(&r, NULL, WANTED_OBJECT, tree);
        return -1;
    }
    if (kind == REQUEST_BATCH)
        batch_read(&r, tree, out);
    else
        read_single(&r, tree, out);
    if (!request_is_refused(&r))
        return 0;
    request_clear(out);
    if (r.out_of_memory)
        (void)problem_set(problem, 500, "internal", "out of memory");
    return -1;
}
