/*
 * query.c - Parameters of a target's query.
 */
#include "api/query.h"

#include <stdio.h>
#include <string.h>

int
query_refuse(struct problem *problem, const char *name, const char *must)
{
    problem_set(problem, 400, "bad_parameter", "%s must be %s", name, must);
    problem_extra(problem, "parameter", cJSON_CreateString(name));
    return -1;
}

static int
refuse_number(struct problem *problem, const char *name, long low, long high, const char *fault)
{
    char must[80];

    snprintf(must, sizeof(must), "a whole number from %ld to %ld%s", low, high, fault);
    return query_refuse(problem, name, must);
}

/* One parameter: what follows '=', NULL without it. */
struct value {
    const char *text;
    size_t len;
};

/* The next ${name} from ${p} on; ${p} moves behind it. NULL when there is none any more. */
static const char *
next_value(const char *p, const char *name, struct value *value)
{
    size_t name_len = strlen(name);

    while (p != NULL && *p != '\0') {
        size_t len = strcspn(p, "&");
        const char *rest = p[len] == '&' ? p + len + 1 : p + len;

        if (len >= name_len && strncmp(p, name, name_len) == 0 &&
            (len == name_len || p[name_len] == '=')) {
            *value = len == name_len ? (struct value){NULL, 0}
                                     : (struct value){p + name_len + 1, len - name_len - 1};
            return rest;
        }
        p = rest;
    }
    return NULL;
}

/* Digits only, no sign; -1 if not, or above ${high}. */
static long
whole_number(const char *text, size_t len, long high)
{
    long number = 0;

    if (len == 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        if ((number = number * 10 + (text[i] - '0')) > high)
            return -1;
    }
    return number;
}

int
query_integer(
    const char *query, const char *name, long low, long high, long *value, struct problem *problem)
{
    bool is_seen = false;
    struct value v;

    while ((query = next_value(query, name, &v)) != NULL) {
        long number = v.text == NULL ? -1 : whole_number(v.text, v.len, high);

        if (is_seen)
            return refuse_number(problem, name, low, high, " and given once");
        if (number < low)
            return refuse_number(problem, name, low, high, "");
        *value = number;
        is_seen = true;
    }
    return 0;
}

static int
hex_digit(char c)
{
    const char *const digits = "0123456789abcdef";
    const char *found =
        c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;

    return found != NULL ? (int)(found - digits) : -1;
}

/* Into ${text} [size]; -1 when it does not fit or is none. */
static int
decode(struct value v, char *text, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < v.len; i++) {
        char c = v.text[i];

        if (c == '+')
            c = ' ';
        if (c == '%') {
            int high = i + 2 < v.len ? hex_digit(v.text[i + 1]) : -1;
            int low = high != -1 ? hex_digit(v.text[i + 2]) : -1;

            if (low == -1)
                return -1;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || n == size - 1)
            return -1;
        text[n++] = c;
    }
    text[n] = '\0';
    return 0;
}

int
query_text(const char *query, const char *name, char *text, size_t size, struct problem *problem)
{
    bool is_seen = false;
    struct value v;
    char must[64];

    text[0] = '\0';
    while ((query = next_value(query, name, &v)) != NULL) {
        if (is_seen)
            return query_refuse(problem, name, "given once");
        if (decode(v, text, size) == -1) {
            snprintf(must, sizeof(must), "a text of at most %zu bytes", size - 1);
            return query_refuse(problem, name, must);
        }
        is_seen = true;
    }
    return 0;
}
