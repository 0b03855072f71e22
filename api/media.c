/*
 * media.c - Media types: what a body is in, what a client accepts.
 */
#include "api/media.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

enum media_form
media_form(const char *content_type)
{
    static const char application[] = "application/", suffix[] = "+json";
    static const struct {
        const char *name;
        enum media_form form;
    } types[] = {
        {"json", MEDIA_FORM_JSON},
        {"msgpack", MEDIA_FORM_MSGPACK},
        {"x-msgpack", MEDIA_FORM_MSGPACK},
        {"vnd.msgpack", MEDIA_FORM_MSGPACK},
    };
    const char *name;
    size_t len;

    if (content_type == NULL)
        return MEDIA_FORM_JSON;
    if (strncasecmp(content_type, application, strlen(application)) != 0)
        return MEDIA_FORM_OTHER;
    name = content_type + strlen(application);
    len = strcspn(name, "; \t");
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (len == strlen(types[i].name) && strncasecmp(name, types[i].name, len) == 0)
            return types[i].form;
    if (len > strlen(suffix) &&
        strncasecmp(name + len - strlen(suffix), suffix, strlen(suffix)) == 0)
        return MEDIA_FORM_JSON;
    return MEDIA_FORM_OTHER;
}

/* "q=0.5" -> 500; 1000 when it is not one. */
static int
quality(const char *text)
{
    int q;

    if (text[0] != '0' && text[0] != '1')
        return 1000;
    q = (text[0] - '0') * 1000;
    if (text[1] == '.')
        for (int i = 2, weight = 100; weight > 0 && text[i] >= '0' && text[i] <= '9';
             i++, weight /= 10)
            q += (text[i] - '0') * weight;
    return q < 1000 ? q : 1000;
}

/* How precisely does the range ${range} [${len}] name ${type}? 0 not at all. */
static int
range_precision(const char *range, size_t len, const char *type)
{
    size_t major = strcspn(type, "/");

    if (len == strlen(type) && strncasecmp(range, type, len) == 0)
        return 3;
    if (len == major + 2 && strncasecmp(range, type, major + 1) == 0 && range[len - 1] == '*')
        return 2;
    return len == 3 && strncmp(range, "*/*", 3) == 0 ? 1 : 0;
}

int
media_quality(const char *accept, const char *type, int *precision)
{
    int best = 0;

    *precision = 0;
    while (*accept != '\0') {
        size_t element, len;
        int q = 1000, found;

        accept += strspn(accept, ", \t");
        element = strcspn(accept, ",");
        len = strcspn(accept, ",; \t");
        found = range_precision(accept, len, type);
        for (const char *p = accept + len; found > *precision && p < accept + element; p++)
            if (*p == ';') {
                p += 1 + strspn(p + 1, " \t");
                if ((*p == 'q' || *p == 'Q') && p[1] == '=')
                    q = quality(p + 2);
                p--;
            }
        if (found > *precision) {
            *precision = found;
            best = q;
        }
        accept += element;
    }
    return best;
}
