/*
 * queue_oracle.c - See queue_oracle.h. Deliberately shares no code and no table with
 * common/queue, so that a mistake there is not made here.
 */
#include "tests/support/queue_oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ATTEMPTS 5
#define CRASH_CAP    3
#define SUSPECT_AT   2
#define LOOK         16 /* hints a claim looks at per priority */

/* A test has no use for a half-grown oracle. */
void *
oracle_grown(void *array, size_t *room, size_t n, size_t size)
{
    if (n < *room)
        return array;
    *room = *room ? *room * 2 : 64;
    array = realloc(array, *room * size);
    if (!array)
        abort();
    return array;
}

void
oracle_clear(struct oracle *o)
{
    free(o->tasks);
    free(o->groups);
    free(o->active);
    *o = (struct oracle){0};
}

static size_t
bucket(const char *id)
{
    return strtoul((char[]){id[0], id[1], id[2], '\0'}, NULL, 16) % ORACLE_BUCKETS;
}

struct oracle_task *
oracle_lookup(const struct oracle *o, const char *id)
{
    for (size_t i = id[0] ? o->buckets[bucket(id)] : 0; i > 0; i = o->tasks[i - 1].next) {
        if (strcmp(o->tasks[i - 1].id, id) == 0)
            return &o->tasks[i - 1];
    }
    return NULL;
}

struct oracle_task *
oracle_find(struct oracle *o, const char *id)
{
    struct oracle_task *t = oracle_lookup(o, id);

    return t && t->place != ORACLE_ENDED ? t : NULL;
}

void
oracle_count_queued(struct oracle *o, const struct oracle_task *t, int sign)
{
    o->queued[t->priority] += sign;
    o->prefill[t->priority] += sign * (int64_t)t->prefill_tokens;
    o->steps[t->priority] += sign * (int64_t)t->decode_steps;
    o->bytes[t->priority] += sign * (int64_t)t->input_bytes;
}

void
oracle_put(struct oracle *o, struct oracle_task *t, enum oracle_place place)
{
    if (t->place == ORACLE_QUEUED)
        oracle_count_queued(o, t, -1);
    if (place == ORACLE_QUEUED)
        oracle_count_queued(o, t, 1);
    if (place != ORACLE_RUNNING && place != ORACLE_ENDED)
        t->worker = -1;
    o->n_returns += t->place == ORACLE_RUNNING && place != ORACLE_ENDED;
    t->place = place;
    t->lease_is_over = t->is_due = false;
}

int
oracle_add_group(struct oracle *o, const char *id, int n)
{
    struct oracle_group *g;

    o->groups = oracle_grown(o->groups, &o->room_groups, o->n_groups, sizeof(*o->groups));
    g = &o->groups[o->n_groups];
    *g = (struct oracle_group){.left = n};
    snprintf(g->id, sizeof(g->id), "%s", id);
    return (int)o->n_groups++;
}

void
oracle_add(struct oracle *o, const struct oracle_task *task)
{
    struct oracle_task *t;

    o->tasks = oracle_grown(o->tasks, &o->room_tasks, o->n_tasks, sizeof(*o->tasks));
    o->active = oracle_grown(o->active, &o->room_active, o->n_active, sizeof(*o->active));
    t = &o->tasks[o->n_tasks];
    *t = *task;
    t->next = o->buckets[bucket(t->id)];
    o->buckets[bucket(t->id)] = o->n_tasks + 1;
    if (t->same > 0)
        o->same[t->same] = o->n_tasks + 1;
    t->seq = ++o->seq;
    t->worker = -1;
    t->place = ORACLE_QUEUED;
    oracle_count_queued(o, t, 1);
    o->input_bytes += (int64_t)t->input_bytes;
    o->active[o->n_active++] = o->n_tasks++;
}

static void
write_event(struct oracle *o, const char *key, const char *subject)
{
    struct oracle_delivery *d;

    if (o->n_deliveries == ORACLE_DELIVERIES || oracle_delivery(o, key))
        abort(); /* the test lets too many pile up; or a second event of one run */
    d = &o->deliveries[o->n_deliveries++];
    *d = (struct oracle_delivery){0};
    snprintf(d->key, sizeof(d->key), "%s", key);
    snprintf(d->subject, sizeof(d->subject), "%s", subject);
    o->n_events_written++;
}

static void
finish_member(struct oracle *o, struct oracle_group *g, enum task_status end)
{
    enum task_status worst = TASK_COMPLETED;

    g->ended[end]++;
    if (--g->left > 0)
        return;
    if (g->ended[TASK_EXPIRED])
        worst = TASK_EXPIRED;
    if (g->ended[TASK_CANCELLED])
        worst = TASK_CANCELLED;
    if (g->ended[TASK_FAILED])
        worst = TASK_FAILED;
    o->group_ends[worst]++;
    if (g->has_hook)
        write_event(o, g->id, g->id);
}

