/*
 * key.c - `kronosq key new NAME`: a new API key, and its line for the keys file.
 *
 * Asks no server: the key is made here and kept nowhere. Standard output has two lines, the key
 * and the line; what they are is said on standard error.
 */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "common/api_key.h"

#define WRITTEN_MAX 512 /* bytes of what was asked for, as a line */

static int
usage(FILE *out, int status)
{
    fprintf(out,
        "usage: kronosq key new NAME [options]\n\n"
        "  --scopes LIST       some of submit,read,admin (which has all); default submit,read\n"
        "  --priority NAME     the most urgent priority it may ask for: urgent, normal or low;\n"
        "                      default normal\n"
        "  --rate N            submits per minute; 0 no limit, - the server's; default -\n\n"
        "Prints the key, which nothing can show again, and the line for KRONOS_KEYS_FILE.\n");
    return status;
}

/* What was asked for goes through the reader of the keys file, so that it takes what we print. */
static int
read_wishes(int argc, char *argv[], struct api_key *key, struct error *err)
{
    const char *scopes = "submit,read", *priority = "normal", *rate = "-";
    char line[WRITTEN_MAX], digits[2 * API_KEY_DIGEST_BYTES + 1];

    for (int i = 3; i < argc; i += 2) {
        const char **value = strcmp(argv[i], "--scopes") == 0     ? &scopes
                             : strcmp(argv[i], "--priority") == 0 ? &priority
                             : strcmp(argv[i], "--rate") == 0     ? &rate
                                                                  : NULL;

        if (value == NULL)
            return error_set(err, ERR_INVALID, "%.60s is not an option of key new", argv[i]);
        if (i + 1 == argc)
            return error_set(err, ERR_INVALID, "%s needs a value", argv[i]);
        *value = argv[i + 1];
    }
    memset(digits, '0', sizeof(digits) - 1);
    digits[sizeof(digits) - 1] = '\0';
    if ((size_t)snprintf(line, sizeof(line), "%s %s %s %s %s", argv[2], digits, scopes, priority,
            rate) >= sizeof(line))
        return error_set(err, ERR_INVALID, "the name or an option is too long");
    switch (api_key_parse(line, strlen(line), key, err)) {
    case 1:
        return 0;
    case 0:
        return error_set(err, ERR_INVALID, "the name is empty");
    default:
        return -1;
    }
}

static int
run_key(const char *server, int argc, char *argv[])
{
    char text[API_KEY_NEW_MAX], line[API_KEY_LINE_MAX];
    struct api_key key;
    struct error err;

    (void)server;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return usage(stdout, 0);
    if (argc < 3 || strcmp(argv[1], "new") != 0)
        return usage(stderr, COMMAND_USAGE_STATUS);
    if (read_wishes(argc, argv, &key, &err) == -1) {
        command_fail(&err);
        return COMMAND_USAGE_STATUS;
    }
    if (api_key_new(text, &err) == -1 || api_key_digest(text, strlen(text), key.digest, &err) == -1)
        return command_fail(&err);
    api_key_write(&key, line);
    fprintf(stderr, "The key of %s, shown this once, and its line for the keys file:\n", key.name);
    printf("%s\n%s\n", text, line);
    explicit_bzero(text, sizeof(text));
    return 0;
}

const struct command key_command = {
    .name = "key",
    .arguments = "new NAME [options]",
    .summary = "make an API key and its line for the keys file",
    .run = run_key,
};
