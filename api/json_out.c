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

size_t
json_format_float(float value, char *text)
{
    char other[NUMBER_TEXT_MAX];
    size_t len, other_len;

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
