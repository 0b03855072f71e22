/*
 * request_json.c - The bytes of a body, JSON or msgpack -> a tree -> a request.
 *
 * An empty body is a missing one, not a malformed one: the schema answers it.
 */
#include "api/request_internal.h"

#include "api/json_strict.h"
#include "api/msgpack_strict.h"

/* Far above any request (2048 candles of 7 values; a batch has 64 times that), so that too long
 * lists are still refused by name; far below what 10 MiB of "[[],[]" would cost in memory. */
#define VALUES_MAX       ((size_t)1 << 18)
#define VALUES_MAX_BATCH ((size_t)1 << 20)

int
request_read(const char *body, size_t size, enum request_form form, enum request_kind kind,
    const struct request_rules *rules, struct request *out, struct problem *problem)
{
    size_t values_max = kind == REQUEST_BATCH ? VALUES_MAX_BATCH : VALUES_MAX;
    bool is_json = form == REQUEST_JSON;
    struct json_fault fault = {0};
    struct arena arena = {0};
    cJSON *tree = NULL;
    int rc = -1;

    *out = (struct request){0};
    if (size > 0)
        tree = is_json ? json_strict_parse(body, size, values_max, &arena, &fault)
                       : msgpack_strict_parse(body, size, values_max, &arena, &fault);
    if (size > 0 && tree == NULL) {
        if (fault.reason == NULL) {
            (void)problem_set(problem, 500, "internal", "out of memory");
            goto clear;
        }
        (void)problem_set(problem, 400, is_json ? "malformed_json" : "malformed_msgpack",
            "malformed %s at byte %zu: %s", is_json ? "JSON" : "msgpack", fault.offset,
            fault.reason);
        problem_extra(problem, "offset", cJSON_CreateNumber((double)fault.offset));
        goto clear;
    }
    rc = request_read_tree(tree, kind, rules, out, problem);
clear:
    arena_clear(&arena);
    return rc;
}

int
request_read_body(const char *body, size_t size, enum request_form form,
    const struct request_rules *rules, struct request *out, struct problem *problem)
{
    return request_read(body, size, form, REQUEST_SINGLE, rules, out, problem);
}

int
request_read_single(const char *body, size_t size, const struct request_rules *rules,
    struct request *out, struct problem *problem)
{
    return request_read(body, size, REQUEST_JSON, REQUEST_SINGLE, rules, out, problem);
}
