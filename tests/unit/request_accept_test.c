/*
 * request_accept_test.c - What becomes of bodies that are accepted: the task, its about, its warnings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>

#include "api/request.h"
#include "api/times.h"
#include "tests/support/request_rules.h"

#define CANDLES                                                                                    \
    "\"candles\":[{\"open\":1.0,\"high\":1.5,\"low\":0.5,\"close\":1.2},"                          \
    "{\"open\":1.2,\"high\":1.6,\"low\":1.1,\"close\":1.4},"                                       \
    "{\"open\":1.4,\"high\":1.9,\"low\":1.3,\"close\":1.7}]"
#define TIMES                                                                                      \
    "\"timestamps\":[\"2025-01-01 09:00:00\",\"2025-01-01 09:05:00\",\"2025-01-01 09:10:00\"]"
#define PREDICTION "\"prediction_timestamps\":[\"2025-01-01 09:15:00\",\"2025-01-01 09:20:00\"]"
#define PLAIN      "{" CANDLES "," TIMES "," PREDICTION

static void
accept_with(const struct request_rules *rules, const char *body, struct request *request)
{
    struct problem p = {0};
    struct error err;

    if (request_read_single(body, strlen(body), rules, request, &p) == -1) {
        cJSON *document = problem_to_json(&p, "r");
        char *text = cJSON_PrintUnformatted(document);

        print_error("%s\nrefused: %s\n", body, text);
        free(text);
        cJSON_Delete(document);
        problem_clear(&p);
        fail();
    }
    assert_int_equal(p.status, 0);
    assert_int_equal(request->n_series, 1);
    assert_int_equal(task_check(request->series[0].task, &err), 0);
}

static void
accept(const char *body, struct request *request)
{
    accept_with(&test_rules, body, request);
}

static void
assert_time(const struct task_time *time, const char *wanted)
{
    char text[TASK_TIME_TEXT_MAX];

    task_time_format(time, 'T', text);
    assert_string_equal(text, wanted);
}

/* Its default pred_len was 120 whatever the timestamps: its own example failed there. */
static void
the_old_guides_example_with_two_steps_and_no_overrides_is_accepted(void **state)
{
    struct request request;
    struct request_series *s;

    (void)state;
    accept(PLAIN "}", &request);
    s = &request.series[0];
    assert_string_equal(request.model, "kronos-small");
    assert_int_equal(request.priority, TASK_NORMAL);
    assert_int_equal(request.deadline_ms, 0);
    assert_int_equal(request.result_ttl_ms, 86400000);
    assert_null(request.webhook.url);
    assert_int_equal(s->task->n_history, 3);
    assert_int_equal(s->task->n_horizon, 2);
    assert_true(s->task->candles[0] == 1.0f);
    assert_true(s->task->candles[TASK_FIELDS + 1] == 1.6f);
    assert_true(s->task->candles[2 * TASK_FIELDS + 3] == 1.7f);
    assert_true(s->task->candles[4] == 0 && s->task->candles[5] == 0);
    assert_int_equal(s->task->history_minutes[0], INT64_C(1735722000) / 60);
    assert_int_equal(s->task->history_minutes[2] - s->task->history_minutes[0], 10);
    assert_time(&s->task->horizon[0], "2025-01-01T09:15:00");
    assert_time(&s->task->horizon[1], "2025-01-01T09:20:00");
    assert_int_equal(s->task->params.sample_count, 1);
    assert_int_equal(s->task->params.top_k, 0);
    assert_true(s->task->params.temperature == 1.0f && s->task->params.top_p == 0.9f);
    assert_int_equal(s->task->params.seed, TEST_SEED);
    assert_int_equal(s->task->params.context_mode, TASK_EXACT);
    assert_null(s->about.series_id);
    assert_int_equal(s->about.n_horizon, 2);
    assert_int_equal(s->about.sample_count, 1);
    assert_int_equal(s->about.n_metadata, 0);
    assert_int_equal(s->about.n_warnings, 0);
    assert_false(s->about.columns);
    request_clear(&request);
}

