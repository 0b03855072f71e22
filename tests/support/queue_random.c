/*
 * queue_random.c - See queue_random.h. What workers do is in queue_model_test itself.
 */
#include "tests/support/queue_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

uint32_t
random_below(struct random_run *r, uint32_t n)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return (uint32_t)((r->random >> 16) % n);
}

bool
random_one_in(struct random_run *r, uint32_t n)
{
    return random_below(r, n) == 0;
}

void
random_id(struct random_run *r, char *id)
{
    snprintf(id, ID_LEN + 1, "%08x-%04x-4%03x-8%03x-%06x%06x", random_below(r, UINT32_MAX),
        random_below(r, 65536), random_below(r, 4096), random_below(r, 4096),
        random_below(r, 1 << 24), random_below(r, 1 << 24));
}

/* A random task in ${place} that has not ended, or NULL. */
struct oracle_task *
random_task(struct random_run *r, enum oracle_place place)
{
    size_t n = r->o.n_active, start = n ? random_below(r, (uint32_t)n) : 0;

    for (size_t i = 0; i < n; i++) {
        struct oracle_task *t = &r->o.tasks[r->o.active[(start + i) % n]];

        if (t->place == place)
            return t;
    }
    return NULL;
}

size_t
random_count_in(const struct random_run *r, enum oracle_place place)
{
    size_t n = 0;

    for (size_t i = 0; i < r->o.n_active; i++)
        n += r->o.tasks[r->o.active[i]].place == place;
    return n;
}

/* ---- operators and clients ---- */

/* The id of any task, also of one that ended or was purged long ago; or of none. */
static const char *
any_id(struct random_run *r)
{
    static const char unknown[] = "0f9aa4c2-6b4e-4d9c-8d0e-3b7c5f1e2a90";
    size_t n = r->o.n_tasks, newest = n < 64 ? n : 64;

    if (n == 0 || random_one_in(r, 50))
        return unknown;
    return r->o
        .tasks[random_one_in(r, 4) ? random_below(r, (uint32_t)n)
                                   : n - 1 - random_below(r, (uint32_t)newest)]
        .id;
}

static const char *
any_dead_letter(struct random_run *r)
{
    redisReply *reply = queue_fixture_reply(r->f, "ZRANGE ~:dead 0 -1");
    const char *id = any_id(r);

    if (reply->elements > 0) {
        const char *dead = reply->element[random_below(r, (uint32_t)reply->elements)]->str;

        id = oracle_lookup(&r->o, dead)->id;
    }
    freeReplyObject(reply);
    return id;
}

void
random_cancel(struct random_run *r)
{
    struct oracle_task *t = random_task(r, (enum oracle_place)random_below(r, ORACLE_ENDED));
    const char *id = t && !random_one_in(r, 4) ? t->id : any_id(r);
    enum queue_cancel_outcome out;
    struct queue_call call;
    redisReply *reply;

    for (size_t i = 0; i < r->o.n_active && random_one_in(r, 2); i++) {
        if (r->o.tasks[r->o.active[i]].shares > 0) /* rare, so preferred */
            id = r->o.tasks[r->o.active[i]].id;
    }
    assert_int_equal(queue_cancel_call(&r->f->q, id, &call, &r->f->err), 0);
    reply = queue_fixture_run(r->f, &call);
    assert_int_equal(queue_cancel_parse(reply, &out, &r->f->err), 0);
    freeReplyObject(reply);
    assert_int_equal(out, oracle_cancel(&r->o, id));
}

void
random_purge(struct random_run *r)
{
    enum queue_purge_outcome out, expected;
    struct queue_call call;
    redisReply *reply;
    const char *id = random_one_in(r, 3) ? any_dead_letter(r) : any_id(r);
    int group = -1;

    if (r->o.n_groups > 0 && random_one_in(r, 3)) {
        size_t n = r->o.n_groups, newest = n < 16 ? n : 16;

        group = (int)(n - 1 - random_below(r, (uint32_t)newest));
        id = r->o.groups[group].id;
    }
    assert_int_equal(queue_purge_call(&r->f->q, id, &call, &r->f->err), 0);
    reply = queue_fixture_run(r->f, &call);
    assert_int_equal(queue_purge_parse(reply, &out, &r->f->err), 0);
    freeReplyObject(reply);
    expected = group >= 0 ? oracle_purge_group(&r->o, group) : oracle_purge(&r->o, id);
    assert_int_equal(out, expected);
    r->n_purged += out == QUEUE_PURGED;
    if (out == QUEUE_PURGED)
        assert_int_equal(
            queue_fixture_int(r->f, "EXISTS ~:task:%s ~:gone:%s ~:group:%s", id, id, id), 0);
}

