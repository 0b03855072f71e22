/*
 * queue_change_test.c - What clients and operators do to one task, and what is left of it when
 * its life is over. Against a real Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/queue/queue_admin.h"
#include "common/queue/queue_outbox.h"
#include "tests/support/queue_fixture.h"

static enum queue_cancel_outcome
cancel(struct queue_fixture *f, const char *id)
{
    enum queue_cancel_outcome out;
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_cancel_call(&f->q, id, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_cancel_parse(reply, &out, &f->err), 0);
    freeReplyObject(reply);
    return out;
}

static bool
requeue(struct queue_fixture *f, const char *id)
{
    struct queue_call call;

    return queue_fixture_do(f, queue_requeue_call(&f->q, id, &call, &f->err), &call);
}

static bool
move(struct queue_fixture *f, const char *id, enum task_priority priority)
{
    struct queue_call call;

    return queue_fixture_do(f, queue_move_call(&f->q, id, priority, &call, &f->err), &call);
}

static bool
discard(struct queue_fixture *f, const char *id)
{
    struct queue_call call;

    return queue_fixture_do(f, queue_discard_call(&f->q, id, &call, &f->err), &call);
}

static enum queue_purge_outcome
purge(struct queue_fixture *f, const char *id)
{
    enum queue_purge_outcome out;
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_purge_call(&f->q, id, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_purge_parse(reply, &out, &f->err), 0);
    freeReplyObject(reply);
    return out;
}

static struct queue_token
running_task(struct queue_fixture *f, char *id)
{
    queue_fixture_submit(f, TASK_NORMAL, id);
    return queue_fixture_take(f, TASK_NORMAL, id, f->worker);
}

static enum queue_end
complete(struct queue_fixture *f, const struct queue_token *t)
{
    enum queue_end end;

    assert_int_equal(queue_complete(f->c, &f->q, t, "output", 6, &end, &f->err), 0);
    return end;
}

static void
fail_for_good(struct queue_fixture *f, const struct queue_token *t)
{
    enum queue_end end;

    assert_int_equal(
        queue_fail(f->c, &f->q, t, "inference_failed", "no luck", false, &end, &f->err), 0);
    assert_int_equal(end, QUEUE_END_FAILED);
}

/* A view without what points into the reply. */
static struct queue_task_view
view(struct queue_fixture *f, const char *id)
{
    struct queue_task_view out;
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_read_call(&f->q, id, false, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    if (queue_read_parse(reply, false, &out, &f->err) == -1)
        fail_msg("read: %s", f->err.text);
    freeReplyObject(reply);
    return out;
}

static long long
n_keys(struct queue_fixture *f, const char *pattern)
{
    redisReply *reply = queue_fixture_reply(f, "KEYS %s", pattern);
    long long n = (long long)reply->elements;

    freeReplyObject(reply);
    return n;
}

/* ---- cancel ---- */

static void
who_waits_is_cancelled_at_once_and_who_runs_is_asked(void **state)
{
    struct queue_fixture *f = *state;
    char waiting[ID_LEN + 1], parked[ID_LEN + 1], running[ID_LEN + 1];
    struct queue_token t = running_task(f, parked);
    enum queue_end end;

    assert_int_equal(queue_fail(f->c, &f->q, &t, "inference_failed", "x", true, &end, &f->err), 0);
    t = running_task(f, running);
    queue_fixture_submit(f, TASK_LOW, waiting);
    queue_fixture_listen(f);
    assert_int_equal(cancel(f, waiting), QUEUE_CANCEL_DONE);
    assert_non_null(strstr(queue_fixture_event(f), " cancelled"));
    assert_int_equal(cancel(f, parked), QUEUE_CANCEL_DONE);
    assert_int_equal(cancel(f, running), QUEUE_CANCEL_ASKED);
    assert_int_equal(cancel(f, running), QUEUE_CANCEL_ASKED);
    fixture_assert_field(f, waiting, "state", "cancelled");
    fixture_assert_field(f, waiting, "error_code", "cancelled_by_client");
    fixture_assert_field(f, parked, "state", "cancelled");
    fixture_assert_field(f, running, "state", "processing");
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:low"), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:later"), 0);
    assert_int_equal(complete(f, &t), QUEUE_END_CANCELLED);
    assert_int_equal(cancel(f, running), QUEUE_CANCEL_ENDED);
    assert_int_equal(cancel(f, f->worker), QUEUE_CANCEL_UNKNOWN);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 0);
}