void
oracle_finish(struct oracle *o, struct oracle_task *t, enum task_status end)
{
    size_t number = (size_t)(t - o->tasks);
    char key[QUEUE_HOOK_KEY_MAX];

    oracle_put(o, t, ORACLE_ENDED);
    t->end = end;
    o->ends[end]++;
    if (end != TASK_FAILED)
        o->input_bytes -= (int64_t)t->input_bytes;
    else
        o->n_dead++;
    if (t->has_hook) {
        snprintf(key, sizeof(key), "%s.%llu", t->id, (unsigned long long)t->fence);
        write_event(o, key, t->id);
    }
    for (size_t i = 0; i < o->n_active; i++) {
        if (o->active[i] == number) {
            o->active[i] = o->active[--o->n_active];
            break;
        }
    }
    if (o->n_just_ended < sizeof(o->just_ended) / sizeof(o->just_ended[0]))
        o->just_ended[o->n_just_ended++] = number;
    if (t->group >= 0)
        finish_member(o, &o->groups[t->group], end);
}

/* ---- claim ---- */

struct claiming {
    struct oracle *o;
    struct oracle_claim out;
    int busy, room, other, worker;
    bool is_alone;
};

static struct oracle_task *
oldest(struct oracle *o, enum task_priority p)
{
    struct oracle_task *best = NULL;

    for (size_t i = 0; i < o->n_active; i++) {
        struct oracle_task *t = &o->tasks[o->active[i]];

        if (t->place == ORACLE_QUEUED && t->priority == p && (!best || t->seq < best->seq))
            best = t;
    }
    return best;
}

static void
take(struct claiming *c, enum task_priority p, const char *hint)
{
    struct oracle_task *t = oracle_find(c->o, hint);
    bool is_suspect;

    if (!t || t->place != ORACLE_QUEUED || t->priority != p)
        t = oldest(c->o, p);
    if (!t)
        return;
    if (t->is_late) {
        oracle_finish(c->o, t, TASK_EXPIRED);
        return;
    }
    is_suspect = t->crashes >= SUSPECT_AT;
    if (is_suspect && c->busy > 0) {
        c->out.wait_for_suspect = c->is_alone = true;
        c->out.wait_for = p;
        return;
    }
    oracle_put(c->o, t, ORACLE_RUNNING);
    t->worker = c->worker;
    t->fence++;
    t->attempts++;
    t->ticks = -1;
    t->n_candles = 0;
    c->o->n_claims++;
    c->out.taken[c->out.n++] = t;
    c->busy++;
    c->room--;
    c->other -= p != TASK_URGENT;
    c->is_alone = is_suspect;
}

struct oracle_claim
oracle_claim(
    struct oracle *o, struct oracle_hints *hints, const struct queue_claim_request *r, int worker)
{
    struct claiming c = {
        .o = o, .busy = r->busy, .room = r->room, .other = r->room_other, .worker = worker};

    if (r->hint_len > 0 && !oracle_is_paused(o, r->priority))
        take(&c, r->priority, r->hint);
    for (int n = 0; n < TASK_PRIORITY_COUNT; n++) {
        enum task_priority p = r->order != NULL ? r->order[n] : (enum task_priority)n;

        if (oracle_is_paused(o, p) || (r->takes != 0 && !(r->takes & 1u << p)))
            continue;
        for (int i = 0; i < LOOK; i++) {
            if (c.is_alone || c.room < 1 || (p != TASK_URGENT && c.other < 1) ||
                hints->next[p] == hints->n[p])
                break;
            take(&c, p, hints->ids[p][hints->next[p]++]);
        }
    }
    return c.out;
}

/* ---- the writes of a worker ---- */

static struct oracle_task *
lease(struct oracle *o, const char *id, uint64_t fence, int worker)
{
    struct oracle_task *t = oracle_find(o, id);

    return t && t->place == ORACLE_RUNNING && t->fence == fence && t->worker == worker ? t : NULL;
}

enum queue_renew_code
oracle_renew(struct oracle *o, const struct queue_renewal *renewal, int worker)
{
    struct oracle_task *t = lease(o, renewal->id, renewal->fence, worker);
    uint32_t n_shown = renewal->first_candle + (uint32_t)renewal->n_candles;

    if (!t)
        return QUEUE_RENEW_FENCED;
    if (t->is_cancelled)
        return QUEUE_RENEW_CANCELLED;
    if (t->is_late)
        return QUEUE_RENEW_DEADLINE;
    if (renewal->ticks <= t->ticks)
        return QUEUE_RENEW_NO_PROGRESS;
    t->ticks = renewal->ticks;
    t->lease_is_over = false;
    if (renewal->n_candles > 0 && renewal->first_candle > t->n_candles)
        return QUEUE_RENEWED_CANDLES_LOST;
    if (renewal->n_candles > 0 && n_shown > t->n_candles)
        t->n_candles = n_shown;
    return QUEUE_RENEWED;
}

