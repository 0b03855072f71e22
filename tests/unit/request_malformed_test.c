/*
 * request_malformed_test.c - Every body of tests/data/malformed_bodies.json is refused as it says.
 *
 * The same file is sent to a running server by the tests in tests/e2e.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "api/request.h"
#include "tests/support/request_rules.h"

#define ROWS_FILE "tests/data/malformed_bodies.json"

static cJSON *rows;

static int
read_rows(void **state)
{
    FILE *file = fopen(ROWS_FILE, "rb");
    char *text;
    long size;

    (void)state;
    if (file == NULL) {
        print_error("%s is not here: run the tests from the root of the tree\n", ROWS_FILE);
        return -1;
    }
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    rewind(file);
    text = malloc((size_t)size);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), (size_t)size);
    fclose(file);
    rows = cJSON_ParseWithLength(text, (size_t)size);
    free(text);
    return rows != NULL && cJSON_GetArraySize(rows) >= 60 ? 0 : -1;
}

static int
free_rows(void **state)
{
    (void)state;
    cJSON_Delete(rows);
    return 0;
}

static const char *
text_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* The row's body in a block of exactly its size, so that ASan sees a byte read too far. */
static char *
body_of(const cJSON *row, size_t *size)
{
    const char *text = text_of(row, "body"), *base64 = text_of(row, "body_base64");
    char *body;

    if (text != NULL) {
        *size = strlen(text);
        body = malloc(*size > 0 ? *size : 1);
        assert_non_null(body);
        memcpy(body, text, *size);
        return body;
    }
    assert_non_null(base64);
    body = malloc(strlen(base64));
    assert_non_null(body);
    *size = (size_t)EVP_DecodeBlock(
        (unsigned char *)body, (const unsigned char *)base64, (int)strlen(base64));
    for (size_t end = strlen(base64); base64[end - 1] == '='; end--)
        (*size)--; /* EVP_DecodeBlock() counts what padding stands for */
    return body;
}

/* Both shapes list the same faults; the location is the pointer in FastAPI's writing. */
static void
check_shapes_agree(const struct problem *p)
{
    const cJSON *old = p->fastapi->child, *new = p->errors->child;

    for (; old != NULL && new != NULL; old = old->next, new = new->next) {
        const cJSON *segment = cJSON_GetObjectItemCaseSensitive(old, "loc")->child;
        const char *pointer = text_of(new, "pointer");
        size_t depth = 0;

        assert_string_equal(cJSON_GetStringValue(segment), "body");
        assert_int_equal(pointer[0], '#');
        for (const char *at = pointer; *at != '\0'; at++)
            depth += *at == '/';
        for (segment = segment->next; segment != NULL; segment = segment->next)
            depth--;
        assert_int_equal(depth, 0);
        assert_non_null(text_of(old, "type"));
        assert_non_null(text_of(old, "msg"));
        assert_true(cJSON_HasObjectItem(old, "input"));
        assert_non_null(text_of(new, "code"));
        assert_true(strlen(text_of(new, "detail")) > 0);
    }
    assert_true(old == NULL && new == NULL);
}

static int
check_text(const char *name, const char *what, const char *is, const char *wanted)
{
    if (is != NULL && strcmp(is, wanted) == 0)
        return 0;
    print_error("%s: %s is \"%s\", not \"%s\"\n", name, what, is, wanted);
    return 1;
}

static int
check_number(const char *name, const char *what, double is, const cJSON *wanted)
{
    if (wanted == NULL || is == wanted->valuedouble)
        return 0;
    print_error("%s: %s is %g, not %g\n", name, what, is, wanted->valuedouble);
    return 1;
}

static int
check_row(const cJSON *row)
{
    const char *name = text_of(row, "name"), *type = text_of(row, "type");
    const char *msg = text_of(row, "msg"), *code = text_of(row, "code");
    struct problem p = {0};
    struct request request;
    int failures = 0;
    size_t size;
    char *body = body_of(row, &size);

    if (request_read_single(body, size, &test_rules, &request, &p) == 0) {
        print_error("%s: accepted\n", name);
        request_clear(&request);
        free(body);
        return 1;
    }
    assert_null(request.series);
    failures +=
        check_number(name, "status", p.status, cJSON_GetObjectItemCaseSensitive(row, "status"));
    if (p.status == 422) {
        check_shapes_agree(&p);
        failures += check_text(name, "code", p.code, "validation_failed");
        failures += check_text(name, "code", text_of(p.errors->child, "code"), code);
        failures += check_text(
            name, "pointer", text_of(p.errors->child, "pointer"), text_of(row, "pointer"));
        if (type != NULL)
            failures += check_text(name, "type", text_of(p.fastapi->child, "type"), type);
        if (msg != NULL)
            failures += check_text(name, "msg", text_of(p.fastapi->child, "msg"), msg);
        failures += check_number(name, "number of errors", cJSON_GetArraySize(p.errors),
            cJSON_GetObjectItemCaseSensitive(row, "count"));
        assert_true(p.is_truncated == cJSON_HasObjectItem(row, "truncated"));
    } else {
        const cJSON *offset = cJSON_GetObjectItemCaseSensitive(p.extras, "offset");

        failures += check_text(name, "code", p.code, code);
        assert_true(cJSON_IsNumber(offset));
        failures += check_number(
            name, "offset", offset->valuedouble, cJSON_GetObjectItemCaseSensitive(row, "offset"));
    }
    problem_clear(&p);
    free(body);
    return failures;
}

