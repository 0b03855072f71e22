/*
 * handoff_test.c - Jobs between three threads: nothing lost, nothing twice, stop flags
 * where they belong. Built with -fsanitize=thread it also shows that nothing races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "worker/handoff.h"

static struct job *
make_job(unsigned number, enum task_priority priority, uint32_t slots)
{
    struct job *job = job_new();

    assert_non_null(job);
    snprintf(job->id, sizeof(job->id), "00000000-0000-4000-8000-%012u", number);
    job->fence = number + 1;
    job->priority = priority;
    job->slots = slots;
    return job;
}

static struct handoff *
make_handoff(void)
{
    struct error err;
    struct handoff *h = handoff_new(&err);

    assert_non_null(h);
    return h;
}

static struct job *
give(struct handoff *h, unsigned number, enum task_priority priority, uint32_t slots)
{
    struct job *job = make_job(number, priority, slots);
    struct error err;

    assert_int_equal(handoff_give(h, job, &err), 0);
    return job;
}

static bool
is_awake(struct handoff *h, enum handoff_thread thread)
{
    struct pollfd fd = {.fd = handoff_fd(h, thread), .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

static void
a_job_goes_to_the_engine_and_back_and_is_forgotten(void **state)
{
    struct handoff *h = make_handoff();
    struct job *job = give(h, 1, TASK_NORMAL, 1);

    (void)state;
    assert_true(is_awake(h, HANDOFF_ENGINE));
    assert_false(is_awake(h, HANDOFF_LINK));
    assert_ptr_equal(handoff_take(h), job);
    assert_null(handoff_take(h));
    assert_null(handoff_next_finished(h));

    handoff_finish(h, job);
    assert_true(is_awake(h, HANDOFF_LINK));
    assert_ptr_equal(handoff_next_finished(h), job);
    assert_null(handoff_next_finished(h));
    assert_true(handoff_holds(h, job->id, job->fence)); /* until Redis has answered */

    handoff_forget(h, job);
    assert_int_equal(handoff_load(h).n_jobs, 0);
    handoff_free(h);
}

static void
urgent_jobs_are_taken_first_and_others_in_order(void **state)
{
    static const enum task_priority given[] = {
        TASK_LOW, TASK_URGENT, TASK_NORMAL, TASK_URGENT, TASK_LOW};
    static const unsigned expected[] = {1, 3, 0, 2, 4};
    struct handoff *h = make_handoff();
    struct job *jobs[5];

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        jobs[i] = give(h, i, given[i], 1);
    for (unsigned i = 0; i < 5; i++)
        assert_ptr_equal(handoff_take(h), jobs[expected[i]]);
    jobs[0] = give(h, 5, TASK_NORMAL, 1); /* into the emptied list */
    assert_ptr_equal(handoff_take(h), jobs[0]);
    handoff_free(h);
}

static void
a_refused_job_never_reaches_the_engine_but_holds_its_lease(void **state)
{
    struct handoff *h = make_handoff();
    struct job *job = make_job(1, TASK_NORMAL, 1);
    struct error why = {.code = ERR_CORRUPT, .text = "cut short"};
    struct error err;

    (void)state;
    job_fail(job, "input_corrupt", false, &why);
    assert_int_equal(handoff_refuse(h, job, &err), 0);
    assert_null(handoff_take(h));
    assert_true(handoff_holds(h, job->id, job->fence));
    assert_ptr_equal(handoff_next_finished(h), job);
    assert_int_equal(job->outcome, JOB_FAILED);
    assert_string_equal(job->error_text, "cut short");
    handoff_free(h);
}

static void
the_load_tells_urgent_from_others_and_knows_the_widest(void **state)
{
    struct handoff *h = make_handoff();
    struct handoff_load load;

    (void)state;
    give(h, 1, TASK_URGENT, 2);
    give(h, 2, TASK_NORMAL, 5);
    give(h, 3, TASK_LOW, 1)->crashes = 2;
    load = handoff_load(h);
    assert_int_equal(load.n_jobs, 3);
    assert_int_equal(load.urgent_slots, 2);
    assert_int_equal(load.other_slots, 6);
    assert_int_equal(load.crashes, 2);
    handoff_free(h);
}

static void
a_stop_reaches_the_job_of_that_fence_only(void **state)
{
    struct handoff *h = make_handoff();
    struct job *job = give(h, 1, TASK_NORMAL, 1);

    (void)state;
    handoff_clear(h, HANDOFF_ENGINE);
    handoff_stop(h, job->id, job->fence + 1, JOB_STOP_CANCELLED);
    assert_false(atomic_load(&job->stop));
    handoff_clear(h, HANDOFF_ENGINE);
    handoff_stop(h, job->id, job->fence, JOB_STOP_CANCELLED);
    assert_true(atomic_load(&job->stop));
    assert_int_equal(job_stop_reason(job), JOB_STOP_CANCELLED);
    assert_true(is_awake(h, HANDOFF_ENGINE));
    handoff_free(h);
}

static void
the_first_reason_to_stop_stays_unless_the_lease_is_lost(void **state)
{
    struct handoff *h = make_handoff();
    struct job *job = give(h, 1, TASK_NORMAL, 1);

    (void)state;
    handoff_stop(h, job->id, job->fence, JOB_STOP_DEADLINE);
    handoff_stop_all(h, JOB_STOP_RELEASE);
    assert_int_equal(job_stop_reason(job), JOB_STOP_DEADLINE);
    handoff_stop(h, job->id, job->fence, JOB_STOP_FENCED);
    assert_int_equal(job_stop_reason(job), JOB_STOP_FENCED);
    handoff_stop_all(h, JOB_STOP_RELEASE);
    assert_int_equal(job_stop_reason(job), JOB_STOP_FENCED);
    handoff_free(h);
}

