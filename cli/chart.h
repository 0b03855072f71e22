/*
 * chart.h - History and forecast as candlesticks in a terminal.
 */
#ifndef CLI_CHART_H
#define CLI_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/csv.h"

/* Between which prices most sampled paths close at one bar of the forecast. */
struct chart_band {
    double low, high;
};

struct chart_options {
    int width;  /* columns of the terminal, at least 40 */
    int height; /* rows of the price area, at least 5 */
    bool color; /* ANSI colours */
};

/**
 * chart_draw(out, history, n_history, forecast, n_forecast, band, options):
 * Draw the last of ${history} and all of ${forecast}, side by side, with a price axis, the
 * times of the edges and a row of volume. Neighbouring bars share a column where there are more
 * bars than columns: first open, highest high, lowest low, last close, summed volume. ${band} is
 * NULL or [n_forecast], shaded behind the forecast.
 */
void chart_draw(FILE *out, const struct candle *history, size_t n_history,
    const struct candle *forecast, size_t n_forecast, const struct chart_band *band,
    const struct chart_options *options);

#endif /* CLI_CHART_H */
