/*
 * times.c - Times of candles: reading, stepping.
 *
 * A time is the client's wall clock and the offset it wrote; nothing is ever converted to
 * another zone. The reasons are those FastAPI clients know from pydantic.
 */
#include "api/times.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/decimal.h"

#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US   (60 * MINUTE_US)
#define DAY_US    (24 * HOUR_US)
#define WEEK_US   (7 * DAY_US)

/* Epoch numbers above this are milliseconds; as seconds it would be the year 2603. */
#define MILLISECONDS_ABOVE 2e10

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since 1970-01-01 of a proleptic Gregorian date, year >= 0: years begin in March, so that
 * the leap day is the last of its year; 400 years have 146097 days. */
static int64_t
days_of_date(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static int
days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && is_leap ? 29 : days[month - 1];
}

static bool
is_in_range(int64_t wall_us)
{
    return wall_us >= TASK_WALL_US_MIN && wall_us <= TASK_WALL_US_MAX;
}

/* What is left to read, and why reading stopped. */
struct cursor {
    const char *at, *end;
    const char *reason;
};

static bool
refuse(struct cursor *c, const char *reason)
{
    c->reason = reason;
    return false;
}

/* Exactly ${n} digits. */
static bool
take_digits(struct cursor *c, int n, int *value, const char *reason)
{
    if (c->end - c->at < n)
        return refuse(c, "input is too short");
    *value = 0;
    for (int i = 0; i < n; i++, c->at++) {
        if (*c->at < '0' || *c->at > '9')
            return refuse(c, reason);
        *value = *value * 10 + (*c->at - '0');
    }
    return true;
}

static bool
take_char(struct cursor *c, const char *one_of, const char *reason)
{
    if (c->at == c->end)
        return refuse(c, "input is too short");
    if (*c->at == '\0' || strchr(one_of, *c->at) == NULL)
        return refuse(c, reason);
    c->at++;
    return true;
}

static bool
take_date(struct cursor *c, int *year, int64_t *wall_us)
{
    int month, day;

    if (!take_digits(c, 4, year, "invalid character in year") ||
        !take_char(c, "-", "invalid date separator, expected `-`") ||
        !take_digits(c, 2, &month, "invalid character in month") ||
        !take_char(c, "-", "invalid date separator, expected `-`") ||
        !take_digits(c, 2, &day, "invalid character in day"))
        return false;
    if (month < 1 || month > 12)
        return refuse(c, "month value is outside expected range of 1-12");
    if (day < 1 || day > days_of_month(*year, month))
        return refuse(c, "day value is outside expected range");
    *wall_us = days_of_date(*year, month, day) * DAY_US;
    return true;
}

/* ".5" after the seconds; digits after the sixth are read and dropped. */
static bool
take_fraction(struct cursor *c, int64_t *micros)
{
    int n = 0;

    *micros = 0;
    c->at++;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++, n++) {
        if (n == 9)
            return refuse(c, "second fraction value is more than 9 digits long");
        if (n < 6)
            *micros = *micros * 10 + (*c->at - '0');
    }
    if (n == 0)
        return refuse(c, "second fraction value is missing");
    for (; n < 6; n++)
        *micros *= 10;
    return true;
}

static bool
take_clock(struct cursor *c, int64_t *wall_us)
{
    int hour, minute, second = 0;
    int64_t micros = 0;

    if (!take_digits(c, 2, &hour, "invalid character in hour") ||
        !take_char(c, ":", "invalid time separator, expected `:`") ||
        !take_digits(c, 2, &minute, "invalid character in minute"))
        return false;
    if (c->at < c->end && *c->at == ':') {
        c->at++;
        if (!take_digits(c, 2, &second, "invalid character in second"))
            return false;
        if (c->at < c->end && *c->at == '.' && !take_fraction(c, &micros))
            return false;
    }
    if (hour > 23)
        return refuse(c, "hour value is outside expected range of 0-23");
    if (minute > 59)
        return refuse(c, "minute value is outside expected range of 0-59");
    if (second > 59)
        return refuse(c, "second value is outside expected range of 0-59");
    *wall_us += hour * HOUR_US + minute * MINUTE_US + second * SECOND_US + micros;
    return true;
}

static bool
take_offset(struct cursor *c, int16_t *offset_minutes)
{
    int hours, minutes;
    char sign;

    if (c->at == c->end)
        return true; /* naive */
    sign = *c->at;
    if (sign == 'Z' || sign == 'z') {
        c->at++;
        *offset_minutes = 0;
        return true;
    }
    if (sign != '+' && sign != '-')
        return refuse(c, "unexpected extra characters at the end of the input");
    c->at++;
    if (!take_digits(c, 2, &hours, "invalid character in timezone hour"))
        return false;
    if (c->at < c->end && *c->at == ':')
        c->at++;
    if (!take_digits(c, 2, &minutes, "invalid character in timezone minute"))
        return false;
    if (hours > 23)
        return refuse(c, "timezone offset must be less than 24 hours");
    if (minutes > 59)
        return refuse(c, "timezone minute value is outside expected range of 0-59");
    *offset_minutes = (int16_t)(sign == '-' ? -(hours * 60 + minutes) : hours * 60 + minutes);
    return true;
}

/* Epoch seconds or milliseconds as text. */
static bool
is_number(const char *text, size_t len, double *value)
{
    return len > 0 && len <= DECIMAL_MAX && decimal_read(text, len, value) == len;
}

