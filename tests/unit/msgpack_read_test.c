/*
 * The cursor over msgpack bytes, against msgpack-c's packer and against bytes by hand;
 * and the UTF-8 it demands of every text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "common/msgpack_read.h"
#include "common/msgpack_write.h"
#include "common/utf8.h"

static void
whole_numbers_of_every_size_are_read(void **state)
{
    (void)state;
    for (int shift = 0; shift < 64; shift++) {
        for (int more = -1; more <= 1; more++) {
            uint64_t number = (UINT64_C(1) << shift) + (uint64_t)(int64_t)more, value;
            struct msgpack_write w;
            struct msgpack_read r;
            struct error err;
            void *data;
            size_t size;

            msgpack_write_init(&w);
            msgpack_write_uint(&w, number);
            assert_int_equal(msgpack_write_finish(&w, &data, &size, &err), 0);
            msgpack_read_init(&r, data, size);
            assert_int_equal(msgpack_read_uint(&r, UINT64_MAX, &value), 0);
            assert_true(value == number);
            assert_int_equal(msgpack_read_end(&r), 0);
            if (number > 0) {
                msgpack_read_init(&r, data, size);
                assert_int_equal(msgpack_read_uint(&r, number - 1, &value), -1);
            }
            free(data);
        }
    }
}

static void
a_number_may_be_written_longer_than_needed_or_signed(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        double value;
    } cases[] = {
        {"\x05", 1, 5},
        {"\xCC\x05", 2, 5},
        {"\xCF\0\0\0\0\0\0\0\x05", 9, 5},
        {"\xD0\x05", 2, 5},
        {"\xD3\0\0\0\0\0\0\0\x05", 9, 5},
        {"\xE0", 1, -32},
        {"\xFF", 1, -1},
        {"\xD0\x80", 2, -128},
        {"\xD1\xFF\xFE", 3, -2},
        {"\xD2\x80\0\0\0", 5, -2147483648.0},
        {"\xD3\x80\0\0\0\0\0\0\0", 9, -9223372036854775808.0},
        {"\xCA\x3F\xC0\0\0", 5, 1.5},
        {"\xCB\xC0\x04\0\0\0\0\0\0", 9, -2.5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct msgpack_read r;
        double value;
        uint64_t whole;

        msgpack_read_init(&r, cases[i].bytes, cases[i].size);
        assert_int_equal(msgpack_read_real(&r, &value), 0);
        assert_true(value == cases[i].value);
        assert_int_equal(msgpack_read_end(&r), 0);
        msgpack_read_init(&r, cases[i].bytes, cases[i].size);
        assert_int_equal(msgpack_read_uint(&r, 100, &whole), cases[i].value == 5 ? 0 : -1);
        for (size_t n = 0; n < cases[i].size; n++) {
            msgpack_read_init(&r, cases[i].bytes, n);
            assert_int_equal(msgpack_read_real(&r, &value), -1);
            assert_string_equal(r.fault, "cut off");
        }
    }
}

static void
numbers_that_are_not_finite_are_refused(void **state)
{
    static const char *const bytes[] = {"\xCA\x7F\x80\0\0", "\xCA\xFF\xC0\0\0"};
    struct msgpack_read r;
    double value;

    (void)state;
    for (int i = 0; i < 2; i++) {
        msgpack_read_init(&r, bytes[i], 5);
        assert_int_equal(msgpack_read_real(&r, &value), -1);
        assert_string_equal(r.fault, "a number that is not finite");
    }
}

static void
the_first_fault_stays(void **state)
{
    struct msgpack_read r;
    const char *text;
    size_t len;
    bool flag;

    (void)state;
    msgpack_read_init(&r, "\xC3\xA1x", 3);
    assert_int_equal(msgpack_read_text(&r, &text, &len), -1);
    assert_string_equal(r.fault, "wrong type");
    assert_int_equal(msgpack_read_text(&r, &text, &len), -1); /* one stands here, though */
    assert_int_equal(msgpack_read_bool(&r, &flag), -1);
    assert_false(msgpack_read_nil(&r));
    assert_int_equal(msgpack_read_fault(&r, "another"), -1);
    assert_int_equal(msgpack_read_end(&r), -1);
    assert_string_equal(r.fault, "wrong type");
}

