/*
 * json_out.c - A growing JSON text, and the shortest decimals.
 *
 * Shortest means: the fewest digits that read back to the same value. More digits never read
 * back worse, so few tries are needed.
 */
#include "api/json_out.h"

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

/* What stands before a value: a comma where one is due, the name. */
static void
begin_value(struct json_out *out, const char *name)
{
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
    put(out, &bracket, 1);
    out->needs_comma = false;
}

void
json_out_close(struct json_out *out, char bracket)
{
    put(out, &bracket, 1);
    out->needs_comma = true;
}

void
json_out_raw(struct json_out *out, const char *name, const char *json, size_t len)
{
    begin_value(out, name);
    put(out, json, len);
}

void
json_out_null(struct json_out *out, const char *name)
{
    json_out_raw(out, name, "null", 4);
}

void
json_out_text_n(struct json_out *out, const char *name, const char *value, size_t len)
{
    begin_value(out, name);
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
    int len = snprintf(text, sizeof(text), "%lld", (long long)value);

    json_out_raw(out, name, text, (size_t)len);
}

void
json_out_float(struct json_out *out, const char *name, float value)
{
    char text[NUMBER_TEXT_MAX];

    json_out_raw(out, name, text, json_format_float(value, text));
}

void
json_out_double(struct json_out *out, const char *name, double value)
{
    char text[NUMBER_TEXT_MAX];

    json_out_raw(out, name, text, json_format_double(value, text));
}

void
json_out_bool(struct json_out *out, const char *name, bool value)
{
    json_out_raw(out, name, value ? "true" : "false", value ? 4 : 5);
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
