/*
 * queue_script_test.c - How scripts reach Redis and what becomes of strange replies:
 * SHA-1s, NOSCRIPT, script errors, the evented way, hostile bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/queue/queue_admin.h"
#include "common/queue/queue_metrics.h"
#include "common/queue/queue_outbox.h"
#include "common/queue/script.h"
#include "common/redis.h"
#include "common/redis_link.h"
#include "tests/support/queue_fixture.h"

static void
every_script_has_the_sha1_redis_gives_it(void **state)
{
    struct queue_fixture *f = *state;
    size_t n = 0;

    for (; queue_scripts[n]; n++) {
        const struct queue_script *script = queue_scripts[n];
        redisReply *reply = redisCommand(f->c, "SCRIPT LOAD %b", script->source, script->size);

        assert_non_null(reply);
        if (reply->type != REDIS_REPLY_STRING)
            fail_msg("%s: %s", script->name, reply->str);
        assert_string_equal(reply->str, script->sha1);
        assert_int_equal(strlen(script->source), script->size);
        assert_int_equal(strncmp(script->source, "#!lua", 5), 0);
        freeReplyObject(reply);
    }
    assert_true(n > 20); /* all of them, not none */
}

static void
a_redis_that_forgot_its_scripts_is_given_them_again(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_token t;
    struct queue_swept swept;
    enum queue_end end;
    char id[ID_LEN + 1];

    queue_fixture_int(f, "SCRIPT FLUSH");
    queue_fixture_submit(f, TASK_NORMAL, id);
    t = queue_fixture_take(f, TASK_NORMAL, id, f->worker);
    queue_fixture_int(f, "SCRIPT FLUSH");
    assert_int_equal(queue_complete(f->c, &f->q, &t, "x", 1, &end, &f->err), 0);
    assert_int_equal(end, QUEUE_END_COMPLETED);
    assert_int_equal(queue_sweep(f->c, &f->q, f->run_id, &swept, &f->err), 0);
    assert_int_equal(queue_fixture_stat(f, "submitted"), 1); /* EVAL ran it once, not twice */
}

static void
an_error_inside_a_script_comes_back_with_its_text(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_swept swept;

    queue_fixture_int(f, "SET ~:running text");
    assert_int_equal(queue_sweep(f->c, &f->q, f->run_id, &swept, &f->err), -1);
    assert_int_equal(f->err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(f->err.text, "sweep"));
    assert_non_null(strstr(f->err.text, "WRONGTYPE"));
}

static void
a_lost_connection_is_unavailable(void **state)
{
    struct queue_fixture *f = *state;
    redisContext *c = queue_fixture_canned("");
    struct queue_token t = {.id = f->worker, .fence = 1, .worker = f->worker};
    enum queue_end end;

    assert_int_equal(queue_complete(c, &f->q, &t, "x", 1, &end, &f->err), -1);
    assert_int_equal(f->err.code, ERR_UNAVAILABLE);
    assert_int_equal(queue_load_scripts(c, &f->err), -1);
    assert_int_equal(f->err.code, ERR_UNAVAILABLE);
    redisFree(c);
}

/* ---- hostile replies ---- */

/* Every call that reads a reply, by number; its return value. */
static int
call_number(struct queue_fixture *f, redisContext *c, int number)
{
    const struct queue_token t = {.id = f->worker, .fence = 1, .worker = f->worker};
    const struct queue_presence presence = {.worker = f->worker};
    const struct queue_renewal renewals[2] = {{.id = f->worker}, {.id = f->other}};
    const struct queue_claim_request request = {
        .hint = "", .worker = f->worker, .lease_ms = 1, .room = 1, .room_other = 1};
    enum queue_renew_code codes[2];
    struct queue_submission s;
    struct queue_series series;
    struct queue_submitted submitted;
    struct queue_claims claims;
    struct queue_control control;
    struct queue_swept swept;
    struct queue_held held[2];
    enum queue_end end;
    char id[ID_LEN + 1];
    size_t n;
    int rc;

    switch (number) {
    case 0:
        queue_fixture_fill(&s, &series, id);
        return queue_submit(c, &f->q, &s, &submitted, &f->err);
    case 1:
        if ((rc = queue_claim(c, &f->q, &request, &claims, &f->err)) == 0)
            queue_claims_clear(&claims);
        return rc;
    case 2:
        return queue_renew(c, &f->q, f->worker, 1, 1, renewals, 2, codes, &f->err);
    case 3:
        return queue_complete(c, &f->q, &t, "x", 1, &end, &f->err);
    case 4:
        return queue_fail(c, &f->q, &t, "inference_failed", "x", true, &end, &f->err);
    case 5:
        return queue_release(c, &f->q, &t, &end, &f->err);
    case 6:
        return queue_sweep(c, &f->q, f->run_id, &swept, &f->err);
    case 7:
        return queue_beat(c, &f->q, &presence, &control, &f->err);
    case 8:
        return queue_leave(c, &f->q, f->worker, &f->err);
    default:
        return queue_held(c, &f->q, f->worker, held, 2, &n, &f->err);
    }
}
#define N_CALLS 10

