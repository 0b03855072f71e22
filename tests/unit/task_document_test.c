/*
 * task_document_test.c - What a client is shown of a task in each of its states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "common/document/task_document.h"
#include "tests/support/stored_values.h"

#define ID         "3f0c1a52-8a4e-4d6b-9c1e-7b2f5a90d1c4"
#define CREATED_MS 1767601800123 /* 2026-01-05T08:30:00.123Z */

static struct task_bytes about, output;

static int
set_up(void **state)
{
    (void)state;
    about = stored_encode_example(STORED_ABOUT);
    output = stored_encode_example(STORED_RESULT);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    free(about.data);
    free(output.data);
    return 0;
}

static struct queue_task_view
view_of(enum task_status status)
{
    struct queue_task_view v = {.found = true,
        .status = status,
        .priority = TASK_URGENT,
        .owner = "local",
        .owner_len = 5,
        .created_ms = CREATED_MS,
        .result_ttl_ms = 86400000,
        .now_ms = CREATED_MS + 5000,
        .about = about.data,
        .about_size = about.size};

    if (status == TASK_QUEUED)
        v.position = 4;
    if (status == TASK_PROCESSING || status == TASK_COMPLETED) {
        v.started_ms = CREATED_MS + 812;
        v.attempts = 1;
        v.step = 1;
    }
    if (task_status_is_terminal(status))
        v.finished_ms = CREATED_MS + 2352;
    if (status == TASK_COMPLETED) {
        v.output = output.data;
        v.output_size = output.size;
    }
    return v;
}

/* The document as a tree, for cJSON_Delete(). */
static cJSON *
document_of(const struct queue_task_view *view, bool with_data)
{
    struct task_document d;
    struct json_out out;
    struct error err;
    cJSON *tree;

    assert_int_equal(task_document_open(&d, ID, "kronos-small", view, &err), 0);
    json_out_init(&out);
    task_document_write(&d, with_data, &out);
    assert_false(out.failed);
    tree = cJSON_ParseWithLength(out.text, out.len);
    assert_non_null(tree);
    json_out_clear(&out);
    task_document_close(&d);
    return tree;
}

static const cJSON *
at(const cJSON *tree, const char *first, const char *second)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(tree, first);

    if (second != NULL)
        found = cJSON_GetObjectItemCaseSensitive(found, second);
    if (found == NULL)
        fail_msg("no member %s %s", first, second != NULL ? second : "");
    return found;
}

static void
assert_text(const cJSON *item, const char *text)
{
    assert_true(cJSON_IsString(item));
    assert_string_equal(item->valuestring, text);
}

static void
every_state_has_every_member_in_its_order(void **state)
{
    static const char *const names[] = {"task_id", "status", "model", "priority", "attempt",
        "created_at", "started_at", "finished_at", "expires_at", "deadline_at", "queue", "progress",
        "data", "error", "warnings", "metadata", "urls"};

    (void)state;
    for (int status = 0; status < TASK_STATUS_COUNT; status++) {
        struct queue_task_view view = view_of((enum task_status)status);
        cJSON *tree = document_of(&view, true);
        const cJSON *member = tree->child;

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++, member = member->next) {
            assert_non_null(member);
            assert_string_equal(member->string, names[i]);
        }
        assert_null(member);
        assert_text(at(tree, "status", NULL), task_status_name((enum task_status)status));
        cJSON_Delete(tree);
    }
}

