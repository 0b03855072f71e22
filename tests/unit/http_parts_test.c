/*
 * http_parts_test.c - Routes, Prefer, media types, queries, keys, addresses: HTTP without a socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/idempotency.h"
#include "api/listen.h"
#include "api/media.h"
#include "api/prefer.h"
#include "api/query.h"
#include "api/route.h"

/* ---- routes ---- */

static void
serve(struct exchange *e, const char *param)
{
    (void)e;
    (void)param;
}

static const struct route table[] = {
    {HEAD_METHOD_GET, "/", ROUTE_OPEN, 0, serve},
    {HEAD_METHOD_POST, "/v1/predict/single", ROUTE_OPEN, 0, serve},
    {HEAD_METHOD_POST, "/v1/predict/batch", ROUTE_OPEN, 0, NULL},
    {HEAD_METHOD_GET, "/v1/predict/{id}", ROUTE_OPEN, 0, serve},
    {HEAD_METHOD_GET, "/v1/tasks/{id}", ROUTE_OPEN, 0, serve},
    {HEAD_METHOD_DELETE, "/v1/tasks/{id}", ROUTE_OPEN, 0, serve},
    {HEAD_METHOD_GET, "/v1/tasks/{id}/result", ROUTE_OPEN, 0, serve},
    {HEAD_METHOD_POST, "/v1/queues/{model}/{priority}/pause", ROUTE_OPEN, 0, serve},
};

static enum route_outcome
find(enum head_method method, const char *path, struct route_match *match)
{
    return route_find(table, sizeof(table) / sizeof(table[0]), method, path, match);
}

static void
a_path_names_its_resource_byte_for_byte(void **state)
{
    struct route_match m;

    (void)state;
    assert_int_equal(find(HEAD_METHOD_GET, "/", &m), ROUTE_FOUND);
    assert_int_equal(find(HEAD_METHOD_HEAD, "/v1/tasks/abc", &m), ROUTE_FOUND);
    assert_ptr_equal(m.route, &table[4]);
    assert_string_equal(m.params[0], "abc");
    assert_int_equal(find(HEAD_METHOD_DELETE, "/v1/tasks/abc", &m), ROUTE_FOUND);
    assert_ptr_equal(m.route, &table[5]);
    assert_string_equal(m.params[0], "abc");
    assert_int_equal(find(HEAD_METHOD_GET, "/v1/tasks/abc/result", &m), ROUTE_FOUND);
    assert_ptr_equal(m.route, &table[6]);
    for (size_t i = 0; i < 8; i++) {
        static const char *const unknown[] = {"", "/v1", "/v1/tasks/", "/v1/tasks//result",
            "/v1/tasks/a/b", "/v1/tasks/a/result/", "//", "/V1/tasks/a"};

        assert_int_equal(find(HEAD_METHOD_GET, unknown[i], &m), ROUTE_UNKNOWN_PATH);
    }
}

static void
a_path_may_name_two_things(void **state)
{
    static const char *const unknown[] = {"/v1/queues/a/pause", "/v1/queues/a//pause",
        "/v1/queues//b/pause", "/v1/queues/a/b/c/pause", "/v1/queues/a/b", "/v1/queues/a/b/pause/"};
    struct route_match m;

    (void)state;
    assert_int_equal(find(HEAD_METHOD_POST, "/v1/queues/a.b/urgent/pause", &m), ROUTE_FOUND);
    assert_string_equal(m.params[0], "a.b");
    assert_string_equal(m.params[1], "urgent");
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        assert_int_equal(find(HEAD_METHOD_POST, unknown[i], &m), ROUTE_UNKNOWN_PATH);
    assert_int_equal(find(HEAD_METHOD_GET, "/v1/tasks/abc", &m), ROUTE_FOUND);
    assert_string_equal(m.params[0], "abc");
    assert_string_equal(m.params[1], "");
}

