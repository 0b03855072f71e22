/*
 * arena_test.c - Pieces of every size lie apart, aligned, and go together.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/arena.h"

#define PIECES 3000

static void
pieces_are_aligned_and_do_not_overlap(void **state)
{
    static unsigned char *pieces[PIECES];
    struct arena a = {0};
    size_t sizes[PIECES];

    (void)state;
    for (size_t i = 0; i < PIECES; i++) {
        sizes[i] = i % 500 == 7 ? 100000 * (i / 500 + 1) : i * 37 % 300;
        pieces[i] = arena_take(&a, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % sizeof(double), 0);
        memset(pieces[i], (int)(i & 0xff), sizes[i]);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(pieces[i][k], i & 0xff);
    arena_clear(&a);
}

static void
a_cleared_arena_is_an_empty_one(void **state)
{
    struct arena a = {0};

    (void)state;
    arena_clear(&a);
    assert_non_null(arena_take(&a, 1));
    arena_clear(&a);
    assert_null(a.blocks);
    assert_non_null(arena_take(&a, 1 << 20));
    arena_clear(&a);
}

static void
a_piece_larger_than_memory_is_refused(void **state)
{
    struct arena a = {0};

    (void)state;
    assert_null(arena_take(&a, SIZE_MAX));
    assert_null(arena_take(&a, SIZE_MAX - 6));
    assert_non_null(arena_take(&a, 8));
    arena_clear(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_do_not_overlap),
        cmocka_unit_test(a_cleared_arena_is_an_empty_one),
        cmocka_unit_test(a_piece_larger_than_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
