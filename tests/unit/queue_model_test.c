/*
 * queue_model_test.c - Tens of thousands of random operations, each also done by an
 * oracle in memory, and everything Redis holds compared after each.
 *
 * The seed is printed; KRONOSQ_SEED runs the same operations again. Ids come from the
 * seed too. KRONOSQ_OPERATIONS changes how many there are; KRONOSQ_FULL=1 makes it 100 000.
 * Every call goes to one of several versions of its script, as in a fleet that is being
 * upgraded: this program is linked with --wrap=redisCommandArgv.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/support/queue_fixture.h"
#include "tests/support/queue_random.h"
#include "tests/support/script_versions.h"

#define OPERATIONS      30000
#define OPERATIONS_FULL 100000
#define MAX_QUEUED      8 /* per priority: small, so that full happens and looking at all is cheap */
#define MAX_RUNNING     14
#define MAX_BYTES       900
#define DEAD_MAX        10
#define MAX_HOOKS       40 /* pending deliveries */

/* Everything that decides where a task is, in one look: a line of text per indexed id. */
static const char look_source[] =
    "local M, out = KEYS[1], {}\n"
    "local function add(place, key)\n"
    "  for _, id in ipairs(redis.call('ZRANGE', M .. key, 0, -1)) do\n"
    "    local v = redis.call('HMGET', M .. ':task:' .. id, 'state', 'fence', 'attempts', "
    "'crashes',\n"
    "                         'worker', 'seq')\n"
    "    for i = 1, 6 do v[i] = v[i] or '-' end\n"
    "    out[#out + 1] = place .. ' ' .. id .. ' ' .. table.concat(v, ' ')\n"
    "  end\n"
    "end\n"
    "add(0, ':queued:urgent'); add(1, ':queued:normal'); add(2, ':queued:low')\n"
    "add(3, ':running'); add(4, ':later')\n"
    "return {redis.call('HMGET', M .. ':stats', 'input_bytes', 'queued_prefill:urgent',\n"
    "  'queued_prefill:normal', 'queued_prefill:low', 'queued_steps:urgent', "
    "'queued_steps:normal',\n"
    "  'queued_steps:low', 'completed', 'failed', 'cancelled', 'expired'),\n"
    "  redis.call('ZCARD', M .. ':deadline'), out, redis.call('ZCARD', M .. ':dead'),\n"
    "  redis.call('ZCARD', M .. ':webhook')}";

/* ---- operations ---- */

static const char *const sames[ORACLE_SAMES] = {NULL, "a", "b", "c"}; /* single-flight hashes */

