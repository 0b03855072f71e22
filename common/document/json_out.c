/*
 * json_out.c - A growing JSON text, and the shortest decimals; or the same tree as msgpack.
 *
 * Shortest means: the fewest digits that read back to the same value. More digits never read
 * back worse, so few tries are needed.
 */
#include "common/document/json_out.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY  1024
#define NUMBER_TEXT_MAX 32

void
json_out_init(struct json_out *out)
{
    *out = (struct json_out){0};
}

void
json_out_clear(struct json_out *out)
{
    free(out->text);
    *out = (struct json_out){0};
}

static bool
reserve(struct json_out *out, size_t more)
{
    size_t capacity = out->capacity > 0 ? out->capacity : FIRST_CAPACITY;
    char *text;

    if (out->failed)
        return false;
    if (more <= out->capacity - out->len)
        return true;
    while (more > capacity - out->len) {
        if (capacity > SIZE_MAX / 2) {
            out->failed = true;
            return false;
        }
        capacity *= 2;
    }
    if ((text = realloc(out->text, capacity)) == NULL) {
        out->failed = true;
        return false;
    }
    out->text = text;
    out->capacity = capacity;
    return true;
}

static void
put(struct json_out *out, const char *bytes, size_t len)
{
    if (len > 0 && reserve(out, len)) {
        memcpy(out->text + out->len, bytes, len);
        out->len += len;
    }
}