static int
submit_twin(struct queue_fixture *f, char *id)
{
    struct queue_submission s;
    struct queue_series series;

    queue_fixture_fill(&s, &series, id);
    s.same = "same";
    return queue_fixture_submit_as(f, &s);
}

static void
only_the_last_of_several_waiters_cancels(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1], other[ID_LEN + 1];

    assert_int_equal(submit_twin(f, id), QUEUE_SUBMITTED);
    assert_int_equal(submit_twin(f, other), QUEUE_JOINED_TWIN);
    assert_int_equal(submit_twin(f, other), QUEUE_JOINED_TWIN);
    assert_int_equal(cancel(f, id), QUEUE_CANCEL_SHARED);
    assert_int_equal(cancel(f, id), QUEUE_CANCEL_SHARED);
    fixture_assert_field(f, id, "state", "queued");
    assert_int_equal(cancel(f, id), QUEUE_CANCEL_DONE);
    fixture_assert_field(f, id, "state", "cancelled");
}

static void
nobody_joins_a_task_that_is_being_cancelled(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1], other[ID_LEN + 1];

    assert_int_equal(submit_twin(f, id), QUEUE_SUBMITTED);
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(cancel(f, id), QUEUE_CANCEL_ASKED);
    assert_int_equal(submit_twin(f, other), QUEUE_SUBMITTED);
    fixture_assert_field(f, other, "state", "queued");
}

/* ---- requeue ---- */

static void
a_dead_letter_runs_again_as_if_it_were_new(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1], waiting[ID_LEN + 1];
    struct queue_token t = running_task(f, id), again;

    queue_fixture_int(f, "HSET ~:task:%s crashes 2 deadline_ms 99999999999999 created_ms 1", id);
    fail_for_good(f, &t);
    queue_fixture_submit(f, TASK_NORMAL, waiting);
    queue_fixture_listen(f);
    assert_true(requeue(f, id));
    assert_non_null(strstr(queue_fixture_event(f), " queued"));
    assert_false(requeue(f, id));
    assert_int_equal(view(f, id).status, TASK_QUEUED);
    assert_int_equal(view(f, id).position, 2); /* it overtakes nobody */
    assert_int_equal(view(f, id).requeues, 1);
    assert_int_equal(view(f, id).deadline_ms, 0);
    assert_int_equal(queue_fixture_sweep(f).expired, 0); /* it waits since now */
    fixture_assert_field(f, id, "attempts", "0");
    fixture_assert_field(f, id, "crashes", "0");
    fixture_assert_field(f, id, "error_code", "");
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:dead"), 0);
    queue_fixture_take(f, TASK_NORMAL, waiting, f->worker);
    again = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_true(again.fence > t.fence);
    assert_int_equal(complete(f, &t), QUEUE_END_FENCED); /* the same worker's run before */
    assert_int_equal(complete(f, &again), QUEUE_END_COMPLETED);
    assert_int_equal(queue_fixture_stat(f, "requeued"), 1);
    assert_int_equal(queue_fixture_int(f, "HGET ~:task:%s crashes", id), 0);
}

static void
only_a_dead_letter_is_requeued(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t = running_task(f, id);

    assert_false(requeue(f, f->worker));
    assert_false(requeue(f, id));
    assert_int_equal(complete(f, &t), QUEUE_END_COMPLETED);
    assert_false(requeue(f, id));
    t = running_task(f, id);
    fail_for_good(f, &t);
    assert_true(discard(f, id));
    assert_false(discard(f, id));
    assert_false(requeue(f, id));
    assert_int_equal(view(f, id).status, TASK_FAILED); /* its client is still told */
    assert_true(view(f, id).found);
    assert_in_range(
        queue_fixture_int(f, "PTTL ~:task:%s", id), 1000, (long long)QUEUE_RESULT_TTL_MS);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 0);
}

/* ---- groups ---- */

static void
submit_group(struct queue_fixture *f, char (*id)[ID_LEN + 1], char *group, struct queue_token *t)
{
    struct queue_submission s;
    struct queue_series series[3];

    for (int i = 0; i < 3; i++)
        queue_fixture_fill(&s, &series[i], id[i]);
    id_new(group);
    s.id = group;
    s.n_series = 3;
    s.series = series;
    s.idempotency = "key";
    s.webhook = "hook";
    s.webhook_size = 4;
    s.result_ttl_ms = 60000;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    for (int i = 0; i < 3; i++)
        t[i] = queue_fixture_take(f, TASK_NORMAL, id[i], f->worker);
}

