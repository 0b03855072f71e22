/*
 * config_test.c - Which source wins, what is refused and how that reads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/config.h"

static char file_path[] = "/tmp/kronosq-config-XXXXXX";

static void
write_file(const char *text)
{
    FILE *file = fopen(file_path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Load with the words of one command line and one environment, each ending in NULL. */
static int
load(enum config_daemon daemon, const char *const *flags, const char *const *environment,
    struct config **config, enum config_action *action, struct error *err)
{
    char *argv[16] = {(char *)"program"};
    int argc = 1;

    for (; flags != NULL && flags[argc - 1] != NULL; argc++)
        argv[argc] = (char *)flags[argc - 1];
    return config_load(config, daemon, argc, argv, (char *const *)environment, action, err);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct config *
loaded(enum config_daemon daemon, const char *const *flags, const char *const *environment)
{
    enum config_action action;
    struct config *config;
    struct error err = {0};

    if (load(daemon, flags, environment, &config, &action, &err) == -1)
        fail_msg("%s", err.text);
    assert_int_equal(action, CONFIG_RUN);
    return config;
}

/* The source is refused, and the text has every word of ${parts}. */
static void
refused(enum config_daemon daemon, const char *const *flags, const char *const *environment,
    const char *const *parts)
{
    enum config_action action;
    struct config *config;
    struct error err = {0};

    assert_int_equal(load(daemon, flags, environment, &config, &action, &err), -1);
    assert_null(config);
    assert_int_equal(err.code, ERR_INVALID);
    for (; *parts != NULL; parts++) {
        if (strstr(err.text, *parts) == NULL)
            fail_msg("'%s' does not say '%s'", err.text, *parts);
    }
}

static void
printed(const struct config *config, char *text, size_t size)
{
    FILE *out = fmemopen(text, size, "w");

    assert_non_null(out);
    config_print(config, out);
    assert_int_equal(fclose(out), 0);
}

static void
without_any_source_every_setting_has_its_default(void **state)
{
    static const enum config_daemon daemons[] = {CONFIG_API, CONFIG_WORKER, CONFIG_WEBHOOK};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct config *config = loaded(daemons[i], NULL, NULL);

        assert_string_equal(config_text(config, CONFIG_REDIS_URL), "redis://127.0.0.1:6379/0");
        assert_string_equal(config_text(config, CONFIG_LISTEN), "127.0.0.1:8000");
        assert_int_equal(config_integer(config, CONFIG_SLOTS), 8);
        assert_true(config_number(config, CONFIG_CLIP_VALUE) == 5.0);
        assert_true(config_bool(config, CONFIG_ADMISSION));
        assert_false(config_bool(config, CONFIG_ONCE));
        assert_int_equal(config_level(config, CONFIG_LOG_LEVEL), LOG_LEVEL_INFO);
        assert_null(config_text(config, CONFIG_KEYS_FILE));
        assert_null(config_retired(config, 0));
        config_free(config);
    }
}

static void
a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default(void **state)
{
    char text[16384];
    struct config *config;
    char want[128];

    (void)state;
    write_file("# a comment\n\n  KRONOS_SLOTS = 5  # five\nKRONOS_THREADS=6\n"
               "KRONOS_MAX_CONTEXT=64\nKRONOS_MODEL_NAME=a#b\n");
    config = loaded(CONFIG_WORKER, WORDS("--slots=3", "--config", file_path),
        WORDS("KRONOS_SLOTS=4", "KRONOS_THREADS=7", "PATH=/bin", "KRONOSQ_X=1"));
    assert_int_equal(config_integer(config, CONFIG_SLOTS), 3);
    assert_int_equal(config_integer(config, CONFIG_THREADS), 7);
    assert_int_equal(config_integer(config, CONFIG_MAX_CONTEXT), 64);
    assert_string_equal(config_text(config, CONFIG_MODEL_NAME), "a#b");
    printed(config, text, sizeof(text));
    assert_non_null(strstr(text, "KRONOS_SLOTS=3  # flag\n"));
    assert_non_null(strstr(text, "KRONOS_THREADS=7  # env\n"));
    snprintf(want, sizeof(want), "KRONOS_MAX_CONTEXT=64  # %s:5\n", file_path);
    assert_non_null(strstr(text, want));
    assert_non_null(strstr(text, "KRONOS_DRAIN_TIMEOUT=25  # default\n"));
    assert_non_null(strstr(text, "KRONOS_MODEL_PATH=  # default\n"));
    assert_non_null(strstr(text, "--once=false  # default\n"));
    assert_null(strstr(text, "KRONOS_LISTEN")); /* the API's */
    config_free(config);
}

