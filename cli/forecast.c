/*
 * forecast.c - `kronosq forecast FILE.csv`: submit, watch, print.
 *
 * The server judges the candles; this file only carries them there and shows what
 * comes back: the progress on stderr, the table and the chart on stdout.
 */
#include "cli/command.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/chart.h"
#include "cli/csv.h"
#include "cli/http.h"

#define STEPS_DEFAULT   120
#define STEPS_MAX       512
#define LOOKBACK_MAX    2048 /* candles of one request */
#define TABLE_EDGE      4    /* rows shown at either end of a long table */
#define POLL_SECONDS    1    /* each poll is held by the server this long */
#define TIMEOUT_SECONDS 20
#define BAND_SAMPLES    30 /* paths where --band is asked for and --samples is not */
#define CHART_HEIGHT    18
#define CHART_WIDTH     100 /* where the terminal does not say */

struct request {
    const char *file;
    const char *model, *mode, *priority, *interval;
    long steps, lookback, samples, top_k;
    long long seed;
    double temperature, top_p;
    bool has_samples, has_top_k, has_seed, has_temperature, has_top_p;
    bool json, all_rows, no_chart, quiet, raw, band;
};

static const struct option options[] = {
    {"steps", required_argument, NULL, 's'},
    {"lookback", required_argument, NULL, 'l'},
    {"interval", required_argument, NULL, 'i'},
    {"model", required_argument, NULL, 'm'},
    {"mode", required_argument, NULL, 'c'},
    {"priority", required_argument, NULL, 'P'},
    {"samples", required_argument, NULL, 'n'},
    {"temperature", required_argument, NULL, 't'},
    {"top-k", required_argument, NULL, 'k'},
    {"top-p", required_argument, NULL, 'p'},
    {"seed", required_argument, NULL, 'S'},
    {"json", no_argument, NULL, 'j'},
    {"all", no_argument, NULL, 'a'},
    {"no-chart", no_argument, NULL, 'C'},
    {"band", no_argument, NULL, 'b'},
    {"raw", no_argument, NULL, 'r'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static void
usage(FILE *out)
{
    fprintf(out,
        "usage: kronosq forecast FILE.csv [options]     (- reads standard input)\n\n"
        "  --steps N        candles to forecast, 1..512; default %d\n"
        "  --lookback N     use the last N candles of the file, 1..2048; default all, at most "
        "2048\n"
        "  --interval I     distance of the candles, such as 5min or 1h; default: read from the "
        "file\n"
        "  --model NAME     default: the server's\n"
        "  --mode M         exact, fit or block: what happens when history and steps exceed the "
        "context\n"
        "  --priority P     urgent, normal or low\n"
        "  --samples N      paths averaged into the forecast, 1..256\n"
        "  --band           also the 10 to 90 %% band of the paths' closes; %d paths if not said\n"
        "  --temperature X, --top-k N, --top-p X, --seed N\n"
        "  --json           print the task document instead of table and chart\n"
        "  --all            print every row of the table\n"
        "  --no-chart       the table only\n"
        "  --raw            as the model says it; else low and high are widened to hold open and "
        "close,\n"
        "                   and volume is at least 0\n"
        "  --quiet          no progress\n",
        STEPS_DEFAULT, BAND_SAMPLES);
}

static int
parse_long(const char *name, const char *text, long min, long max, long *out)
{
    char *end;

    errno = 0;
    *out = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *out < min || *out > max) {
        fprintf(stderr, "kronosq: --%s wants %ld to %ld, not '%s'\n", name, min, max, text);
        return -1;
    }
    return 0;
}

static int
parse_double(const char *name, const char *text, double *out)
{
    char *end;

    *out = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(*out)) {
        fprintf(stderr, "kronosq: --%s wants a number, not '%s'\n", name, text);
        return -1;
    }
    return 0;
}