static void
every_member_of_the_schema_reaches_the_task(void **state)
{
    struct request_rules rules = test_rules;
    struct request request;
    struct request_series *s;

    (void)state;
    rules.webhook_enabled = true;
    accept_with(&rules,
        "{\"series_id\":\"BTC \\u20ac\"," CANDLES "," TIMES "," PREDICTION
        ",\"overrides\":{\"pred_len\":2,\"temperature\":0.5,\"top_k\":7,\"top_p\":1,"
        "\"sample_count\":32,\"seed\":9007199254740991,\"context_mode\":\"block\"},"
        "\"model\":\"kronos-small\",\"priority\":\"urgent\",\"deadline_seconds\":1.5,"
        "\"result_ttl_seconds\":60,"
        "\"webhook\":{\"url\":\"https://a.example/x\",\"events\":[\"task.failed\"],"
        "\"include_result\":true},"
        "\"metadata\":{\"strategy\":\"a1\",\"desk\":\"\"},"
        "\"output\":{\"quantiles\":[0.1,0.5,0.9],\"paths\":true,\"stats\":[\"return\",\"p_up\"],"
        "\"repair\":true,\"layout\":\"columns\",\"stream\":true}}",
        &request);
    s = &request.series[0];
    assert_string_equal(s->about.series_id, "BTC \xE2\x82\xAC");
    assert_int_equal(request.priority, TASK_URGENT);
    assert_int_equal(request.deadline_ms, 1500);
    assert_int_equal(request.result_ttl_ms, 60000);
    assert_string_equal(request.webhook.url, "https://a.example/x");
    assert_int_equal(request.webhook.events, 1u << TASK_FAILED);
    assert_true(request.webhook.include_result);
    assert_true(s->task->params.temperature == 0.5f && s->task->params.top_p == 1.0f);
    assert_int_equal(s->task->params.top_k, 7);
    assert_int_equal(s->task->params.sample_count, 32);
    assert_true(s->task->params.seed == TASK_SEED_MAX);
    assert_int_equal(s->task->params.context_mode, TASK_BLOCK);
    assert_int_equal(s->task->output.n_quantiles, 3);
    assert_true(s->task->output.quantiles[2] == 0.9);
    assert_int_equal(s->task->output.stats, TASK_STAT_RETURN | TASK_STAT_P_UP);
    assert_true(s->task->output.paths && s->task->output.repair && s->task->output.columns &&
                s->task->output.stream);
    assert_int_equal(s->about.n_metadata, 2);
    assert_string_equal(s->about.metadata[0].name, "strategy");
    assert_string_equal(s->about.metadata[0].value, "a1");
    assert_string_equal(s->about.metadata[1].value, "");
    assert_int_equal(s->about.sample_count, 32);
    assert_true(s->about.columns);
    assert_int_equal(s->about.n_warnings, 0);
    request_clear(&request);
}

static void
null_members_count_as_absent(void **state)
{
    struct request request;

    (void)state;
    accept("{\"candles\":[{\"open\":1,\"high\":1,\"low\":1,\"close\":1,\"volume\":null,"
           "\"amount\":null}],\"timestamps\":[0],\"prediction_timestamps\":[60],"
           "\"series_id\":null,\"overrides\":{\"pred_len\":null,\"temperature\":null,"
           "\"top_k\":null,\"top_p\":null,\"sample_count\":null,\"seed\":null,"
           "\"context_mode\":null},\"model\":null,\"priority\":null,\"deadline_seconds\":null,"
           "\"result_ttl_seconds\":null,\"webhook\":null,\"metadata\":null,"
           "\"output\":{\"quantiles\":null,\"paths\":null,\"stats\":null,\"repair\":null,"
           "\"layout\":null,\"stream\":null}}",
        &request);
    assert_int_equal(request.series[0].task->params.seed, TEST_SEED);
    assert_int_equal(request.series[0].about.n_warnings, 0);
    request_clear(&request);
    accept(PLAIN ",\"overrides\":null,\"output\":null}", &request);
    request_clear(&request);
}