static void
flags_take_their_value_behind_a_space_or_an_equals_sign(void **state)
{
    struct config *config = loaded(CONFIG_WORKER,
        WORDS("--slots", "2", "--threads=4", "--once", "--step-delay-ms", "10", "--slots", "9"),
        NULL);

    (void)state;
    assert_int_equal(config_integer(config, CONFIG_SLOTS), 9); /* the last counts */
    assert_int_equal(config_integer(config, CONFIG_THREADS), 4);
    assert_int_equal(config_integer(config, CONFIG_STEP_DELAY_MS), 10);
    assert_true(config_bool(config, CONFIG_ONCE));
    config_free(config);

    config = loaded(CONFIG_API,
        WORDS("--insecure", "--admission", "false", "--sync-default=1", "--allow-volatile", "true",
            "-v"),
        NULL);
    assert_true(config_bool(config, CONFIG_INSECURE));
    assert_false(config_bool(config, CONFIG_ADMISSION));
    assert_true(config_bool(config, CONFIG_SYNC_DEFAULT));
    assert_true(config_bool(config, CONFIG_ALLOW_VOLATILE));
    assert_int_equal(config_level(config, CONFIG_LOG_LEVEL), LOG_LEVEL_DEBUG);
    config_free(config);
}

static void
an_unknown_name_is_refused_with_the_nearest_known_one(void **state)
{
    (void)state;
    refused(CONFIG_API, NULL, WORDS("KRONOS_LISEN=x"),
        WORDS("KRONOS_LISEN", "environment", "KRONOS_LISTEN"));
    refused(CONFIG_API, NULL, WORDS("KRONOS_="), WORDS("environment"));
    refused(CONFIG_WORKER, WORDS("--slot=1"), NULL, WORDS("--slot ", "--slots"));
    refused(CONFIG_WORKER, WORDS("--chek"), NULL, WORDS("--check"));
    refused(CONFIG_WORKER, WORDS("model"), NULL, WORDS("'model'", "--help"));
    refused(CONFIG_WORKER, WORDS("--"), NULL, WORDS("'--'"));
    write_file("KRONOS_SLOTS=4\nTHREADS=2\n");
    refused(CONFIG_WORKER, WORDS("--config", file_path), NULL,
        WORDS("THREADS", ":2", "KRONOS_THREADS"));
    /* A name as long as anyone likes is shortened, not trusted. */
    refused(CONFIG_API, NULL,
        WORDS("KRONOS_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=1"),
        WORDS("KRONOS_AAAA", "nearest"));
}

static void
a_bad_value_names_its_origin_itself_and_the_limit(void **state)
{
    (void)state;
    refused(CONFIG_WORKER, WORDS("--slots", "0"), NULL,
        WORDS("KRONOS_SLOTS", "flag --slots", "0", "1..256"));
    refused(CONFIG_WORKER, NULL, WORDS("KRONOS_SLOTS=257"), WORDS("environment", "257", "1..256"));
    write_file("\n\nKRONOS_CLIP_VALUE=1e9\n");
    refused(CONFIG_WORKER, WORDS("--config", file_path), NULL,
        WORDS("KRONOS_CLIP_VALUE", file_path, ":3", "0.1..100"));
    refused(CONFIG_WORKER, WORDS("--step-delay-ms=60001"), NULL, WORDS("--step-delay-ms", "60000"));
    refused(CONFIG_API, NULL, WORDS("KRONOS_LOG_LEVEL=LOUD"), WORDS("LOUD", "WARNING"));
    refused(CONFIG_API, NULL, WORDS("KRONOS_ADMISSION=yes"), WORDS("yes", "true"));
    refused(CONFIG_API, WORDS("--insecure=maybe"), NULL, WORDS("--insecure", "maybe"));
    refused(CONFIG_API, NULL, WORDS("KRONOS_LISTEN="), WORDS("KRONOS_LISTEN", "empty"));
    refused(CONFIG_API, WORDS("--listen"), NULL, WORDS("--listen", "value"));
    /* Also where a stronger source overrides it: nobody can have meant it. */
    refused(CONFIG_WORKER, WORDS("--slots=2"), WORDS("KRONOS_SLOTS=many"), WORDS("many"));
    /* And where only another daemon reads it. */
    refused(CONFIG_API, NULL, WORDS("KRONOS_SLOTS=many"), WORDS("many"));
}

