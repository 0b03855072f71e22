/*
 * redis_link_test.c - The evented connection against a Redis that is killed, frozen and restarted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/redis_link.h"
#include "tests/support/redis_server.h"

#define DEADLINE_MS 20000
#define SOON_MS     5000 /* a command's limit where the limit is not the subject */

/* One link and what it said so far. */
struct rig {
    struct event_base *base;
    struct redis_server *server;
    struct redis_settings settings;
    struct redis_link *link;
    int n_up, n_down;
    char reason[256];
};

/* One command's answer. */
struct answer {
    struct rig *rig;
    int n_calls;
    int n_nulls;
    char text[128];
    bool free_link;  /* free the link in the callback */
    bool send_again; /* send another command in the callback, once */
};

static void
on_up(void *cookie)
{
    ((struct rig *)cookie)->n_up++;
}

static void
on_down(void *cookie, const char *reason)
{
    struct rig *rig = cookie;

    rig->n_down++;
    snprintf(rig->reason, sizeof(rig->reason), "%s", reason);
}

static int send_words(
    struct rig *rig, struct answer *answer, int timeout_ms, int argc, const char *const *argv);

static void
on_answer(void *cookie, const redisReply *reply)
{
    struct answer *answer = cookie;
    const char *const ping[] = {"PING"};

    answer->n_calls++;
    if (reply == NULL)
        answer->n_nulls++;
    else if (reply->str != NULL)
        snprintf(answer->text, sizeof(answer->text), "%s", reply->str);
    if (answer->send_again) {
        answer->send_again = false;
        assert_int_equal(send_words(answer->rig, answer, SOON_MS, 1, ping), 0);
    }
    if (answer->free_link) {
        redis_link_free(answer->rig->link);
        answer->rig->link = NULL;
    }
}

static int
send_words(
    struct rig *rig, struct answer *answer, int timeout_ms, int argc, const char *const *argv)
{
    int before = answer->n_calls, status;

    answer->rig = rig;
    status = redis_link_command(rig->link, timeout_ms, on_answer, answer, argc, argv, NULL);
    assert_int_equal(answer->n_calls, before); /* never before it returns */
    return status;
}

static void
send_ping(struct rig *rig, struct answer *answer, int timeout_ms)
{
    const char *const ping[] = {"PING"};

    assert_int_equal(send_words(rig, answer, timeout_ms, 1, ping), 0);
}

/* A command that keeps the connection waiting for ever, as other ones queue behind it. */
static void
send_blpop(struct rig *rig, struct answer *answer, int timeout_ms)
{
    const char *const blpop[] = {"BLPOP", "nothing", "0"};

    assert_int_equal(send_words(rig, answer, timeout_ms, 3, blpop), 0);
}

static void
on_tick(evutil_socket_t fd, short what, void *cookie)
{
    (void)fd;
    (void)what;
    (void)cookie;
}

/* Run the loop until ${counter} has reached ${value}; false after the deadline. */
static bool
reaches(struct rig *rig, const int *counter, int value)
{
    struct timeval every = {.tv_usec = 5000};
    struct event *tick = event_new(rig->base, -1, EV_PERSIST, on_tick, NULL);
    int64_t deadline = clock_monotonic_ms() + DEADLINE_MS;

    event_add(tick, &every); /* so that a quiet loop looks at the deadline */
    while (*counter < value && clock_monotonic_ms() < deadline)
        event_base_loop(rig->base, EVLOOP_ONCE);
    event_free(tick);
    return *counter >= value;
}

/* Run the loop for as long as something is ready, and some turns more. */
static void
settle(struct rig *rig)
{
    for (int i = 0; i < 50; i++)
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
}

static void
rig_link(struct rig *rig)
{
    const struct redis_link_events events = {.up = on_up, .down = on_down, .cookie = rig};
    struct error err;

    rig->link = redis_link_new(rig->base, &rig->settings, "link-test", &events, &err);
    assert_non_null(rig->link);
}

