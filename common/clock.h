/*
 * clock.h - The two clocks, and a way for tests to replace them.
 *
 * Nothing here decides who holds a task: only Redis TIME does that.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/** clock_monotonic_ms(): milliseconds that never go back; for durations and timeouts. */
int64_t clock_monotonic_ms(void);

/** clock_wall_ms(): milliseconds since 1970 UTC; for log lines and documents only. */
int64_t clock_wall_ms(void);

/** clock_seconds(): monotonic, as fine as it gets, and never replaced: for what is measured. */
double clock_seconds(void);

#define CLOCK_RFC3339_MAX 32

/** clock_format_ms(ms, text): "2026-01-05T08:30:00.123Z" into ${text} [CLOCK_RFC3339_MAX]. */
void clock_format_ms(int64_t wall_ms, char *text);

/** clock_replace(monotonic, wall): tests put their own clocks in; NULL puts the real one back. */
void clock_replace(int64_t (*monotonic_ms)(void), int64_t (*wall_ms)(void));

#endif /* COMMON_CLOCK_H */