static void
put_quoted(struct json_out *out, const char *value, size_t len)
{
    size_t plain = 0; /* start of the bytes not yet written */

    put(out, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        char escape[8];
        int n;

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        put(out, value + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\')
            n = snprintf(escape, sizeof(escape), "\\%c", c);
        else if (c == '\n')
            n = snprintf(escape, sizeof(escape), "\\n");
        else if (c == '\t')
            n = snprintf(escape, sizeof(escape), "\\t");
        else if (c == '\r')
            n = snprintf(escape, sizeof(escape), "\\r");
        else
            n = snprintf(escape, sizeof(escape), "\\u%04x", c);
        put(out, escape, (size_t)n);
    }
    put(out, value + plain, len - plain);
    put(out, "\"", 1);
}

/* ---- msgpack: heads of values; big-endian ---- */

static void
put_head(struct json_out *out, unsigned char type, uint64_t value, int n_bytes)
{
    char head[9] = {(char)type};

    for (int i = n_bytes; i > 0; i--, value >>= 8)
        head[i] = (char)(value & 0xff);
    put(out, head, (size_t)n_bytes + 1);
}

/* A head of the shortest of three lengths. */
static void
put_sized(struct json_out *out, unsigned char type8, size_t len)
{
    if (len > UINT32_MAX)
        out->failed = true;
    else if (len <= UINT8_MAX)
        put_head(out, type8, len, 1);
    else if (len <= UINT16_MAX)
        put_head(out, type8 + 1, len, 2);
    else
        put_head(out, type8 + 2, len, 4);
}

static void
put_packed_text(struct json_out *out, const char *value, size_t len)
{
    if (len < 32)
        put_head(out, (unsigned char)(0xa0 | len), 0, 0);
    else
        put_sized(out, 0xd9, len);
    put(out, value, len);
}

static void
put_packed_integer(struct json_out *out, int64_t value)
{
    if (value >= 0 && value < 128)
        put_head(out, (unsigned char)value, 0, 0);
    else if (value >= 0 && value <= UINT32_MAX)
        put_head(out, 0xce, (uint64_t)value, 4);
    else
        put_head(out, 0xd3, (uint64_t)value, 8);
}

static void
put_packed_double(struct json_out *out, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    if (isfinite(value))
        put_head(out, 0xcb, bits, 8);
    else
        put_head(out, 0xc0, 0, 0);
}

static void
put_packed_float(struct json_out *out, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    if (isfinite(value))
        put_head(out, 0xca, bits, 4);
    else
        put_head(out, 0xc0, 0, 0);
}

/* ---- either form ---- */

/* What stands before a value: a comma where one is due, the name. */
static void
begin_value(struct json_out *out, const char *name)
{
    if (out->is_msgpack) {
        if (out->depth > 0)
            out->open[out->depth - 1].n++;
        if (name != NULL)
            put_packed_text(out, name, strlen(name));
        return;
    }
    if (out->needs_comma)
        put(out, ",", 1);
    if (name != NULL) {
        put_quoted(out, name, strlen(name));
        put(out, ":", 1);
    }
    out->needs_comma = true;
}

void
json_out_open(struct json_out *out, const char *name, char bracket)
{
    begin_value(out, name);
    if (!out->is_msgpack) {
        put(out, &bracket, 1);
        out->needs_comma = false;
        return;
    }
    if (out->depth == JSON_OUT_DEPTH) {
        out->failed = true;
        return;
    }
    put_head(out, bracket == '{' ? 0xdf : 0xdd, 0, 4);
    out->open[out->depth].at = out->len - 4; /* not used when it failed */
    out->open[out->depth].n = 0;
    out->depth++;
}

void
json_out_close(struct json_out *out, char bracket)
{
    if (!out->is_msgpack) {
        put(out, &bracket, 1);
        out->needs_comma = true;
    } else if (!out->failed) {
        out->depth--;
        for (int i = 0; i < 4; i++)
            out->text[out->open[out->depth].at + (size_t)i] =
                (char)(out->open[out->depth].n >> (24 - 8 * i) & 0xff);
    }
}

void
json_out_raw(struct json_out *out, const char *name, const char *json, size_t len)
{
    if (out->is_msgpack) {
        out->failed = true;
        return;
    }
    begin_value(out, name);
    put(out, json, len);
}

void
json_out_bytes(struct json_out *out, const char *name, const void *bytes, size_t len)
{
    if (!out->is_msgpack) {
        out->failed = true;
        return;
    }
    begin_value(out, name);
    put_sized(out, 0xc4, len);
    put(out, bytes, len);
}

void
json_out_null(struct json_out *out, const char *name)
{
    begin_value(out, name);
    if (out->is_msgpack)
        put_head(out, 0xc0, 0, 0);
    else
        put(out, "null", 4);
}

void
json_out_text_n(struct json_out *out, const char *name, const char *value, size_t len)
{
    begin_value(out, name);
    if (out->is_msgpack)
        put_packed_text(out, value, len);
    else
        put_quoted(out, value, len);
}

void
json_out_text(struct json_out *out, const char *name, const char *value)
{
    if (value == NULL)
        json_out_null(out, name);
    else
        json_out_text_n(out, name, value, strlen(value));
}

void
json_out_integer(struct json_out *out, const char *name, int64_t value)
{
    char text[NUMBER_TEXT_MAX];

    begin_value(out, name);
    if (out->is_msgpack)
        put_packed_integer(out, value);
    else
        put(out, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)value));
}

void
json_out_float(struct json_out *out, const char *name, float value)
{
    char text[NUMBER_TEXT_MAX];

    begin_value(out, name);
    if (out->is_msgpack)
        put_packed_float(out, value);
    else
        put(out, text, json_format_float(value, text));
}

void
json_out_double(struct json_out *out, const char *name, double value)
{
    char text[NUMBER_TEXT_MAX];

    begin_value(out, name);
    if (out->is_msgpack)
        put_packed_double(out, value);
    else
        put(out, text, json_format_double(value, text));
}

void
json_out_bool(struct json_out *out, const char *name, bool value)
{
    begin_value(out, name);
    if (out->is_msgpack)
        put_head(out, value ? 0xc3 : 0xc2, 0, 0);
    else
        put(out, value ? "true" : "false", value ? 4 : 5);
}

static size_t
format_null(char *text)
{
    memcpy(text, "null", sizeof("null"));
    return 4;
}

static size_t
print_digits(char *text, int digits, double value)
{
    return (size_t)snprintf(text, NUMBER_TEXT_MAX, "%.*g", digits, value);
}

/* Do ${digits} digits read back to ${value}? Leaves them in ${text}. */
static bool
float_reads_back(float value, int digits, char *text, size_t *len)
{
    *len = print_digits(text, digits, (double)value);
    return strtof(text, NULL) == value;
}

