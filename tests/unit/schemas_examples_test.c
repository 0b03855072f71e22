/*
 * The files of schemas/examples/: each NAME.msgpack is a stored value as this build writes
 * it, NAME.json says the same in a form people can review. The text is made by msgpack-c's
 * unpacker, so the bytes are also read by somebody else's code.
 *
 * After a change of a stored form: KRONOSQ_WRITE_EXAMPLES=1 build/debug/tests/unit/schemas_examples_test
 * in the root of the tree, and review what git shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/little_endian.h"
#include "tests/support/stored_values.h"

#define FOLDER "schemas/examples" /* tests start in the root of the tree */

static const struct {
    const char *name;
    enum stored_kind kind;
    bool is_plain;
} examples[] = {
    {"task", STORED_TASK, false},
    {"task-plain", STORED_TASK, true},
    {"about", STORED_ABOUT, false},
    {"about-plain", STORED_ABOUT, true},
    {"result", STORED_RESULT, false},
    {"result-plain", STORED_RESULT, true},
    {"webhook", STORED_WEBHOOK, false},
    {"webhook-plain", STORED_WEBHOOK, true},
};
#define N_EXAMPLES (sizeof(examples) / sizeof(examples[0]))

/* ---- bytes and files ---- */

static struct task_bytes
encode(size_t i)
{
    struct task_bytes bytes = {0};
    struct task_about about;
    struct webhook webhook;
    struct result *result;
    struct task *task;
    struct error err = {0};
    int rc;

    if (examples[i].kind == STORED_TASK) {
        task = examples[i].is_plain ? example_plain_task() : example_task();
        rc = task_encode(task, &bytes, &err);
        task_free(task);
    } else if (examples[i].kind == STORED_ABOUT) {
        (examples[i].is_plain ? example_plain_about : example_about)(&about);
        rc = task_about_encode(&about, &bytes, &err);
        task_about_clear(&about);
    } else if (examples[i].kind == STORED_WEBHOOK) {
        (examples[i].is_plain ? example_plain_webhook : example_webhook)(&webhook);
        rc = webhook_encode(&webhook, &bytes, &err);
    } else {
        result = examples[i].is_plain ? example_plain_result() : example_result();
        rc = result_encode(result, &bytes, &err);
        result_free(result);
    }
    if (rc == -1)
        fail_msg("%s: %s", examples[i].name, err.text);
    return bytes;
}

static void
path_of(size_t i, const char *suffix, char path[256])
{
    snprintf(path, 256, FOLDER "/%s%s", examples[i].name, suffix);
}

static struct task_bytes
read_file(const char *path)
{
    struct task_bytes bytes = {.data = malloc(65536)};
    FILE *in = fopen(path, "rb");

    if (in == NULL)
        fail_msg("%s is not there", path);
    assert_non_null(bytes.data);
    bytes.size = fread(bytes.data, 1, 65536, in);
    assert_true(bytes.size < 65536);
    fclose(in);
    return bytes;
}

