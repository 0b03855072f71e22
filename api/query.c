/*
 * query.c - Parameters of a target's query.
 */
#include "api/query.h"

#include <string.h>

static int
refuse(struct problem *problem, const char *name, long low, long high, const char *fault)
{
    problem_set(problem, 400, "bad_parameter", "%s must be a whole number from %ld to %ld%s", name,
        low, high, fault);
    problem_extra(problem, "parameter", cJSON_CreateString(name));
    return -1;
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
    size_t name_len = strlen(name);
    bool is_seen = false;

    for (const char *p = query; p != NULL && *p != '\0';) {
        size_t len = strcspn(p, "&");

        if (len >= name_len && strncmp(p, name, name_len) == 0 &&
            (len == name_len || p[name_len] == '=')) {
            long number =
                len == name_len ? -1 : whole_number(p + name_len + 1, len - name_len - 1, high);

            if (is_seen)
                return refuse(problem, name, low, high, " and given once");
            if (number < low)
                return refuse(problem, name, low, high, "");
            *value = number;
            is_seen = true;
        }
        p += len;
        if (*p == '&')
            p++;
    }
    return 0;
}