static void
a_reply_of_another_form_is_an_error_in_every_call(void **state)
{
    struct queue_fixture *f = *state;
    /* none of these is a valid answer to any of the calls, but *0 of sweep and held */
    static const char *const replies[] = {
        "+OK\r\n",
        "$5\r\nhello\r\n",
        "$-1\r\n",
        "*-1\r\n",
        ":99\r\n",
        ":-1\r\n",
        "-ERR no\r\n",
        "-\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n*0\r\n",
        "*2\r\n:77\r\n:77\r\n",
        "*2\r\n$-1\r\n$-1\r\n",
        "*7\r\n:-1\r\n:-1\r\n:-1\r\n:-1\r\n:-1\r\n:-1\r\n:-1\r\n",
        "*2\r\n$0\r\n\r\n*1\r\n:1\r\n",
        "*2\r\n$6\r\nslower\r\n$0\r\n\r\n",
    };

    for (int call = 0; call < N_CALLS; call++) {
        for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
            redisContext *c = queue_fixture_canned(replies[i]);
            bool is_leave = call == 8 && replies[i][0] == ':'; /* any number will do */
            bool is_held = call == 9 && replies[i][0] == '*';  /* broken ones are left out */

            f->err = (struct error){0};
            if (call_number(f, c, call) == 0 && !is_leave &&
                !(is_held && strcmp(replies[i], "*-1\r\n") != 0))
                fail_msg("call %d took %s", call, replies[i]);
            if (!is_leave && !is_held)
                assert_true(f->err.code == ERR_UNAVAILABLE || f->err.code == ERR_CORRUPT);
            redisFree(c);
        }
    }
}

static uint64_t seed;

static uint32_t
random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 16) % n);
}

static size_t
random_reply(char *to, size_t room, int depth)
{
    static const char *const texts[] = {"", "0", "1", "-1", "99999999999999999999", "queued",
        "normal", "urgent", "completed", "18446744073709551615", " 1", "1x", "processing",
        "0f9aa4c2-6b4e-4d9c-8d0e-3b7c5f1e2a90", "0F9AA4C2-6B4E-4D9C-8D0E-3B7C5F1E2A90"};
    const char *text = texts[random_below(sizeof(texts) / sizeof(texts[0]))];
    uint32_t n;
    size_t used;

    switch (random_below(depth < 3 ? 6 : 4)) {
    case 0:
        return (size_t)snprintf(to, room, ":%d\r\n", (int)random_below(9) - 2);
    case 1:
        return (size_t)snprintf(to, room, ":1767601800123\r\n");
    case 2:
        return (size_t)snprintf(to, room, "$-1\r\n");
    case 3:
        return (size_t)snprintf(to, room, "$%zu\r\n%s\r\n", strlen(text), text);
    default:
        n = random_below(depth == 0 ? 20 : 12);
        used = (size_t)snprintf(to, room, "*%u\r\n", n);
        for (uint32_t i = 0; i < n && used + 64 < room; i++)
            used += random_reply(to + used, room - used, depth + 1);
        return used;
    }
}

static redisReply *
parse_bytes(const char *bytes, size_t n)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;

    redisReaderFeed(reader, bytes, n);
    redisReaderGetReply(reader, &reply); /* NULL when it was cut: also what a caller can get */
    redisReaderFree(reader);
    return reply;
}

