/*
 * redis_test.c - Addresses and passwords, and what a Redis must be before it is used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/redis.h"
#include "common/redis_handshake.h"
#include "tests/support/redis_server.h"

static void
urls_name_host_port_database_and_login(void **state)
{
    static const struct {
        const char *url, *described, *user, *password;
    } cases[] = {
        {"redis://localhost", "localhost:6379/0", "", ""},
        {"redis://127.0.0.1:1/", "127.0.0.1:1/0", "", ""},
        {"redis://h:65535/15", "h:65535/15", "", ""},
        {"redis://[::1]:7000/2", "[::1]:7000/2", "", ""},
        {"redis://[fe80::1]", "[fe80::1]:6379/0", "", ""},
        {"redis://me@h", "h:6379/0", "me", ""},
        {"redis://me:pw@h/1", "h:6379/1", "me", "pw"},
        {"redis://:pw@h", "h:6379/0", "", "pw"},
        {"redis://me:p%40%2f%3A%25@h", "h:6379/0", "me", "p@/:%"},
        {"redis://me:a:b@h", "h:6379/0", "me", "a:b"},
        {"redis://me:a@b@h", "h:6379/0", "me", "a@b"},
        {"unix:///run/redis.sock", "/run/redis.sock/0", "", ""},
        {"unix:///run/redis.sock?db=3", "/run/redis.sock/3", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redis_settings s;
        struct error err = {0};
        char text[REDIS_DESCRIBE_MAX];

        if (redis_settings_parse(&s, cases[i].url, NULL, &err) == -1)
            fail_msg("%s: %s", cases[i].url, err.text);
        redis_settings_describe(&s, text, sizeof(text));
        assert_string_equal(text, cases[i].described);
        assert_string_equal(s.user, cases[i].user);
        assert_string_equal(s.password, cases[i].password);
        redis_settings_clear(&s);
        assert_string_equal(s.password, "");
    }
}

static void
a_wrong_url_is_refused_without_its_password(void **state)
{
    static const char *const urls[] = {"", "redis://", "redis:///1", "http://u:hunter2@h",
        "redis://u:hunter2@", "redis://u:hunter2@h:0", "redis://u:hunter2@h:65536",
        "redis://u:hunter2@h:6379x", "redis://u:hunter2@h:", "redis://u:hunter2@h/x",
        "redis://u:hunter2@h/-1", "redis://u:hunter2@h/99999999999", "redis://u:hunter2@h?db=1",
        "redis://u:hunter2%@h", "redis://u:hunter2%4@h", "redis://u:hunter2%00@h",
        "redis://u:hunter2%zz@h", "redis://u:hunter2@[::1", "redis://u:hunter2@[::1]6379",
        "redis://u:hunter2/x@h", "rediss://u:hunter2@h", "unix://relative.sock", "unix://",
        "unix:///s?database=1", "unix:///s?db=", "unix:///s?db=1x"};
    static const char *const before[] = {"redis://", "redis://u:", "unix:///"};
    static const char *const behind[] = {"", "@h", ""};
    char huge[2048];
    struct redis_settings s;

    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct error err = {0};

        if (redis_settings_parse(&s, urls[i], NULL, &err) != -1)
            fail_msg("%s was accepted", urls[i]);
        assert_int_equal(err.code, ERR_INVALID);
        assert_null(strstr(err.text, "hunter2"));
    }
    for (size_t n = 0; n < 3; n++) {
        char name[1024];
        struct error err = {0};

        memset(name, 'n', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        snprintf(huge, sizeof(huge), "%s%s%s", before[n], name, behind[n]);
        assert_int_equal(redis_settings_parse(&s, huge, NULL, &err), -1);
        assert_non_null(strstr(err.text, "over"));
    }
}

static void
the_password_files_first_line_wins_over_the_url(void **state)
{
    char path[] = "/tmp/kronosq-password-XXXXXX", longer[300];
    struct redis_settings s;
    struct error err;
    FILE *file;

    (void)state;
    assert_non_null(file = fdopen(mkstemp(path), "w"));
    fputs("from file\r\nsecond line\n", file);
    fflush(file);
    assert_int_equal(redis_settings_parse(&s, "redis://me:url@h", path, &err), 0);
    assert_string_equal(s.password, "from file");
    assert_string_equal(s.user, "me");

    memset(longer, 'p', sizeof(longer));
    rewind(file);
    fwrite(longer, 1, 256, file); /* one more than fits */
    fflush(file);
    assert_int_equal(redis_settings_parse(&s, "redis://h", path, &err), -1);
    assert_non_null(strstr(err.text, path));
    assert_null(strstr(err.text, "ppp"));

    assert_int_equal(ftruncate(fileno(file), 255), 0);
    assert_int_equal(redis_settings_parse(&s, "redis://h", path, &err), 0);
    assert_int_equal(strlen(s.password), 255);

    assert_int_equal(ftruncate(fileno(file), 0), 0);
    assert_int_equal(redis_settings_parse(&s, "redis://h", path, &err), -1);
    assert_non_null(strstr(err.text, "empty"));
    fclose(file);
    unlink(path);
    assert_int_equal(redis_settings_parse(&s, "redis://h", path, &err), -1);
    assert_non_null(strstr(err.text, path));
}

