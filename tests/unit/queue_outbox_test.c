/*
 * queue_outbox_test.c - Events for webhooks: written once per run, leased, retried, given up,
 * sent again. Against a real Redis.
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

#define HOUR_MS 3600000
#define ALL_EVENTS                                                                                 \
    (1u << TASK_PROCESSING | 1u << TASK_COMPLETED | 1u << TASK_FAILED | 1u << TASK_CANCELLED |     \
        1u << TASK_EXPIRED)

static void
submit_hooked(struct queue_fixture *f, char *id, bool processing)
{
    struct queue_submission s;
    struct queue_series series;

    queue_fixture_fill(&s, &series, id);
    s.owner = "desk-a";
    s.webhook = "ho\0k";
    s.webhook_size = 4;
    s.webhook_events = processing ? ALL_EVENTS : 0;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
}

static void
end_run(struct queue_fixture *f, const char *id, bool is_good)
{
    struct queue_token t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    enum queue_end end;

    if (is_good)
        assert_int_equal(queue_complete(f->c, &f->q, &t, "x", 1, &end, &f->err), 0);
    else
        assert_int_equal(
            queue_fail(f->c, &f->q, &t, "inference_failed", "no luck", false, &end, &f->err), 0);
}

static redisReply *
hook_claim(struct queue_fixture *f, int limit, size_t *n)
{
    struct queue_call call;
    redisReply *reply;
    int64_t now_ms;

    assert_int_equal(queue_hook_claim_call(&f->q, HOUR_MS, limit, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_hook_claim_parse(reply, &now_ms, n, &f->err), 0);
    assert_true(now_ms > 0);
    return reply;
}

/* The only delivery that is due; what points into the reply is dropped. */
static struct queue_delivery
take_one(struct queue_fixture *f)
{
    struct queue_delivery d;
    size_t n;
    redisReply *reply = hook_claim(f, 10, &n);

    assert_int_equal(n, 1);
    assert_int_equal(queue_hook_delivery_parse(reply, 0, &d, &f->err), 0);
    freeReplyObject(reply);
    return d;
}

static size_t
n_due(struct queue_fixture *f)
{
    size_t n;

    freeReplyObject(hook_claim(f, 10, &n));
    return n;
}

static bool
done(struct queue_fixture *f, const struct queue_delivery *d, enum queue_hook_verdict verdict,
    int64_t delay_ms, uint32_t status)
{
    const struct queue_hook_result result = {
        .verdict = verdict, .delay_ms = delay_ms, .last_status = status, .last_error = "x"};
    struct queue_call call;

    return queue_fixture_do(
        f, queue_hook_done_call(&f->q, d->key, d->fence, &result, &call, &f->err), &call);
}

static enum queue_replay_outcome
replay(struct queue_fixture *f, const char *id)
{
    enum queue_replay_outcome out;
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_hook_replay_call(&f->q, id, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_hook_replay_parse(reply, &out, &f->err), 0);
    freeReplyObject(reply);
    return out;
}

static struct queue_hook_view
hook_of(struct queue_fixture *f, const char *id)
{
    struct queue_task_view view;
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_read_call(&f->q, id, false, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_read_parse(reply, false, &view, &f->err), 0);
    freeReplyObject(reply);
    return view.hook;
}

static void
an_end_is_told_with_all_a_receiver_must_know(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_delivery d;
    char id[ID_LEN + 1], event[QUEUE_HOOK_EVENT_ID_MAX], expected[QUEUE_HOOK_EVENT_ID_MAX];
    redisReply *reply;
    size_t n;

    submit_hooked(f, id, false);
    assert_int_equal(n_due(f), 0);
    end_run(f, id, false);
    reply = hook_claim(f, 10, &n);
    assert_int_equal(n, 1);
    assert_int_equal(queue_hook_delivery_parse(reply, 0, &d, &f->err), 0);
    assert_string_equal(d.subject, id);
    assert_int_equal(d.status, TASK_FAILED);
    assert_false(d.is_ping);
    assert_false(d.is_group);
    assert_int_equal(d.attempts, 1);
    assert_int_equal(d.fence, 1);
    assert_int_equal(d.requeues, 0);
    assert_int_equal(d.expires_ms, d.created_ms + QUEUE_RESULT_TTL_MS);
    assert_int_equal(d.owner_len, 6);
    assert_memory_equal(d.owner, "desk-a", 6);
    assert_memory_equal(d.error_code, "inference_failed", d.error_code_len);
    assert_memory_equal(d.error_text, "no luck", d.error_text_len);
    assert_int_equal(d.webhook_size, 4);
    assert_memory_equal(d.webhook, "ho\0k", 4);
    queue_hook_event_id(&d, event);
    snprintf(expected, sizeof(expected), "evt_%s_failed", id);
    assert_string_equal(event, expected);
    freeReplyObject(reply);
    assert_int_equal(n_due(f), 0); /* it is leased */
}

