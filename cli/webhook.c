/*
 * webhook.c - `kronosq webhook`: try a receiver, or send the last event of a task again.
 */
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/command.h"

#define TIMEOUT_SECONDS 15
#define CELL            160
#define PATH_MAX_BYTES  256

static int
ping(const char *server, const char *url)
{
    cJSON *request = cJSON_CreateObject();
    struct error err = {0};
    struct http_reply reply;
    char id[CELL], *body;
    int status = 1;

    if (request == NULL || cJSON_AddStringToObject(request, "url", url) == NULL ||
        (body = cJSON_PrintUnformatted(request)) == NULL) {
        cJSON_Delete(request);
        error_set(&err, ERR_MEMORY, "out of memory");
        return command_fail(&err);
    }
    cJSON_Delete(request);
    if (http_exchange(server, "POST", "/v1/webhooks/ping", body, TIMEOUT_SECONDS, &reply, &err) ==
        -1) {
        status = command_fail(&err);
    } else if (reply.status / 100 != 2) {
        (void)http_reply_error(&reply, &err);
        status = command_fail(&err);
        http_reply_clear(&reply);
    } else {
        printf("test.ping is sent, once: %s\n", ask_text(reply.body, "event_id", id, CELL));
        http_reply_clear(&reply);
        status = 0;
    }
    cJSON_free(body);
    return status;
}

static int
run_webhook(const char *server, int argc, char *argv[])
{
    char path[PATH_MAX_BYTES];

    if (argc == 3 && strcmp(argv[1], "ping") == 0)
        return ping(server, argv[2]);
    if (argc != 3 || strcmp(argv[1], "replay") != 0) {
        fprintf(stderr, "usage: kronosq webhook ping URL | replay ID\n");
        return COMMAND_USAGE_STATUS;
    }
    if (!ask_path_fits(argv[2]))
        return COMMAND_USAGE_STATUS;
    snprintf(path, sizeof(path), "/v1/tasks/%s/webhook/replay", argv[2]);
    return ask_to_do(server, "POST", path, "its last event is sent again");
}

const struct command webhook_command = {
    .name = "webhook",
    .arguments = "ping URL | replay ID",
    .summary = "try a receiver; send a task's last event again",
    .run = run_webhook,
};
