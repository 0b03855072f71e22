/*
 * api_requests.c - The same random walk as JSON and msgpack, rows of candles, times written out.
 */
#include "tests/bench/api_requests.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/error.h"
#include "common/msgpack_write.h"
#include "tests/bench/measure.h"

#define BODY_ROOM (256 * 1024)
#define HEAD_ROOM 256

struct text {
    char bytes[BODY_ROOM];
    size_t len;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(t->bytes + t->len, sizeof(t->bytes) - t->len, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(t->bytes) - t->len)
        measure_die("a request", "is too long");
    t->len += (size_t)n;
}

/* A random walk: open, high, low, close, volume, amount of each candle. */
static void
make_candles(double (*candles)[6])
{
    unsigned seed = 1;
    double price = 100;

    for (size_t i = 0; i < API_HISTORY; i++) {
        double step[3];

        for (int k = 0; k < 3; k++) {
            seed = seed * 1664525u + 1013904223u;
            step[k] = (double)(seed >> 8) / (1 << 24);
        }
        candles[i][0] = price;
        price *= 1 + 0.01 * (step[0] - 0.5);
        candles[i][1] = (candles[i][0] > price ? candles[i][0] : price) * (1 + 0.003 * step[1]);
        candles[i][2] = (candles[i][0] < price ? candles[i][0] : price) * (1 - 0.003 * step[2]);
        candles[i][3] = price;
        candles[i][4] = 1000 + 500 * step[1];
        candles[i][5] = candles[i][4] * price;
    }
}

static const char *const fields[6] = {"open", "high", "low", "close", "volume", "amount"};

static void
time_text(size_t i, char *text)
{
    time_t seconds = 1735689600 + (time_t)i * 300; /* 2025-01-01, every 5 minutes */
    struct tm utc;

    gmtime_r(&seconds, &utc);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &utc);
}

static void
add_times(struct text *t, size_t from, size_t n)
{
    char text[32];

    for (size_t i = 0; i < n; i++) {
        time_text(from + i, text);
        add(t, "%s\"%s\"", i > 0 ? "," : "", text);
    }
}

/* ${digits} 17: figures as a program computed them; 6: as exchanges quote them. */
static void
json_body(struct text *t, double (*candles)[6], int digits)
{
    t->len = 0;
    add(t, "{\"series_id\":\"BTC-USD\",\"candles\":[");
    for (size_t i = 0; i < API_HISTORY; i++)
        for (int f = 0; f < 6; f++)
            add(t, "%s\"%s\": %.*g%s",
                f > 0   ? ", "
                : i > 0 ? ", {"
                        : "{",
                fields[f], digits, candles[i][f], f == 5 ? "}" : "");
    add(t, "],\"timestamps\":[");
    add_times(t, 0, API_HISTORY);
    add(t, "],\"prediction_timestamps\":[");
    add_times(t, API_HISTORY, API_HORIZON);
    add(t, "],\"overrides\":{\"temperature\":1.0,\"top_p\":0.9,\"sample_count\":1}}");
}

static void
write_times(struct msgpack_write *w, size_t from, size_t n)
{
    char text[32];

    msgpack_write_array(w, n);
    for (size_t i = 0; i < n; i++) {
        time_text(from + i, text);
        msgpack_write_text(w, text);
    }
}

static struct bytes
msgpack_body(double (*candles)[6])
{
    struct msgpack_write w;
    struct bytes body;
    struct error err;
    void *data;

    msgpack_write_init(&w);
    msgpack_write_map(&w, 5);
    msgpack_write_text(&w, "series_id");
    msgpack_write_text(&w, "BTC-USD");
    msgpack_write_text(&w, "candles");
    msgpack_write_array(&w, API_HISTORY);
    for (size_t i = 0; i < API_HISTORY; i++) {
        msgpack_write_map(&w, 6);
        for (int f = 0; f < 6; f++) {
            msgpack_write_text(&w, fields[f]);
            msgpack_write_double(&w, candles[i][f]);
        }
    }
    msgpack_write_text(&w, "timestamps");
    write_times(&w, 0, API_HISTORY);
    msgpack_write_text(&w, "prediction_timestamps");
    write_times(&w, API_HISTORY, API_HORIZON);
    msgpack_write_text(&w, "overrides");
    msgpack_write_map(&w, 3);
    msgpack_write_text(&w, "temperature");
    msgpack_write_double(&w, 1.0);
    msgpack_write_text(&w, "top_p");
    msgpack_write_double(&w, 0.9);
    msgpack_write_text(&w, "sample_count");
    msgpack_write_uint(&w, 1);
    if (msgpack_write_finish(&w, &data, &body.size, &err) == -1)
        measure_die("a request", err.text);
    body.data = data;
    return body;
}

static struct bytes
post(const char *type, const char *body, size_t size)
{
    struct bytes request = {.data = measure_take(1, size + HEAD_ROOM)};
    int n;

    n = snprintf(request.data, HEAD_ROOM,
        "POST /v1/predict/single HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\n"
        "Content-Length: %zu\r\n\r\n",
        type, size);
    memcpy(request.data + n, body, size);
    request.size = (size_t)n + size;
    return request;
}

struct bytes
api_get(const char *path, const char *rest)
{
    struct bytes request = {.data = measure_take(1, HEAD_ROOM)};

    request.size = (size_t)snprintf(
        request.data, HEAD_ROOM, "GET %s%s HTTP/1.1\r\nHost: bench\r\n\r\n", path, rest);
    return request;
}

struct api_requests
api_requests_new(void)
{
    static double candles[API_HISTORY][6];
    static struct text text;
    struct api_requests r;
    struct bytes packed;

    make_candles(candles);
    json_body(&text, candles, 6);
    r.json = post("application/json", text.bytes, text.len);
    json_body(&text, candles, 17);
    r.json_17_digits = post("application/json", text.bytes, text.len);
    packed = msgpack_body(candles);
    r.msgpack = post("application/msgpack", packed.data, packed.size);
    free(packed.data);
    return r;
}
