/*
 * failpoint.c - Parses KRONOS_FAIL and draws at each point. Empty in release builds.
 *
 * The k-th pass of a point depends on seed, point and k alone, so threads do not disturb one
 * another's draws. Without a plan a pass is one load. Nothing is logged: a process that is
 * killed does not get to write, either.
 */
#include "common/failpoint.h"

#ifdef KRONOSQ_DEBUG

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"

enum action { ACTION_KILL, ACTION_STOP, ACTION_CLOSE };

struct plan {
    double probability[FAILPOINT_COUNT];
    enum action action[FAILPOINT_COUNT];
    uint64_t seed, crash_seed;
    bool has_crash_seed;
};

static const struct {
    const char *name;
    bool has_connection;
} points[FAILPOINT_COUNT] = {
#define X(id, name, has_connection) {name, has_connection},
    FAILPOINTS(X)
#undef X
};

static struct plan plan; /* written before threads start */
static bool is_planned;
static atomic_uint_least64_t passes[FAILPOINT_COUNT];

/* ---- what KRONOS_FAIL says ---- */

static int
parse_seed(const char *name, const char *text, uint64_t *seed, struct error *err)
{
    char *end;

    errno = 0;
    *seed = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return error_set(
            err, ERR_INVALID, "KRONOS_FAIL: %s is \"%.40s\", not a whole number", name, text);
    return 0;
}

static int
parse_action(const char *text, unsigned point, struct plan *p, struct error *err)
{
    if (strcmp(text, "kill") == 0) {
        p->action[point] = ACTION_KILL;
    } else if (strcmp(text, "stop") == 0) {
        p->action[point] = ACTION_STOP;
    } else if (strcmp(text, "close") == 0) {
        if (!points[point].has_connection)
            return error_set(err, ERR_INVALID,
                "KRONOS_FAIL: %s has no connection that could be closed", points[point].name);
        p->action[point] = ACTION_CLOSE;
    } else {
        return error_set(err, ERR_INVALID,
            "KRONOS_FAIL: the action of %s is \"%.40s\": kill, stop and close are known",
            points[point].name, text);
    }
    return 0;
}

static int
parse_point(const char *name, char *value, struct plan *p, struct error *err)
{
    unsigned point = 0;
    char *action = strchr(value, ':'), *end;

    while (point < FAILPOINT_COUNT && strcmp(points[point].name, name) != 0)
        point++;
    if (point == FAILPOINT_COUNT)
        return error_set(err, ERR_INVALID,
            "KRONOS_FAIL: \"%.40s\" is no failpoint; common/failpoint.h lists them", name);
    if (action != NULL)
        *action++ = '\0';
    p->probability[point] = strtod(value, &end);
    if (end == value || *end != '\0' ||
        !(p->probability[point] >= 0 && p->probability[point] <= 1)) /* also not a number */
        return error_set(err, ERR_INVALID,
            "KRONOS_FAIL: the probability of %s is \"%.40s\", allowed is 0 to 1", name, value);
    return action != NULL ? parse_action(action, point, p, err) : 0;
}

static int
parse_part(char *part, struct plan *p, struct error *err)
{
    char *value = strchr(part, ':');

    if (value == NULL)
        return error_set(
            err, ERR_INVALID, "KRONOS_FAIL: \"%.40s\" is not name:probability[:action]", part);
    *value++ = '\0';
    if (strcmp(part, "seed") == 0)
        return parse_seed(part, value, &p->seed, err);
    if (strcmp(part, "crash_seed") == 0) {
        p->has_crash_seed = true;
        return parse_seed(part, value, &p->crash_seed, err);
    }
    return parse_point(part, value, p, err);
}

int
failpoint_setup(const char *text, struct error *err)
{
    struct plan wanted = {.seed = (uint64_t)getpid() ^ (uint64_t)clock_monotonic_ms() << 20};
    char *copy, *rest, *part;
    int status = 0;

    if (text == NULL) {
        is_planned = false;
        return 0;
    }
    if ((copy = strdup(text)) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    rest = copy;
    while (status == 0 && (part = strsep(&rest, ",")) != NULL)
        status = parse_part(part, &wanted, err);
    free(copy);
    if (status == -1)
        return -1;
    plan = wanted;
    for (unsigned i = 0; i < FAILPOINT_COUNT; i++)
        atomic_store(&passes[i], 0);
    is_planned = true;
    return 0;
}

/* ---- at a point ---- */

/* 0 up to 1, the same for a seed, point and pass (splitmix64's finisher, Vigna 2015). */
static double
draw(enum failpoint point)
{
    uint64_t pass = atomic_fetch_add(&passes[point], 1);
    uint64_t x = plan.seed + (pass * FAILPOINT_COUNT + point + 1) * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return (double)(x >> 11) * 0x1p-53;
}

void
failpoint_pass(enum failpoint point, int fd)
{
    if (!is_planned || plan.probability[point] <= 0 || draw(point) >= plan.probability[point])
        return;
    switch (plan.action[point]) {
    case ACTION_KILL:
        raise(SIGKILL);
        break;
    case ACTION_STOP:
        raise(SIGSTOP); /* all threads; comes back when somebody sends SIGCONT */
        break;
    case ACTION_CLOSE:
        /* Not close(): the descriptor is its owner's. One that is gone already is as good. */
        if (fd != -1)
            (void)shutdown(fd, SHUT_RDWR);
        break;
    }
}

void
failpoint_task(uint64_t seed)
{
    if (is_planned && plan.has_crash_seed && plan.crash_seed == seed)
        raise(SIGKILL);
}

#endif
