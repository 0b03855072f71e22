/*
 * metrics_test.c - Counting, batches that arrive once, stored names that are hostile, the text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/metrics.h"
#include "common/metrics_set.h"
#include "common/queue/queue_metrics.h"
#include "tests/support/queue_fixture.h"

static int
forget(void **state)
{
    (void)state;
    metrics_forget();
    return 0;
}

/* The text of a set with what was counted here. */
static char *
own_text(void)
{
    struct metrics_set *set = metrics_set_new();
    size_t size;
    char *text;

    assert_non_null(set);
    metrics_unsent(set, true);
    text = metrics_set_text(set, &size);
    assert_non_null(text);
    assert_int_equal(strlen(text), size);
    metrics_set_free(set);
    return text;
}

static void
assert_line(const char *line)
{
    char *text = own_text(), wanted[512];

    snprintf(wanted, sizeof(wanted), "\n%s\n", line);
    if (strstr(text, wanted) == NULL)
        fail_msg("no line %s in\n%s", line, text);
    free(text);
}

static void
what_is_counted_is_shown_with_its_labels(void **state)
{
    (void)state;
    metrics_count(METRIC_HTTP_RESPONSES, "/v1/tasks/{id}", "200");
    metrics_count(METRIC_HTTP_RESPONSES, "/v1/tasks/{id}", "200");
    metrics_count(METRIC_HTTP_RESPONSES, "other", "404");
    metrics_add(METRIC_DECODE_STEPS, 40, "tiny");
    metrics_set(METRIC_HTTP_CONNECTIONS, 7);
    metrics_set(METRIC_HTTP_CONNECTIONS, 3);
    assert_line("kronos_http_responses_total{route=\"/v1/tasks/{id}\",code=\"200\"} 2");
    assert_line("kronos_http_responses_total{route=\"other\",code=\"404\"} 1");
    assert_line("kronos_decode_steps_total{model=\"tiny\"} 40");
    assert_line("kronos_http_connections 3");
}

static void
a_histogram_counts_each_value_in_all_buckets_it_fits(void **state)
{
    (void)state;
    metrics_observe(METRIC_TASK_WAIT, 0.05, "urgent");
    metrics_observe(METRIC_TASK_WAIT, 0.06, "urgent");
    metrics_observe(METRIC_TASK_WAIT, 1e6, "urgent");
    assert_line("kronos_task_wait_seconds_bucket{queue=\"urgent\",le=\"0.05\"} 1");
    assert_line("kronos_task_wait_seconds_bucket{queue=\"urgent\",le=\"0.1\"} 2");
    assert_line("kronos_task_wait_seconds_bucket{queue=\"urgent\",le=\"600\"} 2");
    assert_line("kronos_task_wait_seconds_bucket{queue=\"urgent\",le=\"+Inf\"} 3");
    assert_line("kronos_task_wait_seconds_count{queue=\"urgent\"} 3");
    assert_line("kronos_task_wait_seconds_sum{queue=\"urgent\"} 1000000.11");
}

static void
what_is_no_amount_is_not_counted(void **state)
{
    (void)state;
    metrics_add(METRIC_DECODE_STEPS, -1, "tiny");
    metrics_add(METRIC_DECODE_STEPS, NAN, "tiny");
    metrics_add(METRIC_DECODE_STEPS, INFINITY, "tiny");
    metrics_add(METRIC_DECODE_STEPS, 1, "tiny");
    assert_line("kronos_decode_steps_total{model=\"tiny\"} 1");
}

static void
labels_are_made_harmless_and_cut(void **state)
{
    char lengthy[200];

    (void)state;
    memset(lengthy, 'x', sizeof(lengthy) - 1);
    lengthy[sizeof(lengthy) - 1] = '\0';
    metrics_count(METRIC_RATE_LIMIT_HITS, "a|b\n\"c\\\xff");
    metrics_count(METRIC_RATE_LIMIT_HITS, lengthy);
    assert_line("kronos_rate_limit_hits_total{container=\"a_b_\\\"c\\\\_\"} 1");
    lengthy[METRICS_LABEL_MAX - 1] = '\0';
    {
        char line[300];

        snprintf(line, sizeof(line), "kronos_rate_limit_hits_total{container=\"%s\"} 1", lengthy);
        assert_line(line);
    }
}

static void
a_family_has_a_bounded_number_of_label_sets(void **state)
{
    char name[32];

    (void)state;
    for (int i = 0; i < METRICS_FAMILY_MAX + 50; i++) {
        snprintf(name, sizeof(name), "key-%d", i);
        metrics_count(METRIC_RATE_LIMIT_HITS, name);
    }
    assert_line("kronos_rate_limit_hits_total{container=\"other\"} 50");
    metrics_count(METRIC_RATE_LIMIT_HITS, "key-0");
    assert_line("kronos_rate_limit_hits_total{container=\"key-0\"} 2");
}

