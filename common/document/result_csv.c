/*
 * result_csv.c - A finished forecast, or those of a batch, as CSV (RFC 4180).
 *
 * One line per series and step. What a request asked for decides the columns, and one request
 * made all series, so one header line serves all of them. Paths have no place here.
 */
#include "common/document/task_document.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_TEXT_MAX 32

static const char *const field_names[TASK_FIELDS] = {
    "open", "high", "low", "close", "volume", "amount"};

static void
put_float(FILE *f, float value)
{
    char text[NUMBER_TEXT_MAX];

    fputc(',', f);
    if (isfinite(value))
        fwrite(text, 1, json_format_float(value, text), f);
}

static void
put_double(FILE *f, double value)
{
    char text[NUMBER_TEXT_MAX];

    fputc(',', f);
    if (isfinite(value)) /* a deviation of one path is none */
        fwrite(text, 1, json_format_double(value, text), f);
}

/* Quoted where it must be; there are no line breaks in what we keep. */
static void
put_text(FILE *f, const char *text)
{
    bool is_quoted = strpbrk(text, ",\"") != NULL;

    if (is_quoted)
        fputc('"', f);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', f);
        fputc(*text, f);
    }
    if (is_quoted)
        fputc('"', f);
}

static void
put_header(FILE *f, const struct result *r)
{
    fputs("series_id,timestamp", f);
    for (size_t i = 0; i < TASK_FIELDS; i++)
        fprintf(f, ",%s", field_names[i]);
    for (uint32_t q = 0; q < r->output.n_quantiles; q++) {
        char quantile[NUMBER_TEXT_MAX];

        quantile[json_format_double(r->output.quantiles[q], quantile)] = '\0';
        for (size_t i = 0; i < TASK_FIELDS; i++)
            fprintf(f, ",%s_q%s", field_names[i], quantile);
    }
    if ((r->output.stats & TASK_STAT_P_UP) != 0)
        fputs(",p_up", f);
    if ((r->output.stats & TASK_STAT_RETURN) != 0)
        fputs(",return_mean,return_std", f);
    fputs("\r\n", f);
}

static void
put_step(FILE *f, const struct task_document *d, size_t step)
{
    const struct result *r = d->result;
    char time[TASK_TIME_TEXT_MAX];

    if (d->about.series_id != NULL)
        put_text(f, d->about.series_id);
    fputc(',', f);
    fwrite(time, 1, task_time_format(&r->times[step], 'T', time), f);
    for (size_t i = 0; i < TASK_FIELDS; i++)
        put_float(f, r->prediction[step * TASK_FIELDS + i]);
    for (uint32_t q = 0; q < r->output.n_quantiles; q++) {
        for (size_t i = 0; i < TASK_FIELDS; i++)
            put_float(f, (float)r->quantiles[(q * TASK_FIELDS + i) * r->n_horizon + step]);
    }
    if ((r->output.stats & TASK_STAT_P_UP) != 0)
        put_double(f, r->stats.p_up[step]);
    if ((r->output.stats & TASK_STAT_RETURN) != 0) {
        put_double(f, r->stats.return_mean[step]);
        put_double(f, r->stats.return_std[step]);
    }
    fputs("\r\n", f);
}

int
task_data_write_csv(const struct task_document *d, char **text, size_t *len)
{
    const struct task_document *all = d->members != NULL ? d->members : d;
    size_t n = d->members != NULL ? d->n_members : 1;
    bool has_header = false, has_failed;
    FILE *f;

    *text = NULL;
    if ((f = open_memstream(text, len)) == NULL)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (all[i].result == NULL)
            continue;
        if (!has_header)
            put_header(f, all[i].result);
        has_header = true;
        for (size_t step = 0; step < all[i].result->n_horizon; step++)
            put_step(f, &all[i], step);
    }
    has_failed = ferror(f) != 0;
    if (fclose(f) != 0 || has_failed) {
        free(*text);
        *text = NULL;
        return -1;
    }
    return 0;
}