static void
a_waiting_task_shows_its_place_and_no_guess(void **state)
{
    struct queue_task_view view = view_of(TASK_QUEUED);
    cJSON *tree;

    (void)state;
    view.deadline_ms = CREATED_MS + 30000;
    view.error_code = "worker_lost"; /* of an earlier run: nobody's business yet */
    view.error_code_len = 11;
    tree = document_of(&view, true);
    assert_text(at(tree, "created_at", NULL), "2026-01-05T08:30:00.123Z");
    assert_text(at(tree, "deadline_at", NULL), "2026-01-05T08:30:30.123Z");
    assert_true(cJSON_IsNull(at(tree, "started_at", NULL)));
    assert_int_equal(at(tree, "queue", "position")->valueint, 4);
    assert_true(cJSON_IsNull(at(tree, "queue", "estimated_start_seconds")));
    assert_true(cJSON_IsNull(at(tree, "error", NULL)));
    assert_text(at(tree, "urls", "cancel"), "/v1/tasks/" ID "/cancel");
    assert_null(cJSON_GetObjectItemCaseSensitive(tree, "cancel_requested"));
    cJSON_Delete(tree);

    view.position = TASK_POSITION_UNKNOWN;
    tree = document_of(&view, true);
    assert_true(cJSON_IsNull(at(tree, "queue", "position")));
    cJSON_Delete(tree);
}

static void
a_running_task_shows_its_step_and_a_wish_to_cancel(void **state)
{
    struct queue_task_view view = view_of(TASK_PROCESSING);
    cJSON *tree;

    (void)state;
    view.cancel_requested = true;
    tree = document_of(&view, true);
    assert_int_equal(at(tree, "queue", "position")->valueint, 0);
    assert_int_equal(at(tree, "queue", "estimated_start_seconds")->valueint, 0);
    assert_int_equal(at(tree, "progress", "step")->valueint, 1);
    assert_true(cJSON_IsTrue(at(tree, "cancel_requested", NULL)));
    cJSON_Delete(tree);
}

static void
a_completed_task_shows_its_result_or_leaves_it_out(void **state)
{
    struct queue_task_view view = view_of(TASK_COMPLETED);
    struct result *result = example_result();
    cJSON *tree = document_of(&view, true);
    const cJSON *data = at(tree, "data", NULL);

    (void)state;
    assert_true(cJSON_IsNull(at(tree, "queue", NULL)));
    assert_int_equal(
        at(tree, "progress", "step")->valueint, at(tree, "progress", "total")->valueint);
    assert_text(at(tree, "expires_at", NULL), "2026-01-06T08:30:02.475Z");
    assert_text(at(data, "task_id", NULL), ID);
    assert_int_equal(at(data, "timing", "queue_ms")->valueint, 812);
    assert_text(at(data, "provenance", "forecast_sha256"), result->provenance.forecast_sha256);
    assert_int_equal(
        cJSON_GetArraySize(at(data, "quantiles", NULL)), (int)result->output.n_quantiles);
    assert_int_equal(
        cJSON_GetArraySize(at(data, "paths", "data")), (int)result->provenance.params.sample_count);
    assert_true(cJSON_Compare(at(data, "warnings", NULL), at(tree, "warnings", NULL), true));
    assert_non_null(at(data, "stats", "p_up_final"));
    assert_non_null(at(data, "repaired", "ohlc"));
    cJSON_Delete(tree);
    result_free(result);

    tree = document_of(&view, false);
    assert_true(cJSON_IsNull(at(tree, "data", NULL)));
    assert_true(cJSON_GetArraySize(at(tree, "warnings", NULL)) > 0);
    cJSON_Delete(tree);
}

static void
forecast_numbers_read_back_to_the_same_binary32(void **state)
{
    struct queue_task_view view = view_of(TASK_COMPLETED);
    static const char *const fields[] = {"open", "high", "low", "close", "volume", "amount"};
    struct result *result = example_result();
    cJSON *tree = document_of(&view, true);
    const cJSON *prediction = at(at(tree, "data", NULL), "prediction", NULL);

    (void)state;
    for (size_t i = 0; i < result->n_horizon; i++)
        for (size_t f = 0; f < TASK_FIELDS; f++) {
            const cJSON *value = result->output.columns
                                     ? cJSON_GetArrayItem(at(prediction, fields[f], NULL), (int)i)
                                     : at(cJSON_GetArrayItem(prediction, (int)i), fields[f], NULL);

            assert_true((float)value->valuedouble == result->prediction[i * TASK_FIELDS + f]);
        }
    cJSON_Delete(tree);
    result_free(result);
}

