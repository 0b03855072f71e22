/*
 * request_batch_test.c - Batches: what reaches the tasks, and what refuses all of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/request.h"
#include "tests/support/request_rules.h"

#define CANDLES                                                                                    \
    "\"candles\":{\"open\":[1,2],\"high\":[3,3],\"low\":[1,1],\"close\":[2,2]},"                   \
    "\"timestamps\":[\"2025-01-01T09:00\",\"2025-01-01T09:05\"]"
#define HORIZON        "\"prediction_timestamps\":[\"2025-01-01T09:10\",\"2025-01-01T09:15\"]"
#define ITEM(id, more) "{\"series_id\":\"" id "\"," CANDLES "," HORIZON more "}"

static int
read_batch(const char *body, struct request *request, struct problem *p)
{
    return request_read(body, strlen(body), REQUEST_JSON, REQUEST_BATCH, &test_rules, request, p);
}

static void
accept(const char *body, struct request *request)
{
    struct problem p = {0};

    if (read_batch(body, request, &p) == -1) {
        cJSON *document = problem_to_json(&p, "r");
        char *text = cJSON_Print(document);

        print_error("%s\n", text);
        free(text);
        cJSON_Delete(document);
        problem_clear(&p);
        fail();
    }
}

static const char *
text_at(const cJSON *list, int i, const char *name)
{
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(list, i), name);

    return cJSON_IsString(text) ? text->valuestring : "";
}

/* Refused with exactly these faults: pointer, code and old message of each. */
static void
refuse(const char *body, const char *const (*faults)[3], int n)
{
    struct request request;
    struct problem p = {0};

    assert_int_equal(read_batch(body, &request, &p), -1);
    assert_int_equal(p.status, 422);
    assert_int_equal(request.n_series, 0);
    assert_null(request.series);
    for (int i = 0; i < n; i++) {
        assert_string_equal(text_at(p.errors, i, "pointer"), faults[i][0]);
        assert_string_equal(text_at(p.errors, i, "code"), faults[i][1]);
        assert_string_equal(text_at(p.fastapi, i, "msg"), faults[i][2]);
    }
    assert_int_equal(cJSON_GetArraySize(p.errors), n);
    problem_clear(&p);
}

static void
every_item_becomes_a_task_of_its_own_length_horizon_and_overrides(void **state)
{
    struct request request;

    (void)state;
    accept(
        "{\"items\":[" ITEM("A", "") "," ITEM("A", ",\"overrides\":{\"temperature\":0.5,\"seed\":"
                                                   "7}") ",{\"series_id\":\"C\",\"candles\":[{"
                                                         "\"open\":1,\"high\":1,\"low\":1,"
                                                         "\"close\":1}],"
                                                         "\"timestamps\":[\"2025-01-01\"],"
                                                         "\"prediction_timestamps\":{\"interval\":"
                                                         "\"1d\"},"
                                                         "\"overrides\":{\"pred_len\":5}}],"
                                                         "\"overrides\":{\"temperature\":2,"
                                                         "\"sample_count\":3},\"priority\":\"low\","
                                                         "\"metadata\":{\"k\":\"v\"},\"output\":{"
                                                         "\"layout\":\"columns\"}}",
        &request);
    assert_int_equal(request.n_series, 3);
    assert_int_equal(request.priority, TASK_LOW);
    assert_string_equal(request.series[0].about.series_id, "A");
    assert_string_equal(request.series[1].about.series_id, "A");
    assert_string_equal(request.series[2].about.series_id, "C");
    for (int i = 0; i < 3; i++) {
        const struct request_series *s = &request.series[i];

        assert_int_equal(s->task->params.sample_count, 3);
        assert_true(s->task->params.temperature == (i == 1 ? 0.5f : 2.0f));
        assert_int_equal(s->task->params.seed, i == 1 ? 7 : TEST_SEED);
        assert_int_equal(s->task->n_horizon, i == 2 ? 5 : 2);
        assert_int_equal(s->task->n_history, i == 2 ? 1 : 2);
        assert_int_equal(s->about.n_metadata, 1);
        assert_string_equal(s->about.metadata[0].value, "v");
        assert_true(s->about.columns);
        assert_int_equal(s->about.n_warnings, 0);
    }
    request_clear(&request);
}

