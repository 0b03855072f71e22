/*
 * msgpack_read.c - A cursor over msgpack bytes that nobody vouches for.
 *
 * Every value starts with read_head(), which turns the first byte and the length
 * behind it into one struct: the only place that knows the format's table. It moves
 * past the head only; who wants the value checks the kind and takes the payload.
 */
#include "common/msgpack_read.h"

#include <math.h>
#include <string.h>

#include "common/little_endian.h"
#include "common/utf8.h"

enum kind {
    KIND_NIL,
    KIND_BOOL,
    KIND_UINT,
    KIND_NEGATIVE,
    KIND_REAL,
    KIND_TEXT,
    KIND_BIN,
    KIND_ARRAY,
    KIND_MAP
};

struct head {
    enum kind kind;
    uint64_t number; /* KIND_UINT: the value; KIND_BOOL: 0 or 1; else bytes, elements or members */
    double real;     /* KIND_REAL, KIND_NEGATIVE */
};

void
msgpack_read_init(struct msgpack_read *r, const void *data, size_t size)
{
    *r = (struct msgpack_read){.data = data, .size = size};
}

int
msgpack_read_fault(struct msgpack_read *r, const char *text)
{
    if (r->fault == NULL)
        r->fault = text;
    return -1;
}

/* ${n} bytes as a big-endian number: msgpack's own order. */
static int
read_number(struct msgpack_read *r, size_t n, uint64_t *value)
{
    if (r->size - r->at < n)
        return msgpack_read_fault(r, "cut off");
    *value = 0;
    for (size_t i = 0; i < n; i++)
        *value = *value << 8 | r->data[r->at + i];
    r->at += n;
    return 0;
}

/* A signed number of ${n} bytes. */
static int
read_signed(struct msgpack_read *r, size_t n, struct head *head)
{
    uint64_t sign = UINT64_C(1) << (8 * n - 1);

    if (read_number(r, n, &head->number) == -1)
        return -1;
    head->kind = KIND_UINT;
    if (head->number & sign) {
        head->kind = KIND_NEGATIVE; /* magnitude: two's complement within n bytes */
        head->real = -(double)(((head->number ^ (sign | (sign - 1))) & (sign | (sign - 1))) + 1);
    }
    return 0;
}

static int
read_real(struct msgpack_read *r, size_t n, struct head *head)
{
    uint64_t bits;
    uint8_t bytes[8];

    if (read_number(r, n, &bits) == -1)
        return -1;
    head->kind = KIND_REAL;
    le_put_u64(bytes, bits);
    head->real = n == 4 ? (double)le_get_float(bytes) : le_get_double(bytes);
    return 0;
}

/* The payload must be able to lie in the bytes that are left: an element has at least one. */
static int
check_room(struct msgpack_read *r, const struct head *head)
{
    uint64_t left = r->size - r->at;

    switch (head->kind) {
    case KIND_TEXT:
    case KIND_BIN:
    case KIND_ARRAY:
        return head->number <= left ? 0 : msgpack_read_fault(r, "cut off");
    case KIND_MAP:
        return head->number <= left / 2 ? 0 : msgpack_read_fault(r, "cut off");
    default:
        return 0;
    }
}