/* ---- the fast way for floats of everyday size: printf and strtof take 0.7 us, this 0.04 ---- */

#define FAST_LEAST  1e-5f
#define FAST_BELOW  1e15f
#define POWER_FIRST (-5)

/* Powers up to 1e22 are exact, so that one multiplication or division rounds once. */
static const double powers[] = {
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

static double
scale(double x, int exponent)
{
    return exponent >= 0 ? x * powers[exponent] : x / powers[-exponent];
}

/* ${n} digits whose last one counts 10^-decimals, without an exponent. */
static size_t
write_plain(uint32_t n, int decimals, bool is_negative, char *text)
{
    char digits[16];
    int len = 0, point;
    size_t at = 0;

    while (n % 10 == 0) {
        n /= 10;
        decimals--;
    }
    for (; n > 0; n /= 10)
        digits[len++] = (char)('0' + n % 10); /* the last one first */
    point = len - decimals;                   /* digits before the point */
    if (is_negative)
        text[at++] = '-';
    if (point <= 0) {
        text[at++] = '0';
        text[at++] = '.';
        for (int i = point; i < 0; i++)
            text[at++] = '0';
    }
    for (int i = 0; i < len; i++) {
        if (i == point && i > 0)
            text[at++] = '.';
        text[at++] = digits[len - 1 - i];
    }
    for (int i = len; i < point; i++)
        text[at++] = '0';
    text[at] = '\0';
    return at;
}

/* 0 if this is none for the fast way. */
static size_t
format_float_fast(float value, char *text)
{
    double x = fabs((double)value);
    int exponent = POWER_FIRST; /* 10^exponent <= x, about: what follows is verified */

    if (!(x >= (double)FAST_LEAST && x < (double)FAST_BELOW))
        return 0;
    while (x >= scale(1, exponent + 1))
        exponent++;
    for (int digits = FLT_DIG; digits <= FLT_DECIMAL_DIG; digits++) {
        int decimals = digits - 1 - exponent;
        double n = nearbyint(scale(x, decimals));
        double back = scale(n, -decimals);
        uint64_t bits;

        if ((float)back != (float)x)
            continue;
        /* ${back} is the decimal rounded to a double. Both lie on the same side of the middle
         * between two floats, unless that rounding hit the middle itself. */
        memcpy(&bits, &back, sizeof(bits));
        if ((bits & 0x1FFFFFFF) == 0x10000000)
            return 0;
        return write_plain((uint32_t)n, decimals, value < 0, text);
    }
    return 0;
}

size_t
json_format_float(float value, char *text)
{
    char other[NUMBER_TEXT_MAX];
    size_t len, other_len;

    if ((len = format_float_fast(value, text)) > 0)
        return len;
    if (!isfinite(value))
        return format_null(text);
    if (value != 0 && fabsf(value) < FLT_MIN) { /* subnormal: fewer than FLT_DIG may do */
        for (int digits = 1; digits < FLT_DECIMAL_DIG; digits++) {
            if (float_reads_back(value, digits, text, &len))
                return len;
        }
        return print_digits(text, FLT_DECIMAL_DIG, (double)value);
    }
    /* %g drops trailing zeros, so FLT_DIG digits also stand for fewer. */
    if (float_reads_back(value, FLT_DIG + 1, text, &len)) {
        if (float_reads_back(value, FLT_DIG, other, &other_len)) {
            memcpy(text, other, other_len + 1);
            return other_len;
        }
        return len;
    }
    if (float_reads_back(value, FLT_DIG + 2, text, &len))
        return len;
    return print_digits(text, FLT_DECIMAL_DIG, (double)value);
}

size_t
json_format_double(double value, char *text)
{
    size_t len;

    if (!isfinite(value))
        return format_null(text);
    for (int digits = value != 0 && fabs(value) < DBL_MIN ? 1 : DBL_DIG; digits < DBL_DECIMAL_DIG;
         digits++) {
        len = print_digits(text, digits, value);
        if (strtod(text, NULL) == value)
            return len;
    }
    return print_digits(text, DBL_DECIMAL_DIG, value);
}
