/*
 * config_print.c - --help, --print-config, and the start that all daemons share.
 */
#include "common/config_internal.h"

#include <string.h>

#include "common/failpoint.h"
#include "common/redis.h"

#define SHOWN_MAX 4096

const char *
config_daemon_name(enum config_daemon daemon)
{
    switch (daemon) {
    case CONFIG_API:
        return "kronosq-api";
    case CONFIG_WORKER:
        return "kronosq-worker";
    case CONFIG_WEBHOOK:
        return "kronosq-webhook";
    }
    return "kronosq";
}

/* The logger of lines about settings: "api.config". */
static const char *
logger_name(enum config_daemon daemon)
{
    switch (daemon) {
    case CONFIG_API:
        return "api.config";
    case CONFIG_WORKER:
        return "worker.config";
    case CONFIG_WEBHOOK:
        return "webhook.config";
    }
    return "config";
}

void
config_print(const struct config *config, FILE *out)
{
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const struct config_value *value = &config->values[id];
        char name[64], shown[SHOWN_MAX];

        if ((config_options[id].daemons & (unsigned)config->daemon) == 0)
            continue;
        config_shown(
            (enum config_id)id, value->text != NULL ? value->text : "", shown, sizeof(shown));
        fprintf(
            out, "%s=%s  # ", config_display_name((enum config_id)id, name, sizeof(name)), shown);
        switch (value->source) {
        case CONFIG_FROM_FLAG:
            fputs("flag\n", out);
            break;
        case CONFIG_FROM_ENV:
            fputs("env\n", out);
            break;
        case CONFIG_FROM_FILE:
            fprintf(out, "%s:%u\n", config->file, value->line);
            break;
        case CONFIG_FROM_DEFAULT:
            fputs("default\n", out);
            break;
        }
    }
}

void
config_help(enum config_daemon daemon, FILE *out)
{
    fprintf(out,
        "usage: %s [--flag VALUE | --flag=VALUE]...\n\n"
        "A flag wins over the environment, that over --config FILE (lines KEY=VALUE), that over\n"
        "the default. On or off is 1, 0, true or false; --flag alone is true.\n\n"
        "  --config FILE   read settings from FILE\n"
        "  --print-config  show every setting and where it comes from, then exit\n"
        "  --check         validate the configuration and exit: 0, or %d\n"
        "  -v              the same as --log-level DEBUG\n"
        "  --version, --help\n",
        config_daemon_name(daemon), CONFIG_EXIT_STATUS);
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const struct config_option *option = &config_options[id];

        if ((option->daemons & (unsigned)daemon) == 0)
            continue;
        fputs("\n  ", out);
        if (option->flag != NULL)
            fprintf(out, "--%s%s", option->flag, option->name != NULL ? ", " : "");
        fprintf(
            out, "%s\n      %s\n      ", option->name != NULL ? option->name : "", option->help);
        if (option->type == CONFIG_TYPE_INTEGER)
            fprintf(out, "%.0f..%.0f, ", option->minimum, option->maximum);
        else if (option->type == CONFIG_TYPE_NUMBER)
            fprintf(out, "%g..%g, ", option->minimum, option->maximum);
        else if (option->type == CONFIG_TYPE_BOOL)
            fputs("true or false, ", out);
        if (option->default_text != NULL)
            fprintf(out, "default %s\n", option->default_text);
        else
            fputs("not set by default\n", out);
    }
}

static int
set_failpoints(const struct config *config, struct error *err)
{
#ifdef KRONOSQ_DEBUG
    return failpoint_setup(config_text(config, CONFIG_FAIL), err);
#else
    (void)config;
    (void)err;
    return 0;
#endif
}

/* What --check looks at beyond the values themselves: the password must be readable. */
static int
check_redis(const struct config *config, struct error *err)
{
    struct redis_settings settings;
    int status = redis_settings_parse(&settings, config_text(config, CONFIG_REDIS_URL),
        config_text(config, CONFIG_REDIS_PASSWORD_FILE), err);

    redis_settings_clear(&settings);
    return status;
}

int
config_start(struct config **config, enum config_daemon daemon, int argc, char *const argv[],
    char *const environment[])
{
    return config_start_checked(config, daemon, argc, argv, environment, NULL);
}

int
config_start_checked(struct config **config, enum config_daemon daemon, int argc,
    char *const argv[], char *const environment[], config_check_fn check)
{
    const char *logger = logger_name(daemon), *retired;
    enum config_action action;
    struct error err;

    if (config_load(config, daemon, argc, argv, environment, &action, &err) == -1) {
        log_error(logger, err.text);
        return CONFIG_EXIT_STATUS;
    }
    log_set_level(config_level(*config, CONFIG_LOG_LEVEL));
    for (unsigned i = 0; (retired = config_retired(*config, i)) != NULL; i++)
        log_warning(
            logger, "this setting is retired and has no effect", LOG_TEXT("setting", retired));
    switch (action) {
    case CONFIG_HELP:
        config_help(daemon, stdout);
        break;
    case CONFIG_VERSION:
        printf("%s %s\n", config_daemon_name(daemon), KRONOSQ_VERSION);
        break;
    case CONFIG_PRINT:
        config_print(*config, stdout);
        break;
    case CONFIG_CHECK:
    case CONFIG_RUN:
        if (check_redis(*config, &err) == -1 || (check != NULL && check(*config, &err) == -1) ||
            set_failpoints(*config, &err) == -1) {
            log_error(logger, err.text);
            config_free(*config);
            *config = NULL;
            return CONFIG_EXIT_STATUS;
        }
        if (action == CONFIG_RUN)
            return CONFIG_START_RUN;
        break;
    }
    config_free(*config);
    *config = NULL;
    return 0;
}