static void
a_delivery_is_retried_and_then_done_with(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_delivery d;
    char id[ID_LEN + 1];

    submit_hooked(f, id, false);
    assert_int_equal(hook_of(f, id).outcome, QUEUE_HOOK_PENDING); /* nothing has happened yet */
    assert_int_equal(hook_of(f, id).next_ms, 0);
    assert_string_equal(hook_of(f, id).last_error, "");
    end_run(f, id, true);
    assert_int_equal(hook_of(f, id).outcome, QUEUE_HOOK_PENDING);
    d = take_one(f);
    assert_true(done(f, &d, QUEUE_HOOK_RETRY, HOUR_MS, 503));
    assert_false(done(f, &d, QUEUE_HOOK_RETRY, 0, 503)); /* said twice: the reply was lost */
    assert_int_equal(n_due(f), 0);
    assert_int_equal(hook_of(f, id).last_status, 503);
    assert_string_equal(hook_of(f, id).last_error, "x");
    assert_true(hook_of(f, id).next_ms > 0);
    queue_fixture_int(f, "ZADD ~:webhook 1 %s", d.key);
    d = take_one(f);
    assert_int_equal(d.attempts, 2);
    assert_true(done(f, &d, QUEUE_HOOK_SENT, 0, 200));
    assert_false(done(f, &d, QUEUE_HOOK_SENT, 0, 200));
    assert_int_equal(hook_of(f, id).outcome, QUEUE_HOOK_DELIVERED);
    assert_int_equal(hook_of(f, id).attempts, 2);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook"), 0);
    assert_true(queue_fixture_int(f, "PTTL ~:delivery:%s", d.key) > 0);
}

static void
a_stored_reason_that_is_no_word_is_not_shown(void **state)
{
    static const char *const bad[] = {
        "", "Tls", "tls\n", "a b", "<script>", "a_word_of_thirty_two_letters_or_m"};
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_delivery d;

    submit_hooked(f, id, false);
    end_run(f, id, true);
    d = take_one(f);
    assert_true(done(f, &d, QUEUE_HOOK_GIVE_UP, 0, 0));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        queue_fixture_int(f, "HSET ~:delivery:%s last_error %b", d.key, bad[i], strlen(bad[i]));
        assert_string_equal(hook_of(f, id).last_error, "");
    }
}

static void
a_process_that_lost_its_lease_decides_nothing(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_delivery slow, quick;
    char id[ID_LEN + 1];

    submit_hooked(f, id, false);
    end_run(f, id, true);
    slow = take_one(f);
    queue_fixture_int(f, "ZADD ~:webhook 1 %s", slow.key); /* the lease is over */
    quick = take_one(f);
    assert_int_equal(quick.attempts, 2);
    assert_false(done(f, &slow, QUEUE_HOOK_GIVE_UP, 0, 500));
    assert_true(done(f, &quick, QUEUE_HOOK_SENT, 0, 200));
    assert_false(done(f, &slow, QUEUE_HOOK_GIVE_UP, 0, 500));
    assert_int_equal(hook_of(f, id).outcome, QUEUE_HOOK_DELIVERED);
    assert_int_equal(queue_fixture_stat(f, "fenced_hook"), 2);
}

