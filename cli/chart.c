/*
 * chart.c - History and forecast as candlesticks in a terminal.
 *
 * A character cell is two pixels high (half blocks), so 20 rows show 40 price levels.
 */
#include "cli/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_WIDTH 10
#define AXIS_WIDTH  (LABEL_WIDTH + 2) /* "  66450.25 ┤" */
#define COLUMNS_MAX 400
#define ROWS_MAX    100
#define HISTORY_PER_FORECAST                                                                       \
    2 /* bars of history shown for each bar of forecast, where there are as many */

enum pixel { PIXEL_NONE, PIXEL_WICK, PIXEL_BODY };

struct column {
    double open, high, low, close, volume;
    struct chart_band band; /* empty where there is none: low above high */
    bool is_forecast;
};

static const struct chart_band no_band = {INFINITY, -INFINITY};

/* Put ${n} bars into ${columns}, ${per_column} each; returns the columns used. */
static size_t
gather(const struct candle *bars, size_t n, size_t per_column, bool is_forecast,
    const struct chart_band *band, struct column *columns)
{
    size_t used = 0;

    for (size_t i = 0; i < n; i += per_column, used++) {
        struct column *c = &columns[used];
        size_t end = i + per_column < n ? i + per_column : n;

        *c = (struct column){.open = bars[i].open,
            .high = bars[i].high,
            .low = bars[i].low,
            .close = bars[end - 1].close,
            .band = no_band,
            .is_forecast = is_forecast};
        for (size_t j = i; j < end; j++) {
            c->high = fmax(c->high, fmax(bars[j].high, fmax(bars[j].open, bars[j].close)));
            c->low = fmin(c->low, fmin(bars[j].low, fmin(bars[j].open, bars[j].close)));
            if (isfinite(bars[j].volume) && bars[j].volume > 0)
                c->volume += bars[j].volume;
            if (band != NULL) {
                c->band.low = fmin(c->band.low, band[j].low);
                c->band.high = fmax(c->band.high, band[j].high);
            }
        }
    }
    return used;
}

/* The pixel of ${c} at the price band [bottom, top). */
static enum pixel
pixel_at(const struct column *c, double bottom, double top)
{
    double body_low = fmin(c->open, c->close), body_high = fmax(c->open, c->close);

    if (body_high >= bottom && body_low < top)
        return PIXEL_BODY;
    if (c->high >= bottom && c->low < top)
        return PIXEL_WICK;
    return PIXEL_NONE;
}

static const char *
cell(enum pixel upper, enum pixel lower)
{
    static const char *const glyphs[3][3] = {
        {" ", "╷", "▄"},
        {"╵", "│", "▄"},
        {"▀", "▀", "█"},
    };

    return glyphs[upper][lower];
}

/* A shade fills its whole cell, so it stands where the candle leaves both halves free. */
static bool
is_shaded(const struct column *c, double bottom, double top)
{
    return c->band.high >= bottom && c->band.low < top;
}

static const char *
color_of(const struct column *c)
{
    if (c->is_forecast)
        return c->close >= c->open ? "\033[96m" : "\033[95m"; /* cyan, magenta: not yet real */
    return c->close >= c->open ? "\033[32m" : "\033[31m";
}

/* Digits after the point that tell neighbouring rows apart. */
static int
decimals_for(double step)
{
    int decimals = step > 0 ? (int)ceil(1 - log10(step)) : 2;

    return decimals < 0 ? 0 : decimals > 8 ? 8 : decimals;
}

static void
draw_volume(FILE *out, const struct column *columns, size_t n, size_t n_left, bool color)
{
    static const char *const bars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double most = 0;

    for (size_t i = 0; i < n; i++)
        most = fmax(most, columns[i].volume);
    if (most <= 0)
        return;
    fprintf(out, "%*s ", AXIS_WIDTH - 1, "volume");
    for (size_t i = 0; i < n; i++) {
        if (i == n_left)
            fputs("┊", out);
        if (color)
            fputs(color_of(&columns[i]), out);
        fputs(bars[(int)ceil(columns[i].volume / most * 8)], out);
        if (color)
            fputs("\033[0m", out);
    }
    fputc('\n', out);
}

/*
 * The times below the chart: first bar, first bar of the forecast, last bar; those that have no
 * room are left out.
 */