static void
numbers_may_be_strings_that_hold_json_numbers(void **state)
{
    struct request request;
    struct task *task;

    (void)state;
    accept("{\"candles\":[{\"open\":\"1.5\",\"high\":\"2e0\",\"low\":\"0.5\",\"close\":\"1\","
           "\"volume\":\"3\"}],\"timestamps\":[\"1735722000\"],"
           "\"prediction_timestamps\":[\"1735722300000\"],"
           "\"overrides\":{\"top_k\":\"5\",\"seed\":\"7.0\",\"sample_count\":2.0},"
           "\"deadline_seconds\":\"30\",\"result_ttl_seconds\":\"60\"}",
        &request);
    task = request.series[0].task;
    assert_true(task->candles[0] == 1.5f && task->candles[1] == 2.0f && task->candles[4] == 3.0f);
    assert_int_equal(task->params.top_k, 5);
    assert_int_equal(task->params.seed, 7);
    assert_int_equal(task->params.sample_count, 2);
    assert_int_equal(request.deadline_ms, 30000);
    assert_int_equal(task->history_minutes[0], INT64_C(1735722000) / 60);
    assert_time(&task->horizon[0], "2025-01-01T09:05:00Z");
    request_clear(&request);
}

static void
instants_are_compared_where_offsets_are_given(void **state)
{
    struct request request;
    struct task *task;

    (void)state;
    /* The wall clock goes back an hour between the second and the third. */
    accept("{" CANDLES ",\"timestamps\":[\"2025-10-26T02:30:00+02:00\",\"2025-10-26 02:55+0200\","
           "\"2025-10-26T02:00:59.9+01:00\"],\"prediction_timestamps\":[\"2025-10-26T02:05+01:00\","
           "\"2025-10-26T01:10:00.123456789Z\"]}",
        &request);
    task = request.series[0].task;
    assert_int_equal(task->history_minutes[1] - task->history_minutes[0], 25);
    assert_int_equal(task->history_minutes[2] - task->history_minutes[0], -30);
    assert_time(&task->horizon[0], "2025-10-26T02:05:00+01:00");
    assert_time(&task->horizon[1], "2025-10-26T01:10:00.123456Z");
    request_clear(&request);
}

static void
columns_and_generators_give_the_task_that_rows_and_lists_give(void **state)
{
    struct request rows, columns;
    struct task *a, *b;

    (void)state;
    accept(
        "{\"candles\":[{\"open\":1.1,\"high\":2,\"low\":1,\"close\":1.5,\"volume\":10,"
        "\"amount\":3},{\"open\":1.2,\"high\":2,\"low\":1,\"close\":1.5,\"amount\":4},"
        "{\"open\":1.3,\"high\":2,\"low\":1,\"close\":1.5,\"volume\":12}],"
        "\"timestamps\":[\"2025-01-03T23:50:00+08:00\",\"2025-01-03T23:55:00+08:00\","
        "\"2025-01-06T00:00:00+08:00\"],"
        "\"prediction_timestamps\":[\"2025-01-06T00:05:00+08:00\",\"2025-01-06T00:10:00+08:00\"]}",
        &rows);
    accept(
        "{\"candles\":{\"open\":[1.1,1.2,1.3],\"high\":[2,2,2],\"low\":[1,1,1],"
        "\"close\":[1.5,1.5,1.5],\"volume\":[10,null,12],\"amount\":[3,4,null]},"
        "\"timestamps\":{\"start\":\"2025-01-03T23:50:00+08:00\",\"interval\":\"5min\","
        "\"calendar\":\"weekdays\"},\"prediction_timestamps\":{},\"overrides\":{\"pred_len\":2}}",
        &columns);
    a = rows.series[0].task;
    b = columns.series[0].task;
    assert_int_equal(b->n_history, 3);
    assert_memory_equal(a->candles, b->candles, 3 * TASK_FIELDS * sizeof(float));
    assert_memory_equal(a->history_minutes, b->history_minutes, 3 * sizeof(int64_t));
    assert_int_equal(b->n_horizon, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(a->horizon[i].wall_us, b->horizon[i].wall_us);
        assert_int_equal(a->horizon[i].offset_minutes, b->horizon[i].offset_minutes);
    }
    request_clear(&rows);
    request_clear(&columns);
}

