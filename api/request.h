/*
 * request.h - A request body -> tasks, or a problem that names the field.
 *
 * request_json.c turns bytes, JSON or msgpack, into a tree (strictly), request_fields.c judges the
 * tree and builds the tasks; the other request_*.c have a part of the schema each.
 * Nothing here knows HTTP, Redis or time.
 */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/problem.h"
#include "common/task.h"
#include "common/webhook_url.h"

struct request_rules { /* what the server knows and the body may leave out */
    const char *default_model;
    double temperature, top_p;
    uint32_t top_k, sample_count;
    int64_t result_ttl_seconds;
    enum task_priority highest_priority; /* of the caller; a body that names none gets normal, or
                                            this if it is lower. The cap itself is the caller's. */
    bool webhook_enabled;                /* a secret file is configured */
    struct webhook_url_rules webhook_urls;
    /* Is there such a model? Writes its context C, 0 when no worker has told it. */
    bool (*model_known)(void *cookie, const char *model, uint32_t *context);
    uint64_t (*draw_seed)(void *cookie); /* <= TASK_SEED_MAX */
    void *cookie;
};

struct request_series {
    struct task *task;
    struct task_about about;
};

struct request_webhook {
    char *url;       /* NULL: none was asked for */
    uint32_t events; /* 1u << task_status of each it wants to hear of */
    bool include_result;
};

struct request {
    char model[TASK_MODEL_NAME_MAX + 1];
    enum task_priority priority;
    int64_t deadline_ms; /* 0: none */
    int64_t result_ttl_ms;
    struct request_webhook webhook;
    size_t n_series;
    struct request_series *series;
};

enum request_form { REQUEST_JSON, REQUEST_MSGPACK };
enum request_kind { REQUEST_SINGLE, REQUEST_BATCH };

#define REQUEST_BATCH_SERIES_MAX  64
#define REQUEST_BATCH_SAMPLES_MAX 1024 /* paths of all its series together */

/**
 * request_parse(body, size, form, values_max, arena, tree, problem): the bytes as a tree that lives in
 * ${arena}, NULL of an empty body. -1: 400 malformed_json, malformed_msgpack. arena_clear() it.
 */
struct arena;
struct cJSON;
int request_parse(const char *body, size_t size, enum request_form form, size_t values_max,
    struct arena *arena, struct cJSON **tree, struct problem *problem);

/** request_read_body(...): request_read_single() of a body in either form; 400 malformed_msgpack. */
int request_read_body(const char *body, size_t size, enum request_form form,
    const struct request_rules *rules, struct request *out, struct problem *problem);

/**
 * request_read(...): the same of either kind. A body of POST /v1/predict/batch gives one series per
 * item, in order; one bad item refuses all of them. Metadata and warnings of the whole batch are in
 * the about of every series.
 */
int request_read(const char *body, size_t size, enum request_form form, enum request_kind kind,
    const struct request_rules *rules, struct request *out, struct problem *problem);

/**
 * request_read_single(body, size, rules, out, problem):
 * Judge a body of POST /v1/predict/single. All field faults are collected, then the
 * first failing relation, then totals. 0: ${out} is the caller's to request_clear().
 * -1: ${problem} is set (400 malformed_json, 422 validation_failed, 500 internal) and ${out}
 * is empty. ${problem} must be zeroed or hold an older problem, which is cleared.
 */
int request_read_single(const char *body, size_t size, const struct request_rules *rules,
    struct request *out, struct problem *problem);
void request_clear(struct request *request);

#endif /* API_REQUEST_H */
