/*
 * clock.c - CLOCK_MONOTONIC and CLOCK_REALTIME in milliseconds.
 *
 * A test may replace either; the pointers are atomic because the worker's
 * threads read them while a test's main thread sets them.
 */
#include "common/clock.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define MS_PER_SECOND 1000
#define MAX_WALL_MS   INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z: four digits of year */

static int64_t (*_Atomic replaced_monotonic_ms)(void);
static int64_t (*_Atomic replaced_wall_ms)(void);

static int64_t
read_clock_ms(clockid_t which)
{
    struct timespec now;

    clock_gettime(which, &now); /* cannot fail for these two clocks */
    return (int64_t)now.tv_sec * MS_PER_SECOND + now.tv_nsec / 1000000;
}

int64_t
clock_monotonic_ms(void)
{
    int64_t (*replaced)(void) = atomic_load(&replaced_monotonic_ms);

    return replaced != NULL ? replaced() : read_clock_ms(CLOCK_MONOTONIC);
}

double
clock_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int64_t
clock_wall_ms(void)
{
    int64_t (*replaced)(void) = atomic_load(&replaced_wall_ms);

    return replaced != NULL ? replaced() : read_clock_ms(CLOCK_REALTIME);
}

static void
put_digits(char *text, int n, int value)
{
    while (n-- > 0) {
        text[n] = (char)('0' + value % 10);
        value /= 10;
    }
}

_Static_assert(sizeof("0000-00-00T00:00:00.000Z") <= CLOCK_RFC3339_MAX, "a time fits");

void
clock_format_ms(int64_t wall_ms, char *text)
{
    static const char form[] = "0000-00-00T00:00:00.000Z";
    struct tm utc;
    time_t seconds;
    int ms;

    /* Times read from Redis come here too: a hostile one must not need a fifth digit. */
    if (wall_ms < 0)
        wall_ms = 0;
    if (wall_ms > MAX_WALL_MS)
        wall_ms = MAX_WALL_MS;
    seconds = (time_t)(wall_ms / MS_PER_SECOND);
    ms = (int)(wall_ms % MS_PER_SECOND);
    gmtime_r(&seconds, &utc);
    /* by hand: there are several in every document, and printf() takes longer than all else */
    memcpy(text, form, sizeof(form));
    put_digits(text, 4, utc.tm_year + 1900);
    put_digits(text + 5, 2, utc.tm_mon + 1);
    put_digits(text + 8, 2, utc.tm_mday);
    put_digits(text + 11, 2, utc.tm_hour);
    put_digits(text + 14, 2, utc.tm_min);
    put_digits(text + 17, 2, utc.tm_sec);
    put_digits(text + 20, 3, ms);
}

void
clock_replace(int64_t (*monotonic_ms)(void), int64_t (*wall_ms)(void))
{
    atomic_store(&replaced_monotonic_ms, monotonic_ms);
    atomic_store(&replaced_wall_ms, wall_ms);
}
