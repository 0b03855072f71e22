/*
 * report.c - The JSON of report.h, built with cJSON.
 */
#include "tests/bench/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static cJSON *
sound(cJSON *item)
{
    if (item == NULL)
        measure_die("report", "out of memory");
    return item;
}

struct cJSON *
report_new(const char *benchmark)
{
    cJSON *report = sound(cJSON_CreateObject());

    report_number(report, "format", REPORT_FORMAT);
    report_text(report, "benchmark", benchmark);
    sound(cJSON_AddArrayToObject(report, "rows"));
    return report;
}

struct cJSON *
report_part(struct cJSON *report, const char *name)
{
    cJSON *part = cJSON_GetObjectItemCaseSensitive(report, name);

    return part != NULL ? part : sound(cJSON_AddObjectToObject(report, name));
}

struct cJSON *
report_row(struct cJSON *report, const char *name, const char *unit, enum report_better better,
    struct summary value)
{
    cJSON *row = sound(cJSON_CreateObject());

    report_text(row, "name", name);
    report_text(row, "unit", unit);
    report_text(row, "better", better == REPORT_LOWER ? "lower" : "higher");
    report_number(row, "value", value.median);
    if (value.n > 0) {
        report_number(row, "low", value.low);
        report_number(row, "high", value.high);
        report_number(row, "n", (double)value.n);
    }
    if (!cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(report, "rows"), row))
        sound(NULL);
    return row;
}

void
report_number(struct cJSON *part, const char *name, double value)
{
    sound(cJSON_AddNumberToObject(part, name, value));
}

void
report_text(struct cJSON *part, const char *name, const char *value)
{
    sound(cJSON_AddStringToObject(part, name, value));
}

void
report_write(struct cJSON *report, const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    char *text = cJSON_Print(report);

    if (text == NULL)
        measure_die("report", "out of memory");
    if (f == NULL || fprintf(f, "%s\n", text) < 0 || fflush(f) != 0)
        measure_die(path, strerror(errno));
    if (f != stdout && fclose(f) != 0)
        measure_die(path, strerror(errno));
    cJSON_free(text);
    cJSON_Delete(report);
}
