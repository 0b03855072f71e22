/*
 * metrics_families.h - Every family of metrics and every label, once.
 *
 * Included several times with another D and F each (no guard on purpose):
 * D(id, label, values)
 *   values  texts the label is known to have, between blanks: there is a sample of 0 for each from
 *           the start. "*": the models there are. "": not known before something happens.
 * F(id, name, type, buckets, help, dimension, dimension, dimension)
 *   type        COUNTER, HISTOGRAM: moved by metrics_count() and its kin, kept in Redis, summed over
 *               all processes that ever ran. GAUGE: a state of this process, summed over those that
 *               live. SCRAPED: found out by whoever is asked, shown as a gauge; SCRAPED_COUNTER the
 *               same of sums that the queue's scripts keep.
 *   buckets     of a HISTOGRAM: SECONDS, or a list of its own in metrics_set.c; NONE
 *   dimension   an id of D, in the order metrics_count() takes labels; NONE for those it has not
 * The stored name of a sample is made of these names (schemas/redis-keys.md): renaming starts anew at 0.
 */
/* clang-format off */
D(NONE, NULL, "")
D(SUBMIT_ROUTE, "route", "/v1/predict/single /v1/predict/batch")
D(ENDPOINT, "endpoint", "/v1/predict/single /v1/predict/batch")
D(ROUTE, "route", "")
D(RESULT, "status", "success error timeout")
D(EVENT, "event", "authorized unauthorized")
D(CONTAINER, "container", "unknown")
D(CODE, "code", "")
D(MODEL, "model", "*")
D(QUEUE, "queue", "urgent normal low")
D(TASK_STATUS, "status", "completed failed cancelled expired")
D(WORKER_STATE, "state", "idle busy quiet lost")
D(SLOT_STATE, "state", "idle busy")
D(RECOVERED, "kind", "lost_pop lease")
D(HOOK_OUTCOME, "outcome", "delivered retry failed disabled")
D(OPERATION, "op", "")
D(VERSION, "version", "")
D(COMMIT, "commit", "")
D(WEIGHTS, "weights_sha256", "")

/* ---- those of the FastAPI service ---- */
F(REQUESTS, "kronos_requests_total", COUNTER, NONE,
    "Answered submits: success is 200 and 202, timeout 504, error any other 5xx.",
    SUBMIT_ROUTE, RESULT, NONE)
F(REQUEST_DURATION, "kronos_request_duration_seconds", HISTOGRAM, SECONDS,
    "From the first byte of a request to its reply, being held included.",
    SUBMIT_ROUTE, NONE, NONE)
F(SECURITY_EVENTS, "kronos_security_events_total", COUNTER, NONE,
    "Callers recognised or refused; container is the name of the key.",
    EVENT, CONTAINER, NONE)
F(RATE_LIMIT_HITS, "kronos_rate_limit_hits_total", COUNTER, NONE,
    "Requests refused with 429.",
    CONTAINER, NONE, NONE)
F(REQUEST_SIZE_REJECTIONS, "kronos_request_size_rejections_total", COUNTER, NONE,
    "Requests refused with 413.",
    CONTAINER, NONE, NONE)
F(MODEL_INFERENCE, "kronos_model_inference_seconds", HISTOGRAM, SECONDS,
    "Run time of completed tasks, by the route they came in.",
    ENDPOINT, NONE, NONE)
F(CONCURRENT_REQUESTS, "kronos_concurrent_requests", GAUGE, NONE,
    "Requests being answered, held ones included.",
    NONE, NONE, NONE)
F(TIMEOUTS, "kronos_timeouts_total", COUNTER, NONE, "Submits answered with 504.",
    ENDPOINT, NONE, NONE)
F(PREDICTION_INPUT_SIZE, "kronos_prediction_input_size", HISTOGRAM, CANDLES,
    "Candles of each series of a valid submit.",
    ENDPOINT, NONE, NONE)

/* ---- HTTP ---- */
F(HTTP_RESPONSES, "kronos_http_responses_total", COUNTER, NONE,
    "Replies by route and HTTP status.",
    ROUTE, CODE, NONE)
F(HTTP_HELD, "kronos_http_held_requests", GAUGE, NONE,
    "Requests that wait for the end of their task.",
    NONE, NONE, NONE)
F(HTTP_STREAMS, "kronos_http_streams", GAUGE, NONE, "Event streams.",
    NONE, NONE, NONE)
F(HTTP_CONNECTIONS, "kronos_http_connections", GAUGE, NONE, "Open connections of clients.",
    NONE, NONE, NONE)
