/*
 * config_renew.c - Settings that are read again while a daemon runs.
 *
 * A daemon loads its settings anew as at its start, and takes over those that it can follow.
 */
#include "common/config_internal.h"

#include <string.h>

void
config_take(struct config *config, struct config *fresh, enum config_id id)
{
    struct config_value old = config->values[id];

    config->values[id] = fresh->values[id];
    fresh->values[id] = old;
}

bool
config_differs(const struct config *config, const struct config *fresh, enum config_id id)
{
    const char *a = config->values[id].text, *b = fresh->values[id].text;

    return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

const char *
config_setting_name(enum config_id id)
{
    return config_options[id].name;
}
