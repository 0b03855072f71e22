/*
 * json_strict.c - One strict scan of the bytes, then cJSON, then duplicate names.
 *
 * The scan builds nothing, so its offset is exact and a hostile body costs no memory before
 * it has been judged. Duplicate names are compared after cJSON has resolved the escapes,
 * because "a" and "\u0061" are the same name; the offset is then found by a second scan.
 */
#include "api/json_strict.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

/* Objects up to this size are compared pair by pair, larger ones sorted. */
#define PAIRWISE_MAX 12

#define REASON_ENDS "the text ends too early"

struct scanner {
    const char *at;
    const char *end;
    size_t depth;
    size_t values_left;
    size_t names_left;       /* names before the wanted one; SIZE_MAX: none is wanted */
    const char *wanted_name; /* where the wanted name starts, once passed */
    const char *reason;      /* set by whoever finds a fault at ${at} */
};

static bool scan_value(struct scanner *s);

static bool
refuse(struct scanner *s, const char *reason)
{
    s->reason = s->at == s->end ? REASON_ENDS : reason;
    return false;
}

static void
skip_space(struct scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

size_t
json_strict_number(const char *text, size_t size)
{
    const char *at = text, *end = text + size;

    if (at < end && *at == '-')
        at++;
    if (at == end || !is_digit(*at))
        return 0;
    if (*at == '0')
        at++;
    else
        while (at < end && is_digit(*at))
            at++;
    if (at + 1 < end && *at == '.' && is_digit(at[1])) {
        at++;
        while (at < end && is_digit(*at))
            at++;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *power = at + 1;

        if (power < end && (*power == '+' || *power == '-'))
            power++;
        if (power < end && is_digit(*power)) {
            while (power < end && is_digit(*power))
                power++;
            at = power;
        }
    }
    return (size_t)(at - text);
}

static bool
scan_number(struct scanner *s)
{
    const char *start = s->at;
    size_t len = json_strict_number(s->at, (size_t)(s->end - s->at));

    if (len == 0) {
        s->at++; /* the minus */
        return refuse(s, "a digit is expected");
    }
    s->at += len;
    /* What may not follow a number shows that the number went on wrongly: 01, 1., 1e, 1.e5 */
    if (s->at < s->end) {
        char next = *s->at;

        if (is_digit(next))
            return refuse(s, "a number has no leading zero");
        if (next == '.' || next == 'e' || next == 'E') {
            s->at++;
            if (next != '.' && s->at < s->end && (*s->at == '+' || *s->at == '-'))
                s->at++;
            return refuse(s, "a digit is expected");
        }
    }
    if (len > JSON_STRICT_NUMBER_MAX) {
        s->at = start;
        return refuse(s, "a number is longer than 63 bytes");
    }
    return true;
}

/* Four hexadecimal digits at s->at. */
static bool
scan_hex4(struct scanner *s, unsigned *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        char c = s->at < s->end ? *s->at : '\0';
        unsigned digit;

        if (is_digit(c))
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)(c - 'A') + 10;
        else
            return refuse(s, "four hexadecimal digits are expected after \\u");
        *unit = *unit * 16 + digit;
        s->at++;
    }
    return true;
}

/* At the backslash. */
static bool
scan_escape(struct scanner *s)
{
    const char *start = s->at;
    unsigned unit, low;

    s->at++;
    if (s->at == s->end)
        return refuse(s, REASON_ENDS);
    if (*s->at != 'u') {
        if (strchr("\"\\/bfnrt", *s->at) == NULL || *s->at == '\0')
            return refuse(s, "an unknown escape in a string");
        s->at++;
        return true;
    }
    s->at++;
    if (!scan_hex4(s, &unit))
        return false;
    if (unit == 0) {
        s->at = start;
        return refuse(s, "\\u0000 is not accepted");
    }
    if (unit < 0xD800 || unit > 0xDFFF)
        return true;
    if (unit < 0xDC00) {
        if (s->at == s->end || (s->at + 1 == s->end && *s->at == '\\')) {
            s->at = s->end;
            return refuse(s, REASON_ENDS);
        }
        if (s->at[0] == '\\' && s->at[1] == 'u') {
            s->at += 2;
            if (!scan_hex4(s, &low))
                return false;
            if (low >= 0xDC00 && low <= 0xDFFF)
                return true;
        }
    }
    s->at = start;
    return refuse(s, "a lone surrogate in a string");
}

/* At the opening quote. */
static bool
scan_string(struct scanner *s)
{
    s->at++;
    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at;

        if (c == '"') {
            s->at++;
            return true;
        }
        if (c == '\\') {
            if (!scan_escape(s))
                return false;
        } else if (c < 0x20) {
            return refuse(s, "a raw control character in a string");
        } else if (c < 0x80) {
            s->at++;
        } else {
            size_t len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;

            if ((size_t)(s->end - s->at) < len || !utf8_is_valid(s->at, len))
                return refuse(s, "invalid UTF-8 in a string");
            s->at += len;
        }
    }
    return refuse(s, REASON_ENDS);
}

static bool
scan_array(struct scanner *s)
{
    s->at++;
    skip_space(s);
    if (s->at < s->end && *s->at == ']') {
        s->at++;
        return true;
    }
    for (;;) {
        if (!scan_value(s))
            return false;
        skip_space(s);
        if (s->at < s->end && *s->at == ']') {
            s->at++;
            return true;
        }
        if (s->at == s->end || *s->at != ',')
            return refuse(s, "',' or ']' is expected");
        s->at++;
        skip_space(s);
    }
}