static void
write_file(const char *path, const void *data, size_t size)
{
    FILE *out = fopen(path, "wb");

    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

/* ---- msgpack as text ---- */

/* What the elements of a bin are, by its member's name. */
static const struct {
    const char *name, *type;
    size_t size;
} bins[] = {
    {"candles", "float32", 4},
    {"prediction", "float32", 4},
    {"sampled", "float32", 4},
    {"quantiles", "float32", 4},
    {"paths", "float32", 4},
    {"history_minutes", "int32", 4},
    {"horizon_us", "int64", 8},
    {"horizon_offset_minutes", "int16", 2},
    {"times_us", "int64", 8},
    {"times_offset_minutes", "int16", 2},
    {"p_up", "float64", 8},
    {"return_mean", "float64", 8},
    {"return_std", "float64", 8},
};

static void
print_element(FILE *out, const char *type, const uint8_t *at)
{
    if (strcmp(type, "float32") == 0)
        fprintf(out, "%.9g", (double)le_get_float(at));
    else if (strcmp(type, "float64") == 0)
        fprintf(out, "%.17g", le_get_double(at));
    else if (strcmp(type, "int64") == 0)
        fprintf(out, "%" PRId64, (int64_t)le_get_u64(at));
    else if (strcmp(type, "int32") == 0)
        fprintf(out, "%" PRId32, (int32_t)le_get_u32(at));
    else
        fprintf(out, "%d", (int16_t)le_get_u16(at));
}

static void
print_bin(FILE *out, const char *name, const msgpack_object_bin *bin)
{
    for (size_t i = 0; i < sizeof(bins) / sizeof(bins[0]); i++) {
        if (strcmp(bins[i].name, name) != 0)
            continue;
        assert_int_equal(bin->size % bins[i].size, 0);
        fprintf(out, "{\"%s\": [", bins[i].type);
        for (size_t at = 0; at < bin->size; at += bins[i].size) {
            fputs(at == 0 ? "" : ", ", out);
            print_element(out, bins[i].type, (const uint8_t *)bin->ptr + at);
        }
        fputs("]}", out);
        return;
    }
    fail_msg("the bin %s is not known to this test", name);
}

static void
print_text(FILE *out, const msgpack_object_str *text)
{
    fputc('"', out);
    for (uint32_t i = 0; i < text->size; i++) {
        assert_true((unsigned char)text->ptr[i] >= 0x20); /* the examples need no more */
        if (text->ptr[i] == '"' || text->ptr[i] == '\\')
            fputc('\\', out);
        fputc(text->ptr[i], out);
    }
    fputc('"', out);
}

static void
print_value(FILE *out, const char *name, const msgpack_object *value, int depth)
{
    char member[64];

    switch (value->type) {
    case MSGPACK_OBJECT_NIL:
        fputs("null", out);
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        fputs(value->via.boolean ? "true" : "false", out);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        fprintf(out, "%" PRIu64, value->via.u64);
        break;
    case MSGPACK_OBJECT_FLOAT32:
        fprintf(out, "%.9g", value->via.f64);
        break;
    case MSGPACK_OBJECT_FLOAT64:
        fprintf(out, "%.17g", value->via.f64);
        break;
    case MSGPACK_OBJECT_STR:
        print_text(out, &value->via.str);
        break;
    case MSGPACK_OBJECT_BIN:
        print_bin(out, name, &value->via.bin);
        break;
    case MSGPACK_OBJECT_ARRAY:
        fputc('[', out);
        for (uint32_t i = 0; i < value->via.array.size; i++) {
            fputs(i == 0 ? "" : ", ", out);
            print_value(out, name, &value->via.array.ptr[i], depth);
        }
        fputc(']', out);
        break;
    case MSGPACK_OBJECT_MAP:
        fputc('{', out);
        for (uint32_t i = 0; i < value->via.map.size; i++) {
            const msgpack_object_kv *kv = &value->via.map.ptr[i];

            assert_int_equal(kv->key.type, MSGPACK_OBJECT_STR);
            snprintf(
                member, sizeof(member), "%.*s", (int)kv->key.via.str.size, kv->key.via.str.ptr);
            fprintf(out, "%s\n%*s\"%s\": ", i == 0 ? "" : ",", 2 * depth + 2, "", member);
            print_value(out, member, &kv->val, depth + 1);
        }
        if (value->via.map.size > 0)
            fprintf(out, "\n%*s", 2 * depth, "");
        fputc('}', out);
        break;
    default:
        fail_msg("%s has type %d, which is not used", name, (int)value->type);
    }
}

static struct task_bytes
as_text(const struct task_bytes *stored)
{
    struct task_bytes text = {0};
    msgpack_unpacked unpacked;
    char *data = NULL;
    size_t at = 0;
    FILE *out = open_memstream(&data, &text.size);

    assert_non_null(out);
    msgpack_unpacked_init(&unpacked);
    assert_int_equal(
        msgpack_unpack_next(&unpacked, stored->data, stored->size, &at), MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(at, stored->size);
    print_value(out, "", &unpacked.data, 0);
    fputc('\n', out);
    fclose(out);
    msgpack_unpacked_destroy(&unpacked);
    text.data = data;
    return text;
}

/* ---- tests ---- */

static void
each_example_is_what_this_build_writes(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        struct task_bytes written = encode(i), text = as_text(&written), file;
        char path[256];

        path_of(i, ".msgpack", path);
        if (getenv("KRONOSQ_WRITE_EXAMPLES") != NULL)
            write_file(path, written.data, written.size);
        file = read_file(path);
        if (file.size != written.size || memcmp(file.data, written.data, file.size) != 0)
            fail_msg("%s is not what is stored now", path);
        free(file.data);

        path_of(i, ".json", path);
        if (getenv("KRONOSQ_WRITE_EXAMPLES") != NULL)
            write_file(path, text.data, text.size);
        file = read_file(path);
        if (file.size != text.size || memcmp(file.data, text.data, file.size) != 0)
            fail_msg("%s does not say what its .msgpack holds", path);
        free(file.data);
        free(text.data);
        free(written.data);
    }
}

static void
each_example_is_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        struct task_bytes file;
        char path[256];

        path_of(i, ".msgpack", path);
        file = read_file(path);
        if (!stored_accepts(examples[i].kind, file.data, file.size))
            fail_msg("%s does not decode", path);
        free(file.data);
    }
}

static void
an_example_of_one_kind_is_no_other_kind(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        struct task_bytes file;
        char path[256];

        path_of(i, ".msgpack", path);
        file = read_file(path);
        for (int kind = STORED_TASK; kind < STORED_KINDS; kind++)
            assert_int_equal(stored_accepts((enum stored_kind)kind, file.data, file.size),
                kind == (int)examples[i].kind);
        free(file.data);
    }
}

static bool
is_known(const char *file)
{
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        size_t len = strlen(examples[i].name);

        if (strncmp(file, examples[i].name, len) == 0 &&
            (strcmp(file + len, ".msgpack") == 0 || strcmp(file + len, ".json") == 0))
            return true;
    }
    return false;
}

static void
there_is_no_example_that_no_test_decodes(void **state)
{
    DIR *dir = opendir(FOLDER);
    struct dirent *entry;
    size_t n = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (strncmp(entry->d_name, "request-", strlen("request-")) == 0)
            continue; /* bodies of clients: request_accept_test reads every one */
        if (!is_known(entry->d_name))
            fail_msg(FOLDER "/%s is not decoded here: add it to the table", entry->d_name);
        n++;
    }
    closedir(dir);
    assert_int_equal(n, 2 * N_EXAMPLES);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_example_is_what_this_build_writes),
        cmocka_unit_test(each_example_is_decoded),
        cmocka_unit_test(an_example_of_one_kind_is_no_other_kind),
        cmocka_unit_test(there_is_no_example_that_no_test_decodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
