/*
 * config.h - Settings: flag > environment > --config FILE > default.
 *
 * One table (config_options.h) names every setting of every daemon, so each
 * daemon accepts the names of the others and refuses any other KRONOS_* with
 * the nearest known name. KRONOS_A_B is the flag --a-b, shorter flags are in
 * the table; a flag of another daemon is refused. Every value that is given is
 * checked, also one that a stronger source overrides.
 *
 * The file has lines KEY=VALUE and comments: a # at the start of a line or after
 * white space. No quoting, no expansion. A key may stand in it once. Of a flag
 * given twice the last counts. An empty text is "not set", where the setting has
 * no default; elsewhere it is refused.
 */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "common/log.h"

#define CONFIG_EXIT_STATUS 78 /* EX_CONFIG: nothing was started, restarting will not help */

enum config_daemon { CONFIG_API = 1, CONFIG_WORKER = 2, CONFIG_WEBHOOK = 4 };

/* X(id, "KRONOS_...", "flag", type, default, minimum, maximum, daemons, "help") */
enum config_id {
#define X(id, ...) CONFIG_##id,
#include "common/config_options.h"
#undef X
    CONFIG_COUNT
};

struct config;

/* What the command line asked for besides running. */
enum config_action { CONFIG_RUN, CONFIG_PRINT, CONFIG_CHECK, CONFIG_HELP, CONFIG_VERSION };

/**
 * config_load(config, daemon, argc, argv, environment, action, err):
 * Read every source, check every value. On success ${config} is the caller's to
 * config_free(). Returns 0, or -1 with ERR_INVALID naming the setting, its value,
 * its limit and its origin (flag, environment, FILE:LINE).
 */
int config_load(struct config **config, enum config_daemon daemon, int argc, char *const argv[],
    char *const environment[], enum config_action *action, struct error *err);
void config_free(struct config *config);

/* Values; the id must be of that type. A text with no value is NULL; a level has a text too. */
const char *config_text(const struct config *config, enum config_id id);
int64_t config_integer(const struct config *config, enum config_id id);
double config_number(const struct config *config, enum config_id id);
bool config_bool(const struct config *config, enum config_id id);

enum log_level config_level(const struct config *config, enum config_id id);

/** config_daemon_name(daemon): "kronosq-api". */
const char *config_daemon_name(enum config_daemon daemon);

/** config_retired(config, i): the i-th retired setting that was given, or NULL; warn once each. */
const char *config_retired(const struct config *config, unsigned i);

/** config_print(config, out): NAME=value  # flag|env|FILE:LINE|default, secrets as ***. */
void config_print(const struct config *config, FILE *out);

/** config_help(daemon, out): usage with every setting of ${daemon}, default, unit. */
void config_help(enum config_daemon daemon, FILE *out);

#define CONFIG_START_RUN (-1)

/* What a daemon checks of its settings beyond the values: files, and what does not go together. */
typedef int (*config_check_fn)(const struct config *config, struct error *err);

/**
 * config_start(config, daemon, argc, argv, environment): what every main() begins with.
 * Loads, sets the log level, warns about retired settings, serves --help, --version,
 * --print-config and --check. config_start_checked() also calls ${check} before it says that all
 * is well, to run or not. Returns CONFIG_START_RUN with a ${config} to run by, or the
 * status to exit with: 0, or CONFIG_EXIT_STATUS after logging what is wrong.
 */
int config_start(struct config **config, enum config_daemon daemon, int argc, char *const argv[],
    char *const environment[]);
int config_start_checked(struct config **config, enum config_daemon daemon, int argc,
    char *const argv[], char *const environment[], config_check_fn check);

/* ---- settings that are read again while a daemon runs ---- */

/** config_take(config, fresh, id): the value of ${fresh}, whose own is the old one then. */
void config_take(struct config *config, struct config *fresh, enum config_id id);

/** config_differs(config, fresh, id): is another text, or none, set now? */
bool config_differs(const struct config *config, const struct config *fresh, enum config_id id);

/** config_setting_name(id): "KRONOS_LISTEN", or NULL: a flag only. */
const char *config_setting_name(enum config_id id);

#endif /* COMMON_CONFIG_H */
