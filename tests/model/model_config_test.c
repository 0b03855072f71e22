/*
 * model_config_test.c - A config.json that lies is refused with field, value and limit.
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

#include "worker/kronos/model_config.h"

static char dir[64], path[96];

static int
make_folder(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/kronosq-config-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/config.json", dir);
    return 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void
write_config(const void *text, size_t n)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Each ${from} of a good config replaced once; the result must be refused, saying ${says}. */
struct lie {
    const char *from, *to, *says;
};

#define GOOD_MODEL                                                                                 \
    "{\"s1_bits\": 6, \"s2_bits\": 6, \"n_layers\": 3, \"d_model\": 64, \"n_heads\": 4, "          \
    "\"ff_dim\": 96, \"learn_te\": true, \"ffn_dropout_p\": 0.1}"
#define GOOD_TOKENIZER                                                                             \
    "{\"d_in\": 6, \"d_model\": 32, \"n_heads\": 2, \"ff_dim\": 48, \"n_enc_layers\": 3, "         \
    "\"n_dec_layers\": 4, \"s1_bits\": 6, \"s2_bits\": 5, \"group_size\": 4}"

static void
replace(char *out, size_t out_bytes, const char *text, const struct lie *lie)
{
    const char *at = strstr(text, lie->from);

    assert_non_null(at);
    snprintf(out, out_bytes, "%.*s%s%s", (int)(at - text), text, lie->to, at + strlen(lie->from));
}

static void
check_refused(int status, const struct error *err, const struct lie *lie)
{
    if (status != -1 || err->code != ERR_INVALID || strstr(err->text, lie->says) == NULL ||
        strstr(err->text, path) == NULL)
        fail_msg("%s -> %s: status %d, %s", lie->from, lie->to, status,
            status == -1 ? err->text : "accepted");
}

static void
a_good_config_is_read_and_unknown_names_are_skipped(void **state)
{
    struct tokenizer_config t;
    struct model_config m;
    struct error err;

    (void)state;
    write_config(GOOD_MODEL "\n", sizeof(GOOD_MODEL));
    assert_int_equal(model_config_read(path, &m, &err), 0);
    assert_int_equal(m.n_layers, 3);
    assert_int_equal(m.d_model, 64);
    assert_int_equal(m.n_heads, 4);
    assert_int_equal(m.ff_dim, 96);
    assert_int_equal(m.s1_bits, 6);
    assert_int_equal(m.s2_bits, 6);

    write_config(GOOD_TOKENIZER, sizeof(GOOD_TOKENIZER) - 1);
    assert_int_equal(tokenizer_config_read(path, &t, &err), 0);
    assert_int_equal(t.d_in, 6);
    assert_int_equal(t.s2_bits, 5);
}

/* The reference builds n - 1 blocks, the one surprise of this file. */
static void
the_tokenizer_has_one_block_fewer_than_its_config_says(void **state)
{
    struct tokenizer_config t;
    struct error err;

    (void)state;
    write_config(GOOD_TOKENIZER, sizeof(GOOD_TOKENIZER) - 1);
    assert_int_equal(tokenizer_config_read(path, &t, &err), 0);
    assert_int_equal(t.n_enc_layers, 2);
    assert_int_equal(t.n_dec_layers, 3);
}

static void
a_model_config_out_of_limits_is_refused_naming_the_field(void **state)
{
    static const struct lie lies[] = {
        {"\"d_model\": 64, ", "", "d_model is missing"},
        {"\"d_model\": 64", "\"d_model\": \"64\"", "d_model must be an integer from 2 to 4096"},
        {"\"d_model\": 64", "\"d_model\": null", "d_model must be"},
        {"\"d_model\": 64", "\"d_model\": [64]", "d_model must be"},
        {"\"d_model\": 64", "\"d_model\": 64.5", "d_model must be"},
        {"\"d_model\": 64", "\"d_model\": -64", "d_model must be"},
        {"\"d_model\": 64", "\"d_model\": 0", "d_model must be"},
        {"\"d_model\": 64", "\"d_model\": 4100", "from 2 to 4096"},
        {"\"d_model\": 64", "\"d_model\": 4294967360", "d_model must be"},
        {"\"d_model\": 64", "\"d_model\": 1e999", "d_model must be"},
        {"\"d_model\": 64", "\"d_model\": 66", "d_model 66 does not split into n_heads 4"},
        {"\"d_model\": 64", "\"d_model\": 60", "heads of an even size"},
        {"\"d_model\": 64, \"n_heads\": 4", "\"d_model\": 6, \"n_heads\": 3",
            "4 heads of the dependency layer"},
        {"\"n_heads\": 4", "\"n_heads\": 0", "n_heads must be an integer from 1 to 64"},
        {"\"n_heads\": 4", "\"n_heads\": 65", "n_heads must be"},
        {"\"n_layers\": 3", "\"n_layers\": 0", "n_layers must be an integer from 1 to 64"},
        {"\"n_layers\": 3", "\"n_layers\": 65", "n_layers must be"},
        {"\"ff_dim\": 96", "\"ff_dim\": 16385", "ff_dim must be an integer from 1 to 16384"},
        {"\"s1_bits\": 6", "\"s1_bits\": 15", "s1_bits must be an integer from 1 to 14"},
        {"\"s2_bits\": 6", "\"s2_bits\": 0", "s2_bits must be an integer from 1 to 14"},
        {"\"learn_te\": true", "\"learn_te\": false", "learn_te"},
        {"\"ff_dim\": 96", "\"ff_dim\": 96, \"d_model\": 32", "\"d_model\" stands there twice"},
        {"\"learn_te\": true", "\"x\": [{\"y\": {\"z\": 1, \"z\": 1}}]",
            "\"z\" stands there twice"},
        {"0.1}", "0.1", "not JSON"},
        {"0.1}", "0.1}}", "something follows the JSON object at byte"},
        {"0.1}", "0.1} {}", "something follows"},
    };
    char text[512];
    struct model_config m;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        replace(text, sizeof(text), GOOD_MODEL, &lies[i]);
        write_config(text, strlen(text));
        check_refused(model_config_read(path, &m, &err), &err, &lies[i]);
    }
}

