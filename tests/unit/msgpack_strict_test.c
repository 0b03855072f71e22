/*
 * msgpack_strict_test.c - A msgpack body is judged like its JSON form, and hostile bytes by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/msgpack_strict.h"
#include "api/request.h"
#include "common/msgpack_write.h"
#include "tests/support/request_rules.h"

#define VALUES 1000

static const char body_json[] =
    "{\"series_id\":\"B\\u20ac\",\"candles\":[{\"open\":1.1,\"high\":1.5,\"low\":0.5,\"close\":1.2,"
    "\"volume\":3,\"amount\":null},{\"open\":\"1.2\",\"high\":1.6,\"low\":1.1,\"close\":1.4}],"
    "\"timestamps\":[\"2025-01-01T09:00:00+08:00\",1735693500],"
    "\"prediction_timestamps\":{\"interval\":\"5min\",\"count\":3},"
    "\"overrides\":{\"seed\":9007199254740991,\"sample_count\":2},\"metadata\":{\"a\":\"\"},"
    "\"output\":{\"paths\":true,\"stats\":[\"p_up\"],\"stream\":false}}";

static void
write_tree(struct msgpack_write *w, const cJSON *item)
{
    const cJSON *child;

    if (cJSON_IsObject(item) || cJSON_IsArray(item)) {
        size_t n = (size_t)cJSON_GetArraySize(item);

        if (cJSON_IsObject(item))
            msgpack_write_map(w, n);
        else
            msgpack_write_array(w, n);
        cJSON_ArrayForEach(child, item)
        {
            if (cJSON_IsObject(item))
                msgpack_write_text(w, child->string);
            write_tree(w, child);
        }
    } else if (cJSON_IsString(item)) {
        msgpack_write_text(w, item->valuestring);
    } else if (cJSON_IsNumber(item)) {
        if (item->valuedouble >= 0 && item->valuedouble == (double)(uint64_t)item->valuedouble)
            msgpack_write_uint(w, (uint64_t)item->valuedouble);
        else
            msgpack_write_double(w, item->valuedouble);
    } else if (cJSON_IsNull(item)) {
        msgpack_write_nil(w);
    } else {
        msgpack_write_bool(w, cJSON_IsTrue(item));
    }
}

static void
open_body(struct msgpack_write *w)
{
    cJSON *tree = cJSON_Parse(body_json);

    assert_non_null(tree);
    msgpack_write_init(w);
    write_tree(w, tree);
    assert_false(w->failed);
    cJSON_Delete(tree);
}

static void
msgpack_gives_the_task_that_json_gives(void **state)
{
    struct request json, packed;
    struct problem p = {0};
    struct msgpack_write w;
    const struct task *a, *b;

    (void)state;
    open_body(&w);
    assert_int_equal(
        request_read_single(body_json, sizeof(body_json) - 1, &test_rules, &json, &p), 0);
    assert_int_equal(
        request_read_body(w.buffer.data, w.buffer.size, REQUEST_MSGPACK, &test_rules, &packed, &p),
        0);
    a = json.series[0].task;
    b = packed.series[0].task;
    assert_int_equal(a->n_history, b->n_history);
    assert_memory_equal(a->candles, b->candles, a->n_history * TASK_FIELDS * sizeof(float));
    assert_memory_equal(a->history_minutes, b->history_minutes, a->n_history * sizeof(int64_t));
    assert_int_equal(b->n_horizon, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(a->horizon[i].wall_us, b->horizon[i].wall_us);
        assert_int_equal(a->horizon[i].offset_minutes, b->horizon[i].offset_minutes);
    }
    assert_true(b->params.seed == TASK_SEED_MAX);
    assert_string_equal(packed.series[0].about.series_id, "B\xE2\x82\xAC");
    request_clear(&json);
    request_clear(&packed);
    msgpack_sbuffer_destroy(&w.buffer);
}

static struct arena arena; /* of the tree parsed last */

static cJSON *
parse(const void *data, size_t size, struct json_fault *fault)
{
    char *copy = malloc(size > 0 ? size : 1); /* exact: ASan sees a byte read too far */
    cJSON *tree;

    assert_non_null(copy);
    memcpy(copy, data, size);
    arena_clear(&arena);
    tree = msgpack_strict_parse(copy, size, VALUES, &arena, fault);
    free(copy);
    return tree;
}