static void
do_submit(struct random_run *r)
{
    struct oracle *o = &r->o;
    struct queue_submission s;
    struct queue_series series[3];
    struct oracle_task tasks[3];
    static const char input[64] = {'x'};
    size_t n = random_one_in(r, 4) ? 2 + random_below(r, 2) : 1;
    char id[3][ID_LEN + 1], group[ID_LEN + 1];
    bool has_deadline = random_one_in(r, 3);
    bool has_hook = o->n_deliveries < MAX_HOOKS && random_one_in(r, 3);
    int same = n == 1 && !has_deadline && !has_hook && random_one_in(r, 2)
                   ? 1 + (int)random_below(r, ORACLE_SAMES - 1)
                   : 0;
    struct oracle_task *twin;
    int64_t bytes = 0, expected = QUEUE_SUBMITTED;

    for (size_t i = 0; i < n; i++) {
        queue_fixture_fill(&s, &series[i], id[i]);
        random_id(r, id[i]);
        series[i].input = input;
        series[i].input_size = 1 + random_below(r, sizeof(input));
        series[i].prefill_tokens = random_below(r, 1000);
        series[i].decode_steps = random_below(r, 1000);
        bytes += (int64_t)series[i].input_size;
    }
    random_id(r, group);
    s.id = n > 1 ? group : id[0];
    s.n_series = n;
    s.series = series;
    s.priority = (enum task_priority)random_below(r, TASK_PRIORITY_COUNT);
    s.max_queued = MAX_QUEUED;
    s.max_bytes = o->input_bytes + (random_one_in(r, 20) ? bytes - 1 : MAX_BYTES);
    s.deadline_in_ms = has_deadline ? FIXTURE_LEASE_MS : 0;
    s.same = sames[same];
    s.webhook = has_hook ? "hook" : NULL;
    s.webhook_size = 4;
    if ((twin = oracle_twin(o, same))) {
        assert_int_equal(queue_fixture_submit_as(r->f, &s), QUEUE_JOINED_TWIN);
        assert_string_equal(r->f->text, twin->id);
        return;
    }
    if (oracle_is_draining(o, s.priority))
        expected = QUEUE_DRAINING;
    else if (o->queued[s.priority] + (int64_t)n > MAX_QUEUED)
        expected = QUEUE_FULL;
    else if (o->input_bytes + bytes > s.max_bytes)
        expected = QUEUE_BYTES_FULL;
    assert_int_equal(queue_fixture_submit_as(r->f, &s), expected);
    if (expected != QUEUE_SUBMITTED)
        return;
    int number = n > 1 ? oracle_add_group(o, group, (int)n) : -1;

    if (number >= 0)
        o->groups[number].has_hook = has_hook;

    for (size_t i = 0; i < n; i++) {
        tasks[i] = (struct oracle_task){.priority = s.priority,
            .has_deadline = has_deadline,
            .has_hook = has_hook && number < 0,
            .same = same,
            .input_bytes = series[i].input_size,
            .prefill_tokens = series[i].prefill_tokens,
            .decode_steps = series[i].decode_steps,
            .group = number};
        memcpy(tasks[i].id, id[i], sizeof(id[i]));
        oracle_add(o, &tasks[i]);
    }
}

/* The reply of a submit was lost and it is sent again; or somebody else uses its id. */
static void
do_submit_again(struct random_run *r)
{
    struct queue_submission s;
    struct queue_series series;
    struct oracle_task *t = random_task(r, (enum oracle_place)random_below(r, ORACLE_ENDED));
    char id[ID_LEN + 1];

    if (!t || t->group >= 0)
        return;
    queue_fixture_fill(&s, &series, id);
    s.id = series.task_id = t->id;
    if (random_one_in(r, 2)) {
        assert_int_equal(queue_fixture_submit_as(r->f, &s), QUEUE_SAME_REQUEST);
    } else {
        s.digest = "another";
        assert_int_equal(queue_fixture_submit_as(r->f, &s), QUEUE_OTHER_REQUEST);
    }
}

static void
read_hints(struct random_run *r, struct oracle_hints *hints)
{
    memset(hints, 0, sizeof(*hints));
    for (enum task_priority p = 0; p < TASK_PRIORITY_COUNT; p++) {
        char key[QUEUE_KEY_MAX];
        redisReply *reply;

        queue_list_key(&r->f->q, p, key);
        reply = queue_fixture_reply(r->f, "LRANGE %s 0 %d", key, ORACLE_HINTS - 1);
        for (size_t i = 0; i < reply->elements; i++)
            snprintf(hints->ids[p][i], ID_LEN + 1, "%.*s", ID_LEN, reply->element[i]->str);
        hints->n[p] = reply->elements;
        freeReplyObject(reply);
    }
}