static void
the_batchs_pred_len_counts_for_items_that_generate_their_times(void **state)
{
    struct request request;

    (void)state;
    accept("{\"overrides\":{\"pred_len\":4},\"items\":[{\"series_id\":\"A\"," CANDLES
           ",\"prediction_timestamps\":{\"interval\":\"5min\"}},{\"series_id\":\"B\"," CANDLES
           ",\"prediction_timestamps\":{\"interval\":\"5min\"},\"overrides\":{\"pred_len\":6}}]}",
        &request);
    assert_int_equal(request.series[0].task->n_horizon, 4);
    assert_int_equal(request.series[1].task->n_horizon, 6);
    request_clear(&request);
}

static void
what_is_said_once_is_a_warning_of_every_member_and_what_an_item_says_its_own(void **state)
{
    struct request request;

    (void)state;
    accept("{\"items\":[" ITEM("A", "") "," ITEM("B", ",\"extra\":1") "],\"prioirty\":\"low\"}",
        &request);
    assert_int_equal(request.series[0].about.n_warnings, 1);
    assert_string_equal(request.series[0].about.warnings[0].pointer, "#/prioirty");
    assert_int_equal(request.series[1].about.n_warnings, 2);
    assert_string_equal(request.series[1].about.warnings[0].pointer, "#/items/1/extra");
    assert_string_equal(request.series[1].about.warnings[1].code, "unknown_member");
    request_clear(&request);
    /* top_p beside top_k: said of the batch, not again of every item */
    accept("{\"items\":[" ITEM(
               "A", ",\"overrides\":{\"seed\":1}") "],"
                                                   "\"overrides\":{\"top_k\":5,\"top_p\":0.5}}",
        &request);
    assert_int_equal(request.series[0].about.n_warnings, 1);
    assert_string_equal(request.series[0].about.warnings[0].pointer, "#/overrides/top_p");
    request_clear(&request);
}

static void
one_bad_item_refuses_all_and_every_fault_is_named(void **state)
{
    (void)state;
    refuse("{\"items\":[" ITEM("A", "") ",7,{" CANDLES
                                        "}," ITEM("D", ",\"overrides\":{\"temperature\":9}") "]}",
        (const char *const[][3]){
            {"#/items/1", "type",
                "Input should be a valid dictionary or object to extract fields from"},
            {"#/items/2/series_id", "required", "Field required"},
            {"#/items/2/prediction_timestamps", "required", "Field required"},
            {"#/items/3/overrides/temperature", "range",
                "Input should be less than or equal to 5"}},
        4);
    refuse("{}", (const char *const[][3]){{"#/items", "required", "Field required"}}, 1);
    refuse("{\"items\":{}}",
        (const char *const[][3]){{"#/items", "type", "Input should be a valid list"}}, 1);
    refuse("{\"items\":[]}",
        (const char *const[][3]){
            {"#/items", "length", "List should have at least 1 item after validation, not 0"}},
        1);
}

static void
relations_have_the_short_texts_with_the_name_of_the_series(void **state)
{
    (void)state;
    refuse("{\"items\":["
           "{\"series_id\":\"A\"," CANDLES
           ",\"prediction_timestamps\":[\"2025-01-01T09:10\",\"2025-01-01T09:10\"]},"
           "{\"series_id\":\"B\"," CANDLES ",\"prediction_timestamps\":[\"2025-01-01T09:05\"]},"
           "{\"series_id\":\"C\",\"candles\":[{\"open\":1,\"high\":1,\"low\":1,\"close\":1}],"
           "\"timestamps\":[\"2025-01-01T09:05\",\"2025-01-01T09:00\"]," HORIZON "},"
           "{\"series_id\":\"D\",\"candles\":[{\"open\":1,\"high\":1,\"low\":1,\"close\":1},"
           "{\"open\":1,\"high\":1,\"low\":1,\"close\":1}],"
           "\"timestamps\":[\"2025-01-01T09:05\",\"2025-01-01T09:00\"]," HORIZON "}]}",
        (const char *const[][3]){
            {"#/items/0/prediction_timestamps/1", "not_ascending",
                "Value error, [A] prediction_timestamps must be in ascending order at index 1"},
            {"#/items/1/prediction_timestamps/0", "before_input_end",
                "Value error, [B] prediction_timestamps must be after input timestamps"},
            {"#/items/2", "length_mismatch",
                "Value error, [C] candles and timestamps length mismatch: 1 candles but 2 "
                "timestamps"},
            {"#/items/3/timestamps/1", "not_ascending",
                "Value error, [D] timestamps must be in ascending order at index 1"}},
        4);
}