static redisReply *
read_group(struct queue_fixture *f, const char *id, struct queue_task_view *group, size_t *n)
{
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_group_read_call(&f->q, id, true, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    if (queue_group_read_parse(reply, true, group, n, &f->err) == -1)
        fail_msg("group: %s", f->err.text);
    return reply;
}

static void
a_group_is_read_with_its_members_in_order(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_task_view group, member;
    char id[3][ID_LEN + 1], g[ID_LEN + 1], one[ID_LEN + 1];
    struct queue_token t[3];
    redisReply *reply;
    size_t n;

    submit_group(f, id, g, t);
    assert_int_equal(complete(f, &t[1]), QUEUE_END_COMPLETED);
    reply = read_group(f, g, &group, &n);
    assert_true(group.found);
    assert_int_equal(group.status, TASK_QUEUED); /* members tell more */
    assert_int_equal(group.priority, TASK_NORMAL);
    assert_memory_equal(group.owner, "local", group.owner_len);
    assert_int_equal(group.result_ttl_ms, 60000);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(queue_group_member_parse(reply, true, i, one, &member, &f->err), 0);
        assert_string_equal(one, id[i]);
        assert_true(member.found);
        assert_string_equal(member.group, g);
        assert_int_equal(member.status, i == 1 ? TASK_COMPLETED : TASK_PROCESSING);
        assert_int_equal(member.output_size, i == 1 ? 6 : 0);
    }
    assert_int_equal(queue_group_member_parse(reply, true, 3, one, &member, &f->err), -1);
    freeReplyObject(reply);
    assert_int_equal(complete(f, &t[0]), QUEUE_END_COMPLETED);
    assert_int_equal(complete(f, &t[2]), QUEUE_END_COMPLETED);
    reply = read_group(f, g, &group, &n);
    assert_int_equal(group.status, TASK_COMPLETED);
    assert_int_equal(group.hook.outcome, QUEUE_HOOK_PENDING);
    freeReplyObject(reply);
    freeReplyObject(read_group(f, f->worker, &group, &n));
    assert_false(group.found || group.is_gone);
    assert_int_equal(n, 0);
}

static void
a_member_that_is_requeued_has_left_its_group(void **state)
{
    struct queue_fixture *f = *state;
    char id[3][ID_LEN + 1], g[ID_LEN + 1];
    struct queue_token t[3];

    submit_group(f, id, g, t);
    fail_for_good(f, &t[0]);
    assert_true(requeue(f, id[0]));
    t[0] = queue_fixture_take(f, TASK_NORMAL, id[0], f->worker);
    assert_int_equal(complete(f, &t[1]), QUEUE_END_COMPLETED);
    assert_int_equal(complete(f, &t[2]), QUEUE_END_COMPLETED);
    assert_string_equal(queue_fixture_text(f, "HGET ~:group:%s state", g), "failed");
    assert_int_equal(queue_fixture_int(f, "PTTL ~:task:%s", id[0]), -1); /* it still runs */
    assert_int_equal(complete(f, &t[0]), QUEUE_END_COMPLETED);
    assert_int_equal(queue_fixture_int(f, "HGET ~:group:%s completed", g), 2);
    assert_int_equal(queue_fixture_int(f, "HGET ~:group:%s left", g), 0);
}

static void
a_dead_member_that_was_given_up_lives_as_long_as_its_group(void **state)
{
    struct queue_fixture *f = *state;
    char id[3][ID_LEN + 1], g[ID_LEN + 1];
    struct queue_token t[3];

    submit_group(f, id, g, t);
    fail_for_good(f, &t[0]);
    assert_true(discard(f, id[0]));
    assert_int_equal(queue_fixture_int(f, "PTTL ~:task:%s", id[0]), -1);
    complete(f, &t[1]);
    complete(f, &t[2]);
    assert_in_range(queue_fixture_int(f, "PTTL ~:task:%s", id[0]), 1, 60000);
}

/* ---- move ---- */