/* What operators and webhooks read, with every part of it. */
static void
parse_the_rest(const redisReply *reply, bool with_output)
{
    struct queue_task_view view;
    struct queue_audited audited;
    struct queue_delivery delivery;
    struct queue_worker worker;
    struct queue_load load;
    struct queue_totals totals;
    struct metrics_set *sums;
    int n_refused;
    struct queue_page page;
    enum queue_cancel_outcome cancelled;
    enum queue_purge_outcome purged;
    enum queue_replay_outcome replayed;
    char id[ID_LEN + 1];
    bool flag;
    int64_t now_ms;
    size_t n;
    struct error err;

    queue_done_parse(reply, &flag, &err);
    queue_cancel_parse(reply, &cancelled, &err);
    queue_purge_parse(reply, &purged, &err);
    queue_hook_replay_parse(reply, &replayed, &err);
    queue_audit_parse(reply, &audited, &err);
    queue_load_parse(reply, &load, &err);
    queue_totals_parse(reply, &totals, &err);
    queue_metrics_add_parse(reply, &n_refused, &err);
    if ((sums = metrics_set_new()) != NULL) {
        queue_metrics_read_parse(reply, sums, sums, &err);
        metrics_set_free(sums);
    }
    if (queue_group_read_parse(reply, with_output, &view, &n, &err) == 0)
        for (size_t i = 0; i <= n; i++)
            queue_group_member_parse(reply, with_output, i, id, &view, &err);
    if (queue_workers_parse(reply, &now_ms, &n, &err) == 0)
        for (size_t i = 0; i <= n; i++)
            queue_worker_parse(reply, i, &worker);
    if (queue_hook_claim_parse(reply, &now_ms, &n, &err) == 0)
        for (size_t i = 0; i <= n; i++)
            queue_hook_delivery_parse(reply, i, &delivery, &err);
    if (queue_page_parse(reply, &page, &err) == 0)
        for (size_t i = 0; i <= page.n; i++)
            queue_page_item_parse(reply, i, id, &flag, &view, &err);
}

/* Real replies, one byte or one number of them changed: deeper than random ones reach. */
static void
damaged_replies_crash_nothing(void **state)
{
    struct queue_fixture *f = *state;
    const struct queue_presence presence = {.worker = f->worker, .slots = 1, .context = 1};
    struct queue_page_request list = {.list = QUEUE_LIST_RECENT, .limit = 10};
    struct queue_control control;
    struct queue_submission s;
    struct queue_series series[2];
    struct queue_call calls[6];
    const char *given = getenv("KRONOSQ_SEED");
    char id[2][ID_LEN + 1], group[ID_LEN + 1];
    redisContext *tap = redis_server_connect(f->server);

    seed = given ? strtoull(given, NULL, 10) | 1 : (uint64_t)clock_wall_ms() | 1;
    print_message("KRONOSQ_SEED=%llu\n", (unsigned long long)seed);
    for (int i = 0; i < 2; i++)
        queue_fixture_fill(&s, &series[i], id[i]);
    id_new(group);
    s.id = group;
    s.n_series = 2;
    s.series = series;
    s.webhook = "hook";
    s.webhook_size = 4;
    s.webhook_events = 1u << TASK_PROCESSING | 1u << TASK_FAILED;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    queue_fixture_take(f, TASK_NORMAL, id[0], f->worker);
    assert_int_equal(queue_beat(f->c, &f->q, &presence, &control, &f->err), 0);
    assert_int_equal(queue_read_call(&f->q, id[0], true, &calls[0], &f->err), 0);
    assert_int_equal(queue_group_read_call(&f->q, group, true, &calls[1], &f->err), 0);
    assert_int_equal(queue_page_call(&f->q, &list, &calls[2], &f->err), 0);
    assert_int_equal(queue_load_call(&f->q, &calls[3], &f->err), 0);
    assert_int_equal(queue_workers_call(&f->q, &calls[4], &f->err), 0);
    assert_int_equal(queue_hook_claim_call(&f->q, 1, 10, &calls[5], &f->err), 0);
    for (int c = 0; c < 6; c++) {
        char bytes[16384], damaged[16384];
        ssize_t n;
        int done = 0;

        assert_int_equal(
            redisAppendCommandArgv(tap, calls[c].argc, calls[c].argv, calls[c].lens), REDIS_OK);
        while (!done)
            assert_int_equal(redisBufferWrite(tap, &done), REDIS_OK);
        n = read(tap->fd, bytes, sizeof(bytes)); /* one reply on a unix socket comes whole */
        assert_in_range(n, 20, sizeof(bytes) - 1);
        for (int round = 0; round < 4000; round++) {
            static const char digits[] = "0123456789-:$*\r\n ";
            redisReply *reply;
            struct queue_task_view view;

            memcpy(damaged, bytes, (size_t)n);
            for (uint32_t i = random_below(3) + 1; i > 0; i--)
                damaged[random_below((uint32_t)n)] = digits[random_below(sizeof(digits) - 1)];
            if (!(reply = parse_bytes(damaged, (size_t)n)))
                continue;
            parse_the_rest(reply, round % 2);
            queue_read_parse(reply, round % 2, &view, &f->err);
            freeReplyObject(reply);
        }
        queue_call_clear(&calls[c]);
    }
    redisFree(tap);
}