static void
numbers_are_numbers_and_nothing_else(void **state)
{
    static const char *const integers[] = {"KRONOS_SLOTS= 1", "KRONOS_SLOTS=1 ", "KRONOS_SLOTS=+1",
        "KRONOS_SLOTS=0x10", "KRONOS_SLOTS=1.0", "KRONOS_SLOTS=", "KRONOS_SLOTS=-",
        "KRONOS_SLOTS=99999999999999999999999"};
    static const char *const numbers[] = {"KRONOS_CLIP_VALUE=nan", "KRONOS_CLIP_VALUE=inf",
        "KRONOS_CLIP_VALUE=0x1p3", "KRONOS_CLIP_VALUE=1e999", "KRONOS_CLIP_VALUE=5,0",
        "KRONOS_CLIP_VALUE=", "KRONOS_CLIP_VALUE= 5"};

    (void)state;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++)
        refused(CONFIG_WORKER, NULL, WORDS(integers[i]), WORDS("KRONOS_SLOTS", "1..256"));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        refused(CONFIG_WORKER, NULL, WORDS(numbers[i]), WORDS("KRONOS_CLIP_VALUE", "0.1..100"));
}

static void
another_daemons_names_are_accepted_but_not_its_flags(void **state)
{
    struct config *config =
        loaded(CONFIG_API, NULL, WORDS("KRONOS_SLOTS=4", "KRONOS_WEBHOOK_TIMEOUT=3"));

    (void)state;
    config_free(config);
    refused(CONFIG_API, WORDS("--slots=4"), NULL, WORDS("--slots", "kronosq-worker"));
}

static void
retired_names_are_accepted_and_reported_once_each(void **state)
{
    struct config *config;

    (void)state;
    write_file("KRONOS_PORT=1\n");
    config = loaded(CONFIG_API, WORDS("--config", file_path),
        WORDS("KRONOS_DEFAULT_LOOKBACK=400", "KRONOS_PORT=8000"));
    assert_string_equal(config_retired(config, 0), "KRONOS_DEFAULT_LOOKBACK");
    assert_string_equal(config_retired(config, 1), "KRONOS_PORT");
    assert_null(config_retired(config, 2));
    config_free(config);
}

static void
a_whitelist_is_refused_unless_security_was_switched_off(void **state)
{
    struct config *config;

    (void)state;
    refused(CONFIG_API, NULL, WORDS("KRONOS_CONTAINER_WHITELIST=a"),
        WORDS("KRONOS_CONTAINER_WHITELIST", "environment", "KRONOS_KEYS_FILE"));
    refused(CONFIG_API, NULL, WORDS("KRONOS_CONTAINER_WHITELIST=a", "KRONOS_SECURITY_ENABLED=true"),
        WORDS("KRONOS_CONTAINER_WHITELIST"));
    refused(CONFIG_API, NULL, WORDS("KRONOS_SECURITY_ENABLED=perhaps"), WORDS("perhaps"));
    config = loaded(
        CONFIG_API, NULL, WORDS("KRONOS_SECURITY_ENABLED=false", "KRONOS_CONTAINER_WHITELIST=a"));
    assert_string_equal(config_retired(config, 0), "KRONOS_SECURITY_ENABLED");
    config_free(config);
    /* The environment wins over the file here too. */
    write_file("KRONOS_SECURITY_ENABLED=false\n");
    refused(CONFIG_API, WORDS("--config", file_path),
        WORDS("KRONOS_SECURITY_ENABLED=1", "KRONOS_CONTAINER_WHITELIST=a"),
        WORDS("KRONOS_CONTAINER_WHITELIST"));
}

