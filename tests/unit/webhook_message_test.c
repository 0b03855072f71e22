/*
 * webhook_message_test.c - The bodies of events, to the byte, from tasks as Redis holds them; and that the
 * largest a client can bring about are within their bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/document/task_document.h"
#include "tests/support/queue_fixture.h"
#include "tests/support/stored_values.h"
#include "webhook/message.h"

#define ID          "3f0c1a52-8a4e-4d6b-9c1e-7b2f5a90d1c4"
#define HASH        "369acc90dac2641d9d81b5711c26b39195b7e6ea29924bb6bc5272579288ace9"
#define MODEL       "kronos-small"
#define CREATED_MS  INT64_C(1767601800123) /* 2026-01-05T08:30:00.123Z */
#define HAPPENED_MS (CREATED_MS + 2352)
#define EXPIRES_MS  (HAPPENED_MS + 86400000)
#define MEMBERS_MAX 64
#define THIN_MAX    20000 /* schemas/webhook.md */

/* "data" of every thin event of the example, but for what differs */
#define DATA(status, hash, expires, error)                                                         \
    "\"data\":{\"task_id\":\"" ID "\",\"status\":\"" status "\",\"model\":\"" MODEL                \
    "\",\"series_ids\":[\"BTC-USD\"],\"result_url\":\"/v1/tasks/" ID                               \
    "/result\",\"forecast_sha256\":" hash ",\"expires_at\":" expires                               \
    ",\"metadata\":{\"strategy\":\"a1\"},\"error\":" error "}}"
#define HEAD(type) "{\"type\":\"" type "\",\"timestamp\":\"2026-01-05T08:30:02.475Z\","
#define EXPIRES    "\"2026-01-06T08:30:02.475Z\""

static void
example(struct task_about *about)
{
    example_about(about);
    free(about->series_id);
    about->series_id = strdup("BTC-USD");
    free(about->metadata[1].name);
    free(about->metadata[1].value);
    about->metadata[1] = (struct task_metadata){0};
    about->n_metadata = 1;
}

static struct parcel
parcel_of(enum task_status status)
{
    return (struct parcel){
        .subject = ID, .status = status, .created_ms = HAPPENED_MS, .expires_ms = EXPIRES_MS};
}

/* ${n} tasks like this in Redis, as they are when ${status} is told; 0: one, and no group. */
static void
store(struct queue_fixture *f, const struct task_about *about, const struct result *result,
    enum task_status status, size_t n)
{
    static char ids[MEMBERS_MAX][ID_LEN + 1];
    struct queue_series series[MEMBERS_MAX];
    struct queue_submission s;
    struct task_bytes head, output = {0};
    char group[ID_LEN + 1] = ID;

    if (task_about_encode(about, &head, &f->err) == -1)
        fail_msg("about: %s", f->err.text);
    if (result != NULL)
        if (result_encode(result, &output, &f->err) == -1)
            fail_msg("result: %s", f->err.text);
    for (size_t i = 0; i < (n > 0 ? n : 1); i++) {
        queue_fixture_fill(&s, &series[i], ids[i]);
        series[i].about = head.data;
        series[i].about_size = head.size;
    }
    if (n == 0)
        strcpy(ids[0], ID);
    s.id = group;
    s.series = series;
    s.n_series = n > 0 ? n : 1;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
    for (size_t i = 0; i < s.n_series; i++)
        queue_fixture_int(f,
            "HSET ~:task:%s state %s created_ms 1767601800123 started_ms 1767601801123"
            " finished_ms 1767601802475 output %b",
            ids[i], task_status_name(status), output.data != NULL ? output.data : "", output.size);
    if (n > 0)
        queue_fixture_int(f, "HSET ~:group:%s state %s", ID, task_status_name(status));
    free(head.data);
    free(output.data);
}