static void
a_waiting_task_moves_and_keeps_its_age(void **state)
{
    struct queue_fixture *f = *state;
    char older[ID_LEN + 1], id[ID_LEN + 1], younger[ID_LEN + 1];
    struct queue_token t;
    enum queue_end end;

    queue_fixture_submit(f, TASK_URGENT, older);
    queue_fixture_submit(f, TASK_LOW, id);
    queue_fixture_submit(f, TASK_URGENT, younger);
    queue_fixture_int(f, "HSET ~:task:%s queued_ms 5", id);
    assert_true(move(f, id, TASK_URGENT));
    assert_int_equal(view(f, id).position, 2);
    assert_int_equal(view(f, id).priority, TASK_URGENT);
    fixture_assert_field(f, id, "queued_ms", "5");
    assert_int_equal(queue_fixture_stat(f, "queued_steps:low"), 0);
    assert_int_equal(queue_fixture_stat(f, "queued_bytes:low"), 0);
    assert_int_equal(queue_fixture_stat(f, "queued_bytes:urgent"), 27);
    assert_true(move(f, id, TASK_URGENT)); /* is there already */
    queue_fixture_take(f, TASK_URGENT, older, f->worker);
    queue_fixture_int(f, "DEL ~:list:urgent");
    queue_fixture_int(f, "RPUSH ~:list:urgent %s", id);
    t = queue_fixture_take(f, TASK_URGENT, id, f->worker);
    assert_false(move(f, id, TASK_LOW)); /* it runs */
    assert_int_equal(queue_fail(f->c, &f->q, &t, "inference_failed", "x", true, &end, &f->err), 0);
    assert_true(move(f, id, TASK_NORMAL)); /* parked: it comes back there */
    queue_fixture_int(f, "ZADD ~:later 1 %s", id);
    queue_fixture_sweep(f);
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_false(move(f, f->worker, TASK_LOW));
}

/* ---- what is left ---- */

static void
after_its_life_a_task_is_gone_for_a_day_and_then_unknown(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_task_view v;
    char id[ID_LEN + 1];
    struct queue_token t = running_task(f, id);

    assert_int_equal(complete(f, &t), QUEUE_END_COMPLETED);
    assert_in_range(queue_fixture_int(f, "PTTL ~:task:%s", id), (int)QUEUE_RESULT_TTL_MS - 60000,
        (int)QUEUE_RESULT_TTL_MS);
    assert_in_range(queue_fixture_int(f, "PTTL ~:gone:%s", id),
        2 * (int)QUEUE_RESULT_TTL_MS - 60000, 2 * (int)QUEUE_RESULT_TTL_MS);
    v = view(f, id);
    assert_true(v.found && !v.is_gone);
    queue_fixture_int(f, "PEXPIRE ~:task:%s 0", id); /* as time does */
    v = view(f, id);
    assert_true(!v.found && v.is_gone);
    assert_int_equal(v.status, TASK_COMPLETED);
    assert_int_equal(v.owner_len, 5);
    assert_true(v.finished_ms > 0);
    assert_int_equal(cancel(f, id), QUEUE_CANCEL_ENDED);
    queue_fixture_int(f, "PEXPIRE ~:gone:%s 0", id);
    v = view(f, id);
    assert_true(!v.found && !v.is_gone);
    assert_int_equal(cancel(f, id), QUEUE_CANCEL_UNKNOWN);
}

static void
a_dead_letter_keeps_its_input_and_is_gone_to_its_client(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t = running_task(f, id);

    fail_for_good(f, &t);
    assert_true(view(f, id).found);
    queue_fixture_int(f, "HINCRBY ~:task:%s finished_ms -%lld", id, QUEUE_RESULT_TTL_MS);
    assert_true(view(f, id).is_gone);
    assert_false(view(f, id).found);
    queue_fixture_int(f, "HINCRBY ~:task:%s finished_ms -%d", id, 24 * 3600 * 1000);
    assert_false(view(f, id).is_gone);
    assert_false(view(f, id).found);
    assert_true(requeue(f, id));
    assert_true(view(f, id).found);
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
}

static void
a_request_repeated_after_its_result_is_gone_is_told_so(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1], first[ID_LEN + 1];
    struct queue_token t;

    queue_fixture_fill(&s, &series, first);
    s.idempotency = "key";
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    t = queue_fixture_take(f, TASK_NORMAL, first, f->worker);
    complete(f, &t);
    queue_fixture_int(f, "PEXPIRE ~:task:%s 0", first);
    queue_fixture_fill(&s, &series, id);
    s.idempotency = "key";
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SAME_REQUEST);
    assert_string_equal(f->text, first);
    s.digest = "another";
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_OTHER_REQUEST);
}

