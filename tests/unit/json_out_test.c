/*
 * json_out_test.c - Numbers are the shortest that read back; text is valid JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/document/json_out.h"
#include "api/json_strict.h"
#include "api/python_repr.h"

#define SEED UINT64_C(20250101)

/* splitmix64: the same numbers on every machine */
static uint64_t
next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static int
digits_of(const char *text)
{
    int digits = 0, zeros = 0;

    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text == '0' && digits > 0) {
            zeros++; /* counts only if a digit follows */
        } else if (*text >= '1' && *text <= '9') {
            digits += zeros + 1;
            zeros = 0;
        }
    }
    return digits;
}

static void
a_million_random_floats_read_back_from_at_most_nine_digits(void **state)
{
    uint64_t random = SEED;
    char text[32];

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        uint32_t bits = (uint32_t)next_random(&random);
        float value;
        size_t len;

        memcpy(&value, &bits, sizeof(value));
        len = json_format_float(value, text);
        if (!isfinite(value)) {
            assert_string_equal(text, "null");
            continue;
        }
        if (strtof(text, NULL) != value || strlen(text) != len || digits_of(text) > 9 ||
            decimal_read(text, len, NULL) != len) {
            print_error("seed %llu, bits %08x: %s\n", (unsigned long long)SEED, bits, text);
            fail();
        }
    }
}

/* One digit less must not read back: checked on fewer numbers, as it prints twice. */
static void
no_shorter_decimal_of_a_float_reads_back(void **state)
{
    uint64_t random = SEED + 1;
    char text[32], shorter[400]; /* as long as gcc thinks %g may be */

    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint32_t bits = (uint32_t)next_random(&random);
        float value;
        int digits;

        if (i % 4 == 0)
            bits &= 0x807FFFFF; /* subnormal */
        else if (i % 4 == 1)    /* everyday sizes: 2^-16 to 2^48 */
            bits = (bits & 0x807FFFFF) | (uint32_t)(111 + next_random(&random) % 65) << 23;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value) || value == 0)
            continue;
        json_format_float(value, text);
        digits = digits_of(text);
        if (digits == 1)
            continue;
        snprintf(shorter, sizeof(shorter), "%.*g", digits - 1, (double)value);
        if (strtof(shorter, NULL) == value) {
            print_error("bits %08x: %s, but %s would do\n", bits, text, shorter);
            fail();
        }
    }
}

static void
random_doubles_read_back(void **state)
{
    uint64_t random = SEED + 2;
    char text[32];

    (void)state;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = next_random(&random);
        double value;
        size_t len;

        memcpy(&value, &bits, sizeof(value));
        len = json_format_double(value, text);
        if (!isfinite(value))
            continue;
        assert_true(strtod(text, NULL) == value);
        assert_int_equal(decimal_read(text, len, NULL), len);
    }
}

static void
known_numbers_look_as_people_write_them(void **state)
{
    static const struct {
        float value;
        const char *text;
    } floats[] = {{0, "0"}, {-0.0f, "-0"}, {1, "1"}, {0.1f, "0.1"}, {1.52f, "1.52"},
        {66448.2f, "66448.2"}, {16777216, "16777216"}, {1e15f, "1e+15"}, {1.4e-45f, "1e-45"},
        {FLT_MAX, "3.4028235e+38"}, {FLT_MIN, "1.1754944e-38"}, {NAN, "null"}, {INFINITY, "null"},
        {1.0f / 3, "0.33333334"}, {100000, "100000"}};
    static const struct {
        double value;
        const char *text;
    } doubles[] = {{0.1, "0.1"}, {1.0 / 3, "0.3333333333333333"}, {5e-324, "5e-324"},
        {9007199254740991, "9007199254740991"}, {-INFINITY, "null"},
        {0.1 + 0.2, "0.30000000000000004"}};
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof(floats) / sizeof(floats[0]); i++) {
        assert_int_equal(json_format_float(floats[i].value, text), strlen(floats[i].text));
        assert_string_equal(text, floats[i].text);
    }
    for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++) {
        assert_int_equal(json_format_double(doubles[i].value, text), strlen(doubles[i].text));
        assert_string_equal(text, doubles[i].text);
    }
}