F(HTTP_FRAMING_REJECTIONS, "kronos_http_framing_rejections_total", COUNTER, NONE,
    "Requests refused by their header block, by the code of the refusal.",
    CODE, NONE, NONE)

/* ---- the queue ---- */
F(QUEUE_DEPTH, "kronos_queue_depth", SCRAPED, NONE, "Tasks that wait.",
    MODEL, QUEUE, NONE)
F(QUEUE_OLDEST_AGE, "kronos_queue_oldest_age_seconds", SCRAPED, NONE,
    "Age of the task that has waited longest, 0 without one.",
    MODEL, QUEUE, NONE)
F(QUEUE_BACKLOG, "kronos_queue_backlog_seconds", SCRAPED, NONE,
    "Until the queue and what goes before it are done; NaN when nobody can tell.",
    MODEL, QUEUE, NONE)
F(QUEUE_PAUSED, "kronos_queue_paused", SCRAPED, NONE, "1 while paused.",
    MODEL, QUEUE, NONE)
F(TASKS, "kronos_tasks_total", SCRAPED_COUNTER, NONE, "Tasks that ended.",
    MODEL, QUEUE, TASK_STATUS)
F(TASK_WAIT, "kronos_task_wait_seconds", HISTOGRAM, SECONDS,
    "From the queue to the claim, of completed tasks.",
    QUEUE, NONE, NONE)
F(TASK_RUN, "kronos_task_run_seconds", HISTOGRAM, SECONDS,
    "From the claim to the result, of completed tasks.",
    MODEL, NONE, NONE)
F(ETA_ERROR, "kronos_eta_error_ratio", HISTOGRAM, RATIO,
    "Time to the result as it was, over the estimate at the submit.",
    MODEL, NONE, NONE)
F(RECOVERED, "kronos_recovered_total", SCRAPED_COUNTER, NONE,
    "Lost hints and lost leases that were found again.",
    RECOVERED, NONE, NONE)
F(FENCED, "kronos_fenced_total", SCRAPED_COUNTER, NONE,
    "Writes refused because the lease had gone to another worker or the task had ended.",
    NONE, NONE, NONE)
F(DEAD_LETTERS, "kronos_dead_letters", SCRAPED, NONE,
    "Failed tasks that can be requeued.",
    MODEL, NONE, NONE)

/* ---- workers ---- */
F(DECODE_STEPS, "kronos_decode_steps_total", COUNTER, NONE,
    "Steps of the decoder, one for each sequence.",
    MODEL, NONE, NONE)
F(PREFILL_TOKENS, "kronos_prefill_tokens_total", COUNTER, NONE,
    "Tokens of history the model saw before decoding, windows computed anew included.",
    MODEL, NONE, NONE)
F(BATCH_SIZE, "kronos_batch_size", HISTOGRAM, POWERS, "Sequences that stepped together.",
    MODEL, NONE, NONE)
F(WORKERS, "kronos_workers", SCRAPED, NONE, "Workers; lost ones are silent for 15 s.",
    MODEL, WORKER_STATE, NONE)
F(SLOTS, "kronos_slots", SCRAPED, NONE, "Slots of workers that take work.",
    MODEL, SLOT_STATE, NONE)

/* ---- webhooks ---- */
F(WEBHOOK_ATTEMPTS, "kronos_webhook_attempts_total", SCRAPED_COUNTER, NONE,
    "Attempts to tell a webhook.",
    HOOK_OUTCOME, NONE, NONE)
F(WEBHOOK_PENDING, "kronos_webhook_pending", SCRAPED, NONE, "Events that are still to be delivered.",
    NONE, NONE, NONE)
F(WEBHOOK_DELIVERY, "kronos_webhook_delivery_seconds", HISTOGRAM, SECONDS,
    "From the event to its delivery.",
    NONE, NONE, NONE)

/* ---- the rest ---- */
F(REDIS_UP, "kronos_redis_up", SCRAPED, NONE, "1 while Redis answers the process that was asked.",
    NONE, NONE, NONE)
F(REDIS_ERRORS, "kronos_redis_errors_total", COUNTER, NONE,
    "Commands that Redis answered with an error, too late, or not at all.",
    OPERATION, NONE, NONE)
F(REDIS_SECONDS, "kronos_redis_seconds", HISTOGRAM, SECONDS, "Answers of Redis.",
    NONE, NONE, NONE)
F(BUILD_INFO, "kronos_build_info", SCRAPED, NONE, "1; this process.",
    VERSION, COMMIT, NONE)
F(MODEL_INFO, "kronos_model_info", SCRAPED, NONE, "1; the weights its workers use.",
    MODEL, WEIGHTS, NONE)

#undef D
#undef F