static int64_t fake_now_ms;

static int64_t
fake_monotonic(void)
{
    return fake_now_ms;
}

static void
a_stop_flag_is_ignored_only_by_an_engine_that_keeps_the_job(void **state)
{
    struct handoff *h = make_handoff();
    struct job *job = give(h, 1, TASK_NORMAL, 1);
    struct handoff_lease lease;

    (void)state;
    fake_now_ms = 1000;
    clock_replace(fake_monotonic, NULL);
    assert_false(handoff_ignored(h, 15000, &lease));
    handoff_stop(h, job->id, job->fence, JOB_STOP_FENCED);
    fake_now_ms += 15000;
    assert_false(handoff_ignored(h, 15000, &lease));
    fake_now_ms += 1;
    assert_true(handoff_ignored(h, 15000, &lease));
    assert_string_equal(lease.id, job->id);
    handoff_stop(h, job->id, job->fence, JOB_STOP_CANCELLED); /* again: counts from the first */
    assert_true(handoff_ignored(h, 15000, &lease));

    assert_ptr_equal(handoff_take(h), job);
    handoff_finish(h, job); /* the link may take as long as Redis is away */
    assert_false(handoff_ignored(h, 15000, &lease));
    clock_replace(NULL, NULL);
    handoff_free(h);
}

static void
a_full_table_refuses_and_keeps_what_it_has(void **state)
{
    struct handoff *h = make_handoff();
    struct job *one_more = make_job(HANDOFF_JOBS_MAX, TASK_NORMAL, 1);
    struct handoff_lease *leases = calloc(HANDOFF_JOBS_MAX, sizeof(*leases));
    struct error err;

    (void)state;
    assert_non_null(leases);
    for (unsigned i = 0; i < HANDOFF_JOBS_MAX; i++)
        give(h, i, TASK_NORMAL, 1);
    assert_int_equal(handoff_give(h, one_more, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    job_free(one_more);
    assert_int_equal(handoff_leases(h, leases), HANDOFF_JOBS_MAX);
    free(leases);
    handoff_free(h);
}

/* ---- three threads ---- */

#define MANY 2000

struct crowd {
    struct handoff *h;
    atomic_bool is_over;
};

static void *
engine_like(void *cookie)
{
    struct crowd *c = cookie;

    while (!atomic_load(&c->is_over)) {
        struct job *job = handoff_take(c->h);

        if (job == NULL) {
            handoff_wait(c->h, HANDOFF_ENGINE, 100);
            continue;
        }
        atomic_fetch_add(handoff_ticks(c->h), 1);
        atomic_store(&job->step, 7);
        job->outcome = atomic_load(&job->stop) ? JOB_STOPPED : JOB_COMPLETED;
        job->batch_size = 3;
        handoff_finish(c->h, job);
    }
    return NULL;
}

static void *
beat_like(void *cookie)
{
    struct crowd *c = cookie;
    struct handoff_lease *leases = calloc(HANDOFF_JOBS_MAX, sizeof(*leases));

    while (leases != NULL && !atomic_load(&c->is_over)) {
        size_t n = handoff_leases(c->h, leases);

        for (size_t i = 0; i < n; i += 5)
            handoff_stop(c->h, leases[i].id, leases[i].fence, JOB_STOP_CANCELLED);
        handoff_load(c->h);
    }
    free(leases);
    return NULL;
}

static void
many_jobs_pass_three_threads_each_exactly_once(void **state)
{
    struct crowd c = {.h = make_handoff()};
    char *seen = calloc(MANY, 1);
    pthread_t engine, beat;
    unsigned given = 0, done = 0;

    (void)state;
    assert_non_null(seen);
    assert_int_equal(pthread_create(&engine, NULL, engine_like, &c), 0);
    assert_int_equal(pthread_create(&beat, NULL, beat_like, &c), 0);
    while (done < MANY) {
        struct job *job;

        while (given < MANY && given - done < 64) {
            give(c.h, given, given % 7 == 0 ? TASK_URGENT : TASK_LOW, 1);
            given++;
        }
        if ((job = handoff_next_finished(c.h)) == NULL) {
            handoff_wait(c.h, HANDOFF_LINK, 100);
            continue;
        }
        assert_true(job->outcome == JOB_COMPLETED || job->outcome == JOB_STOPPED);
        assert_int_equal(job->batch_size, 3);
        assert_int_equal(seen[job->fence - 1], 0);
        seen[job->fence - 1] = 1;
        handoff_forget(c.h, job);
        done++;
    }
    atomic_store(&c.is_over, true);
    pthread_join(engine, NULL);
    pthread_join(beat, NULL);
    assert_int_equal(handoff_load(c.h).n_jobs, 0);
    assert_true(atomic_load(handoff_ticks(c.h)) == MANY);
    handoff_free(c.h);
    free(seen);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_goes_to_the_engine_and_back_and_is_forgotten),
        cmocka_unit_test(urgent_jobs_are_taken_first_and_others_in_order),
        cmocka_unit_test(a_refused_job_never_reaches_the_engine_but_holds_its_lease),
        cmocka_unit_test(the_load_tells_urgent_from_others_and_knows_the_widest),
        cmocka_unit_test(a_stop_reaches_the_job_of_that_fence_only),
        cmocka_unit_test(the_first_reason_to_stop_stays_unless_the_lease_is_lost),
        cmocka_unit_test(a_stop_flag_is_ignored_only_by_an_engine_that_keeps_the_job),
        cmocka_unit_test(a_full_table_refuses_and_keeps_what_it_has),
        cmocka_unit_test(many_jobs_pass_three_threads_each_exactly_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