static void
do_claim(struct random_run *r)
{
    enum task_priority p = (enum task_priority)random_below(r, TASK_PRIORITY_COUNT);
    static const enum task_priority orders[][TASK_PRIORITY_COUNT] = {
        {TASK_NORMAL, TASK_URGENT, TASK_LOW},
        {TASK_LOW, TASK_URGENT, TASK_NORMAL},
    };
    int worker = (int)random_below(r, RANDOM_WORKERS), room = 1 + (int)random_below(r, 3);
    char key[QUEUE_KEY_MAX], hint[ID_LEN + 1];
    struct queue_claim_request request;
    struct oracle_hints hints;
    struct oracle_claim expected;
    struct queue_claims claims;

    if (random_count_in(r, ORACLE_RUNNING) >= MAX_RUNNING)
        return;
    queue_list_key(&r->f->q, p, key);
    snprintf(hint, sizeof(hint), "%.*s", ID_LEN, queue_fixture_text(r->f, "LPOP %s", key));
    read_hints(r, &hints);
    request = (struct queue_claim_request){
        .priority = p,
        .hint = hint,
        .hint_len = strlen(hint),
        .worker = r->workers[worker],
        .lease_ms = FIXTURE_LEASE_MS,
        .busy = (int)random_below(r, 2),
        .room = room,
        .room_other = (int)random_below(r, (uint32_t)room + 1),
        .takes = random_one_in(r, 3) ? 1u << p | random_below(r, 8) : 0,
        .order = random_one_in(r, 2) ? orders[random_below(r, 2)] : NULL,
    };
    if (queue_claim(r->f->c, &r->f->q, &request, &claims, &r->f->err) == -1)
        fail_msg("claim: %s", r->f->err.text);
    expected = oracle_claim(&r->o, &hints, &request, worker);
    assert_int_equal(claims.n, expected.n);
    assert_int_equal(claims.wait_for_suspect, expected.wait_for_suspect);
    if (claims.wait_for_suspect)
        assert_int_equal(claims.wait_for, expected.wait_for);
    for (size_t i = 0; i < claims.n; i++) {
        const struct oracle_task *t = expected.taken[i];
        struct random_token *token = &r->tokens[r->n_tokens++ % RANDOM_TOKENS];

        assert_string_equal(claims.leases[i].id, t->id);
        assert_int_equal(claims.leases[i].fence, t->fence);
        assert_int_equal(claims.leases[i].attempt, t->attempts);
        assert_int_equal(claims.leases[i].crashes, t->crashes);
        assert_int_equal(claims.leases[i].priority, t->priority);
        assert_int_equal(claims.leases[i].input_size, t->input_bytes);
        *token = (struct random_token){.fence = t->fence, .worker = worker};
        memcpy(token->id, t->id, sizeof(t->id));
    }
    queue_claims_clear(&claims);
}

/* A token: mostly one that holds, else an old one or a forged one. */
static bool
any_token(struct random_run *r, struct random_token *token)
{
    struct oracle_task *t = random_task(r, ORACLE_RUNNING);

    if (r->n_tokens > 0 && random_one_in(r, 3)) {
        *token = r->tokens[random_below(
            r, (uint32_t)(r->n_tokens < RANDOM_TOKENS ? r->n_tokens : RANDOM_TOKENS))];
        return true;
    }
    if (!t)
        return false;
    *token = (struct random_token){.fence = t->fence, .worker = t->worker};
    memcpy(token->id, t->id, sizeof(t->id));
    if (random_one_in(r, 16))
        token->worker = (token->worker + 1) % RANDOM_WORKERS;
    if (random_one_in(r, 16))
        token->fence += random_below(r, 2) ? 1 : (uint64_t)-1;
    return true;
}

static void
do_renew(struct random_run *r)
{
    struct queue_renewal renewals[4];
    enum queue_renew_code codes[4];
    struct random_token tokens[4];
    unsigned char candles[4][RANDOM_CANDLES * QUEUE_CANDLE_BYTES];
    size_t n = 0, want = 1 + random_below(r, 4);
    int worker = -1;

    while (n < want && any_token(r, &tokens[n])) {
        if (worker == -1)
            worker = tokens[n].worker;
        renewals[n] = (struct queue_renewal){.id = tokens[n].id,
            .fence = tokens[n].fence,
            .ticks = random_below(r, 6),
            .first_candle = random_below(r, 4),
            .candles = candles[n],
            .n_candles = random_below(r, RANDOM_CANDLES + 1)};
        random_candles(
            candles[n], tokens[n].fence, renewals[n].first_candle, renewals[n].n_candles);
        n++;
    }
    if (n == 0)
        return;
    if (queue_renew(r->f->c, &r->f->q, r->workers[worker], FIXTURE_LEASE_MS, FIXTURE_LEASE_MS,
            renewals, n, codes, &r->f->err) == -1)
        fail_msg("renew: %s", r->f->err.text);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(codes[i], oracle_renew(&r->o, &renewals[i], worker));
        r->n_refused_writes += codes[i] == QUEUE_RENEW_FENCED;
    }
}