static void
a_generator_may_have_a_start_interval_and_count_of_its_own(void **state)
{
    struct request request;
    struct task *task;

    (void)state;
    accept("{" CANDLES ",\"timestamps\":{\"start\":1735722000,\"interval\":\"1h\",\"count\":3},"
           "\"prediction_timestamps\":{\"start\":\"2025-01-04T10:00Z\",\"interval\":\"1d\","
           "\"calendar\":\"weekdays\",\"count\":2}}",
        &request);
    task = request.series[0].task;
    assert_int_equal(task->history_minutes[2] - task->history_minutes[0], 120);
    assert_time(&task->horizon[0], "2025-01-06T10:00:00Z"); /* the 4th was a Saturday */
    assert_time(&task->horizon[1], "2025-01-07T10:00:00Z");
    request_clear(&request);
}

static void
amount_is_volume_times_the_mean_price_where_no_candle_has_one(void **state)
{
    struct request derived, given;
    char body[1024];

    (void)state;
    accept(
        "{\"candles\":[{\"open\":1.1,\"high\":1.7,\"low\":0.9,\"close\":1.3,\"volume\":12345.678},"
        "{\"open\":1,\"high\":1,\"low\":1,\"close\":1}],"
        "\"timestamps\":[0,60],\"prediction_timestamps\":[120]}",
        &derived);
    snprintf(body, sizeof(body),
        "{\"candles\":[{\"open\":1.1,\"high\":1.7,\"low\":0.9,\"close\":1.3,\"volume\":12345.678,"
        "\"amount\":%.17g},{\"open\":1,\"high\":1,\"low\":1,\"close\":1}],"
        "\"timestamps\":[0,60],\"prediction_timestamps\":[120]}",
        12345.678 * ((1.1 + 1.7 + 0.9 + 1.3) / 4));
    accept(body, &given);
    assert_memory_equal(derived.series[0].task->candles, given.series[0].task->candles,
        2 * TASK_FIELDS * sizeof(float));
    assert_true(derived.series[0].task->candles[5] > 15432.0f);
    assert_true(derived.series[0].task->candles[TASK_FIELDS + 5] == 0);
    request_clear(&derived);
    request_clear(&given);
}

static void
amount_without_any_volume_is_ignored_with_a_warning(void **state)
{
    struct request request;

    (void)state;
    accept("{\"candles\":[{\"open\":1,\"high\":1,\"low\":1,\"close\":1,\"amount\":9}],"
           "\"timestamps\":[0],\"prediction_timestamps\":[60]}",
        &request);
    assert_true(request.series[0].task->candles[5] == 0);
    assert_int_equal(request.series[0].about.n_warnings, 1);
    assert_string_equal(request.series[0].about.warnings[0].code, "option_ignored");
    assert_string_equal(request.series[0].about.warnings[0].pointer, "#/candles");
    request_clear(&request);
}

static void
top_p_sent_beside_top_k_is_ignored_with_a_warning(void **state)
{
    struct request request;

    (void)state;
    accept(PLAIN ",\"overrides\":{\"top_k\":5,\"top_p\":0.8}}", &request);
    assert_int_equal(request.series[0].about.n_warnings, 1);
    assert_string_equal(request.series[0].about.warnings[0].code, "option_ignored");
    assert_string_equal(request.series[0].about.warnings[0].pointer, "#/overrides/top_p");
    request_clear(&request);
    /* the default top_p was not sent */
    accept(PLAIN ",\"overrides\":{\"top_k\":5}}", &request);
    assert_int_equal(request.series[0].about.n_warnings, 0);
    request_clear(&request);
}

