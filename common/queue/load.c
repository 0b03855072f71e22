/*
 * load.c - How much there is to do, who does it, and when one task will be done.
 *
 * An estimate is read out of one reply and two averages: prefill seconds per token (a worker
 * prefills one task after the other) and seconds per decode step (a step serves all slots of
 * a worker). Both are learned by complete.lua.
 */
#include "common/queue/queue_admin.h"
#include "common/queue/script.h"

#include <string.h>

#define FIXED 6 /* parts of a reply before the priorities */
enum { PART_NOW, PART_PREFILL, PART_STEP, PART_WORKERS, PART_RUNNING, PART_SETS };

/* ${reply} as an array of ${n} numbers of 0 or more; each a sum of what scripts checked. */
static bool
parse_numbers(const redisReply *reply, int64_t *const *values, size_t n)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!queue_reply_int(reply->element[i], values[i]) || *values[i] < 0)
            return false;
    }
    return true;
}

int
queue_load_call(const struct queue *q, struct queue_call *call, struct error *err)
{
    struct queue_args a;

    queue_args_begin(&a, &queue_script_load, q, 1);
    queue_args_int(&a, q->tuning.presence_ms);
    return queue_args_end(&a, call, err);
}

int
queue_load_parse(const redisReply *reply, struct queue_load *out, struct error *err)
{
    const char *name = queue_script_load.name;
    redisReply **part;

    *out = (struct queue_load){0};
    if (queue_reply_array(reply, name, FIXED + TASK_PRIORITY_COUNT, err) == -1)
        return -1;
    part = reply->element;
    if (!queue_reply_int(part[PART_NOW], &out->now_ms) ||
        !parse_numbers(part[PART_WORKERS],
            (int64_t *[]){&out->n_live, &out->slots, &out->busy, &out->n_quiet}, 4) ||
        !parse_numbers(part[PART_RUNNING],
            (int64_t *[]){&out->n_running, &out->running_prefill, &out->running_steps}, 3) ||
        !parse_numbers(
            part[PART_SETS], (int64_t *[]){&out->n_later, &out->n_dead, &out->n_webhooks}, 3))
        goto strange;
    out->speed.prefill_seconds = queue_reply_seconds(part[PART_PREFILL]);
    out->speed.step_seconds = queue_reply_seconds(part[PART_STEP]);
    for (size_t p = 0; p < TASK_PRIORITY_COUNT; p++) {
        int64_t paused, draining;
        int64_t *const values[] = {&out->queues[p].depth, &out->queues[p].prefill,
            &out->queues[p].steps, &out->queues[p].bytes, &out->queues[p].oldest_ms, &paused,
            &draining};

        if (!parse_numbers(part[FIXED + p], values, sizeof(values) / sizeof(values[0])))
            goto strange;
        out->queues[p].is_paused = paused != 0;
        out->queues[p].is_draining = draining != 0;
    }
    return 0;

strange:
    *out = (struct queue_load){0};
    return queue_reply_strange(name, err);
}

/* Seconds the workers need for so much, all of them together. */
static double
seconds_for(const struct queue_load *l, double prefill, double steps)
{
    return l->speed.prefill_seconds * prefill / (double)l->n_live +
           l->speed.step_seconds * steps / (double)l->slots;
}

static bool
is_known(const struct queue_load *l, enum task_priority priority)
{
    return l->n_live > 0 && l->slots > 0 && l->speed.prefill_seconds > 0 &&
           l->speed.step_seconds > 0 && !l->queues[priority].is_paused;
}

/* What has to be done before ${share} of the priority's own queue is. */
static double
seconds_ahead(const struct queue_load *l, enum task_priority priority, double share)
{
    double prefill = (double)l->running_prefill, steps = (double)l->running_steps;

    for (int p = 0; p < (int)priority; p++) {
        if (l->queues[p].is_paused) /* they wait for an operator, not before this one */
            continue;
        prefill += (double)l->queues[p].prefill;
        steps += (double)l->queues[p].steps;
    }
    prefill += share * (double)l->queues[priority].prefill;
    steps += share * (double)l->queues[priority].steps;
    return seconds_for(l, prefill, steps);
}

/* The share of a task that is still to be done. */
static double
share_left(const struct queue_work *w)
{
    if (!w->is_running || w->horizon == 0)
        return 1.0;
    return w->step < w->horizon ? 1.0 - (double)w->step / w->horizon : 0.0;
}

bool
queue_estimate(const struct queue_load *l, const struct queue_work *w, double *start_seconds,
    double *finish_seconds)
{
    int64_t depth = l->queues[w->priority].depth, ahead = w->position > 0 ? w->position - 1 : depth;
    int64_t slots, free_slots, used, queued = 0;
    double rounds;

    if (!is_known(l, w->priority))
        return false;
    slots = l->slots / l->n_live > 0 ? l->slots / l->n_live : 1; /* of one worker */
    rounds = (double)((w->samples + slots - 1) / slots);
    if (ahead > depth)
        ahead = depth;
    for (int p = 0; p < (int)w->priority; p++)
        queued += l->queues[p].is_paused ? 0 : l->queues[p].depth;
    /* presence is some seconds old, so a task that started since counts as one slot at least */
    used = l->busy > l->n_running ? l->busy : l->n_running;
    free_slots = l->slots - used;
    if (w->is_running) {
        *start_seconds = 0;
    } else if (queued + ahead == 0 && free_slots >= (w->samples < slots ? w->samples : slots)) {
        *start_seconds = 0;
    } else {
        *start_seconds =
            seconds_ahead(l, w->priority, depth > 0 ? (double)ahead / (double)depth : 0);
    }
    *finish_seconds =
        *start_seconds + share_left(w) * (l->speed.prefill_seconds * (double)w->prefill_tokens +
                                             l->speed.step_seconds * w->horizon * rounds);
    return true;
}

bool
queue_estimate_group(const struct queue_load *l, const struct queue_work *works, size_t n,
    double *start_seconds, double *finish_seconds)
{
    double first = 0, slowest = 0, prefill = 0, steps = 0, shared;

    for (size_t i = 0; i < n; i++) {
        const struct queue_work *w = &works[i];
        double start, finish, left = share_left(w);

        if (!queue_estimate(l, w, &start, &finish))
            return false;
        if (i == 0 || start < first)
            first = start;
        if (finish - start > slowest)
            slowest = finish - start;
        prefill += left * (double)w->prefill_tokens;
        steps += left * (double)w->horizon * w->samples;
    }
    if (n == 0)
        return false;
    shared = seconds_for(l, prefill, steps);
    *start_seconds = first;
    *finish_seconds = first + (slowest > shared ? slowest : shared);
    return true;
}

double
queue_backlog_seconds(const struct queue_load *l, enum task_priority priority)
{
    return is_known(l, priority) ? seconds_ahead(l, priority, 1.0) : -1.0;
}
