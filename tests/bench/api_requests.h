/*
 * api_requests.h - The requests that are repeated: one forecast, 400 candles -> 120, in three forms.
 */
#ifndef TESTS_BENCH_API_REQUESTS_H
#define TESTS_BENCH_API_REQUESTS_H

#include <stddef.h>

#define API_HISTORY 400
#define API_HORIZON 120

struct bytes {
    char *data;
    size_t size;
};

struct api_requests {            /* head and body; the data are the caller's to free */
    struct bytes json;           /* figures of 6 digits, as exchanges quote them */
    struct bytes json_17_digits; /* as programs compute them */
    struct bytes msgpack;        /* those, as float64 */
};

struct api_requests api_requests_new(void);

/** api_get(path, rest): GET ${path}${rest}. */
struct bytes api_get(const char *path, const char *rest);

#endif /* TESTS_BENCH_API_REQUESTS_H */
