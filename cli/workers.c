/*
 * workers.c - `kronosq workers`: who works; let one finish, let it work again.
 */
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/command.h"

#define CELL           80
#define PATH_MAX_BYTES 256
#define BYTES_PER_MIB  (1024.0 * 1024)

static int
show(const char *server)
{
    char id[CELL], model[CELL], state[CELL], host[CELL], pid[CELL], slots[CELL], busy[CELL],
        tasks[CELL], done[CELL], failed[CELL], version[CELL], weights[CELL], model_version[CELL];
    struct http_reply reply;
    const cJSON *w;

    if (ask(server, "GET", "/v1/workers", &reply) != 0)
        return 1;
    printf("%-36s %-5s %8s %5s %5s %7s %6s %6s %-8s %-12s %s\n", "worker", "state", "pid", "slots",
        "tasks", "done", "failed", "MiB", "version", "weights", "model, its version, host");
    cJSON_ArrayForEach(w, cJSON_GetObjectItemCaseSensitive(reply.body, "workers"))
    {
        double rss = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(w, "rss_bytes"));

        ask_number(w, "slots_busy", 0, busy, CELL);
        printf("%-36s %-5s %8s %2s/%-2s %5s %7s %6s %6.0f %-8s %-12.12s %s, %s, %s\n",
            ask_text(w, "worker_id", id, CELL), ask_text(w, "state", state, CELL),
            ask_number(w, "pid", 0, pid, CELL), busy, ask_number(w, "slots", 0, slots, CELL),
            ask_number(w, "tasks", 0, tasks, CELL), ask_number(w, "done", 0, done, CELL),
            ask_number(w, "failed", 0, failed, CELL), rss / BYTES_PER_MIB,
            ask_text(w, "version", version, CELL), ask_text(w, "weights_sha256", weights, CELL),
            ask_text(w, "model", model, CELL), ask_text(w, "model_version", model_version, CELL),
            ask_text(w, "host", host, CELL));
    }
    http_reply_clear(&reply);
    return 0;
}

static int
run_workers(const char *server, int argc, char *argv[])
{
    char path[PATH_MAX_BYTES];

    if (argc == 1)
        return show(server);
    if (argc != 3 || (strcmp(argv[1], "quiet") != 0 && strcmp(argv[1], "resume") != 0)) {
        fprintf(stderr, "usage: kronosq workers [quiet|resume WORKER]\n");
        return COMMAND_USAGE_STATUS;
    }
    if (!ask_path_fits(argv[2]))
        return COMMAND_USAGE_STATUS;
    snprintf(path, sizeof(path), "/v1/workers/%s/%s", argv[2], argv[1]);
    return ask_to_do(server, "POST", path,
        argv[1][0] == 'q' ? "it finishes what it holds and takes nothing new" : "it works again");
}

const struct command workers_command = {
    .name = "workers",
    .arguments = "[quiet|resume WORKER]",
    .summary = "who works; let one finish what it holds",
    .run = run_workers,
};