static void
do_finish(struct random_run *r)
{
    struct queue_fixture *f = r->f;
    struct random_token token;
    struct queue_token t;
    enum queue_end end = QUEUE_END_FENCED, expected;
    bool retryable = !random_one_in(r, 4);
    int rc;

    if (!any_token(r, &token))
        return;
    t = (struct queue_token){
        .id = token.id, .fence = token.fence, .worker = r->workers[token.worker]};
    switch (random_below(r, 5)) {
    case 0:
        rc = queue_fail(f->c, &f->q, &t, "inference_failed", "x", retryable, &end, &f->err);
        expected = oracle_fail(&r->o, token.id, token.fence, token.worker, retryable);
        break;
    case 1:
        rc = queue_release(f->c, &f->q, &t, &end, &f->err);
        expected = oracle_release(&r->o, token.id, token.fence, token.worker);
        break;
    default:
        rc = queue_complete(f->c, &f->q, &t, "output", 6, &end, &f->err);
        expected = oracle_complete(&r->o, token.id, token.fence, token.worker);
        break;
    }
    if (rc == -1)
        fail_msg("%s", f->err.text);
    assert_int_equal(end, expected);
    r->n_refused_writes += end == QUEUE_END_FENCED;
}

static void
do_let_time_pass(struct random_run *r)
{
    struct oracle_task *t;
    int same;

    switch (random_below(r, 7)) {
    case 0: /* a lease ends */
    case 1:
        if ((t = random_task(r, ORACLE_RUNNING))) {
            queue_fixture_int(r->f, "ZADD ~:running XX 1 %s", t->id);
            t->lease_is_over = true;
        }
        break;
    case 2: /* a retry is due */
        if ((t = random_task(r, ORACLE_LATER))) {
            queue_fixture_int(r->f, "ZADD ~:later XX 1 %s", t->id);
            t->is_due = true;
        }
        break;
    case 3: /* a deadline passes */
        if ((t = random_task(r, (enum oracle_place)random_below(r, ORACLE_ENDED))) &&
            t->has_deadline) {
            queue_fixture_pass_deadline(r->f, t->id);
            t->is_late = true;
        }
        break;
    case 4: /* the head of a queue has waited for a day */
        t = random_task(r, ORACLE_QUEUED);
        if (t && random_one_in(r, 3) && oracle_position(&r->o, t) == 1) {
            queue_fixture_int(r->f, "HSET ~:task:%s created_ms 1", t->id);
            if (t->requeues > 0)
                queue_fixture_int(r->f, "HSET ~:task:%s requeued_ms 1", t->id);
            t->is_stale = true;
        }
        break;
    case 5: /* a single-flight hash is forgotten: its task has long completed, mostly */
        same = 1 + (int)random_below(r, ORACLE_SAMES - 1);
        queue_fixture_int(r->f, "DEL ~:same:%s", sames[same]);
        r->o.same[same] = 0;
        break;
    default: /* a delivery is due again, or its lease is over */
        for (size_t i = 0; i < r->o.n_deliveries; i++) {
            queue_fixture_int(r->f, "ZADD ~:webhook XX 1 %s", r->o.deliveries[i].key);
            r->o.deliveries[i].is_leased = false;
        }
        break;
    }
}

static void
do_lose_a_hint(struct random_run *r)
{
    char key[QUEUE_KEY_MAX];

    queue_list_key(&r->f->q, (enum task_priority)random_below(r, TASK_PRIORITY_COUNT), key);
    queue_fixture_int(r->f, "LPOP %s", key);
}

/* The oracle learns which dead letters were trimmed: the oldest, but ends of one millisecond tie. */
static int
forget_trimmed(struct random_run *r)
{
    int n = 0;

    for (size_t i = 0; i < r->o.n_tasks; i++) {
        struct oracle_task *t = &r->o.tasks[i];

        if (t->place != ORACLE_ENDED || t->end != TASK_FAILED || t->is_trimmed || t->is_purged ||
            queue_fixture_int(r->f, "HEXISTS ~:task:%s input", t->id) == 1)
            continue;
        assert_true(oracle_discard(&r->o, t->id));
        n++;
    }
    return n;
}