static void
members_come_in_any_order_and_unknown_ones_are_passed(void **state)
{
    static const char *const names[] = {"a", "bb"};
    static const char bytes[] = "\x83\xA2"
                                "bb\x02\xA1"
                                "c\x91\x81\xA1x\xC4\x02\0\0\xA1"
                                "a\x01";
    struct msgpack_map map;
    struct msgpack_read r;
    uint32_t value;
    size_t member;

    (void)state;
    msgpack_read_init(&r, bytes, sizeof(bytes) - 1);
    assert_int_equal(msgpack_read_map(&r, &map), 0);
    assert_int_equal(msgpack_read_member(&r, &map, names, 2, &member), 1);
    assert_int_equal(member, 1);
    assert_int_equal(msgpack_read_u32(&r, 9, &value), 0);
    assert_int_equal(msgpack_read_member(&r, &map, names, 2, &member), 1);
    assert_int_equal(member, 0);
    assert_int_equal(msgpack_read_u32(&r, 9, &value), 0);
    assert_int_equal(value, 1);
    assert_int_equal(msgpack_read_member(&r, &map, names, 2, &member), 0);
    assert_int_equal(map.seen, 3);
    assert_int_equal(msgpack_read_end(&r), 0);
}

static void
a_name_that_is_no_text_is_refused(void **state)
{
    static const char *const names[] = {"a"};
    struct msgpack_map map;
    struct msgpack_read r;
    size_t member;

    (void)state;
    msgpack_read_init(&r, "\x81\x01\x01", 3);
    assert_int_equal(msgpack_read_map(&r, &map), 0);
    assert_int_equal(msgpack_read_member(&r, &map, names, 1, &member), -1);
}

static void
what_is_passed_over_may_nest_sixteen_deep_and_no_deeper(void **state)
{
    char bytes[MSGPACK_READ_DEPTH + 2];
    struct msgpack_read r;

    (void)state;
    memset(bytes, 0x91, sizeof(bytes));
    bytes[MSGPACK_READ_DEPTH] = '\xC0';
    msgpack_read_init(&r, bytes, MSGPACK_READ_DEPTH + 1);
    assert_int_equal(msgpack_read_skip(&r), 0);
    assert_int_equal(msgpack_read_end(&r), 0);
    bytes[MSGPACK_READ_DEPTH] = '\x91';
    bytes[MSGPACK_READ_DEPTH + 1] = '\xC0';
    msgpack_read_init(&r, bytes, sizeof(bytes));
    assert_int_equal(msgpack_read_skip(&r), -1);
    assert_string_equal(r.fault, "nested too deep");
}

static void
a_count_beyond_the_bytes_left_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"\x92\xC0", 2},
        {"\x81\xC0", 2},
        {"\xDC\x00\x03\xC0\xC0", 5},
        {"\xDF\x80\x00\x00\x00\xC0\xC0", 7},
        {"\xA3"
         "ab",
            3},
        {"\xC4\x01", 2},
        {"\xC6\xFF\xFF\xFF\xFF", 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct msgpack_read r;

        msgpack_read_init(&r, cases[i].bytes, cases[i].size);
        assert_int_equal(msgpack_read_skip(&r), -1);
        assert_string_equal(r.fault, "cut off");
    }
}

static void
ext_and_the_byte_that_means_nothing_are_refused(void **state)
{
    static const uint8_t firsts[] = {0xC1, 0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8};

    (void)state;
    for (size_t i = 0; i < sizeof(firsts); i++) {
        uint8_t bytes[20] = {firsts[i]};
        struct msgpack_read r;

        msgpack_read_init(&r, bytes, sizeof(bytes));
        assert_int_equal(msgpack_read_skip(&r), -1);
        assert_string_equal(r.fault, "a type that is not used here");
    }
}

static void
a_text_into_a_field_needs_room_for_its_end(void **state)
{
    struct msgpack_read r;
    char field[4] = "zzz";

    (void)state;
    msgpack_read_init(&r,
        "\xA3"
        "abc",
        4);
    assert_int_equal(msgpack_read_text_into(&r, field, sizeof(field)), 0);
    assert_string_equal(field, "abc");
    msgpack_read_init(&r,
        "\xA4"
        "abcd",
        5);
    assert_int_equal(msgpack_read_text_into(&r, field, sizeof(field)), -1);
    msgpack_read_init(&r,
        "\xA2"
        "a\0",
        3);
    assert_int_equal(msgpack_read_text_into(&r, field, sizeof(field)), -1);
    assert_string_equal(r.fault, "a NUL in a text");
}