void
random_change(struct random_run *r)
{
    struct queue_fixture *f = r->f;
    struct oracle_task *t = random_task(r, (enum oracle_place)random_below(r, ORACLE_ENDED));
    const char *id = random_one_in(r, 4) ? any_id(r) : any_dead_letter(r);
    enum task_priority p = (enum task_priority)random_below(r, TASK_PRIORITY_COUNT);
    struct queue_call call;

    switch (random_below(r, 5)) {
    case 0:
    case 1:
        assert_int_equal(queue_fixture_do(f, queue_requeue_call(&f->q, id, &call, &f->err), &call),
            oracle_requeue(&r->o, id));
        break;
    case 2:
        assert_int_equal(queue_fixture_do(f, queue_discard_call(&f->q, id, &call, &f->err), &call),
            oracle_discard(&r->o, id));
        break;
    default:
        id = t && !random_one_in(r, 8) ? t->id : id;
        assert_int_equal(queue_fixture_do(f, queue_move_call(&f->q, id, p, &call, &f->err), &call),
            oracle_move(&r->o, id, p));
        break;
    }
}

void
random_set_control(struct random_run *r, enum queue_action action, enum task_priority p)
{
    struct queue_fixture *f = r->f;
    struct queue_call call;

    assert_true(queue_fixture_do(f, queue_control_call(&f->q, action, p, &call, &f->err), &call));
    oracle_control(&r->o, action, p);
    for (p = 0; action == QUEUE_RESUME && p < TASK_PRIORITY_COUNT; p++) {
        char key[QUEUE_KEY_MAX];

        queue_list_key(&f->q, p, key);
        if (!oracle_is_paused(&r->o, p)) /* no task waits without a hint now */
            assert_true(queue_fixture_int(f, "LLEN %s", key) >= r->o.queued[p]);
    }
}

void
random_control(struct random_run *r)
{
    /* mostly on, or nothing would move */
    static const enum queue_action actions[] = {
        QUEUE_PAUSE, QUEUE_DRAIN, QUEUE_RESUME, QUEUE_RESUME, QUEUE_OPEN, QUEUE_OPEN};
    enum queue_action action = actions[random_below(r, 6)];
    bool is_on = action == QUEUE_RESUME || action == QUEUE_OPEN;

    random_set_control(r, action,
        (enum task_priority)(is_on && random_one_in(r, 2)
                                 ? QUEUE_ALL_PRIORITIES
                                 : random_below(r, QUEUE_ALL_PRIORITIES + 1)));
}

/* A sound queue gives the audit nothing to mend, whatever happened to it. */
void
random_audit(struct random_run *r)
{
    struct queue_audited a;

    if (queue_audit(r->f->c, &r->f->q, r->cursor, &a, &r->f->err) == -1)
        fail_msg("audit: %s", r->f->err.text);
    assert_int_equal(a.fixed, 0);
    snprintf(r->cursor, sizeof(r->cursor), "%s", a.cursor);
}

/* ---- the outbox ---- */

void
random_hook_claim(struct random_run *r)
{
    int limit = 1 + (int)random_below(r, 4);
    size_t n, n_due = 0;
    int64_t now_ms;
    struct queue_call call;
    redisReply *reply;

    for (size_t i = 0; i < r->o.n_deliveries; i++)
        n_due += !r->o.deliveries[i].is_leased;
    assert_int_equal(
        queue_hook_claim_call(&r->f->q, FIXTURE_LEASE_MS, limit, &call, &r->f->err), 0);
    reply = queue_fixture_run(r->f, &call);
    assert_int_equal(queue_hook_claim_parse(reply, &now_ms, &n, &r->f->err), 0);
    assert_int_equal(n, n_due < (size_t)limit ? n_due : (size_t)limit);
    for (size_t i = 0; i < n; i++) {
        struct random_hook *token = &r->hooks[r->n_hooks++ % RANDOM_TOKENS];
        struct oracle_delivery *mine;
        struct queue_delivery d;

        assert_int_equal(queue_hook_delivery_parse(reply, i, &d, &r->f->err), 0);
        assert_non_null(mine = oracle_delivery(&r->o, d.key));
        assert_false(mine->is_leased);
        mine->is_leased = true;
        assert_int_equal(d.attempts, ++mine->attempts);
        assert_int_equal(d.fence, ++mine->fence);
        assert_string_equal(d.subject, mine->subject);
        token->fence = d.fence;
        memcpy(token->key, d.key, sizeof(d.key));
    }
    freeReplyObject(reply);
}