static void
a_lease_given_back_costs_no_attempt(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_delivery d;
    char id[ID_LEN + 1];

    submit_hooked(f, id, false);
    end_run(f, id, true);
    d = take_one(f);
    assert_true(done(f, &d, QUEUE_HOOK_RELEASE, 0, 0));
    d = take_one(f);
    assert_int_equal(d.attempts, 1);
    assert_true(done(f, &d, QUEUE_HOOK_RELEASE, HOUR_MS, 0)); /* its host has no room now */
    assert_int_equal(n_due(f), 0);
    queue_fixture_int(f, "ZADD ~:webhook 1 %s", d.key);
    assert_int_equal(take_one(f).attempts, 1);
}

/* A backlog of one receiver stood before what had just happened, however long it was. */
static void
of_more_than_may_be_leased_the_oldest_and_the_newest_are(void **state)
{
    static const size_t first_and_last[] = {0, 1, 2, 8, 9};
    struct queue_fixture *f = *state;
    struct queue_delivery d[10];
    char id[ID_LEN + 1];
    redisReply *reply;
    size_t n;

    for (int i = 0; i < 10; i++) {
        submit_hooked(f, id, false);
        end_run(f, id, true);
        d[i] = take_one(f);
    }
    for (int i = 0; i < 10; i++)
        queue_fixture_int(f, "ZADD ~:webhook %d %s", i + 1, d[i].key);
    reply = hook_claim(f, 5, &n);
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) {
        struct queue_delivery found;

        assert_int_equal(queue_hook_delivery_parse(reply, i, &found, &f->err), 0);
        assert_string_equal(found.key, d[first_and_last[i]].key);
    }
    freeReplyObject(reply);
}

