/*
 * request_rules.h - The server a request is judged for in tests: one model, fixed defaults.
 */
#ifndef TESTS_SUPPORT_REQUEST_RULES_H
#define TESTS_SUPPORT_REQUEST_RULES_H

#include <string.h>

#include "api/request.h"

#define TEST_CONTEXT 512 /* C of the one model there is */
#define TEST_SEED    UINT64_C(4242)

static inline bool
test_model_known(void *cookie, const char *model, uint32_t *context)
{
    (void)cookie;
    *context = TEST_CONTEXT;
    return strcmp(model, "kronos-small") == 0;
}

static inline uint64_t
test_draw_seed(void *cookie)
{
    (void)cookie;
    return TEST_SEED;
}

static const struct request_rules test_rules = {
    .default_model = "kronos-small",
    .temperature = 1.0,
    .top_p = 0.9,
    .top_k = 0,
    .sample_count = 1,
    .result_ttl_seconds = 86400,
    .model_known = test_model_known,
    .draw_seed = test_draw_seed,
};

#endif /* TESTS_SUPPORT_REQUEST_RULES_H */