/* ---- with a Redis ---- */

static int
start_redis(void **state)
{
    return (*state = redis_server_new(NULL)) == NULL ? -1 : 0;
}

static int
end_redis(void **state)
{
    redis_server_free(*state);
    return 0;
}

static redisContext *
opened(const struct redis_server *server, const char *login, const char *query, struct error *err)
{
    struct redis_settings s;
    char url[256];

    snprintf(url, sizeof(url), "%s%s", redis_server_url(server), query);
    assert_int_equal(redis_settings_parse(&s, url, NULL, err), 0);
    if (login != NULL) {
        const char *colon = strchr(login, ':');

        snprintf(s.user, sizeof(s.user), "%.*s", (int)(colon - login), login);
        snprintf(s.password, sizeof(s.password), "%s", colon + 1);
    }
    return redis_open(&s, "redis-test", err);
}

static void
run(redisContext *c, const char *command)
{
    redisReply *reply = redisCommand(c, command);

    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", command, reply->str);
    freeReplyObject(reply);
}

static void
an_open_connection_has_its_name_and_its_database(void **state)
{
    struct redis_server *server = *state;
    char id[41], again[41];
    struct error err;
    redisContext *c;
    redisReply *reply;

    assert_non_null(c = opened(server, NULL, "?db=3", &err));
    reply = redisCommand(c, "CLIENT INFO");
    assert_non_null(strstr(reply->str, "name=redis-test "));
    assert_non_null(strstr(reply->str, " db=3 "));
    freeReplyObject(reply);
    assert_int_equal(redis_run_id(c, id, &err), 0);
    assert_int_equal(strlen(id), 40);
    redisFree(c);
    assert_int_equal(redis_server_stop(server), 0);
    assert_null(opened(server, NULL, "", &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_int_equal(redis_server_start(server), 0);
    assert_non_null(c = opened(server, NULL, "", &err));
    assert_int_equal(redis_run_id(c, again, &err), 0);
    assert_string_not_equal(id, again);
    redisFree(c);
    assert_null(opened(server, NULL, "?db=99", &err));
    assert_int_equal(err.code, ERR_INVALID);
}

static void
a_password_must_be_right(void **state)
{
    struct redis_server *server = *state;
    struct error err;
    redisContext *c;

    assert_non_null(c = opened(server, NULL, "", &err));
    run(c, "ACL SETUSER worker on >hunter2 ~* +@all");
    run(c, "ACL SETUSER reader on >hunter2 ~* +@read +ping");
    run(c, "CONFIG SET requirepass hunter3");
    redisFree(c);
    assert_non_null(c = opened(server, "worker:hunter2", "", &err));
    redisFree(c);
    assert_non_null(c = opened(server, ":hunter3", "", &err));
    redisFree(c);
    assert_null(opened(server, "worker:hunter4", "", &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "AUTH"));
    assert_null(strstr(err.text, "hunter"));
    assert_null(opened(server, NULL, "", &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(opened(server, "reader:hunter2", "", &err)); /* may not ask for ROLE */
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "ROLE"));
}

static void
a_replica_is_refused(void **state)
{
    struct redis_server *server = *state;
    struct error err;
    redisContext *c;

    assert_non_null(c = opened(server, NULL, "", &err));
    run(c, "REPLICAOF 127.0.0.1 1");
    assert_null(opened(server, NULL, "", &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "slave"));
    run(c, "REPLICAOF NO ONE");
    redisFree(c);
}

static void
a_frozen_redis_is_given_up_in_time(void **state)
{
    struct redis_server *server = *state;
    int64_t began = clock_monotonic_ms();
    struct error err;

    assert_int_equal(redis_server_freeze(server), 0);
    assert_null(opened(server, NULL, "", &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "in time"));
    assert_in_range(clock_monotonic_ms() - began, 1400, 6000);
    assert_int_equal(redis_server_thaw(server), 0);
}

static void
a_redis_that_loses_tasks_is_refused_with_the_command_that_mends_it(void **state)
{
    struct redis_server *server = *state;
    struct error err;
    redisContext *c;

    assert_non_null(c = opened(server, NULL, "", &err));
    assert_int_equal(redis_refusal(c, &err), 0);
    assert_string_equal(err.text, "");
    assert_int_equal(redis_refusal(c, NULL), 0);

    run(c, "CONFIG SET maxmemory-policy allkeys-lru");
    assert_int_equal(redis_refusal(c, &err), -1);
    assert_non_null(strstr(err.text, "CONFIG SET maxmemory-policy noeviction"));
    run(c, "CONFIG SET maxmemory-policy noeviction");

    run(c, "CONFIG SET appendonly no");
    assert_int_equal(redis_refusal(c, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "CONFIG SET appendonly yes"));
    run(c, "CONFIG SET appendonly yes");

    assert_false(redis_keepalive_is_off(c));
    run(c, "CONFIG SET tcp-keepalive 0");
    assert_true(redis_keepalive_is_off(c));
    assert_int_equal(redis_refusal(c, &err), 0);
    assert_non_null(strstr(err.text, "CONFIG SET tcp-keepalive 300"));
    run(c, "CONFIG SET tcp-keepalive 300");
    redisFree(c);
}

static void
a_user_who_may_not_look_is_warned_not_refused(void **state)
{
    struct redis_server *server = *state;
    struct error err;
    redisContext *admin, *c;

    assert_non_null(admin = opened(server, NULL, "", &err));
    run(admin, "ACL SETUSER plain on >p ~* +@all -config");
    assert_non_null(c = opened(server, "plain:p", "", &err));
    assert_int_equal(redis_refusal(c, &err), 0);
    assert_int_equal(err.code, ERR_NONE);
    assert_non_null(strstr(err.text, "CONFIG GET is forbidden"));
    /* What INFO tells is still checked. */
    run(admin, "CONFIG SET maxmemory-policy allkeys-lru");
    assert_int_equal(redis_refusal(c, &err), -1);
    run(admin, "ACL SETUSER plain -info");
    assert_int_equal(redis_refusal(c, &err), 0);
    assert_non_null(strstr(err.text, "cannot check"));
    redisFree(c);
    redisFree(admin);
}

static void
tcp_connections_are_kept_alive(void **state)
{
    struct redis_settings s;
    struct error err;
    socklen_t len = sizeof(int);
    int fd = socket(AF_INET, SOCK_STREAM, 0), value = 0;

    (void)state;
    assert_int_equal(redis_settings_parse(&s, "redis://h", NULL, &err), 0);
    assert_int_equal(redis_keep_alive(fd, &s, &err), 0);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
    assert_int_equal(value, 1);
    close(fd);
    assert_int_equal(redis_keep_alive(-1, &s, &err), -1);
}

static void
errors_of_a_redis_that_changes_hands_count_as_a_lost_connection(void **state)
{
    static const struct {
        const char *text;
        bool is_connection;
    } cases[] = {
        {"READONLY You can't write against a read only replica.", true},
        {"UNBLOCKED client unblocked via CLIENT UNBLOCK", true},
        {"LOADING Redis is loading the dataset in memory", true},
        {"MASTERDOWN Link with MASTER is down", true},
        {"CLUSTERDOWN", true},
        {"LOADINGS", false},
        {"ERR LOADING", false},
        {"OOM command not allowed", false},
        {"", false},
    };

    (void)state;
    assert_false(redis_error_is_connection(NULL));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        redisReply reply = {
            .type = REDIS_REPLY_ERROR, .str = (char *)cases[i].text, .len = strlen(cases[i].text)};

        assert_int_equal(redis_error_is_connection(&reply), cases[i].is_connection);
        reply.type = REDIS_REPLY_STRING;
        assert_false(redis_error_is_connection(&reply));
    }
}

static void
an_info_answer_without_a_run_id_is_refused(void **state)
{
    static const char *const texts[] = {"", "run_id:", "run_id:abc\r\n", "xrun_id:0\r\n",
        "run_id:ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ\r\n",
        "run_id:00000000000000000000000000000000000000000\r\n"};
    char id[41];
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        redisReply reply = {
            .type = REDIS_REPLY_STRING, .str = (char *)texts[i], .len = strlen(texts[i])};

        assert_int_equal(redis_handshake_run_id(&reply, id, &err), -1);
        assert_int_equal(err.code, ERR_UNAVAILABLE);
    }
}