static bool
scan_object(struct scanner *s)
{
    s->at++;
    skip_space(s);
    if (s->at < s->end && *s->at == '}') {
        s->at++;
        return true;
    }
    for (;;) {
        if (s->at == s->end || *s->at != '"')
            return refuse(s, "a name in double quotes is expected");
        if (s->names_left != SIZE_MAX && s->names_left-- == 0) {
            s->wanted_name = s->at;
            s->names_left = SIZE_MAX;
        }
        if (!scan_string(s))
            return false;
        skip_space(s);
        if (s->at == s->end || *s->at != ':')
            return refuse(s, "':' is expected");
        s->at++;
        skip_space(s);
        if (!scan_value(s))
            return false;
        skip_space(s);
        if (s->at < s->end && *s->at == '}') {
            s->at++;
            return true;
        }
        if (s->at == s->end || *s->at != ',')
            return refuse(s, "',' or '}' is expected");
        s->at++;
        skip_space(s);
    }
}

static bool
scan_word(struct scanner *s, const char *word)
{
    for (; *word != '\0'; word++, s->at++) {
        if (s->at == s->end || *s->at != *word)
            return refuse(s, "true, false or null is expected");
    }
    return true;
}

static bool
scan_value(struct scanner *s)
{
    bool is_sound;

    if (s->at == s->end)
        return refuse(s, REASON_ENDS);
    if (s->values_left-- == 0) {
        s->values_left = 0;
        return refuse(s, "more values than any request has");
    }
    switch (*s->at) {
    case '{':
    case '[':
        if (s->depth == JSON_STRICT_DEPTH_MAX)
            return refuse(s, "nested deeper than 16");
        s->depth++;
        is_sound = *s->at == '{' ? scan_object(s) : scan_array(s);
        s->depth--;
        return is_sound;
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        if (*s->at == '-' || is_digit(*s->at))
            return scan_number(s);
        return refuse(s, "a value is expected");
    }
}

static int
scan_document(struct scanner *s, const char *text, size_t size, struct json_fault *fault)
{
    s->at = text;
    s->end = text + size;
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        (void)refuse(s, "a byte order mark");
    } else {
        skip_space(s);
        if (scan_value(s)) {
            skip_space(s);
            if (s->at == s->end)
                return 0;
            (void)refuse(s, "text after the value");
        }
    }
    *fault = (struct json_fault){.offset = (size_t)(s->at - text), .reason = s->reason};
    return -1;
}

int
json_strict_scan(const char *text, size_t size, size_t max_values, struct json_fault *fault)
{
    struct scanner s = {.values_left = max_values, .names_left = SIZE_MAX};

    return scan_document(&s, size > 0 ? text : "", size, fault);
}

struct name {
    const char *text;
    size_t ordinal; /* among all names of the document, from 1 */
};

static int
compare_names(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int order = strcmp(x->text, y->text);

    if (order != 0)
        return order;
    return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

/* The second of two equal ones among ${names}, NULL if there is none. Sorts large arrays. */
static const struct name *
second_of_two(struct name *names, size_t n)
{
    if (n <= PAIRWISE_MAX) {
        for (size_t i = 1; i < n; i++) {
            for (size_t j = 0; j < i; j++) {
                if (names[i].text[0] == names[j].text[0] &&
                    strcmp(names[i].text, names[j].text) == 0)
                    return &names[i];
            }
        }
        return NULL;
    }
    qsort(names, n, sizeof(*names), compare_names);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(names[i - 1].text, names[i].text) == 0)
            return &names[i];
    }
    return NULL;
}

/* ${n_names} counts the names passed. 1: found, *ordinal is set; 0; -1 without memory. */
static int
find_duplicate(const cJSON *value, size_t *n_names, size_t *ordinal)
{
    struct name few[PAIRWISE_MAX], *names = few;
    const struct name *second;
    const cJSON *child;
    size_t n = 0;
    int found = 0;

    if (cJSON_IsObject(value)) {
        cJSON_ArrayForEach(child, value) n++;
        if (n > PAIRWISE_MAX && (names = malloc(n * sizeof(*names))) == NULL)
            return -1;
        n = 0;
    }
    cJSON_ArrayForEach(child, value)
    {
        if (cJSON_IsObject(value))
            names[n++] = (struct name){.text = child->string, .ordinal = ++*n_names};
        if (child->child != NULL && (found = find_duplicate(child, n_names, ordinal)) != 0)
            goto free_names;
    }
    if ((second = second_of_two(names, n)) != NULL) {
        *ordinal = second->ordinal;
        found = 1;
    }
free_names:
    if (names != few)
        free(names);
    return found;
}

int
json_strict_duplicate(const cJSON *tree, size_t *ordinal)
{
    size_t n_names = 0;

    return find_duplicate(tree, &n_names, ordinal);
}

cJSON *
json_strict_parse(const char *text, size_t size, size_t max_values, struct json_fault *fault)
{
    struct scanner again = {.values_left = max_values};
    struct json_fault unused;
    size_t ordinal = 0;
    cJSON *tree;

    if (json_strict_scan(text, size, max_values, fault) == -1)
        return NULL;
    *fault = (struct json_fault){0};
    if ((tree = cJSON_ParseWithLength(text, size)) == NULL)
        return NULL; /* the text is sound, so this is memory */
    switch (json_strict_duplicate(tree, &ordinal)) {
    case 0:
        return tree;
    case 1:
        again.names_left = ordinal - 1;
        if (scan_document(&again, text, size, &unused) == 0 && again.wanted_name != NULL)
            fault->offset = (size_t)(again.wanted_name - text);
        fault->reason = "a name occurs twice in one object";
        break;
    default:
        break;
    }
    cJSON_Delete(tree);
    return NULL;
}
