/*
 * task_time.c - A bar's wall clock as text.
 *
 * Proleptic Gregorian, years 1900..2261; the offset stays the one the client wrote.
 */
#include "common/task.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US   (60 * MINUTE_US)
#define DAY_US    (24 * HOUR_US)

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Years begin in March, so that the leap day is the last of its year; 400 years have 146097 days. */
static void
date_of_days(int64_t days, int *year, int *month, int *day)
{
    int64_t shifted = days + 719468;
    int64_t era = floor_div(shifted, 146097);
    int64_t d = shifted - era * 146097;
    int64_t year_of_era = (d - d / 1460 + d / 36524 - d / 146096) / 365;
    int64_t day_of_year = d - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t m = (5 * day_of_year + 2) / 153;

    *day = (int)(day_of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

size_t
task_time_format(const struct task_time *time, char separator, char *text)
{
    int64_t days = floor_div(time->wall_us, DAY_US);
    int64_t of_day = time->wall_us - days * DAY_US;
    int year, month, day, offset = time->offset_minutes;
    int len;

    date_of_days(days, &year, &month, &day);
    len = snprintf(text, TASK_TIME_TEXT_MAX, "%04d-%02d-%02d%c%02d:%02d:%02d", year, month, day,
        separator, (int)(of_day / HOUR_US), (int)(of_day / MINUTE_US % 60),
        (int)(of_day / SECOND_US % 60));
    if (of_day % SECOND_US != 0)
        len += snprintf(
            text + len, TASK_TIME_TEXT_MAX - (size_t)len, ".%06d", (int)(of_day % SECOND_US));
    if (offset == 0 && separator != ' ') {
        text[len++] = 'Z';
        text[len] = '\0';
    } else if (offset != TASK_NO_OFFSET) {
        len += snprintf(text + len, TASK_TIME_TEXT_MAX - (size_t)len, "%c%02d:%02d",
            offset < 0 ? '-' : '+', abs(offset) / 60, abs(offset) % 60);
    }
    return (size_t)len;
}
