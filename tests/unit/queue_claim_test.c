/*
 * queue_claim_test.c - Who gets which task: claim, renew, held. Against a real Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/queue/script.h"
#include "tests/support/queue_fixture.h"

#define HOUR_MS 3600000

static void
a_claim_hands_out_input_fence_and_attempt(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_claims claims;
    char id[ID_LEN + 1];

    queue_fixture_listen(f);
    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_int(f, "HINCRBY ~:task:%s queued_ms -1500", id);
    queue_fixture_claim(f, TASK_NORMAL, f->worker, &claims);

    assert_false(claims.wait_for_suspect);
    assert_int_equal(claims.n, 1);
    assert_string_equal(claims.leases[0].id, id);
    assert_int_equal(claims.leases[0].fence, 1);
    assert_int_equal(claims.leases[0].attempt, 1);
    assert_int_equal(claims.leases[0].crashes, 0);
    assert_int_equal(claims.leases[0].priority, TASK_NORMAL);
    assert_in_range(claims.leases[0].wait_ms, 1500, 60000);
    assert_int_equal(claims.leases[0].input_size, 9);
    assert_memory_equal(claims.leases[0].input, "the input", 9);
    queue_claims_clear(&claims);

    fixture_assert_field(f, id, "state", "processing");
    fixture_assert_field(f, id, "worker", f->worker);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:normal"), 0);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:running"), 1);
    assert_int_equal(queue_fixture_stat(f, "queued_prefill:normal"), 0);
    assert_int_equal(queue_fixture_stat(f, "queued_steps:normal"), 0);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 9); /* until it ends */
    const char *event = queue_fixture_event(f);

    assert_non_null(event);
    assert_memory_equal(event, id, ID_LEN);
    assert_string_equal(event + ID_LEN, " processing");
    assert_null(queue_fixture_event(f));
}

static void
a_claim_of_an_empty_queue_is_empty(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_claims claims;

    queue_fixture_claim(f, TASK_URGENT, f->worker, &claims);
    assert_int_equal(claims.n, 0);
    assert_false(claims.wait_for_suspect);
    assert_int_equal(claims.more, 0);
}

static void
a_stale_hint_is_worth_the_oldest_task(void **state)
{
    struct queue_fixture *f = *state;
    char first[ID_LEN + 1], second[ID_LEN + 1], gone[ID_LEN + 1];

    queue_fixture_submit(f, TASK_LOW, first);
    queue_fixture_submit(f, TASK_LOW, second);
    id_new(gone);
    queue_fixture_int(f, "LPUSH ~:list:low %s", gone);
    queue_fixture_take(f, TASK_LOW, first, f->worker);
    /* the hint of a task that is taken is as stale */
    queue_fixture_take(f, TASK_LOW, second, f->worker);
    assert_int_equal(queue_fixture_stat(f, "stale_hint"), 2);
}

/* A claim by an idle or busy worker with more than one free slot. */
static void
claim_many(struct queue_fixture *f, enum task_priority priority, const char *hint, int busy,
    int room, int room_other, struct queue_claims *claims)
{
    struct queue_claim_request r = {
        .priority = priority,
        .hint = hint,
        .hint_len = strlen(hint),
        .worker = f->worker,
        .lease_ms = HOUR_MS,
        .busy = busy,
        .room = room,
        .room_other = room_other,
    };

    if (queue_claim(f->c, &f->q, &r, claims, &f->err) == -1)
        fail_msg("claim: %s", f->err.text);
}

/* A claim without a popped hint: ${order} as the worker looks at its lists this time. */
static void
claim_waiting(struct queue_fixture *f, const enum task_priority *order, unsigned takes,
    int room_other, struct queue_claims *claims)
{
    struct queue_claim_request r = {
        .worker = f->worker,
        .lease_ms = HOUR_MS,
        .busy = 3,
        .room = 1,
        .room_other = room_other,
        .takes = takes,
        .order = order,
    };

    if (queue_claim(f->c, &f->q, &r, claims, &f->err) == -1)
        fail_msg("claim: %s", f->err.text);
}

