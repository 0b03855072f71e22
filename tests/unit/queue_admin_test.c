/*
 * queue_admin_test.c - What operators do to queues and workers, what they see, the audit, and
 * estimates. Against a real Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/queue/queue_admin.h"
#include "tests/support/queue_fixture.h"

static bool
control(struct queue_fixture *f, enum queue_action action, enum task_priority priority)
{
    struct queue_call call;

    return queue_fixture_do(f, queue_control_call(&f->q, action, priority, &call, &f->err), &call);
}

static struct queue_control
beat(struct queue_fixture *f, const char *worker, const struct queue_speed *warm_up)
{
    const struct queue_presence p = {.worker = worker,
        .name = "w-1",
        .host = "here",
        .version = "0.1.0",
        .kernel = "avx2",
        .pid = 4711,
        .slots = 4,
        .busy = 1,
        .context = 512,
        .warm_up = warm_up ? *warm_up : (struct queue_speed){0}};
    struct queue_control out;

    if (queue_beat(f->c, &f->q, &p, &out, &f->err) == -1)
        fail_msg("beat: %s", f->err.text);
    return out;
}

static struct queue_load
load(struct queue_fixture *f)
{
    struct queue_load out;
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_load_call(&f->q, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    if (queue_load_parse(reply, &out, &f->err) == -1)
        fail_msg("load: %s", f->err.text);
    freeReplyObject(reply);
    return out;
}

/* ---- control ---- */

static void
a_resumed_queue_gets_the_hints_that_were_spent_in_vain(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];

    for (int i = 0; i < 250; i++)
        queue_fixture_submit(f, i % 2 ? TASK_NORMAL : TASK_URGENT, id);
    assert_true(control(f, QUEUE_PAUSE, QUEUE_ALL_PRIORITIES));
    assert_true(load(f).queues[TASK_LOW].is_paused);
    queue_fixture_int(f, "DEL ~:list:normal ~:list:urgent"); /* workers took them all */
    assert_true(control(f, QUEUE_RESUME, TASK_NORMAL));
    assert_int_equal(queue_fixture_int(f, "LLEN ~:list:normal"), 125);
    assert_int_equal(queue_fixture_int(f, "LLEN ~:list:urgent"), 0);
    struct queue_control c = beat(f, f->worker, NULL);

    assert_false(c.paused[TASK_NORMAL]); /* the others are paused still */
    assert_true(c.paused[TASK_URGENT] && c.paused[TASK_LOW]);
    assert_true(control(f, QUEUE_RESUME, QUEUE_ALL_PRIORITIES));
    assert_int_equal(queue_fixture_int(f, "LLEN ~:list:urgent"), 125);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:control"), 0);
}

static void
one_paused_priority_stays_paused_when_it_is_paused_twice(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_control c;

    control(f, QUEUE_PAUSE, TASK_LOW);
    control(f, QUEUE_PAUSE, TASK_LOW);
    c = beat(f, f->worker, NULL);
    assert_true(c.paused[TASK_LOW]);
    assert_false(c.paused[TASK_URGENT] || c.paused[TASK_NORMAL]);
    control(f, QUEUE_RESUME, TASK_LOW);
    assert_false(beat(f, f->worker, NULL).paused[TASK_LOW]);
}

static void
a_draining_queue_takes_nothing_until_it_is_opened(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1];

    control(f, QUEUE_DRAIN, QUEUE_ALL_PRIORITIES);
    queue_fixture_fill(&s, &series, id);
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_DRAINING);
    control(f, QUEUE_OPEN, TASK_NORMAL);
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    assert_true(load(f).queues[TASK_LOW].is_draining);
    assert_false(load(f).queues[TASK_NORMAL].is_draining);
}