static void
random_replies_crash_nothing(void **state)
{
    struct queue_fixture *f = *state;
    const char *given = getenv("KRONOSQ_SEED");
    char bytes[65536];

    seed = given ? strtoull(given, NULL, 10) | 1 : (uint64_t)clock_wall_ms() | 1;
    print_message("KRONOSQ_SEED=%llu\n", (unsigned long long)seed);
    for (int round = 0; round < 20000; round++) {
        size_t n = random_reply(bytes, sizeof(bytes), 0);
        redisReply *reply = parse_bytes(bytes, n);
        struct queue_task_view view;
        struct queue_submitted submitted;
        struct queue_swept swept;
        struct queue_fleet fleet;
        static struct queue_models models;

        queue_submit_parse(reply, &submitted, &f->err);
        queue_sweep_parse(reply, &swept, &f->err);
        queue_presence_parse(reply, &fleet, &f->err);
        queue_models_parse(reply, &models, &f->err);
        parse_the_rest(reply, round % 2);
        if (queue_read_parse(reply, round % 2, &view, &f->err) == 0 && view.found) {
            assert_in_range(view.status, 0, TASK_STATUS_COUNT - 1);
            assert_non_null(view.owner);
        }
        if (reply)
            freeReplyObject(reply);
        if (round % 10 == 0) {
            redisContext *c;

            bytes[n] = '\0';
            c = queue_fixture_canned(bytes);
            call_number(f, c, (int)random_below(N_CALLS));
            redisFree(c);
        }
    }
}

/* ---- the evented way ---- */

struct answer {
    struct event_base *base;
    int calls;
    bool is_null;
    struct queue_submitted submitted;
};

static void
on_answer(void *cookie, const redisReply *reply)
{
    struct answer *a = cookie;
    struct error err;

    a->calls++;
    a->is_null = reply == NULL;
    if (reply)
        assert_int_equal(queue_submit_parse(reply, &a->submitted, &err), 0);
    event_base_loopbreak(a->base);
}

static void
on_up(void *cookie)
{
    event_base_loopbreak(cookie);
}

/* Run the loop until somebody breaks it; a test that hangs ends after ten seconds. */
static void
run_loop(struct event_base *base)
{
    struct timeval limit = {.tv_sec = 10};

    event_base_loopexit(base, &limit);
    event_base_dispatch(base);
}

static void
an_evented_call_is_answered_once_also_after_a_script_flush(void **state)
{
    struct queue_fixture *f = *state;
    struct event_base *base = event_base_new();
    struct redis_link_events events = {.up = on_up, .cookie = base};
    struct answer answer = {.base = base};
    struct redis_settings settings;
    struct redis_link *link;
    struct queue_submission s;
    struct queue_series series;
    struct queue_call call;
    char id[ID_LEN + 1];

    assert_int_equal(
        redis_settings_parse(&settings, redis_server_url(f->server), NULL, &f->err), 0);
    link = redis_link_new(base, &settings, "test", &events, &f->err);
    assert_non_null(link);
    run_loop(base);
    assert_true(redis_link_is_up(link));

    for (int round = 1; round <= 2; round++) {
        char input[] = "the input";

        if (round == 2)
            queue_fixture_int(f, "SCRIPT FLUSH");
        queue_fixture_fill(&s, &series, id);
        series.input = input;
        assert_int_equal(queue_submit_call(&f->q, &s, &call, &f->err), 0);
        memset(input, 'X', sizeof(input)); /* the call has a copy */
        assert_int_equal(queue_send(link, 5000, &call, on_answer, &answer), 0);
        assert_null(call.argv); /* taken over */
        assert_int_equal(answer.calls, round - 1);
        run_loop(base);
        assert_int_equal(answer.calls, round);
        assert_int_equal(answer.submitted.outcome, QUEUE_SUBMITTED);
        assert_string_equal(answer.submitted.id, id);
        fixture_assert_field(f, id, "input", "the input");
    }

    queue_fixture_fill(&s, &series, id);
    assert_int_equal(queue_submit_call(&f->q, &s, &call, &f->err), 0);
    assert_int_equal(queue_send(link, 5000, &call, on_answer, &answer), 0);
    redis_link_free(link);
    assert_int_equal(answer.calls, 3);
    assert_true(answer.is_null);
    redis_settings_clear(&settings);
    event_base_free(base);
}