static void
without_a_hint_the_first_waiting_task_in_the_callers_order_is_taken(void **state)
{
    static const enum task_priority low_first[] = {TASK_LOW, TASK_URGENT, TASK_NORMAL};
    struct queue_fixture *f = *state;
    char urgent[ID_LEN + 1], normal[ID_LEN + 1], low[ID_LEN + 1];
    struct queue_claims claims;

    queue_fixture_submit(f, TASK_URGENT, urgent);
    queue_fixture_submit(f, TASK_NORMAL, normal);
    queue_fixture_submit(f, TASK_LOW, low);
    claim_waiting(f, low_first, 0, 1, &claims);
    assert_int_equal(claims.n, 1);
    assert_string_equal(claims.leases[0].id, low);
    assert_int_equal(claims.more, 1u << TASK_URGENT | 1u << TASK_NORMAL);
    queue_claims_clear(&claims);

    claim_waiting(f, NULL, 1u << TASK_NORMAL | 1u << TASK_LOW, 0, &claims);
    assert_int_equal(claims.n, 0); /* no room for others than urgent, and urgent is not taken */
    assert_int_equal(claims.more, 1u << TASK_NORMAL);
    queue_claims_clear(&claims);

    claim_waiting(f, low_first, 0, 0, &claims);
    assert_int_equal(claims.n, 1);
    assert_string_equal(claims.leases[0].id, urgent);
    assert_int_equal(claims.more, 1u << TASK_NORMAL);
    queue_claims_clear(&claims);

    claim_waiting(f, NULL, 0, 1, &claims);
    assert_string_equal(claims.leases[0].id, normal);
    assert_int_equal(claims.more, 0);
    queue_claims_clear(&claims);

    claim_waiting(f, NULL, 0, 1, &claims);
    assert_int_equal(claims.n, 0);
    assert_int_equal(queue_fixture_stat(f, "stale_hint"), 0);
    queue_claims_clear(&claims);
}

static void
further_slots_are_filled_urgent_first_and_only_by_hints_in_a_list(void **state)
{
    struct queue_fixture *f = *state;
    char low[2][ID_LEN + 1], normal[2][ID_LEN + 1], urgent[2][ID_LEN + 1];
    struct queue_claims claims;

    for (int i = 0; i < 2; i++) {
        queue_fixture_submit(f, TASK_LOW, low[i]);
        queue_fixture_submit(f, TASK_NORMAL, normal[i]);
        queue_fixture_submit(f, TASK_URGENT, urgent[i]);
    }
    queue_fixture_int(f, "LPOP ~:list:low");
    queue_fixture_int(f, "LPOP ~:list:urgent"); /* another worker was woken for this one */
    claim_many(f, TASK_LOW, low[0], 0, 4, 4, &claims);
    assert_int_equal(claims.n, 4);
    assert_string_equal(claims.leases[0].id, low[0]);
    assert_string_equal(claims.leases[1].id, urgent[1]);
    assert_string_equal(claims.leases[2].id, normal[0]);
    assert_string_equal(claims.leases[3].id, normal[1]);
    assert_int_equal(claims.leases[1].priority, TASK_URGENT);
    queue_claims_clear(&claims);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:urgent"), 1);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:low"), 1);
}

static void
slots_kept_for_urgent_work_take_nothing_else(void **state)
{
    struct queue_fixture *f = *state;
    char normal[3][ID_LEN + 1], urgent[ID_LEN + 1];
    struct queue_claims claims;

    for (int i = 0; i < 3; i++)
        queue_fixture_submit(f, TASK_NORMAL, normal[i]);
    queue_fixture_int(f, "LPOP ~:list:normal");
    claim_many(f, TASK_NORMAL, normal[0], 0, 3, 2, &claims);
    assert_int_equal(claims.n, 2);
    queue_claims_clear(&claims);
    queue_fixture_submit(f, TASK_URGENT, urgent);
    queue_fixture_int(f, "LPOP ~:list:urgent");
    claim_many(f, TASK_URGENT, urgent, 2, 1, 0, &claims);
    assert_int_equal(claims.n, 1);
    queue_claims_clear(&claims);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:normal"), 1);
}

static void
a_worker_of_some_queues_is_given_nothing_of_the_others(void **state)
{
    struct queue_fixture *f = *state;
    char low[2][ID_LEN + 1], normal[ID_LEN + 1], urgent[ID_LEN + 1], gone[ID_LEN + 1];
    struct queue_claim_request r = {.hint = gone, /* stale: worth the oldest of its queue */
        .hint_len = ID_LEN,
        .worker = f->worker,
        .lease_ms = HOUR_MS,
        .room = 8,
        .room_other = 8,
        .priority = TASK_LOW,
        .takes = 1u << TASK_LOW | 1u << TASK_URGENT};
    struct queue_claims claims;

    id_new(gone);
    queue_fixture_submit(f, TASK_NORMAL, normal);
    for (int i = 0; i < 2; i++)
        queue_fixture_submit(f, TASK_LOW, low[i]);
    queue_fixture_submit(f, TASK_URGENT, urgent);
    assert_int_equal(queue_claim(f->c, &f->q, &r, &claims, &f->err), 0);
    assert_int_equal(claims.n, 3);
    assert_string_equal(claims.leases[0].id, low[0]);
    assert_string_equal(claims.leases[1].id, urgent);
    assert_string_equal(claims.leases[2].id, low[1]);
    queue_claims_clear(&claims);
    fixture_assert_field(f, normal, "state", "queued");
    assert_int_equal(queue_fixture_int(f, "LLEN ~:list:normal"), 1); /* its hint is not spent */
    /* a stale hint does not lead to another queue either */
    assert_int_equal(queue_claim(f->c, &f->q, &r, &claims, &f->err), 0);
    assert_int_equal(claims.n, 0);
    r.takes = 0;
    assert_int_equal(queue_claim(f->c, &f->q, &r, &claims, &f->err), 0);
    assert_int_equal(claims.n, 1);
    queue_claims_clear(&claims);
}