static void
weights_reach_the_workers_with_their_next_beat(void **state)
{
    struct queue_fixture *f = *state;
    const unsigned strict[] = {1, 0, 0}, none[] = {0, 0, 0}, large[] = {1000, 1, 1};
    struct queue_control c = beat(f, f->worker, NULL);
    struct queue_call call;

    assert_false(c.has_weights);
    assert_true(queue_fixture_do(f, queue_weights_call(&f->q, strict, &call, &f->err), &call));
    c = beat(f, f->worker, NULL);
    assert_true(c.has_weights);
    assert_memory_equal(c.weights, strict, sizeof(strict));
    assert_int_equal(queue_weights_call(&f->q, none, &call, &f->err), -1);
    assert_int_equal(queue_weights_call(&f->q, large, &call, &f->err), -1);
    queue_fixture_int(f, "HSET ~:control weights 1,2,x"); /* not by us */
    assert_false(beat(f, f->worker, NULL).has_weights);
    assert_true(queue_fixture_do(f, queue_weights_call(&f->q, NULL, &call, &f->err), &call));
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:control"), 0);
}

static void
a_quiet_worker_hears_of_it_with_its_next_beat(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_call call;

    assert_false(
        queue_fixture_do(f, queue_quiet_call(&f->q, f->worker, true, &call, &f->err), &call));
    beat(f, f->worker, NULL);
    assert_true(
        queue_fixture_do(f, queue_quiet_call(&f->q, f->worker, true, &call, &f->err), &call));
    assert_true(beat(f, f->worker, NULL).quiet);
    assert_int_equal(load(f).n_quiet, 1);
    assert_true(
        queue_fixture_do(f, queue_quiet_call(&f->q, f->worker, false, &call, &f->err), &call));
    assert_false(beat(f, f->worker, NULL).quiet);
}

/* ---- audit ---- */

static int
audit_all(struct queue_fixture *f)
{
    struct queue_audited a = {.cursor = "0"};
    int fixed = 0;

    do {
        if (queue_audit(f->c, &f->q, a.cursor, &a, &f->err) == -1)
            fail_msg("audit: %s", f->err.text);
        fixed += a.fixed;
    } while (strcmp(a.cursor, "0") != 0);
    return fixed;
}

/* A task in every state, running last. */
static void
one_of_each(struct queue_fixture *f, char (*id)[ID_LEN + 1])
{
    struct queue_submission s;
    struct queue_series series;
    struct queue_token t;
    enum queue_end end;

    for (int i = 0; i < 4; i++) { /* queued, parked, dead, running */
        queue_fixture_fill(&s, &series, id[i]);
        s.deadline_in_ms = 3600000;
        assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    }
    for (int i = 1; i < 4; i++) {
        queue_fixture_int(f, "DEL ~:list:normal");
        queue_fixture_int(f, "RPUSH ~:list:normal %s", id[i]);
        t = queue_fixture_take(f, TASK_NORMAL, id[i], f->worker);
        if (i < 3)
            assert_int_equal(
                queue_fail(f->c, &f->q, &t, "inference_failed", "x", i == 1, &end, &f->err), 0);
    }
    queue_fixture_int(f, "DEL ~:list:normal");
    queue_fixture_int(f, "RPUSH ~:list:normal %s", id[0]);
}

static void
an_audit_of_a_sound_queue_finds_nothing(void **state)
{
    struct queue_fixture *f = *state;
    char id[4][ID_LEN + 1];

    assert_int_equal(audit_all(f), 0);
    one_of_each(f, id);
    for (int i = 0; i < 300; i++) {
        char more[ID_LEN + 1];

        queue_fixture_submit(f, TASK_LOW, more);
    }
    assert_int_equal(audit_all(f), 0);
    assert_int_equal(queue_fixture_stat(f, "audit_fixed"), 0);
}

