/*
 * request_fault.c - The sentences of a refused request, in both shapes.
 *
 * The old shape keeps the types and texts FastAPI clients match on; the new one names the
 * limit and the value. No other file writes such a sentence, but for relations, whose old
 * texts carry their own figures.
 */
#include "api/request_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/document/json_out.h"
#include "common/utf8.h"

#define SENTENCE_MAX   400
#define NAME_SHOWN_MAX 128 /* bytes of a member name in a pointer */
#define TEXT_SHOWN_MAX 64  /* bytes of a string in a sentence */

/* ---- pointers ---- */

static bool
is_plain(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("-._!$&'()*+,;=:@", c) != NULL);
}

static void
path_write(const struct path *at, char *text, size_t *len)
{
    size_t name_len;

    if (at == NULL) {
        text[(*len)++] = '#';
        return;
    }
    path_write(at->parent, text, len);
    if (at->name == NULL) {
        if (*len + 24 < PATH_TEXT_MAX)
            *len += (size_t)snprintf(text + *len, PATH_TEXT_MAX - *len, "/%zu", at->index);
        return;
    }
    name_len = utf8_cut(at->name, strlen(at->name), NAME_SHOWN_MAX);
    if (*len + 1 < PATH_TEXT_MAX)
        text[(*len)++] = '/';
    /* RFC 6901 section 6: ~ and / are escaped, then what a fragment may not hold. */
    for (size_t i = 0; i < name_len && *len + 4 < PATH_TEXT_MAX; i++) {
        char c = at->name[i];

        if (c == '~' || c == '/')
            *len += (size_t)snprintf(text + *len, 3, "~%c", c == '/' ? '1' : '0');
        else if (is_plain(c))
            text[(*len)++] = c;
        else
            *len += (size_t)snprintf(text + *len, 4, "%%%02X", (unsigned char)c);
    }
}

void
path_format(const struct path *at, char *text)
{
    size_t len = 0;

    path_write(at, text, &len);
    text[len] = '\0';
}

/* ---- parts of sentences ---- */

static const struct {
    const char *type, *parsing, *what, *own;
} wanted_words[] = {
    [WANTED_NUMBER] = {"float_type", "float_parsing", "a valid number", "a number"},
    [WANTED_INTEGER] = {"int_type", "int_parsing", "a valid integer", "an integer"},
    [WANTED_TEXT] = {"string_type", NULL, "a valid string", "a string"},
    [WANTED_LIST] = {"list_type", NULL, "a valid list", "an array"},
    [WANTED_BOOL] = {"bool_type", NULL, "a valid boolean", "true or false"},
    [WANTED_TIME] = {"datetime_type", NULL, "a valid datetime", "a time"},
    [WANTED_OBJECT] = {"model_attributes_type", NULL,
        "a valid dictionary or object to extract fields from", "an object"},
};

/* What ${input} is, for a sentence: a short value itself, else its kind. */
static const char *
say_input(const cJSON *input, char *text, size_t size)
{
    size_t len, shown;

    if (cJSON_IsNumber(input)) {
        char number[32];

        json_format_double(input->valuedouble, number);
        snprintf(text, size, "%s", number);
    } else if (cJSON_IsString(input)) {
        len = strlen(input->valuestring);
        shown = utf8_cut(input->valuestring, len, TEXT_SHOWN_MAX);
        snprintf(
            text, size, "\"%.*s%s\"", (int)shown, input->valuestring, shown < len ? "..." : "");
    } else {
        snprintf(text, size, "%s",
            cJSON_IsTrue(input)     ? "true"
            : cJSON_IsFalse(input)  ? "false"
            : cJSON_IsNull(input)   ? "null"
            : cJSON_IsArray(input)  ? "an array"
            : cJSON_IsObject(input) ? "an object"
                                    : "nothing");
    }
    return text;
}

static cJSON *
context_number(const char *name, double value)
{
    cJSON *context = cJSON_CreateObject();

    cJSON_AddNumberToObject(context, name, value);
    return context;
}

static cJSON *
context_text(const char *name, const char *value)
{
    cJSON *context = cJSON_CreateObject();

    cJSON_AddStringToObject(context, name, value);
    return context;
}

/* Takes ${context} over. */
static void
report(struct reader *r, const struct path *at, const char *code, const char *type,
    const char *message, const char *detail, const cJSON *input, cJSON *context)
{
    char pointer[PATH_TEXT_MAX];

    path_format(at, pointer);
    problem_fault(r->problem, &(struct problem_fault){
                                  .code = code,
                                  .type = type,
                                  .message = message,
                                  .detail = detail,
                                  .pointer = pointer,
                                  .input = input,
                                  .context = context,
                              });
}

