/*
 * log_test.c - Every line is one JSON object, whatever is put into it.
 *
 * stderr is a pipe while a line is written; cJSON, which the product trusts for
 * requests, reads it back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/utf8.h"

static int saved_stderr, pipe_ends[2];

static int
catch_stderr(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_INFO);
    if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) == -1)
        return -1;
    saved_stderr = dup(STDERR_FILENO);
    return dup2(pipe_ends[1], STDERR_FILENO) == -1 ? -1 : 0;
}

static int
release_stderr(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    clock_replace(NULL, NULL);
    return 0;
}

/* What was written since the last call, into ${line} [PIPE_BUF + 1]; its length. */
static size_t
caught(char *line)
{
    ssize_t n = read(pipe_ends[0], line, PIPE_BUF);

    if (n < 0)
        n = 0;
    line[n] = '\0';
    return (size_t)n;
}

static cJSON *
caught_json(void)
{
    char line[PIPE_BUF + 1];
    size_t n = caught(line);
    cJSON *json;

    assert_true(n > 2);
    assert_int_equal(line[n - 1], '\n');
    assert_ptr_equal(memchr(line, '\n', n), line + n - 1); /* one line */
    assert_true(utf8_is_valid(line, n));
    json = cJSON_ParseWithOpts(line, NULL, true);
    assert_non_null(json);
    return json;
}

static int64_t
fixed_wall_ms(void)
{
    return INT64_C(1767601800123);
}

static void
a_line_has_the_four_members_and_its_fields_in_order(void **state)
{
    char line[PIPE_BUF + 1];

    (void)state;
    clock_replace(NULL, fixed_wall_ms);
    errno = EXDEV;
    log_info("worker.link", "task finished", LOG_TEXT("task_id", "t1"), LOG_INT("run_ms", -5),
        LOG_NUM("speed", 0.25), LOG_BOOL("ok", true), LOG_TEXT("seed", NULL),
        LOG_NUM("nan", (double)NAN), LOG_NUM("inf", -(double)INFINITY));
    assert_int_equal(errno, EXDEV);
    caught(line);
    assert_string_equal(line,
        "{\"timestamp\":\"2026-01-05T08:30:00.123Z\",\"level\":\"INFO\",\"logger\":\"worker.link\","
        "\"message\":\"task finished\",\"task_id\":\"t1\",\"run_ms\":-5,\"speed\":0.25,\"ok\":true,"
        "\"seed\":null,\"nan\":null,\"inf\":null}\n");
}

static void
lines_below_the_level_are_not_written(void **state)
{
    char line[PIPE_BUF + 1];
    enum log_level level;

    (void)state;
    log_debug("a", "hidden");
    assert_int_equal(caught(line), 0);
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("a", "hidden");
    assert_int_equal(caught(line), 0);
    log_error("a", "shown");
    assert_true(caught(line) > 0);
    assert_int_equal(log_level_from_name("WARNING", &level), 0);
    assert_int_equal(level, LOG_LEVEL_WARNING);
    assert_int_equal(log_level_from_name("LOUD", &level), -1);
    assert_int_equal(log_level_from_name("", &level), -1);
}

static void
every_byte_from_outside_is_escaped_or_replaced(void **state)
{
    char text[2];
    cJSON *json;

    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        const char *value;

        text[0] = (char)byte;
        text[1] = '\0';
        log_info("a", text, LOG_TEXT("x", text));
        json = caught_json();
        value = cJSON_GetStringValue(cJSON_GetObjectItem(json, "x"));
        assert_string_equal(value, byte < 0x80 ? text : "\xEF\xBF\xBD");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "message")), value);
        cJSON_Delete(json);
    }
}

static void
invalid_utf_8_is_replaced_and_what_follows_survives(void **state)
{
    static const char *const invalid[] = {"\xC0\xAF!", "\xED\xA0\x80!", "\xF4\x90\x80\x80!",
        "\xE2\x82!", "\xF0\x9F\x98!", "\x80!", "\xFF\xFE!"};
    cJSON *json;

    (void)state;
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        const char *value;

        log_info("a", "m", LOG_TEXT("x", invalid[i]));
        json = caught_json();
        value = cJSON_GetStringValue(cJSON_GetObjectItem(json, "x"));
        assert_true(strncmp(value, "\xEF\xBF\xBD", 3) == 0);
        assert_int_equal(value[strlen(value) - 1], '!');
        cJSON_Delete(json);
    }
}