static void
a_task_whose_index_was_lost_is_found_by_the_audit(void **state)
{
    struct queue_fixture *f = *state;
    char id[4][ID_LEN + 1];

    one_of_each(f, id);
    queue_fixture_int(f, "DEL ~:queued:normal ~:running ~:later ~:dead ~:deadline");
    assert_int_equal(audit_all(f), 6); /* four, and two deadlines */
    assert_int_equal(audit_all(f), 0);
    assert_true(queue_fixture_int(f, "ZSCORE ~:queued:normal %s", id[0]) > 0);
    assert_true(queue_fixture_int(f, "ZSCORE ~:later %s", id[1]) > 0);
    assert_true(queue_fixture_int(f, "ZSCORE ~:dead %s", id[2]) > 0);
    assert_true(queue_fixture_int(f, "ZSCORE ~:running %s", id[3]) > 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:deadline"), 2);
    assert_int_equal(queue_fixture_stat(f, "audit_fixed"), 6);
    queue_fixture_take(f, TASK_NORMAL, id[0], f->worker);
}

static void
a_task_that_is_indexed_where_it_is_not_is_taken_out_there(void **state)
{
    struct queue_fixture *f = *state;
    char id[4][ID_LEN + 1], done[ID_LEN + 1];
    struct queue_token t;
    enum queue_end end;

    one_of_each(f, id);
    queue_fixture_submit(f, TASK_URGENT, done);
    t = queue_fixture_take(f, TASK_URGENT, done, f->worker);
    assert_int_equal(queue_complete(f->c, &f->q, &t, "x", 1, &end, &f->err), 0);
    for (int i = 0; i < 4; i++)
        queue_fixture_int(f, "ZADD ~:running NX 1 %s", id[i]);
    queue_fixture_int(f, "ZADD ~:later 1 %s 1 %s", id[0], done);
    queue_fixture_int(f, "ZADD ~:queued:low 1 %s 2 %s", id[1], done);
    queue_fixture_int(f, "PERSIST ~:task:%s", done);
    /* running, later, low, TTL; a deadline that went with low, and low's three sums below zero */
    assert_int_equal(audit_all(f), 3 + 2 + 2 + 1 + 1 + 3);
    assert_int_equal(audit_all(f), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:running"), 1);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:later"), 1);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:low"), 0);
    assert_true(queue_fixture_int(f, "PTTL ~:task:%s", done) > 0);
}

static void
an_audit_does_not_judge_what_it_cannot_read(void **state)
{
    struct queue_fixture *f = *state;

    queue_fixture_int(f, "SET ~:task:text x");
    queue_fixture_int(f, "HSET ~:task:half state queued");
    queue_fixture_int(f, "HSET ~:task:wrong state queued priority highest seq x");
    queue_fixture_int(f, "HSET ~:stats queued_steps:low -7");
    assert_int_equal(audit_all(f), 1); /* an empty queue has no steps */
    assert_int_equal(queue_fixture_stat(f, "queued_steps:low"), 0);
}

/* ---- load and estimates ---- */

static void
the_load_is_what_waits_what_runs_and_who_works(void **state)
{
    struct queue_fixture *f = *state;
    const struct queue_speed speed = {0.001, 0.05}, later = {9, 9};
    struct queue_submission s;
    struct queue_series series;
    struct queue_load l = load(f);
    struct queue_renewal r;
    enum queue_renew_code code;
    char id[ID_LEN + 1];

    assert_true(l.speed.prefill_seconds <= 0 && l.n_live == 0 && l.queues[0].depth == 0);
    beat(f, f->worker, &speed);
    beat(f, f->other, &later); /* the first worker's warm-up counts */
    queue_fixture_fill(&s, &series, id);
    series.horizon = 120;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    r = (struct queue_renewal){.id = id,
        .fence = queue_fixture_take(f, TASK_NORMAL, id, f->worker).fence,
        .ticks = 1,
        .step = 30};
    assert_int_equal(
        queue_renew(f->c, &f->q, f->worker, 3600000, 3600000, &r, 1, &code, &f->err), 0);
    for (int i = 0; i < 3; i++) {
        char more[ID_LEN + 1];

        queue_fixture_submit(f, TASK_LOW, more);
        if (i == 0)
            queue_fixture_int(f, "HINCRBY ~:task:%s created_ms -5000", more);
    }
    l = load(f);
    assert_int_equal(l.n_live, 2);
    assert_int_equal(l.slots, 8);
    assert_int_equal(l.busy, 2);
    assert_true(fabs(l.speed.prefill_seconds - 0.001) < 1e-12);
    assert_true(fabs(l.speed.step_seconds - 0.05) < 1e-12);
    assert_int_equal(l.n_running, 1);
    assert_int_equal(l.running_steps, 90);
    assert_int_equal(l.running_prefill, 294); /* three quarters of 393 */
    assert_int_equal(l.queues[TASK_NORMAL].depth, 0);
    assert_int_equal(l.queues[TASK_LOW].depth, 3);
    assert_int_equal(l.queues[TASK_LOW].prefill, 3 * 393);
    assert_int_equal(l.queues[TASK_LOW].steps, 3 * 120);
    assert_int_equal(l.queues[TASK_LOW].bytes, 3 * 9);
    assert_in_range(l.queues[TASK_LOW].oldest_ms, 5000, 60000);
}