static int
rig_open(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    struct error err;

    assert_non_null(rig);
    *state = rig;
    assert_non_null(rig->base = event_base_new());
    assert_non_null(rig->server = redis_server_new(NULL));
    assert_int_equal(
        redis_settings_parse(&rig->settings, redis_server_url(rig->server), NULL, &err), 0);
    rig_link(rig);
    return 0;
}

static int
rig_close(void **state)
{
    struct rig *rig = *state;

    redis_link_free(rig->link);
    event_base_free(rig->base);
    redis_server_free(rig->server);
    free(rig);
    return 0;
}

static void
a_command_is_answered_once_the_link_is_up(void **state)
{
    struct rig *rig = *state;
    const char *const set[] = {"SET", "k", "a\0b"};
    const size_t lens[] = {3, 1, 3};
    const char *const strlen_k[] = {"STRLEN", "k"};
    struct answer stored = {0}, length = {0};

    assert_false(redis_link_is_up(rig->link));
    assert_string_equal(redis_link_run_id(rig->link), "");
    assert_true(reaches(rig, &rig->n_up, 1));
    assert_true(redis_link_is_up(rig->link));
    assert_int_equal(strlen(redis_link_run_id(rig->link)), 40);
    stored.rig = length.rig = rig;
    assert_int_equal(redis_link_command(rig->link, SOON_MS, on_answer, &stored, 3, set, lens), 0);
    assert_int_equal(send_words(rig, &length, SOON_MS, 2, strlen_k), 0);
    assert_true(reaches(rig, &length.n_calls, 1));
    assert_string_equal(stored.text, "OK");
    assert_int_equal(length.n_nulls, 0);
    assert_int_equal(rig->n_down, 0);
}

static void
an_error_reply_reaches_the_sender_and_the_link_stays_up(void **state)
{
    struct rig *rig = *state;
    const char *const wrong[] = {"NOSUCHCOMMAND"};
    struct answer answer = {0};

    assert_true(reaches(rig, &rig->n_up, 1));
    assert_int_equal(send_words(rig, &answer, SOON_MS, 1, wrong), 0);
    assert_true(reaches(rig, &answer.n_calls, 1));
    assert_non_null(strstr(answer.text, "unknown command"));
    assert_true(redis_link_is_up(rig->link));
}

static void
a_command_on_a_link_that_is_down_fails_from_the_loop_at_once(void **state)
{
    struct rig *rig = *state;
    struct answer first = {.send_again = true}, second = {0};
    int64_t began;

    began = clock_monotonic_ms();
    send_ping(rig, &first, SOON_MS); /* not even connected; sends again from its callback */
    send_ping(rig, &second, SOON_MS);
    assert_true(reaches(rig, &second.n_calls, 1));
    assert_true(reaches(rig, &first.n_calls, 1));
    assert_true(clock_monotonic_ms() - began < SOON_MS);
    assert_int_equal(second.n_nulls, 1);
    assert_true(reaches(rig, &first.n_calls, 2));
    assert_true(reaches(rig, &rig->n_up, 1));
    settle(rig);
    assert_int_equal(first.n_calls, 2);
    assert_int_equal(second.n_calls, 1);
}

