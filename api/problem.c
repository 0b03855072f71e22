/*
 * problem.c - Collecting what is wrong, and writing it in both shapes.
 *
 * A validation problem carries the same list twice: FastAPI's `detail` array for clients of
 * the service this one replaces, and `errors` with JSON Pointers. Memory that is missing
 * makes a problem poorer, never absent: status and code are always there.
 */
#include "api/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

#define INPUT_TEXT_MAX 256 /* bytes of an offending string that are shown */

static const struct {
    int status;
    const char *title;
} titles[] = {
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *
problem_title(int status)
{
    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++) {
        if (titles[i].status == status)
            return titles[i].title;
    }
    return "Error";
}

void
problem_clear(struct problem *p)
{
    cJSON_Delete(p->extras);
    cJSON_Delete(p->fastapi);
    cJSON_Delete(p->errors);
    *p = (struct problem){0};
}

int
problem_set(struct problem *p, int status, const char *code, const char *format, ...)
{
    char detail[2 * sizeof(p->detail)]; /* longer than what is kept, to cut it well */
    va_list args;
    size_t len;

    va_start(args, format);
    if (vsnprintf(detail, sizeof(detail), format, args) < 0)
        detail[0] = '\0';
    va_end(args);
    problem_clear(p);
    p->status = status;
    p->code = code;
    len = utf8_cut(detail, strlen(detail), sizeof(p->detail) - 1);
    memcpy(p->detail, detail, len);
    p->detail[len] = '\0';
    return -1;
}

/* Takes ${value} over, NULL included. */
static void
add(cJSON *object, const char *name, cJSON *value)
{
    if (!cJSON_AddItemToObject(object, name, value))
        cJSON_Delete(value);
}

static void
append(cJSON *array, cJSON *value)
{
    if (!cJSON_AddItemToArray(array, value))
        cJSON_Delete(value);
}

void
problem_extra(struct problem *p, const char *name, cJSON *value)
{
    if (p->extras == NULL)
        p->extras = cJSON_CreateObject();
    add(p->extras, name, value);
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* One segment of a pointer, up to the next '/', without its escapes. */
static cJSON *
location_of_segment(const char *segment, size_t len)
{
    bool is_index = len > 0 && len <= 9;
    cJSON *location;
    char *text;
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        is_index = is_index && segment[i] >= '0' && segment[i] <= '9';
    if (is_index)
        return cJSON_CreateNumber(strtod(segment, NULL));
    if ((text = malloc(len + 1)) == NULL)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (segment[i] == '~' && i + 1 < len) {
            i++;
            text[n++] = segment[i] == '1' ? '/' : '~';
        } else if (segment[i] == '%' && i + 2 < len && hex_digit(segment[i + 1]) >= 0 &&
                   hex_digit(segment[i + 2]) >= 0) {
            text[n++] = (char)(hex_digit(segment[i + 1]) * 16 + hex_digit(segment[i + 2]));
            i += 2;
        } else {
            text[n++] = segment[i];
        }
    }
    text[n] = '\0';
    location = cJSON_CreateString(text);
    free(text);
    return location;
}

/* "#/candles/3/high" -> ["body","candles",3,"high"] */
static cJSON *
location_of_pointer(const char *pointer)
{
    cJSON *location = cJSON_CreateArray();

    if (strcmp(pointer, PROBLEM_POINTER_HEADER) == 0) {
        append(location, cJSON_CreateString("header"));
        append(location, cJSON_CreateString("idempotency-key"));
        return location;
    }
    append(location, cJSON_CreateString("body"));
    for (const char *at = strchr(pointer, '/'); at != NULL;) {
        const char *segment = at + 1;

        at = strchr(segment, '/');
        append(location,
            location_of_segment(segment, at != NULL ? (size_t)(at - segment) : strlen(segment)));
    }
    return location;
}

/* A scalar as it was sent, long text cut; null for the rest. */
static cJSON *
shown_input(const cJSON *input)
{
    char text[INPUT_TEXT_MAX + 1];
    size_t len;

    if (cJSON_IsNumber(input))
        return cJSON_CreateNumber(input->valuedouble);
    if (cJSON_IsBool(input))
        return cJSON_CreateBool(cJSON_IsTrue(input));
    if (!cJSON_IsString(input))
        return cJSON_CreateNull();
    len = utf8_cut(input->valuestring, strlen(input->valuestring), INPUT_TEXT_MAX);
    memcpy(text, input->valuestring, len);
    text[len] = '\0';
    return cJSON_CreateString(text);
}

void
problem_fault(struct problem *p, const struct problem_fault *fault)
{
    cJSON *old, *new;

    if (p->fastapi == NULL || p->errors == NULL) {
        problem_clear(p);
        p->status = 422;
        p->code = "validation_failed";
        p->fastapi = cJSON_CreateArray();
        p->errors = cJSON_CreateArray();
    }
    if (cJSON_GetArraySize(p->errors) >= PROBLEM_ERRORS_MAX) {
        p->is_truncated = true;
        cJSON_Delete(fault->context);
        return;
    }
    old = cJSON_CreateObject();
    add(old, "type", cJSON_CreateString(fault->type));
    add(old, "loc", location_of_pointer(fault->pointer));
    add(old, "msg", cJSON_CreateString(fault->message));
    add(old, "input", shown_input(fault->input));
    if (fault->context != NULL)
        add(old, "ctx", fault->context);
    append(p->fastapi, old);

    new = cJSON_CreateObject();
    add(new, "pointer", cJSON_CreateString(fault->pointer));
    add(new, "code", cJSON_CreateString(fault->code));
    add(new, "detail", cJSON_CreateString(fault->detail));
    append(p->errors, new);
}

cJSON *
problem_to_json(const struct problem *p, const char *request_id)
{
    cJSON *document = cJSON_CreateObject();
    const cJSON *extra;
    char type[96];

    if (document == NULL)
        return NULL;
    snprintf(type, sizeof(type), "urn:kronosq:error:%s", p->code);
    add(document, "type", cJSON_CreateString(type));
    add(document, "title", cJSON_CreateString(problem_title(p->status)));
    add(document, "status", cJSON_CreateNumber(p->status));
    add(document, "code", cJSON_CreateString(p->code));
    if (p->fastapi == NULL)
        add(document, "detail", cJSON_CreateString(p->detail));
    add(document, "request_id", cJSON_CreateString(request_id));
    cJSON_ArrayForEach(extra, p->extras) add(document, extra->string, cJSON_Duplicate(extra, true));
    if (p->fastapi != NULL) {
        add(document, "detail", cJSON_Duplicate(p->fastapi, true));
        add(document, "errors", cJSON_Duplicate(p->errors, true));
        if (p->is_truncated)
            add(document, "truncated", cJSON_CreateTrue());
    }
    return document;
}
