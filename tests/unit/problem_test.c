/*
 * problem_test.c - A refusal becomes one problem+json document, with both lists where due.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/problem.h"

static void
assert_document(const struct problem *p, const char *wanted)
{
    cJSON *document = problem_to_json(p, "5b1e0c9a");
    char *text = cJSON_PrintUnformatted(document);

    assert_string_equal(text, wanted);
    free(text);
    cJSON_Delete(document);
}

static void
a_plain_refusal_has_the_fixed_members_and_its_extras(void **state)
{
    struct problem p = {0};

    (void)state;
    assert_int_equal(
        problem_set(&p, 409, "not_finished", "task is %s, step %d of %d", "processing", 40, 120),
        -1);
    problem_extra(&p, "task_id", cJSON_CreateString("3f0c"));
    problem_extra(&p, "task_status", cJSON_CreateString("processing"));
    assert_document(&p,
        "{\"type\":\"urn:kronosq:error:not_finished\",\"title\":\"Conflict\",\"status\":409,"
        "\"code\":\"not_finished\",\"detail\":\"task is processing, step 40 of 120\","
        "\"request_id\":\"5b1e0c9a\",\"task_id\":\"3f0c\",\"task_status\":\"processing\"}");
    problem_clear(&p);
    assert_int_equal(p.status, 0);
}

static void
a_second_refusal_replaces_the_first(void **state)
{
    struct problem p = {0};

    (void)state;
    problem_fault(
        &p, &(struct problem_fault){
                .code = "range", .type = "t", .message = "m", .detail = "d", .pointer = "#"});
    problem_extra(&p, "x", cJSON_CreateNull());
    (void)problem_set(&p, 500, "internal", "out of memory");
    assert_null(p.extras);
    assert_null(p.errors);
    assert_document(&p,
        "{\"type\":\"urn:kronosq:error:internal\",\"title\":\"Internal Server Error\","
        "\"status\":500,\"code\":\"internal\",\"detail\":\"out of memory\","
        "\"request_id\":\"5b1e0c9a\"}");
    problem_clear(&p);
}

static void
a_long_detail_is_cut_between_characters(void **state)
{
    struct problem p = {0};
    char euros[400];

    (void)state;
    for (int i = 0; i < 133; i++)
        memcpy(euros + 3 * i, "\xE2\x82\xAC", 4);
    (void)problem_set(&p, 400, "bad_parameter", "%s", euros);
    assert_int_equal(strlen(p.detail), 255);
    (void)problem_set(&p, 400, "bad_parameter", "x%s", euros);
    assert_int_equal(strlen(p.detail), 253);
    problem_clear(&p);
}

static void
faults_are_listed_in_both_shapes(void **state)
{
    struct problem p = {0};
    cJSON *context = cJSON_CreateObject(), *input = cJSON_CreateNumber(-1);

    (void)state;
    cJSON_AddNumberToObject(context, "gt", 0);
    problem_fault(&p, &(struct problem_fault){.code = "range",
                          .type = "greater_than",
                          .message = "Input should be greater than 0",
                          .detail = "must be > 0, is -1",
                          .pointer = "#/candles/3/high",
                          .input = input,
                          .context = context});
    problem_fault(&p, &(struct problem_fault){.code = "type",
                          .type = "string_type",
                          .message = "Input should be a valid string",
                          .detail = "must be a string",
                          .pointer = "#/metadata/a~1b~0c%20%E2%82%AC/"});
    assert_document(&p,
        "{\"type\":\"urn:kronosq:error:validation_failed\",\"title\":\"Unprocessable Content\","
        "\"status\":422,\"code\":\"validation_failed\",\"request_id\":\"5b1e0c9a\","
        "\"detail\":[{\"type\":\"greater_than\",\"loc\":[\"body\",\"candles\",3,\"high\"],"
        "\"msg\":\"Input should be greater than 0\",\"input\":-1,\"ctx\":{\"gt\":0}},"
        "{\"type\":\"string_type\",\"loc\":[\"body\",\"metadata\",\"a/b~c \xE2\x82\xAC\",\"\"],"
        "\"msg\":\"Input should be a valid string\",\"input\":null}],"
        "\"errors\":[{\"pointer\":\"#/candles/3/high\",\"code\":\"range\","
        "\"detail\":\"must be > 0, is -1\"},"
        "{\"pointer\":\"#/metadata/a~1b~0c%20%E2%82%AC/\",\"code\":\"type\","
        "\"detail\":\"must be a string\"}]}");
    cJSON_Delete(input);
    problem_clear(&p);
}

static void
a_header_is_located_in_the_header_and_the_code_may_be_set_after(void **state)
{
    struct problem p = {0};

    (void)state;
    problem_fault(&p, &(struct problem_fault){.code = "idempotency_mismatch",
                          .type = "value_error",
                          .message = "Value error, x",
                          .detail = "x",
                          .pointer = PROBLEM_POINTER_HEADER});
    p.code = "idempotency_mismatch";
    assert_document(&p,
        "{\"type\":\"urn:kronosq:error:idempotency_mismatch\",\"title\":\"Unprocessable Content\","
        "\"status\":422,\"code\":\"idempotency_mismatch\",\"request_id\":\"5b1e0c9a\","
        "\"detail\":[{\"type\":\"value_error\",\"loc\":[\"header\",\"idempotency-key\"],"
        "\"msg\":\"Value error, x\",\"input\":null}],"
        "\"errors\":[{\"pointer\":\"header\",\"code\":\"idempotency_mismatch\",\"detail\":\"x\"}]"
        "}");
    problem_clear(&p);
}

static void
only_scalars_are_shown_and_long_text_is_cut(void **state)
{
    static const char *const inputs[] = {"true", "null", "[1]", "{\"a\":1}", "\"abc\"", "1e999"};
    static const char *const shown[] = {"true", "null", "null", "null", "\"abc\"", "null"};
    struct problem p = {0};
    char text[700];
    cJSON *input;

    (void)state;
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        char *printed;

        input = cJSON_Parse(inputs[i]);
        problem_fault(&p, &(struct problem_fault){.code = "c",
                              .type = "t",
                              .message = "m",
                              .detail = "d",
                              .pointer = "#",
                              .input = input});
        printed = cJSON_PrintUnformatted(cJSON_GetObjectItem(p.fastapi->child, "input"));
        assert_string_equal(printed, shown[i]);
        free(printed);
        cJSON_Delete(input);
        problem_clear(&p);
    }
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    input = cJSON_CreateString(text);
    problem_fault(&p, &(struct problem_fault){.code = "c",
                          .type = "t",
                          .message = "m",
                          .detail = "d",
                          .pointer = "#",
                          .input = input});
    assert_int_equal(strlen(cJSON_GetObjectItem(p.fastapi->child, "input")->valuestring), 256);
    cJSON_Delete(input);
    problem_clear(&p);
}

static void
the_twenty_first_fault_only_says_truncated(void **state)
{
    struct problem p = {0};

    (void)state;
    for (int i = 0; i < PROBLEM_ERRORS_MAX + 5; i++) {
        assert_true(p.is_truncated == (i > PROBLEM_ERRORS_MAX));
        problem_fault(&p, &(struct problem_fault){.code = "c",
                              .type = "t",
                              .message = "m",
                              .detail = "d",
                              .pointer = "#",
                              .context = cJSON_CreateObject()});
    }
    assert_int_equal(cJSON_GetArraySize(p.errors), PROBLEM_ERRORS_MAX);
    assert_int_equal(cJSON_GetArraySize(p.fastapi), PROBLEM_ERRORS_MAX);
    assert_true(p.is_truncated);
    problem_clear(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_refusal_has_the_fixed_members_and_its_extras),
        cmocka_unit_test(a_second_refusal_replaces_the_first),
        cmocka_unit_test(a_long_detail_is_cut_between_characters),
        cmocka_unit_test(faults_are_listed_in_both_shapes),
        cmocka_unit_test(a_header_is_located_in_the_header_and_the_code_may_be_set_after),
        cmocka_unit_test(only_scalars_are_shown_and_long_text_is_cut),
        cmocka_unit_test(the_twenty_first_fault_only_says_truncated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
