/*
 * csv.c - Candles from a CSV file.
 *
 * Only what is needed to send them: fields are split at commas, numbers are read,
 * times stay text. What a candle may contain is the server's to judge, so that one
 * place decides and every client hears the same words.
 */
#include "cli/csv.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <time.h>

#define COLUMNS_MAX 64

enum field { TIME, OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT, FIELDS };

static const char *const field_names[FIELDS] = {
    "timestamp", "open", "high", "low", "close", "volume", "amount"};

static enum field
field_from_name(const char *name)
{
    static const char *const times[] = {"time", "timestamps", "date", "datetime", "open_time"};

    for (int f = 0; f < FIELDS; f++) {
        if (strcasecmp(name, field_names[f]) == 0)
            return (enum field)f;
    }
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (strcasecmp(name, times[i]) == 0)
            return TIME;
    }
    return FIELDS;
}

/* Split ${line} in place at commas; blanks, a line end and surrounding quotes are dropped. */
static size_t
split(char *line, char *columns[COLUMNS_MAX])
{
    size_t n = 0;
    char *rest = line, *column;

    while (n < COLUMNS_MAX && (column = strsep(&rest, ",")) != NULL) {
        char *end;

        while (isspace((unsigned char)*column))
            column++;
        end = column + strlen(column);
        while (end > column && isspace((unsigned char)end[-1]))
            end--;
        if (end - column >= 2 && *column == '"' && end[-1] == '"') {
            column++;
            end--;
        }
        *end = '\0';
        columns[n++] = column;
    }
    return n;
}

static int
read_number(const char *text, enum field field, const char *name, size_t line_number, double *out,
    struct error *err)
{
    char *end;

    if (*text == '\0' && (field == VOLUME || field == AMOUNT)) {
        *out = NAN;
        return 0;
    }
    errno = 0;
    *out = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(*out))
        return error_set(err, ERR_INVALID, "%s:%zu: %s is no number: '%.40s'", name, line_number,
            field_names[field], text);
    return 0;
}

static int
read_header(char *line, const char *name, int places[FIELDS], struct error *err)
{
    char *columns[COLUMNS_MAX];
    size_t n = split(line, columns);

    for (int f = 0; f < FIELDS; f++)
        places[f] = -1;
    for (size_t i = 0; i < n; i++) {
        enum field f = field_from_name(columns[i]);

        if (f == FIELDS)
            continue;
        if (places[f] != -1)
            return error_set(err, ERR_INVALID, "%s:1: two columns are called %s", name, columns[i]);
        places[f] = (int)i;
    }
    for (int f = 0; f < VOLUME; f++) {
        if (places[f] == -1)
            return error_set(err, ERR_INVALID,
                "%s:1: no column '%s'; the first line must name timestamp, open, high, low, close",
                name, field_names[f]);
    }
    return 0;
}

static int
read_row(char *line, const char *name, size_t line_number, const int places[FIELDS],
    struct candle *row, struct error *err)
{
    double *const values[FIELDS] = {
        NULL, &row->open, &row->high, &row->low, &row->close, &row->volume, &row->amount};
    char *columns[COLUMNS_MAX];
    size_t n = split(line, columns);

    for (int f = 0; f < FIELDS; f++) {
        const char *text;

        if (places[f] == -1) {
            *values[f] = NAN;
            continue;
        }
        if ((size_t)places[f] >= n)
            return error_set(
                err, ERR_INVALID, "%s:%zu: no value for %s", name, line_number, field_names[f]);
        text = columns[places[f]];
        if (f != TIME) {
            if (read_number(text, (enum field)f, name, line_number, values[f], err) == -1)
                return -1;
        } else {
            size_t len = strlen(text);

            if (len == 0 || len >= CANDLE_TIME_MAX)
                return error_set(err, ERR_INVALID,
                    "%s:%zu: timestamp has %zu characters, wanted 1 to %d", name, line_number, len,
                    CANDLE_TIME_MAX - 1);
            memcpy(row->time, text, len + 1);
        }
    }
    return 0;
}

/* Room for one more row, doubling. */
static struct candle *
next_row(struct candles *out, size_t *capacity, struct error *err)
{
    if (out->n == *capacity) {
        size_t wanted = *capacity > 0 ? *capacity * 2 : 512;
        struct candle *rows;

        if (wanted > CANDLES_READ_MAX * 2)
            return error_set(err, ERR_INVALID, "more than %d rows", CANDLES_READ_MAX), NULL;
        if ((rows = realloc(out->rows, wanted * sizeof(*rows))) == NULL)
            return error_set(err, ERR_MEMORY, "out of memory at row %zu", out->n), NULL;
        out->rows = rows;
        *capacity = wanted;
    }
    return &out->rows[out->n];
}

int
csv_read(FILE *in, const char *name, struct candles *out, struct error *err)
{
    size_t size = 0, capacity = 0, line_number = 0;
    int places[FIELDS];
    char *line = NULL;
    ssize_t len;

    *out = (struct candles){0};
    while ((len = getline(&line, &size, in)) != -1) {
        struct candle *row;
        char *text = line;

        line_number++;
        if (line_number == 1) {
            if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
                text += 3; /* spreadsheets write a byte order mark */
            if (read_header(text, name, places, err) == -1)
                goto fail;
            continue;
        }
        if (text[strspn(text, " \t\r\n")] == '\0')
            continue;
        if ((row = next_row(out, &capacity, err)) == NULL ||
            read_row(text, name, line_number, places, row, err) == -1)
            goto fail;
        out->n++;
    }
    if (ferror(in)) {
        error_errno(err, "read %s", name);
        goto fail;
    }
    if (out->n == 0) {
        error_set(err, ERR_INVALID, "%s has no candles", name);
        goto fail;
    }
    free(line);
    return 0;

fail:
    free(line);
    csv_clear(out);
    return -1;
}

void
csv_clear(struct candles *candles)
{
    free(candles->rows);
    *candles = (struct candles){0};
}

/* Wall-clock seconds, good enough for a distance; an offset is the same on both sides. */
static bool
wall_seconds(const char *text, long *seconds)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%d", &tm);
    char *end;

    if (rest != NULL) {
        int h = 0, m = 0, s = 0;

        if (*rest != '\0' && sscanf(rest + 1, "%2d:%2d:%2d", &h, &m, &s) < 2)
            return false;
        tm.tm_hour = h;
        tm.tm_min = m;
        tm.tm_sec = s;
        *seconds = (long)timegm(&tm);
        return true;
    }
    double x = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(x))
        return false;
    *seconds = (long)(fabs(x) > 2e10 ? x / 1000 : x); /* the server's rule for milliseconds */
    return true;
}

static int
compare_longs(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;

    return (x > y) - (x < y);
}

long
csv_interval_seconds(const struct candles *candles)
{
    size_t n = 0, best_count = 0;
    long previous, best = 0;
    long *distances;

    if (candles->n < 2 || (distances = calloc(candles->n, sizeof(*distances))) == NULL)
        return 0;
    if (wall_seconds(candles->rows[0].time, &previous)) {
        for (size_t i = 1; i < candles->n; i++) {
            long now;

            if (!wall_seconds(candles->rows[i].time, &now))
                break;
            if (now > previous)
                distances[n++] = now - previous;
            previous = now;
        }
    }
    qsort(distances, n, sizeof(*distances), compare_longs);
    for (size_t i = 0, run = 0; i < n; i++) {
        run = i > 0 && distances[i] == distances[i - 1] ? run + 1 : 1;
        if (run > best_count) {
            best_count = run;
            best = distances[i];
        }
    }
    free(distances);
    return best;
}