static void
a_worker_refuses_a_device_it_has_not(void **state)
{
    struct config *config = loaded(CONFIG_API, NULL, WORDS("KRONOS_DEVICE=cuda:0"));

    (void)state;
    config_free(config);
    refused(CONFIG_WORKER, NULL, WORDS("KRONOS_DEVICE=cuda:0"), WORDS("cuda:0", "cpu"));
    config_free(loaded(CONFIG_WORKER, NULL, WORDS("KRONOS_DEVICE=cpu")));
}

static void
a_key_that_stands_twice_in_the_file_is_refused_with_both_lines(void **state)
{
    (void)state;
    write_file("KRONOS_SLOTS=4\n# again\nKRONOS_SLOTS=5\n");
    refused(CONFIG_WORKER, WORDS("--config", file_path), NULL,
        WORDS("KRONOS_SLOTS", "line 1", "line 3"));
}

static void
a_file_that_is_none_is_refused(void **state)
{
    enum config_action action;
    struct config *config;
    struct error err;
    FILE *file;

    (void)state;
    assert_int_equal(
        load(CONFIG_API, WORDS("--config", "/nonexistent/x"), NULL, &config, &action, &err), -1);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
    refused(CONFIG_API, WORDS("--config", "/tmp"), NULL, WORDS("/tmp"));
    refused(CONFIG_API, WORDS("--config="), NULL, WORDS("--config"));
    refused(CONFIG_API, WORDS("--config"), NULL, WORDS("--config"));
    write_file("KRONOS_LISTEN=x\nhunter2\n");
    refused(CONFIG_API, WORDS("--config", file_path), NULL, WORDS(":2", "KEY=VALUE"));
    assert_non_null(file = fopen(file_path, "we"));
    assert_int_equal(fwrite("KRONOS_LISTEN=a\0b\n", 1, 18, file), 18);
    fclose(file);
    refused(CONFIG_API, WORDS("--config", file_path), NULL, WORDS(":1", "zero byte"));
}

static void
a_redis_password_is_never_shown(void **state)
{
    char text[16384];
    struct config *config =
        loaded(CONFIG_API, NULL, WORDS("KRONOS_REDIS_URL=redis://me:hunter2@host:1/3"));
    enum config_action action;
    struct error err;

    (void)state;
    printed(config, text, sizeof(text));
    assert_non_null(strstr(text, "KRONOS_REDIS_URL=redis://me:***@host:1/3  # env\n"));
    assert_null(strstr(text, "hunter2"));
    config_free(config);
    assert_int_equal(load(CONFIG_API, WORDS("--redis", "redis://me:hunter2@host:99999"), NULL,
                         &config, &action, &err),
        -1);
    assert_non_null(strstr(err.text, "port"));
    assert_null(strstr(err.text, "hunter2"));
    assert_int_equal(
        load(CONFIG_API, WORDS("--redis", "http://me:hunter2@host"), NULL, &config, &action, &err),
        -1);
    assert_null(strstr(err.text, "hunter2"));
}

static void
help_and_version_come_even_where_the_environment_is_wrong(void **state)
{
    enum config_action action;
    struct config *config;
    struct error err;
    char text[16384] = "";
    FILE *out;

    (void)state;
    assert_int_equal(
        load(CONFIG_WORKER, WORDS("--help"), WORDS("KRONOS_X=1"), &config, &action, &err), 0);
    assert_int_equal(action, CONFIG_HELP);
    config_free(config);
    assert_int_equal(load(CONFIG_WORKER, WORDS("--check"), NULL, &config, &action, &err), 0);
    assert_int_equal(action, CONFIG_CHECK);
    config_free(config);
    assert_int_equal(load(CONFIG_WORKER, WORDS("--print-config"), NULL, &config, &action, &err), 0);
    assert_int_equal(action, CONFIG_PRINT);
    config_free(config);
    assert_non_null(out = fmemopen(text, sizeof(text), "w"));
    config_help(CONFIG_WORKER, out);
    fclose(out);
    assert_non_null(strstr(text, "--slots, KRONOS_SLOTS"));
    assert_non_null(strstr(text, "--once\n"));
    assert_null(strstr(text, "KRONOS_LISTEN"));
}