static void
every_malformed_body_is_refused_with_its_status_code_and_place(void **state)
{
    const cJSON *row;
    int failures = 0;

    (void)state;
    cJSON_ArrayForEach(row, rows) failures += check_row(row);
    assert_int_equal(failures, 0);
}

static cJSON *
errors_of(const char *body, const char *list)
{
    struct problem p = {0};
    struct request request;
    cJSON *document, *errors;

    assert_int_equal(request_read_single(body, strlen(body), &test_rules, &request, &p), -1);
    document = problem_to_json(&p, "r-1");
    assert_non_null(document);
    errors = cJSON_DetachItemFromObjectCaseSensitive(document, list);
    assert_non_null(errors);
    cJSON_Delete(document);
    problem_clear(&p);
    return errors;
}

static void
faults_are_listed_in_the_order_of_the_schema(void **state)
{
    static const char *const pointers[] = {"#/series_id", "#/candles/0/open", "#/candles/1",
        "#/timestamps/0", "#/prediction_timestamps", "#/overrides/top_k", "#/model", "#/priority",
        "#/deadline_seconds", "#/result_ttl_seconds", "#/webhook/url", "#/metadata/a",
        "#/output/layout"};
    static const char body[] =
        "{\"output\":{\"layout\":1},\"metadata\":{\"a\":[]},\"webhook\":{},"
        "\"result_ttl_seconds\":1,\"deadline_seconds\":0,\"priority\":\"x\",\"model\":\"?\","
        "\"overrides\":{\"top_k\":-1},\"prediction_timestamps\":7,\"timestamps\":[\"x\"],"
        "\"candles\":[{\"open\":-1,\"high\":1,\"low\":1,\"close\":1},"
        "{\"close\":1,\"open\":1,\"low\":3,\"high\":4}],\"series_id\":1}";
    cJSON *errors = errors_of(body, "errors");

    (void)state;
    assert_int_equal(cJSON_GetArraySize(errors), (int)(sizeof(pointers) / sizeof(pointers[0])));
    for (int i = 0; i < cJSON_GetArraySize(errors); i++)
        assert_string_equal(text_of(cJSON_GetArrayItem(errors, i), "pointer"), pointers[i]);
    cJSON_Delete(errors);
}

static void
the_fastapi_shape_has_loc_input_and_ctx(void **state)
{
    static const char body[] = "{\"candles\":[{\"open\":1,\"high\":-1,\"low\":1,\"close\":1},"
                               "{\"open\":1.0,\"high\":1.0,\"low\":0.5,\"close\":1.5}],"
                               "\"timestamps\":[],\"prediction_timestamps\":[\"x\"]}";
    static const char wanted[] =
        "[{\"type\":\"greater_than\",\"loc\":[\"body\",\"candles\",0,\"high\"],"
        "\"msg\":\"Input should be greater than 0\",\"input\":-1,\"ctx\":{\"gt\":0}},"
        "{\"type\":\"value_error\",\"loc\":[\"body\",\"candles\",1],"
        "\"msg\":\"Value error, High (1.0) cannot be less than open (1.0) or close (1.5)\","
        "\"input\":null,\"ctx\":{\"error\":{}}},"
        "{\"type\":\"too_short\",\"loc\":[\"body\",\"timestamps\"],"
        "\"msg\":\"List should have at least 1 item after validation, not 0\",\"input\":null,"
        "\"ctx\":{\"field_type\":\"List\",\"min_length\":1,\"actual_length\":0}},"
        "{\"type\":\"datetime_from_date_parsing\",\"loc\":[\"body\",\"prediction_timestamps\",0],"
        "\"msg\":\"Input should be a valid datetime or date, input is too short\",\"input\":\"x\","
        "\"ctx\":{\"error\":\"input is too short\"}}]";
    cJSON *list = errors_of(body, "detail");
    char *text = cJSON_PrintUnformatted(list);

    (void)state;
    assert_string_equal(text, wanted);
    free(text);
    cJSON_Delete(list);
}