static void
a_document_has_commas_names_and_escapes_where_they_belong(void **state)
{
    static const char wanted[] = "{\"a\":1,\"b\":[{},[],\"x\",null,true,false,-5,1.5,0.1],"
                                 "\"q\\\"\\\\\":\"\\n\\t\\r\\u0001\\\"\\\\/"
                                 "\xe2\x82\xac\",\"n\":null,\"raw\":[1],\"cut\":\"ab\"}";
    struct json_fault fault;
    struct json_out out;
    struct arena arena = {0};

    (void)state;
    json_out_init(&out);
    json_out_open(&out, NULL, '{');
    json_out_integer(&out, "a", 1);
    json_out_open(&out, "b", '[');
    json_out_open(&out, NULL, '{');
    json_out_close(&out, '}');
    json_out_open(&out, NULL, '[');
    json_out_close(&out, ']');
    json_out_text(&out, NULL, "x");
    json_out_null(&out, NULL);
    json_out_bool(&out, NULL, true);
    json_out_bool(&out, NULL, false);
    json_out_integer(&out, NULL, -5);
    json_out_double(&out, NULL, 1.5);
    json_out_float(&out, NULL, 0.1f);
    json_out_close(&out, ']');
    json_out_text(&out, "q\"\\", "\n\t\r\x01\"\\/\xe2\x82\xac");
    json_out_text(&out, "n", NULL);
    json_out_raw(&out, "raw", "[1]", 3);
    json_out_text_n(&out, "cut", "abc", 2);
    json_out_close(&out, '}');
    assert_false(out.failed);
    assert_int_equal(out.len, sizeof(wanted) - 1);
    assert_memory_equal(out.text, wanted, out.len);
    assert_non_null(json_strict_parse(out.text, out.len, 100, &arena, &fault));
    arena_clear(&arena);
    json_out_clear(&out);
    assert_null(out.text);
}

static void
a_long_document_grows(void **state)
{
    struct arena arena = {0};
    struct json_fault fault;
    struct json_out out;

    (void)state;
    json_out_init(&out);
    json_out_open(&out, NULL, '[');
    for (int i = 0; i < 20000; i++)
        json_out_float(&out, NULL, 1.0f / (float)(i + 1));
    json_out_close(&out, ']');
    assert_false(out.failed);
    assert_non_null(json_strict_parse(out.text, out.len, 30000, &arena, &fault));
    arena_clear(&arena);
    json_out_clear(&out);
}

static void
python_prints_a_float_like_this(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{1, "1.0"}, {0, "0.0"}, {-0.0, "-0.0"}, {1.5, "1.5"}, {100, "100.0"}, {0.1, "0.1"},
        {0.0001, "0.0001"}, {0.00001, "1e-05"}, {1.25e-7, "1.25e-07"}, {1e15, "1000000000000000.0"},
        {1e16, "1e+16"}, {1.5e16, "1.5e+16"}, {123456789.125, "123456789.125"},
        {9007199254740993.0, "9007199254740992.0"}, {1e22, "1e+22"}, {1e100, "1e+100"},
        {1.0 / 3, "0.3333333333333333"}, {66448.2, "66448.2"}, {-2.5, "-2.5"}, {INFINITY, "inf"}};
    char text[PYTHON_REPR_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(python_repr(cases[i].value, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_random_floats_read_back_from_at_most_nine_digits),
        cmocka_unit_test(no_shorter_decimal_of_a_float_reads_back),
        cmocka_unit_test(random_doubles_read_back),
        cmocka_unit_test(known_numbers_look_as_people_write_them),
        cmocka_unit_test(a_document_has_commas_names_and_escapes_where_they_belong),
        cmocka_unit_test(a_long_document_grows),
        cmocka_unit_test(python_prints_a_float_like_this),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