static void
an_estimate_is_the_formula_of_the_contract(void **state)
{
    struct queue_load l = {.n_live = 2,
        .slots = 8,
        .speed = {0.001, 0.1},
        .n_running = 2,
        .busy = 6,
        .running_prefill = 100,
        .running_steps = 40};
    struct queue_work w = {
        .priority = TASK_NORMAL, .prefill_tokens = 400, .horizon = 10, .samples = 3};
    double start, finish;

    (void)state;
    /* two slots are free and it wants three: behind what runs */
    assert_true(queue_estimate(&l, &w, &start, &finish));
    assert_true(fabs(start - (0.001 * 100 / 2 + 0.1 * 40 / 8)) < 1e-9);
    assert_true(fabs(finish - start - (0.001 * 400 + 0.1 * 10)) < 1e-9);
    w.samples = 2;
    assert_true(queue_estimate(&l, &w, &start, &finish));
    assert_true(start == 0);
    w.samples = 9; /* three rounds of four slots */
    l.busy = 2;
    assert_true(queue_estimate(&l, &w, &start, &finish));
    assert_true(start == 0);
    assert_true(fabs(finish - (0.4 + 0.1 * 10 * 3)) < 1e-9);
    /* urgent work and half of its own queue go first */
    l.queues[TASK_URGENT].depth = 1;
    l.queues[TASK_URGENT].steps = 80;
    l.queues[TASK_NORMAL].depth = 4;
    l.queues[TASK_NORMAL].steps = 160;
    l.queues[TASK_LOW].steps = 99999;
    w.position = 3;
    assert_true(queue_estimate(&l, &w, &start, &finish));
    assert_true(fabs(start - (0.05 + 0.1 * (40 + 80 + 80) / 8)) < 1e-9);
    w.position = 0;
    assert_true(queue_estimate(&l, &w, &start, &finish));
    assert_true(fabs(start - (0.05 + 0.1 * (40 + 80 + 160) / 8)) < 1e-9);
    assert_true(fabs(queue_backlog_seconds(&l, TASK_NORMAL) - start) < 1e-9);
    /* what an operator stopped is not in the way */
    l.queues[TASK_URGENT].is_paused = true;
    w.position = 1;
    l.busy = 0;
    assert_true(queue_estimate(&l, &w, &start, &finish));
    assert_true(start == 0);
    w.is_running = true;
    w.step = 5;
    assert_true(queue_estimate(&l, &w, &start, &finish));
    assert_true(start == 0);
    assert_true(fabs(finish - 0.5 * (0.4 + 0.1 * 10 * 3)) < 1e-9);
    w.step = 500;
    assert_true(queue_estimate(&l, &w, &start, &finish));
    assert_true(finish == 0);
}

