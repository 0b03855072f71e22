/*
 * stored_damage.c - Stored values with one thing wrong, and what decoding says of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/stored_values.h"

struct task_bytes
stored_encode_example(enum stored_kind kind)
{
    struct task_bytes bytes = {0};
    struct task_about about;
    struct result *result;
    struct webhook webhook;
    struct error err = {0};
    struct task *task;
    int rc;

    switch (kind) {
    case STORED_WEBHOOK:
        example_webhook(&webhook);
        rc = webhook_encode(&webhook, &bytes, &err);
        break;
    case STORED_TASK:
        task = example_task();
        rc = task_encode(task, &bytes, &err);
        task_free(task);
        break;
    case STORED_ABOUT:
        example_about(&about);
        rc = task_about_encode(&about, &bytes, &err);
        task_about_clear(&about);
        break;
    default:
        result = example_result();
        rc = result_encode(result, &bytes, &err);
        result_free(result);
        break;
    }
    if (rc == -1)
        fail_msg("the example does not encode: %s", err.text);
    return bytes;
}

/* Each: decode; what decodes must survive another trip. */

static bool
accepts_task(const void *data, size_t size, struct error *err)
{
    struct task *task = task_decode(data, size, err), *again;
    struct task_bytes bytes;

    if (task == NULL)
        return false;
    assert_int_equal(task_encode(task, &bytes, err), 0);
    again = task_decode(bytes.data, bytes.size, err);
    assert_non_null(again);
    assert_true(same_task(task, again));
    free(bytes.data);
    task_free(again);
    task_free(task);
    return true;
}

static bool
accepts_about(const void *data, size_t size, struct error *err)
{
    struct task_about about, again;
    struct task_bytes bytes;

    if (task_about_decode(data, size, &about, err) == -1) {
        assert_null(about.series_id); /* nothing left to clear */
        assert_int_equal(about.n_metadata, 0);
        return false;
    }
    assert_int_equal(task_about_encode(&about, &bytes, err), 0);
    assert_int_equal(task_about_decode(bytes.data, bytes.size, &again, err), 0);
    assert_true(same_about(&about, &again));
    free(bytes.data);
    task_about_clear(&again);
    task_about_clear(&about);
    return true;
}

static bool
accepts_result(const void *data, size_t size, struct error *err)
{
    struct result *result = result_decode(data, size, err), *again;
    struct task_bytes bytes;

    if (result == NULL)
        return false;
    assert_int_equal(result_encode(result, &bytes, err), 0);
    again = result_decode(bytes.data, bytes.size, err);
    assert_non_null(again);
    assert_true(same_result(result, again));
    free(bytes.data);
    result_free(again);
    result_free(result);
    return true;
}

static bool
accepts_webhook(const void *data, size_t size, struct error *err)
{
    struct webhook webhook, again;
    struct task_bytes bytes;

    if (webhook_decode(data, size, &webhook, err) == -1)
        return false;
    assert_int_equal(webhook_encode(&webhook, &bytes, err), 0);
    assert_int_equal(webhook_decode(bytes.data, bytes.size, &again, err), 0);
    assert_string_equal(webhook.url, again.url);
    assert_string_equal(webhook.traceparent, again.traceparent);
    assert_int_equal(webhook.include_result, again.include_result);
    free(bytes.data);
    return true;
}

bool
stored_accepts(enum stored_kind kind, const void *data, size_t size)
{
    static bool (*const accepts[])(const void *, size_t, struct error *) = {
        [STORED_TASK] = accepts_task,
        [STORED_ABOUT] = accepts_about,
        [STORED_RESULT] = accepts_result,
        [STORED_WEBHOOK] = accepts_webhook,
    };
    struct error err = {0};
    char *exact = malloc(size > 0 ? size : 1);
    bool accepted;

    assert_non_null(exact);
    if (size > 0)
        memcpy(exact, data, size);
    accepted = accepts[kind](exact, size, &err);
    free(exact);
    if (!accepted)
        assert_int_equal(err.code, ERR_CORRUPT);
    return accepted;
}

/* ---- one member ---- */

static const char *const damage_names[DAMAGE_COUNT] = {"unharmed", "dropped", "twice",
    "after an unknown one", "nil", "true", "negative", "2^64-1", "NaN", "a text", "not UTF-8",
    "a bin", "an array", "a map", "ext", "shorter", "longer"};

