/*
 * The terminal chart: every line fits the width, whatever the numbers, and what is drawn is
 * what was given.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/chart.h"

static struct candle
bar(int i, double open, double high, double low, double close, double volume)
{
    struct candle c = {
        .open = open, .high = high, .low = low, .close = close, .volume = volume, .amount = NAN};

    snprintf(c.time, sizeof(c.time), "2024-01-01T%02d:%02d:00", i / 60 % 24, i % 60);
    return c;
}

static const struct chart_band *drawn_band; /* of the next draw() */

static char *
draw(const struct candle *past, size_t n_past, const struct candle *next, size_t n_next,
    struct chart_options options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    chart_draw(out, past, n_past, next, n_next, drawn_band, &options);
    fclose(out);
    return text;
}

/* Characters (not bytes) of the widest line; counts the lines too. */
static int
widest(const char *text, int *lines)
{
    int most = 0, now = 0;

    *lines = 0;
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            most = now > most ? now : most;
            now = 0;
            ++*lines;
        } else if ((*text & 0xC0) != 0x80) {
            now++;
        }
    }
    return most;
}

static void
a_rising_bar_is_a_body_between_its_wicks(void **state)
{
    /* Ten pixels of about one price unit each: body 4..6, wicks to 0 and 10. */
    struct candle past = bar(0, 4.2, 9.9, 0.1, 5.8, 1), next = bar(1, 0.1, 0.4, 0.1, 0.1, 0);
    char *text = draw(&past, 1, &next, 1, (struct chart_options){.width = 40, .height = 5});
    char column[64] = "";

    (void)state;
    for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n') + 1) {
        const char *axis = strstr(line, "┤");

        if (axis == NULL || axis > strchr(line, '\n'))
            axis = strstr(line, "│");
        if (axis == NULL || axis > strchr(line, '\n'))
            break;
        axis += strlen("│");
        strncat(column, axis, (*axis & 0x80) != 0 ? 3 : 1);
    }
    assert_string_equal(column, "│"
                                "│"
                                "█"
                                "│"
                                "│");
    free(text);
}

static void
every_line_fits_the_width_for_any_number_of_bars(void **state)
{
    enum { MOST = 2048 };
    struct candle *bars = calloc(MOST, sizeof(*bars));
    static const size_t counts[] = {1, 2, 3, 29, 100, 399, 400, 512, 1500};
    static const int widths[] = {1, 40, 80, 100, 237, 1000};

    (void)state;
    assert_non_null(bars);
    for (int i = 0; i < MOST; i++)
        bars[i] = bar(i, 100 + i % 7, 110 + i % 5, 90 - i % 3, 101 + i % 4, i % 11);
    for (size_t a = 0; a < sizeof(counts) / sizeof(counts[0]); a++) {
        for (size_t b = 0; b < sizeof(counts) / sizeof(counts[0]) - 1; b++) {
            for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++) {
                int lines, limit = widths[w] < 40 ? 40 : widths[w];
                char *text = draw(bars, counts[a], bars + 512, counts[b],
                    (struct chart_options){.width = widths[w], .height = 10});

                assert_in_range(widest(text, &lines), 1, limit);
                assert_int_equal(lines, 12); /* prices, volume, times */
                free(text);
            }
        }
    }
    free(bars);
}

static void
flat_prices_no_volume_and_huge_numbers_are_drawn(void **state)
{
    static const double levels[] = {0.0001, 1, 1e15, 0};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct candle past[3], next[2];
        int lines;
        char *text;

        for (int j = 0; j < 3; j++)
            past[j] = bar(j, levels[i], levels[i], levels[i], levels[i], NAN);
        for (int j = 0; j < 2; j++)
            next[j] = bar(j, levels[i], levels[i], levels[i], levels[i], 0);
        text = draw(past, 3, next, 2, (struct chart_options){.width = 60, .height = 6});
        widest(text, &lines);
        assert_int_equal(lines, 7); /* no volume row */
        assert_non_null(strstr(text, "█") != NULL   ? text
                        : strstr(text, "▀") != NULL ? text
                                                    : strstr(text, "▄"));
        assert_null(strstr(text, "nan"));
        free(text);
    }
}

static void
a_band_is_shaded_behind_the_forecast_and_belongs_to_the_axis(void **state)
{
    const struct chart_options options = {.width = 60, .height = 10};
    struct candle past[8], next[4];
    struct chart_band band[4];
    char *text;
    int lines, shades = 0;

    (void)state;
    for (int i = 0; i < 8; i++)
        past[i] = bar(i, 100, 101, 99, 100, NAN);
    for (int i = 0; i < 4; i++) {
        next[i] = bar(8 + i, 100, 100.5, 99.5, 100, NAN);
        band[i] = (struct chart_band){.low = 90, .high = 110};
    }
    drawn_band = band;
    text = draw(past, 8, next, 4, options);
    drawn_band = NULL;
    assert_true(widest(text, &lines) <= 60);
    for (const char *p = text; (p = strstr(p, "░")) != NULL; p++)
        shades++;
    /* ten rows of four bars, but for the row or two that their candles have */
    assert_in_range(shades, 4 * 8, 4 * 9);
    assert_non_null(strstr(text, "109"));
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_band_is_shaded_behind_the_forecast_and_belongs_to_the_axis),
        cmocka_unit_test(a_rising_bar_is_a_body_between_its_wicks),
        cmocka_unit_test(every_line_fits_the_width_for_any_number_of_bars),
        cmocka_unit_test(flat_prices_no_volume_and_huge_numbers_are_drawn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