static void
killing_redis_answers_every_waiting_command_once_and_the_link_comes_back(void **state)
{
    struct rig *rig = *state;
    struct answer waiting[20] = {0}, after = {0};
    char run_id[41];

    assert_true(reaches(rig, &rig->n_up, 1));
    snprintf(run_id, sizeof(run_id), "%s", redis_link_run_id(rig->link));
    waiting[0].send_again = true; /* into a link that has just died */
    for (size_t i = 0; i < 20; i++)
        send_blpop(rig, &waiting[i], DEADLINE_MS);
    settle(rig);
    assert_int_equal(redis_server_kill(rig->server), 0);
    assert_true(reaches(rig, &rig->n_down, 1));
    assert_true(reaches(rig, &waiting[0].n_calls, 2));
    for (size_t i = 0; i < 20; i++) {
        assert_true(reaches(rig, &waiting[i].n_calls, 1));
        assert_int_equal(waiting[i].n_nulls, waiting[i].n_calls);
    }
    assert_false(redis_link_is_up(rig->link));

    /* Several failed attempts are one "down". */
    for (int i = 0; i < 3; i++) {
        struct answer none = {0};

        send_ping(rig, &none, SOON_MS);
        assert_true(reaches(rig, &none.n_nulls, 1));
    }
    assert_int_equal(redis_server_start(rig->server), 0);
    assert_true(reaches(rig, &rig->n_up, 2));
    assert_int_equal(rig->n_down, 1);
    assert_string_not_equal(redis_link_run_id(rig->link), run_id);
    send_ping(rig, &after, SOON_MS);
    assert_true(reaches(rig, &after.n_calls, 1));
    assert_string_equal(after.text, "PONG");
    for (size_t i = 1; i < 20; i++)
        assert_int_equal(waiting[i].n_calls, 1);
}

static void
a_frozen_redis_lets_commands_time_out_and_late_replies_are_dropped(void **state)
{
    struct rig *rig = *state;
    struct answer late = {0}, after = {0};
    int64_t began;

    assert_true(reaches(rig, &rig->n_up, 1));
    assert_int_equal(redis_server_freeze(rig->server), 0);
    began = clock_monotonic_ms();
    send_ping(rig, &late, 100);
    assert_true(reaches(rig, &late.n_calls, 1));
    assert_int_equal(late.n_nulls, 1);
    assert_in_range(clock_monotonic_ms() - began, 90, SOON_MS - 1);
    assert_int_equal(redis_server_thaw(rig->server), 0);
    send_ping(rig, &after, SOON_MS);
    assert_true(reaches(rig, &after.n_calls, 1));
    assert_string_equal(after.text, "PONG");
    assert_int_equal(late.n_calls, 1);
    assert_int_equal(rig->n_down, 0); /* one slow answer is no reason to reconnect */
}

static void
a_redis_that_says_nothing_at_all_is_given_up_and_tried_again(void **state)
{
    struct rig *rig = *state;
    struct answer late = {0}, patient = {0}, after = {0};

    assert_true(reaches(rig, &rig->n_up, 1));
    assert_int_equal(redis_server_freeze(rig->server), 0);
    send_ping(rig, &late, 50);
    send_ping(rig, &patient, 2 * DEADLINE_MS);
    assert_true(reaches(rig, &rig->n_down, 1));
    assert_non_null(strstr(rig->reason, "no answer"));
    assert_true(reaches(rig, &patient.n_calls, 1));
    assert_int_equal(patient.n_nulls, 1);
    assert_int_equal(redis_server_thaw(rig->server), 0);
    assert_true(reaches(rig, &rig->n_up, 2));
    send_ping(rig, &after, SOON_MS);
    assert_true(reaches(rig, &after.n_calls, 1));
    assert_int_equal(after.n_nulls, 0);
    assert_int_equal(late.n_calls, 1);
    assert_int_equal(patient.n_calls, 1);
}

static void
freeing_the_link_answers_all_that_wait(void **state)
{
    struct rig *rig = *state;
    struct answer waiting[5] = {0}, timed_out = {0};

    assert_true(reaches(rig, &rig->n_up, 1));
    send_blpop(rig, &timed_out, 10); /* leaves a shell behind */
    assert_true(reaches(rig, &timed_out.n_calls, 1));
    for (size_t i = 0; i < 5; i++)
        send_ping(rig, &waiting[i], SOON_MS);
    redis_link_free(rig->link);
    rig->link = NULL;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(waiting[i].n_calls, 1);
        assert_int_equal(waiting[i].n_nulls, 1);
    }
    settle(rig);
    assert_int_equal(timed_out.n_calls, 1);
}

