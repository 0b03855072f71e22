/*
 * lists.c - Which priority lists a worker looks at, and in which order.
 */
#include "worker/lists.h"

#include "common/queue/queue.h"

const unsigned lists_default_weights[TASK_PRIORITY_COUNT] = {28, 3, 1};

/* Everybody earns its weight, the richest goes first and pays for all. */
void
lists_order(struct lists_turns *turns, const unsigned weights[TASK_PRIORITY_COUNT],
    enum task_priority order[TASK_PRIORITY_COUNT])
{
    enum task_priority first = TASK_URGENT;
    int n = 0;

    for (int p = 0; p < TASK_PRIORITY_COUNT; p++) {
        turns->credit[p] += weights[p];
        if (turns->credit[p] > turns->credit[first])
            first = (enum task_priority)p;
    }
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++)
        turns->credit[first] -= weights[p];
    order[n++] = first;
    for (int p = 0; p < TASK_PRIORITY_COUNT; p++) {
        if (p != (int)first)
            order[n++] = (enum task_priority)p;
    }
}

unsigned
lists_wanted(const struct worker_settings *s, const struct handoff_load *load)
{
    uint32_t common = worker_settings_room(s, TASK_LOW);
    uint32_t other = load->other_slots < common ? load->other_slots : common;
    unsigned wanted = 0;

    if (load->n_jobs > 0 && load->crashes >= QUEUE_SUSPECT_AT)
        return 0; /* a suspect runs alone */
    if (load->urgent_slots + other < s->slots && s->takes[TASK_URGENT])
        wanted |= 1u << TASK_URGENT;
    if (load->other_slots < common && load->urgent_slots + load->other_slots < s->slots) {
        if (s->takes[TASK_NORMAL])
            wanted |= 1u << TASK_NORMAL;
        if (s->takes[TASK_LOW])
            wanted |= 1u << TASK_LOW;
    }
    return wanted;
}