static void
do_sweep(struct random_run *r)
{
    struct queue_swept got = queue_fixture_sweep(r->f), expected = oracle_sweep(&r->o);

    assert_int_equal(got.due, expected.due);
    assert_int_equal(got.leases, expected.leases);
    assert_int_equal(got.expired, expected.expired);
    if (got.trimmed > 0)
        assert_int_equal(forget_trimmed(r), got.trimmed);
}

/* Two sweeps with no grace: now every task that may be claimed has a hint. */
static void
do_repair(struct random_run *r)
{
    do_sweep(r);
    do_sweep(r);
    for (enum task_priority p = 0; p < TASK_PRIORITY_COUNT; p++) {
        char key[QUEUE_KEY_MAX];

        queue_list_key(&r->f->q, p, key);
        if (!oracle_is_paused(&r->o, p))
            assert_true(queue_fixture_int(r->f, "LLEN %s", key) >= r->o.queued[p]);
    }
}

/* ---- the invariants ---- */

/* The next word of a row, its length into ${n}; many a sscanf() would take most of the test's time. */
static const char *
next_word(const char **row, size_t *n)
{
    const char *word = *row;

    for (*n = 0; word[*n] != ' ' && word[*n] != '\0'; (*n)++)
        ;
    *row = word + *n + (word[*n] == ' ');
    return word;
}

static uint64_t
next_number(const char **row)
{
    size_t n;
    const char *word = next_word(row, &n);
    uint64_t value = 0;

    for (size_t i = 0; i < n; i++) {
        if (word[i] < '0' || word[i] > '9')
            fail_msg("not a number: %s", word);
        value = value * 10 + (uint64_t)(word[i] - '0');
    }
    return value;
}

static void
expect_word(const char **row, const char *expected)
{
    size_t n;
    const char *word = next_word(row, &n);

    if (n != strlen(expected) || memcmp(word, expected, n) != 0)
        fail_msg("not %s: %s", expected, word);
}

static void
compare_task(struct random_run *r, const char *row)
{
    static const char *const states[] = {"queued", "queued", "queued", "processing", "scheduled"};
    static const enum oracle_place places[] = {
        ORACLE_QUEUED, ORACLE_QUEUED, ORACLE_QUEUED, ORACLE_RUNNING, ORACLE_LATER};
    const char *whole = row, *word;
    uint64_t place = next_number(&row);
    char id[ID_LEN + 1] = "";
    struct oracle_task *t;
    size_t n;

    word = next_word(&row, &n);
    assert_int_equal(n, ID_LEN);
    memcpy(id, word, ID_LEN);
    if (!(t = oracle_find(&r->o, id)))
        fail_msg("indexed, but ended: %s", whole);
    if (t->seen_by_look == r->n_looks)
        fail_msg("in two places: %s", whole);
    t->seen_by_look = r->n_looks;
    assert_in_range(place, 0, 4);
    if (t->place != places[place] || (t->place == ORACLE_QUEUED && t->priority != place))
        fail_msg("in the wrong place: %s", whole);
    expect_word(&row, states[place]);
    if (next_number(&row) != t->fence || next_number(&row) != (uint64_t)t->attempts ||
        next_number(&row) != (uint64_t)t->crashes)
        fail_msg("not fence %llu, attempts %d, crashes %d: %s", (unsigned long long)t->fence,
            t->attempts, t->crashes, whole);
    expect_word(&row, t->place == ORACLE_RUNNING ? r->workers[t->worker] : "-");
    if (next_number(&row) != t->seq)
        fail_msg("not seq %llu: %s", (unsigned long long)t->seq, whole);
}

static long long
stat_at(const redisReply *stats, size_t i)
{
    return stats->element[i]->type == REDIS_REPLY_STRING ? atoll(stats->element[i]->str) : 0;
}