/* Returns 0 to go on, else -1 with the exit status in ${status}. */
static int
parse_options(int argc, char *argv[], struct request *r, int *status)
{
    int letter, wrong = 0;

    *r = (struct request){.steps = STEPS_DEFAULT, .lookback = LOOKBACK_MAX};
    *status = COMMAND_USAGE_STATUS;
    optind = 1;
    while (wrong == 0 && (letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 's':
            wrong = parse_long("steps", optarg, 1, STEPS_MAX, &r->steps);
            break;
        case 'l':
            wrong = parse_long("lookback", optarg, 1, LOOKBACK_MAX, &r->lookback);
            break;
        case 'i':
            r->interval = optarg;
            break;
        case 'm':
            r->model = optarg;
            break;
        case 'c':
            r->mode = optarg;
            break;
        case 'P':
            r->priority = optarg;
            break;
        case 'n':
            r->has_samples = true;
            wrong = parse_long("samples", optarg, 1, 256, &r->samples);
            break;
        case 't':
            r->has_temperature = true;
            wrong = parse_double("temperature", optarg, &r->temperature);
            break;
        case 'k':
            r->has_top_k = true;
            wrong = parse_long("top-k", optarg, 0, 1024, &r->top_k);
            break;
        case 'p':
            r->has_top_p = true;
            wrong = parse_double("top-p", optarg, &r->top_p);
            break;
        case 'S': {
            long seed;

            r->has_seed = true;
            wrong = parse_long("seed", optarg, 0, (1L << 53) - 1, &seed);
            r->seed = seed;
            break;
        }
        case 'j':
            r->json = true;
            break;
        case 'a':
            r->all_rows = true;
            break;
        case 'C':
            r->no_chart = true;
            break;
        case 'b':
            r->band = true;
            break;
        case 'r':
            r->raw = true;
            break;
        case 'q':
            r->quiet = true;
            break;
        case 'h':
            usage(stdout);
            *status = 0;
            return -1;
        default: /* getopt has said what is wrong */
            wrong = -1;
        }
    }
    if (r->band && !r->has_samples) {
        r->has_samples = true;
        r->samples = BAND_SAMPLES;
    }
    if (wrong == 0 && optind == argc - 1) {
        r->file = argv[optind];
        return 0;
    }
    if (wrong == 0)
        usage(stderr);
    return -1;
}

static int
read_candles(const char *file, struct candles *candles, struct error *err)
{
    bool is_stdin = strcmp(file, "-") == 0;
    FILE *in = is_stdin ? stdin : fopen(file, "re");
    int status;

    if (in == NULL)
        return error_errno(err, "open %s", file);
    status = csv_read(in, is_stdin ? "standard input" : file, candles, err);
    if (!is_stdin)
        fclose(in);
    return status;
}