/* ${n} items, each with ${more}. */
static char *
many(int n, const char *more, const char *rest)
{
    size_t size = (size_t)n * 512 + 256, len;
    char *body = malloc(size);

    assert_non_null(body);
    len = (size_t)snprintf(body, size, "{\"items\":[");
    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(body + len, size - len,
            "%s{\"series_id\":\"S\"," CANDLES "," HORIZON "%s}", i > 0 ? "," : "", more);
    snprintf(body + len, size - len, "]%s}", rest);
    return body;
}

static void
a_batch_has_64_items_at_most(void **state)
{
    struct request request;
    char *body = many(64, "", "");

    (void)state;
    accept(body, &request);
    assert_int_equal(request.n_series, 64);
    request_clear(&request);
    free(body);
    body = many(65, "", "");
    refuse(body,
        (const char *const[][3]){
            {"#/items", "length", "List should have at most 64 items after validation, not 65"}},
        1);
    free(body);
}

static void
totals_are_counted_over_all_items(void **state)
{
    struct request request;
    char *body = many(4, ",\"overrides\":{\"sample_count\":256}", "");

    (void)state;
    accept(body, &request); /* 1024 */
    request_clear(&request);
    free(body);
    body = many(5, "", ",\"overrides\":{\"sample_count\":205}");
    refuse(body,
        (const char *const[][3]){{"#/items", "too_many_values",
            "Value error, sample_count of all items is 1025 together, more than 1024"}},
        1);
    free(body);
    body = many(1, "", ",\"output\":{\"paths\":true},\"model\":\"nope\"");
    refuse(body,
        (const char *const[][3]){{"#/model", "unknown_model",
            "Value error, there is no model 'nope' here, and no worker has registered it"}},
        1);
    free(body);
    refuse("{\"overrides\":{\"sample_count\":256,\"pred_len\":512,\"temperature\":0},"
           "\"output\":{\"paths\":true},\"items\":["
           "{\"series_id\":\"A\"," CANDLES ",\"prediction_timestamps\":{\"interval\":\"1min\"}},"
           "{\"series_id\":\"B\"," CANDLES ",\"prediction_timestamps\":{\"interval\":\"1min\"},"
           "\"overrides\":{\"sample_count\":1,\"pred_len\":1}}]}",
        (const char *const[][3]){{"#/output/paths", "too_many_values",
            "Value error, paths of 131073 steps in all are more than 131072"}},
        1);
}

static void
the_largest_batch_of_columns_is_read(void **state)
{
    enum { ROWS = 2048, ITEMS = 64 };
    size_t size = (size_t)ITEMS * (ROWS * 4 * 2 + 512) + 64, len;
    char *body = malloc(size), *item = malloc(ROWS * 4 * 2 + 512);
    struct request request;
    size_t n = 0;

    (void)state;
    assert_true(body != NULL && item != NULL);
    n += (size_t)sprintf(item + n, "{\"series_id\":\"S\",\"candles\":{");
    for (int f = 0; f < 4; f++) {
        n += (size_t)sprintf(item + n, "%s\"%s\":[", f > 0 ? "," : "",
            (const char *[]){"open", "high", "low", "close"}[f]);
        for (int i = 0; i < ROWS; i++)
            n += (size_t)sprintf(item + n, "%s1", i > 0 ? "," : "");
        n += (size_t)sprintf(item + n, "]");
    }
    n += (size_t)sprintf(item + n,
        "},\"timestamps\":{\"start\":\"2025-01-01\",\"interval\":\"1min\"},"
        "\"prediction_timestamps\":{\"count\":512}}");
    len = (size_t)sprintf(body, "{\"items\":[");
    for (int i = 0; i < ITEMS; i++)
        len += (size_t)sprintf(body + len, "%s%s", i > 0 ? "," : "", item);
    sprintf(body + len, "]}");
    accept(body, &request);
    assert_int_equal(request.series[63].task->n_history, ROWS);
    request_clear(&request);
    free(item);
    free(body);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_becomes_a_task_of_its_own_length_horizon_and_overrides),
        cmocka_unit_test(the_batchs_pred_len_counts_for_items_that_generate_their_times),
        cmocka_unit_test(
            what_is_said_once_is_a_warning_of_every_member_and_what_an_item_says_its_own),
        cmocka_unit_test(one_bad_item_refuses_all_and_every_fault_is_named),
        cmocka_unit_test(relations_have_the_short_texts_with_the_name_of_the_series),
        cmocka_unit_test(a_batch_has_64_items_at_most),
        cmocka_unit_test(totals_are_counted_over_all_items),
        cmocka_unit_test(the_largest_batch_of_columns_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