const char *
damage_name(enum damage damage)
{
    return damage_names[damage];
}

struct walk {
    msgpack_packer packer;
    size_t at, left; /* the member to damage; those before it still to come */
    enum damage damage;
    bool found;
    char *name;
};

static void
pack_text(msgpack_packer *pk, const char *text)
{
    msgpack_pack_str(pk, strlen(text));
    msgpack_pack_str_body(pk, text, strlen(text));
}

/* What a newer writer might add: every type there is, some levels deep. */
static void
pack_unknown(msgpack_packer *pk)
{
    pack_text(pk, "a member of tomorrow");
    msgpack_pack_array(pk, 9);
    msgpack_pack_nil(pk);
    msgpack_pack_true(pk);
    msgpack_pack_int64(pk, INT64_MIN);
    msgpack_pack_uint64(pk, UINT64_MAX);
    msgpack_pack_float(pk, 1.5f);
    msgpack_pack_double(pk, 1e300);
    msgpack_pack_bin(pk, 3);
    msgpack_pack_bin_body(pk, "\0\1\2", 3);
    msgpack_pack_map(pk, 1);
    pack_text(pk, "k");
    msgpack_pack_array(pk, 1);
    msgpack_pack_array(pk, 0);
    pack_text(pk, "v");
}

static void
pack_bin_resized(msgpack_packer *pk, const msgpack_object_bin *bin, bool longer)
{
    size_t size = longer ? bin->size + 1 : bin->size - 1;

    msgpack_pack_bin(pk, size);
    msgpack_pack_bin_body(pk, bin->ptr, longer ? bin->size : size);
    if (longer)
        msgpack_pack_bin_body(pk, "", 1);
}

static void
pack_damaged(msgpack_packer *pk, enum damage damage, const msgpack_object *value)
{
    switch (damage) {
    case DAMAGE_NIL:
        msgpack_pack_nil(pk);
        break;
    case DAMAGE_TRUE:
        msgpack_pack_true(pk);
        break;
    case DAMAGE_NEGATIVE:
        msgpack_pack_int64(pk, -7);
        break;
    case DAMAGE_HUGE:
        msgpack_pack_uint64(pk, UINT64_MAX);
        break;
    case DAMAGE_NAN:
        msgpack_pack_double(pk, NAN);
        break;
    case DAMAGE_TEXT:
        pack_text(pk, "no such word");
        break;
    case DAMAGE_NOT_UTF8:
        pack_text(pk, "\xC0\x80");
        break;
    case DAMAGE_BIN:
        msgpack_pack_bin(pk, 5);
        msgpack_pack_bin_body(pk, "12345", 5);
        break;
    case DAMAGE_ARRAY:
        msgpack_pack_array(pk, 1);
        msgpack_pack_nil(pk);
        break;
    case DAMAGE_MAP:
        msgpack_pack_map(pk, 1);
        msgpack_pack_nil(pk);
        msgpack_pack_nil(pk);
        break;
    case DAMAGE_EXT:
        msgpack_pack_ext(pk, 4, 1);
        msgpack_pack_ext_body(pk, "1234", 4);
        break;
    case DAMAGE_SHORTER:
    case DAMAGE_LONGER:
        if (value->type == MSGPACK_OBJECT_BIN)
            pack_bin_resized(pk, &value->via.bin, damage == DAMAGE_LONGER);
        else
            msgpack_pack_object(pk, *value);
        break;
    default:
        msgpack_pack_object(pk, *value);
    }
}

static void pack_value(struct walk *w, const msgpack_object *value);