static int
read_head(struct msgpack_read *r, struct head *head)
{
    uint8_t first;
    int rc = 0;

    *head = (struct head){.kind = KIND_NIL};
    if (r->fault != NULL)
        return -1;
    if (r->at == r->size)
        return msgpack_read_fault(r, "cut off");
    first = r->data[r->at++];

    if (first <= 0x7F) {
        head->kind = KIND_UINT;
        head->number = first;
    } else if (first <= 0x8F) {
        head->kind = KIND_MAP;
        head->number = first & 0x0F;
    } else if (first <= 0x9F) {
        head->kind = KIND_ARRAY;
        head->number = first & 0x0F;
    } else if (first <= 0xBF) {
        head->kind = KIND_TEXT;
        head->number = first & 0x1F;
    } else if (first >= 0xE0) {
        head->kind = KIND_NEGATIVE;
        head->real = (double)first - 256;
    } else {
        switch (first) {
        case 0xC0:
            break;
        case 0xC2:
        case 0xC3:
            head->kind = KIND_BOOL;
            head->number = first & 1;
            break;
        case 0xC4:
        case 0xC5:
        case 0xC6:
            head->kind = KIND_BIN;
            rc = read_number(r, (size_t)1 << (first - 0xC4), &head->number);
            break;
        case 0xCA:
        case 0xCB:
            rc = read_real(r, first == 0xCA ? 4 : 8, head);
            break;
        case 0xCC:
        case 0xCD:
        case 0xCE:
        case 0xCF:
            head->kind = KIND_UINT;
            rc = read_number(r, (size_t)1 << (first - 0xCC), &head->number);
            break;
        case 0xD0:
        case 0xD1:
        case 0xD2:
        case 0xD3:
            rc = read_signed(r, (size_t)1 << (first - 0xD0), head);
            break;
        case 0xD9:
        case 0xDA:
        case 0xDB:
            head->kind = KIND_TEXT;
            rc = read_number(r, (size_t)1 << (first - 0xD9), &head->number);
            break;
        case 0xDC:
        case 0xDD:
            head->kind = KIND_ARRAY;
            rc = read_number(r, first == 0xDC ? 2 : 4, &head->number);
            break;
        case 0xDE:
        case 0xDF:
            head->kind = KIND_MAP;
            rc = read_number(r, first == 0xDE ? 2 : 4, &head->number);
            break;
        default: /* C1 is never used, C7..C9 and D4..D8 are ext */
            return msgpack_read_fault(r, "a type that is not used here");
        }
    }
    return rc == -1 ? -1 : check_room(r, head);
}

static int
read_kind(struct msgpack_read *r, enum kind kind, struct head *head)
{
    if (read_head(r, head) == -1)
        return -1;
    return head->kind == kind ? 0 : msgpack_read_fault(r, "wrong type");
}

int
msgpack_read_map(struct msgpack_read *r, struct msgpack_map *map)
{
    struct head head;

    *map = (struct msgpack_map){0};
    if (read_kind(r, KIND_MAP, &head) == -1)
        return -1;
    map->left = (uint32_t)head.number;
    return 0;
}

int
msgpack_read_member(struct msgpack_read *r, struct msgpack_map *map, const char *const *names,
    size_t n_names, size_t *index)
{
    const char *name;
    size_t len;

    *index = n_names;
    if (r->fault != NULL)
        return -1;
    while (map->left > 0) {
        map->left--;
        if (msgpack_read_text(r, &name, &len) == -1)
            return -1;
        for (size_t i = 0; i < n_names; i++) {
            if (strlen(names[i]) != len || memcmp(names[i], name, len) != 0)
                continue;
            if (map->seen & UINT32_C(1) << i)
                return msgpack_read_fault(r, "a member twice");
            map->seen |= UINT32_C(1) << i;
            *index = i;
            return 1;
        }
        if (msgpack_read_skip(r) == -1)
            return -1;
    }
    return 0;
}

int
msgpack_read_array(struct msgpack_read *r, uint32_t *n)
{
    struct head head;

    *n = 0;
    if (read_kind(r, KIND_ARRAY, &head) == -1)
        return -1;
    *n = (uint32_t)head.number;
    return 0;
}

/* A payload of bytes: its room was checked with the head. */
static const uint8_t *
take(struct msgpack_read *r, uint64_t n)
{
    const uint8_t *payload = r->data + r->at;

    r->at += (size_t)n;
    return payload;
}

