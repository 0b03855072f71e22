/*
 * main.c - kronosq, the command for people: it speaks HTTP to kronosq-api and nothing else.
 *
 * The table below is the list of commands; each has a file of its own.
 */
#include "cli/command.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http.h"
#include "common/secret_file.h"

#define BLANKS         " \t\r\n"
#define DEFAULT_SERVER "http://127.0.0.1:8000"

static const struct command *const commands[] = {
    &forecast_command,
    &task_command,
    &cancel_command,
    &health_command,
    &queues_command,
    &workers_command,
    &dead_command,
    &webhook_command,
    &key_command,
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
usage(FILE *out)
{
    fprintf(out, "usage: kronosq [--server URL] [--key-file FILE] COMMAND ...\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-9s %-22s %s\n", commands[i]->name, commands[i]->arguments,
            commands[i]->summary);
    fprintf(out,
        "\n  --server URL   where kronosq-api listens; default $KRONOSQ_SERVER or %s\n"
        "  --key-file FILE  whose one line is the API key; without it $KRONOS_API_KEY, if set\n"
        "  --version, --help; `kronosq COMMAND --help` lists a command's options\n",
        DEFAULT_SERVER);
}

int
command_fail(const struct error *err)
{
    fprintf(stderr, "kronosq: %s\n", err->text);
    return 1;
}

/* The key is not taken from the command line, which all users of a machine can see. */
static int
take_key(const char *path, struct error *err)
{
    const char *key = getenv("KRONOS_API_KEY");
    size_t len, begin, end;
    char *text;
    int status;

    if (path == NULL)
        return key != NULL && *key != '\0' ? http_use_key("KRONOS_API_KEY", key, strlen(key), err)
                                           : 0;
    if ((text = secret_file_read(path, &len, err)) == NULL)
        return -1;
    begin = strspn(text, BLANKS);
    for (end = len; end > begin && strchr(BLANKS, text[end - 1]) != NULL;)
        end--;
    status = http_use_key(path, text + begin, end - begin, err);
    secret_file_free(text, len);
    return status;
}

int
main(int argc, char *argv[])
{
    const char *server = getenv("KRONOSQ_SERVER"), *key_file = NULL;
    struct error err;
    int i = 1, status;

    if (server == NULL || *server == '\0')
        server = DEFAULT_SERVER;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--server") == 0 && i + 1 < argc) {
            server = argv[++i];
        } else if (strncmp(argv[i], "--server=", 9) == 0) {
            server = argv[i] + 9;
        } else if (strcmp(argv[i], "--key-file") == 0 && i + 1 < argc) {
            key_file = argv[++i];
        } else if (strncmp(argv[i], "--key-file=", 11) == 0) {
            key_file = argv[i] + 11;
        } else if (strcmp(argv[i], "--version") == 0) {
            puts("kronosq " KRONOSQ_VERSION);
            return 0;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            usage(stdout);
            return 0;
        } else {
            fprintf(stderr, "kronosq: unknown option %s\n", argv[i]);
            usage(stderr);
            return COMMAND_USAGE_STATUS;
        }
    }
    if (i == argc) {
        usage(stderr);
        return COMMAND_USAGE_STATUS;
    }
    for (size_t c = 0; c < N_COMMANDS; c++) {
        if (strcmp(argv[i], commands[c]->name) != 0)
            continue;
        if (commands[c] != &key_command && take_key(key_file, &err) == -1)
            return command_fail(&err);
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
            fprintf(stderr, "kronosq: libcurl cannot start\n");
            return 1;
        }
        status = commands[c]->run(server, argc - i, argv + i);
        curl_global_cleanup();
        http_forget_key();
        return status;
    }
    fprintf(stderr, "kronosq: no command '%s'\n", argv[i]);
    usage(stderr);
    return COMMAND_USAGE_STATUS;
}