static void
another_method_is_told_which_there_are(void **state)
{
    struct route_match m;

    (void)state;
    assert_int_equal(find(HEAD_METHOD_PUT, "/v1/tasks/abc", &m), ROUTE_OTHER_METHOD);
    assert_string_equal(m.allow, "GET, HEAD, DELETE");
    assert_int_equal(find(HEAD_METHOD_GET, "/v1/predict/single", &m), ROUTE_OTHER_METHOD);
    assert_string_equal(m.allow, "POST");
    assert_int_equal(find(HEAD_METHOD_POST, "/v1/predict/batch", &m), ROUTE_UNKNOWN_PATH);
    assert_int_equal(find(HEAD_METHOD_UNKNOWN, "/nowhere", &m), ROUTE_UNKNOWN_METHOD);
}

static void
a_segment_longer_than_any_id_still_matches(void **state)
{
    char path[ROUTE_PARAM_MAX + 40];
    struct route_match m;

    (void)state;
    snprintf(path, sizeof(path), "/v1/tasks/%0*d", ROUTE_PARAM_MAX + 20, 0);
    assert_int_equal(find(HEAD_METHOD_GET, path, &m), ROUTE_FOUND);
    assert_int_equal(strlen(m.params[0]), ROUTE_PARAM_MAX);
}

/* ---- Prefer ---- */

