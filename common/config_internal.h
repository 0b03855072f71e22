/*
 * config_internal.h - What config.c, config_text.c and config_print.c share.
 */
#ifndef COMMON_CONFIG_INTERNAL_H
#define COMMON_CONFIG_INTERNAL_H

#include <stddef.h>

#include "common/config.h"

#define CONFIG_RETIRED_COUNT 7

enum config_type {
    CONFIG_TYPE_TEXT,
    CONFIG_TYPE_INTEGER,
    CONFIG_TYPE_NUMBER,
    CONFIG_TYPE_BOOL,
    CONFIG_TYPE_LEVEL,
    CONFIG_TYPE_SECRET,
    CONFIG_TYPE_NETWORKS
};

struct config_option {
    const char *name; /* "KRONOS_..."; NULL: a flag only */
    const char *flag; /* without --; NULL: no flag */
    enum config_type type;
    const char *default_text; /* NULL: not set */
    double minimum, maximum;  /* of INTEGER and NUMBER */
    unsigned daemons;         /* enum config_daemon bits */
    const char *help;
};

enum config_source { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_ENV, CONFIG_FROM_FLAG };

struct config_value {
    enum config_source source;
    unsigned line; /* of the file */
    char *text;    /* as given, ours; NULL: not set */
    int64_t integer;
    double number;
    bool flag;
    enum log_level level;
};

struct config {
    enum config_daemon daemon;
    char *file; /* --config; NULL: none */
    struct config_value values[CONFIG_COUNT];
    const char *retired[CONFIG_RETIRED_COUNT]; /* given ones, each once */
    unsigned n_retired;
};

/* The settings, by enum config_id. */
extern const struct config_option config_options[CONFIG_COUNT];

/* Names that the service before this one knew. Accepted, warned about, without effect. */
extern const char *const config_retired_names[CONFIG_RETIRED_COUNT];

/**
 * config_parse(id, text, value, err): check ${text} against the setting's type and limits and
 * fill ${value}'s numbers. The error text lacks name and origin: the caller knows them.
 */
int config_parse(
    enum config_id id, const char *text, struct config_value *value, struct error *err);

/** config_bool_from_text(text, flag): 1 0 true false; 0 or -1. */
int config_bool_from_text(const char *text, bool *flag);

/**
 * config_shown(id, text, shown, size): ${text} as people may see it: a secret is ***, and so
 * is a password inside a URL.
 */
void config_shown(enum config_id id, const char *text, char *shown, size_t size);

/** config_display_name(id): KRONOS_..., or --flag where there is no such name. */
const char *config_display_name(enum config_id id, char *buf, size_t size);

/** config_distance(a, b): insertions, deletions and substitutions from ${a} to ${b}. */
size_t config_distance(const char *a, const char *b);

#endif /* COMMON_CONFIG_INTERNAL_H */
