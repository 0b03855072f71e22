/*
 * request_mutation_test.c - Bodies with random damage are accepted whole or refused by name.
 *
 * Bytes are changed, cut, doubled and swapped for pieces JSON is made of. The seed is printed
 * on failure; KRONOSQ_TEST_SEED replays it, KRONOSQ_TEST_MUTATIONS runs more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/request.h"
#include "tests/support/request_rules.h"

#define MUTATIONS 30000
#define SEED      UINT64_C(1)

static const char *const bodies[] = {
    "{\"series_id\":\"BTC\",\"candles\":[{\"open\":1.0,\"high\":1.5,\"low\":0.5,\"close\":1.2,"
    "\"volume\":3,\"amount\":4},{\"open\":\"1.2\",\"high\":1.6,\"low\":1.1,\"close\":1.4,"
    "\"volume\":null}],\"timestamps\":[\"2025-01-01T09:00:00+08:00\",1735693500],"
    "\"prediction_timestamps\":[\"2025-01-01 09:15:00.5+0800\",\"2025-01-02T01:20Z\"],"
    "\"overrides\":{\"pred_len\":2,\"temperature\":0.7,\"top_k\":0,\"top_p\":0.9,"
    "\"sample_count\":5,\"seed\":42,\"context_mode\":\"fit\"},\"model\":\"kronos-small\","
    "\"priority\":\"low\",\"deadline_seconds\":30,\"result_ttl_seconds\":3600,"
    "\"metadata\":{\"strategy\":\"a1\",\"\\u20ac\":\"\xE2\x82\xAC\"},"
    "\"output\":{\"quantiles\":[0.1,0.5,0.9],\"paths\":false,\"stats\":[\"p_up\"],"
    "\"repair\":true,\"layout\":\"rows\",\"stream\":false}}",
    "{\"candles\":{\"open\":[1,1,1],\"high\":[2,2,2],\"low\":[1,1,1],\"close\":[1,1,1],"
    "\"volume\":[1,null,2]},\"timestamps\":{\"start\":\"2025-01-03T10:00\",\"interval\":\"1h\","
    "\"calendar\":\"weekdays\",\"count\":3},\"prediction_timestamps\":{\"count\":8},"
    "\"webhook\":{\"url\":\"https://a.example:8443/x\",\"events\":[\"task.failed\"]}}",
};

static const char *const pieces[] = {"{", "}", "[", "]", ",", ":", "\"", "\\", "null", "true", "0",
    "-", "1e999", "-1", "1e-60", "9e15", "\"\"", "[]", "{}", "\"x\"", "\\u0000", "\\ud800", "\xff",
    "\xe2\x82", ".", "e", "\"candles\"", "\"open\"", "\"start\"", "2262", "0.0", "99999", "\"1w\"",
    "\"a\":", "[[[[[[[[[[[[[[[[", " ", "\n"};

static uint64_t random_state;

static uint64_t
random_below(uint64_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % n;
}

static uint64_t
setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/* Replaces ${cut} bytes at ${at} of ${body} by ${piece}. */
static size_t
splice(char *body, size_t size, size_t at, size_t cut, const char *piece, size_t len)
{
    memmove(body + at + len, body + at + cut, size - at - cut);
    memcpy(body + at, piece, len);
    return size - cut + len;
}

static size_t
mutate(char *body, size_t size)
{
    size_t at = (size_t)random_below(size), cut = (size_t)random_below(12);
    const char *piece = pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))];
    char byte = (char)random_below(256), copy[24];
    size_t len;

    if (cut > size - at)
        cut = size - at;
    switch (random_below(5)) {
    case 0: /* one byte becomes another */
        return splice(body, size, at, 1, &byte, 1);
    case 1: /* some are lost */
        return cut < size ? splice(body, size, at, cut, "", 0) : size;
    case 2: /* some come twice, somewhere else */
        len = cut;
        memcpy(copy, body + at, len);
        return splice(body, size, (size_t)random_below(size), 0, copy, len);
    case 3: /* a piece is put in */
        return splice(body, size, at, 0, piece, strlen(piece));
    default: /* a value becomes a piece: up to the next delimiter */
        for (cut = 0; at + cut < size && strchr(",:{}[]", body[at + cut]) == NULL; cut++)
            ;
        return splice(body, size, at, cut, piece, strlen(piece));
    }
}

