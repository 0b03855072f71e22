/*
 * decimal_test.c - The text of a number becomes the double that strtod() finds, bit for bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/decimal.h"

#define SEED 20260105ull

static uint64_t
draw(uint64_t *random)
{
    *random += 0x9E3779B97F4A7C15ull; /* splitmix64 */
    uint64_t z = *random;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static void
assert_reads_as_strtod(const char *text)
{
    size_t len = strlen(text);
    char *copy = malloc(len); /* exact, without a NUL: ASan sees a byte read too far */
    double mine, theirs = strtod(text, NULL);

    assert_non_null(copy);
    memcpy(copy, text, len);
    if (decimal_read(copy, len, &mine) != len || memcmp(&mine, &theirs, sizeof(mine)) != 0) {
        print_error("%s: %a, not %a\n", text, mine, theirs);
        fail();
    }
    free(copy);
}

static void
known_numbers_ties_and_limits_are_read_exactly(void **state)
{
    static const char *const texts[] = {"0", "-0", "0.0", "-0.000", "0e5", "1", "-1", "0.1", "1.5",
        "9007199254740992", "9007199254740993", "9007199254740994", "9007199254740995",
        "9007199254740993.0", "9007199254740992.5", "9007199254740993.00000001",
        "9007199254740993e1", "9223372036854775807", "9223372036854775808", "9999999999999999999",
        "10000000000000000000", "18446744073709551615", "18446744073709551616", "1e22", "1e23",
        "9007199254740991e22", "123456789e19", "9999999999999999999e19", "9999999999999999999e-19",
        "1e-19", "1e-20", "1e-22", "1e-23", "1e-307", "1e-308", "4.9e-324", "2.4e-324", "1e-400",
        "2.2250738585072011e-308", "1.7976931348623157e308", "1.7976931348623159e308", "1e999",
        "-1e999", "1e99999999999999999999", "0e99999999999999999999", "1e-99999999999999999999",
        "1.00000000000000011102230246251565404", "1.00000000000000011102230246251565405",
        "0.500000000000000166533453693773481063544750213623046875", "8.5", "0.3", "2.5e-5",
        "100000000000000000000000000000000000000000000000000000000000000", "101.2345", "0.00001",
        "4503599627370496.5", "4503599627370497.5", "45035996273704985e-1", "1E+2", "1e-0"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_reads_as_strtod(texts[i]);
}

static void
a_million_numbers_of_every_shape_are_read_as_strtod_reads_them(void **state)
{
    uint64_t random = SEED;
    char text[64];

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        uint64_t m = draw(&random) >> draw(&random) % 64, other = draw(&random);
        const char *sign = other & 1 ? "-" : "";
        int k = (int)(other >> 1 & 63);
        double value;

        memcpy(&value, &other, sizeof(value));
        switch (i % 5) {
        case 0: /* an integer and a power */
            snprintf(text, sizeof(text), "%s%llue%d", sign, (unsigned long long)m, k - 32);
            break;
        case 1: /* a point somewhere */
            snprintf(text, sizeof(text), "%s%llu.%0*llu", sign, (unsigned long long)(m >> 44),
                1 + k % 12, (unsigned long long)(other >> 40) % 10);
            break;
        case 2: /* as programs print doubles of everyday size */
            snprintf(text, sizeof(text), "%s%.*f", sign, k % 18, (double)(m >> 20) / 1e7);
            break;
        case 3: /* all bits */
            if (value - value != 0)
                continue;
            snprintf(text, sizeof(text), "%.*e", k % 20, value);
            break;
        default: /* right between two doubles, or almost */
            snprintf(text, sizeof(text), "%s%llu.%s", sign,
                (unsigned long long)((m >> 11 | UINT64_C(1) << 52) & ((UINT64_C(1) << 53) - 1)),
                k < 20   ? "5"
                : k < 40 ? "500000001"
                         : "499999999");
            break;
        }
        assert_reads_as_strtod(text);
    }
}

static void
only_the_number_at_the_start_is_measured(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {{"", 0}, {"-", 0}, {"+1", 0}, {".5", 0}, {"a", 0}, {"01", 1}, {"1.", 1},
        {"1.e5", 1}, {"1e", 1}, {"1e+", 1}, {"1e+5,", 4}, {"-1.5E-3]", 7}, {"0x10", 1}, {"12 ", 2},
        {"Infinity", 0}, {"nan", 0}, {"1_000", 1}, {"1,5", 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double value;

        assert_int_equal(decimal_read(cases[i].text, strlen(cases[i].text), NULL), cases[i].len);
        assert_int_equal(decimal_read(cases[i].text, strlen(cases[i].text), &value), cases[i].len);
    }
}

static void
a_number_that_is_too_long_is_only_measured(void **state)
{
    char text[200];
    double value;

    (void)state;
    memset(text, '1', sizeof(text));
    assert_int_equal(decimal_read(text, DECIMAL_MAX, &value), DECIMAL_MAX);
    assert_true(value > 1e62);
    assert_int_equal(decimal_read(text, sizeof(text), &value), sizeof(text));
    assert_true(value == 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_numbers_ties_and_limits_are_read_exactly),
        cmocka_unit_test(a_million_numbers_of_every_shape_are_read_as_strtod_reads_them),
        cmocka_unit_test(only_the_number_at_the_start_is_measured),
        cmocka_unit_test(a_number_that_is_too_long_is_only_measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