/* ---- the kinds ---- */

/* The list is full: a hostile body must not pay for sentences nobody will read. */
static bool
is_full(const struct reader *r)
{
    return r->problem->is_truncated;
}

void
fault_required(struct reader *r, const struct path *at)
{
    if (is_full(r))
        return;
    report(r, at, "required", "missing", "Field required", "is required", NULL, NULL);
}

void
fault_type(struct reader *r, const struct path *at, enum wanted wanted, const cJSON *input)
{
    char message[SENTENCE_MAX], detail[SENTENCE_MAX], is[SENTENCE_MAX / 2];

    if (is_full(r))
        return;
    snprintf(message, sizeof(message), "Input should be %s", wanted_words[wanted].what);
    snprintf(detail, sizeof(detail), "must be %s, is %s", wanted_words[wanted].own,
        say_input(input, is, sizeof(is)));
    report(r, at, "type", wanted_words[wanted].type, message, detail, input, NULL);
}

void
fault_parsing(struct reader *r, const struct path *at, enum wanted wanted, const cJSON *input)
{
    char message[SENTENCE_MAX], detail[SENTENCE_MAX], is[SENTENCE_MAX / 2];

    if (is_full(r))
        return;
    snprintf(message, sizeof(message), "Input should be %s, unable to parse string as %s",
        wanted_words[wanted].what, wanted_words[wanted].own);
    snprintf(detail, sizeof(detail), "must be %s, is %s", wanted_words[wanted].own,
        say_input(input, is, sizeof(is)));
    report(r, at, "type", wanted_words[wanted].parsing, message, detail, input, NULL);
}

void
fault_fraction(struct reader *r, const struct path *at, const cJSON *input)
{
    char detail[SENTENCE_MAX], is[SENTENCE_MAX / 2];

    if (is_full(r))
        return;
    snprintf(detail, sizeof(detail), "must be an integer, is %s", say_input(input, is, sizeof(is)));
    report(r, at, "type", "int_from_float",
        "Input should be a valid integer, got a number with a fractional part", detail, input,
        NULL);
}

void
fault_not_finite(struct reader *r, const struct path *at, const cJSON *input)
{
    if (is_full(r))
        return;
    report(r, at, "not_finite", "finite_number", "Input should be a finite number",
        "must be finite, is beyond what a double holds", input, NULL);
}

void
fault_limit(struct reader *r, const struct path *at, enum limit kind, double limit, double value,
    const cJSON *input)
{
    static const struct {
        const char *type, *words, *sign, *context;
    } limits[] = {
        [LIMIT_ABOVE] = {"greater_than", "greater than", ">", "gt"},
        [LIMIT_AT_LEAST] = {"greater_than_equal", "greater than or equal to", ">=", "ge"},
        [LIMIT_AT_MOST] = {"less_than_equal", "less than or equal to", "<=", "le"},
    };
    char message[SENTENCE_MAX], detail[SENTENCE_MAX], limit_text[32], value_text[32];
    bool vanishes = kind == LIMIT_ABOVE && value > limit; /* only as binary32 it is not above */

    if (is_full(r))
        return;
    json_format_double(limit, limit_text);
    if (value - value == 0)
        json_format_double(value, value_text);
    else /* an infinity, or NaN from msgpack */
        snprintf(value_text, sizeof(value_text), "%s", value > 0 ? "infinite" : "not finite");
    snprintf(message, sizeof(message), "Input should be %s %s", limits[kind].words, limit_text);
    snprintf(detail, sizeof(detail), "must be %s %s%s, is %s", limits[kind].sign, limit_text,
        vanishes ? " as binary32" : "", value_text);
    report(r, at, "range", limits[kind].type, message, detail, input,
        context_number(limits[kind].context, limit));
}

void
fault_list_length(struct reader *r, const struct path *at, size_t least, size_t most, size_t actual)
{
    char message[SENTENCE_MAX], detail[SENTENCE_MAX];
    size_t limit = actual < least ? least : most;
    cJSON *context;

    if (is_full(r))
        return;
    context = context_text("field_type", "List");
    cJSON_AddNumberToObject(context, actual < least ? "min_length" : "max_length", (double)limit);
    cJSON_AddNumberToObject(context, "actual_length", (double)actual);
    snprintf(message, sizeof(message),
        "List should have at %s %zu item%s after validation, not %zu",
        actual < least ? "least" : "most", limit, limit == 1 ? "" : "s", actual);
    if (least == most)
        snprintf(detail, sizeof(detail), "must have %zu elements, has %zu", least, actual);
    else
        snprintf(
            detail, sizeof(detail), "must have %zu to %zu elements, has %zu", least, most, actual);
    report(
        r, at, "length", actual < least ? "too_short" : "too_long", message, detail, NULL, context);
}

