/*
 * http_head_test.c - The header block's judge: every fault by its status, at every cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/head.h"

#define BODY_MAX 1000

struct outcome {
    enum head_verdict verdict;
    int status;
    char code[40];
    size_t used;
};

/* Feed ${text} in pieces of ${piece} bytes, each in memory of its own so that ASan sees its end. */
static struct outcome
feed(struct head *head, const char *text, size_t len, size_t piece)
{
    struct problem problem = {0};
    struct outcome o = {.verdict = HEAD_MORE};

    for (size_t at = 0; at < len && o.verdict == HEAD_MORE;) {
        size_t n = len - at < piece ? len - at : piece, used = 0;
        char *copy = malloc(n);

        assert_non_null(copy);
        memcpy(copy, text + at, n);
        o.verdict = head_feed(head, copy, n, &used, &problem);
        free(copy);
        assert_true(used <= n && (o.verdict != HEAD_MORE || used == n));
        at += used;
        o.used = at;
    }
    if (o.verdict == HEAD_REFUSED) {
        assert_true(problem.closes);
        o.status = problem.status;
        snprintf(o.code, sizeof(o.code), "%s", problem.code);
    } else {
        assert_int_equal(problem.status, 0);
    }
    problem_clear(&problem);
    return o;
}

static void
assert_refused(const char *text, size_t len, int status)
{
    for (size_t piece = 1; piece <= len; piece = piece < 8 ? piece + 1 : piece * 3) {
        struct head *head = head_new(BODY_MAX);
        struct outcome o;

        assert_non_null(head);
        o = feed(head, text, len, piece);
        if (o.verdict != HEAD_REFUSED || o.status != status)
            fail_msg("%.60s: verdict %d status %d, wanted %d", text, o.verdict, o.status, status);
        head_free(head);
    }
}

#define REFUSED(text, status) assert_refused(text, sizeof(text) - 1, status)

static void
a_good_block_is_read_the_same_at_every_cut(void **state)
{
    static const char text[] =
        "POST /v1/predict/single?wait=5&x= HTTP/1.1\r\nHost: a:1\r\ncontent-LENGTH:  12 \t\r\n"
        "Expect: 100-Continue\r\nPrefer: wait=5\r\nprefer:\trespond-async\r\nEmpty:\r\n\r\nbody";

    (void)state;
    for (size_t piece = 1; piece <= sizeof(text); piece++) {
        struct head *head = head_new(BODY_MAX);
        struct outcome o = feed(head, text, sizeof(text) - 1, piece);

        assert_int_equal(o.verdict, HEAD_COMPLETE);
        assert_int_equal(o.used, sizeof(text) - 1 - 4);
        assert_int_equal(head->method, HEAD_METHOD_POST);
        assert_string_equal(head_method_text(head), "POST");
        assert_string_equal(head_path(head), "/v1/predict/single");
        assert_string_equal(head_query(head), "wait=5&x=");
        assert_int_equal(head->content_length, 12);
        assert_true(head->expects_continue);
        assert_false(head->wants_close);
        assert_string_equal(head_field(head, "PREFER", 0), "wait=5");
        assert_string_equal(head_field(head, "Prefer", 1), "respond-async");
        assert_null(head_field(head, "Prefer", 2));
        assert_string_equal(head_field(head, "empty", 0), "");
        head_free(head);
    }
}

static void
an_unfinished_block_asks_for_more_at_every_length(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        struct head *head = head_new(BODY_MAX);

        assert_int_equal(feed(head, text, n, 1 + n / 3).verdict, HEAD_MORE);
        head_free(head);
    }
}

static void
what_two_readers_could_see_differently_is_refused(void **state)
{
    (void)state;
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 411);
    REFUSED("POST / HTTP/1.1\r\nTRANSFER-encoding:\r\n\r\n", 411);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\n X: b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\n\0Host: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nX: a\r\n\r\n", 400);
    REFUSED("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400);
}

static void
request_lines_that_are_none_are_refused(void **state)
{
    (void)state;
    REFUSED("GET /\r\n", 400);
    REFUSED("GET / HTTP/1.1 \r\n", 400);
    REFUSED(" GET / HTTP/1.1\r\n", 400);
    REFUSED("GET  / HTTP/1.1\r\n", 400);
    REFUSED("G(T / HTTP/1.1\r\n", 400);
    REFUSED("GET / HTTP/1.1x\r\n", 400);
    REFUSED("GET / HTTP/1\r\n", 400);
    REFUSED("GET / http/1.1\r\n", 400);
    REFUSED("GET x HTTP/1.1\r\n", 400);
    REFUSED("GET * HTTP/1.1\r\n", 400);
    REFUSED("GET /%00 HTTP/1.1\r\n", 400);
    REFUSED("GET /\xc3\xa4 HTTP/1.1\r\n", 400);
    REFUSED("PRI * HTTP/2.0\r\n", 505);
    REFUSED("GET / HTTP/1.2\r\n", 505);
    REFUSED("GET / HTTP/0.9\r\n", 505);
    REFUSED("\x16\x03\x01\x02", 400);
    REFUSED("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHI / HTTP/1.1\r\n", 400);
}

