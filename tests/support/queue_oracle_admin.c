/*
 * queue_oracle_admin.c - The oracle's other half: what clients and operators do to tasks, queues
 * and deliveries.
 */
#include "tests/support/queue_oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- operators ---- */

bool
oracle_is_paused(const struct oracle *o, enum task_priority p)
{
    return o->is_all_paused || o->is_paused[p];
}

bool
oracle_is_draining(const struct oracle *o, enum task_priority p)
{
    return o->is_all_draining || o->is_draining[p];
}

void
oracle_control(struct oracle *o, enum queue_action action, enum task_priority p)
{
    bool is_pause = action == QUEUE_PAUSE || action == QUEUE_RESUME;
    bool is_on = action == QUEUE_PAUSE || action == QUEUE_DRAIN;
    bool *all = is_pause ? &o->is_all_paused : &o->is_all_draining;
    bool *each = is_pause ? o->is_paused : o->is_draining;

    if (is_on) {
        if (p == QUEUE_ALL_PRIORITIES)
            *all = true;
        else
            each[p] = true;
        return;
    }
    for (enum task_priority other = 0; other < TASK_PRIORITY_COUNT; other++) {
        if (p == QUEUE_ALL_PRIORITIES || p == other)
            each[other] = false;
        else if (*all)
            each[other] = true;
    }
    *all = false;
}

struct oracle_task *
oracle_twin(struct oracle *o, int same)
{
    struct oracle_task *t = same > 0 && o->same[same] > 0 ? &o->tasks[o->same[same] - 1] : NULL;

    if (!t || t->is_purged || t->is_cancelled ||
        (t->place == ORACLE_ENDED && t->end != TASK_COMPLETED))
        return NULL;
    t->shares += t->place != ORACLE_ENDED;
    return t;
}

enum queue_cancel_outcome
oracle_cancel(struct oracle *o, const char *id)
{
    struct oracle_task *t = oracle_lookup(o, id);

    if (!t || t->is_purged)
        return QUEUE_CANCEL_UNKNOWN;
    if (t->place == ORACLE_ENDED)
        return QUEUE_CANCEL_ENDED;
    if (t->is_cancelled)
        return QUEUE_CANCEL_ASKED;
    if (t->shares > 0) {
        t->shares--;
        return QUEUE_CANCEL_SHARED;
    }
    if (t->place == ORACLE_RUNNING) {
        t->is_cancelled = true;
        return QUEUE_CANCEL_ASKED;
    }
    oracle_finish(o, t, TASK_CANCELLED);
    return QUEUE_CANCEL_DONE;
}

static bool
is_dead_letter(const struct oracle_task *t)
{
    return t && t->place == ORACLE_ENDED && t->end == TASK_FAILED && !t->is_trimmed &&
           !t->is_purged;
}

bool
oracle_requeue(struct oracle *o, const char *id)
{
    struct oracle_task *t = oracle_lookup(o, id);

    if (!is_dead_letter(t))
        return false;
    o->active = oracle_grown(o->active, &o->room_active, o->n_active, sizeof(*o->active));
    o->active[o->n_active++] = (size_t)(t - o->tasks);
    o->n_dead--;
    o->n_returns++;
    t->attempts = t->crashes = t->shares = 0;
    t->has_deadline = t->is_late = t->is_cancelled = t->is_stale = false;
    t->group = -1;
    t->fence++;
    t->requeues++;
    t->seq = ++o->seq;
    oracle_put(o, t, ORACLE_QUEUED);
    return true;
}

bool
oracle_move(struct oracle *o, const char *id, enum task_priority p)
{
    struct oracle_task *t = oracle_find(o, id);

    if (!t || t->place == ORACLE_RUNNING)
        return false;
    if (t->place == ORACLE_QUEUED)
        oracle_count_queued(o, t, -1);
    t->priority = p;
    if (t->place == ORACLE_QUEUED)
        oracle_count_queued(o, t, 1);
    return true;
}

bool
oracle_discard(struct oracle *o, const char *id)
{
    struct oracle_task *t = oracle_lookup(o, id);

    if (!is_dead_letter(t))
        return false;
    t->is_trimmed = true;
    o->n_dead--;
    o->input_bytes -= (int64_t)t->input_bytes;
    return true;
}

static void
forget_events(struct oracle *o, const char *subject)
{
    for (size_t i = o->n_deliveries; i-- > 0;) {
        if (strcmp(o->deliveries[i].subject, subject) == 0)
            o->deliveries[i] = o->deliveries[--o->n_deliveries];
    }
}

static void
erase(struct oracle *o, struct oracle_task *t)
{
    oracle_discard(o, t->id);
    t->is_purged = true;
    forget_events(o, t->id);
}

enum queue_purge_outcome
oracle_purge(struct oracle *o, const char *id)
{
    struct oracle_task *t = oracle_lookup(o, id);

    if (!t || t->is_purged)
        return QUEUE_PURGE_UNKNOWN;
    if (t->place != ORACLE_ENDED)
        return QUEUE_PURGE_NOT_ENDED;
    if (t->group >= 0)
        return QUEUE_PURGE_MEMBER;
    erase(o, t);
    return QUEUE_PURGED;
}

enum queue_purge_outcome
oracle_purge_group(struct oracle *o, int group)
{
    struct oracle_group *g = &o->groups[group];

    if (g->is_purged)
        return QUEUE_PURGE_UNKNOWN;
    if (g->left > 0)
        return QUEUE_PURGE_NOT_ENDED;
    for (size_t i = 0; i < o->n_tasks; i++) {
        if (o->tasks[i].group == group)
            erase(o, &o->tasks[i]);
    }
    g->is_purged = true;
    forget_events(o, g->id);
    return QUEUE_PURGED;
}

int64_t
oracle_position(const struct oracle *o, const struct oracle_task *t)
{
    int64_t before = 0;

    if (t->place != ORACLE_QUEUED && t->place != ORACLE_LATER)
        return 0;
    for (size_t i = 0; i < o->n_active; i++) {
        const struct oracle_task *other = &o->tasks[o->active[i]];

        before +=
            other->place == ORACLE_QUEUED && other->priority == t->priority && other->seq < t->seq;
    }
    return before + 1;
}

/* ---- the outbox ---- */

struct oracle_delivery *
oracle_delivery(struct oracle *o, const char *key)
{
    for (size_t i = 0; i < o->n_deliveries; i++) {
        if (strcmp(o->deliveries[i].key, key) == 0)
            return &o->deliveries[i];
    }
    return NULL;
}

bool
oracle_hook_done(
    struct oracle *o, const char *key, uint64_t fence, const struct queue_hook_result *result)
{
    struct oracle_delivery *d = oracle_delivery(o, key);
    enum queue_hook_verdict verdict = result->verdict;

    if (!d || d->fence != fence)
        return false;
    if (verdict == QUEUE_HOOK_RETRY || verdict == QUEUE_HOOK_RELEASE) {
        d->fence++;
        d->is_leased = result->delay_ms > 0; /* not due at once */
        d->attempts -= verdict == QUEUE_HOOK_RELEASE && d->attempts > 0;
    } else {
        *d = o->deliveries[--o->n_deliveries];
    }
    return true;
}