static void
delays_double_from_50_ms_to_2_s_with_jitter_and_begin_anew(void **state)
{
    struct redis_backoff b = {0};
    int limits[] = {50, 100, 200, 400, 800, 1600, 2000, 2000, 2000}, least = 2000, most = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        assert_in_range(redis_backoff_next_ms(&b), limits[i] / 2, limits[i]);
    for (int i = 0; i < 100; i++) {
        int ms = redis_backoff_next_ms(&b);

        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_true(most - least > 100);
    redis_backoff_reset(&b);
    assert_in_range(redis_backoff_next_ms(&b), 25, 50);
}

#define SERVER_TEST(f) cmocka_unit_test_setup_teardown(f, start_redis, end_redis)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_name_host_port_database_and_login),
        cmocka_unit_test(a_wrong_url_is_refused_without_its_password),
        cmocka_unit_test(the_password_files_first_line_wins_over_the_url),
        SERVER_TEST(an_open_connection_has_its_name_and_its_database),
        SERVER_TEST(a_password_must_be_right),
        SERVER_TEST(a_replica_is_refused),
        SERVER_TEST(a_frozen_redis_is_given_up_in_time),
        SERVER_TEST(a_redis_that_loses_tasks_is_refused_with_the_command_that_mends_it),
        SERVER_TEST(a_user_who_may_not_look_is_warned_not_refused),
        cmocka_unit_test(tcp_connections_are_kept_alive),
        cmocka_unit_test(errors_of_a_redis_that_changes_hands_count_as_a_lost_connection),
        cmocka_unit_test(an_info_answer_without_a_run_id_is_refused),
        cmocka_unit_test(delays_double_from_50_ms_to_2_s_with_jitter_and_begin_anew),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