static void
one_claim_takes_at_most_what_its_reply_can_hold(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_claims claims;

    for (int i = 0; i < QUEUE_CLAIM_MAX + 4; i++)
        queue_fixture_submit(f, TASK_NORMAL, id);
    claim_many(f, TASK_NORMAL, "", 0, 1000, 1000, &claims);
    assert_int_equal(claims.n, QUEUE_CLAIM_MAX);
    queue_claims_clear(&claims);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:running"), QUEUE_CLAIM_MAX);
}

static void
a_claim_without_a_free_slot_is_refused(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_claim_request r = {
        .hint = "", .worker = f->worker, .lease_ms = HOUR_MS, .room = 0};
    struct queue_claims claims;

    assert_int_equal(queue_claim(f->c, &f->q, &r, &claims, &f->err), -1);
    assert_int_equal(f->err.code, ERR_INVALID);
}

static void
a_paused_priority_is_not_claimed_and_loses_nothing(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_claims claims;

    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_int(f, "HSET ~:control paused:normal 1");
    queue_fixture_claim(f, TASK_NORMAL, f->worker, &claims);
    assert_int_equal(claims.n, 0);
    queue_fixture_int(f, "HSET ~:control paused 1");
    queue_fixture_int(f, "RPUSH ~:list:normal %s", id);
    claim_many(f, TASK_URGENT, "", 0, 4, 4, &claims);
    assert_int_equal(claims.n, 0);
    queue_fixture_int(f, "DEL ~:control");
    queue_fixture_take(f, TASK_NORMAL, id, f->worker);
}

static void
a_task_past_its_deadline_is_not_started(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_submission s;
    struct queue_series series;
    struct queue_claims claims;
    char id[ID_LEN + 1];

    queue_fixture_fill(&s, &series, id);
    s.deadline_in_ms = HOUR_MS;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    queue_fixture_pass_deadline(f, id);
    queue_fixture_claim(f, TASK_NORMAL, f->worker, &claims);
    assert_int_equal(claims.n, 0);
    fixture_assert_field(f, id, "state", "expired");
    fixture_assert_field(f, id, "error_code", "deadline_exceeded");
    fixture_assert_field(f, id, "input", "");
    fixture_assert_field(f, id, "about", "the about");
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:deadline"), 0);
    assert_int_equal(queue_fixture_stat(f, "input_bytes"), 0);
    assert_int_equal(queue_fixture_stat(f, "queued_steps:normal"), 0);
}

static void
a_suspect_waits_until_its_worker_is_empty_and_then_runs_alone(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_claims claims;
    char suspect[ID_LEN + 1], innocent[ID_LEN + 1];

    queue_fixture_submit(f, TASK_LOW, suspect);
    queue_fixture_submit(f, TASK_URGENT, innocent);
    queue_fixture_int(f, "HSET ~:task:%s crashes 2", suspect);
    queue_fixture_int(f, "LPOP ~:list:low");

    claim_many(f, TASK_LOW, suspect, 1, 3, 3, &claims);
    assert_int_equal(claims.n, 0);
    assert_true(claims.wait_for_suspect);
    assert_int_equal(claims.wait_for, TASK_LOW);
    assert_string_equal(queue_fixture_text(f, "LINDEX ~:list:low 0"), suspect);
    fixture_assert_field(f, suspect, "state", "queued");
    fixture_assert_field(f, suspect, "attempts", "0");

    queue_fixture_int(f, "LPOP ~:list:low");
    claim_many(f, TASK_LOW, suspect, 0, 4, 4, &claims);
    assert_int_equal(claims.n, 1);
    assert_string_equal(claims.leases[0].id, suspect);
    assert_int_equal(claims.leases[0].crashes, 2);
    assert_false(claims.wait_for_suspect);
    queue_claims_clear(&claims);
    fixture_assert_field(f, innocent, "state", "queued");
}