static void
every_family_is_in_the_text_of_an_empty_set(void **state)
{
    struct metrics_set *set = metrics_set_new();
    const char *models[] = {"tiny", "large"};
    size_t size;
    char *text, line[256];

    (void)state;
    metrics_set_expect(set, models, 2);
    text = metrics_set_text(set, &size);
    for (int m = 0; m < METRICS; m++) {
        snprintf(line, sizeof(line), "# TYPE %s ", metrics_families[m].name);
        assert_non_null(strstr(text, line));
    }
    assert_non_null(strstr(text, "\nkronos_task_run_seconds_count{model=\"large\"} 0\n"));
    assert_non_null(strstr(
        text, "\nkronos_requests_total{route=\"/v1/predict/batch\",status=\"timeout\"} 0\n"));
    free(text);
    metrics_set_free(set);
}

/* ---- batches ---- */

static double
value_in(const struct metrics_batch *batch, const char *field)
{
    for (size_t i = 0; i < batch->n_gauges + batch->n; i++) {
        if (strcmp(batch->changes[i].field, field) == 0)
            return batch->changes[i].value;
    }
    return 0;
}

static void
a_batch_says_the_same_until_it_has_arrived(void **state)
{
    struct metrics_batch batch;
    struct error err;

    (void)state;
    assert_int_equal(metrics_batch(&batch, &err), 0);
    assert_int_equal(batch.n, 0);
    metrics_add(METRIC_DECODE_STEPS, 5, "tiny");
    assert_int_equal(metrics_batch(&batch, &err), 0);
    assert_int_equal(batch.number, 1);
    assert_true(value_in(&batch, "decode_steps_total|tiny") == 5);
    metrics_batch_clear(&batch);

    metrics_add(METRIC_DECODE_STEPS, 2, "tiny"); /* the reply is lost meanwhile */
    assert_int_equal(metrics_batch(&batch, &err), 0);
    assert_int_equal(batch.number, 1);
    assert_true(value_in(&batch, "decode_steps_total|tiny") == 5);
    metrics_batch_clear(&batch);
    metrics_batch_arrived(7); /* of another life */
    metrics_batch_arrived(1);

    assert_int_equal(metrics_batch(&batch, &err), 0);
    assert_int_equal(batch.number, 2);
    assert_true(value_in(&batch, "decode_steps_total|tiny") == 2);
    metrics_batch_clear(&batch);
    metrics_batch_arrived(2);
    assert_int_equal(metrics_batch(&batch, &err), 0);
    assert_int_equal(batch.n, 0);
    metrics_batch_clear(&batch);
}

static void
what_does_not_fit_into_a_batch_is_in_the_next(void **state)
{
    struct metrics_batch batch;
    struct error err;
    double seen = 0;
    char name[32];

    (void)state;
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "model-%d", i);
        metrics_add(METRIC_DECODE_STEPS, 1, name);
        metrics_add(METRIC_PREFILL_TOKENS, 1, name);
        metrics_observe(METRIC_TASK_RUN, 1, name);
        metrics_observe(METRIC_TASK_RUN, 100, name);
    }
    for (int round = 0; round < 2; round++) {
        assert_int_equal(metrics_batch(&batch, &err), 0);
        assert_true(batch.n > 0 && batch.n <= METRICS_BATCH_MAX);
        for (size_t i = 0; i < batch.n; i++)
            seen += batch.changes[i].value;
        metrics_batch_arrived(batch.number);
        metrics_batch_clear(&batch);
    }
    assert_int_equal(metrics_batch(&batch, &err), 0);
    assert_int_equal(batch.n, 0);
    metrics_batch_clear(&batch);
    assert_true(seen == 500 * (1 + 1 + 2 + 101));
}

static void *
count_much(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20000; i++)
        metrics_count(METRIC_HTTP_RESPONSES, i % 2 == 0 ? "a" : "b", "200");
    return NULL;
}

static void
threads_may_count_while_batches_are_taken(void **state)
{
    pthread_t threads[3];
    double arrived = 0;
    struct error err;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_much, NULL), 0);
    for (int joined = 0; joined < 2; joined++) {
        for (int i = 0; i < 50; i++) {
            struct metrics_batch batch;

            assert_int_equal(metrics_batch(&batch, &err), 0);
            for (size_t c = 0; c < batch.n; c++)
                arrived += batch.changes[c].value;
            metrics_batch_arrived(batch.number);
            metrics_batch_clear(&batch);
        }
        for (size_t i = 0; joined == 0 && i < 3; i++)
            pthread_join(threads[i], NULL);
    }
    assert_true(arrived == 60000);
}