static void
unknown_members_are_named_in_at_most_five_warnings(void **state)
{
    static const char *const pointers[] = {"#/prioirty", "#/a~1b", "#/candles/0/vol",
        "#/prediction_timestamps/step", "#/prediction_timestamps/more"};
    struct request request;
    const struct task_about *about;

    (void)state;
    accept(
        "{\"prioirty\":\"urgent\",\"a/b\":{\"x\":[1]},"
        "\"candles\":[{\"open\":1,\"high\":1,\"low\":1,\"close\":1,\"vol\":1}],"
        "\"timestamps\":[0],\"prediction_timestamps\":{\"step\":1,\"interval\":\"1h\",\"count\":1,"
        "\"more\":1},\"overrides\":{\"topk\":1,\"n\":2,\"m\":3}}",
        &request);
    about = &request.series[0].about;
    assert_int_equal(about->n_warnings, 5);
    for (uint32_t i = 0; i < about->n_warnings; i++) {
        assert_string_equal(about->warnings[i].code, "unknown_member");
        assert_string_equal(about->warnings[i].pointer, pointers[i]);
    }
    request_clear(&request);
}

static void
a_long_unknown_name_still_makes_a_warning_that_can_be_stored(void **state)
{
    struct task_bytes bytes;
    struct request request;
    struct error err;
    char name[600], body[2048];

    (void)state;
    name[0] = '\0';
    for (int i = 0; i < 100; i++)
        strcat(name, "\xE2\x82\xAC");
    snprintf(body, sizeof(body), PLAIN ",\"%s\":1}", name);
    accept(body, &request);
    assert_int_equal(request.series[0].about.n_warnings, 1);
    assert_int_equal(task_about_encode(&request.series[0].about, &bytes, &err), 0);
    free(bytes.data);
    request_clear(&request);
}

static void
the_largest_request_is_accepted(void **state)
{
    const size_t n = TASK_HISTORY_MAX;
    char *body = malloc(n * 64 + 256);
    struct request request;
    size_t len;

    (void)state;
    assert_non_null(body);
    len = (size_t)sprintf(body, "{\"candles\":[");
    for (size_t i = 0; i < n; i++)
        len += (size_t)sprintf(
            body + len, "%s{\"open\":1,\"high\":2,\"low\":1,\"close\":1.5}", i > 0 ? "," : "");
    len += (size_t)sprintf(body + len,
        "],\"timestamps\":{\"start\":\"2000-01-01\",\"interval\":\"1d\"},"
        "\"prediction_timestamps\":{\"count\":512},"
        "\"overrides\":{\"sample_count\":256},\"output\":{\"paths\":true}}");
    accept(body, &request);
    assert_int_equal(request.series[0].task->n_history, n);
    assert_int_equal(request.series[0].task->n_horizon, TASK_HORIZON_MAX);
    request_clear(&request);
    free(body);
}

static bool
small_context(void *cookie, const char *model, uint32_t *context)
{
    (void)model;
    *context = *(uint32_t *)cookie;
    return *context != UINT32_MAX;
}

static int
refused_with(const struct request_rules *rules, const char *body, const char *code)
{
    struct problem p = {0};
    struct request request;
    const cJSON *first;

    assert_int_equal(request_read_single(body, strlen(body), rules, &request, &p), -1);
    assert_int_equal(p.status, 422);
    assert_int_equal(cJSON_GetArraySize(p.errors), 1);
    first = cJSON_GetObjectItemCaseSensitive(p.errors->child, "code");
    assert_string_equal(cJSON_GetStringValue(first), code);
    problem_clear(&p);
    return 0;
}

static void
a_horizon_over_the_models_context_is_refused_only_where_it_is_known(void **state)
{
    struct request_rules rules = test_rules;
    struct request request;
    uint32_t context = 1;

    (void)state;
    rules.model_known = small_context;
    rules.cookie = &context;
    rules.draw_seed = test_draw_seed;
    refused_with(&rules, PLAIN "}", "exceeds_context");
    context = 2;
    accept_with(&rules, PLAIN "}", &request);
    request_clear(&request);
    context = 0; /* no worker has told it */
    accept_with(&rules, PLAIN "}", &request);
    request_clear(&request);
}

