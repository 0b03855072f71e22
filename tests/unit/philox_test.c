/*
 * philox_test.c - The generator gives the numbers its authors published.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/kronos/philox.h"

static void
the_authors_known_answers_come_out(void **state)
{
    /* philox4x32-10 of kat_vectors, Random123 1.14. */
    static const struct {
        struct philox_block counter;
        uint64_t key;
        uint32_t answer[4];
    } known[] = {
        {{{0, 0, 0, 0}}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, UINT64_C(0xffffffffffffffff),
            {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, UINT64_C(0x299f31d0a4093822),
            {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct philox_block found = philox(known[i].counter, known[i].key);

        for (size_t j = 0; j < 4; j++)
            assert_int_equal(found.word[j], known[i].answer[j]);
    }
}

static void
the_unit_interval_is_closed_at_zero_and_open_at_one(void **state)
{
    struct philox_block low = {{0, 0, 7, 7}}, high = {{0xffffffff, 0xffffffff, 0, 0}};

    (void)state;
    assert_true(philox_unit(low) == 0.0);
    assert_true(philox_unit(high) < 1.0);
    assert_true(philox_unit(high) == 1.0 - 0x1p-53);
}

static void
every_word_of_the_counter_and_both_halves_of_the_key_matter(void **state)
{
    struct philox_block counter = {{1, 2, 3, 4}};
    double plain = philox_unit(philox(counter, 5));

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct philox_block other = counter;

        other.word[i]++;
        assert_true(philox_unit(philox(other, 5)) != plain);
    }
    assert_true(philox_unit(philox(counter, 6)) != plain);
    assert_true(philox_unit(philox(counter, 5 + (UINT64_C(1) << 32))) != plain);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_authors_known_answers_come_out),
        cmocka_unit_test(the_unit_interval_is_closed_at_zero_and_open_at_one),
        cmocka_unit_test(every_word_of_the_counter_and_both_halves_of_the_key_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