/* ---- stored values ---- */

static void
what_no_version_of_ours_stores_is_left_out(void **state)
{
    static const struct {
        const char *field, *value;
    } bad[] = {
        {"decode_steps_total|tiny", "-1"},
        {"decode_steps_total|tiny", "nan"},
        {"decode_steps_total|tiny", "inf"},
        {"decode_steps_total|tiny", "1e300"},
        {"decode_steps_total|tiny", "0x10"},
        {"decode_steps_total|tiny", "1 "},
        {"decode_steps_total|tiny", ""},
        {"decode_steps_total|tiny", " 1"},
        {"decode_steps_total|tiny", "11111111111111111111111111111111111111111111"},
        {"decode_steps_total|tiny|more", "1"},
        {"decode_steps_total", "1"},
        {"", "1"},
        {"|", "1"},
        {"unknown_total|tiny", "1"},
        {"task_run_seconds|tiny", "1"},
        {"task_run_seconds|tiny|0.07", "1"},
        {"task_run_seconds|tiny|sum|x", "1"},
        {"queue_depth|tiny|urgent", "1"},
        {"tasks_total|tiny|urgent|completed", "1"},
        {"redis_up", "1"},
        {"decode_steps_total|"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "1"},
    };
    struct metrics_set *set = metrics_set_new();
    char lengthy[METRICS_FIELD_MAX + 8];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (metrics_set_add_field(
                set, bad[i].field, strlen(bad[i].field), bad[i].value, strlen(bad[i].value)))
            fail_msg("accepted: %s = %s", bad[i].field, bad[i].value);
    }
    memset(lengthy, '|', sizeof(lengthy));
    assert_false(metrics_set_add_field(set, lengthy, sizeof(lengthy), "1", 1));
    assert_int_equal(metrics_set_count(set), 0);
    assert_true(metrics_set_add_field(set, "task_run_seconds|tiny|+Inf", 26, "2", 1));
    assert_true(metrics_set_add_field(set, "task_run_seconds|tiny|0.05", 26, "1.5e2", 5));
    assert_int_equal(metrics_set_count(set), 1);
    metrics_set_free(set);
}

/* ---- in Redis ---- */

static const char *const process = "0b6f2c1e-5d0a-4c3b-8e2f-9a7d6c5b4a39";
static const char *const other_process = "1b6f2c1e-5d0a-4c3b-8e2f-9a7d6c5b4a39";

/* One value of the sums or the gauges of all processes. */
static double
stored(struct queue_fixture *f, enum metric metric, const char *label)
{
    struct metrics_set *sums = metrics_set_new(), *gauges = metrics_set_new();
    struct queue_call call;
    struct error err;
    redisReply *reply;
    double value;

    assert_int_equal(queue_metrics_read_call(&call, &err), 0);
    assert_non_null(reply = queue_run(f->c, &call, &err));
    queue_call_clear(&call);
    assert_int_equal(queue_metrics_read_parse(reply, sums, gauges, &err), 0);
    freeReplyObject(reply);
    value = metrics_set_find(metrics_families[metric].type == METRIC_GAUGE ? gauges : sums, metric,
        (const char *const[METRICS_LABELS_MAX]){label})
                ->values[0];
    metrics_set_free(sums);
    metrics_set_free(gauges);
    return value;
}

static void
increments_of_processes_add_up_and_gauges_end_with_them(void **state)
{
    struct queue_fixture *f = *state;
    struct error err;

    metrics_add(METRIC_DECODE_STEPS, 5, "tiny");
    metrics_set(METRIC_HTTP_CONNECTIONS, 4);
    assert_int_equal(queue_metrics_flush(f->c, process, false, &err), 0);
    assert_int_equal(queue_metrics_flush(f->c, process, false, &err), 0);
    assert_true(stored(f, METRIC_DECODE_STEPS, "tiny") == 5);
    metrics_forget(); /* another process */
    metrics_add(METRIC_DECODE_STEPS, 2, "tiny");
    metrics_set(METRIC_HTTP_CONNECTIONS, 1);
    assert_int_equal(queue_metrics_flush(f->c, other_process, false, &err), 0);
    assert_true(stored(f, METRIC_DECODE_STEPS, "tiny") == 7);
    assert_true(stored(f, METRIC_HTTP_CONNECTIONS, NULL) == 5);
    assert_int_equal(queue_metrics_flush(f->c, other_process, true, &err), 0);
    assert_true(stored(f, METRIC_HTTP_CONNECTIONS, NULL) == 4);
    assert_true(stored(f, METRIC_DECODE_STEPS, "tiny") == 7);
}

