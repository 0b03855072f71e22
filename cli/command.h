/*
 * command.h - What every command of `kronosq` gets and owes.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "common/error.h"

#define COMMAND_USAGE_STATUS 2 /* exit status of a wrong call */

struct command {
    const char *name;
    const char *arguments; /* "FILE.csv [options]" */
    const char *summary;   /* one line */
    /* Returns an exit status. ${argv}[0] is the command's name. */
    int (*run)(const char *server, int argc, char *argv[]);
};

extern const struct command forecast_command;
extern const struct command task_command;
extern const struct command cancel_command;
extern const struct command health_command;
extern const struct command queues_command;
extern const struct command workers_command;
extern const struct command dead_command;
extern const struct command webhook_command;
extern const struct command key_command;

/** command_fail(err): print the error, return exit status 1. */
int command_fail(const struct error *err);

#endif /* CLI_COMMAND_H */