/* "5min" for 300: the largest unit that divides the distance. */
static void
format_interval(long seconds, char *text, size_t size)
{
    static const struct {
        long seconds;
        const char *name;
    } units[] = {{604800, "w"}, {86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (seconds % units[i].seconds == 0) {
            snprintf(text, size, "%ld%s", seconds / units[i].seconds, units[i].name);
            return;
        }
    }
}

/* Columns of numbers are a third shorter than rows of named numbers. */
static int
add_candles(cJSON *body, const struct candle *rows, size_t n)
{
    static const char *const names[] = {"open", "high", "low", "close", "volume", "amount"};
    cJSON *columns = cJSON_AddObjectToObject(body, "candles");
    cJSON *times = cJSON_AddArrayToObject(body, "timestamps");

    if (columns == NULL || times == NULL)
        return -1;
    for (int f = 0; f < 6; f++) {
        cJSON *column;
        bool any = f < 4;

        for (size_t i = 0; i < n && !any; i++)
            any = isfinite(f == 4 ? rows[i].volume : rows[i].amount);
        if (!any)
            continue; /* a file without volume sends none, rather than zeros */
        if ((column = cJSON_AddArrayToObject(columns, names[f])) == NULL)
            return -1;
        for (size_t i = 0; i < n; i++) {
            const double values[] = {rows[i].open, rows[i].high, rows[i].low, rows[i].close,
                rows[i].volume, rows[i].amount};
            cJSON *number =
                isfinite(values[f]) ? cJSON_CreateNumber(values[f]) : cJSON_CreateNull();

            if (!cJSON_AddItemToArray(column, number))
                return -1;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!cJSON_AddItemToArray(times, cJSON_CreateString(rows[i].time)))
            return -1;
    }
    return 0;
}

/* The request as JSON text for cJSON_free(), or NULL. */
static char *
build_body(const struct request *r, const struct candles *candles, struct error *err)
{
    size_t n = candles->n < (size_t)r->lookback ? candles->n : (size_t)r->lookback;
    cJSON *body = cJSON_CreateObject(), *future, *overrides, *output;
    char interval[32] = "", *text = NULL;

    if (r->interval != NULL) {
        snprintf(interval, sizeof(interval), "%s", r->interval);
    } else {
        long seconds = csv_interval_seconds(candles);

        if (seconds == 0) {
            error_set(
                err, ERR_INVALID, "the file does not tell the candles' distance; give --interval");
            goto done;
        }
        format_interval(seconds, interval, sizeof(interval));
    }
    error_set(err, ERR_MEMORY, "out of memory");
    if (body == NULL || add_candles(body, candles->rows + (candles->n - n), n) == -1 ||
        (future = cJSON_AddObjectToObject(body, "prediction_timestamps")) == NULL ||
        (overrides = cJSON_AddObjectToObject(body, "overrides")) == NULL ||
        (output = cJSON_AddObjectToObject(body, "output")) == NULL)
        goto done;
    cJSON_AddBoolToObject(output, "repair", !r->raw);
    if (r->band) {
        cJSON *quantiles = cJSON_AddArrayToObject(output, "quantiles");

        if (!cJSON_AddItemToArray(quantiles, cJSON_CreateNumber(0.1)) ||
            !cJSON_AddItemToArray(quantiles, cJSON_CreateNumber(0.9)))
            goto done;
    }
    cJSON_AddStringToObject(future, "interval", interval);
    cJSON_AddNumberToObject(future, "count", (double)r->steps);
    if (r->has_samples)
        cJSON_AddNumberToObject(overrides, "sample_count", (double)r->samples);
    if (r->has_temperature)
        cJSON_AddNumberToObject(overrides, "temperature", r->temperature);
    if (r->has_top_k)
        cJSON_AddNumberToObject(overrides, "top_k", (double)r->top_k);
    if (r->has_top_p)
        cJSON_AddNumberToObject(overrides, "top_p", r->top_p);
    if (r->has_seed)
        cJSON_AddNumberToObject(overrides, "seed", (double)r->seed);
    if (r->mode != NULL)
        cJSON_AddStringToObject(overrides, "context_mode", r->mode);
    if (r->model != NULL)
        cJSON_AddStringToObject(body, "model", r->model);
    if (r->priority != NULL)
        cJSON_AddStringToObject(body, "priority", r->priority);
    text = cJSON_PrintUnformatted(body);

done:
    cJSON_Delete(body);
    return text;
}

static const char *
member_text(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

    return text != NULL ? text : "";
}

static double
member_number(const cJSON *object, const char *name)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(object, name)); /* NaN if none */
}

/* One line on stderr, written over itself on a terminal. */
static void
show_progress(const cJSON *document, bool is_terminal, char *last, size_t last_size)
{
    const cJSON *progress = cJSON_GetObjectItemCaseSensitive(document, "progress");
    const cJSON *queue = cJSON_GetObjectItemCaseSensitive(document, "queue");
    const char *status = member_text(document, "status");
    double step = member_number(progress, "step"), total = member_number(progress, "total");
    double position = member_number(queue, "position");
    char line[96];

    if (strcmp(status, "queued") == 0 && position >= 1)
        snprintf(line, sizeof(line), "queued, number %.0f in line", position);
    else if (strcmp(status, "processing") == 0 && total > 0)
        snprintf(line, sizeof(line), "processing, step %.0f of %.0f", step, total);
    else
        snprintf(line, sizeof(line), "%.40s", status);
    if (strcmp(line, last) == 0)
        return;
    fprintf(stderr, is_terminal ? "\r\033[K%s" : "%s\n", line);
    snprintf(last, last_size, "%s", line);
}