void
random_hook_done(struct random_run *r)
{
    size_t known = r->n_hooks < RANDOM_TOKENS ? r->n_hooks : RANDOM_TOKENS,
           newest = known < 8 ? known : 8;
    struct queue_hook_result result = {.verdict = (enum queue_hook_verdict)random_below(r, 5)};
    const struct random_hook *token;
    struct queue_call call;

    if (known == 0)
        return;
    token = &r->hooks[random_one_in(r, 4)
                          ? random_below(r, (uint32_t)known)
                          : (r->n_hooks - 1 - random_below(r, (uint32_t)newest)) % RANDOM_TOKENS];
    if (random_one_in(r, 2))
        result.verdict = QUEUE_HOOK_SENT;
    if (result.verdict == QUEUE_HOOK_RETRY ||
        (result.verdict == QUEUE_HOOK_RELEASE && random_one_in(r, 2)))
        result.delay_ms = FIXTURE_LEASE_MS;
    assert_int_equal(
        queue_fixture_do(r->f,
            queue_hook_done_call(&r->f->q, token->key, token->fence, &result, &call, &r->f->err),
            &call),
        oracle_hook_done(&r->o, token->key, token->fence, &result));
}

/* Who holds a lease keeps it; who lost it, or never had it, is told. */
void
random_hook_renew(struct random_run *r)
{
    struct queue_hook_lease leases[4];
    struct queue_call call;
    redisReply *reply;
    bool kept[4];
    size_t known = r->n_hooks < RANDOM_TOKENS ? r->n_hooks : RANDOM_TOKENS;

    if (known == 0)
        return;
    for (size_t i = 0; i < 4; i++) {
        const struct random_hook *token =
            &r->hooks[(r->n_hooks - 1 - random_below(r, (uint32_t)known)) % RANDOM_TOKENS];

        leases[i] = (struct queue_hook_lease){.key = token->key, .fence = token->fence};
    }
    assert_int_equal(
        queue_hook_renew_call(&r->f->q, FIXTURE_LEASE_MS, leases, 4, &call, &r->f->err), 0);
    reply = queue_fixture_run(r->f, &call);
    assert_int_equal(queue_hook_renew_parse(reply, 4, kept, &r->f->err), 0);
    freeReplyObject(reply);
    for (size_t i = 0; i < 4; i++) {
        struct oracle_delivery *d = oracle_delivery(&r->o, leases[i].key);

        assert_int_equal(kept[i], d != NULL && d->fence == leases[i].fence);
        if (kept[i])
            d->is_leased = true;
    }
}

/* ---- reads ---- */

static void
read_one(struct random_run *r)
{
    const struct oracle_task *t = oracle_lookup(&r->o, any_id(r));
    struct queue_task_view view;
    struct queue_call call;
    redisReply *reply;

    if (!t)
        return;
    assert_int_equal(queue_read_call(&r->f->q, t->id, true, &call, &r->f->err), 0);
    reply = queue_fixture_run(r->f, &call);
    assert_int_equal(queue_read_parse(reply, true, &view, &r->f->err), 0);
    assert_false(view.is_gone);
    assert_int_equal(view.found, !t->is_purged);
    if (view.found) {
        assert_int_equal(view.status, t->place == ORACLE_ENDED     ? t->end
                                      : t->place == ORACLE_RUNNING ? TASK_PROCESSING
                                                                   : TASK_QUEUED);
        assert_int_equal(view.priority, t->priority);
        assert_int_equal(view.position, oracle_position(&r->o, t));
        assert_int_equal(view.requeues, t->requeues);
        if (t->place != ORACLE_ENDED && t->requeues == 0) /* before anything can have happened */
            assert_int_equal(view.hook.outcome, t->has_hook ? QUEUE_HOOK_PENDING : QUEUE_HOOK_NONE);
        assert_string_equal(view.group, t->group < 0 ? "" : r->o.groups[t->group].id);
        assert_int_equal(
            view.output_size, t->place == ORACLE_ENDED && t->end == TASK_COMPLETED ? 6 : 0);
    }
    freeReplyObject(reply);
}

void
random_candles(unsigned char *bytes, uint64_t fence, uint32_t first, size_t n)
{
    for (size_t i = 0; i < n * QUEUE_CANDLE_BYTES; i++)
        bytes[i] = (unsigned char)(fence * 131 + first * QUEUE_CANDLE_BYTES + i);
}

