/*
 * queues.c - `kronosq queues`: what waits; pause and resume dispatch.
 */
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/command.h"

#define CELL           80
#define PATH_MAX_BYTES 256

static int
show(const char *server)
{
    char model[CELL], priority[CELL], depth[CELL], kib[CELL], oldest[CELL], backlog[CELL];
    struct http_reply reply;
    const cJSON *q;

    if (ask(server, "GET", "/v1/queues", &reply) != 0)
        return 1;
    printf("%-24s %-8s %8s %12s %10s %10s  %s\n", "model", "priority", "depth", "bytes", "oldest s",
        "backlog s", "state");
    cJSON_ArrayForEach(q, cJSON_GetObjectItemCaseSensitive(reply.body, "queues"))
    {
        bool is_paused = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(q, "paused"));
        bool is_draining = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(q, "draining"));

        printf("%-24s %-8s %8s %12s %10s %10s  %s%s%s\n", ask_text(q, "model", model, CELL),
            ask_text(q, "priority", priority, CELL), ask_number(q, "depth", 0, depth, CELL),
            ask_number(q, "bytes", 0, kib, CELL),
            ask_number(q, "oldest_age_seconds", 1, oldest, CELL),
            ask_number(q, "backlog_seconds", 1, backlog, CELL), is_paused ? "paused" : "",
            is_paused && is_draining ? ", " : "",
            is_draining ? "draining"
            : is_paused ? ""
                        : "open");
    }
    http_reply_clear(&reply);
    return 0;
}

static int
run_queues(const char *server, int argc, char *argv[])
{
    char path[PATH_MAX_BYTES];
    const char *priority = argc == 4 ? argv[3] : "all";

    if (argc == 1)
        return show(server);
    if ((argc != 3 && argc != 4) ||
        (strcmp(argv[1], "pause") != 0 && strcmp(argv[1], "resume") != 0)) {
        fprintf(stderr, "usage: kronosq queues [pause|resume MODEL [urgent|normal|low]]\n");
        return COMMAND_USAGE_STATUS;
    }
    if (!ask_path_fits(argv[2]) || !ask_path_fits(priority))
        return COMMAND_USAGE_STATUS;
    snprintf(path, sizeof(path), "/v1/queues/%s/%s/%s", argv[2], priority, argv[1]);
    return ask_to_do(server, "POST", path, argv[1][0] == 'p' ? "paused" : "resumed");
}

const struct command queues_command = {
    .name = "queues",
    .arguments = "[pause|resume MODEL]",
    .summary = "what waits; stop dispatch, dispatch again",
    .run = run_queues,
};