/* Poll until the task has ended. ${document} is the caller's to delete. */
static int
watch(const char *server, const char *id, bool quiet, cJSON **document, struct error *err)
{
    bool is_terminal = isatty(STDERR_FILENO);
    char path[128], last[96] = "";

    snprintf(path, sizeof(path), "/v1/tasks/%.64s?wait=%d", id, POLL_SECONDS);
    for (;;) {
        struct http_reply reply;
        const char *status;

        if (http_exchange(server, "GET", path, NULL, TIMEOUT_SECONDS, &reply, err) == -1)
            return -1;
        if (reply.status != 200 || reply.body == NULL) {
            http_reply_error(&reply, err);
            http_reply_clear(&reply);
            return -1;
        }
        if (!quiet)
            show_progress(reply.body, is_terminal, last, sizeof(last));
        status = member_text(reply.body, "status");
        if (strcmp(status, "queued") != 0 && strcmp(status, "processing") != 0) {
            if (!quiet && is_terminal)
                fputs("\r\033[K", stderr);
            *document = reply.body;
            return 0;
        }
        http_reply_clear(&reply);
    }
}

/* data.prediction as candles; the count, or -1. */
static int
read_prediction(const cJSON *document, struct candle rows[STEPS_MAX], struct error *err)
{
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(document, "data");
    const cJSON *prediction = cJSON_GetObjectItemCaseSensitive(data, "prediction");
    const cJSON *row;
    int n = 0;

    cJSON_ArrayForEach(row, prediction)
    {
        struct candle *c;

        if (n == STEPS_MAX)
            break;
        c = &rows[n++];
        snprintf(c->time, sizeof(c->time), "%s", member_text(row, "timestamp"));
        c->open = member_number(row, "open");
        c->high = member_number(row, "high");
        c->low = member_number(row, "low");
        c->close = member_number(row, "close");
        c->volume = member_number(row, "volume");
        c->amount = member_number(row, "amount");
        if (!isfinite(c->open + c->high + c->low + c->close))
            return error_set(err, ERR_CORRUPT, "row %d of the prediction has no numbers", n);
    }
    if (n == 0)
        return error_set(err, ERR_CORRUPT, "the server's answer has no prediction");
    return n;
}

/* data.quantiles of close into ${band} [n]; false when the answer has none for every step. */
static bool
read_band(const cJSON *document, struct chart_band *band, int n)
{
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(document, "data");
    const cJSON *quantiles = cJSON_GetObjectItemCaseSensitive(data, "quantiles");
    const cJSON *low = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(quantiles, "0.1"), "close");
    const cJSON *high = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(quantiles, "0.9"), "close");

    if (cJSON_GetArraySize(low) != n || cJSON_GetArraySize(high) != n)
        return false;
    low = low->child;
    high = high->child;
    for (int i = 0; i < n; i++, low = low->next, high = high->next)
        band[i] = (struct chart_band){
            .low = cJSON_GetNumberValue(low), .high = cJSON_GetNumberValue(high)};
    return true;
}

static void
print_table(const struct candle *rows, int n, bool all)
{
    double most = 0;
    int decimals;

    for (int i = 0; i < n; i++)
        most = fmax(most, fabs(rows[i].high));
    decimals = most >= 1000 ? 2 : most >= 1 ? 4 : 8;
    printf(
        "%-26s %13s %13s %13s %13s %14s\n", "timestamp", "open", "high", "low", "close", "volume");
    for (int i = 0; i < n; i++) {
        if (!all && n > 2 * TABLE_EDGE + 1 && i == TABLE_EDGE) {
            printf("%-26s (%d more rows: --all)\n", "...", n - 2 * TABLE_EDGE);
            i = n - TABLE_EDGE;
        }
        printf("%-26s %13.*f %13.*f %13.*f %13.*f %14.4g\n", rows[i].time, decimals, rows[i].open,
            decimals, rows[i].high, decimals, rows[i].low, decimals, rows[i].close, rows[i].volume);
    }
}

