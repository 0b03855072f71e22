/*
 * dead.c - `kronosq dead`: tasks that failed and can run again.
 */
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/command.h"

#define CELL           160
#define PATH_MAX_BYTES 256

static int
show(const char *server)
{
    char id[CELL], model[CELL], finished[CELL], code[CELL], detail[CELL];
    struct http_reply reply;
    const cJSON *task;

    if (ask(server, "GET", "/v1/dead-letters?limit=200", &reply) != 0)
        return 1;
    printf("%-36s %-24s %-24s %-18s %s\n", "task", "failed at", "model", "code", "detail");
    cJSON_ArrayForEach(task, cJSON_GetObjectItemCaseSensitive(reply.body, "tasks"))
    {
        const cJSON *error = cJSON_GetObjectItemCaseSensitive(task, "error");

        printf("%-36s %-24s %-24s %-18s %s\n", ask_text(task, "task_id", id, CELL),
            ask_text(task, "finished_at", finished, CELL), ask_text(task, "model", model, CELL),
            ask_text(error, "code", code, CELL), ask_text(error, "detail", detail, CELL));
    }
    if (cJSON_IsString(cJSON_GetObjectItemCaseSensitive(reply.body, "next_cursor")))
        puts("... and more");
    http_reply_clear(&reply);
    return 0;
}

static int
run_dead(const char *server, int argc, char *argv[])
{
    char path[PATH_MAX_BYTES];

    if (argc == 1)
        return show(server);
    if (argc != 3 || (strcmp(argv[1], "requeue") != 0 && strcmp(argv[1], "delete") != 0)) {
        fprintf(stderr, "usage: kronosq dead [requeue|delete ID]\n");
        return COMMAND_USAGE_STATUS;
    }
    if (!ask_path_fits(argv[2]))
        return COMMAND_USAGE_STATUS;
    snprintf(
        path, sizeof(path), "/v1/dead-letters/%s%s", argv[2], argv[1][0] == 'r' ? "/requeue" : "");
    return argv[1][0] == 'r' ? ask_to_do(server, "POST", path, "queued again")
                             : ask_to_do(server, "DELETE", path, "given up");
}

const struct command dead_command = {
    .name = "dead",
    .arguments = "[requeue|delete ID]",
    .summary = "tasks that failed; run one again, give one up",
    .run = run_dead,
};
