/*
 * queue_fleet_test.c - What the API sees: workers, models, one task. Against a real Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/queue_fixture.h"

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static redisReply *
run_call(struct queue_fixture *f, struct queue_call *call)
{
    redisReply *reply = queue_run(f->c, call, &f->err);

    queue_call_clear(call);
    assert_non_null(reply);
    return reply;
}

/* ---- presence ---- */

static struct queue_control
beat(struct queue_fixture *f, const char *worker, int64_t slots, int64_t context, const char *hash)
{
    const struct queue_presence p = {
        .worker = worker,
        .name = "w-1",
        .host = "here",
        .version = "0.1.0",
        .model_version = "NeoQuasar/Kronos-small",
        .weights_sha256 = hash,
        .kernel = "avx2",
        .tokenizer_version = "NeoQuasar/Kronos-Tokenizer-base",
        .tokenizer_sha256 = HASH_B,
        .pid = 4711,
        .slots = slots,
        .busy = 1,
        .context = context,
    };
    struct queue_control control;

    if (queue_beat(f->c, &f->q, &p, &control, &f->err) == -1)
        fail_msg("beat: %s", f->err.text);
    return control;
}

static struct queue_fleet
fleet(struct queue_fixture *f)
{
    struct queue_call call;
    struct queue_fleet out;
    redisReply *reply;

    assert_int_equal(queue_presence_call(&f->q, &call, &f->err), 0);
    reply = run_call(f, &call);
    if (queue_presence_parse(reply, &out, &f->err) == -1)
        fail_msg("presence: %s", f->err.text);
    freeReplyObject(reply);
    return out;
}

static void
a_fleet_is_the_sum_of_its_live_workers(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_fleet out = fleet(f);

    assert_int_equal(out.n_live, 0);
    assert_int_equal(out.context, 0);
    assert_true(out.now_ms > 0);
    beat(f, f->worker, 4, 512, HASH_A);
    beat(f, f->other, 2, 256, HASH_A);
    out = fleet(f);
    assert_int_equal(out.n_live, 2);
    assert_int_equal(out.n_quiet, 0);
    assert_int_equal(out.slots, 6);
    assert_int_equal(out.busy, 2);
    assert_int_equal(out.context, 256);
    assert_true(out.is_uniform);
    assert_string_equal(out.version, "0.1.0");
    assert_string_equal(out.kernel, "avx2");
    assert_string_equal(out.model_version, "NeoQuasar/Kronos-small");
    assert_string_equal(out.tokenizer_version, "NeoQuasar/Kronos-Tokenizer-base");
    assert_string_equal(out.weights_sha256, HASH_A);
    assert_string_equal(out.tokenizer_sha256, HASH_B);
}

static void
workers_with_different_weights_are_not_uniform(void **state)
{
    struct queue_fixture *f = *state;

    beat(f, f->worker, 4, 512, HASH_A);
    beat(f, f->other, 4, 512, HASH_B);
    assert_false(fleet(f).is_uniform);
}

static void
a_worker_whose_beat_is_old_is_not_live(void **state)
{
    struct queue_fixture *f = *state;

    beat(f, f->worker, 4, 512, HASH_A);
    queue_fixture_int(f, "ZINCRBY ~:workers %d %s", -QUEUE_PRESENCE_MS - 1, f->worker);
    assert_int_equal(fleet(f).n_live, 0);
    beat(f, f->worker, 4, 512, HASH_A);
    assert_int_equal(fleet(f).n_live, 1);
}

static void
a_worker_that_leaves_is_gone_at_once(void **state)
{
    struct queue_fixture *f = *state;

    beat(f, f->worker, 4, 512, HASH_A);
    beat(f, f->other, 2, 512, HASH_A);
    assert_int_equal(queue_leave(f->c, &f->q, f->worker, &f->err), 0);
    assert_int_equal(queue_leave(f->c, &f->q, f->worker, &f->err), 0);
    assert_int_equal(fleet(f).n_live, 1);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:worker:%s", f->worker), 0);
}

static void
a_presence_does_not_outlive_its_worker_by_more_than_a_minute(void **state)
{
    struct queue_fixture *f = *state;

    beat(f, f->worker, 4, 512, HASH_A);
    assert_in_range(queue_fixture_int(f, "PTTL ~:worker:%s", f->worker), 50000, 60000);
}

static void
a_beat_tells_what_operators_paused_and_who_is_quiet(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_control control = beat(f, f->worker, 4, 512, HASH_A);

    assert_false(control.quiet);
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++)
        assert_false(control.paused[p]);
    queue_fixture_int(f, "HSET ~:control paused:low 1");
    queue_fixture_int(f, "HSET ~:worker:%s quiet 1", f->worker);
    control = beat(f, f->worker, 4, 512, HASH_A); /* a beat does not undo it */
    assert_true(control.quiet);
    assert_false(control.paused[TASK_URGENT]);
    assert_false(control.paused[TASK_NORMAL]);
    assert_true(control.paused[TASK_LOW]);
    queue_fixture_int(f, "HSET ~:control paused 1");
    control = beat(f, f->other, 2, 512, HASH_A);
    assert_false(control.quiet);
    assert_true(control.paused[TASK_URGENT]);

    struct queue_fleet out = fleet(f);

    assert_int_equal(out.n_live, 2);
    assert_int_equal(out.n_quiet, 1);
    assert_int_equal(out.slots, 2);
}