static void
a_suspect_met_while_filling_further_slots_is_put_back(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_claims claims;
    char suspect[ID_LEN + 1], innocent[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, innocent);
    queue_fixture_submit(f, TASK_NORMAL, suspect);
    queue_fixture_int(f, "HSET ~:task:%s crashes 2", suspect);
    queue_fixture_int(f, "LPOP ~:list:normal");
    claim_many(f, TASK_NORMAL, innocent, 0, 4, 4, &claims);
    assert_int_equal(claims.n, 1);
    assert_string_equal(claims.leases[0].id, innocent);
    assert_true(claims.wait_for_suspect);
    assert_int_equal(claims.wait_for, TASK_NORMAL);
    queue_claims_clear(&claims);
    assert_string_equal(queue_fixture_text(f, "LINDEX ~:list:normal 0"), suspect);
}

static void
an_id_without_a_task_is_dropped_and_does_not_block_the_queue(void **state)
{
    struct queue_fixture *f = *state;
    char broken[ID_LEN + 1], id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, broken);
    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_int(f, "DEL ~:task:%s", broken);
    queue_fixture_take(f, TASK_NORMAL, id, f->worker); /* by the next hint of the same claim */
    assert_int_equal(queue_fixture_stat(f, "orphan"), 1);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:normal"), 0);
}

static void
a_task_whose_input_is_gone_fails_instead_of_waiting_for_ever(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_claims claims;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_int(f, "HDEL ~:task:%s input", id);
    queue_fixture_claim(f, TASK_NORMAL, f->worker, &claims);
    assert_int_equal(claims.n, 0);
    fixture_assert_field(f, id, "state", "failed");
    fixture_assert_field(f, id, "error_code", "input_corrupt");
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:queued:normal"), 0);
}

static void
an_id_that_is_no_uuid_costs_its_neighbours_nothing(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_claims claims;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);
    queue_fixture_int(f, "HSET ~:task:../x state queued priority normal seq 0 input y");
    queue_fixture_int(f, "ZADD ~:queued:normal 0 ../x");
    queue_fixture_int(f, "LPUSH ~:list:normal ../x");
    claim_many(f, TASK_NORMAL, "", 0, 4, 4, &claims);
    assert_int_equal(claims.n, 1);
    assert_string_equal(claims.leases[0].id, id);
    queue_claims_clear(&claims);
}

/* ---- renew ---- */

static enum queue_renew_code
renew_one(
    struct queue_fixture *f, const char *id, uint64_t fence, const char *worker, int64_t ticks)
{
    struct queue_renewal r = {.id = id, .fence = fence, .ticks = ticks, .step = 17};
    enum queue_renew_code code = QUEUE_RENEW_NO_PROGRESS;

    if (queue_renew(f->c, &f->q, worker, HOUR_MS, HOUR_MS, &r, 1, &code, &f->err) == -1)
        fail_msg("renew: %s", f->err.text);
    return code;
}

static void
a_renewal_with_progress_moves_the_lease_end_and_stores_the_step(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t;

    queue_fixture_submit(f, TASK_NORMAL, id);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    queue_fixture_end_lease(f, id);
    assert_int_equal(renew_one(f, id, t.fence, f->worker, 0), QUEUE_RENEWED);
    assert_true(queue_fixture_int(f, "ZSCORE ~:running %s", id) > 1);
    fixture_assert_field(f, id, "step", "17");
    fixture_assert_field(f, id, "ticks", "0");
}

static void
a_renewal_tells_watchers_how_far_the_run_is(void **state)
{
    struct queue_fixture *f = *state;
    redisContext *watcher = redis_server_connect(f->server);
    struct queue_progress p;
    char id[ID_LEN + 1], channel[QUEUE_KEY_MAX];
    struct queue_token t;
    redisReply *reply;
    void *message;

    queue_fixture_submit(f, TASK_NORMAL, id);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    queue_live_channel(&f->q, id, channel);
    reply = redisCommand(watcher, "PSUBSCRIBE %s", QUEUE_WATCH_PATTERN);
    assert_non_null(reply);
    freeReplyObject(reply);
    assert_int_equal(renew_one(f, id, t.fence, f->worker, 0), QUEUE_RENEWED);
    assert_int_equal(renew_one(f, id, t.fence, f->worker, 1), QUEUE_RENEWED); /* the same step */
    queue_fixture_int(f, "PUBLISH %s end", channel);
    assert_int_equal(redisGetReply(watcher, &message), REDIS_OK);
    reply = message;
    assert_string_equal(reply->element[2]->str, channel);
    assert_int_equal(queue_progress_parse(reply->element[2]->str, reply->element[2]->len,
                         reply->element[3]->str, reply->element[3]->len, &p),
        0);
    assert_string_equal(p.id, id);
    assert_int_equal(p.fence, 1);
    assert_int_equal(p.step, 17);
    freeReplyObject(reply);
    assert_int_equal(redisGetReply(watcher, &message), REDIS_OK);
    reply = message;
    assert_string_equal(reply->element[3]->str, "end"); /* one message per step, not per renewal */
    assert_int_equal(queue_progress_parse(channel, strlen(channel), "end", 3, &p), -1);
    freeReplyObject(reply);
    redisFree(watcher);
}

