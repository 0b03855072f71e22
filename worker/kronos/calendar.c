/*
 * calendar.c - Minutes to minute, hour, weekday, day and month. No libc: gmtime's range and
 * locks are not wanted on the way of every bar.
 */
#include "worker/kronos/calendar.h"

#define MINUTES_A_DAY 1440

bool
calendar_split(int64_t minutes, struct calendar *out)
{
    int64_t days, minute_of_day, day_of_era, year_of_era, day_of_year, month;

    if (minutes < CALENDAR_MINUTES_MIN || minutes > CALENDAR_MINUTES_MAX)
        return false;
    /* Floor division: before 1970 the remainder would be negative. */
    days = minutes / MINUTES_A_DAY;
    minute_of_day = minutes % MINUTES_A_DAY;
    if (minute_of_day < 0) {
        minute_of_day += MINUTES_A_DAY;
        days--;
    }
    out->minute = (uint8_t)(minute_of_day % 60);
    out->hour = (uint8_t)(minute_of_day / 60);
    out->weekday = (uint8_t)(((days + 3) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */

    /*
     * Count days from 1600-03-01, the start of a 400-year era whose years end in February:
     * the leap day comes last, and months follow the pattern 31 30 31 30 31 of 153 days.
     */
    day_of_era = (days + 135080) % 146097;
    year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    month = (5 * day_of_year + 2) / 153; /* 0 is March */
    out->day = (uint8_t)(day_of_year - (153 * month + 2) / 5 + 1);
    out->month = (uint8_t)(month < 10 ? month + 3 : month - 9);
    return true;
}