void
fault_text_length(struct reader *r, const struct path *at, size_t least, size_t most, size_t actual,
    const cJSON *input)
{
    char message[SENTENCE_MAX], detail[SENTENCE_MAX];
    bool is_short = actual < least;
    size_t limit = is_short ? least : most;

    if (is_full(r))
        return;
    snprintf(message, sizeof(message), "String should have at %s %zu character%s",
        is_short ? "least" : "most", limit, limit == 1 ? "" : "s");
    snprintf(detail, sizeof(detail), "must have %zu to %zu bytes, has %zu", least, most, actual);
    report(r, at, "length", is_short ? "string_too_short" : "string_too_long", message, detail,
        input, context_number(is_short ? "min_length" : "max_length", (double)limit));
}

void
fault_choice(
    struct reader *r, const struct path *at, const char *const *names, size_t n, const cJSON *input)
{
    char expected[SENTENCE_MAX / 2] = "", message[SENTENCE_MAX], detail[SENTENCE_MAX];
    char is[SENTENCE_MAX / 4];
    size_t len = 0;

    if (is_full(r))
        return;
    for (size_t i = 0; i < n && len + TASK_MODEL_NAME_MAX < sizeof(expected); i++)
        len += (size_t)snprintf(expected + len, sizeof(expected) - len, "%s'%s'",
            i == 0       ? ""
            : i + 1 == n ? " or "
                         : ", ",
            names[i]);
    snprintf(message, sizeof(message), "Input should be %s", expected);
    snprintf(
        detail, sizeof(detail), "must be %s, is %s", expected, say_input(input, is, sizeof(is)));
    report(r, at, "choice", "literal_error", message, detail, input,
        context_text("expected", expected));
}

void
fault_pattern(struct reader *r, const struct path *at, const char *pattern, const cJSON *input)
{
    char message[SENTENCE_MAX], detail[SENTENCE_MAX], is[SENTENCE_MAX / 2];

    if (is_full(r))
        return;
    snprintf(message, sizeof(message), "String should match pattern '%s'", pattern);
    snprintf(
        detail, sizeof(detail), "must match %s, is %s", pattern, say_input(input, is, sizeof(is)));
    report(r, at, "format", "string_pattern_mismatch", message, detail, input,
        context_text("pattern", pattern));
}

void
fault_time(struct reader *r, const struct path *at, const char *reason, const cJSON *input)
{
    char message[SENTENCE_MAX], detail[SENTENCE_MAX], is[SENTENCE_MAX / 2];

    if (is_full(r))
        return;
    snprintf(message, sizeof(message), "Input should be a valid datetime or date, %s", reason);
    snprintf(
        detail, sizeof(detail), "must be a time, %s: %s", reason, say_input(input, is, sizeof(is)));
    report(r, at, "format", "datetime_from_date_parsing", message, detail, input,
        context_text("error", reason));
}

void
fault_bool_as_time(struct reader *r, const struct path *at, const cJSON *input)
{
    char detail[SENTENCE_MAX], is[SENTENCE_MAX / 2];

    if (is_full(r))
        return;
    snprintf(detail, sizeof(detail), "must be a time, is %s", say_input(input, is, sizeof(is)));
    report(
        r, at, "format", "datetime_type", "Input should be a valid datetime", detail, input, NULL);
}

void
fault_extra(struct reader *r, const struct path *at)
{
    if (is_full(r))
        return;
    report(r, at, "unknown_member", "extra_forbidden", "Extra inputs are not permitted",
        "is not a member of this object", NULL, NULL);
}

static cJSON *
context_error(void)
{
    cJSON *context = cJSON_CreateObject();

    cJSON_AddObjectToObject(context, "error");
    return context;
}

void
fault_value(struct reader *r, const struct path *at, const char *code, const cJSON *input,
    const char *format, ...)
{
    char message[SENTENCE_MAX + sizeof("Value error, ")], detail[SENTENCE_MAX];
    va_list args;

    if (is_full(r))
        return;
    va_start(args, format);
    if (vsnprintf(detail, sizeof(detail), format, args) < 0)
        detail[0] = '\0';
    va_end(args);
    snprintf(message, sizeof(message), "Value error, %s", detail);
    report(r, at, code, "value_error", message, detail, input, context_error());
}

void
fault_old_text(struct reader *r, const struct path *at, const char *code, const char *message,
    const char *detail)
{
    char whole[SENTENCE_MAX];

    if (is_full(r))
        return;
    snprintf(whole, sizeof(whole), "Value error, %s", message);
    report(r, at, code, "value_error", whole, detail, NULL, context_error());
}