static void
preferences_are_read_or_ignored(void **state)
{
    static const struct {
        const char *value;
        int wait; /* -1: none */
        bool is_async;
    } cases[] = {
        {"wait=5", 5, false},
        {"wait=600", 60, false},
        {"wait=99999999999999999999", 60, false},
        {"WAIT = \"7\"", 7, false},
        {"respond-async, wait=5", 5, true},
        {"Respond-Async", -1, true},
        {"wait=5;x=\"a,b\", wait=9", 5, false},
        {"foo=\"a, wait=1\", wait=2", 2, false},
        {"foo=\"\\\", wait=1\"", -1, false},
        {"wait=0", 0, false},
        {"wait=abc", -1, false},
        {"wait=-1", -1, false},
        {"wait=1.5", -1, false},
        {"wait=", -1, false},
        {"wait", -1, false},
        {"wait=\"", -1, false},
        {"respond-async=x", -1, false},
        {"=5", -1, false},
        {",, ;", -1, false},
        {"", -1, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct prefer p = {0};

        prefer_read(cases[i].value, &p);
        if (p.has_wait != (cases[i].wait >= 0) || p.respond_async != cases[i].is_async ||
            (p.has_wait && p.wait_seconds != cases[i].wait))
            fail_msg("Prefer: %s", cases[i].value);
    }
}

static void
what_was_applied_is_said(void **state)
{
    char text[PREFER_APPLIED_MAX];

    (void)state;
    assert_true(prefer_applied(
        &(struct prefer){.respond_async = true, .has_wait = true, .wait_seconds = 60}, text));
    assert_string_equal(text, "wait=60");
    assert_true(prefer_applied(&(struct prefer){.respond_async = true}, text));
    assert_string_equal(text, "respond-async");
    assert_false(prefer_applied(&(struct prefer){0}, text));
}

/* ---- media types ---- */

static void
bodies_are_in_json_or_msgpack(void **state)
{
    (void)state;
    assert_int_equal(media_form(NULL), MEDIA_FORM_JSON);
    assert_int_equal(media_form("Application/JSON; charset=utf-8"), MEDIA_FORM_JSON);
    assert_int_equal(media_form("application/x+json"), MEDIA_FORM_JSON);
    assert_int_equal(media_form("application/vnd.msgpack"), MEDIA_FORM_MSGPACK);
    assert_int_equal(media_form("application/+json"), MEDIA_FORM_OTHER);
    assert_int_equal(media_form("application/jsonx"), MEDIA_FORM_OTHER);
    assert_int_equal(media_form("text/json"), MEDIA_FORM_OTHER);
    assert_int_equal(media_form("application/"), MEDIA_FORM_OTHER);
    assert_int_equal(media_form(""), MEDIA_FORM_OTHER);
}

static void
the_most_specific_range_gives_the_quality(void **state)
{
    static const struct {
        const char *accept;
        int quality, precision;
    } cases[] = {
        {"*/*", 1000, 1},
        {"application/*;q=0.5, */*;q=0.1", 500, 2},
        {"*/*;q=1, application/json;q=0", 0, 3},
        {"application/json;x=1;q=0.25", 250, 3},
        {"text/html, image/*", 0, 0},
        {"application/jsonx", 0, 0},
        {"application/json ; Q=0.001", 1, 3},
        {"", 0, 0},
        {",,,", 0, 0},
        {"*/*;q=", 1000, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int precision, quality = media_quality(cases[i].accept, MEDIA_JSON, &precision);

        if (quality != cases[i].quality || precision != cases[i].precision)
            fail_msg("Accept: %s gave %d, %d", cases[i].accept, quality, precision);
    }
}

/* ---- queries ---- */

static void
a_parameter_is_whole_in_range_and_given_once(void **state)
{
    struct problem problem = {0};
    long value = 7;

    (void)state;
    assert_int_equal(query_integer(NULL, "wait", 0, 60, &value, &problem), 0);
    assert_int_equal(query_integer("a=1&waiting=99&wai", "wait", 0, 60, &value, &problem), 0);
    assert_int_equal(value, 7);
    assert_int_equal(query_integer("x&wait=060&", "wait", 0, 60, &value, &problem), 0);
    assert_int_equal(value, 60);
    for (size_t i = 0; i < 8; i++) {
        static const char *const bad[] = {"wait=61", "wait=", "wait", "wait=-1", "wait= 1",
            "wait=1&wait=1", "wait=99999999999999999999999", "wait=1%30"};

        assert_int_equal(query_integer(bad[i], "wait", 0, 60, &value, &problem), -1);
        assert_int_equal(problem.status, 400);
        assert_string_equal(problem.code, "bad_parameter");
    }
    problem_clear(&problem);
}

static void
a_text_is_decoded_fits_and_is_given_once(void **state)
{
    static const struct {
        const char *query, *text; /* NULL: refused */
    } cases[] = {
        {"", ""},
        {"x=1&other=2", ""},
        {"name=", ""},
        {"name", ""},
        {"name=abc", "abc"},
        {"a=1&name=b%2Fc+d%c3%BC&z", "b/c d\xc3\xbc"},
        {"name=12345678", "12345678"},
        {"name=123456789", NULL},
        {"name=%31%32%33%34%35%36%37%38", "12345678"},
        {"name=a&name=a", NULL},
        {"name=%", NULL},
        {"name=%4", NULL},
        {"name=%4&x=1", NULL},
        {"name=%g0", NULL},
        {"name=%0g", NULL},
        {"name=a%00b", NULL},
        {"names=1", ""},
    };
    struct problem problem = {0};
    char text[9];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = query_text(cases[i].query, "name", text, sizeof(text), &problem);

        assert_int_equal(status, cases[i].text != NULL ? 0 : -1);
        if (cases[i].text != NULL)
            assert_string_equal(text, cases[i].text);
        else
            assert_string_equal(problem.code, "bad_parameter");
        problem_clear(&problem);
    }
    assert_int_equal(query_text(NULL, "name", text, sizeof(text), &problem), 0);
    assert_string_equal(text, "");
}

/* ---- Idempotency-Key ---- */

static int
read_key(const char *lines, char *key)
{
    struct head *head = head_new(0);
    struct problem problem = {0};
    char text[1200];
    size_t used;
    int status;

    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    assert_int_equal(head_feed(head, text, strlen(text), &used, &problem), HEAD_COMPLETE);
    status = idempotency_key(head, key, &problem);
    assert_int_equal(problem.status, status == 0 ? 0 : 400);
    problem_clear(&problem);
    head_free(head);
    return status;
}

static void
a_key_is_a_token_or_a_quoted_string(void **state)
{
    char key[IDEMPOTENCY_KEY_MAX + 1], lines[600];

    (void)state;
    assert_int_equal(read_key("", key), 0);
    assert_string_equal(key, "");
    assert_int_equal(read_key("Idempotency-Key: a,b\"c\r\n", key), 0);
    assert_string_equal(key, "a,b\"c");
    assert_int_equal(read_key("Idempotency-Key: \"a\\\"b\\\\c\"\r\n", key), 0);
    assert_string_equal(key, "a\"b\\c");
    snprintf(lines, sizeof(lines), "Idempotency-Key: %0*d\r\n", IDEMPOTENCY_KEY_MAX, 0);
    assert_int_equal(read_key(lines, key), 0);
    snprintf(lines, sizeof(lines), "Idempotency-Key: %0*d\r\n", IDEMPOTENCY_KEY_MAX + 1, 0);
    assert_int_equal(read_key(lines, key), -1);
    for (size_t i = 0; i < 7; i++) {
        static const char *const bad[] = {"\"\"", "", "a b", "\"a", "\"a\"b", "\xc3\xa4", "\"\\"};

        snprintf(lines, sizeof(lines), "Idempotency-Key: %s\r\n", bad[i]);
        assert_int_equal(read_key(lines, key), -1);
    }
    assert_int_equal(read_key("Idempotency-Key: a\r\nIdempotency-Key: a\r\n", key), -1);
}

static void
no_two_lists_of_parts_hash_alike(void **state)
{
    char a[IDEMPOTENCY_HEX + 1], b[IDEMPOTENCY_HEX + 1];

    (void)state;
    assert_int_equal(idempotency_scope("local", "a", a, NULL), 0);
    /* printf 'local\na' | sha256sum */
    assert_string_equal(a, "f5f6fd212f07d74cf65d727601f2b2f2f355c04ff32cc8d8d35e3087ae8f6a42");
    assert_int_equal(idempotency_fingerprint("/p", "t", "x", 1, a, NULL), 0);
    assert_int_equal(idempotency_fingerprint("/p", "t", "y", 1, b, NULL), 0);
    assert_string_not_equal(a, b);
    assert_int_equal(idempotency_fingerprint("/pt", "", "x", 1, b, NULL), 0);
    assert_string_not_equal(a, b);
}

/* ---- addresses ---- */

static void
only_numeric_addresses_are_listened_on(void **state)
{
    struct listen_address address;

    (void)state;
    assert_int_equal(listen_parse("127.0.0.1:0", &address, NULL), 0);
    assert_true(address.is_loopback);
    assert_int_equal(listen_parse("127.9.9.9:65535", &address, NULL), 0);
    assert_true(address.is_loopback);
    assert_int_equal(listen_parse("[::1]:80", &address, NULL), 0);
    assert_true(address.is_loopback);
    assert_int_equal(listen_parse("0.0.0.0:80", &address, NULL), 0);
    assert_false(address.is_loopback);
    assert_int_equal(listen_parse("[::ffff:127.0.0.1]:80", &address, NULL), 0);
    assert_false(address.is_loopback); /* not worth an exception */
    for (size_t i = 0; i < 13; i++) {
        static const char *const bad[] = {"", ":", ":80", "127.0.0.1", "127.0.0.1:", "localhost:80",
            "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:8a", "::1:80", "[::1:80", "[]:80",
            "[127.0.0.1]:80"};

        assert_int_equal(listen_parse(bad[i], &address, NULL), -1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_names_its_resource_byte_for_byte),
        cmocka_unit_test(a_path_may_name_two_things),
        cmocka_unit_test(another_method_is_told_which_there_are),
        cmocka_unit_test(a_segment_longer_than_any_id_still_matches),
        cmocka_unit_test(preferences_are_read_or_ignored),
        cmocka_unit_test(what_was_applied_is_said),
        cmocka_unit_test(bodies_are_in_json_or_msgpack),
        cmocka_unit_test(the_most_specific_range_gives_the_quality),
        cmocka_unit_test(a_parameter_is_whole_in_range_and_given_once),
        cmocka_unit_test(a_text_is_decoded_fits_and_is_given_once),
        cmocka_unit_test(a_key_is_a_token_or_a_quoted_string),
        cmocka_unit_test(no_two_lists_of_parts_hash_alike),
        cmocka_unit_test(only_numeric_addresses_are_listened_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