/* ---- names ---- */

static void
a_name_that_is_no_model_makes_no_queue(void **state)
{
    static const char *const bad[] = {"", "a}b", "a{b", "a b", "-a", "a:b", "a/b",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct queue q;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(queue_init(&q, bad[i], &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    assert_int_equal(queue_init(&q, "kronos-small", &err), 0);
    assert_string_equal(q.prefix, "kq:{kronos-small}");
    assert_string_equal(q.model, "kronos-small");
    assert_int_equal(q.tuning.lease_ms, QUEUE_LEASE_MS);
}

static void
a_list_key_names_its_priority_and_back(void **state)
{
    struct queue q, other;
    struct error err;
    enum task_priority priority;
    char key[QUEUE_KEY_MAX];

    (void)state;
    assert_int_equal(queue_init(&q, "m", &err), 0);
    assert_int_equal(queue_init(&other, "m2", &err), 0);
    for (enum task_priority p = 0; p < TASK_PRIORITY_COUNT; p++) {
        queue_list_key(&q, p, key);
        assert_int_equal(queue_list_priority(&q, key, strlen(key), &priority), 0);
        assert_int_equal(priority, p);
        assert_int_equal(queue_list_priority(&other, key, strlen(key), &priority), -1);
        assert_int_equal(queue_list_priority(&q, key, strlen(key) - 1, &priority), -1);
    }
    queue_list_key(&q, TASK_URGENT, key);
    assert_string_equal(key, "kq:{m}:list:urgent");
    assert_int_equal(queue_list_priority(&q, "", 0, &priority), -1);
}

static void
an_event_is_an_id_and_a_state(void **state)
{
#define ID "0f9aa4c2-6b4e-4d9c-8d0e-3b7c5f1e2a90"
    static const char *const bad[] = {"", ID, ID " ", ID "  completed", ID " gone", "x completed",
        "0F9AA4C2-6B4E-4D9C-8D0E-3B7C5F1E2A90 completed", ID "-completed"};
    struct queue_event event;

    (void)state;
    assert_int_equal(queue_event_parse(ID " completed", ID_LEN + 10, &event), 0);
    assert_string_equal(event.id, ID);
    assert_int_equal(event.status, TASK_COMPLETED);
    assert_int_equal(queue_event_parse(ID " processing", ID_LEN + 11, &event), 0);
    assert_int_equal(event.status, TASK_PROCESSING);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(queue_event_parse(bad[i], strlen(bad[i]), &event), -1);
}

static void
progress_is_a_fence_and_a_step(void **state)
{
    static const char channel[] = "kq:{m}:live:" ID, dead[] = "kq:{m}:dead:" ID;
    static const char *const bad[] = {"", "1", "1 ", " 1", "1 2 ", "1 2x", "-1 2", "1 -2", "1  2",
        "99999999999999999999999 1", "1 4294967296", "x 1"};
    const char *const channels[] = {
        "", ID, ":live:", dead, "kq:{m}:live:0F9AA4C2-6b4e-4d9c-8d0e-3b7c5f1e2a90"};
    struct queue_progress p;

    (void)state;
    assert_int_equal(
        queue_progress_parse(channel, strlen(channel), "18446744073709551 4294967295x", 28, &p), 0);
    assert_string_equal(p.id, ID);
    assert_true(p.fence == UINT64_C(18446744073709551) && p.step == UINT32_MAX);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(
            queue_progress_parse(channel, strlen(channel), bad[i], strlen(bad[i]), &p), -1);
    for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++)
        assert_int_equal(queue_progress_parse(channels[i], strlen(channels[i]), "1 2", 3, &p), -1);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(every_script_has_the_sha1_redis_gives_it),
        test(a_redis_that_forgot_its_scripts_is_given_them_again),
        test(an_error_inside_a_script_comes_back_with_its_text),
        test(a_lost_connection_is_unavailable),
        test(a_reply_of_another_form_is_an_error_in_every_call),
        test(random_replies_crash_nothing),
        test(damaged_replies_crash_nothing),
        test(an_evented_call_is_answered_once_also_after_a_script_flush),
        test(a_name_that_is_no_model_makes_no_queue),
        test(a_list_key_names_its_priority_and_back),
        test(an_event_is_an_id_and_a_state),
        test(progress_is_a_fence_and_a_step),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