static void
what_a_worker_says_of_itself_is_not_trusted(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_fleet out;
    char longer[300];

    beat(f, f->worker, 4, 512, HASH_A);
    beat(f, f->other, 2, 512, HASH_A);
    memset(longer, 'v', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    queue_fixture_int(
        f, "HSET ~:worker:%s slots many version %s model_version %s", f->other, longer, longer);
    queue_fixture_int(f, "ZINCRBY ~:workers 1000 %s", f->other);
    out = fleet(f);
    assert_int_equal(out.n_live, 2);
    assert_int_equal(out.slots, 4);
    assert_int_equal(strlen(out.version), sizeof(out.version) - 1);
    queue_fixture_int(f, "HSET ~:worker:%s slots -4 busy 99999999999999999999 context 0", f->other);
    assert_int_equal(fleet(f).slots, 4);
}

static void
a_full_redis_does_not_silence_a_worker(void **state)
{
    struct queue_fixture *f = *state;

    beat(f, f->worker, 4, 512, HASH_A);
    queue_fixture_int(f, "CONFIG SET maxmemory 1");
    beat(f, f->worker, 4, 512, HASH_A);
    assert_int_equal(fleet(f).n_live, 1);
}

/* ---- models ---- */

static void
models(struct queue_fixture *f, struct queue_models *out)
{
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_models_call(&call, &f->err), 0);
    reply = run_call(f, &call);
    assert_int_equal(queue_models_parse(reply, out, &f->err), 0);
    freeReplyObject(reply);
}

static void
every_model_a_worker_served_is_listed_in_order(void **state)
{
    struct queue_fixture *f = *state;
    static struct queue_models out;

    models(f, &out);
    assert_int_equal(out.n, 0);
    beat(f, f->worker, 4, 512, HASH_A);
    beat(f, f->worker, 4, 512, HASH_A);
    assert_int_equal(queue_init(&f->q, "a-model", &f->err), 0);
    beat(f, f->other, 4, 512, HASH_A);
    queue_fixture_int(f, "SADD kq:models %s", "bad{name");
    models(f, &out);
    assert_int_equal(out.n, 2);
    assert_string_equal(out.names[0], "a-model");
    assert_string_equal(out.names[1], "test-model");
}

/* ---- reading one task ---- */

static redisReply *
read_task(struct queue_fixture *f, const char *id, bool with_output, struct queue_task_view *view)
{
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_read_call(&f->q, id, with_output, &call, &f->err), 0);
    reply = run_call(f, &call);
    if (queue_read_parse(reply, with_output, view, &f->err) == -1)
        fail_msg("read: %s", f->err.text);
    return reply;
}

static int64_t
position(struct queue_fixture *f, const char *id)
{
    struct queue_task_view view;

    freeReplyObject(read_task(f, id, false, &view));
    return view.position;
}

static void
a_task_is_read_in_every_state_of_its_life(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    struct queue_task_view view;
    struct queue_token t;
    enum queue_end end;
    redisReply *reply;
    char id[ID_LEN + 1];

    queue_fixture_fill(&s, &series, id);
    s.deadline_in_ms = 3600000;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    reply = read_task(f, id, true, &view);
    assert_true(view.found);
    assert_int_equal(view.status, TASK_QUEUED);
    assert_int_equal(view.priority, TASK_NORMAL);
    assert_int_equal(view.owner_len, 5);
    assert_memory_equal(view.owner, "local", 5);
    assert_int_equal(view.position, 1);
    assert_true(view.created_ms > 0 && view.created_ms <= view.now_ms);
    assert_int_equal(view.deadline_ms, view.created_ms + 3600000);
    assert_int_equal(view.result_ttl_ms, QUEUE_RESULT_TTL_MS);
    assert_int_equal(view.started_ms, 0);
    assert_int_equal(view.finished_ms, 0);
    assert_int_equal(view.attempts, 0);
    assert_false(view.cancel_requested);
    assert_int_equal(view.about_size, 9);
    assert_memory_equal(view.about, "the about", 9);
    assert_null(view.output);
    assert_null(view.error_code);
    freeReplyObject(reply);

    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    queue_fixture_int(f, "HSET ~:task:%s cancel 1", id);
    reply = read_task(f, id, false, &view);
    assert_int_equal(view.status, TASK_PROCESSING);
    assert_int_equal(view.position, 0);
    assert_int_equal(view.attempts, 1);
    assert_true(view.started_ms >= view.created_ms);
    assert_true(view.cancel_requested);
    freeReplyObject(reply);

    queue_fixture_int(f, "HDEL ~:task:%s cancel", id);
    assert_int_equal(queue_complete(f->c, &f->q, &t, "out\0put", 7, &end, &f->err), 0);
    reply = read_task(f, id, true, &view);
    assert_int_equal(view.status, TASK_COMPLETED);
    assert_true(view.finished_ms >= view.started_ms);
    assert_int_equal(view.output_size, 7);
    assert_memory_equal(view.output, "out\0put", 7);
    assert_int_equal(view.about_size, 9);
    freeReplyObject(reply);
    reply = read_task(f, id, false, &view);
    assert_null(view.output);
    freeReplyObject(reply);
}