static void
a_truncated_body_is_refused_at_every_length(void **state)
{
    struct json_fault fault;
    struct msgpack_write w;

    (void)state;
    open_body(&w);
    for (size_t n = 0; n < w.buffer.size; n++) {
        assert_null(parse(w.buffer.data, n, &fault));
        assert_non_null(fault.reason);
        assert_true(fault.offset <= n);
    }
    msgpack_sbuffer_destroy(&w.buffer);
}

static void
every_type_of_number_is_a_number(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        double value;
    } cases[] = {{"\x07", 1, 7}, {"\xff", 1, -1}, {"\xe0", 1, -32}, {"\xcc\xff", 2, 255},
        {"\xcd\xff\xff", 3, 65535}, {"\xce\xff\xff\xff\xff", 5, 4294967295.0},
        {"\xcf\x00\x20\x00\x00\x00\x00\x00\x00", 9, 9007199254740992.0}, {"\xd0\x80", 2, -128},
        {"\xd1\x80\x00", 3, -32768}, {"\xd2\x80\x00\x00\x00", 5, -2147483648.0},
        {"\xd3\xff\xff\xff\xff\xff\xff\xff\xfe", 9, -2}, {"\xca\x3f\xc0\x00\x00", 5, 1.5},
        {"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", 9, 0.1}};
    struct json_fault fault;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cJSON *tree = parse(cases[i].bytes, cases[i].size, &fault);

        assert_non_null(tree);
        assert_true(cJSON_IsNumber(tree) && tree->valuedouble == cases[i].value);
    }
}

static void
what_a_request_cannot_hold_is_refused_where_it_stands(void **state)
{
    static const struct {
        const char *what, *bytes;
        size_t size, offset;
    } cases[] = {
        {"nothing", "", 0, 0},
        {"bytes after the value", "\x80\x00", 2, 1},
        {"a name twice",
            "\x82\xa1"
            "a\x01\xa1"
            "a\x02",
            7, 4},
        {"a name twice, once in a longer form",
            "\x82\xa1"
            "a\x01\xd9\x01"
            "a\x02",
            8, 4},
        {"a name twice, in a row like the one before",
            "\x92\x81\xa1"
            "a\x01\x82\xa1"
            "a\x01\xa1"
            "a\x02",
            12, 9},
        {"a name cut off, in a row like the one before",
            "\x92\x81\xa2"
            "ab\x01\x81\xa2"
            "a",
            9, 7},
        {"a name twice, deeper",
            "\x92\x81\xa1"
            "a\x01\x82\xa1"
            "b\x01\xa1"
            "b\x02",
            12, 9},
        {"a name that is a number", "\x81\x01\x01", 3, 1},
        {"a name that is nil", "\x81\xc0\x01", 3, 1},
        {"a bin",
            "\x81\xa1"
            "a\xc4\x01x",
            6, 3},
        {"fixext", "\xd4\x01\x00", 3, 0},
        {"ext", "\x91\xc7\x01\x01\x00", 5, 1},
        {"the byte nobody uses", "\x91\xc1", 2, 1},
        {"invalid UTF-8", "\x91\xa1\xff", 3, 1},
        {"NUL in a text", "\x91\xa1\x00", 3, 1},
        {"2^32-1 elements", "\xdd\xff\xff\xff\xff", 5, 0},
        {"2^32-1 elements, one there", "\xdd\xff\xff\xff\xff\x01", 6, 0},
        {"2^32-1 members", "\xdf\xff\xff\xff\xff", 5, 0},
        {"2^32-1 bytes of text", "\xdb\xff\xff\xff\xff", 5, 0},
        {"depth 17", "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x01", 18,
            16},
    };
    struct json_fault fault;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cJSON *tree = parse(cases[i].bytes, cases[i].size, &fault);

        if (tree != NULL || fault.reason == NULL || fault.offset != cases[i].offset)
            print_error("%s: offset %zu, %s\n", cases[i].what, fault.offset,
                fault.reason != NULL ? fault.reason : "-");
        assert_null(tree);
        assert_non_null(fault.reason);
        assert_int_equal(fault.offset, cases[i].offset);
    }
}