static void
a_tokenizer_config_out_of_limits_is_refused_naming_the_field(void **state)
{
    static const struct lie lies[] = {
        {"\"d_in\": 6", "\"d_in\": 7", "d_in must be an integer from 6 to 6"},
        {"\"n_enc_layers\": 3", "\"n_enc_layers\": 0", "n_enc_layers must be"},
        {"\"n_dec_layers\": 4", "\"n_dec_layers\": 65", "n_dec_layers must be"},
        {"\"n_heads\": 2", "\"n_heads\": 3", "does not split into n_heads 3"},
        {"\"s1_bits\": 6, ", "", "s1_bits is missing"},
    };
    char text[512];
    struct tokenizer_config t;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        replace(text, sizeof(text), GOOD_TOKENIZER, &lies[i]);
        write_config(text, strlen(text));
        check_refused(tokenizer_config_read(path, &t, &err), &err, &lies[i]);
    }
}

static void
what_is_no_json_object_is_refused(void **state)
{
    static const char *const texts[] = {"", " ", "7", "[]", "\"text\"", "{", "{]", "{\"a\" 1}",
        "{\"d_model\": 0x40}", "\xff\xfe{}", "null"};
    struct model_config m;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_config(texts[i], strlen(texts[i]));
        assert_int_equal(model_config_read(path, &m, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

/* A NUL would end the text for a reader of C strings, and not for the next reader. */
static void
a_nul_byte_does_not_hide_what_follows(void **state)
{
    static const char text[] = GOOD_MODEL "\0 {\"d_model\": 4096}";
    struct model_config m;
    struct error err;

    (void)state;
    write_config(text, sizeof(text) - 1);
    assert_int_equal(model_config_read(path, &m, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void
a_config_cut_at_any_byte_is_refused(void **state)
{
    static const char text[] = GOOD_MODEL;
    struct model_config m;
    struct error err;

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        write_config(text, n);
        assert_int_equal(model_config_read(path, &m, &err), -1);
    }
}

/* cJSON takes 64 bytes for a byte or two of text: the size is bounded before it is parsed. */
static void
an_oversized_or_deeply_nested_config_is_refused(void **state)
{
    size_t n = 65 * 1024;
    char *text = malloc(n);
    struct model_config m;
    struct error err;

    (void)state;
    assert_non_null(text);
    memset(text, ' ', n);
    memcpy(text, GOOD_MODEL, sizeof(GOOD_MODEL) - 1);
    write_config(text, n);
    assert_int_equal(model_config_read(path, &m, &err), -1);
    assert_non_null(strstr(err.text, "the limit is 65536"));

    memset(text, '[', n);
    memcpy(text, "{\"a\":", 5);
    write_config(text, 60 * 1024);
    assert_int_equal(model_config_read(path, &m, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    free(text);
}

static void
what_is_no_regular_file_is_refused_without_waiting(void **state)
{
    struct model_config m;
    struct error err;

    (void)state;
    unlink(path);
    assert_int_equal(model_config_read(path, &m, &err), -1);
    assert_int_equal(err.code, ERR_SYSTEM);
    assert_int_equal(model_config_read(dir, &m, &err), -1);
    assert_non_null(strstr(err.text, "not a regular file"));

    assert_int_equal(mkfifo(path, 0600), 0); /* opening it for reading would wait for a writer */
    assert_int_equal(model_config_read(path, &m, &err), -1);
    assert_non_null(strstr(err.text, "not a regular file"));
    unlink(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_config_is_read_and_unknown_names_are_skipped),
        cmocka_unit_test(the_tokenizer_has_one_block_fewer_than_its_config_says),
        cmocka_unit_test(a_model_config_out_of_limits_is_refused_naming_the_field),
        cmocka_unit_test(a_tokenizer_config_out_of_limits_is_refused_naming_the_field),
        cmocka_unit_test(what_is_no_json_object_is_refused),
        cmocka_unit_test(a_nul_byte_does_not_hide_what_follows),
        cmocka_unit_test(a_config_cut_at_any_byte_is_refused),
        cmocka_unit_test(an_oversized_or_deeply_nested_config_is_refused),
        cmocka_unit_test(what_is_no_regular_file_is_refused_without_waiting),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
