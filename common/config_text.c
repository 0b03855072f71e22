/*
 * config_text.c - The table of settings, and a setting's text: parsed, shown, compared.
 *
 * Knows nothing of where a text came from.
 */
#include "common/config_internal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/cidr.h"

#define DISTANCE_MAX_BYTES 63

const struct config_option config_options[CONFIG_COUNT] = {
#define X(id, name_, flag_, type_, default_, minimum_, maximum_, daemons_, help_)                  \
    [CONFIG_##id] = {                                                                              \
        .name = (name_),                                                                           \
        .flag = (flag_),                                                                           \
        .type = CONFIG_TYPE_##type_,                                                               \
        .default_text = (default_),                                                                \
        .minimum = (minimum_),                                                                     \
        .maximum = (maximum_),                                                                     \
        .daemons = (daemons_),                                                                     \
        .help = (help_),                                                                           \
    },
#include "common/config_options.h"
#undef X
};

const char *const config_retired_names[CONFIG_RETIRED_COUNT] = {
    "KRONOS_DEFAULT_LOOKBACK", "KRONOS_DEFAULT_PRED_LEN", "KRONOS_SECURITY_ENABLED", "KRONOS_PORT",
    "KRONOS_LB_PORT", "KRONOS_MODEL_HOST_PATH",
    "KRONOS_CONTAINER_WHITELIST", /* only beside KRONOS_SECURITY_ENABLED=false: config.c */
};

int
config_bool_from_text(const char *text, bool *flag)
{
    if (strcmp(text, "1") == 0 || strcmp(text, "true") == 0)
        *flag = true;
    else if (strcmp(text, "0") == 0 || strcmp(text, "false") == 0)
        *flag = false;
    else
        return -1;
    return 0;
}

static int
parse_integer(const char *text, int64_t *integer)
{
    char *end;

    if (text[0] != '-' && !isdigit((unsigned char)text[0])) /* strtoll would skip white space */
        return -1;
    errno = 0;
    *integer = strtoll(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' ? -1 : 0;
}

static int
parse_number(const char *text, double *number)
{
    char *end;

    if (strspn(text, "0123456789.eE+-") != strlen(text)) /* no hexadecimal, "inf" or "nan" */
        return -1;
    *number = strtod(text, &end);
    return end == text || *end != '\0' || !isfinite(*number) ? -1 : 0;
}

/* Who reads the setting parses it again; here a bad one is told with its origin. */
static int
check_networks(const char *text, struct error *err)
{
    struct cidr_list list;

    if (cidr_list_parse(text, &list, err) == -1)
        return -1;
    cidr_list_clear(&list);
    return 0;
}

int
config_parse(enum config_id id, const char *text, struct config_value *value, struct error *err)
{
    const struct config_option *option = &config_options[id];
    char shown[96];

    config_shown(id, text, shown, sizeof(shown));
    switch (option->type) {
    case CONFIG_TYPE_TEXT:
    case CONFIG_TYPE_SECRET:
        if (text[0] == '\0' && option->default_text != NULL)
            return error_set(
                err, ERR_INVALID, "is empty; leave it out for %s", option->default_text);
        return 0;
    case CONFIG_TYPE_NETWORKS:
        return text[0] != '\0' ? check_networks(text, err) : 0;
    case CONFIG_TYPE_INTEGER:
        if (parse_integer(text, &value->integer) == -1)
            return error_set(err, ERR_INVALID, "'%s' is not an integer in %.0f..%.0f", shown,
                option->minimum, option->maximum);
        if ((double)value->integer < option->minimum || (double)value->integer > option->maximum)
            return error_set(err, ERR_INVALID, "%s is not in %.0f..%.0f", shown, option->minimum,
                option->maximum);
        return 0;
    case CONFIG_TYPE_NUMBER:
        if (parse_number(text, &value->number) == -1)
            return error_set(err, ERR_INVALID, "'%s' is not a number in %g..%g", shown,
                option->minimum, option->maximum);
        if (value->number < option->minimum || value->number > option->maximum)
            return error_set(
                err, ERR_INVALID, "%s is not in %g..%g", shown, option->minimum, option->maximum);
        return 0;
    case CONFIG_TYPE_BOOL:
        if (config_bool_from_text(text, &value->flag) == -1)
            return error_set(err, ERR_INVALID, "'%s' is none of 1 0 true false", shown);
        return 0;
    case CONFIG_TYPE_LEVEL:
        if (log_level_from_name(text, &value->level) == -1)
            return error_set(
                err, ERR_INVALID, "'%s' is none of DEBUG INFO WARNING ERROR CRITICAL", shown);
        return 0;
    }
    return error_set(err, ERR_INVALID, "has no type");
}

void
config_shown(enum config_id id, const char *text, char *shown, size_t size)
{
    const char *login, *at = NULL, *colon = NULL;

    if (config_options[id].type == CONFIG_TYPE_SECRET) {
        snprintf(shown, size, "%s", text[0] != '\0' ? "***" : "");
        return;
    }
    /* Anything may stand where a URL was meant: hide from a login's first colon to the last @. */
    if (id == CONFIG_REDIS_URL) {
        login = strstr(text, "://");
        login = login != NULL ? login + 3 : text;
        at = strrchr(login, '@');
        if (at != NULL)
            colon = memchr(login, ':', (size_t)(at - login));
    }
    if (colon != NULL)
        snprintf(shown, size, "%.*s:***%s", (int)(colon - text), text, at);
    else
        snprintf(shown, size, "%s", text);
}

const char *
config_display_name(enum config_id id, char *buf, size_t size)
{
    if (config_options[id].name != NULL)
        return config_options[id].name;
    snprintf(buf, size, "--%s", config_options[id].flag);
    return buf;
}

/* Levenshtein's, one row at a time. */
size_t
config_distance(const char *a, const char *b)
{
    size_t row[DISTANCE_MAX_BYTES + 1];
    size_t a_len = strnlen(a, DISTANCE_MAX_BYTES), b_len = strnlen(b, DISTANCE_MAX_BYTES);

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_len];
}