static void
limits_hold_to_the_byte(void **state)
{
    static char text[HEAD_BYTES_MAX + 200];
    struct head *head;
    int n;

    (void)state;
    n = snprintf(
        text, sizeof(text), "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", HEAD_TARGET_MAX - 1, 0);
    head = head_new(BODY_MAX);
    assert_int_equal(feed(head, text, (size_t)n, 999).verdict, HEAD_COMPLETE);
    head_free(head);
    n = snprintf(text, sizeof(text), "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", HEAD_TARGET_MAX, 0);
    assert_refused(text, (size_t)n, 414);
    n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d", HEAD_BYTES_MAX, 0);
    assert_refused(text, (size_t)n, 431);
    for (unsigned n_lines = HEAD_LINES_MAX; n_lines <= HEAD_LINES_MAX + 1; n_lines++) {
        n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n");
        for (unsigned i = 1; i < n_lines; i++)
            n += snprintf(text + n, sizeof(text) - (size_t)n, "X%u: a\r\n", i);
        n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
        if (n_lines > HEAD_LINES_MAX) {
            assert_refused(text, (size_t)n, 431);
            continue;
        }
        head = head_new(BODY_MAX);
        assert_int_equal(feed(head, text, (size_t)n, 50).verdict, HEAD_COMPLETE);
        assert_string_equal(head_field(head, "X99", 0), "a");
        head_free(head);
    }
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413);
    head = head_new(BODY_MAX);
    n = snprintf(
        text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0001000\r\n\r\n");
    assert_int_equal(feed(head, text, (size_t)n, 7).verdict, HEAD_COMPLETE);
    assert_int_equal(head->content_length, 1000);
    head_free(head);
}

static bool
keeps_open(const char *version, const char *line)
{
    struct head *head = head_new(BODY_MAX);
    char text[200];
    int n = snprintf(text, sizeof(text), "GET / %s\r\nHost: a\r\n%s\r\n", version, line);
    bool keeps;

    assert_int_equal(feed(head, text, (size_t)n, 5).verdict, HEAD_COMPLETE);
    keeps = !head->wants_close;
    head_free(head);
    return keeps;
}

static void
the_client_says_whether_the_connection_is_kept(void **state)
{
    (void)state;
    assert_true(keeps_open("HTTP/1.1", ""));
    assert_false(keeps_open("HTTP/1.1", "Connection: x, CLOSE\r\n"));
    assert_true(keeps_open("HTTP/1.1", "Connection: closed\r\n"));
    assert_false(keeps_open("HTTP/1.0", ""));
    assert_true(keeps_open("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

static void
a_request_id_is_taken_when_fit_also_from_what_was_not_read(void **state)
{
    struct head *head = head_new(BODY_MAX);
    char id[HEAD_REQUEST_ID_MAX + 1];
    const char *rest = "rest of a line\r\nHost: b\r\nx-request-id: A.b_9-z \r\nX: y";
    static const char text[] = "GET / HTTP/1.1\r\nX-Request-ID: from-head\r\nHost: a\r\n\r\n";

    (void)state;
    assert_true(head_request_id(head, rest, strlen(rest), id));
    assert_string_equal(id, "A.b_9-z");
    assert_false(head_request_id(NULL, "X-Request-ID: a b\r\n", 19, id));
    assert_string_equal(id, "");
    assert_false(head_request_id(NULL, "X-Request-ID:", 13, id));
    assert_false(head_request_id(NULL, "", 0, id));
    feed(head, text, sizeof(text) - 1, 9);
    assert_true(head_request_id(head, rest, strlen(rest), id));
    assert_string_equal(id, "from-head");
    head_free(head);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_block_is_read_the_same_at_every_cut),
        cmocka_unit_test(an_unfinished_block_asks_for_more_at_every_length),
        cmocka_unit_test(what_two_readers_could_see_differently_is_refused),
        cmocka_unit_test(request_lines_that_are_none_are_refused),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(the_client_says_whether_the_connection_is_kept),
        cmocka_unit_test(a_request_id_is_taken_when_fit_also_from_what_was_not_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
