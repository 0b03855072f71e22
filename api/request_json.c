/*
 * request_json.c - A JSON body -> a tree -> a request.
 *
 * An empty body is a missing one, not malformed JSON: the schema answers it.
 */
#include "api/request_internal.h"

#include "api/json_strict.h"

/* Far above any request (2048 candles of 7 values), so that too long lists are still refused by
 * name; far below what 10 MiB of "[[],[]" would cost in memory. */
#define VALUES_MAX ((size_t)1 << 18)

int
request_read_single(const char *body, size_t size, const struct request_rules *rules,
    struct request *out, struct problem *problem)
{
    struct json_fault fault;
    cJSON *tree = NULL;
    int rc;

    *out = (struct request){0};
    if (size > 0 && (tree = json_strict_parse(body, size, VALUES_MAX, &fault)) == NULL) {
        if (fault.reason == NULL)
            return problem_set(problem, 500, "internal", "out of memory");
        (void)problem_set(problem, 400, "malformed_json", "malformed JSON at byte %zu: %s",
            fault.offset, fault.reason);
        problem_extra(problem, "offset", cJSON_CreateNumber((double)fault.offset));
        return -1;
    }
    rc = request_read_tree(tree, rules, out, problem);
    cJSON_Delete(tree);
    return rc;
}