static void
a_task_that_ended_badly_says_why_in_words_fit_to_be_shown(void **state)
{
    static const struct {
        enum task_status status;
        const char *code, *text, *shown_code, *shown_detail;
        bool retryable;
    } cases[] = {
        {TASK_FAILED, "worker_lost", "lease lost 3 times", "worker_lost", "lease lost 3 times",
            true},
        {TASK_CANCELLED, "cancelled_by_client", "", "cancelled_by_client",
            "cancelled by the client", false},
        {TASK_EXPIRED, "deadline_exceeded", "\xff\xfe", "deadline_exceeded",
            "the deadline passed before the task was completed", true},
        {TASK_FAILED, "n\xff", "two\nlines", "failed", "the task ended without a result", false},
        {TASK_FAILED, NULL, NULL, "failed", "the task ended without a result", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct queue_task_view view = view_of(cases[i].status);
        struct task_document d;
        struct json_out out;
        struct error err;
        cJSON *tree, *error;

        view.error_code = cases[i].code;
        view.error_code_len = cases[i].code != NULL ? strlen(cases[i].code) : 0;
        view.error_text = cases[i].text;
        view.error_text_len = cases[i].text != NULL ? strlen(cases[i].text) : 0;
        tree = document_of(&view, true);
        assert_text(at(tree, "error", "code"), cases[i].shown_code);
        assert_text(at(tree, "error", "detail"), cases[i].shown_detail);
        assert_int_equal(cJSON_IsTrue(at(tree, "error", "retryable")), cases[i].retryable);
        assert_int_equal(task_document_open(&d, ID, "m", &view, &err), 0);
        json_out_init(&out);
        task_document_error_write(&d, NULL, &out);
        error = cJSON_ParseWithLength(out.text, out.len);
        json_out_clear(&out);
        assert_true(cJSON_Compare(error, at(tree, "error", NULL), true));
        cJSON_Delete(error);
        task_document_close(&d);
        cJSON_Delete(tree);
    }
}

static void
what_does_not_decode_is_an_error_and_no_document(void **state)
{
    struct queue_task_view view = view_of(TASK_COMPLETED);
    struct task_document d;
    struct error err;

    (void)state;
    for (size_t n = 0; n < output.size; n += 7) { /* cut: ASan watches the end */
        char *cut = malloc(n > 0 ? n : 1);

        assert_non_null(cut);
        memcpy(cut, output.data, n);
        view.output = cut;
        view.output_size = n;
        assert_int_equal(task_document_open(&d, ID, "m", &view, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
        free(cut);
    }
    view.output = NULL;
    assert_int_equal(task_document_open(&d, ID, "m", &view, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    view = view_of(TASK_QUEUED);
    view.about = NULL;
    view.about_size = 0;
    assert_int_equal(task_document_open(&d, ID, "m", &view, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
}

static void
clients_are_told_to_come_back_only_for_what_is_not_over(void **state)
{
    (void)state;
    for (int status = 0; status < TASK_STATUS_COUNT; status++) {
        struct queue_task_view view = view_of((enum task_status)status);
        struct task_document d;
        struct error err;

        assert_int_equal(task_document_open(&d, ID, "m", &view, &err), 0);
        assert_int_equal(task_retry_after(&d) == 0, task_status_is_terminal(view.status));
        task_document_close(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_has_every_member_in_its_order),
        cmocka_unit_test(a_waiting_task_shows_its_place_and_no_guess),
        cmocka_unit_test(a_running_task_shows_its_step_and_a_wish_to_cancel),
        cmocka_unit_test(a_completed_task_shows_its_result_or_leaves_it_out),
        cmocka_unit_test(forecast_numbers_read_back_to_the_same_binary32),
        cmocka_unit_test(a_task_that_ended_badly_says_why_in_words_fit_to_be_shown),
        cmocka_unit_test(what_does_not_decode_is_an_error_and_no_document),
        cmocka_unit_test(clients_are_told_to_come_back_only_for_what_is_not_over),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