/* ${n} candles from number ${first} on, of run ${fence}: no two bytes of neighbours alike. */
static void
make_candles(unsigned char *bytes, uint64_t fence, uint32_t first, size_t n)
{
    for (size_t i = 0; i < n * QUEUE_CANDLE_BYTES; i++)
        bytes[i] = (unsigned char)(fence * 101 + first * 7 + i);
}

static enum queue_renew_code
renew_with_candles(
    struct queue_fixture *f, const struct queue_token *t, int64_t ticks, uint32_t first, size_t n)
{
    unsigned char bytes[8 * QUEUE_CANDLE_BYTES];
    struct queue_renewal r = {.id = t->id,
        .fence = t->fence,
        .ticks = ticks,
        .step = 3,
        .first_candle = first,
        .candles = bytes,
        .n_candles = n};
    enum queue_renew_code code;

    for (size_t i = 0; i < n; i++)
        make_candles(bytes + i * QUEUE_CANDLE_BYTES, t->fence, first + (uint32_t)i, 1);
    if (queue_renew(f->c, &f->q, t->worker, HOUR_MS, HOUR_MS, &r, 1, &code, &f->err) == -1)
        fail_msg("renew: %s", f->err.text);
    return code;
}

static struct queue_watched
watch(struct queue_fixture *f, const char *id, const struct queue_known *known, redisReply **reply)
{
    struct queue_watched w;
    struct queue_call call;

    assert_int_equal(queue_watch_call(&f->q, id, known, &call, &f->err), 0);
    *reply = queue_fixture_run(f, &call);
    if (queue_watch_parse(*reply, &w, &f->err) == -1)
        fail_msg("watch: %s", f->err.text);
    return w;
}

static void
assert_candles(struct queue_fixture *f, const char *id, const struct queue_known *known,
    uint32_t first, size_t n)
{
    unsigned char bytes[QUEUE_CANDLE_BYTES];
    redisReply *reply;
    struct queue_watched w = watch(f, id, known, &reply);

    assert_int_equal(w.first_candle, first);
    assert_int_equal(w.n_candles, n);
    for (size_t i = 0; i < n; i++) {
        make_candles(bytes, w.fence, first + (uint32_t)i, 1);
        assert_memory_equal(
            (const char *)w.candles + i * QUEUE_CANDLE_BYTES, bytes, QUEUE_CANDLE_BYTES);
    }
    freeReplyObject(reply);
}

static void
candles_come_with_renewals_and_wait_for_late_readers(void **state)
{
    struct queue_fixture *f = *state;
    redisContext *watcher = redis_server_connect(f->server);
    unsigned char bytes[2 * QUEUE_CANDLE_BYTES];
    const struct queue_known nothing = {0}, two = {.fence = 1, .n_candles = 2},
                             other = {7, 2, true};
    struct queue_progress p;
    char id[ID_LEN + 1];
    struct queue_watched w;
    struct queue_token t;
    redisReply *reply;
    void *message;

    queue_fixture_submit(f, TASK_NORMAL, id);
    w = watch(f, id, &nothing, &reply);
    assert_int_equal(w.fence, 0);
    assert_int_equal(w.view.status, TASK_QUEUED);
    assert_true(w.input_size > 0 && w.n_candles == 0);
    freeReplyObject(reply);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    reply = redisCommand(watcher, "PSUBSCRIBE %s", QUEUE_WATCH_PATTERN);
    assert_non_null(reply);
    freeReplyObject(reply);
    assert_int_equal(renew_with_candles(f, &t, 0, 0, 2), QUEUE_RENEWED);
    assert_int_equal(redisGetReply(watcher, &message), REDIS_OK);
    reply = message;
    assert_int_equal(queue_progress_parse(reply->element[2]->str, reply->element[2]->len,
                         reply->element[3]->str, reply->element[3]->len, &p),
        0);
    assert_int_equal(p.step, 3);
    assert_int_equal(p.first_candle, 0);
    assert_int_equal(p.n_candles, 2);
    make_candles(bytes, 1, 0, 1);
    make_candles(bytes + QUEUE_CANDLE_BYTES, 1, 1, 1);
    assert_memory_equal(p.candles, bytes, sizeof(bytes));
    freeReplyObject(reply);
    assert_candles(f, id, &nothing, 0, 2);
    assert_candles(f, id, &two, 2, 0);
    assert_int_equal(renew_with_candles(f, &t, 1, 2, 3), QUEUE_RENEWED);
    assert_int_equal(
        renew_with_candles(f, &t, 2, 1, 2), QUEUE_RENEWED); /* a repeat changes nothing */
    assert_candles(f, id, &nothing, 0, 5);
    assert_candles(f, id, &two, 2, 3);
    assert_candles(f, id, &other, 0, 5);
    assert_true(queue_fixture_int(f, "PTTL ~:candles:%s.1", id) > HOUR_MS);
    redisFree(watcher);
}