/* The body; valid until the next. */
static const char *
body_of(struct queue_fixture *f, const struct parcel *p, const char *public_url)
{
    static char *body;
    struct json_out out;
    bool with_output = message_needs_output(p);
    struct queue_call call;
    redisReply *reply;

    json_out_init(&out);
    if (p->is_group)
        assert_int_equal(queue_group_read_call(&f->q, ID, with_output, &call, &f->err), 0);
    else
        assert_int_equal(queue_read_call(&f->q, ID, with_output, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    if (message_write(p, MODEL, reply, public_url, &out, &f->err) == -1)
        fail_msg("message: %s", f->err.text);
    freeReplyObject(reply);
    free(body);
    body = strndup(out.text, out.len);
    assert_non_null(body);
    json_out_clear(&out);
    return body;
}

/* ---- each event, as the contract shows it ---- */

static void
a_completion_is_the_example_of_the_contract(void **state)
{
    struct queue_fixture *f = *state;
    struct result *result = example_result();
    struct parcel p = parcel_of(TASK_COMPLETED);
    char line[4096], *found = NULL;
    FILE *contract = fopen("schemas/webhook.md", "r");
    struct task_about about;

    assert_non_null(contract);
    while (found == NULL && fgets(line, sizeof(line), contract) != NULL)
        found = strncmp(line, "{\"type\":", 8) == 0 ? strtok(line, "\n") : NULL;
    fclose(contract);
    assert_non_null(found);
    strcpy(result->provenance.forecast_sha256, HASH);
    example(&about);
    store(f, &about, result, TASK_COMPLETED, 0);
    assert_string_equal(body_of(f, &p, "https://api.example/"), found);
    assert_string_equal(body_of(f, &p, "https://api.example"), found);
    assert_string_equal(body_of(f, &p, NULL),
        HEAD("task.completed") DATA("completed", "\"" HASH "\"", EXPIRES, "null"));
    task_about_clear(&about);
    result_free(result);
}

static void
what_has_no_result_says_why(void **state)
{
    static const struct {
        enum task_status status;
        const char *code, *text;
        const char *body;
    } cases[] = {
        {TASK_PROCESSING, NULL, NULL,
            HEAD("task.processing") DATA("processing", "null", "null", "null")},
        {TASK_FAILED, "worker_lost", "lease lost 3 times",
            HEAD("task.failed") DATA("failed", "null", EXPIRES,
                "{\"code\":\"worker_lost\",\"detail\":\"lease lost 3 times\",\"retryable\":true}")},
        {TASK_CANCELLED, "cancelled_by_client", NULL,
            HEAD("task.cancelled") DATA("cancelled", "null", EXPIRES,
                "{\"code\":\"cancelled_by_client\",\"detail\":\"cancelled by the client\","
                "\"retryable\":false}")},
        {TASK_EXPIRED, "deadline_exceeded", NULL,
            HEAD("task.expired") DATA("expired", "null", EXPIRES,
                "{\"code\":\"deadline_exceeded\",\"detail\":\"the deadline passed before the task "
                "was completed\",\"retryable\":true}")},
    };
    struct queue_fixture *f = *state;
    struct task_about about;

    example(&about);
    store(f, &about, NULL, TASK_QUEUED, 0); /* an operator has requeued it since */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parcel p = parcel_of(cases[i].status);

        p.error_code = (char *)cases[i].code;
        p.error_text = (char *)cases[i].text;
        assert_string_equal(body_of(f, &p, NULL), cases[i].body);
        assert_false(message_needs_output(&p));
    }
    task_about_clear(&about);
}

static void
a_ping_is_the_one_the_vector_signs(void **state)
{
    static const char body[] =
        "{\"type\":\"test.ping\",\"timestamp\":\"2026-01-05T08:30:03.214Z\",\"data\":{}}";
    struct parcel p = {.is_ping = true, .created_ms = CREATED_MS + 3091};
    struct json_out out;

    (void)state;
    json_out_init(&out);
    message_write_ping(&p, &out);
    assert_int_equal(out.len, strlen(body));
    assert_memory_equal(out.text, body, out.len);
    json_out_clear(&out);
}

static void
what_is_gone_or_contradicts_its_event_is_no_message(void **state)
{
    struct queue_fixture *f = *state;
    struct parcel p = parcel_of(TASK_COMPLETED);
    struct queue_call call;
    struct json_out out;
    struct task_about about;
    redisReply *reply;

    for (int is_there = 0; is_there < 2; is_there++) {
        if (is_there) {
            example(&about);
            store(f, &about, NULL, TASK_CANCELLED, 0);
            task_about_clear(&about);
        }
        json_out_init(&out);
        assert_int_equal(queue_read_call(&f->q, ID, true, &call, &f->err), 0);
        reply = queue_fixture_run(f, &call);
        assert_int_equal(message_write(&p, MODEL, reply, NULL, &out, &f->err), -1);
        if (f->err.code != (is_there ? ERR_CORRUPT : ERR_NOT_FOUND))
            fail_msg("%d: %s", is_there, f->err.text);
        freeReplyObject(reply);
        json_out_clear(&out);
    }
}

/* ---- bounds ---- */

static char *
repeated(const char *what, size_t bytes)
{
    char *text = calloc(1, bytes + 1);

    assert_non_null(text);
    for (size_t n = 0; n + strlen(what) <= bytes; n += strlen(what))
        memcpy(text + n, what, strlen(what));
    return text;
}

/* As much as the API accepts, of what grows most when it is written. */
static void
largest(struct task_about *about)
{
    static const char *const names[] = {"a", "b", "c", "d"};

    *about = (struct task_about){
        .series_id = repeated("\"", TASK_SERIES_ID_MAX), .n_horizon = 3, .sample_count = 3};
    for (size_t i = 0; i < 4; i++)
        about->metadata[about->n_metadata++] = (struct task_metadata){
            strdup(names[i]), repeated("\x01", TASK_METADATA_BYTES_MAX / 4 - 1)};
}

static void
a_thin_body_stays_below_its_bound_whatever_a_client_sends(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 16, 40, MEMBERS_MAX};
    struct queue_fixture *f = *state;
    char *url = repeated("https://api.example/", WEBHOOK_URL_MAX);
    char *detail = repeated("\\", QUEUE_ERROR_TEXT_MAX);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct parcel p = parcel_of(TASK_FAILED);
        struct task_about about;
        const cJSON *data, *ids;
        const char *body;
        cJSON *tree;

        assert_int_equal(queue_fixture_reset(state), 0);
        largest(&about);
        store(f, &about, NULL, TASK_CANCELLED, sizes[i]);
        p.is_group = sizes[i] > 0;
        p.error_code = (char *)"worker_lost";
        p.error_text = detail;
        body = body_of(f, &p, url);
        if (strlen(body) >= THIN_MAX)
            fail_msg("%zu members: %zu bytes", sizes[i], strlen(body));
        tree = cJSON_Parse(body);
        assert_non_null(tree);
        data = cJSON_GetObjectItemCaseSensitive(tree, "data");
        ids = cJSON_GetObjectItemCaseSensitive(data, "series_ids");
        assert_true(cJSON_GetArraySize(ids) >= 1);
        assert_int_equal(cJSON_GetObjectItemCaseSensitive(data, "series_ids_omitted") != NULL,
            (size_t)cJSON_GetArraySize(ids) < sizes[i]);
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(data, "metadata")), 4);
        cJSON_Delete(tree);
        task_about_clear(&about);
    }
    free(url);
    free(detail);
}

