/*
 * keys_test.c - The keys file and the Authorization header: who is it, and which lines are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/keys.h"
#include "common/secret_file.h"

#define HEX "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" /* of "test" */

static char path[] = "/tmp/kronosq-keys-test-XXXXXX";

static void
write_file(const char *text)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

static struct keys *
loaded(const char *text)
{
    struct error err = {0};
    struct keys *keys;

    write_file(text);
    if ((keys = keys_load(path, &err)) == NULL)
        fail_msg("refused: %s", err.text);
    return keys;
}

static void
refused(const char *text, unsigned line, const char *word)
{
    struct error err = {0};
    char where[80];

    write_file(text);
    assert_null(keys_load(path, &err));
    assert_int_equal(err.code, ERR_INVALID);
    snprintf(where, sizeof(where), "%s:%u: ", path, line);
    assert_non_null(strstr(err.text, where));
    assert_non_null(strstr(err.text, word));
}

static void
a_line_says_name_digest_scopes_priority_and_rate(void **state)
{
    struct api_key key;
    struct error err;
    const char *line = "desk-a " HEX " submit,read low 100";

    (void)state;
    assert_int_equal(api_key_parse(line, strlen(line), &key, &err), 1);
    assert_string_equal(key.name, "desk-a");
    assert_int_equal(key.digest[0], 0x9f);
    assert_int_equal(key.digest[31], 0x08);
    assert_int_equal(key.scopes, API_SCOPE_SUBMIT | API_SCOPE_READ);
    assert_int_equal(key.highest, TASK_LOW);
    assert_int_equal(key.rate, 100);
    line = "\t x\t" HEX "  admin urgent - # who has all\r";
    assert_int_equal(api_key_parse(line, strlen(line), &key, &err), 1);
    assert_int_equal(key.scopes, API_SCOPES_ALL);
    assert_int_equal(key.rate, API_KEY_RATE_SERVER);
    for (const char *const *none = (const char *const[]){"", " \t\r", "# x", "  #" HEX, NULL};
         *none != NULL; none++)
        assert_int_equal(api_key_parse(*none, strlen(*none), &key, &err), 0);
}

static void
a_written_line_reads_back_as_the_same_key(void **state)
{
    static const unsigned scopes[] = {
        API_SCOPE_READ, API_SCOPE_SUBMIT, API_SCOPE_SUBMIT | API_SCOPE_READ, API_SCOPES_ALL};
    static const int64_t rates[] = {API_KEY_RATE_SERVER, 0, 1, API_KEY_RATE_MAX};
    struct api_key key = {.highest = TASK_NORMAL}, back;
    char line[API_KEY_LINE_MAX];
    struct error err;

    (void)state;
    memset(key.name, 'n', API_KEY_NAME_MAX); /* the longest there is */
    for (size_t i = 0; i < sizeof(key.digest); i++)
        key.digest[i] = (uint8_t)(255 - 7 * i);
    for (size_t s = 0; s < 4; s++)
        for (size_t r = 0; r < 4; r++) {
            key.scopes = scopes[s];
            key.rate = rates[r];
            api_key_write(&key, line);
            assert_int_equal(api_key_parse(line, strlen(line), &back, &err), 1);
            assert_memory_equal(&back, &key, sizeof(key));
        }
}

static void
a_bad_line_is_named_with_its_file_and_field(void **state)
{
    (void)state;
    refused("\n# one\n\na " HEX " read normal\n", 4, "fields");
    refused("a " HEX " read normal - -", 1, "6");
    refused("-a " HEX " read normal -", 1, "name");
    refused("a{b} " HEX " read normal -", 1, "name");
    refused("unknown " HEX " read normal -", 1, "name");
    refused("\xc3\xa4 " HEX " read normal -", 1, "name");
    refused("a " HEX "0 read normal -", 1, "64");
    refused("a krn_0123456789012345678901234567890123456789 read normal -", 1, "not the key");
    refused("a " HEX " , normal -", 1, "scopes");
    refused("a " HEX " submit,,read normal -", 1, "scopes");
    refused("a " HEX " SUBMIT normal -", 1, "scopes");
    refused("a " HEX " read urgent,low -", 1, "priority");
    refused("a " HEX " read normal 1000001", 1, "rate");
    refused("a " HEX " read normal 10000000000000000000000", 1, "rate");
    refused("a " HEX " read normal +1", 1, "rate");
    refused("a " HEX " read normal --", 1, "rate");
    refused("a " HEX " read normal -\nb " HEX " read normal -", 2, "line 1");
}

static void
no_refusal_quotes_what_may_be_a_key(void **state)
{
    const char *key = "krn_s3cretS3cretS3cretS3cretS3cret00";
    char text[256];
    struct error err;

    (void)state;
    for (int field = 0; field < 6; field++) {
        text[0] = '\0';
        for (int i = 0; i < 6; i++)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ",
                i == field ? key
                : i == 1   ? HEX
                : i == 2   ? "read"
                : i == 3   ? "low"
                           : "-");
        for (int n = 1; n <= 6; n++) {
            write_file(text);
            assert_null(keys_load(path, &err));
            assert_null(strstr(err.text, "s3cret"));
        }
    }
}