static void
candles_of_another_run_are_nobodys(void **state)
{
    struct queue_fixture *f = *state;
    const struct queue_known nothing = {0};
    struct queue_token t, late;
    enum queue_end end;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);
    late = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(renew_with_candles(f, &late, 0, 0, 2), QUEUE_RENEWED);
    assert_int_equal(queue_release(f->c, &f->q, &late, &end, &f->err), 0);
    assert_candles(f, id, &nothing, 0, 0); /* it waits: nothing is known of it */
    t = queue_fixture_take(f, TASK_NORMAL, id, f->other);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:candles:%s.1", id), 0);
    assert_int_equal(renew_with_candles(f, &late, 9, 2, 1), QUEUE_RENEW_FENCED);
    assert_candles(f, id, &nothing, 0, 0);
    assert_int_equal(renew_with_candles(f, &t, 0, 0, 1), QUEUE_RENEWED);
    assert_candles(f, id, &nothing, 0, 1);
    assert_int_equal(queue_complete(f->c, &f->q, &t, "output", 6, &end, &f->err), 0);
    assert_int_equal(queue_fixture_int(f, "EXISTS ~:candles:%s.1 ~:candles:%s.2", id, id), 0);
    assert_candles(f, id, &nothing, 0, 0);
}

static void
candles_that_Redis_lost_are_asked_for_again(void **state)
{
    struct queue_fixture *f = *state;
    const struct queue_known nothing = {0};
    struct queue_token t;
    char id[ID_LEN + 1];

    queue_fixture_submit(f, TASK_NORMAL, id);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(renew_with_candles(f, &t, 0, 0, 2), QUEUE_RENEWED);
    queue_fixture_int(f, "DEL ~:candles:%s.1", id);
    assert_int_equal(renew_with_candles(f, &t, 1, 2, 1), QUEUE_RENEWED_CANDLES_LOST);
    fixture_assert_field(f, id, "ticks", "1"); /* renewed all the same */
    assert_candles(f, id, &nothing, 0, 0);
    assert_int_equal(renew_with_candles(f, &t, 2, 0, 3), QUEUE_RENEWED);
    assert_candles(f, id, &nothing, 0, 3);
}

static void
more_candles_than_a_forecast_has_are_refused_before_anything_is_written(void **state)
{
    struct queue_fixture *f = *state;
    unsigned char bytes[QUEUE_CANDLE_BYTES] = {0};
    struct queue_renewal r = {
        .id = "", .first_candle = TASK_HORIZON_MAX, .candles = bytes, .n_candles = 1};
    enum queue_renew_code code;
    struct queue_token t;
    char id[ID_LEN + 1];
    redisReply *reply;

    assert_int_equal(queue_renew(f->c, &f->q, f->worker, 1, 1, &r, 1, &code, &f->err), -1);
    assert_int_equal(f->err.code, ERR_INVALID);
    queue_fixture_submit(f, TASK_NORMAL, id);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    for (size_t i = 0; i < 3; i++) {
        static const char *const first[] = {"512", "-1", "0"};

        reply = redisCommand(f->c, "EVALSHA %s 1 %s %s 1000 1000 %s %llu 5 1 %s %b",
            queue_script_renew.sha1, f->q.prefix, f->worker, id, (unsigned long long)t.fence,
            first[i], bytes, i == 2 ? (size_t)5 : sizeof(bytes));
        assert_non_null(reply);
        assert_int_equal(reply->type, REDIS_REPLY_ERROR);
        freeReplyObject(reply);
    }
    fixture_assert_field(f, id, "ticks", "-1");
}