static void
a_damaged_body_is_accepted_with_a_sound_task_or_refused_by_name(void **state)
{
    const uint64_t n = setting("KRONOSQ_TEST_MUTATIONS", MUTATIONS);
    const uint64_t seed = setting("KRONOSQ_TEST_SEED", SEED);
    struct request_rules rules = test_rules;
    uint64_t n_accepted = 0, n_malformed = 0, n_invalid = 0;

    (void)state;
    rules.webhook_enabled = true;
    random_state = seed;
    for (uint64_t i = 0; i < n; i++) {
        const char *whole = bodies[i % 2];
        size_t size = strlen(whole), rounds = 1 + (size_t)random_below(3);
        char *body = malloc(size + 256), *exact;
        struct problem p = {0};
        struct request request;
        struct error err;

        assert_non_null(body);
        memcpy(body, whole, size);
        for (size_t round = 0; round < rounds && size > 0; round++)
            size = mutate(body, size);
        exact = malloc(size > 0 ? size : 1); /* ASan sees a byte read too far */
        assert_non_null(exact);
        memcpy(exact, body, size);
        if (request_read_single(exact, size, &rules, &request, &p) == 0) {
            struct task_bytes bytes;

            n_accepted++;
            if (task_check(request.series[0].task, &err) == -1) {
                print_error("seed %llu, body %llu: accepted, but %s\n%.*s\n",
                    (unsigned long long)seed, (unsigned long long)i, err.text, (int)size, body);
                fail();
            }
            /* what is accepted can be stored */
            assert_int_equal(task_about_encode(&request.series[0].about, &bytes, &err), 0);
            free(bytes.data);
            assert_int_equal(p.status, 0);
            request_clear(&request);
        } else {
            cJSON *document = problem_to_json(&p, "r");

            assert_non_null(document);
            assert_true(p.status == 400 || p.status == 422);
            if (p.status == 400) {
                n_malformed++;
                assert_string_equal(p.code, "malformed_json");
                assert_true(cJSON_IsNumber(cJSON_GetObjectItem(document, "offset")));
                assert_true(cJSON_GetObjectItem(document, "offset")->valuedouble <= (double)size);
            } else {
                n_invalid++;
                assert_true(cJSON_GetArraySize(p.errors) >= 1);
                assert_int_equal(cJSON_GetArraySize(p.errors), cJSON_GetArraySize(p.fastapi));
            }
            cJSON_Delete(document);
            problem_clear(&p);
        }
        free(exact);
        free(body);
    }
    /* all three ways out are taken often, else the mutations are no test */
    assert_true(n_accepted > n / 100 && n_malformed > n / 10 && n_invalid > n / 20);
}

static size_t allocations_left;

static void *
failing_malloc(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return malloc(size);
}

/* One body that is accepted, one with faults: memory ends at every allocation of the tree. */
static void
memory_that_ends_anywhere_is_a_refusal_and_no_leak(void **state)
{
    static const char invalid[] =
        "{\"candles\":[{\"open\":0},7],\"output\":{\"x\":1,\"stats\":[\"y\"]},"
        "\"timestamps\":[true,\"x\"],\"series_id\":\"\\n\"}";
    const char *const texts[] = {bodies[0], invalid};
    cJSON_Hooks hooks = {.malloc_fn = failing_malloc, .free_fn = free};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        bool has_ended = false;

        for (size_t n = 0; !has_ended; n++) {
            struct problem p = {0};
            struct request request;
            cJSON *document;

            allocations_left = n;
            cJSON_InitHooks(&hooks);
            if (request_read_single(texts[i], strlen(texts[i]), &test_rules, &request, &p) == 0) {
                request_clear(&request);
                has_ended = true;
            } else {
                assert_true(p.status == 500 || p.status == 422);
                assert_non_null(p.code);
                document = problem_to_json(&p, "r");
                has_ended = p.status == 422 && allocations_left > 0;
                cJSON_Delete(document);
                problem_clear(&p);
            }
            cJSON_InitHooks(NULL);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_ends_anywhere_is_a_refusal_and_no_leak),
        cmocka_unit_test(a_damaged_body_is_accepted_with_a_sound_task_or_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
