/*
 * ask.c - What commands that show or change something have in common.
 */
#include "cli/ask.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"

#define TIMEOUT_SECONDS 15
#define NAME_MAX_BYTES  64

int
ask(const char *server, const char *method, const char *path, struct http_reply *reply)
{
    struct error err = {0};

    if (http_exchange(server, method, path, NULL, TIMEOUT_SECONDS, reply, &err) == -1)
        return command_fail(&err);
    if (reply->status / 100 == 2)
        return 0;
    (void)http_reply_error(reply, &err);
    http_reply_clear(reply);
    return command_fail(&err);
}

int
ask_to_do(const char *server, const char *method, const char *path, const char *done)
{
    struct http_reply reply;

    if (ask(server, method, path, &reply) != 0)
        return 1;
    puts(done);
    http_reply_clear(&reply);
    return 0;
}

bool
ask_path_fits(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '-' || c == '.' || c == '_'))
            len = NAME_MAX_BYTES + 1;
    }
    if (len >= 1 && len <= NAME_MAX_BYTES && text[0] != '-' && text[0] != '.')
        return true;
    fprintf(stderr, "kronosq: '%.80s' names nothing\n", text);
    return false;
}

const char *
ask_text(const cJSON *object, const char *name, char *text, size_t size)
{
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

    snprintf(text, size, "%s", value != NULL && *value != '\0' ? value : "-");
    for (char *c = text; *c != '\0'; c++) /* what a server says must not move the cursor */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return text;
}

const char *
ask_number(const cJSON *object, const char *name, int decimals, char *text, size_t size)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

    if (cJSON_IsNumber(value))
        snprintf(text, size, "%.*f", decimals, value->valuedouble);
    else
        snprintf(text, size, "-");
    return text;
}