static void
bins_of_numbers_are_little_endian_also_when_they_are_many(void **state)
{
    float values[600];
    double wide[300];
    const uint8_t *bytes;
    struct msgpack_write w;
    struct msgpack_read r;
    struct error err;
    void *data;
    size_t size;

    (void)state;
    for (int i = 0; i < 600; i++)
        values[i] = (float)i;
    for (int i = 0; i < 300; i++)
        wide[i] = i / 2.0;
    msgpack_write_init(&w);
    msgpack_write_floats(&w, values, 600);
    msgpack_write_doubles(&w, wide, 300);
    assert_int_equal(msgpack_write_finish(&w, &data, &size, &err), 0);
    msgpack_read_init(&r, data, size);
    assert_int_equal(msgpack_read_bin(&r, &bytes, &size), 0);
    assert_int_equal(size, 2400);
    assert_memory_equal(bytes + 4 * 599, "\x00\xC0\x15\x44", 4); /* 599 */
    assert_int_equal(msgpack_read_bin(&r, &bytes, &size), 0);
    assert_int_equal(size, 2400);
    assert_memory_equal(bytes + 8 * 299, "\x00\x00\x00\x00\x00\xB0\x62\x40", 8); /* 149.5 */
    assert_int_equal(msgpack_read_end(&r), 0);
    free(data);
}

/* A decoder of its own, from the definition: code points, each in its shortest form. */
static bool
is_utf8_by_definition(const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t point, lowest;
        size_t more;

        if (s[i] < 0x80) {
            i++;
            continue;
        }
        if ((s[i] & 0xE0) == 0xC0)
            point = s[i] & 0x1F, more = 1, lowest = 0x80;
        else if ((s[i] & 0xF0) == 0xE0)
            point = s[i] & 0x0F, more = 2, lowest = 0x800;
        else if ((s[i] & 0xF8) == 0xF0)
            point = s[i] & 0x07, more = 3, lowest = 0x10000;
        else
            return false;
        if (i + more >= len)
            return false;
        for (size_t k = 1; k <= more; k++) {
            if ((s[i + k] & 0xC0) != 0x80)
                return false;
            point = point << 6 | (s[i + k] & 0x3F);
        }
        if (point < lowest || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
            return false;
        i += more + 1;
    }
    return true;
}

static void
utf8_is_judged_as_its_definition_does(void **state)
{
    static const uint8_t telling[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0,
        0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    const size_t n = sizeof(telling);

    (void)state;
    for (size_t i = 0; i < n * n * n * n; i++) {
        const uint8_t text[4] = {
            telling[i % n], telling[i / n % n], telling[i / n / n % n], telling[i / n / n / n]};

        for (size_t len = 0; len <= 4; len++)
            if (utf8_is_valid((const char *)text, len) != is_utf8_by_definition(text, len))
                fail_msg("%02x %02x %02x %02x, %zu bytes", text[0], text[1], text[2], text[3], len);
    }
}

static void
a_cut_never_splits_a_character(void **state)
{
    static const char text[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82z"; /* 1 2 3 4 1 bytes */
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};

    (void)state;
    for (size_t max = 0; max < sizeof(cuts) / sizeof(cuts[0]); max++)
        assert_int_equal(utf8_cut(text, 11, max), cuts[max]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_of_every_size_are_read),
        cmocka_unit_test(a_number_may_be_written_longer_than_needed_or_signed),
        cmocka_unit_test(numbers_that_are_not_finite_are_refused),
        cmocka_unit_test(the_first_fault_stays),
        cmocka_unit_test(members_come_in_any_order_and_unknown_ones_are_passed),
        cmocka_unit_test(a_name_that_is_no_text_is_refused),
        cmocka_unit_test(what_is_passed_over_may_nest_sixteen_deep_and_no_deeper),
        cmocka_unit_test(a_count_beyond_the_bytes_left_is_refused),
        cmocka_unit_test(ext_and_the_byte_that_means_nothing_are_refused),
        cmocka_unit_test(a_text_into_a_field_needs_room_for_its_end),
        cmocka_unit_test(bins_of_numbers_are_little_endian_also_when_they_are_many),
        cmocka_unit_test(utf8_is_judged_as_its_definition_does),
        cmocka_unit_test(a_cut_never_splits_a_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