static void
a_lease_is_prolonged_by_who_holds_it(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_hook_lease leases[2];
    struct queue_delivery d;
    struct queue_call call;
    char id[ID_LEN + 1];
    redisReply *reply;
    bool kept[2];

    submit_hooked(f, id, false);
    end_run(f, id, true);
    d = take_one(f);
    queue_fixture_int(f, "ZADD ~:webhook 1 %s", d.key);
    leases[0] = (struct queue_hook_lease){.key = d.key, .fence = d.fence + 1};
    leases[1] = (struct queue_hook_lease){.key = d.key, .fence = d.fence};
    assert_int_equal(queue_hook_renew_call(&f->q, HOUR_MS, leases, 2, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_hook_renew_parse(reply, 2, kept, &f->err), 0);
    freeReplyObject(reply);
    assert_false(kept[0]);
    assert_true(kept[1]);
    assert_int_equal(n_due(f), 0); /* it is leased again */
    assert_true(done(f, &d, QUEUE_HOOK_SENT, 0, 200));
    assert_int_equal(queue_hook_renew_call(&f->q, HOUR_MS, leases, 2, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_hook_renew_parse(reply, 2, kept, &f->err), 0);
    freeReplyObject(reply);
    assert_false(kept[1]); /* it has ended, and is not brought back */
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook"), 0);
}

static void
an_end_nobody_wants_to_hear_of_makes_no_event(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    char id[ID_LEN + 1];

    for (int i = 0; i < 2; i++) {
        queue_fixture_fill(&s, &series, id);
        s.webhook = "hook";
        s.webhook_size = 4;
        s.webhook_events = 1u << TASK_FAILED;
        assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
        end_run(f, id, i == 0);
        assert_int_equal(n_due(f), i);
        assert_int_equal(hook_of(f, id).outcome, i == 0 ? QUEUE_HOOK_NONE : QUEUE_HOOK_PENDING);
        assert_int_equal(replay(f, id), i == 0 ? QUEUE_REPLAY_NO_WEBHOOK : QUEUE_REPLAYED);
    }
}

static void
a_dead_delivery_can_be_sent_again(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_delivery d, again;
    char id[ID_LEN + 1], silent[ID_LEN + 1], event[2][QUEUE_HOOK_EVENT_ID_MAX];

    submit_hooked(f, id, false);
    assert_int_equal(replay(f, id), QUEUE_REPLAY_NO_WEBHOOK); /* there is no event yet */
    end_run(f, id, true);
    d = take_one(f);
    assert_true(done(f, &d, QUEUE_HOOK_GIVE_UP, 0, 500));
    assert_int_equal(hook_of(f, id).outcome, QUEUE_HOOK_FAILED);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook:dead"), 1);
    assert_int_equal(n_due(f), 0);
    assert_int_equal(replay(f, id), QUEUE_REPLAYED);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook:dead"), 0);
    again = take_one(f);
    assert_int_equal(again.attempts, 1);
    assert_true(again.fence > d.fence);
    queue_hook_event_id(&d, event[0]);
    queue_hook_event_id(&again, event[1]);
    assert_string_equal(event[0], event[1]);
    assert_true(done(f, &again, QUEUE_HOOK_DISABLE, 0, 410));
    assert_int_equal(hook_of(f, id).outcome, QUEUE_HOOK_DISABLED);
    assert_int_equal(hook_of(f, id).last_status, 410);
    assert_int_equal(replay(f, id), QUEUE_REPLAYED);
    again = take_one(f);
    assert_true(done(f, &again, QUEUE_HOOK_SENT, 0, 200));
    assert_int_equal(replay(f, id), QUEUE_REPLAYED); /* what was delivered, too */
    assert_int_equal(queue_fixture_int(f, "PTTL ~:delivery:%s", d.key), -1);
    queue_fixture_submit(f, TASK_NORMAL, silent);
    assert_int_equal(replay(f, silent), QUEUE_REPLAY_NO_WEBHOOK);
    assert_int_equal(replay(f, f->worker), QUEUE_REPLAY_UNKNOWN);
}

static void
nothing_is_sent_about_a_task_whose_life_is_over(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];

    submit_hooked(f, id, false);
    end_run(f, id, true);
    queue_fixture_int(f, "HSET ~:delivery:%s.1 expires_ms 1", id);
    assert_int_equal(n_due(f), 0);
    assert_int_equal(hook_of(f, id).outcome, QUEUE_HOOK_FAILED);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook"), 0);
}

static void
dead_deliveries_are_kept_a_thousand_at_most(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_delivery d;
    char id[ID_LEN + 1];

    for (int i = 0; i < 1000; i++)
        queue_fixture_int(f, "ZADD ~:webhook:dead %lld old%d", 99999999999999LL + i, i);
    queue_fixture_int(f, "ZADD ~:webhook:dead 1 ancient");
    queue_fixture_int(f, "HSET ~:delivery:old0 subject x");
    submit_hooked(f, id, false);
    end_run(f, id, true);
    d = take_one(f);
    queue_fixture_int(f, "ZADD ~:webhook:dead 99999999999998 old0");
    assert_true(done(f, &d, QUEUE_HOOK_GIVE_UP, 0, 500));
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook:dead"), 1000);
    assert_string_equal(queue_fixture_text(f, "ZSCORE ~:webhook:dead ancient"), "");
    /* the oldest went, which is the newest of this clock */
    assert_string_equal(queue_fixture_text(f, "ZSCORE ~:webhook:dead %s", d.key), "");
}

static void
a_start_is_told_once_however_often_it_starts(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_delivery d;
    struct queue_token t;
    enum queue_end end;
    char id[ID_LEN + 1], event[QUEUE_HOOK_EVENT_ID_MAX], expected[QUEUE_HOOK_EVENT_ID_MAX];

    submit_hooked(f, id, true);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    d = take_one(f);
    assert_int_equal(d.status, TASK_PROCESSING);
    assert_true(done(f, &d, QUEUE_HOOK_SENT, 0, 200));
    assert_int_equal(queue_release(f->c, &f->q, &t, &end, &f->err), 0);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(n_due(f), 0);
    assert_int_equal(queue_fail(f->c, &f->q, &t, "inference_failed", "x", false, &end, &f->err), 0);
    d = take_one(f);
    assert_int_equal(d.status, TASK_FAILED);
    struct queue_call call;

    assert_true(queue_fixture_do(f, queue_requeue_call(&f->q, id, &call, &f->err), &call));
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    d = take_one(f);
    assert_int_equal(d.status, TASK_PROCESSING);
    assert_int_equal(d.requeues, 1);
    queue_hook_event_id(&d, event);
    snprintf(expected, sizeof(expected), "evt_%s_processing_r1", id);
    assert_string_equal(event, expected);
}

static void
a_group_tells_its_start_and_its_end_once(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series[2];
    struct queue_delivery d;
    char id[2][ID_LEN + 1], group[ID_LEN + 1];

    for (int i = 0; i < 2; i++)
        queue_fixture_fill(&s, &series[i], id[i]);
    id_new(group);
    s.id = group;
    s.n_series = 2;
    s.series = series;
    s.webhook = "hook";
    s.webhook_size = 4;
    s.webhook_events = ALL_EVENTS;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    end_run(f, id[0], true);
    d = take_one(f);
    assert_string_equal(d.subject, group);
    assert_true(d.is_group);
    assert_int_equal(d.status, TASK_PROCESSING);
    end_run(f, id[1], false);
    d = take_one(f);
    assert_string_equal(d.subject, group);
    assert_int_equal(d.status, TASK_FAILED);
    assert_int_equal(n_due(f), 0);
}

static void
a_ping_is_an_event_about_nothing(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_delivery d;
    struct queue_call call;
    char id[ID_LEN + 1], event[QUEUE_HOOK_EVENT_ID_MAX];

    id_new(id);
    for (int i = 0; i < 2; i++)
        assert_true(queue_fixture_do(
            f, queue_hook_ping_call(&f->q, id, "local", "hook", 4, &call, &f->err), &call));
    d = take_one(f);
    assert_true(d.is_ping);
    queue_hook_event_id(&d, event);
    assert_memory_equal(event, "evt_", 4);
    assert_string_equal(event + 4, id);
    assert_true(done(f, &d, QUEUE_HOOK_GIVE_UP, 0, 0));
    assert_int_equal(
        queue_fixture_int(f, "EXISTS ~:delivery:%s", id), 0); /* nobody can ask for it */
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:webhook:dead"), 0);
}

static void
a_broken_delivery_costs_its_neighbours_nothing(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_delivery d;
    char id[ID_LEN + 1];
    redisReply *reply;
    size_t n, good = 0;

    submit_hooked(f, id, false);
    end_run(f, id, true);
    queue_fixture_int(f, "ZADD ~:webhook 1 no-hash 2 no-uuid 3 no-state");
    queue_fixture_int(f, "HSET ~:delivery:no-uuid subject me state failed webhook w");
    queue_fixture_int(f, "HSET ~:delivery:no-state subject %s state queued webhook w", id);
    reply = hook_claim(f, 10, &n);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        if (queue_hook_delivery_parse(reply, i, &d, &f->err) == 0)
            good++;
        else
            assert_int_equal(f->err.code, ERR_CORRUPT);
        assert_true(d.key[0] != '\0'); /* what is broken can be given up */
        if (f->err.code == ERR_CORRUPT)
            assert_true(done(f, &d, QUEUE_HOOK_GIVE_UP, 0, 0));
        f->err.code = ERR_NONE;
    }
    assert_int_equal(good, 1);
    freeReplyObject(reply);
    assert_int_equal(queue_fixture_stat(f, "orphan"), 1);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(an_end_is_told_with_all_a_receiver_must_know),
        test(a_delivery_is_retried_and_then_done_with),
        test(a_stored_reason_that_is_no_word_is_not_shown),
        test(a_process_that_lost_its_lease_decides_nothing),
        test(a_lease_given_back_costs_no_attempt),
        test(of_more_than_may_be_leased_the_oldest_and_the_newest_are),
        test(a_lease_is_prolonged_by_who_holds_it),
        test(an_end_nobody_wants_to_hear_of_makes_no_event),
        test(a_dead_delivery_can_be_sent_again),
        test(nothing_is_sent_about_a_task_whose_life_is_over),
        test(dead_deliveries_are_kept_a_thousand_at_most),
        test(a_start_is_told_once_however_often_it_starts),
        test(a_group_tells_its_start_and_its_end_once),
        test(a_ping_is_an_event_about_nothing),
        test(a_broken_delivery_costs_its_neighbours_nothing),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