/* Cancel and deadline come before whatever the worker wanted. */
static bool
is_stopped(struct oracle *o, struct oracle_task *t, enum queue_end *end)
{
    if (t->is_cancelled) {
        oracle_finish(o, t, TASK_CANCELLED);
        *end = QUEUE_END_CANCELLED;
    } else if (t->is_late) {
        oracle_finish(o, t, TASK_EXPIRED);
        *end = QUEUE_END_EXPIRED;
    } else {
        return false;
    }
    return true;
}

/* The run of this token was the one whose result was published. */
static bool
was_completed_by(const struct oracle *o, const char *id, uint64_t fence, int worker)
{
    const struct oracle_task *t = oracle_lookup(o, id);

    return t && !t->is_purged && t->place == ORACLE_ENDED && t->end == TASK_COMPLETED &&
           t->fence == fence && t->worker == worker;
}

enum queue_end
oracle_complete(struct oracle *o, const char *id, uint64_t fence, int worker)
{
    struct oracle_task *t = lease(o, id, fence, worker);
    enum queue_end end;

    if (!t)
        return was_completed_by(o, id, fence, worker) ? QUEUE_END_ALREADY : QUEUE_END_FENCED;
    if (is_stopped(o, t, &end))
        return end;
    oracle_finish(o, t, TASK_COMPLETED);
    return QUEUE_END_COMPLETED;
}

enum queue_end
oracle_fail(struct oracle *o, const char *id, uint64_t fence, int worker, bool retryable)
{
    struct oracle_task *t = lease(o, id, fence, worker);
    enum queue_end end;

    if (!t)
        return QUEUE_END_FENCED;
    if (is_stopped(o, t, &end))
        return end;
    if (!retryable || t->attempts >= MAX_ATTEMPTS) {
        oracle_finish(o, t, TASK_FAILED);
        return QUEUE_END_FAILED;
    }
    oracle_put(o, t, ORACLE_LATER);
    return QUEUE_END_PARKED;
}

enum queue_end
oracle_release(struct oracle *o, const char *id, uint64_t fence, int worker)
{
    struct oracle_task *t = lease(o, id, fence, worker);
    enum queue_end end;

    if (!t)
        return QUEUE_END_FENCED;
    if (is_stopped(o, t, &end))
        return end;
    t->attempts--;
    oracle_put(o, t, ORACLE_QUEUED);
    return QUEUE_END_RELEASED;
}

/* ---- sweep ---- */

static void
lose_lease(struct oracle *o, struct oracle_task *t)
{
    enum queue_end end;

    t->crashes++;
    if (is_stopped(o, t, &end))
        return;
    if (t->crashes >= CRASH_CAP || t->attempts >= MAX_ATTEMPTS)
        oracle_finish(o, t, TASK_FAILED);
    else
        oracle_put(o, t, t->crashes == 1 ? ORACLE_QUEUED : ORACLE_LATER);
}

struct queue_swept
oracle_sweep(struct oracle *o)
{
    struct queue_swept out = {0};

    /* backwards: what ends is replaced by the last one, which was looked at already */
    for (size_t i = o->n_active; i-- > 0;) {
        struct oracle_task *t = &o->tasks[o->active[i]];

        if (t->place == ORACLE_LATER && t->is_due) {
            out.due++;
            oracle_put(o, t, ORACLE_QUEUED);
        }
    }
    for (size_t i = o->n_active; i-- > 0;) {
        struct oracle_task *t = &o->tasks[o->active[i]];

        if (t->place == ORACLE_RUNNING && t->lease_is_over) {
            out.leases++;
            lose_lease(o, t);
        }
    }
    for (size_t i = o->n_active; i-- > 0;) {
        struct oracle_task *t = &o->tasks[o->active[i]];

        if (t->place != ORACLE_RUNNING && t->is_late) {
            out.expired++;
            oracle_finish(o, t, TASK_EXPIRED);
        }
    }
    for (enum task_priority p = 0; p < TASK_PRIORITY_COUNT; p++) {
        struct oracle_task *t;

        while ((t = oldest(o, p)) && t->is_stale) {
            out.expired++;
            oracle_finish(o, t, TASK_EXPIRED);
        }
    }
    return out;
}
