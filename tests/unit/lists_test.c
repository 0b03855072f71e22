/*
 * lists_test.c - Which lists a worker waits on, and in which order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/queue/queue.h"
#include "worker/lists.h"

#define URGENT (1u << TASK_URGENT)
#define COMMON (1u << TASK_NORMAL | 1u << TASK_LOW)
#define ALL    (URGENT | COMMON)

static const struct worker_settings eight = {.slots = 8, .reserve = 1, .takes = {true, true, true}};
static const struct worker_settings one = {.slots = 1, .takes = {true, true, true}};

static unsigned
wanted(const struct worker_settings *s, struct handoff_load load)
{
    if (load.n_jobs == 0)
        load.n_jobs = load.urgent_slots + load.other_slots;
    return lists_wanted(s, &load);
}

static void
of_32_turns_28_look_at_urgent_first_3_at_normal_and_1_at_low(void **state)
{
    struct lists_turns turns = {{0}};
    unsigned first[TASK_PRIORITY_COUNT] = {0}, since_normal = 0;

    (void)state;
    for (unsigned turn = 0; turn < 3200; turn++) {
        enum task_priority order[TASK_PRIORITY_COUNT];
        unsigned seen = 0;

        lists_order(&turns, lists_default_weights, order);
        first[order[0]]++;
        for (int i = 0; i < TASK_PRIORITY_COUNT; i++)
            seen |= 1u << order[i];
        assert_int_equal(seen, ALL);
        since_normal = order[0] == TASK_NORMAL ? 0 : since_normal + 1;
        assert_in_range(since_normal, 0, 16); /* evenly spread */
    }
    assert_int_equal(first[TASK_URGENT], 2800);
    assert_int_equal(first[TASK_NORMAL], 300);
    assert_int_equal(first[TASK_LOW], 100);
}

static void
weights_of_1_0_0_are_strict_and_equal_ones_take_turns(void **state)
{
    static const unsigned strict[] = {1, 0, 0}, none[] = {0, 0, 0}, equal[] = {5, 5, 5};
    struct lists_turns turns = {{0}};
    enum task_priority order[TASK_PRIORITY_COUNT];
    unsigned seen = 0;

    (void)state;
    for (int turn = 0; turn < 100; turn++) {
        lists_order(&turns, turn < 50 ? strict : none, order);
        assert_int_equal(order[0], TASK_URGENT);
        assert_int_equal(order[1], TASK_NORMAL);
    }
    for (int turn = 0; turn < 3; turn++) {
        lists_order(&turns, equal, order);
        seen |= 1u << order[0];
    }
    assert_int_equal(seen, ALL);
}

static void
an_empty_worker_waits_for_everything_it_takes(void **state)
{
    struct worker_settings pinned = eight;

    (void)state;
    assert_int_equal(wanted(&eight, (struct handoff_load){0}), ALL);
    assert_int_equal(wanted(&one, (struct handoff_load){0}), ALL);
    pinned.takes[TASK_URGENT] = false;
    assert_int_equal(wanted(&pinned, (struct handoff_load){0}), COMMON);
}

static void
the_last_slot_is_kept_for_urgent_work(void **state)
{
    (void)state;
    assert_int_equal(wanted(&eight, (struct handoff_load){.other_slots = 6}), ALL);
    assert_int_equal(wanted(&eight, (struct handoff_load){.other_slots = 7}), URGENT);
    assert_int_equal(wanted(&eight, (struct handoff_load){.other_slots = 7, .urgent_slots = 1}), 0);
    assert_int_equal(wanted(&eight, (struct handoff_load){.urgent_slots = 7}), ALL);
    assert_int_equal(wanted(&eight, (struct handoff_load){.urgent_slots = 8}), 0);
}

static void
one_slot_has_no_reserve_and_takes_one_task(void **state)
{
    (void)state;
    assert_int_equal(wanted(&one, (struct handoff_load){.other_slots = 1}), 0);
    assert_int_equal(wanted(&one, (struct handoff_load){.urgent_slots = 1}), 0);
}

static void
a_job_that_waits_for_slots_stops_its_class_but_not_the_reserve(void **state)
{
    (void)state;
    /* 4 slots run, 5 more are waited for. */
    assert_int_equal(wanted(&eight, (struct handoff_load){.other_slots = 9}), URGENT);
    assert_int_equal(wanted(&eight, (struct handoff_load){.other_slots = 9, .urgent_slots = 1}), 0);
}

static void
a_suspect_runs_alone(void **state)
{
    (void)state;
    assert_int_equal(
        wanted(&eight, (struct handoff_load){.other_slots = 1, .crashes = QUEUE_SUSPECT_AT}), 0);
    assert_int_equal(
        wanted(&eight, (struct handoff_load){.other_slots = 1, .crashes = QUEUE_SUSPECT_AT - 1}),
        ALL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_32_turns_28_look_at_urgent_first_3_at_normal_and_1_at_low),
        cmocka_unit_test(weights_of_1_0_0_are_strict_and_equal_ones_take_turns),
        cmocka_unit_test(an_empty_worker_waits_for_everything_it_takes),
        cmocka_unit_test(the_last_slot_is_kept_for_urgent_work),
        cmocka_unit_test(one_slot_has_no_reserve_and_takes_one_task),
        cmocka_unit_test(a_job_that_waits_for_slots_stops_its_class_but_not_the_reserve),
        cmocka_unit_test(a_suspect_runs_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