static void
a_batch_whose_reply_was_lost_is_not_counted_twice(void **state)
{
    struct queue_fixture *f = *state;
    struct metrics_batch batch;
    struct queue_call call;
    struct error err;
    redisReply *reply;
    int n_refused;

    metrics_add(METRIC_DECODE_STEPS, 5, "tiny");
    for (int i = 0; i < 3; i++) { /* it arrives, and we are not told */
        assert_int_equal(metrics_batch(&batch, &err), 0);
        assert_int_equal(queue_metrics_add_call(process, &batch, false, &call, &err), 0);
        metrics_batch_clear(&batch);
        assert_non_null(reply = queue_run(f->c, &call, &err));
        queue_call_clear(&call);
        assert_int_equal(queue_metrics_add_parse(reply, &n_refused, &err), 0);
        freeReplyObject(reply);
    }
    metrics_add(METRIC_DECODE_STEPS, 1, "tiny");
    assert_int_equal(queue_metrics_flush(f->c, process, false, &err), 0);
    assert_true(stored(f, METRIC_DECODE_STEPS, "tiny") == 5);
    assert_int_equal(queue_metrics_flush(f->c, process, false, &err), 0);
    assert_true(stored(f, METRIC_DECODE_STEPS, "tiny") == 6);
}

static void
a_stored_value_that_is_no_number_begins_anew(void **state)
{
    struct queue_fixture *f = *state;
    struct error err;

    freeReplyObject(
        redisCommand(f->c, "HSET kq:{@metrics}:sum decode_steps_total|tiny zebra prefill_total %b",
            "\0\xff", (size_t)2));
    metrics_add(METRIC_DECODE_STEPS, 5, "tiny");
    metrics_add(METRIC_DECODE_STEPS, 3, "other");
    assert_int_equal(queue_metrics_flush(f->c, process, false, &err), 0);
    assert_true(stored(f, METRIC_DECODE_STEPS, "tiny") == 5);
    assert_true(stored(f, METRIC_DECODE_STEPS, "other") == 3);
}

static void
the_sums_in_redis_have_a_bounded_number_of_fields(void **state)
{
    struct queue_fixture *f = *state;
    struct error err;

    freeReplyObject(redisCommand(f->c, "EVAL %s 0",
        "for i = 1, 20000 do redis.call('HSET', 'kq:{@metrics}:sum', 'x' .. i, 1) end"));
    freeReplyObject(redisCommand(f->c, "HSET kq:{@metrics}:sum decode_steps_total|tiny 1"));
    metrics_add(METRIC_DECODE_STEPS, 5, "tiny");
    metrics_add(METRIC_DECODE_STEPS, 3, "other");
    assert_int_equal(queue_metrics_flush(f->c, process, false, &err), 0);
    assert_true(stored(f, METRIC_DECODE_STEPS, "tiny") == 6);
    assert_true(stored(f, METRIC_DECODE_STEPS, "other") == 0);
}

static int
forget_all(void **state)
{
    metrics_forget();
    return queue_fixture_reset(state);
}

int
main(void)
{
    const struct CMUnitTest alone[] = {
        cmocka_unit_test_setup(what_is_counted_is_shown_with_its_labels, forget),
        cmocka_unit_test_setup(a_histogram_counts_each_value_in_all_buckets_it_fits, forget),
        cmocka_unit_test_setup(what_is_no_amount_is_not_counted, forget),
        cmocka_unit_test_setup(labels_are_made_harmless_and_cut, forget),
        cmocka_unit_test_setup(a_family_has_a_bounded_number_of_label_sets, forget),
        cmocka_unit_test_setup(every_family_is_in_the_text_of_an_empty_set, forget),
        cmocka_unit_test_setup(a_batch_says_the_same_until_it_has_arrived, forget),
        cmocka_unit_test_setup(what_does_not_fit_into_a_batch_is_in_the_next, forget),
        cmocka_unit_test_setup(threads_may_count_while_batches_are_taken, forget),
        cmocka_unit_test_setup(what_no_version_of_ours_stores_is_left_out, forget),
    };
    const struct CMUnitTest in_redis[] = {
        cmocka_unit_test_setup(increments_of_processes_add_up_and_gauges_end_with_them, forget_all),
        cmocka_unit_test_setup(a_batch_whose_reply_was_lost_is_not_counted_twice, forget_all),
        cmocka_unit_test_setup(a_stored_value_that_is_no_number_begins_anew, forget_all),
        cmocka_unit_test_setup(the_sums_in_redis_have_a_bounded_number_of_fields, forget_all),
    };
    int failed = cmocka_run_group_tests_name("alone", alone, NULL, forget);

    return failed + cmocka_run_group_tests_name(
                        "in_redis", in_redis, queue_fixture_open, queue_fixture_close);
}