/* The bytes of the result as /result has them. */
static size_t
size_of_result(struct queue_fixture *f)
{
    struct queue_task_view view;
    struct task_document d;
    struct queue_call call;
    struct json_out out;
    redisReply *reply;
    size_t size;

    assert_int_equal(queue_read_call(&f->q, ID, true, &call, &f->err), 0);
    reply = queue_fixture_run(f, &call);
    assert_int_equal(queue_read_parse(reply, true, &view, &f->err), 0);
    assert_int_equal(task_document_open(&d, ID, MODEL, &view, &f->err), 0);
    json_out_init(&out);
    task_data_write(&d, NULL, &out);
    size = out.len;
    json_out_clear(&out);
    task_document_close(&d);
    freeReplyObject(reply);
    return size;
}

/* Three steps and ${n} paths of values that take ${digits} characters or so. */
static struct result *
result_of_paths(uint32_t n_steps, uint32_t n, float value)
{
    struct result *small = example_result(), *large;
    struct task_output output = {.paths = true};
    struct error err;

    large = result_new(n_steps, &output, n, &err);
    assert_non_null(large);
    large->provenance = small->provenance;
    large->timing = small->timing;
    large->provenance.params.sample_count = n;
    for (uint32_t i = 0; i < n_steps; i++)
        large->times[i] = (struct task_time){.wall_us = 60000000 * (int64_t)(i + 1),
            .offset_minutes = small->times[0].offset_minutes};
    for (size_t i = 0; i < (size_t)n_steps * TASK_FIELDS; i++)
        large->prediction[i] = 1.0f;
    for (size_t i = 0; i < (size_t)n_steps * TASK_FIELDS * n; i++)
        large->paths[i] = value;
    result_free(small);
    return large;
}

