/*
 * load_seen.h - What the clients of a load generator lived through, task by task, and the figures of it.
 */
#ifndef TESTS_BENCH_LOAD_SEEN_H
#define TESTS_BENCH_LOAD_SEEN_H

#include <stdbool.h>
#include <stddef.h>

#define LOAD_TASKS_MAX 2000000

struct cJSON;

struct seen { /* of one task; seconds */
    double submit, wait, run, end_to_end;
    double started, finished; /* on the wall clock, as the service says */
    bool is_counted;
};

struct load_seen {
    struct seen *all; /* [n] */
    size_t n, size;
};

/** load_seen_add(s): one more, zeroed; until the next one is added. */
struct seen *load_seen_add(struct load_seen *s);
void load_seen_clear(struct load_seen *s);

/** load_seen_latencies(s, report, have_ended): rows of those that count; did anyone wait for ends? */
void load_seen_latencies(const struct load_seen *s, struct cJSON *report, bool have_ended);

double load_seen_last(const struct load_seen *s); /* when the last of them ended */

/*
 * Tasks a second: of each run that part which lies between. Tasks that step together end together;
 * counting ends would make the figure depend on which of them just fits.
 */
double load_seen_throughput(const struct load_seen *s, double from, double to);

#endif /* TESTS_BENCH_LOAD_SEEN_H */
