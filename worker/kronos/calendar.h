/*
 * calendar.h - The five time features of a bar, from minutes since 1970 on its own clock.
 */
#ifndef WORKER_KRONOS_CALENDAR_H
#define WORKER_KRONOS_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

/* 1900-01-01T00:00 and 2261-12-31T23:59, proleptic Gregorian; no leap seconds, no zones. */
#define CALENDAR_MINUTES_MIN INT64_C(-36816480)
#define CALENDAR_MINUTES_MAX INT64_C(153577439)

struct calendar {
    uint8_t minute;  /* 0..59 */
    uint8_t hour;    /* 0..23 */
    uint8_t weekday; /* Monday = 0 .. 6 */
    uint8_t day;     /* 1..31 */
    uint8_t month;   /* 1..12 */
};

/** calendar_split(minutes, out): false when ${minutes} is outside 1900..2261. */
bool calendar_split(int64_t minutes, struct calendar *out);

#endif /* WORKER_KRONOS_CALENDAR_H */
