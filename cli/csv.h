/*
 * csv.h - Candles from a CSV file.
 */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include <stddef.h>
#include <stdio.h>

#include "common/error.h"

#define CANDLE_TIME_MAX  40
#define CANDLES_READ_MAX 1000000 /* rows of a file; a request takes the last 2048 at most */

struct candle {
    char time[CANDLE_TIME_MAX];    /* as written; the server judges it */
    double open, high, low, close; /* quote currency */
    double volume, amount;         /* NaN where the file has none */
};

struct candles {
    struct candle *rows; /* oldest first; csv_clear() frees */
    size_t n;
};

/**
 * csv_read(in, name, out, err):
 * A header line names the columns, in any order and case: timestamp (or time, date,
 * datetime), open, high, low, close and, if there, volume and amount; others are
 * ignored. Empty volume or amount is absent. ERR_INVALID with "NAME:LINE: ..." otherwise.
 */
int csv_read(FILE *in, const char *name, struct candles *out, struct error *err);
void csv_clear(struct candles *candles);

/**
 * csv_interval_seconds(candles): the most frequent distance of neighbouring
 * timestamps, so that a night or a missing bar does not matter; 0 if unknown.
 */
long csv_interval_seconds(const struct candles *candles);

#endif /* CLI_CSV_H */
