/*
 * times.h - Times of candles: text or number -> wall clock. Back is task_time_format().
 *
 * The wall clock is kept as written; instants are only used to compare.
 */
#ifndef API_TIMES_H
#define API_TIMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/task.h"

enum times_fault { TIMES_OK, TIMES_FORMAT, TIMES_RANGE /* year outside 1900..2261 */ };

/** times_parse(text, len, time, reason): the forms of the contract; ${reason} gets a static text on TIMES_FORMAT. */
enum times_fault times_parse(
    const char *text, size_t len, struct task_time *time, const char **reason);

/** times_from_epoch(x, time): seconds, or milliseconds if |x| > 2e10; read as UTC. */
enum times_fault times_from_epoch(double x, struct task_time *time);

struct times_interval {
    uint32_t count; /* 1..99999 */
    char unit;      /* 's' 'm' (min) 'h' 'd' 'w' */
};
int times_parse_interval(
    const char *text, size_t len, struct times_interval *interval); /* 0 or -1 */

/** times_next(time, interval, weekdays_only): the next bar's wall clock; Saturdays and Sundays stepped over if asked. */
struct task_time times_next(
    struct task_time time, struct times_interval interval, bool weekdays_only);

/** times_on_weekday(time, interval): ${time}, or the first bar after it that is on no weekend. */
struct task_time times_on_weekday(struct task_time time, struct times_interval interval);

/** times_is_in_range(time): stepping may leave the years 1900..2261; then the request is refused. */
bool times_is_in_range(const struct task_time *time);

#endif /* API_TIMES_H */
