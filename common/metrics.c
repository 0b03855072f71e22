/*
 * metrics.c - What this process has counted, and how much of it has arrived in Redis.
 *
 * Each value is kept three times: as it is, as the last batch says, and as it arrived. A batch is
 * the difference of the last two. While one is out nothing is added to it, so it says the same
 * each time it is asked for; what happens meanwhile waits for the next.
 */
#include "common/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/metrics_set.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metrics_set *own; /* NULL before anything was counted */
static uint64_t number = 1;     /* of the batch that is out, or the next */
static bool is_out;             /* a batch was made and has not arrived */

void
metrics_move(enum metric metric, double by, const char *const *labels)
{
    pthread_mutex_lock(&lock);
    if (own != NULL || (own = metrics_set_new()) != NULL)
        metrics_set_move(own, metric, by, labels);
    pthread_mutex_unlock(&lock);
}

static bool
is_gauge(const struct metrics_sample *sample)
{
    return metrics_families[sample->metric].type == METRIC_GAUGE;
}

/* Put up to METRICS_BATCH_MAX changes into the batch that goes out. */
static void
fill_batch(void)
{
    size_t n = 0;

    for (size_t i = 0; i < metrics_set_count(own); i++) {
        struct metrics_sample *sample = metrics_set_at(own, i);

        if (is_gauge(sample))
            continue;
        for (size_t v = 0; v < metrics_n_values(sample->metric) && n < METRICS_BATCH_MAX; v++) {
            n += sample->values[v] != sample->arrived[v];
            sample->sent[v] = sample->values[v];
        }
    }
    is_out = n > 0;
}

/* ${changes} NULL: only count them. */
static size_t
list_changes(struct metrics_change *changes, bool gauges)
{
    size_t n = 0;

    for (size_t i = 0; i < metrics_set_count(own); i++) {
        const struct metrics_sample *sample = metrics_set_at(own, i);

        if (is_gauge(sample) != gauges)
            continue;
        for (size_t v = 0; v < metrics_n_values(sample->metric); v++) {
            double change = gauges ? sample->values[v] : sample->sent[v] - sample->arrived[v];

            if (!gauges && change == 0)
                continue;
            if (changes != NULL) {
                metrics_field(sample, v, changes[n].field);
                changes[n].value = change;
            }
            n++;
        }
    }
    return n;
}

int
metrics_batch(struct metrics_batch *batch, struct error *err)
{
    int status = 0;

    *batch = (struct metrics_batch){0};
    pthread_mutex_lock(&lock);
    if (own == NULL)
        goto unlock;
    if (!is_out)
        fill_batch();
    batch->n_gauges = list_changes(NULL, true);
    batch->n = list_changes(NULL, false);
    if (batch->n_gauges + batch->n == 0)
        goto unlock;
    batch->changes = calloc(batch->n_gauges + batch->n, sizeof(*batch->changes));
    if (batch->changes == NULL) {
        *batch = (struct metrics_batch){0};
        status = error_set(err, ERR_MEMORY, "no memory for a batch of metrics");
        goto unlock;
    }
    list_changes(batch->changes, true);
    list_changes(batch->changes + batch->n_gauges, false);
    batch->number = batch->n > 0 ? number : 0;

unlock:
    pthread_mutex_unlock(&lock);
    return status;
}

void
metrics_batch_clear(struct metrics_batch *batch)
{
    free(batch->changes);
    *batch = (struct metrics_batch){0};
}

void
metrics_batch_arrived(uint64_t arrived)
{
    pthread_mutex_lock(&lock);
    if (own != NULL && is_out && arrived == number) {
        for (size_t i = 0; i < metrics_set_count(own); i++) {
            struct metrics_sample *sample = metrics_set_at(own, i);

            memcpy(sample->arrived, sample->sent, sizeof(sample->arrived));
        }
        is_out = false;
        number++;
    }
    pthread_mutex_unlock(&lock);
}

void
metrics_unsent(struct metrics_set *set, bool with_gauges)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; own != NULL && i < metrics_set_count(own); i++) {
        const struct metrics_sample *sample = metrics_set_at(own, i);
        const char *labels[METRICS_LABELS_MAX];
        struct metrics_sample *to;

        for (size_t l = 0; l < METRICS_LABELS_MAX; l++)
            labels[l] = sample->labels[l];
        if (is_gauge(sample) && !with_gauges)
            continue;
        if ((to = metrics_set_find(set, sample->metric, labels)) == NULL)
            continue;
        for (size_t v = 0; v < metrics_n_values(sample->metric); v++)
            to->values[v] += sample->values[v] - sample->arrived[v];
    }
    pthread_mutex_unlock(&lock);
}

void
metrics_forget(void)
{
    pthread_mutex_lock(&lock);
    metrics_set_free(own);
    own = NULL;
    number = 1;
    is_out = false;
    pthread_mutex_unlock(&lock);
}