static void
sixteen_deep_is_accepted(void **state)
{
    static const char bytes[] =
        "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x01";
    struct json_fault fault;
    cJSON *tree = parse(bytes, sizeof(bytes) - 1, &fault);

    (void)state;
    assert_non_null(tree);
}

/* One byte per value would cost 64 in memory. */
static void
more_values_than_allowed_are_refused(void **state)
{
    unsigned char bytes[VALUES + 8] = {0xdc, (VALUES + 5) >> 8, (VALUES + 5) & 0xff};
    struct json_fault fault;

    (void)state;
    memset(bytes + 3, 0xc0, sizeof(bytes) - 3);
    assert_null(parse(bytes, sizeof(bytes), &fault));
    assert_int_equal(fault.offset, 3 + VALUES - 1);
}

static const char *
refusal_code(const void *data, size_t size, int status)
{
    struct problem p = {0};
    struct request request;
    static char code[64];

    assert_int_equal(request_read_body(data, size, REQUEST_MSGPACK, &test_rules, &request, &p), -1);
    assert_int_equal(p.status, status);
    snprintf(code, sizeof(code), "%s",
        status == 400 ? p.code
                      : cJSON_GetStringValue(cJSON_GetObjectItem(p.errors->child, "code")));
    if (status == 400)
        assert_true(cJSON_IsNumber(cJSON_GetObjectItem(p.extras, "offset")));
    problem_clear(&p);
    return code;
}

static void
refusals_are_those_of_json_bodies(void **state)
{
    static const char nan_price[] = "\x81\xa7"
                                    "candles\x91\x84\xa4"
                                    "open\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"
                                    "\xa4"
                                    "high\x01\xa3"
                                    "low\x01\xa5"
                                    "close\x01";

    (void)state;
    assert_string_equal(refusal_code("\x81", 1, 400), "malformed_msgpack");
    assert_string_equal(refusal_code("", 0, 422), "required");
    assert_string_equal(refusal_code("\x90", 1, 422), "type");
    assert_string_equal(refusal_code("\x80", 1, 422), "required");
    assert_string_equal(refusal_code(nan_price, sizeof(nan_price) - 1, 422), "not_finite");
}

static void
damaged_bytes_are_accepted_whole_or_refused(void **state)
{
    struct msgpack_write w;
    uint64_t random = 11;
    int n_accepted = 0, n_malformed = 0;

    (void)state;
    open_body(&w);
    for (int i = 0; i < 20000; i++) {
        char *copy = malloc(w.buffer.size);
        struct problem p = {0};
        struct request request;
        struct error err;

        assert_non_null(copy);
        memcpy(copy, w.buffer.data, w.buffer.size);
        for (int n = 0; n <= i % 3; n++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            copy[(random >> 33) % w.buffer.size] = (char)(random >> 56);
        }
        if (request_read_body(copy, w.buffer.size, REQUEST_MSGPACK, &test_rules, &request, &p) ==
            0) {
            n_accepted++;
            assert_int_equal(task_check(request.series[0].task, &err), 0);
            request_clear(&request);
        } else {
            n_malformed += p.status == 400;
            assert_true(p.status == 400 || p.status == 422);
            problem_clear(&p);
        }
        free(copy);
    }
    assert_true(n_accepted > 200 && n_malformed > 2000);
    msgpack_sbuffer_destroy(&w.buffer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(msgpack_gives_the_task_that_json_gives),
        cmocka_unit_test(a_truncated_body_is_refused_at_every_length),
        cmocka_unit_test(every_type_of_number_is_a_number),
        cmocka_unit_test(what_a_request_cannot_hold_is_refused_where_it_stands),
        cmocka_unit_test(sixteen_deep_is_accepted),
        cmocka_unit_test(more_values_than_allowed_are_refused),
        cmocka_unit_test(refusals_are_those_of_json_bodies),
        cmocka_unit_test(damaged_bytes_are_accepted_whole_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