static void
a_twin_that_asks_for_longer_makes_its_result_live_longer(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1], other[ID_LEN + 1];
    struct queue_token t;

    queue_fixture_fill(&s, &series, id);
    s.same = "same";
    s.result_ttl_ms = 60000;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    complete(f, &t);
    queue_fixture_fill(&s, &series, other);
    s.same = "same";
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_JOINED_TWIN);
    assert_true(queue_fixture_int(f, "PTTL ~:task:%s", id) > 60000);
    assert_true(queue_fixture_int(f, "PTTL ~:gone:%s", id) > QUEUE_RESULT_TTL_MS);
}

/* ---- purge ---- */

static void
nothing_refers_to_a_purged_task(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1];
    struct queue_token t;

    queue_fixture_fill(&s, &series, id);
    s.idempotency = "key";
    s.same = "same";
    s.webhook = "hook";
    s.webhook_size = 4;
    s.webhook_events = 1u << TASK_PROCESSING | 1u << TASK_FAILED | 1u << TASK_COMPLETED;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    assert_int_equal(purge(f, id), QUEUE_PURGE_NOT_ENDED);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(purge(f, id), QUEUE_PURGE_NOT_ENDED);
    fail_for_good(f, &t);
    assert_true(requeue(f, id));
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    fail_for_good(f, &t);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook"), 4); /* two starts, two ends */
    assert_int_equal(purge(f, id), QUEUE_PURGED);
    assert_int_equal(n_keys(f, "*task*") + n_keys(f, "*gone*") + n_keys(f, "*delivery*"), 0);
    assert_int_equal(n_keys(f, "*idem*") + n_keys(f, "*same*") + n_keys(f, "*owner*"), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook"), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:dead"), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:recent"), 0);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 0);
    assert_int_equal(purge(f, id), QUEUE_PURGE_UNKNOWN);
    assert_false(view(f, id).found || view(f, id).is_gone);
}

static void
a_purge_leaves_what_others_made_meanwhile(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1], other[ID_LEN + 1];
    struct queue_token t;

    assert_int_equal(submit_twin(f, id), QUEUE_SUBMITTED);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    fail_for_good(f, &t);
    assert_int_equal(submit_twin(f, other), QUEUE_SUBMITTED); /* has the alias now */
    assert_int_equal(purge(f, id), QUEUE_PURGED);
    assert_string_equal(queue_fixture_text(f, "GET ~:same:same"), other);
    fixture_assert_field(f, other, "state", "queued");
}

static void
a_group_is_purged_whole_and_not_by_its_members(void **state)
{
    struct queue_fixture *f = *state;
    char id[3][ID_LEN + 1], g[ID_LEN + 1];
    struct queue_token t[3];

    submit_group(f, id, g, t);
    complete(f, &t[0]);
    assert_int_equal(purge(f, id[0]), QUEUE_PURGE_MEMBER);
    assert_int_equal(purge(f, g), QUEUE_PURGE_NOT_ENDED);
    fail_for_good(f, &t[1]);
    complete(f, &t[2]);
    assert_int_equal(purge(f, id[1]), QUEUE_PURGE_MEMBER);
    assert_true(requeue(f, id[1])); /* has left, and is spared */
    assert_int_equal(purge(f, g), QUEUE_PURGED);
    assert_int_equal(n_keys(f, "*task:*"), 1);
    assert_int_equal(n_keys(f, "*group*") + n_keys(f, "*gone*") + n_keys(f, "*delivery*"), 0);
    assert_int_equal(n_keys(f, "*idem*"), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook"), 0);
    fixture_assert_field(f, id[1], "state", "queued");
    assert_int_equal(purge(f, g), QUEUE_PURGE_UNKNOWN);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(who_waits_is_cancelled_at_once_and_who_runs_is_asked),
        test(only_the_last_of_several_waiters_cancels),
        test(nobody_joins_a_task_that_is_being_cancelled),
        test(a_dead_letter_runs_again_as_if_it_were_new),
        test(only_a_dead_letter_is_requeued),
        test(a_group_is_read_with_its_members_in_order),
        test(a_member_that_is_requeued_has_left_its_group),
        test(a_dead_member_that_was_given_up_lives_as_long_as_its_group),
        test(a_waiting_task_moves_and_keeps_its_age),
        test(after_its_life_a_task_is_gone_for_a_day_and_then_unknown),
        test(a_dead_letter_keeps_its_input_and_is_gone_to_its_client),
        test(a_request_repeated_after_its_result_is_gone_is_told_so),
        test(a_twin_that_asks_for_longer_makes_its_result_live_longer),
        test(nothing_refers_to_a_purged_task),
        test(a_purge_leaves_what_others_made_meanwhile),
        test(a_group_is_purged_whole_and_not_by_its_members),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
