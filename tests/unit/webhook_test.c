/*
 * webhook_test.c - Whom to tell of events, stored and read back; and from hostile bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/webhook.h"
#include "tests/support/stored_values.h"

static const struct webhook example = {
    .url = "https://hooks.example/kronosq?desk=a",
    .include_result = true,
    .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
};

static void
what_was_stored_is_read(void **state)
{
    struct webhook found;
    struct task_bytes bytes;
    struct error err;

    (void)state;
    assert_int_equal(webhook_encode(&example, &bytes, &err), 0);
    assert_int_equal(webhook_decode(bytes.data, bytes.size, &found, &err), 0);
    assert_string_equal(found.url, example.url);
    assert_true(found.include_result);
    assert_string_equal(found.traceparent, example.traceparent);
    free(bytes.data);
}

static void
a_cut_or_changed_one_is_refused_or_still_in_bounds(void **state)
{
    struct webhook found;
    struct task_bytes bytes;
    struct error err;

    (void)state;
    assert_int_equal(webhook_encode(&example, &bytes, &err), 0);
    for (size_t n = 0; n < bytes.size; n++) {
        char *cut = malloc(n > 0 ? n : 1); /* exact: ASan sees byte n */

        assert_non_null(cut);
        memcpy(cut, bytes.data, n);
        assert_int_equal(webhook_decode(cut, n, &found, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
        free(cut);
    }
    for (size_t n = 0; n < bytes.size; n++) {
        unsigned char *at = (unsigned char *)bytes.data + n, kept = *at;

        for (int value = 0; value < 256; value += 3) {
            *at = (unsigned char)value;
            if (webhook_decode(bytes.data, bytes.size, &found, &err) == 0) {
                assert_true(strlen(found.url) <= WEBHOOK_URL_MAX);
                assert_null(strpbrk(found.traceparent, "\r\n :"));
            }
        }
        *at = kept;
    }
    free(bytes.data);
}

static void
random_damage_never_harms_the_reader(void **state)
{
    (void)state;
    damage_rounds(STORED_WEBHOOK, 20000);
}

static void
a_header_cannot_be_smuggled_in_with_a_trace(void **state)
{
    static const char *const bad[] = {"x",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\r",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-\r\n", "\r\nx: y"};
    struct webhook w = example, found;
    struct task_bytes bytes;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        strcpy(w.traceparent, bad[i]);
        assert_int_equal(webhook_encode(&w, &bytes, &err), 0);
        assert_int_equal(webhook_decode(bytes.data, bytes.size, &found, &err), -1);
        free(bytes.data);
    }
}

static void
every_state_but_queued_has_an_event(void **state)
{
    (void)state;
    assert_null(webhook_event_name(TASK_QUEUED));
    assert_null(webhook_event_name(TASK_STATUS_COUNT));
    for (int status = TASK_PROCESSING; status < TASK_STATUS_COUNT; status++) {
        const char *name = webhook_event_name((enum task_status)status);

        assert_memory_equal(name, "task.", 5);
        assert_string_equal(name + 5, task_status_name((enum task_status)status));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_stored_is_read),
        cmocka_unit_test(a_cut_or_changed_one_is_refused_or_still_in_bounds),
        cmocka_unit_test(random_damage_never_harms_the_reader),
        cmocka_unit_test(a_header_cannot_be_smuggled_in_with_a_trace),
        cmocka_unit_test(every_state_but_queued_has_an_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
