/*
 * redis_handshake.c - The commands that open a connection, and their answers.
 *
 * Does no I/O. ROLE comes before anything is trusted: a replica would take reads
 * and answer with the past. PING comes before both: a Redis that still loads its data
 * says that it is a master and that its AOF is off.
 */
#include "common/redis_handshake.h"

#include <stdio.h>
#include <string.h>

#define RUN_ID_LEN 40

void
redis_handshake_command(enum redis_handshake_step step, const struct redis_settings *s,
    const char *name, struct redis_handshake_command *command)
{
    int n = 0;

    switch (step) {
    case REDIS_HANDSHAKE_AUTH:
        if (s->password[0] == '\0' && s->user[0] == '\0')
            break;
        command->argv[n++] = "AUTH";
        if (s->user[0] != '\0')
            command->argv[n++] = s->user;
        command->argv[n++] = s->password;
        break;
    case REDIS_HANDSHAKE_SELECT:
        if (s->database == 0)
            break;
        snprintf(command->number, sizeof(command->number), "%d", s->database);
        command->argv[n++] = "SELECT";
        command->argv[n++] = command->number;
        break;
    case REDIS_HANDSHAKE_NAME:
        command->argv[n++] = "CLIENT";
        command->argv[n++] = "SETNAME";
        command->argv[n++] = name;
        break;
    case REDIS_HANDSHAKE_PING:
        command->argv[n++] = "PING";
        break;
    case REDIS_HANDSHAKE_ROLE:
        command->argv[n++] = "ROLE";
        break;
    case REDIS_HANDSHAKE_RUN_ID:
        command->argv[n++] = "INFO";
        command->argv[n++] = "server";
        break;
    case REDIS_HANDSHAKE_STEPS:
        break;
    }
    command->argc = n;
}

static int
starts_with(const redisReply *reply, const char *word)
{
    size_t len = strlen(word);

    return reply->len >= len && memcmp(reply->str, word, len) == 0;
}

static int
check_role(const redisReply *reply, const char *where, struct error *err)
{
    const redisReply *role;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 ||
        reply->element[0]->type != REDIS_REPLY_STRING)
        return error_set(err, ERR_UNAVAILABLE, "Redis at %s: ROLE answered no role", where);
    role = reply->element[0];
    if (role->len != 6 || memcmp(role->str, "master", 6) != 0)
        return error_set(
            err, ERR_UNAVAILABLE, "Redis at %s is a %.16s, not the master", where, role->str);
    return 0;
}

int
redis_handshake_check(enum redis_handshake_step step, const redisReply *reply,
    const struct redis_settings *s, struct error *err)
{
    static const char *const names[] = {"AUTH", "SELECT", "CLIENT SETNAME", "PING", "ROLE", "INFO"};
    char where[REDIS_DESCRIBE_MAX], run_id[RUN_ID_LEN + 1];

    redis_settings_describe(s, where, sizeof(where));
    if (reply == NULL)
        return error_set(err, ERR_UNAVAILABLE, "Redis at %s: no answer to %s", where, names[step]);
    if (reply->type == REDIS_REPLY_ERROR) {
        /* The name is for people who read CLIENT LIST; a user may lack the right to set it. */
        if (step == REDIS_HANDSHAKE_NAME && starts_with(reply, "NOPERM"))
            return 0;
        return error_set(err,
            step == REDIS_HANDSHAKE_AUTH || step == REDIS_HANDSHAKE_SELECT ||
                    starts_with(reply, "NOAUTH") || starts_with(reply, "NOPERM")
                ? ERR_INVALID
                : ERR_UNAVAILABLE,
            "Redis at %s: %s: %.120s", where, names[step], reply->str);
    }
    if (step == REDIS_HANDSHAKE_ROLE)
        return check_role(reply, where, err);
    if (step == REDIS_HANDSHAKE_RUN_ID)
        return redis_handshake_run_id(reply, run_id, err);
    return 0;
}

int
redis_info_field(const redisReply *reply, const char *name, char *value, size_t size)
{
    size_t name_len = strlen(name);
    const char *line, *end;

    if (reply->type != REDIS_REPLY_STRING)
        return -1;
    line = reply->str;
    end = reply->str + reply->len;
    while (line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((stop != NULL ? stop : end) - line);

        if (len > name_len && memcmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *text = line + name_len + 1;
            size_t text_len = len - name_len - 1;

            if (text_len > 0 && text[text_len - 1] == '\r')
                text_len--;
            if (text_len >= size)
                return -1;
            memcpy(value, text, text_len);
            value[text_len] = '\0';
            return 0;
        }
        line += len + 1;
    }
    return -1;
}

int
redis_handshake_run_id(const redisReply *reply, char *id, struct error *err)
{
    char text[RUN_ID_LEN + 1];

    if (redis_info_field(reply, "run_id", text, sizeof(text)) == -1 || strlen(text) != RUN_ID_LEN ||
        strspn(text, "0123456789abcdef") != RUN_ID_LEN)
        return error_set(err, ERR_UNAVAILABLE, "Redis: INFO server has no run_id");
    memcpy(id, text, sizeof(text));
    return 0;
}