static void
a_file_is_refused_when_it_is_none_or_not_ones_own(void **state)
{
    struct error err;
    size_t len;

    (void)state;
    write_file("# nobody\n");
    assert_null(keys_load(path, &err));
    assert_non_null(strstr(err.text, "no key"));
    write_file("a " HEX " read normal -\n");
    assert_int_equal(chmod(path, 0604), 0);
    assert_null(keys_load(path, &err));
    assert_non_null(strstr(err.text, "604"));
    assert_int_equal(chmod(path, 0602), 0);
    assert_null(keys_load(path, &err));
    assert_int_equal(chmod(path, 0640), 0); /* a service manager's group may */
    keys_free(keys_load(path, &err));
    assert_int_equal(chmod(path, 0600), 0);
    assert_null(keys_load("/tmp", &err));
    assert_null(keys_load("/nonexistent/keys", &err));
    assert_null(secret_file_read("/dev/zero", &len, &err));
}

static void
a_zero_byte_ends_no_file_early(void **state)
{
    static const char text[] = "a " HEX " read normal -\n\0b";
    FILE *file = fopen(path, "we");
    struct error err;

    (void)state;
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, sizeof(text), file), sizeof(text));
    assert_int_equal(fclose(file), 0);
    assert_null(keys_load(path, &err));
    assert_non_null(strstr(err.text, "zero byte"));
}

static void
as_many_keys_as_said_and_each_is_found(void **state)
{
    char *text = malloc((KEYS_MAX + 1) * API_KEY_LINE_MAX);
    struct keys *keys;
    struct error err;
    size_t used = 0;

    (void)state;
    assert_non_null(text);
    for (unsigned i = 0; i <= KEYS_MAX; i++) {
        struct api_key key = {.scopes = API_SCOPE_READ, .highest = TASK_LOW};
        char secret[16];

        snprintf(key.name, sizeof(key.name), "k%u", i % 100); /* names may repeat */
        snprintf(secret, sizeof(secret), "secret%u", i);
        assert_int_equal(api_key_digest(secret, strlen(secret), key.digest, &err), 0);
        api_key_write(&key, text + used);
        used += strlen(text + used);
        strcpy(text + used, "\n");
        if (++used && i + 1 == KEYS_MAX) {
            keys = loaded(text);
            assert_int_equal(keys_count(keys), KEYS_MAX);
            assert_string_equal(keys_find(keys, "secret0", 7)->name, "k0");
            assert_string_equal(keys_find(keys, "secret4095", 10)->name, "k95");
            assert_null(keys_find(keys, "secret4096", 10));
            assert_null(keys_find(keys, "", 0));
            keys_free(keys);
        }
    }
    write_file(text);
    assert_null(keys_load(path, &err));
    assert_non_null(strstr(err.text, "4096"));
    free(text);
}

static void
a_new_key_is_well_formed_and_never_the_same(void **state)
{
    char a[API_KEY_NEW_MAX], b[API_KEY_NEW_MAX];
    struct error err;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(api_key_new(a, &err), 0);
        assert_int_equal(api_key_new(b, &err), 0);
        assert_int_equal(strlen(a), strlen(API_KEY_PREFIX) + API_KEY_RANDOM_NEW);
        assert_true(api_key_is_well_formed(a, strlen(a)));
        assert_string_not_equal(a, b);
    }
    assert_false(api_key_is_well_formed("krn_0123456789012345678901234567890", 35));
    assert_true(api_key_is_well_formed("krn_01234567890123456789012345678901", 36));
    assert_false(api_key_is_well_formed("krn_0123456789012345678901234567890-", 36));
    assert_false(api_key_is_well_formed("KRN_01234567890123456789012345678901", 36));
}

static void
others_tasks_are_seen_by_an_admin_only(void **state)
{
    struct api_key key = {.name = "desk", .scopes = API_SCOPE_SUBMIT | API_SCOPE_READ};
    struct caller caller = caller_of_key(&key), local = caller_local(), nobody = {0};

    (void)state;
    assert_true(caller_sees(&caller, "desk", 4));
    assert_false(caller_sees(&caller, "desk-a", 6));
    assert_false(caller_sees(&caller, "des", 3));
    assert_false(caller_sees(&caller, "", 0));
    assert_false(caller_sees(&caller, NULL, 0));
    assert_false(caller_sees(&nobody, "", 0));
    assert_true(caller_sees(&local, "desk", 4));
    assert_true(caller_sees(&local, NULL, 0));
}

static int
make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd == -1 ? -1 : close(fd);
}

static int
remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_says_name_digest_scopes_priority_and_rate),
        cmocka_unit_test(a_written_line_reads_back_as_the_same_key),
        cmocka_unit_test(a_bad_line_is_named_with_its_file_and_field),
        cmocka_unit_test(no_refusal_quotes_what_may_be_a_key),
        cmocka_unit_test(a_file_is_refused_when_it_is_none_or_not_ones_own),
        cmocka_unit_test(a_zero_byte_ends_no_file_early),
        cmocka_unit_test(as_many_keys_as_said_and_each_is_found),
        cmocka_unit_test(a_new_key_is_well_formed_and_never_the_same),
        cmocka_unit_test(others_tasks_are_seen_by_an_admin_only),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