static void
a_message_that_is_no_progress_is_not_read(void **state)
{
    static const char channel[] = "kq:{tiny}:live:0f9aa4c2-6b4e-4d9c-8d0e-3b7c5f1e2a90";
    static const char *const bad[] = {"", "1", "1 ", " 1", "1 2 ", "1 2 3", "1 2 3 x", "1 2 513 ",
        "1 4294967296", "99999999999999999999999 1", "1 2 x aaaaaaaaaaaaaaaaaaaaaaaa"};
    char most[16 + (TASK_HORIZON_MAX + 1) * QUEUE_CANDLE_BYTES];
    struct queue_progress p;
    int head;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(
            queue_progress_parse(channel, strlen(channel), bad[i], strlen(bad[i]), &p), -1);
    memset(most, 'x', sizeof(most));
    head = snprintf(most, sizeof(most), "1 2 0 ");
    most[head] = 'x';
    assert_int_equal(queue_progress_parse(channel, strlen(channel), most,
                         (size_t)head + TASK_HORIZON_MAX * QUEUE_CANDLE_BYTES, &p),
        0);
    assert_int_equal(p.n_candles, TASK_HORIZON_MAX);
    assert_int_equal(queue_progress_parse(channel, strlen(channel), most,
                         (size_t)head + (TASK_HORIZON_MAX + 1) * QUEUE_CANDLE_BYTES, &p),
        -1);
    assert_int_equal(queue_progress_parse("kq:{tiny}:events", 16, "1 2", 3, &p), -1);
}

static void
a_renewal_without_progress_is_refused(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1];
    struct queue_token t;

    queue_fixture_submit(f, TASK_NORMAL, id);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(renew_one(f, id, t.fence, f->worker, 8), QUEUE_RENEWED);
    queue_fixture_end_lease(f, id);
    assert_int_equal(renew_one(f, id, t.fence, f->worker, 8), QUEUE_RENEW_NO_PROGRESS);
    assert_int_equal(queue_fixture_int(f, "ZSCORE ~:running %s", id), 1);
    assert_int_equal(renew_one(f, id, t.fence, f->worker, 9), QUEUE_RENEWED);
}

static void
a_renewal_by_anybody_else_is_fenced(void **state)
{
    struct queue_fixture *f = *state;
    char id[ID_LEN + 1], gone[ID_LEN + 1];
    struct queue_token t;

    id_new(gone);
    queue_fixture_submit(f, TASK_NORMAL, id);
    assert_int_equal(renew_one(f, id, 0, f->worker, 1), QUEUE_RENEW_FENCED); /* not running */
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    assert_int_equal(renew_one(f, id, t.fence, f->other, 1), QUEUE_RENEW_FENCED);
    assert_int_equal(renew_one(f, id, t.fence + 1, f->worker, 1), QUEUE_RENEW_FENCED);
    assert_int_equal(renew_one(f, gone, 1, f->worker, 1), QUEUE_RENEW_FENCED);
    assert_int_equal(queue_fixture_stat(f, "fenced_renew"), 4);
}

static void
a_renewal_tells_of_cancel_deadline_and_run_limit(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_renewal r[4];
    enum queue_renew_code codes[4];
    char id[4][ID_LEN + 1];

    for (int i = 0; i < 4; i++) {
        queue_fixture_submit(f, TASK_NORMAL, id[i]);
        r[i] = (struct queue_renewal){.id = id[i],
            .fence = queue_fixture_take(f, TASK_NORMAL, id[i], f->worker).fence,
            .ticks = 1};
    }
    queue_fixture_int(f, "HSET ~:task:%s cancel 1", id[0]);
    queue_fixture_int(f, "HSET ~:task:%s deadline_ms 1", id[1]);
    queue_fixture_int(f, "HINCRBY ~:task:%s started_ms %d", id[2], -HOUR_MS - 1);
    assert_int_equal(
        queue_renew(f->c, &f->q, f->worker, HOUR_MS, HOUR_MS, r, 4, codes, &f->err), 0);
    assert_int_equal(codes[0], QUEUE_RENEW_CANCELLED);
    assert_int_equal(codes[1], QUEUE_RENEW_DEADLINE);
    assert_int_equal(codes[2], QUEUE_RENEW_RUN_LIMIT);
    assert_int_equal(codes[3], QUEUE_RENEWED);
}

static void
a_renewal_never_shortens_a_lease_nor_revives_one(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_renewal r;
    enum queue_renew_code code;
    char id[ID_LEN + 1];
    long long lease_end;

    queue_fixture_submit(f, TASK_NORMAL, id);
    r = (struct queue_renewal){
        .id = id, .fence = queue_fixture_take(f, TASK_NORMAL, id, f->worker).fence, .ticks = 1};
    lease_end = queue_fixture_int(f, "ZSCORE ~:running %s", id);
    assert_int_equal(queue_renew(f->c, &f->q, f->worker, 1, HOUR_MS, &r, 1, &code, &f->err), 0);
    assert_int_equal(code, QUEUE_RENEWED);
    assert_int_equal(queue_fixture_int(f, "ZSCORE ~:running %s", id), lease_end);
    queue_fixture_end_lease(f, id);
    queue_fixture_sweep(f);
    assert_int_equal(renew_one(f, id, r.fence, f->worker, 2), QUEUE_RENEW_FENCED);
    assert_int_equal(queue_fixture_int(f, "ZCARD ~:running"), 0);
}