static void
freeing_the_link_answers_commands_that_were_never_sent(void **state)
{
    struct rig *rig = *state;
    struct answer answers[2] = {0};

    send_ping(rig, &answers[0], SOON_MS);
    send_ping(rig, &answers[1], SOON_MS);
    redis_link_free(rig->link);
    rig->link = NULL;
    assert_int_equal(answers[0].n_nulls + answers[1].n_nulls, 2);
}

static void
the_link_may_be_freed_in_a_callback(void **state)
{
    struct rig *rig = *state;
    struct answer first = {.free_link = true}, second = {0};

    /* In the callback of a reply, with another command behind it. */
    assert_true(reaches(rig, &rig->n_up, 1));
    send_ping(rig, &first, SOON_MS);
    send_blpop(rig, &second, SOON_MS);
    assert_true(reaches(rig, &first.n_calls, 1));
    assert_int_equal(second.n_calls, 1);
    assert_int_equal(second.n_nulls, 1);
    settle(rig);

    /* In the callback of a time-out. */
    rig_link(rig);
    assert_true(reaches(rig, &rig->n_up, 2));
    first = (struct answer){.free_link = true};
    second = (struct answer){0};
    send_blpop(rig, &second, SOON_MS);
    send_blpop(rig, &first, 10);
    assert_true(reaches(rig, &first.n_calls, 1));
    assert_int_equal(second.n_calls, 1);
    settle(rig);

    /* In the callback of a command that died with its connection. */
    rig_link(rig);
    assert_true(reaches(rig, &rig->n_up, 3));
    first = (struct answer){.free_link = true};
    second = (struct answer){0};
    send_blpop(rig, &first, SOON_MS);
    send_blpop(rig, &second, SOON_MS);
    settle(rig);
    assert_int_equal(redis_server_kill(rig->server), 0);
    assert_true(reaches(rig, &first.n_calls, 1));
    assert_int_equal(second.n_calls, 1);
    settle(rig);
}

struct inbox {
    int n_messages;
    char channel[64], message[64];
};

static void
on_message(
    void *cookie, const char *channel, size_t channel_len, const char *message, size_t message_len)
{
    struct inbox *inbox = cookie;

    inbox->n_messages++;
    snprintf(inbox->channel, sizeof(inbox->channel), "%.*s", (int)channel_len, channel);
    snprintf(inbox->message, sizeof(inbox->message), "%.*s", (int)message_len, message);
}

static void
publish(struct rig *rig, const char *channel, const char *message)
{
    redisContext *c = redis_server_connect(rig->server);
    redisReply *reply;

    assert_non_null(c);
    reply = redisCommand(c, "PUBLISH %s %s", channel, message);
    assert_non_null(reply);
    assert_int_equal(reply->integer, 1); /* the subscriber is there */
    freeReplyObject(reply);
    redisFree(c);
}

static void
a_subscription_comes_back_after_a_restart(void **state)
{
    struct rig *rig = *state;
    struct inbox inbox = {0};

    assert_int_equal(redis_link_psubscribe(rig->link, "kq:*:events", on_message, &inbox), 0);
    assert_true(reaches(rig, &rig->n_up, 1));
    publish(rig, "kq:{m}:events", "one");
    assert_true(reaches(rig, &(inbox.n_messages), 1));
    assert_string_equal(inbox.channel, "kq:{m}:events");
    assert_string_equal(inbox.message, "one");

    assert_int_equal(redis_server_kill(rig->server), 0);
    assert_true(reaches(rig, &rig->n_down, 1));
    assert_int_equal(redis_server_start(rig->server), 0);
    assert_true(reaches(rig, &rig->n_up, 2));
    publish(rig, "kq:{m}:events", "two");
    assert_true(reaches(rig, &inbox.n_messages, 2));
    assert_string_equal(inbox.message, "two");
}

