/*
 * request_value.c - One value of a request's tree: is it of its type and in its range?
 *
 * A number may also be a string that holds a JSON number: old clients send that. Booleans are
 * no numbers. Members are found by walking an object once; cJSON's own look-up would walk it
 * for every name.
 */
#include "api/request_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/decimal.h"

#define UNKNOWN_WARNINGS_MAX 5

static void
meet_unknown(struct reader *r, const struct path *at, bool is_closed)
{
    char pointer[PATH_TEXT_MAX];

    if (is_closed) {
        fault_extra(r, at);
    } else if (r->n_unknown++ < UNKNOWN_WARNINGS_MAX) {
        path_format(at, pointer);
        task_about_warn(
            r->about, "unknown_member", pointer, "no such member, ignored: %s", at->name);
    }
}

void
value_members(struct reader *r, const cJSON *object, const struct path *at,
    const char *const *names, size_t n, bool is_closed, const cJSON **found)
{
    const cJSON *member;
    size_t next = 0; /* members mostly come in the order of the names */

    for (size_t i = 0; i < n; i++)
        found[i] = NULL;
    cJSON_ArrayForEach(member, object)
    {
        size_t tried = 0;

        while (tried < n && strcmp(names[next], member->string) != 0) {
            next = next + 1 < n ? next + 1 : 0;
            tried++;
        }
        if (tried == n) {
            meet_unknown(r, &(struct path){.parent = at, .name = member->string}, is_closed);
            continue;
        }
        found[next] = member;
        next = next + 1 < n ? next + 1 : 0;
    }
}

enum number_kind { IS_NUMBER, IS_OTHER_TYPE, IS_OTHER_TEXT };

static enum number_kind
number_of(const cJSON *item, double *value)
{
    size_t len;

    if (item->type == cJSON_Number) { /* no call into cJSON for each of thousands */
        *value = item->valuedouble;
        return IS_NUMBER;
    }
    if (!cJSON_IsString(item))
        return IS_OTHER_TYPE;
    len = strlen(item->valuestring);
    if (len == 0 || len > DECIMAL_MAX || decimal_read(item->valuestring, len, value) != len)
        return IS_OTHER_TEXT;
    return IS_NUMBER;
}

static bool
take_number(
    struct reader *r, const cJSON *item, const struct path *at, enum wanted wanted, double *value)
{
    switch (number_of(item, value)) {
    case IS_NUMBER:
        return true;
    case IS_OTHER_TEXT:
        fault_parsing(r, at, wanted, item);
        return false;
    default:
        fault_type(r, at, wanted, item);
        return false;
    }
}

bool
value_number(struct reader *r, const cJSON *item, const struct path *at,
    const struct value_range *range, double *value)
{
    double x;

    if (!take_number(r, item, at, WANTED_NUMBER, &x))
        return false;
    if (range->must_finite && !isfinite(x)) {
        fault_not_finite(r, at, item);
        return false;
    }
    if (x > range->most) {
        fault_limit(r, at, LIMIT_AT_MOST, range->most, x, item);
        return false;
    }
    if (!value_is_above_least(x, range)) {
        fault_limit(r, at, range->is_above ? LIMIT_ABOVE : LIMIT_AT_LEAST, range->least, x, item);
        return false;
    }
    *value = x;
    return true;
}

bool
value_integer(struct reader *r, const cJSON *item, const struct path *at, int64_t least,
    int64_t most, int64_t *value)
{
    double x;

    if (!take_number(r, item, at, WANTED_INTEGER, &x))
        return false;
    if (isfinite(x) && x != trunc(x)) {
        fault_fraction(r, at, item);
        return false;
    }
    if (!(x >= (double)least)) {
        fault_limit(r, at, LIMIT_AT_LEAST, (double)least, x, item);
        return false;
    }
    if (x > (double)most) {
        fault_limit(r, at, LIMIT_AT_MOST, (double)most, x, item);
        return false;
    }
    *value = (int64_t)x;
    return true;
}

bool
value_peek_integer(const cJSON *item, int64_t *value)
{
    double x;

    if (number_of(item, &x) != IS_NUMBER || x != trunc(x) || fabs(x) > (double)TASK_SEED_MAX)
        return false;
    *value = (int64_t)x;
    return true;
}

bool
value_bool(struct reader *r, const cJSON *item, const struct path *at, bool *value)
{
    if (!cJSON_IsBool(item)) {
        fault_type(r, at, WANTED_BOOL, item);
        return false;
    }
    *value = cJSON_IsTrue(item);
    return true;
}

bool
value_text(struct reader *r, const cJSON *item, const struct path *at, size_t least, size_t most,
    const char **value)
{
    size_t len;

    if (!cJSON_IsString(item)) {
        fault_type(r, at, WANTED_TEXT, item);
        return false;
    }
    len = strlen(item->valuestring);
    if (len < least || len > most) {
        fault_text_length(r, at, least, most, len, item);
        return false;
    }
    *value = item->valuestring;
    return true;
}

bool
value_choice(struct reader *r, const cJSON *item, const struct path *at, const char *const *names,
    size_t n, size_t *choice)
{
    for (size_t i = 0; i < n && cJSON_IsString(item); i++) {
        if (strcmp(item->valuestring, names[i]) == 0) {
            *choice = i;
            return true;
        }
    }
    fault_choice(r, at, names, n, item);
    return false;
}

bool
value_list(struct reader *r, const cJSON *item, const struct path *at, size_t least, size_t most,
    size_t *n)
{
    if (!cJSON_IsArray(item)) {
        fault_type(r, at, WANTED_LIST, item);
        return false;
    }
    *n = (size_t)cJSON_GetArraySize(item);
    if (*n < least || *n > most) {
        fault_list_length(r, at, least, most, *n);
        return false;
    }
    return true;
}