static void
a_group_ends_with_its_slowest_member_or_when_the_workers_have_shared_its_work(void **state)
{
    struct queue_load l = {
        .n_live = 2, .slots = 8, .busy = 8, .running_steps = 40, .speed = {0.001, 0.1}};
    struct queue_work works[3];
    double start, finish, member_start, member_finish;

    (void)state;
    for (int i = 0; i < 3; i++)
        works[i] = (struct queue_work){
            .priority = TASK_NORMAL, .prefill_tokens = 400, .horizon = 10, .samples = 4};
    works[2].horizon = 50;
    assert_true(queue_estimate(&l, &works[2], &member_start, &member_finish));
    assert_true(queue_estimate_group(&l, works, 3, &start, &finish));
    assert_true(fabs(start - member_start) < 1e-9);
    assert_true(fabs(finish - member_finish) < 1e-9); /* 0.4 + 5 s; all together 0.6 + 3.5 s */
    works[2].horizon = 10;
    for (int i = 0; i < 3; i++)
        works[i].samples = 8; /* two rounds each, and there are two workers */
    assert_true(queue_estimate_group(&l, works, 3, &start, &finish));
    assert_true(fabs(finish - start - (0.001 * 1200 / 2 + 0.1 * 240 / 8)) < 1e-9);
    works[0].is_running = true; /* half done */
    works[0].step = 5;
    assert_true(queue_estimate_group(&l, works, 3, &start, &finish));
    assert_true(start == 0);
    assert_true(fabs(finish - (0.001 * 1000 / 2 + 0.1 * 200 / 8)) < 1e-9);
    assert_false(queue_estimate_group(&l, works, 0, &start, &finish));
    l.n_live = 0;
    assert_false(queue_estimate_group(&l, works, 3, &start, &finish));
}

static void
what_is_not_known_is_not_estimated(void **state)
{
    const struct queue_load good = {.n_live = 1, .slots = 4, .speed = {0.001, 0.1}};
    const struct queue_work w = {.priority = TASK_LOW, .horizon = 1, .samples = 1};
    struct queue_load l;
    double start, finish;

    (void)state;
    assert_true(queue_estimate(&good, &w, &start, &finish));
    l = good;
    l.n_live = 0;
    assert_false(queue_estimate(&l, &w, &start, &finish));
    assert_true(queue_backlog_seconds(&l, TASK_LOW) < 0);
    l = good;
    l.slots = 0;
    assert_false(queue_estimate(&l, &w, &start, &finish));
    l = good;
    l.speed.step_seconds = 0;
    assert_false(queue_estimate(&l, &w, &start, &finish));
    l = good;
    l.queues[TASK_LOW].is_paused = true;
    assert_false(queue_estimate(&l, &w, &start, &finish));
}

/* ---- lists ---- */