int
msgpack_read_text(struct msgpack_read *r, const char **text, size_t *len)
{
    struct head head;

    *text = "";
    *len = 0;
    if (read_kind(r, KIND_TEXT, &head) == -1)
        return -1;
    *len = (size_t)head.number;
    *text = (const char *)take(r, head.number);
    if (*len > 0 && memchr(*text, 0, *len) != NULL)
        return msgpack_read_fault(r, "a NUL in a text");
    if (!utf8_is_valid(*text, *len))
        return msgpack_read_fault(r, "a text that is not UTF-8");
    return 0;
}

int
msgpack_read_text_into(struct msgpack_read *r, char *to, size_t size)
{
    const char *text;
    size_t len;

    if (msgpack_read_text(r, &text, &len) == -1)
        return -1;
    if (len >= size)
        return msgpack_read_fault(r, "a text that is too long");
    memcpy(to, text, len);
    to[len] = '\0';
    return 0;
}

int
msgpack_read_bin(struct msgpack_read *r, const uint8_t **bytes, size_t *size)
{
    struct head head;

    *bytes = NULL;
    *size = 0;
    if (read_kind(r, KIND_BIN, &head) == -1)
        return -1;
    *size = (size_t)head.number;
    *bytes = take(r, head.number);
    return 0;
}

int
msgpack_read_uint(struct msgpack_read *r, uint64_t max, uint64_t *value)
{
    struct head head;

    *value = 0;
    if (read_head(r, &head) == -1)
        return -1;
    if (head.kind == KIND_NEGATIVE || (head.kind == KIND_UINT && head.number > max))
        return msgpack_read_fault(r, "a number out of range");
    if (head.kind != KIND_UINT)
        return msgpack_read_fault(r, "wrong type");
    *value = head.number;
    return 0;
}

int
msgpack_read_u32(struct msgpack_read *r, uint32_t max, uint32_t *value)
{
    uint64_t wide;
    int rc = msgpack_read_uint(r, max, &wide);

    *value = (uint32_t)wide;
    return rc;
}

int
msgpack_read_real(struct msgpack_read *r, double *value)
{
    struct head head;

    *value = 0;
    if (read_head(r, &head) == -1)
        return -1;
    if (head.kind == KIND_UINT)
        *value = (double)head.number;
    else if (head.kind == KIND_REAL || head.kind == KIND_NEGATIVE)
        *value = head.real;
    else
        return msgpack_read_fault(r, "wrong type");
    return isfinite(*value) ? 0 : msgpack_read_fault(r, "a number that is not finite");
}

int
msgpack_read_bool(struct msgpack_read *r, bool *value)
{
    struct head head;

    *value = false;
    if (read_kind(r, KIND_BOOL, &head) == -1)
        return -1;
    *value = head.number != 0;
    return 0;
}

bool
msgpack_read_nil(struct msgpack_read *r)
{
    if (r->fault != NULL || r->at == r->size || r->data[r->at] != 0xC0)
        return false;
    r->at++;
    return true;
}

/* Recursion ends at MSGPACK_READ_DEPTH; the loops end with the bytes, as each turn reads one. */
static int
skip(struct msgpack_read *r, int depth)
{
    struct head head;
    uint64_t values;

    if (read_head(r, &head) == -1)
        return -1;
    if (head.kind == KIND_TEXT || head.kind == KIND_BIN)
        take(r, head.number);
    if (head.kind != KIND_ARRAY && head.kind != KIND_MAP)
        return 0;
    if (depth == MSGPACK_READ_DEPTH)
        return msgpack_read_fault(r, "nested too deep");
    values = head.kind == KIND_MAP ? head.number * 2 : head.number;
    for (uint64_t i = 0; i < values; i++)
        if (skip(r, depth + 1) == -1)
            return -1;
    return 0;
}

int
msgpack_read_skip(struct msgpack_read *r)
{
    return skip(r, 0);
}

int
msgpack_read_end(struct msgpack_read *r)
{
    if (r->fault != NULL)
        return -1;
    return r->at == r->size ? 0 : msgpack_read_fault(r, "bytes after the value");
}