static void
a_renewal_of_nothing_asks_nobody(void **state)
{
    struct queue_fixture *f = *state;

    assert_int_equal(
        queue_renew(NULL, &f->q, f->worker, HOUR_MS, HOUR_MS, NULL, 0, NULL, &f->err), 0);
}

/* ---- held ---- */

static void
after_a_lost_claim_reply_the_leases_can_be_found_and_given_back(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_held held[4];
    struct queue_token t;
    enum queue_end end;
    char mine[2][ID_LEN + 1], not_mine[ID_LEN + 1];
    size_t n;

    queue_fixture_submit(f, TASK_NORMAL, not_mine);
    queue_fixture_take(f, TASK_NORMAL, not_mine, f->other);
    for (int i = 0; i < 2; i++) {
        queue_fixture_submit(f, TASK_NORMAL, mine[i]);
        queue_fixture_take(f, TASK_NORMAL, mine[i], f->worker);
    }
    assert_int_equal(queue_held(f->c, &f->q, f->worker, held, 4, &n, &f->err), 0);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) {
        assert_true(strcmp(held[i].id, mine[0]) == 0 || strcmp(held[i].id, mine[1]) == 0);
        t = (struct queue_token){.id = held[i].id, .fence = held[i].fence, .worker = f->worker};
        assert_int_equal(queue_release(f->c, &f->q, &t, &end, &f->err), 0);
        assert_int_equal(end, QUEUE_END_RELEASED);
    }
    assert_int_equal(queue_held(f->c, &f->q, f->worker, held, 4, &n, &f->err), 0);
    assert_int_equal(n, 0);
    assert_int_equal(queue_held(f->c, &f->q, f->other, held, 4, &n, &f->err), 0);
    assert_int_equal(n, 1);
}

static void
held_leases_never_exceed_the_room_given(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_held held[2];
    char id[ID_LEN + 1];
    size_t n;

    for (int i = 0; i < 3; i++) {
        queue_fixture_submit(f, TASK_NORMAL, id);
        queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    }
    assert_int_equal(queue_held(f->c, &f->q, f->worker, held, 2, &n, &f->err), 0);
    assert_int_equal(n, 2);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(a_claim_hands_out_input_fence_and_attempt),
        test(a_claim_of_an_empty_queue_is_empty),
        test(a_stale_hint_is_worth_the_oldest_task),
        test(further_slots_are_filled_urgent_first_and_only_by_hints_in_a_list),
        test(without_a_hint_the_first_waiting_task_in_the_callers_order_is_taken),
        test(slots_kept_for_urgent_work_take_nothing_else),
        test(a_worker_of_some_queues_is_given_nothing_of_the_others),
        test(one_claim_takes_at_most_what_its_reply_can_hold),
        test(a_claim_without_a_free_slot_is_refused),
        test(a_paused_priority_is_not_claimed_and_loses_nothing),
        test(a_task_past_its_deadline_is_not_started),
        test(a_suspect_waits_until_its_worker_is_empty_and_then_runs_alone),
        test(a_suspect_met_while_filling_further_slots_is_put_back),
        test(an_id_without_a_task_is_dropped_and_does_not_block_the_queue),
        test(a_task_whose_input_is_gone_fails_instead_of_waiting_for_ever),
        test(an_id_that_is_no_uuid_costs_its_neighbours_nothing),
        test(a_renewal_with_progress_moves_the_lease_end_and_stores_the_step),
        test(a_renewal_tells_watchers_how_far_the_run_is),
        test(candles_come_with_renewals_and_wait_for_late_readers),
        test(candles_of_another_run_are_nobodys),
        test(candles_that_Redis_lost_are_asked_for_again),
        test(more_candles_than_a_forecast_has_are_refused_before_anything_is_written),
        test(a_message_that_is_no_progress_is_not_read),
        test(a_renewal_without_progress_is_refused),
        test(a_renewal_by_anybody_else_is_fenced),
        test(a_renewal_tells_of_cancel_deadline_and_run_limit),
        test(a_renewal_never_shortens_a_lease_nor_revives_one),
        test(a_renewal_of_nothing_asks_nobody),
        test(after_a_lost_claim_reply_the_leases_can_be_found_and_given_back),
        test(held_leases_never_exceed_the_room_given),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