static void
draw_times(
    FILE *out, const char *first, const char *seam, const char *last, size_t n_left, size_t n_right)
{
    enum { DATE_AND_MINUTE = 16 }; /* without seconds and offset */
    size_t first_len = strnlen(first, DATE_AND_MINUTE), seam_len = strnlen(seam, DATE_AND_MINUTE);
    size_t last_len = strnlen(last, DATE_AND_MINUTE), used = 0;

    fprintf(out, "%*s", AXIS_WIDTH, "");
    if (n_left > first_len)
        used = (size_t)fprintf(out, "%.*s", (int)first_len, first);
    fprintf(out, "%*s└", (int)(n_left - used), "");
    used = 0;
    if (n_right >= seam_len)
        used = (size_t)fprintf(out, "%.*s", (int)seam_len, seam);
    if (n_right > used + last_len)
        fprintf(out, "%*s%.*s", (int)(n_right - used - last_len), "", (int)last_len, last);
    fputc('\n', out);
}

/* A price right-aligned before the axis; exponents where the digits have no room. */
static void
draw_label(FILE *out, double price, int decimals)
{
    char text[400];

    if (snprintf(text, sizeof(text), "%.*f", decimals, price) > LABEL_WIDTH)
        snprintf(text, sizeof(text), "%.3e", price);
    fprintf(out, "%*s ┤", LABEL_WIDTH, text);
}

void
chart_draw(FILE *out, const struct candle *history, size_t n_history, const struct candle *forecast,
    size_t n_forecast, const struct chart_band *band, const struct chart_options *options)
{
    int width = options->width < 40 ? 40 : options->width;
    int height = options->height < 5 ? 5 : options->height > ROWS_MAX ? ROWS_MAX : options->height;
    size_t room = (size_t)(width - AXIS_WIDTH - 1);
    size_t shown, per_column, n, n_left;
    struct column columns[COLUMNS_MAX];
    double low = INFINITY, high = -INFINITY, step;
    int decimals;

    if (n_history == 0 || n_forecast == 0)
        return;
    if (room > COLUMNS_MAX - 2)
        room = COLUMNS_MAX - 2;

    shown = n_forecast * HISTORY_PER_FORECAST;
    if (shown < room / 3)
        shown = room / 3;
    if (shown > n_history)
        shown = n_history;
    history += n_history - shown;
    per_column = (shown + n_forecast + room - 1) / room;
    while (
        (shown + per_column - 1) / per_column + (n_forecast + per_column - 1) / per_column > room)
        per_column++;

    n_left = gather(history, shown, per_column, false, NULL, columns);
    n = n_left + gather(forecast, n_forecast, per_column, true, band, columns + n_left);
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, fmin(columns[i].low, columns[i].band.low));
        high = fmax(high, fmax(columns[i].high, columns[i].band.high));
    }
    if (!(high > low)) { /* constant prices still get a line */
        high += fabs(high) * 1e-6 + 1e-9;
        low -= fabs(low) * 1e-6 + 1e-9;
    }
    step = (high - low) / (height * 2);
    high += step / 2; /* the highest high lies inside the top pixel */
    low -= step / 2;
    step = (high - low) / (height * 2);
    decimals = decimals_for(step * 2);

    for (int row = 0; row < height; row++) {
        /* From one formula, so that no price falls between two pixels by rounding. */
        double top = high - (2 * row) * step, middle = high - (2 * row + 1) * step;
        double bottom = high - (2 * row + 2) * step;

        if (row % 4 == 0 || row == height - 1)
            draw_label(out, middle, decimals);
        else
            fprintf(out, "%*s │", LABEL_WIDTH, "");
        for (size_t i = 0; i < n; i++) {
            enum pixel upper = pixel_at(&columns[i], middle, top);
            enum pixel lower = pixel_at(&columns[i], bottom, middle);

            if (i == n_left)
                fputs("┊", out);
            if (upper == PIXEL_NONE && lower == PIXEL_NONE && is_shaded(&columns[i], bottom, top))
                fputs(options->color ? "\033[2m░\033[0m" : "░", out);
            else if (options->color && (upper != PIXEL_NONE || lower != PIXEL_NONE))
                fprintf(out, "%s%s\033[0m", color_of(&columns[i]), cell(upper, lower));
            else
                fputs(cell(upper, lower), out);
        }
        fputc('\n', out);
    }
    draw_volume(out, columns, n, n_left, options->color);
    draw_times(
        out, history[0].time, forecast[0].time, forecast[n_forecast - 1].time, n_left, n - n_left);
}