static void
pack_map(struct walk *w, const msgpack_object_map *map)
{
    size_t first = w->left;
    bool is_here = w->left < map->size; /* never with those of maps inside: counted after */
    size_t n = map->size;

    if (is_here && w->damage == DAMAGE_DROP)
        n--;
    if (is_here && (w->damage == DAMAGE_TWICE || w->damage == DAMAGE_UNKNOWN))
        n++;
    msgpack_pack_map(&w->packer, n);
    w->left = is_here ? SIZE_MAX : w->left - map->size;
    for (uint32_t i = 0; i < map->size; i++) {
        const msgpack_object_kv *kv = &map->ptr[i];

        if (!is_here || i != first) {
            msgpack_pack_object(&w->packer, kv->key);
            pack_value(w, &kv->val);
            continue;
        }
        w->found = true;
        snprintf(w->name, 64, "%.*s", (int)kv->key.via.str.size, kv->key.via.str.ptr);
        if (w->damage == DAMAGE_DROP)
            continue;
        if (w->damage == DAMAGE_UNKNOWN)
            pack_unknown(&w->packer);
        msgpack_pack_object(&w->packer, kv->key);
        pack_damaged(&w->packer, w->damage, &kv->val);
        if (w->damage == DAMAGE_TWICE) {
            msgpack_pack_object(&w->packer, kv->key);
            msgpack_pack_object(&w->packer, kv->val);
        }
    }
}

static void
pack_value(struct walk *w, const msgpack_object *value)
{
    if (value->type == MSGPACK_OBJECT_MAP) {
        pack_map(w, &value->via.map);
    } else if (value->type == MSGPACK_OBJECT_ARRAY) {
        msgpack_pack_array(&w->packer, value->via.array.size);
        for (uint32_t i = 0; i < value->via.array.size; i++)
            pack_value(w, &value->via.array.ptr[i]);
    } else {
        msgpack_pack_object(&w->packer, *value);
    }
}

struct task_bytes
damage_member(const struct task_bytes *whole, size_t at, enum damage damage, char *name)
{
    struct walk w = {.left = at, .damage = damage, .name = name};
    struct task_bytes out = {0};
    msgpack_unpacked unpacked;
    msgpack_sbuffer buffer;
    size_t offset = 0;

    msgpack_unpacked_init(&unpacked);
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&w.packer, &buffer, msgpack_sbuffer_write);
    assert_int_equal(
        msgpack_unpack_next(&unpacked, whole->data, whole->size, &offset), MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, whole->size);
    pack_value(&w, &unpacked.data);
    msgpack_unpacked_destroy(&unpacked);
    if (!w.found) {
        msgpack_sbuffer_destroy(&buffer);
        return out;
    }
    out.size = buffer.size;
    out.data = msgpack_sbuffer_release(&buffer);
    return out;
}

/* ---- at random ---- */

static uint64_t
next_random(uint64_t *state) /* xorshift64* */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

void
damage_rounds(enum stored_kind kind, int rounds)
{
    /* bytes that mean something: counts, types, the ends of the small forms */
    static const uint8_t telling[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1,
        0xC2, 0xC4, 0xC6, 0xC7, 0xCA, 0xCB, 0xCF, 0xD3, 0xD9, 0xDB, 0xDD, 0xDF, 0xE0, 0xFF};
    struct task_bytes whole = stored_encode_example(kind);
    const char *given = getenv("KRONOSQ_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    uint64_t random = seed * 2 + 1; /* never 0 */
    uint8_t *bytes = malloc(whole.size + 8);
    int accepted = 0;

    assert_non_null(bytes);
    print_message("KRONOSQ_SEED=%llu\n", (unsigned long long)seed);
    for (int round = 0; round < rounds; round++) {
        size_t size = whole.size;
        uint64_t flips = 1 + next_random(&random) % 4;

        memcpy(bytes, whole.data, whole.size);
        for (uint64_t i = 0; i < flips; i++) {
            uint64_t r = next_random(&random);
            size_t at = (size_t)(r >> 16) % size;

            switch (r % 4) {
            case 0:
                bytes[at] ^= (uint8_t)(1u << (r >> 8) % 8);
                break;
            case 1:
                bytes[at] = (uint8_t)(r >> 8);
                break;
            case 2:
                bytes[at] = telling[(r >> 8) % sizeof(telling)];
                break;
            case 3: /* a byte too few or many in the middle */
                if ((r >> 8) % 2 == 0 && size > 1) {
                    memmove(bytes + at, bytes + at + 1, size - at - 1);
                    size--;
                } else if (size < whole.size + 8) {
                    memmove(bytes + at + 1, bytes + at, size - at);
                    size++;
                }
                break;
            }
        }
        accepted += stored_accepts(kind, bytes, size);
    }
    print_message("%d of %d mutations still decode\n", accepted, rounds);
    free(bytes);
    free(whole.data);
}