static void
the_new_shape_names_the_limit_and_the_value(void **state)
{
    static const char body[] = "{\"candles\":[{\"open\":1,\"high\":-1,\"low\":1,\"close\":1},"
                               "{\"open\":1.0,\"high\":1.0,\"low\":0.5,\"close\":1.5}],"
                               "\"timestamps\":[],\"prediction_timestamps\":[\"x\"]}";
    static const char wanted[] =
        "[{\"pointer\":\"#/candles/0/high\",\"code\":\"range\",\"detail\":\"must be > 0, is -1\"},"
        "{\"pointer\":\"#/candles/1\",\"code\":\"ohlc_order\","
        "\"detail\":\"high 1 is below close 1.5\"},"
        "{\"pointer\":\"#/timestamps\",\"code\":\"length\","
        "\"detail\":\"must have 1 to 2048 elements, has 0\"},"
        "{\"pointer\":\"#/prediction_timestamps/0\",\"code\":\"format\","
        "\"detail\":\"must be a time, input is too short: \\\"x\\\"\"}]";
    cJSON *list = errors_of(body, "errors");
    char *text = cJSON_PrintUnformatted(list);

    (void)state;
    assert_string_equal(text, wanted);
    free(text);
    cJSON_Delete(list);
}

/* A hostile body must not cost a sentence per fault: 200 000 unknown members in a closed object. */
static void
a_flood_of_faults_is_refused_with_twenty(void **state)
{
    const size_t n = 200000;
    char *body = malloc(n * 12 + 64);
    struct problem p = {0};
    struct request request;
    size_t len = 0;

    (void)state;
    assert_non_null(body);
    len += (size_t)sprintf(body + len, "{\"output\":{");
    for (size_t i = 0; i < n; i++)
        len += (size_t)sprintf(body + len, "%s\"%zu\":0", i > 0 ? "," : "", i);
    len += (size_t)sprintf(body + len, "}}");
    assert_int_equal(request_read_single(body, len, &test_rules, &request, &p), -1);
    assert_int_equal(p.status, 422);
    assert_int_equal(cJSON_GetArraySize(p.errors), PROBLEM_ERRORS_MAX);
    assert_true(p.is_truncated);
    problem_clear(&p);
    free(body);
}

/* Lists that are too long are named, also when they are very much too long. */
static void
too_many_candles_and_times_are_refused_by_their_number(void **state)
{
    static const struct {
        size_t candles, times, prediction;
        const char *msg, *pointer;
    } cases[] = {
        {2049, 2049, 8, "List should have at most 2048 items after validation, not 2049",
            "#/candles"},
        {20000, 3, 8, "List should have at most 2048 items after validation, not 20000",
            "#/candles"},
        {3, 3, 513, "List should have at most 512 items after validation, not 513",
            "#/prediction_timestamps"},
    };

    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        char *body = malloc((cases[c].candles + cases[c].times + cases[c].prediction) * 48 + 128);
        struct problem p = {0};
        struct request request;
        size_t len = 0;

        assert_non_null(body);
        len += (size_t)sprintf(body + len, "{\"candles\":[");
        for (size_t i = 0; i < cases[c].candles; i++)
            len += (size_t)sprintf(
                body + len, "%s{\"open\":1,\"high\":1,\"low\":1,\"close\":1}", i > 0 ? "," : "");
        len += (size_t)sprintf(body + len, "],\"timestamps\":[");
        for (size_t i = 0; i < cases[c].times; i++)
            len += (size_t)sprintf(body + len, "%s%zu", i > 0 ? "," : "", 60 * i);
        len += (size_t)sprintf(body + len, "],\"prediction_timestamps\":[");
        for (size_t i = 0; i < cases[c].prediction; i++)
            len += (size_t)sprintf(body + len, "%s%zu", i > 0 ? "," : "", 9000000 + 60 * i);
        len += (size_t)sprintf(body + len, "]}");
        assert_int_equal(request_read_single(body, len, &test_rules, &request, &p), -1);
        assert_int_equal(p.status, 422);
        assert_string_equal(text_of(p.fastapi->child, "msg"), cases[c].msg);
        assert_string_equal(text_of(p.errors->child, "pointer"), cases[c].pointer);
        assert_string_equal(text_of(p.errors->child, "code"), "length");
        problem_clear(&p);
        free(body);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_malformed_body_is_refused_with_its_status_code_and_place),
        cmocka_unit_test(faults_are_listed_in_the_order_of_the_schema),
        cmocka_unit_test(the_fastapi_shape_has_loc_input_and_ctx),
        cmocka_unit_test(the_new_shape_names_the_limit_and_the_value),
        cmocka_unit_test(a_flood_of_faults_is_refused_with_twenty),
        cmocka_unit_test(too_many_candles_and_times_are_refused_by_their_number),
    };

    return cmocka_run_group_tests(tests, read_rows, free_rows);
}
