/*
 * crew_test.c - Every part of a work is done once, and is done when the call returns, however
 * many threads take part in it; a crew without work costs nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "worker/kronos/crew.h"

#define PARTS_MAX 200

struct count {
    atomic_uint n_done[PARTS_MAX];
    unsigned plain[PARTS_MAX]; /* not atomic: seen by the caller because crew_run() returned */
    size_t n_threads;
    atomic_bool is_wrong;
    atomic_uint_least64_t threads_seen;
};

static void
do_part(void *cookie, size_t part, size_t thread)
{
    struct count *count = cookie;

    if (part >= PARTS_MAX || thread >= count->n_threads)
        atomic_store(&count->is_wrong, true);
    else
        atomic_fetch_add(&count->n_done[part], 1);
    count->plain[part] += 7;
    atomic_fetch_or(&count->threads_seen, (uint64_t)1 << thread);
}

static void
run_counted(struct crew *crew, struct count *count, size_t n_parts)
{
    memset(count, 0, sizeof(*count));
    count->n_threads = crew_threads(crew);
    crew_run(crew, n_parts, do_part, count);
    assert_false(atomic_load(&count->is_wrong));
    for (size_t i = 0; i < PARTS_MAX; i++) {
        assert_int_equal(atomic_load(&count->n_done[i]), i < n_parts);
        assert_int_equal(count->plain[i], i < n_parts ? 7 : 0);
    }
}

static struct crew *
new_crew(size_t n_threads)
{
    struct error err;
    struct crew *crew = crew_new(n_threads, &err);

    if (crew == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(crew_threads(crew), n_threads);
    return crew;
}

static void
every_part_is_done_once_by_any_number_of_threads(void **state)
{
    static const size_t threads[] = {1, 2, 3, 8};
    struct count count;

    (void)state;
    for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++) {
        struct crew *crew = new_crew(threads[i]);

        /* one work right after the other, of all sizes: old and new parts must not mix */
        for (size_t round = 0; round < 4000; round++)
            run_counted(crew, &count, round * 13 % PARTS_MAX);
        crew_free(crew);
    }
}

static void
without_a_crew_the_caller_does_it_all(void **state)
{
    struct count count;

    (void)state;
    assert_int_equal(crew_threads(NULL), 1);
    run_counted(NULL, &count, PARTS_MAX);
    assert_int_equal(atomic_load(&count.threads_seen), 1);
    run_counted(NULL, &count, 0);
    crew_free(NULL);
}

static void
numbers_of_threads_out_of_bounds_are_refused(void **state)
{
    struct error err;

    (void)state;
    assert_null(crew_new(0, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(crew_new(CREW_THREADS_MAX + 1, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

static void
wait_for_another(void *cookie, size_t part, size_t thread)
{
    atomic_uint *n_arrived = cookie;

    (void)part;
    (void)thread;
    atomic_fetch_add(n_arrived, 1);
    while (atomic_load(n_arrived) < 2)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

/* Two parts that wait for each other end only if two threads work; sleepers are called. */
static void
a_thread_that_slept_comes_when_it_is_called(void **state)
{
    struct crew *crew = new_crew(2);

    (void)state;
    for (int round = 0; round < 20; round++) {
        atomic_uint n_arrived = 0;

        nanosleep(&(struct timespec){.tv_nsec = round * 100000L}, NULL); /* spinning, or asleep */
        crew_run(crew, 2, wait_for_another, &n_arrived);
        assert_int_equal(atomic_load(&n_arrived), 2);
    }
    crew_free(crew);
}

static double
cpu_seconds(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

static void
a_crew_without_work_costs_nothing(void **state)
{
    struct crew *crew = new_crew(4);
    struct count count;
    double used = 1;

    (void)state;
    run_counted(crew, &count, PARTS_MAX);
    /* They may spin for a moment, which is longer on a machine that gives them no core. */
    for (int tries = 0; tries < 20 && used >= 0.02; tries++) {
        double before = cpu_seconds();

        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        used = cpu_seconds() - before;
    }
    assert_true(used < 0.02);
    crew_free(crew);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_is_done_once_by_any_number_of_threads),
        cmocka_unit_test(without_a_crew_the_caller_does_it_all),
        cmocka_unit_test(numbers_of_threads_out_of_bounds_are_refused),
        cmocka_unit_test(a_thread_that_slept_comes_when_it_is_called),
        cmocka_unit_test(a_crew_without_work_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
