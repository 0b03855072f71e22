/*
 * webhook_sign_test.c - Signatures: the vectors of Standard Webhooks and our own; the file of masters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "webhook/sign.h"

#define MASTER "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define OTHER  "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="

static char path[] = "/tmp/kronosq-masters-XXXXXX";

static int
set_up(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd == -1 ? -1 : close(fd);
}

static int
tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static int
read_text(const char *text, struct sign_masters *masters, struct error *err)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return sign_masters_read(masters, path, err);
}

static void
the_vector_of_standard_webhooks_is_met(void **state)
{
    static const char body[] = "{\"test\": 2432232314}";
    static const char secret_text[] = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    unsigned char secret[64];
    char text[64];
    struct error err;

    (void)state;
    assert_int_equal(
        EVP_DecodeBlock(secret, (const unsigned char *)secret_text, (int)strlen(secret_text)), 24);
    assert_int_equal(sign_with(secret, 24, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body,
                         strlen(body), text, &err),
        0);
    assert_string_equal(text, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

static void
our_own_vector_is_met(void **state)
{
    static const char body[] =
        "{\"type\":\"test.ping\",\"timestamp\":\"2026-01-05T08:30:03.214Z\",\"data\":{}}";
    struct sign_masters masters;
    unsigned char secret[SIGN_SECRET_BYTES];
    char text[SIGN_TEXT_MAX];
    struct error err;

    (void)state;
    assert_int_equal(read_text(MASTER "\n", &masters, &err), 0);
    assert_int_equal(sign_secret(&masters.masters[0], "desk-a", secret, &err), 0);
    sign_secret_text(secret, text);
    assert_string_equal(text, "whsec_wtik5481W3QXg8CZ/e8Gk08ci6PsM8MLCOXSMKPqg+Q=");
    assert_int_equal(sign_all(&masters, "desk-a", "evt_0b6f2c1e-5d0a-4c3b-8e2f-9a7d6c5b4a39",
                         1767601803, body, strlen(body), text, &err),
        0);
    assert_string_equal(text, "v1,4OBbYCfl4gqg7YVRgrwYZ2gdYrGqIvr7KzlsZyi/ig4=");
    sign_masters_clear(&masters);
}

static void
two_masters_sign_twice_the_current_one_first(void **state)
{
    struct sign_masters both, one;
    char two[SIGN_TEXT_MAX], first[SIGN_TEXT_MAX];
    struct error err;

    (void)state;
    assert_int_equal(
        read_text("# the new one\n  " OTHER " \r\n\n# the old\n" MASTER, &both, &err), 0);
    assert_int_equal(both.n, 2);
    assert_int_equal(sign_all(&both, "local", "evt_x", 1, "{}", 2, two, &err), 0);
    assert_int_equal(read_text(OTHER, &one, &err), 0);
    assert_int_equal(sign_all(&one, "local", "evt_x", 1, "{}", 2, first, &err), 0);
    assert_memory_equal(two, first, strlen(first));
    assert_int_equal(two[strlen(first)], ' ');
    assert_int_equal(strlen(two), 2 * strlen(first) + 1);
    assert_memory_not_equal(two + strlen(first) + 1, first, strlen(first));
}

static void
a_file_that_is_wrong_is_refused_without_quoting_it(void **state)
{
    static const char *const texts[] = {"", "# none\n", "secret", "QUJD\n", MASTER "x\n",
        MASTER "\n" OTHER "\n" MASTER "\n", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 ",
        "AAEC=wQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="};
    struct sign_masters masters;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (read_text(texts[i], &masters, &err) == 0)
            fail_msg("accepted: %s", texts[i]);
        assert_int_equal(masters.n, 0);
        assert_null(strstr(err.text, "AAEC"));
    }
    assert_int_equal(read_text(MASTER, &masters, &err), 0);
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(sign_masters_read(&masters, path, &err), -1);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(sign_masters_read(&masters, "/nowhere", &err), -1);
}

static void
a_name_or_id_that_does_not_fit_is_refused(void **state)
{
    char text[SIGN_TEXT_MAX], name[SIGN_NAME_MAX + 2];
    char *id = calloc(1, 400);
    struct sign_masters masters;
    struct error err;

    (void)state;
    assert_non_null(id);
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    memset(id, 'e', 399);
    assert_int_equal(read_text(MASTER, &masters, &err), 0);
    assert_int_equal(sign_all(&masters, name, "evt_x", 1, "", 0, text, &err), -1);
    assert_int_equal(sign_all(&masters, "", "evt_x", 1, "", 0, text, &err), -1);
    assert_int_equal(sign_all(&masters, "a", id, 1, "", 0, text, &err), -1);
    assert_int_equal(sign_all(&masters, name + 1, "evt_x", INT64_MAX, NULL, 0, text, &err), 0);
    free(id);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_standard_webhooks_is_met),
        cmocka_unit_test(our_own_vector_is_met),
        cmocka_unit_test(two_masters_sign_twice_the_current_one_first),
        cmocka_unit_test(a_file_that_is_wrong_is_refused_without_quoting_it),
        cmocka_unit_test(a_name_or_id_that_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
