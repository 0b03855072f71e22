/*
 * load_test.c - A weight file that lies is refused, naming tensor and file.
 *
 * Every hostile file is the good one of the tiny tokenizer or model with one thing
 * changed, so that nothing else can be the reason for the refusal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/weight_image.h"

/* The good model with the tokenizer written last: refused with ${code}, the text says ${says}. */
static void
check_refused(const char *what, enum error_code code, const char *says)
{
    struct error err = {0};
    struct model *model = image_open(IMAGE_TOKENIZER, &err);
    bool refused = model == NULL;

    model_close(model);
    if (!refused || err.code != code || strstr(err.text, says) == NULL)
        fail_msg("%s: %s: %s, wanted \"%s\"", what, refused ? "refused" : "accepted",
            refused ? err.text : "", says);
}

struct lie {
    const char *tensor, *field, *value, *says;
};

static void
a_header_entry_that_lies_is_refused_naming_the_tensor(void **state)
{
    static const struct lie lies[] = {
        {"embed.weight", "dtype", "\"I32\"",
            "tensor embed.weight: wanted F32, F16 or BF16, found I32"},
        {"embed.weight", "dtype", "\"F99\"", "tensor embed.weight: wanted F32, F16 or BF16"},
        {"embed.weight", "dtype", "\"\\u001b[2J\"", "found ?[2J"},
        {"embed.weight", "dtype", "\"F64\"", "tensor embed.weight: F64 [32, 6] needs 1536 bytes"},
        {"embed.weight", "dtype", "\"F16\"", "tensor embed.weight: F16 [32, 6] needs 384 bytes"},
        {"embed.weight", "dtype", "32", "tensor embed.weight has no dtype"},
        {"embed.weight", "shape", "[6, 32]",
            "tensor embed.weight: wanted shape [32, 6], found [6, 32]"},
        {"embed.weight", "shape", "[192]", "wanted shape [32, 6], found [192]"},
        {"embed.weight", "shape", "[32, 6, 1]", "wanted shape [32, 6], found [32, 6, 1]"},
        {"embed.bias", "shape", "[32, 1]", "embed.bias: wanted shape [32], found [32, 1]"},
        {"embed.weight", "shape", "[32, 7]", "F32 [32, 7] needs 896 bytes, data_offsets give 768"},
        {"embed.weight", "shape", "[]", "F32 [] needs 4 bytes"},
        {"embed.weight", "shape", "[0, 6]", "F32 [0, 6] needs 0 bytes"},
        {"embed.weight", "shape", "[-32, -6]", "dimension 0 of its shape is no size"},
        {"embed.weight", "shape", "[32, 6.5]", "dimension 1 of its shape is no size"},
        {"embed.weight", "shape", "[32, \"6\"]", "dimension 1 of its shape is no size"},
        {"embed.weight", "shape", "[32, 1e300]", "dimension 1 of its shape is no size"},
        {"embed.weight", "shape", "\"32, 6\"", "tensor embed.weight has no shape"},
        {"embed.weight", "shape", "[1,1,1,1,1,1,1,32,6]", "more than 8 dimensions"},
        /* 2^32 * 2^32 * 4 is 0 where products wrap */
        {"embed.weight", "shape", "[4294967296, 4294967296]", "is too large"},
        {"embed.weight", "shape", "[9007199254740992, 9007199254740992, 0]", "is too large"},
        {"embed.weight", "data_offsets", "[768, 0]", "data_offsets [768, 0] run backwards"},
        {"embed.weight", "data_offsets", "[0, 767]", "needs 768 bytes, data_offsets give 767"},
        {"embed.weight", "data_offsets", "[0]", "data_offsets must be two sizes"},
        {"embed.weight", "data_offsets", "[0, 768, 769]", "data_offsets must be two sizes"},
        {"embed.weight", "data_offsets", "[-768, 0]", "data_offsets must be two sizes"},
        {"embed.weight", "data_offsets", "[0.5, 768.5]", "data_offsets must be two sizes"},
        {"embed.weight", "data_offsets", "{}", "data_offsets must be two sizes"},
        {"embed.weight", "data_offsets", "[1099511627776, 1099511628544]",
            "tensor embed.weight ends at byte 1099511628544 of the data, the file holds"},
        {"embed.weight", "data_offsets", "[9007199254740992, 9007199254741760]",
            "data_offsets must be two sizes"},
        {"embed.bias", "data_offsets", "[764, 892]", "tensors embed.weight and embed.bias overlap"},
        {"embed.bias", "data_offsets", "[0, 128]", "overlap"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct image image = image_read(IMAGE_TOKENIZER);

        image_put(&image, lies[i].tensor, lies[i].field, lies[i].value);
        image_write(&image, 0);
        check_refused(lies[i].value, ERR_CORRUPT, lies[i].says);
        image_clear(&image);
    }
}

/* Take one tensor out of a good file, for every tensor of it. Returns how many were missed. */
static size_t
check_each_missing(enum image_part part)
{
    struct image names = image_read(part);
    size_t n_needed = 0;
    const cJSON *item;

    cJSON_ArrayForEach(item, names.header)
    {
        const char *name = item->string;
        struct image image = image_read(part);
        bool is_needed = strstr(name, "inv_freq") == NULL && strstr(name, ".bsq.") == NULL &&
                         strstr(name, "post_quant_embed_pre") == NULL;
        struct error err = {0};
        struct model *model;

        cJSON_DeleteItemFromObjectCaseSensitive(image.header, name);
        image_write(&image, 0);
        image_clear(&image);
        model = image_open(part, &err);
        if ((model == NULL) != is_needed ||
            (is_needed && (err.code != ERR_CORRUPT || strstr(err.text, name) == NULL ||
                              strstr(err.text, "is missing") == NULL)))
            fail_msg("without %s: %s", name, model == NULL ? err.text : "accepted");
        model_close(model);
        n_needed += is_needed;
    }
    image_clear(&names);
    return n_needed;
}

/* A block has 2 norms, 4 linears with bias and 3 without: 13 tensors. */
static void
each_missing_tensor_is_named_and_those_not_read_may_be_missing(void **state)
{
    (void)state;
    /* embeddings 2, fusion 2, times 5, norm 1, dependency 8 + 1, heads 4 */
    assert_int_equal(check_each_missing(IMAGE_MODEL), 3 * 13 + 23);
    /* embed, head, quant_embed, post_quant_embed */
    assert_int_equal(check_each_missing(IMAGE_TOKENIZER), (2 + 2) * 13 + 8);
}

static void
a_header_that_is_no_header_is_refused(void **state)
{
    static const struct {
        uint64_t length;
        const char *text, *says;
    } headers[] = {
        {0, "{}", "the header is not JSON"},
        {2, "[]", "JSON, but not an object"},
        {2, "{}", "tensor embed.weight [32, 6] is missing"},
        {3, "{}", "claims 3 bytes, the file has 10"},
        {UINT64_MAX, "{}", "the header claims 18446744073709551615 bytes, the limit is 1048576"},
        {UINT64_MAX - 7, "{}", "the header claims 18446744073709551608 bytes"},
        {1048577, "{}", "the limit is 1048576"},
        {1048576, "{}", "the header claims 1048576 bytes, the file has 10"},
        {7, "{} null", "something follows the JSON object"},
        {13, "{\"a\":1,\"a\":2}", "the name \"a\" stands there twice"},
        {9, "{\"a\":[]}}", "something follows"},
        {8, "{\"a\":[]}", "tensor a is no object"},
        {19, "{\"__metadata__\":{}} ", "tensor embed.weight [32, 6] is missing"},
        {8, "{\"a\":{}}", "tensor a has no dtype"},
        {21, "{\"a\":{\"dtype\":\"F32\"}}", "tensor a has no shape"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        unsigned char bytes[64];

        memcpy(bytes, &headers[i].length, 8);
        memcpy(bytes + 8, headers[i].text, strlen(headers[i].text));
        image_write_bytes(bytes, 8 + strlen(headers[i].text));
        check_refused(headers[i].text, ERR_CORRUPT, headers[i].says);
    }
    for (size_t n = 0; n < 8; n++) {
        image_write_bytes("\2\0\0\0\0\0\0\0", n);
        check_refused("a short file", ERR_CORRUPT, "bytes are no weight file");
    }
}

static void
a_name_of_any_length_is_refused_or_skipped_but_never_cut(void **state)
{
    char name[600];

    (void)state;
    for (size_t n = 250; n < 260; n++) {
        struct image image = image_read(IMAGE_TOKENIZER);
        struct error err;
        struct model *model;

        memset(name, 'x', n);
        name[n] = '\0';
        cJSON_AddItemToObject(
            image.header, name, cJSON_Duplicate(image_entry(&image, "embed.weight"), true));
        image_put(&image, name, "data_offsets", "[0, 0]");
        image_put(&image, name, "shape", "[0]");
        image_write(&image, 0);
        model = image_open(IMAGE_TOKENIZER, &err);
        assert_int_equal(model == NULL, n > 255);
        if (model == NULL)
            assert_non_null(strstr(err.text, "its name is over 255 bytes"));
        model_close(model);
        image_clear(&image);
    }
}

/* A download that broke off: at whatever byte, the file is refused. */
static void
a_truncated_file_is_refused_at_every_length(void **state)
{
    size_t n;
    unsigned char *bytes = image_bytes(IMAGE_TOKENIZER, &n);

    (void)state;
    /* each byte of the first and last 600, and 500 places between */
    for (size_t cut = 0; cut < n; cut += cut < 600 || cut + 600 > n ? 1 : (n - 1200) / 500) {
        image_write_bytes(bytes, cut);
        check_refused("a cut file", ERR_CORRUPT, image_path());
    }
    free(bytes);
}

static void
a_value_that_is_not_finite_is_refused_naming_the_tensor(void **state)
{
    static const uint32_t bad[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0x7f800001u, 0xffffffffu};
    static const char *const names[] = {"embed.weight", "head.bias", "decoder.1.ffn.w2.weight"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
            struct image image = image_read(IMAGE_TOKENIZER);

            memcpy(image.data + image_begin(&image, names[k]) + 20, &bad[i], sizeof(bad[i]));
            image_write(&image, 0);
            check_refused("not finite", ERR_CORRUPT, names[k]);
            check_refused("not finite", ERR_CORRUPT, "not finite");
            image_clear(&image);
        }
    }
}

/*
 * Whatever bytes a header has, the answer is a model or a refusal with a text. The
 * sanitizers say whether anything was read that should not be.
 */
static void
a_header_with_random_bytes_changed_never_harms(void **state)
{
    static const char alphabet[] = "0123456789{}[]\",:-eE.\\ \n\t\0x";
    size_t n, n_refused = 0;
    unsigned char *bytes = image_bytes(IMAGE_TOKENIZER, &n);
    unsigned char *changed = malloc(n);
    uint64_t length, random = 88172645463325252u;

    (void)state;
    assert_non_null(changed);
    memcpy(&length, bytes, 8);
    for (int round = 0; round < 1500; round++) {
        struct error err = {0};
        struct model *model;

        memcpy(changed, bytes, n);
        for (int i = 0; i <= round % 4; i++) {
            size_t at;

            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            at = random % (length + 8);
            changed[at] = (round & 1) != 0
                              ? (unsigned char)alphabet[(random >> 32) % (sizeof(alphabet) - 1)]
                              : (unsigned char)(random >> 40);
        }
        image_write_bytes(changed, n);
        if ((model = image_open(IMAGE_TOKENIZER, &err)) == NULL) {
            assert_true(err.text[0] != '\0');
            n_refused++;
        }
        model_close(model);
    }
    assert_true(n_refused > 1000);
    free(changed);
    free(bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_entry_that_lies_is_refused_naming_the_tensor),
        cmocka_unit_test(each_missing_tensor_is_named_and_those_not_read_may_be_missing),
        cmocka_unit_test(a_header_that_is_no_header_is_refused),
        cmocka_unit_test(a_name_of_any_length_is_refused_or_skipped_but_never_cut),
        cmocka_unit_test(a_truncated_file_is_refused_at_every_length),
        cmocka_unit_test(a_value_that_is_not_finite_is_refused_naming_the_tensor),
        cmocka_unit_test(a_header_with_random_bytes_changed_never_harms),
    };

    return cmocka_run_group_tests(tests, image_make_folder, image_remove_folder);
}