/* How many PSUBSCRIBE Redis has seen since it started, heartbeats included. */
static int
psubscribes(struct rig *rig)
{
    redisContext *c = redis_server_connect(rig->server);
    redisReply *reply;
    const char *line;
    int n = 0;

    assert_non_null(c);
    assert_non_null(reply = redisCommand(c, "INFO commandstats"));
    if ((line = strstr(reply->str, "cmdstat_psubscribe:calls=")) != NULL)
        n = atoi(strchr(line, '=') + 1);
    freeReplyObject(reply);
    redisFree(c);
    return n;
}

static void
a_subscriber_notices_a_frozen_redis_though_it_waits_for_nothing(void **state)
{
    struct rig *rig = *state;
    struct inbox inbox = {0};
    int64_t deadline = clock_monotonic_ms() + 2 * DEADLINE_MS;

    assert_int_equal(redis_link_psubscribe(rig->link, "*", on_message, &inbox), 0);
    assert_true(reaches(rig, &rig->n_up, 1));
    assert_int_equal(redis_server_freeze(rig->server), 0);
    assert_true(reaches(rig, &rig->n_down, 1));
    assert_int_equal(redis_server_thaw(rig->server), 0);
    assert_true(reaches(rig, &rig->n_up, 2));
    /* The new connection must not be judged by what the old one still waited for. */
    for (int beats = 0, before = psubscribes(rig); beats < 2;) {
        struct timeval turn = {.tv_usec = 50000};

        event_base_loopexit(rig->base, &turn);
        event_base_dispatch(rig->base);
        beats = psubscribes(rig) - before;
        assert_true(clock_monotonic_ms() < deadline);
    }
    assert_int_equal(rig->n_down, 1);
    publish(rig, "c", "back");
    assert_true(reaches(rig, &inbox.n_messages, 1));
}

static void
a_link_that_is_already_up_can_still_subscribe(void **state)
{
    struct rig *rig = *state;
    struct inbox inbox = {0};
    struct answer refused = {0};

    assert_true(reaches(rig, &rig->n_up, 1));
    assert_int_equal(redis_link_psubscribe(rig->link, "late:*", on_message, &inbox), 0);
    assert_true(reaches(rig, &rig->n_up, 2));
    publish(rig, "late:x", "y");
    assert_true(reaches(rig, &inbox.n_messages, 1));
    send_ping(rig, &refused, SOON_MS); /* a subscriber takes no commands */
    assert_true(reaches(rig, &refused.n_nulls, 1));
}

static void
nobody_listening_is_told_once_and_tried_until_redis_is_there(void **state)
{
    struct rig *rig = *state;

    redis_link_free(rig->link);
    assert_int_equal(redis_server_stop(rig->server), 0);
    rig_link(rig);
    assert_true(reaches(rig, &rig->n_down, 1));
    assert_true(rig->reason[0] != '\0');
    assert_int_equal(redis_server_start(rig->server), 0);
    assert_true(reaches(rig, &rig->n_up, 1));
    assert_int_equal(rig->n_down, 1);
}

static void
a_wrong_password_keeps_the_link_down_and_says_so(void **state)
{
    struct rig *rig = *state;

    redis_link_free(rig->link);
    snprintf(rig->settings.password, sizeof(rig->settings.password), "wrong-secret");
    snprintf(rig->settings.user, sizeof(rig->settings.user), "nobody");
    rig_link(rig);
    assert_true(reaches(rig, &rig->n_down, 1));
    assert_non_null(strstr(rig->reason, "AUTH"));
    assert_null(strstr(rig->reason, "wrong-secret"));
    assert_int_equal(rig->n_up, 0);
}

static void
a_master_that_becomes_a_replica_counts_as_lost(void **state)
{
    struct rig *rig = *state;
    const char *const demote[] = {"REPLICAOF", "127.0.0.1", "1"};
    const char *const write[] = {"SET", "a", "1"};
    struct answer demoted = {0}, refused = {0};
    redisContext *c;

    assert_true(reaches(rig, &rig->n_up, 1));
    assert_int_equal(send_words(rig, &demoted, SOON_MS, 3, demote), 0);
    assert_int_equal(send_words(rig, &refused, SOON_MS, 3, write), 0);
    assert_true(reaches(rig, &refused.n_calls, 1));
    assert_int_equal(refused.n_nulls, 1); /* READONLY */
    assert_true(reaches(rig, &rig->n_down, 1));

    assert_non_null(c = redis_server_connect(rig->server));
    freeReplyObject(redisCommand(c, "REPLICAOF NO ONE"));
    redisFree(c);
    assert_true(reaches(rig, &rig->n_up, 2));
}

