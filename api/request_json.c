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
request_parse(const char *body, size_t size, enum request_form form, size_t values_max,
    struct arena *arena, struct cJSON **tree, struct problem *problem)
{
    bool is_json = form == REQUEST_JSON;
    struct json_fault fault = {0};

    *tree = NULL;
    if (size == 0)
        return 0;
    *tree = is_json ? json_strict_parse(body, size, values_max, arena, &fault)
                    : msgpack_strict_parse(body, size, values_max, arena, &fault);
    if (*tree != NULL)
        return 0;
    if (fault.reason == NULL)
        return problem_set(problem, 500, "internal", "out of memory");
    (void)problem_set(problem, 400, is_json ? "malformed_json" : "malformed_msgpack",
        "malformed %s at byte %zu: %s", is_json ? "JSON" : "msgpack", fault.offset, fault.reason);
    problem_extra(problem, "offset", cJSON_CreateNumber((double)fault.offset));
    return -1;
}

int
request_read(const char *body, size_t size, enum request_form form, enum request_kind kind,
    const struct request_rules *rules, struct request *out, struct problem *problem)
{
    size_t values_max = kind == REQUEST_BATCH ? VALUES_MAX_BATCH : VALUES_MAX;
    struct arena arena = {0};
    cJSON *tree;
    int rc = -1;

    *out = (struct request){0};
    if (request_parse(body, size, form, values_max, &arena, &tree, problem) == -1)
        goto clear;
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