static void
print_chart(const struct candles *history, const struct candle *forecast,
    const struct chart_band *band, int n)
{
    bool is_terminal = isatty(STDOUT_FILENO);
    struct chart_options chart = {
        .width = CHART_WIDTH, .height = CHART_HEIGHT, .color = is_terminal};
    struct winsize window;

    if (is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        chart.width = window.ws_col;
    putchar('\n');
    chart_draw(stdout, history->rows, history->n, forecast, (size_t)n, band, &chart);
}

static void
print_summary(const cJSON *document, int n)
{
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(document, "data");
    const cJSON *timing = cJSON_GetObjectItemCaseSensitive(data, "timing");
    const cJSON *provenance = cJSON_GetObjectItemCaseSensitive(data, "provenance");
    const cJSON *warning;

    printf("%d candles by %s in %.0f ms (waited %.0f ms), seed %.0f, task %s\n", n,
        member_text(data, "model_version"), member_number(timing, "run_ms"),
        member_number(timing, "queue_ms"), member_number(provenance, "seed"),
        member_text(document, "task_id"));
    cJSON_ArrayForEach(warning, cJSON_GetObjectItemCaseSensitive(document, "warnings"))
        printf("note: %s (%s)\n", member_text(warning, "detail"), member_text(warning, "code"));
    putchar('\n');
}

static int
print_forecast(const struct request *r, const cJSON *document, const struct candles *history,
    struct error *err)
{
    struct chart_band band[STEPS_MAX];
    struct candle *rows;
    int n;

    if (r->json) {
        char *text = cJSON_Print(document);

        if (text == NULL)
            return error_set(err, ERR_MEMORY, "out of memory");
        puts(text);
        cJSON_free(text);
        return 0;
    }
    if ((rows = calloc(STEPS_MAX, sizeof(*rows))) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    if ((n = read_prediction(document, rows, err)) != -1) {
        print_summary(document, n);
        print_table(rows, n, r->all_rows);
        if (!r->no_chart)
            print_chart(history, rows, read_band(document, band, n) ? band : NULL, n);
    }
    free(rows);
    return n == -1 ? -1 : 0;
}

static int
run(const char *server, int argc, char *argv[])
{
    struct candles candles = {0};
    struct http_reply reply = {0};
    struct error err = {0};
    cJSON *document = NULL;
    struct request r;
    char *body = NULL;
    int status;

    if (parse_options(argc, argv, &r, &status) == -1)
        return status;
    if (read_candles(r.file, &candles, &err) == -1)
        return command_fail(&err);
    status = 1;
    if ((body = build_body(&r, &candles, &err)) == NULL ||
        http_exchange(server, "POST", "/v1/predict/single", body, TIMEOUT_SECONDS, &reply, &err) ==
            -1)
        goto done;
    if (reply.status != 202 || member_text(reply.body, "task_id")[0] == '\0') {
        http_reply_error(&reply, &err);
        goto done;
    }
    if (!r.quiet)
        fprintf(stderr, "task %s\n", member_text(reply.body, "task_id"));
    if (watch(server, member_text(reply.body, "task_id"), r.quiet, &document, &err) == -1)
        goto done;
    if (strcmp(member_text(document, "status"), "completed") != 0) {
        const cJSON *error = cJSON_GetObjectItemCaseSensitive(document, "error");

        error_set(&err, ERR_INVALID, "the task is %s: %s (%s)", member_text(document, "status"),
            member_text(error, "detail"), member_text(error, "code"));
        goto done;
    }
    if (print_forecast(&r, document, &candles, &err) == 0)
        status = 0;

done:
    if (status != 0)
        command_fail(&err);
    cJSON_Delete(document);
    http_reply_clear(&reply);
    cJSON_free(body);
    csv_clear(&candles);
    return status;
}

const struct command forecast_command = {
    .name = "forecast",
    .arguments = "FILE.csv [options]",
    .summary = "submit candles, watch, print table and chart",
    .run = run,
};
