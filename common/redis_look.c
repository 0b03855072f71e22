/*
 * redis_look.c - A first look at Redis, before an evented daemon has a loop to ask it from.
 */
#include "common/redis.h"

#include "common/log.h"

int
redis_look(const struct redis_settings *settings, const char *name, const char *logger,
    bool allow_volatile, bool *is_there, struct error *err)
{
    struct redis_settings quick = *settings;
    redisContext *c;
    int status = 0;

    *err = (struct error){.code = ERR_NONE};
    quick.connect_timeout_ms = quick.command_timeout_ms = REDIS_LOOK_MS;
    if ((c = redis_open(&quick, name, err)) == NULL) {
        if (err->code == ERR_INVALID)
            status = -1;
        else
            log_warning(logger, "Redis does not answer yet: starting without it",
                LOG_TEXT("error_message", err->text));
    } else if (redis_refusal(c, err) == -1 && err->code == ERR_INVALID) {
        if (!allow_volatile)
            status = -1;
        else
            log_warning(logger, "this Redis may lose tasks", LOG_TEXT("error_message", err->text));
    } else if (err->text[0] != '\0') {
        log_warning(logger, "Redis", LOG_TEXT("error_message", err->text));
    }
    *is_there = c != NULL;
    redisFree(c);
    redis_settings_clear(&quick);
    return status;
}