/* What a stream would show of a task: its state, and the candles of its present run and of no other. */
static void
watch_one(struct random_run *r)
{
    struct oracle_task *running = random_task(r, ORACLE_RUNNING);
    const struct oracle_task *t =
        oracle_lookup(&r->o, running && !random_one_in(r, 3) ? running->id : any_id(r));
    struct queue_known known = {.n_candles = random_below(r, 3), .has_input = random_one_in(r, 2)};
    unsigned char bytes[64 * QUEUE_CANDLE_BYTES];
    struct queue_watched w;
    struct queue_call call;
    redisReply *reply;
    size_t n;

    if (!t)
        return;
    known.fence = t->fence - random_below(r, 2);
    assert_int_equal(queue_watch_call(&r->f->q, t->id, &known, &call, &r->f->err), 0);
    reply = queue_fixture_run(r->f, &call);
    assert_int_equal(queue_watch_parse(reply, &w, &r->f->err), 0);
    assert_int_equal(w.view.found, !t->is_purged);
    if (w.view.found) {
        assert_int_equal(w.first_candle, known.fence == t->fence ? known.n_candles : 0);
        n = t->place == ORACLE_RUNNING && t->n_candles > w.first_candle
                ? t->n_candles - w.first_candle
                : 0;
        assert_int_equal(w.fence, t->fence);
        assert_int_equal(w.n_candles, n);
        random_candles(bytes, t->fence, w.first_candle, n);
        if (n > 0)
            assert_memory_equal(w.candles, bytes, n * QUEUE_CANDLE_BYTES);
    }
    freeReplyObject(reply);
    /* of one run at most, and of none that has ended */
    reply = queue_fixture_reply(r->f, "KEYS ~:candles:%s.*", t->id);
    assert_true(reply->elements <= (t->place == ORACLE_ENDED ? 0 : 1));
    freeReplyObject(reply);
}

static void
read_load(struct random_run *r)
{
    struct queue_load load;
    struct queue_call call;
    redisReply *reply;

    assert_int_equal(queue_load_call(&r->f->q, &call, &r->f->err), 0);
    reply = queue_fixture_run(r->f, &call);
    assert_int_equal(queue_load_parse(reply, &load, &r->f->err), 0);
    freeReplyObject(reply);
    assert_int_equal(load.n_running, random_count_in(r, ORACLE_RUNNING));
    assert_int_equal(load.n_later, random_count_in(r, ORACLE_LATER));
    assert_int_equal(load.n_dead, r->o.n_dead);
    assert_int_equal(load.n_webhooks, r->o.n_deliveries);
    for (enum task_priority p = 0; p < TASK_PRIORITY_COUNT; p++) {
        assert_int_equal(load.queues[p].depth, r->o.queued[p]);
        assert_int_equal(load.queues[p].prefill, r->o.prefill[p]);
        assert_int_equal(load.queues[p].steps, r->o.steps[p]);
        assert_int_equal(load.queues[p].bytes, r->o.bytes[p]);
        assert_int_equal(load.queues[p].is_paused, oracle_is_paused(&r->o, p));
        assert_int_equal(load.queues[p].is_draining, oracle_is_draining(&r->o, p));
    }
}

static void
read_held(struct random_run *r)
{
    int worker = (int)random_below(r, RANDOM_WORKERS);
    struct queue_held held[64];
    size_t n, expected = 0;

    assert_int_equal(
        queue_held(r->f->c, &r->f->q, r->workers[worker], held, 64, &n, &r->f->err), 0);
    for (size_t i = 0; i < r->o.n_active; i++) {
        const struct oracle_task *t = &r->o.tasks[r->o.active[i]];

        expected += t->place == ORACLE_RUNNING && t->worker == worker;
    }
    assert_int_equal(n, expected);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(held[i].fence, oracle_find(&r->o, held[i].id)->fence);
}

static void
read_group_count(struct random_run *r)
{
    size_t n = r->o.n_groups, newest = n < 32 ? n : 32;
    const struct oracle_group *g;

    if (n == 0)
        return;
    g = &r->o.groups[n - 1 - random_below(r, (uint32_t)newest)];
    assert_int_equal(
        queue_fixture_int(r->f, "HGET ~:group:%s left", g->id), g->is_purged ? 0 : g->left);
}

void
random_read(struct random_run *r)
{
    switch (random_below(r, 5)) {
    case 0:
        read_one(r);
        break;
    case 4:
        watch_one(r);
        break;
    case 1:
        read_load(r);
        break;
    case 2:
        read_held(r);
        break;
    default:
        read_group_count(r);
        break;
    }
}