static void
every_worker_of_the_last_minute_is_listed(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_worker w;
    struct queue_call call;
    redisReply *reply;
    int64_t now_ms;
    size_t n;

    beat(f, f->other, NULL);
    queue_fixture_int(f, "ZINCRBY ~:workers -20000 %s", f->other); /* lost, not forgotten */
    beat(f, f->worker, NULL);
    queue_fixture_int(f, "HSET ~:worker:%s quiet 1 done many", f->worker);
    queue_fixture_int(f, "ZADD ~:workers 99999999999999 no-uuid");
    queue_fixture_int(f, "HSET ~:worker:no-uuid slots 1");
    assert_int_equal(queue_workers_call(&f->q, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_workers_parse(reply, &now_ms, &n, &f->err), 0);
    assert_int_equal(n, 3);
    assert_int_equal(queue_worker_parse(reply, 0, &w), -1);
    assert_int_equal(queue_worker_parse(reply, 1, &w), 0);
    assert_string_equal(w.worker, f->worker);
    assert_string_equal(w.host, "here");
    assert_string_equal(w.kernel, "avx2");
    assert_int_equal(w.pid, 4711);
    assert_int_equal(w.slots, 4);
    assert_int_equal(w.done, 0);
    assert_true(w.is_quiet);
    assert_true(now_ms - w.beat_ms < QUEUE_PRESENCE_MS);
    assert_int_equal(queue_worker_parse(reply, 2, &w), 0);
    assert_string_equal(w.worker, f->other);
    assert_false(w.is_quiet);
    assert_true(now_ms - w.beat_ms > QUEUE_PRESENCE_MS);
    assert_int_equal(queue_worker_parse(reply, 3, &w), -1);
    freeReplyObject(reply);
}

struct seen {
    size_t n, n_pages;
    char ids[64][ID_LEN + 1];
    bool is_group[64];
};

static void
all_pages(struct queue_fixture *f, struct queue_page_request r, struct seen *seen)
{
    struct queue_page page = {0};

    *seen = (struct seen){0};
    do {
        struct queue_call call;
        redisReply *reply;

        r.cursor = page.cursor;
        char cursor[QUEUE_PAGE_CURSOR_MAX];

        memcpy(cursor, page.cursor, sizeof(cursor));
        r.cursor = cursor;
        if (queue_page_call(&f->q, &r, &call, &f->err) == -1)
            fail_msg("page: %s", f->err.text);
        reply = queue_fixture_run(f, &call);
        assert_int_equal(queue_page_parse(reply, &page, &f->err), 0);
        assert_true(page.n <= (size_t)r.limit);
        for (size_t i = 0; i < page.n; i++) {
            struct queue_task_view view;

            assert_true(seen->n < 64);
            assert_int_equal(queue_page_item_parse(reply, i, seen->ids[seen->n],
                                 &seen->is_group[seen->n], &view, &f->err),
                0);
            assert_true(view.found);
            seen->n++;
        }
        seen->n_pages++;
        assert_true(seen->n_pages < 100);
        freeReplyObject(reply);
    } while (page.cursor[0] != '\0');
}

static void
an_owners_tasks_are_listed_newest_first_each_once(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_page_request r = {.list = QUEUE_LIST_OWNER, .owner = "local", .limit = 3};
    char id[20][ID_LEN + 1];
    struct seen seen;

    all_pages(f, r, &seen);
    assert_int_equal(seen.n, 0);
    for (int i = 0; i < 20; i++) {
        queue_fixture_submit(f, i % 2 ? TASK_LOW : TASK_NORMAL, id[i]);
        /* four of one millisecond each */
        queue_fixture_int(f, "ZADD ~:owner:local %d %s", 1000 + i / 4, id[i]);
    }
    queue_fixture_int(f, "DEL ~:task:%s", id[5]); /* nobody knows it any more */
    for (int limit = 1; limit <= 20; limit += 3) {
        r.limit = limit;
        all_pages(f, r, &seen);
        assert_int_equal(seen.n, 19);
        for (size_t i = 0; i < seen.n; i++) {
            int score = (int)queue_fixture_int(f, "ZSCORE ~:owner:local %s", seen.ids[i]);

            if (i > 0)
                assert_true(
                    score <= queue_fixture_int(f, "ZSCORE ~:owner:local %s", seen.ids[i - 1]));
            for (size_t j = 0; j < i; j++)
                assert_string_not_equal(seen.ids[i], seen.ids[j]);
        }
    }
    r.has_priority = true;
    r.priority = TASK_LOW;
    all_pages(f, r, &seen);
    assert_int_equal(seen.n, 9);
    r.has_status = true;
    r.status = TASK_COMPLETED;
    all_pages(f, r, &seen);
    assert_int_equal(seen.n, 0);
    r = (struct queue_page_request){.list = QUEUE_LIST_RECENT, .limit = 200};
    all_pages(f, r, &seen);
    assert_int_equal(seen.n, 19);
    r = (struct queue_page_request){.list = QUEUE_LIST_OWNER, .owner = "other", .limit = 200};
    all_pages(f, r, &seen);
    assert_int_equal(seen.n, 0);
}

static void
a_group_is_one_entry_of_its_owners_list(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_page_request r = {.list = QUEUE_LIST_OWNER, .owner = "local", .limit = 10};
    struct queue_submission s;
    struct queue_series series[2];
    char id[2][ID_LEN + 1], group[ID_LEN + 1];
    struct seen seen;

    for (int i = 0; i < 2; i++)
        queue_fixture_fill(&s, &series[i], id[i]);
    id_new(group);
    s.id = group;
    s.n_series = 2;
    s.series = series;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    all_pages(f, r, &seen);
    assert_int_equal(seen.n, 1);
    assert_string_equal(seen.ids[0], group);
    assert_true(seen.is_group[0]);
}

static void
dead_letters_are_listed_while_they_can_be_requeued(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_page_request r = {.list = QUEUE_LIST_DEAD, .limit = 2};
    struct queue_call call;
    struct queue_token t;
    enum queue_end end;
    char id[3][ID_LEN + 1];
    struct seen seen;

    for (int i = 0; i < 3; i++) {
        queue_fixture_submit(f, TASK_NORMAL, id[i]);
        t = queue_fixture_take(f, TASK_NORMAL, id[i], f->worker);
        assert_int_equal(
            queue_fail(f->c, &f->q, &t, "inference_failed", "x", false, &end, &f->err), 0);
        queue_fixture_int(f, "ZADD ~:dead %d %s", 100 + i, id[i]);
    }
    queue_fixture_int(f, "HSET ~:task:%s finished_ms 1", id[2]); /* gone to its client */
    all_pages(f, r, &seen);
    assert_int_equal(seen.n, 3);
    assert_string_equal(seen.ids[0], id[2]);
    assert_string_equal(seen.ids[2], id[0]);
    assert_true(queue_fixture_do(f, queue_discard_call(&f->q, id[1], &call, &f->err), &call));
    assert_true(queue_fixture_do(f, queue_requeue_call(&f->q, id[2], &call, &f->err), &call));
    all_pages(f, r, &seen);
    assert_int_equal(seen.n, 1);
}

static void
a_cursor_that_is_none_of_ours_is_refused(void **state)
{
    struct queue_fixture *f = *state;
    static const char *const bad[] = {"x", "5", "5-", "-0f9aa4c2-6b4e-4d9c-8d0e-3b7c5f1e2a90",
        "5-0f9aa4c2-6b4e-4d9c-8d0e-3b7c5f1e2a9", "5-0F9AA4C2-6B4E-4D9C-8D0E-3B7C5F1E2A90",
        "99999999999999999999-0f9aa4c2-6b4e-4d9c-8d0e-3b7c5f1e2a90"};
    struct queue_page_request r = {.list = QUEUE_LIST_DEAD, .limit = 2};
    struct queue_call call;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        r.cursor = bad[i];
        assert_int_equal(queue_page_call(&f->q, &r, &call, &f->err), -1);
        assert_int_equal(f->err.code, ERR_INVALID);
    }
    r = (struct queue_page_request){.list = QUEUE_LIST_OWNER, .limit = 2};
    assert_int_equal(queue_page_call(&f->q, &r, &call, &f->err), -1);
    r = (struct queue_page_request){.list = QUEUE_LIST_DEAD, .limit = 201};
    assert_int_equal(queue_page_call(&f->q, &r, &call, &f->err), -1);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(a_resumed_queue_gets_the_hints_that_were_spent_in_vain),
        test(one_paused_priority_stays_paused_when_it_is_paused_twice),
        test(a_draining_queue_takes_nothing_until_it_is_opened),
        test(weights_reach_the_workers_with_their_next_beat),
        test(a_quiet_worker_hears_of_it_with_its_next_beat),
        test(an_audit_of_a_sound_queue_finds_nothing),
        test(a_task_whose_index_was_lost_is_found_by_the_audit),
        test(a_task_that_is_indexed_where_it_is_not_is_taken_out_there),
        test(an_audit_does_not_judge_what_it_cannot_read),
        test(the_load_is_what_waits_what_runs_and_who_works),
        test(an_estimate_is_the_formula_of_the_contract),
        test(a_group_ends_with_its_slowest_member_or_when_the_workers_have_shared_its_work),
        test(what_is_not_known_is_not_estimated),
        test(every_worker_of_the_last_minute_is_listed),
        test(an_owners_tasks_are_listed_newest_first_each_once),
        test(a_group_is_one_entry_of_its_owners_list),
        test(dead_letters_are_listed_while_they_can_be_requeued),
        test(a_cursor_that_is_none_of_ours_is_refused),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