/* A peer that speaks rubbish, or nothing. */
struct impostor {
    int fd;
    const char *words; /* NULL: accept and stay silent */
    int n_served;
};

static void
on_impostor(evutil_socket_t fd, short what, void *cookie)
{
    struct impostor *impostor = cookie;
    int client = accept(fd, NULL, NULL);

    (void)what;
    assert_true(client != -1);
    impostor->n_served++;
    if (impostor->words != NULL && write(client, impostor->words, strlen(impostor->words)) == -1)
        fail();
    close(client);
}

static void
a_peer_that_speaks_no_redis_never_brings_the_link_up(void **state)
{
    static const char *const words[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "",
        "-ERR max number of clients reached\r\n", "*-7\r\n", "$99999999999\r\n", "+OK\r\n+OK\r\n",
        ":1\r\n:1\r\n:1\r\n", "*1\r\n*1\r\n*1\r\n"};
    struct rig *rig = *state;
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct impostor impostor = {0};
    socklen_t len = sizeof(address);
    struct event *listening;

    redis_link_free(rig->link);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true((impostor.fd = socket(AF_INET, SOCK_STREAM, 0)) != -1);
    assert_int_equal(bind(impostor.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(impostor.fd, 8), 0);
    assert_int_equal(getsockname(impostor.fd, (struct sockaddr *)&address, &len), 0);
    listening = event_new(rig->base, impostor.fd, EV_READ | EV_PERSIST, on_impostor, &impostor);
    event_add(listening, NULL);
    rig->settings.path[0] = '\0';
    snprintf(rig->settings.host, sizeof(rig->settings.host), "127.0.0.1");
    rig->settings.port = ntohs(address.sin_port);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        impostor.words = words[i];
        impostor.n_served = 0;
        rig->n_down = 0;
        rig_link(rig);
        assert_true(reaches(rig, &impostor.n_served, 2)); /* it tries again */
        assert_int_equal(rig->n_down, 1);
        assert_int_equal(rig->n_up, 0);
        redis_link_free(rig->link);
    }
    rig->link = NULL;
    event_free(listening);
    close(impostor.fd);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_command_is_answered_once_the_link_is_up),
        RIG_TEST(an_error_reply_reaches_the_sender_and_the_link_stays_up),
        RIG_TEST(a_command_on_a_link_that_is_down_fails_from_the_loop_at_once),
        RIG_TEST(killing_redis_answers_every_waiting_command_once_and_the_link_comes_back),
        RIG_TEST(a_frozen_redis_lets_commands_time_out_and_late_replies_are_dropped),
        RIG_TEST(a_redis_that_says_nothing_at_all_is_given_up_and_tried_again),
        RIG_TEST(freeing_the_link_answers_all_that_wait),
        RIG_TEST(freeing_the_link_answers_commands_that_were_never_sent),
        RIG_TEST(the_link_may_be_freed_in_a_callback),
        RIG_TEST(a_subscription_comes_back_after_a_restart),
        RIG_TEST(a_subscriber_notices_a_frozen_redis_though_it_waits_for_nothing),
        RIG_TEST(a_link_that_is_already_up_can_still_subscribe),
        RIG_TEST(nobody_listening_is_told_once_and_tried_until_redis_is_there),
        RIG_TEST(a_wrong_password_keeps_the_link_down_and_says_so),
        RIG_TEST(a_master_that_becomes_a_replica_counts_as_lost),
        RIG_TEST(a_peer_that_speaks_no_redis_never_brings_the_link_up),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