static void
only_the_first_failing_relation_is_reported_and_before_the_model(void **state)
{
    struct request_rules rules = test_rules;
    uint32_t context = UINT32_MAX; /* no such model */

    (void)state;
    rules.model_known = small_context;
    rules.cookie = &context;
    refused_with(&rules,
        "{" CANDLES ",\"timestamps\":[\"2025-01-02\",\"2025-01-01\"],"
        "\"prediction_timestamps\":[\"2024-01-01T00:00Z\"],\"overrides\":{\"pred_len\":7}}",
        "length_mismatch");
    refused_with(&rules, PLAIN ",\"overrides\":{\"pred_len\":7}}", "pred_len_mismatch");
    refused_with(&rules, PLAIN "}", "unknown_model");
}

static void
a_webhook_is_judged_after_the_model_and_only_with_a_secret(void **state)
{
    struct request_rules rules = test_rules;
    struct request request;

    (void)state;
    refused_with(
        &rules, PLAIN ",\"webhook\":{\"url\":\"https://a.example/\"}}", "webhook_disabled");
    rules.webhook_enabled = true;
    refused_with(
        &rules, PLAIN ",\"webhook\":{\"url\":\"http://a.example/\"}}", "webhook_url_blocked");
    accept_with(&rules, PLAIN ",\"webhook\":{\"url\":\"https://a.example:8443/\"}}", &request);
    assert_int_equal(request.webhook.events,
        1u << TASK_COMPLETED | 1u << TASK_FAILED | 1u << TASK_CANCELLED | 1u << TASK_EXPIRED);
    request_clear(&request);
}

/* What schemas/openapi.yaml shows people must work as shown. */
static void
the_examples_of_the_schema_are_accepted(void **state)
{
    glob_t found;

    (void)state;
    assert_int_equal(glob("schemas/examples/request-*.json", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 2);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "rb");
        struct request request;
        char body[8192];
        size_t len;

        assert_non_null(file);
        len = fread(body, 1, sizeof(body) - 1, file);
        fclose(file);
        assert_true(len > 0 && len < sizeof(body) - 1);
        body[len] = '\0';
        accept(body, &request);
        assert_int_equal(request.series[0].about.n_warnings, 0);
        request_clear(&request);
    }
    globfree(&found);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_old_guides_example_with_two_steps_and_no_overrides_is_accepted),
        cmocka_unit_test(every_member_of_the_schema_reaches_the_task),
        cmocka_unit_test(null_members_count_as_absent),
        cmocka_unit_test(numbers_may_be_strings_that_hold_json_numbers),
        cmocka_unit_test(instants_are_compared_where_offsets_are_given),
        cmocka_unit_test(columns_and_generators_give_the_task_that_rows_and_lists_give),
        cmocka_unit_test(a_generator_may_have_a_start_interval_and_count_of_its_own),
        cmocka_unit_test(amount_is_volume_times_the_mean_price_where_no_candle_has_one),
        cmocka_unit_test(amount_without_any_volume_is_ignored_with_a_warning),
        cmocka_unit_test(top_p_sent_beside_top_k_is_ignored_with_a_warning),
        cmocka_unit_test(unknown_members_are_named_in_at_most_five_warnings),
        cmocka_unit_test(a_long_unknown_name_still_makes_a_warning_that_can_be_stored),
        cmocka_unit_test(the_largest_request_is_accepted),
        cmocka_unit_test(a_horizon_over_the_models_context_is_refused_only_where_it_is_known),
        cmocka_unit_test(only_the_first_failing_relation_is_reported_and_before_the_model),
        cmocka_unit_test(the_examples_of_the_schema_are_accepted),
        cmocka_unit_test(a_webhook_is_judged_after_the_model_and_only_with_a_secret),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