static void
an_ended_task_tells_why(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_task_view view;
    struct queue_token t;
    enum queue_end end;
    redisReply *reply;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_LOW, id);
    t = queue_fixture_take(f, TASK_LOW, id, f->worker);
    assert_int_equal(
        queue_fail(f->c, &f->q, &t, "inference_failed", "no luck", false, &end, &f->err), 0);
    reply = read_task(f, id, false, &view);
    assert_int_equal(view.status, TASK_FAILED);
    assert_int_equal(view.priority, TASK_LOW);
    assert_int_equal(view.error_code_len, 16);
    assert_memory_equal(view.error_code, "inference_failed", 16);
    assert_int_equal(view.error_text_len, 7);
    assert_memory_equal(view.error_text, "no luck", 7);
    freeReplyObject(reply);
}

static void
a_position_is_the_rank_within_the_priority(void **state)
{
    struct queue_fixture *f = *state;
    char normal[3][ID_LEN + 1], urgent[ID_LEN + 1];
    struct queue_token t;
    enum queue_end end;

    for (int i = 0; i < 3; i++)
        queue_fixture_submit(f, TASK_NORMAL, normal[i]);
    queue_fixture_submit(f, TASK_URGENT, urgent);
    for (int i = 0; i < 3; i++)
        assert_int_equal(position(f, normal[i]), i + 1);
    assert_int_equal(position(f, urgent), 1);
    t = queue_fixture_take(f, TASK_NORMAL, normal[0], f->worker);
    assert_int_equal(position(f, normal[0]), 0);
    assert_int_equal(position(f, normal[2]), 2);
    /* parked: shown as queued, at the place it will have */
    assert_int_equal(queue_fail(f->c, &f->q, &t, "inference_failed", "x", true, &end, &f->err), 0);
    assert_int_equal(end, QUEUE_END_PARKED);
    assert_int_equal(position(f, normal[0]), 1);
    struct queue_task_view view;

    freeReplyObject(read_task(f, normal[0], false, &view));
    assert_int_equal(view.status, TASK_QUEUED);
}

static void
a_task_nobody_knows_is_not_found(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_task_view view;

    freeReplyObject(read_task(f, f->worker, true, &view));
    assert_false(view.found);
    assert_true(view.now_ms > 0);
}

static void
a_hash_no_script_wrote_is_corrupt_and_the_field_is_named(void **state)
{
    struct queue_fixture *f = *state;
    static const char *const broken[][2] = {
        {"state", "sleeping"},
        {"priority", "highest"},
        {"created_ms", "yesterday"},
        {"started_ms", "-1"},
        {"deadline_ms", "9223372036854775807"},
        {"attempts", "4294967296"},
        {"step", "1.5"},
    };

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct queue_task_view view;
        struct queue_call call;
        redisReply *reply;
        char id[ID_LEN + 1];

        queue_fixture_submit(f, TASK_NORMAL, id);
        queue_fixture_int(f, "HSET ~:task:%s %s %s", id, broken[i][0], broken[i][1]);
        assert_int_equal(queue_read_call(&f->q, id, true, &call, &f->err), 0);
        reply = run_call(f, &call);
        assert_int_equal(queue_read_parse(reply, true, &view, &f->err), -1);
        assert_int_equal(f->err.code, ERR_CORRUPT);
        assert_non_null(strstr(f->err.text, broken[i][0]));
        assert_false(view.found);
        freeReplyObject(reply);
    }
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(a_fleet_is_the_sum_of_its_live_workers),
        test(workers_with_different_weights_are_not_uniform),
        test(a_worker_whose_beat_is_old_is_not_live),
        test(a_worker_that_leaves_is_gone_at_once),
        test(a_presence_does_not_outlive_its_worker_by_more_than_a_minute),
        test(a_beat_tells_what_operators_paused_and_who_is_quiet),
        test(what_a_worker_says_of_itself_is_not_trusted),
        test(a_full_redis_does_not_silence_a_worker),
        test(every_model_a_worker_served_is_listed_in_order),
        test(a_task_is_read_in_every_state_of_its_life),
        test(an_ended_task_tells_why),
        test(a_position_is_the_rank_within_the_priority),
        test(a_task_nobody_knows_is_not_found),
        test(a_hash_no_script_wrote_is_corrupt_and_the_field_is_named),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