static void
a_long_string_is_cut_at_256_bytes_between_characters(void **state)
{
    char text[600];

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        const char *value;
        cJSON *json;
        size_t n = shift;

        memset(text, 'x', shift);
        while (n + 3 < sizeof(text)) {
            memcpy(text + n, "\xE2\x82\xAC", 3);
            n += 3;
        }
        text[n] = '\0';
        log_info("a", "m", LOG_TEXT("x", text));
        json = caught_json();
        value = cJSON_GetStringValue(cJSON_GetObjectItem(json, "x"));
        assert_in_range(strlen(value), 254, 256);
        assert_memory_equal(value, text, strlen(value));
        cJSON_Delete(json);
    }
}

static void
fields_that_do_not_fit_are_left_out_whole_and_shorter_ones_follow(void **state)
{
    char bells[300];
    cJSON *json;

    (void)state;
    memset(bells, 7, sizeof(bells) - 1); /* six bytes each when escaped: 1536 a field */
    bells[sizeof(bells) - 1] = '\0';
    log_info("a", "m", LOG_TEXT("one", bells), LOG_TEXT("two", bells), LOG_TEXT("three", bells),
        LOG_TEXT("four", bells), LOG_INT("last", 7));
    json = caught_json();
    assert_int_equal(strlen(cJSON_GetStringValue(cJSON_GetObjectItem(json, "one"))), 256);
    assert_int_equal(strlen(cJSON_GetStringValue(cJSON_GetObjectItem(json, "two"))), 256);
    assert_null(cJSON_GetObjectItem(json, "three"));
    assert_null(cJSON_GetObjectItem(json, "four"));
    assert_int_equal(cJSON_GetObjectItem(json, "last")->valueint, 7);
    cJSON_Delete(json);
}

#define N_THREADS 4
#define N_LINES   200

static void *
write_lines(void *cookie)
{
    char text[64];

    for (int i = 0; i < N_LINES; i++) {
        memset(text, 'a' + (int)(intptr_t)cookie, sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        log_info("t", text, LOG_INT("i", i));
    }
    return NULL;
}

static void
lines_of_several_threads_do_not_mix(void **state)
{
    pthread_t threads[N_THREADS];
    FILE *lines = tmpfile();
    char line[PIPE_BUF];
    int n = 0;

    (void)state;
    assert_non_null(lines);
    /* A file opened for appending, as a service manager's log is: it cannot fill up as the pipe. */
    fcntl(fileno(lines), F_SETFL, O_APPEND);
    dup2(fileno(lines), STDERR_FILENO);
    for (intptr_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (void *)i), 0);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    rewind(lines);
    while (fgets(line, sizeof(line), lines) != NULL) {
        cJSON *json = cJSON_ParseWithOpts(line, NULL, true);
        const char *message;

        assert_non_null(json);
        message = cJSON_GetStringValue(cJSON_GetObjectItem(json, "message"));
        assert_int_equal(strspn(message, (char[]){message[0], '\0'}), 63);
        cJSON_Delete(json);
        n++;
    }
    fclose(lines);
    assert_int_equal(n, N_THREADS * N_LINES);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, catch_stderr, release_stderr)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_line_has_the_four_members_and_its_fields_in_order),
        LOG_TEST(lines_below_the_level_are_not_written),
        LOG_TEST(every_byte_from_outside_is_escaped_or_replaced),
        LOG_TEST(invalid_utf_8_is_replaced_and_what_follows_survives),
        LOG_TEST(a_long_string_is_cut_at_256_bytes_between_characters),
        LOG_TEST(fields_that_do_not_fit_are_left_out_whole_and_shorter_ones_follow),
        LOG_TEST(lines_of_several_threads_do_not_mix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
