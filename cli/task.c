/*
 * task.c - `kronosq task ID`, `cancel ID` and `health`: what the server says, as JSON.
 */
#include "cli/command.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http.h"

#define TIMEOUT_SECONDS 15
#define TASK_PATH_MAX   256

/* Ask for ${path} and print the document; exit status 0 for a 2xx. */
static int
show(const char *server, const char *method, const char *path)
{
    struct http_reply reply;
    struct error err = {0};
    int status = 1;
    char *text;

    if (http_exchange(server, method, path, NULL, TIMEOUT_SECONDS, &reply, &err) == -1)
        return command_fail(&err);
    if (reply.body != NULL && (text = cJSON_Print(reply.body)) != NULL) {
        puts(text);
        cJSON_free(text);
        status = reply.status / 100 == 2 ? 0 : 1;
    } else {
        fprintf(stderr, "kronosq: the server answered %ld without a document\n", reply.status);
    }
    http_reply_clear(&reply);
    return status;
}

static int
ask_of_task(const char *server, int argc, char *argv[], const char *method, const char *part)
{
    char path[TASK_PATH_MAX];

    if (argc != 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: kronosq %s ID\n", argv[0]);
        return COMMAND_USAGE_STATUS;
    }
    /* Ids are letters, digits and hyphens: nothing to escape, and nothing else is sent. */
    if (argv[1][strspn(argv[1], "0123456789abcdefABCDEF-")] != '\0' || strlen(argv[1]) > 64) {
        fprintf(stderr, "kronosq: '%.80s' is no task id\n", argv[1]);
        return COMMAND_USAGE_STATUS;
    }
    snprintf(path, sizeof(path), "/v1/tasks/%s%s", argv[1], part);
    return show(server, method, path);
}

static int
run_task(const char *server, int argc, char *argv[])
{
    return ask_of_task(server, argc, argv, "GET", "");
}

static int
run_cancel(const char *server, int argc, char *argv[])
{
    return ask_of_task(server, argc, argv, "POST", "/cancel");
}

static int
run_health(const char *server, int argc, char *argv[])
{
    (void)argv;
    if (argc != 1) {
        fprintf(stderr, "usage: kronosq health\n");
        return COMMAND_USAGE_STATUS;
    }
    return show(server, "GET", "/v1/readyz");
}

const struct command task_command = {
    .name = "task",
    .arguments = "ID",
    .summary = "show a task's document",
    .run = run_task,
};

const struct command cancel_command = {
    .name = "cancel",
    .arguments = "ID",
    .summary = "stop a task; shows its document",
    .run = run_cancel,
};

const struct command health_command = {
    .name = "health",
    .arguments = "",
    .summary = "is Redis there, and a worker? exit status 0 when ready",
    .run = run_health,
};