static void
a_result_comes_along_up_to_its_bound_and_not_beyond(void **state)
{
    static const struct {
        uint32_t n;
        float value;
    } cases[] = {{1, 1}, {200, 1}, {216, 1.5F}, {100, 0.1234567F}, {120, 0.1234567F},
        {121, 0.1234567F}, {122, 0.1234567F}, {123, 0.1234567F}, {124, 0.1234567F},
        {125, 0.1234567F}, {130, 0.1234567F}, {140, 0.1234567F}, {256, 0.1234567F}};
    struct queue_fixture *f = *state;
    size_t n_with = 0, n_without = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct result *result = result_of_paths(32, cases[i].n, cases[i].value);
        struct parcel p = parcel_of(TASK_COMPLETED);
        bool is_small;
        struct task_about about;
        const cJSON *data, *found;
        cJSON *tree;

        p.include_result = true;
        assert_int_equal(queue_fixture_reset(state), 0);
        example(&about);
        about.n_horizon = 32;
        about.sample_count = cases[i].n;
        store(f, &about, result, TASK_COMPLETED, 0);
        is_small = size_of_result(f) <= MESSAGE_RESULT_MAX;
        tree = cJSON_Parse(body_of(f, &p, NULL));
        assert_non_null(tree);
        data = cJSON_GetObjectItemCaseSensitive(tree, "data");
        found = cJSON_GetObjectItemCaseSensitive(data, "result");
        assert_int_equal(found != NULL, is_small);
        assert_int_equal(
            cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(data, "result_omitted")), !is_small);
        n_with += is_small;
        n_without += !is_small;
        if (!is_small)
            assert_true(strlen(body_of(f, &p, NULL)) < THIN_MAX);
        cJSON_Delete(tree);
        task_about_clear(&about);
        result_free(result);
    }
    assert_true(n_with >= 3 && n_without >= 3);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup(name, queue_fixture_reset)
    const struct CMUnitTest tests[] = {
        test(a_completion_is_the_example_of_the_contract),
        test(what_has_no_result_says_why),
        test(a_ping_is_the_one_the_vector_signs),
        test(what_is_gone_or_contradicts_its_event_is_no_message),
        test(a_thin_body_stays_below_its_bound_whatever_a_client_sends),
        test(a_result_comes_along_up_to_its_bound_and_not_beyond),
    };

    return cmocka_run_group_tests(tests, queue_fixture_open, queue_fixture_close);
}