static void
fault_injection_is_known_to_debug_builds_only(void **state)
{
    (void)state;
#ifdef KRONOSQ_DEBUG
    config_free(loaded(CONFIG_WORKER, NULL, WORDS("KRONOS_FAIL=after_claim:0.5")));
#else
    refused(CONFIG_WORKER, NULL, WORDS("KRONOS_FAIL=after_claim:0.5"), WORDS("KRONOS_FAIL"));
#endif
}

/* Run config_start with its two streams sent nowhere. */
static int
started(const char *const *flags, const char *const *environment)
{
    char *argv[16] = {(char *)"program"};
    int argc = 1, null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC), status;
    int saved_out = dup(STDOUT_FILENO), saved_err = dup(STDERR_FILENO);
    struct config *config;

    for (; flags != NULL && flags[argc - 1] != NULL; argc++)
        argv[argc] = (char *)flags[argc - 1];
    fflush(stdout);
    dup2(null_fd, STDOUT_FILENO);
    dup2(null_fd, STDERR_FILENO);
    status = config_start(&config, CONFIG_API, argc, argv, (char *const *)environment);
    fflush(stdout);
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved_err, STDERR_FILENO);
    close(null_fd);
    close(saved_out);
    close(saved_err);
    assert_true((config != NULL) == (status == CONFIG_START_RUN));
    config_free(config);
    return status;
}

static void
a_start_ends_with_the_status_the_service_manager_understands(void **state)
{
    (void)state;
    assert_int_equal(started(NULL, NULL), CONFIG_START_RUN);
    assert_int_equal(started(NULL, WORDS("KRONOS_PORT=1")), CONFIG_START_RUN);
    assert_int_equal(started(WORDS("--check"), NULL), 0);
    assert_int_equal(started(WORDS("--version"), NULL), 0);
    assert_int_equal(started(WORDS("--help"), NULL), 0);
    assert_int_equal(started(WORDS("--print-config"), NULL), 0);
    assert_int_equal(started(WORDS("--check", "--nothing"), NULL), 78);
    assert_int_equal(started(WORDS("--check"), WORDS("KRONOS_X=1")), 78);
    assert_int_equal(started(NULL, WORDS("KRONOS_REDIS_PASSWORD_FILE=/nonexistent/p")), 78);
}

static int
make_file(void **state)
{
    int fd = mkstemp(file_path);

    (void)state;
    return fd == -1 ? -1 : close(fd);
}

static int
remove_file(void **state)
{
    (void)state;
    return unlink(file_path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_any_source_every_setting_has_its_default),
        cmocka_unit_test(a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default),
        cmocka_unit_test(flags_take_their_value_behind_a_space_or_an_equals_sign),
        cmocka_unit_test(an_unknown_name_is_refused_with_the_nearest_known_one),
        cmocka_unit_test(a_bad_value_names_its_origin_itself_and_the_limit),
        cmocka_unit_test(numbers_are_numbers_and_nothing_else),
        cmocka_unit_test(another_daemons_names_are_accepted_but_not_its_flags),
        cmocka_unit_test(retired_names_are_accepted_and_reported_once_each),
        cmocka_unit_test(a_whitelist_is_refused_unless_security_was_switched_off),
        cmocka_unit_test(a_worker_refuses_a_device_it_has_not),
        cmocka_unit_test(a_key_that_stands_twice_in_the_file_is_refused_with_both_lines),
        cmocka_unit_test(a_file_that_is_none_is_refused),
        cmocka_unit_test(a_redis_password_is_never_shown),
        cmocka_unit_test(help_and_version_come_even_where_the_environment_is_wrong),
        cmocka_unit_test(fault_injection_is_known_to_debug_builds_only),
        cmocka_unit_test(a_start_ends_with_the_status_the_service_manager_understands),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