static void
compare_all(struct random_run *r)
{
    const struct oracle *o = &r->o;
    redisReply *reply = queue_fixture_reply(r->f, "EVALSHA %s 1 ~", r->look_sha1);
    const redisReply *stats = reply->element[0], *rows = reply->element[2];
    long long n_deadlines = 0;

    /* as many rows as tasks, every row another task's: each is in exactly one place */
    assert_int_equal(rows->elements, o->n_active);
    r->n_looks++;
    for (size_t i = 0; i < rows->elements; i++)
        compare_task(r, rows->element[i]->str);
    for (size_t i = 0; i < o->n_active; i++) {
        const struct oracle_task *t = &o->tasks[o->active[i]];

        n_deadlines += t->has_deadline && t->place != ORACLE_RUNNING;
    }
    assert_int_equal(reply->element[1]->integer, n_deadlines);
    assert_int_equal(reply->element[3]->integer, o->n_dead);
    assert_int_equal(reply->element[4]->integer, o->n_deliveries);
    assert_int_equal(stat_at(stats, 0), o->input_bytes);
    for (size_t p = 0; p < TASK_PRIORITY_COUNT; p++) {
        assert_int_equal(stat_at(stats, 1 + p), o->prefill[p]);
        assert_int_equal(stat_at(stats, 4 + p), o->steps[p]);
    }
    assert_int_equal(stat_at(stats, 7), o->ends[TASK_COMPLETED]);
    assert_int_equal(stat_at(stats, 8), o->ends[TASK_FAILED]);
    assert_int_equal(stat_at(stats, 9), o->ends[TASK_CANCELLED]);
    assert_int_equal(stat_at(stats, 10), o->ends[TASK_EXPIRED]);
    freeReplyObject(reply);
}

static void
compare_ended(struct random_run *r, const struct oracle_task *t)
{
    static const char *const names[TASK_STATUS_COUNT] = {[TASK_COMPLETED] = "completed",
        [TASK_FAILED] = "failed",
        [TASK_CANCELLED] = "cancelled",
        [TASK_EXPIRED] = "expired"};
    bool expires = t->end != TASK_FAILED && (t->group < 0 || r->o.groups[t->group].left == 0);

    if (t->is_trimmed || t->is_purged || t->place != ORACLE_ENDED)
        return;
    fixture_assert_field(r->f, t->id, "state", names[t->end]);
    fixture_assert_field(r->f, t->id, "output", t->end == TASK_COMPLETED ? "output" : "");
    fixture_assert_field(r->f, t->id, "about", "the about");
    assert_int_equal(queue_fixture_int(r->f, "HSTRLEN ~:task:%s input", t->id),
        t->end == TASK_FAILED ? t->input_bytes : 0);
    assert_int_equal(queue_fixture_int(r->f, "PTTL ~:task:%s", t->id) > 0, expires);
}

/* One event per claim, per return to queued, per end of a task and of a group, and no other. */
static void
compare_events(struct random_run *r)
{
    const struct oracle *o = &r->o;
    const char *message;

    while ((message = queue_fixture_event(r->f))) {
        struct queue_event event;

        assert_int_equal(queue_event_parse(message, strlen(message), &event), 0);
        r->events[event.status]++;
    }
    assert_int_equal(r->events[TASK_PROCESSING], o->n_claims);
    for (enum task_status s = TASK_COMPLETED; s < TASK_STATUS_COUNT; s++)
        assert_int_equal(r->events[s], o->ends[s] + o->group_ends[s]);
    assert_int_equal(r->events[TASK_QUEUED], o->n_returns);
}

/* Without a further submit everything must come to an end, whatever hints were lost. */
static void
drain(struct random_run *r)
{
    random_set_control(r, QUEUE_RESUME, QUEUE_ALL_PRIORITIES);
    for (int round = 0; r->o.n_active > 0; round++) {
        struct oracle_task *t;

        assert_true(round < 5000);
        r->o.n_just_ended = 0;
        while ((t = random_task(r, ORACLE_LATER)) && !t->is_due) {
            queue_fixture_int(r->f, "ZADD ~:later XX 1 %s", t->id);
            t->is_due = true;
        }
        do_sweep(r);
        do_claim(r);
        do_finish(r);
        compare_all(r);
    }
}

