/*
 * request_log.h - The one log line of a request: which keys it has.
 */
#ifndef API_REQUEST_LOG_H
#define API_REQUEST_LOG_H

#include <stddef.h>
#include <stdint.h>

struct exchange;
struct problem;

/* What a submit asked for and got; NULL and 0 are left out of the line. */
struct request_facts {
    const char *model, *priority, *series_id;
    const char *batch_id;
    size_t n_series, rows, pred_len; /* of all series together */
    int64_t queue_time_ms, model_inference_ms, timeout_seconds;
};

/** request_log(e, status, problem, n_bytes): "request completed"; ${problem} NULL when there was none. */
void request_log(
    const struct exchange *e, int status, const struct problem *problem, size_t n_bytes);

#endif /* API_REQUEST_LOG_H */
