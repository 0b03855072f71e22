/*
 * json_strict.c - One strict pass over the bytes that builds the tree.
 *
 * The tree is plain cJSON, but cJSON does not read it: one reader cannot disagree with itself
 * about what it accepts, and thousands of numbers cost no allocation each. Names are compared at
 * the end of each object, after the escapes were resolved, because "a" and "\u0061" are the same
 * name; where two are, a second pass finds the offset.
 */
#include "api/json_strict.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "api/decimal.h"
#include "api/tree.h"
#include "common/utf8.h"

#define REASON_ENDS "the text ends too early"

struct scanner {
    const char *at;
    const char *end;
    struct arena *arena;
    size_t depth;
    size_t values_left;
    size_t names_left;       /* names before the wanted one; SIZE_MAX: none is wanted */
    const char *wanted_name; /* where the wanted name starts, once passed */
    bool has_twins;          /* two members of one name in some object */
    const char *reason;      /* set by whoever finds a fault at ${at}; NULL: no memory */
};

static bool scan_value(struct scanner *s, cJSON *item, const cJSON *elder);

static bool
refuse(struct scanner *s, const char *reason)
{
    s->reason = s->at == s->end ? REASON_ENDS : reason;
    return false;
}

static bool
out_of_memory(struct scanner *s)
{
    s->reason = NULL;
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

static bool
scan_number(struct scanner *s, cJSON *item)
{
    const char *start = s->at;
    double value;
    size_t len = decimal_read(s->at, (size_t)(s->end - s->at), &value);

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
    tree_set_number(item, value);
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

/* The character of an escape that was found to be sound; moves ${from} behind it. */
static char *
resolve_escape(const char **from, const char *end, char *to)
{
    static const char names[] = "bfnrt", meant[] = "\b\f\n\r\t";
    struct scanner digits = {.at = *from + 2, .end = end};
    const char *name = strchr(names, (*from)[1]);
    unsigned unit, low;

    if ((*from)[1] != 'u') {
        *to++ = name != NULL ? meant[name - names] : (*from)[1];
        *from += 2;
        return to;
    }
    (void)scan_hex4(&digits, &unit);
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        digits.at += 2;
        (void)scan_hex4(&digits, &low);
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    *from = digits.at;
    if (unit < 0x80) {
        *to++ = (char)unit;
        return to;
    }
    if (unit < 0x800) {
        *to++ = (char)(0xC0 | unit >> 6);
    } else {
        if (unit < 0x10000) {
            *to++ = (char)(0xE0 | unit >> 12);
        } else {
            *to++ = (char)(0xF0 | unit >> 18);
            *to++ = (char)(0x80 | (unit >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (unit >> 6 & 0x3F));
    }
    *to++ = (char)(0x80 | (unit & 0x3F));
    return to;
}

/* ${len} sound bytes from between the quotes, ended by a NUL; never longer than they were. */
static bool
keep_text(struct scanner *s, const char *from, size_t len, bool has_escapes, char **text)
{
    const char *end = from + len;
    char *to;

    if ((*text = to = arena_take(s->arena, len + 1)) == NULL)
        return out_of_memory(s);
    if (!has_escapes) {
        memcpy(to, from, len);
        to[len] = '\0';
        return true;
    }
    while (from < end) {
        if (*from == '\\')
            to = resolve_escape(&from, end, to);
        else
            *to++ = *from++;
    }
    *to = '\0';
    return true;
}

/* At the opening quote. */
static bool
scan_string(struct scanner *s, char **text)
{
    const char *first = ++s->at;
    bool has_escapes = false;

    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at;

        if (c == '"')
            return keep_text(s, first, (size_t)(s->at++ - first), has_escapes, text);
        if (c == '\\') {
            if (!scan_escape(s))
                return false;
            has_escapes = true;
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
scan_array(struct scanner *s, cJSON *array)
{
    cJSON *item;

    array->type = cJSON_Array;
    s->at++;
    skip_space(s);
    if (s->at < s->end && *s->at == ']') {
        s->at++;
        return true;
    }
    for (;;) {
        if ((item = tree_new_item(s->arena)) == NULL)
            return out_of_memory(s);
        if (!scan_value(s, item, tree_last(array)))
            return false;
        tree_append(array, item);
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

/* Passes the name at the opening quote if it is ${name}, byte for byte: then both are sound. */
static bool
skip_name(struct scanner *s, const char *name)
{
    const char *at = s->at + 1;

    for (; *name != '\0'; name++, at++) {
        /* what only an escape can have put into a name never stands for itself */
        if (at == s->end || *at != *name || *at == '"' || *at == '\\' || (unsigned char)*at < 0x20)
            return false;
    }
    if (at == s->end || *at != '"')
        return false;
    s->at = at + 1;
    return true;
}

/* Of the next member, which mostly has the name of the elder's next. */
static bool
scan_name(struct scanner *s, struct tree_elder *elder, char **name)
{
    if (s->names_left != SIZE_MAX && s->names_left-- == 0) {
        s->wanted_name = s->at;
        s->names_left = SIZE_MAX;
    }
    if (elder->member != NULL && skip_name(s, elder->member->string)) {
        *name = elder->member->string;
        elder->member = elder->member->next;
        return true;
    }
    elder->is_alike = false;
    elder->member = NULL;
    return scan_string(s, name);
}

static bool
end_object(struct scanner *s, const cJSON *object, const struct tree_elder *elder)
{
    int found = tree_has_twins(object, elder);

    s->at++;
    s->has_twins |= found == 1;
    return found != -1 || out_of_memory(s);
}

static bool
scan_object(struct scanner *s, cJSON *object, const cJSON *before)
{
    struct tree_elder elder = tree_elder(before);
    cJSON *item;

    object->type = cJSON_Object;
    s->at++;
    skip_space(s);
    if (s->at < s->end && *s->at == '}') {
        s->at++;
        return true;
    }
    for (;;) {
        if (s->at == s->end || *s->at != '"')
            return refuse(s, "a name in double quotes is expected");
        if ((item = tree_new_item(s->arena)) == NULL)
            return out_of_memory(s);
        if (!scan_name(s, &elder, &item->string))
            return false;
        skip_space(s);
        if (s->at == s->end || *s->at != ':')
            return refuse(s, "':' is expected");
        s->at++;
        skip_space(s);
        if (!scan_value(s, item, NULL))
            return false;
        tree_append(object, item);
        skip_space(s);
        if (s->at < s->end && *s->at == '}')
            return end_object(s, object, &elder);
        if (s->at == s->end || *s->at != ',')
            return refuse(s, "',' or '}' is expected");
        s->at++;
        skip_space(s);
    }
}

static bool
scan_word(struct scanner *s, const char *word, int type, cJSON *item)
{
    for (; *word != '\0'; word++, s->at++) {
        if (s->at == s->end || *s->at != *word)
            return refuse(s, "true, false or null is expected");
    }
    item->type = type;
    item->valueint = type == cJSON_True; /* as cJSON has it */
    return true;
}

/* ${item} is new, but may have its name. ${elder}: the one before it in an array, or NULL. */
static bool
scan_value(struct scanner *s, cJSON *item, const cJSON *elder)
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
        is_sound = *s->at == '{' ? scan_object(s, item, elder) : scan_array(s, item);
        s->depth--;
        return is_sound;
    case '"':
        item->type = cJSON_String;
        return scan_string(s, &item->valuestring);
    case 't':
        return scan_word(s, "true", cJSON_True, item);
    case 'f':
        return scan_word(s, "false", cJSON_False, item);
    case 'n':
        return scan_word(s, "null", cJSON_NULL, item);
    default:
        if (*s->at == '-' || is_digit(*s->at))
            return scan_number(s, item);
        return refuse(s, "a value is expected");
    }
}

/* The tree, or NULL with ${fault}. */
static cJSON *
scan_document(struct scanner *s, const char *text, size_t size, struct json_fault *fault)
{
    cJSON *tree = tree_new_item(s->arena);

    s->at = text;
    s->end = text + size;
    if (tree == NULL) {
        (void)out_of_memory(s);
    } else if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        (void)refuse(s, "a byte order mark");
    } else {
        skip_space(s);
        if (scan_value(s, tree, NULL)) {
            skip_space(s);
            if (s->at == s->end)
                return tree;
            (void)refuse(s, "text after the value");
        }
    }
    *fault = (struct json_fault){.offset = (size_t)(s->at - text), .reason = s->reason};
    return NULL;
}

cJSON *
json_strict_parse(
    const char *text, size_t size, size_t max_values, struct arena *arena, struct json_fault *fault)
{
    struct scanner s = {.arena = arena, .values_left = max_values, .names_left = SIZE_MAX};
    struct scanner again = {.arena = arena, .values_left = max_values};
    struct json_fault unused;
    size_t ordinal = 0;
    cJSON *tree;

    text = size > 0 ? text : "";
    if ((tree = scan_document(&s, text, size, fault)) == NULL)
        return NULL;
    *fault = (struct json_fault){0};
    if (!s.has_twins)
        return tree;
    if (tree_duplicate(tree, &ordinal) != 1)
        return NULL; /* no memory to find out which */
    arena_clear(arena);
    again.names_left = ordinal - 1;
    if (scan_document(&again, text, size, &unused) == NULL)
        return NULL; /* sound a moment ago: this is memory */
    fault->offset = (size_t)(again.wanted_name - text);
    fault->reason = "a name occurs twice in one object";
    return NULL;
}