/* Two digits at ${text}; anything else makes ${bad} more than 9. */
static int
two_digits(const char *text, unsigned *bad)
{
    unsigned tens = (unsigned char)text[0] - (unsigned)'0';
    unsigned ones = (unsigned char)text[1] - (unsigned)'0';

    *bad = tens > *bad ? tens : *bad;
    *bad = ones > *bad ? ones : *bad;
    return (int)(tens * 10 + ones);
}

/*
 * The form that nearly all times have, "2025-01-01T09:15:00", in one look. False for all others, and
 * for what is wrong: times_parse() then tells what it is.
 */
static bool
parse_plain(const char *text, size_t len, struct task_time *time)
{
    int year, month, day, hour, minute, second;
    unsigned bad = 0;

    if (len != sizeof("2025-01-01T09:15:00") - 1 || text[4] != '-' || text[7] != '-' ||
        text[10] != 'T' || text[13] != ':' || text[16] != ':')
        return false;
    year = two_digits(text, &bad) * 100 + two_digits(text + 2, &bad);
    month = two_digits(text + 5, &bad);
    day = two_digits(text + 8, &bad);
    hour = two_digits(text + 11, &bad);
    minute = two_digits(text + 14, &bad);
    second = two_digits(text + 17, &bad);
    if (bad > 9 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    time->wall_us = days_of_date(year, month, day) * DAY_US + hour * HOUR_US + minute * MINUTE_US +
                    second * SECOND_US;
    time->offset_minutes = TASK_NO_OFFSET;
    return is_in_range(time->wall_us);
}

enum times_fault
times_parse(const char *text, size_t len, struct task_time *time, const char **reason)
{
    struct cursor c = {.at = text, .end = text + len};
    struct task_time parsed = {.offset_minutes = TASK_NO_OFFSET};
    double epoch;
    int year;

    if (parse_plain(text, len, time))
        return TIMES_OK;
    if (is_number(text, len, &epoch))
        return times_from_epoch(epoch, time);
    if (!take_date(&c, &year, &parsed.wall_us))
        goto malformed;
    if (c.at < c.end &&
        (!take_char(&c, "Tt ", "invalid datetime separator, expected `T`, `t` or space") ||
            !take_clock(&c, &parsed.wall_us) || !take_offset(&c, &parsed.offset_minutes)))
        goto malformed;
    if (c.at != c.end) {
        (void)refuse(&c, "unexpected extra characters at the end of the input");
        goto malformed;
    }
    if (!is_in_range(parsed.wall_us))
        return TIMES_RANGE;
    *time = parsed;
    return TIMES_OK;

malformed:
    *reason = c.reason;
    return TIMES_FORMAT;
}

enum times_fault
times_from_epoch(double x, struct task_time *time)
{
    double unit_us = fabs(x) > MILLISECONDS_ABOVE ? 1e3 : 1e6;
    double whole = floor(x);
    int64_t wall_us;

    /* Also false for NaN. The bound keeps the conversion below from overflowing. */
    if (!(fabs(whole * unit_us) <= 1e17))
        return TIMES_RANGE;
    wall_us = (int64_t)(whole * unit_us) + (int64_t)llround((x - whole) * unit_us);
    if (!is_in_range(wall_us))
        return TIMES_RANGE;
    *time = (struct task_time){.wall_us = wall_us, .offset_minutes = 0};
    return TIMES_OK;
}

int
times_parse_interval(const char *text, size_t len, struct times_interval *interval)
{
    static const struct {
        const char *name;
        char unit;
    } units[] = {{"s", 's'}, {"min", 'm'}, {"h", 'h'}, {"d", 'd'}, {"w", 'w'}};
    uint32_t count = 0;
    size_t n = 0;

    for (; n < len && text[n] >= '0' && text[n] <= '9'; n++) {
        if (n == 5)
            return -1;
        count = count * 10 + (uint32_t)(text[n] - '0');
    }
    if (n == 0 || text[0] == '0')
        return -1;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (len - n == strlen(units[i].name) && memcmp(text + n, units[i].name, len - n) == 0) {
            *interval = (struct times_interval){.count = count, .unit = units[i].unit};
            return 0;
        }
    }
    return -1;
}

static int64_t
interval_us(struct times_interval interval)
{
    int64_t unit_us = SECOND_US;

    switch (interval.unit) {
    case 'm':
        unit_us = MINUTE_US;
        break;
    case 'h':
        unit_us = HOUR_US;
        break;
    case 'd':
        unit_us = DAY_US;
        break;
    case 'w':
        unit_us = WEEK_US;
        break;
    default:
        break;
    }
    return (int64_t)interval.count * unit_us;
}

struct task_time
times_on_weekday(struct task_time time, struct times_interval interval)
{
    int64_t step_us = interval_us(interval);

    /* Whole weeks never leave a weekend: the loop ends at the last year, and the caller sees
     * a time out of range. Every pass moves on by a week or more, once it has moved at all. */
    while (is_in_range(time.wall_us)) {
        int64_t days = floor_div(time.wall_us, DAY_US);
        int64_t weekday = ((days + 3) % 7 + 7) % 7; /* 1970-01-01 was a Thursday; Monday is 0 */
        int64_t to_monday_us;

        if (weekday < 5)
            break;
        to_monday_us = (days + 7 - weekday) * DAY_US - time.wall_us;
        time.wall_us += (to_monday_us + step_us - 1) / step_us * step_us;
    }
    return time;
}

struct task_time
times_next(struct task_time time, struct times_interval interval, bool weekdays_only)
{
    time.wall_us += interval_us(interval);
    return weekdays_only ? times_on_weekday(time, interval) : time;
}

bool
times_is_in_range(const struct task_time *time)
{
    return is_in_range(time->wall_us);
}