static void
random_operations_do_what_the_oracle_does(void **state)
{
    static struct random_run r;
    const char *given = getenv("KRONOSQ_SEED"), *many = getenv("KRONOSQ_OPERATIONS");
    const char *full = getenv("KRONOSQ_FULL");
    long n_operations = many                             ? atol(many)
                        : full && strcmp(full, "1") == 0 ? OPERATIONS_FULL
                                                         : OPERATIONS;
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_wall_ms();
    long n_mixed;
    int64_t began_ms = clock_monotonic_ms();

    print_message("KRONOSQ_SEED=%llu\n", (unsigned long long)seed);
    r.f = *state;
    strcpy(r.cursor, "0");
    r.random = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
    for (int i = 0; i < RANDOM_WORKERS; i++)
        random_id(&r, r.workers[i]);
    r.f->q.tuning.repair_grace_ms = 0;
    r.f->q.tuning.sweep_limit = 1000;
    r.f->q.tuning.backoff_ms = FIXTURE_LEASE_MS; /* nothing is due by itself */
    r.f->q.tuning.dead_max = DEAD_MAX;
    snprintf(r.look_sha1, sizeof(r.look_sha1), "%s",
        queue_fixture_text(r.f, "SCRIPT LOAD %s", look_source));
    queue_fixture_listen(r.f);
    script_versions_mix(r.f, seed);

    for (r.operation = 0; r.operation < n_operations; r.operation++) {
        uint32_t what = random_below(&r, 120);

        r.o.n_just_ended = 0;
        if (what < 22)
            do_submit(&r);
        else if (what < 24)
            do_submit_again(&r);
        else if (what < 46)
            do_claim(&r);
        else if (what < 54)
            do_renew(&r);
        else if (what < 76)
            do_finish(&r);
        else if (what < 90)
            do_let_time_pass(&r);
        else if (what < 93)
            do_lose_a_hint(&r);
        else if (what < 99)
            do_sweep(&r);
        else if (what < 100)
            do_repair(&r);
        else if (what < 103)
            random_cancel(&r);
        else if (what < 105)
            random_purge(&r);
        else if (what < 108)
            random_change(&r);
        else if (what < 109)
            random_control(&r);
        else if (what < 110)
            random_audit(&r);
        else if (what < 113)
            random_hook_claim(&r);
        else if (what < 116)
            random_hook_done(&r);
        else if (what < 117)
            random_hook_renew(&r);
        else
            random_read(&r);
        compare_all(&r);
        for (size_t i = 0; i < r.o.n_just_ended; i++)
            compare_ended(&r, &r.o.tasks[r.o.just_ended[i]]);
        if (r.operation % 100 == 99)
            compare_events(&r);
    }
    drain(&r);
    compare_events(&r);
    n_mixed = script_versions_stop();
    print_message("%ld events for webhooks, %ld purges, %ld calls of other versions\n",
        r.o.n_events_written, r.n_purged, n_mixed);
    print_message("%ld operations, %zu tasks, %ld claims, ended %ld completed %ld failed %ld "
                  "cancelled %ld expired, %ld stale writers refused, %lld ms\n",
        n_operations, r.o.n_tasks, r.o.n_claims, r.o.ends[TASK_COMPLETED], r.o.ends[TASK_FAILED],
        r.o.ends[TASK_CANCELLED], r.o.ends[TASK_EXPIRED], r.n_refused_writes,
        (long long)(clock_monotonic_ms() - began_ms));
    assert_int_equal(r.o.input_bytes > 0, r.o.n_dead > 0); /* only dead letters hold any */
    /* a run that met nothing proves nothing */
    if (n_operations >= OPERATIONS) {
        for (enum task_status s = TASK_COMPLETED; s < TASK_STATUS_COUNT; s++)
            assert_true(r.o.ends[s] > 50 && r.o.group_ends[s] > 5);
        assert_true(r.n_refused_writes > 500);
        assert_true(r.o.n_events_written > 100 && r.n_purged > 50 && n_mixed > n_operations / 4);
    }
    oracle_clear(&r.o);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(random_operations_do_what_the_oracle_does, queue_fixture_reset),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
