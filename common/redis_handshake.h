/*
 * redis_handshake.h - What every connection says before it is used.
 *
 * AUTH, SELECT, CLIENT SETNAME, PING, ROLE, INFO server: the commands and what their
 * answers mean, once for the blocking connections (redis.c) and the evented ones
 * (redis_link.c). Sends nothing itself.
 */
#ifndef COMMON_REDIS_HANDSHAKE_H
#define COMMON_REDIS_HANDSHAKE_H

#include <hiredis/hiredis.h>

#include "common/error.h"
#include "common/redis.h"

enum redis_handshake_step {
    REDIS_HANDSHAKE_AUTH,
    REDIS_HANDSHAKE_SELECT,
    REDIS_HANDSHAKE_NAME,
    REDIS_HANDSHAKE_PING, /* refused while Redis loads its data; ROLE and INFO are not */
    REDIS_HANDSHAKE_ROLE,
    REDIS_HANDSHAKE_RUN_ID, /* INFO server; redis_handshake_run_id() reads the answer */
    REDIS_HANDSHAKE_STEPS
};

struct redis_handshake_command {
    const char *argv[3]; /* borrowed from the settings, the name and ${number} */
    int argc;            /* 0: this step has nothing to send */
    char number[16];
};

void redis_handshake_command(enum redis_handshake_step step, const struct redis_settings *s,
    const char *name, struct redis_handshake_command *command);

/**
 * redis_handshake_check(step, reply, s, err): may the next step follow? -1 with ERR_INVALID
 * when the settings are wrong, ERR_UNAVAILABLE when another try may go better. ${reply} may
 * be NULL.
 */
int redis_handshake_check(enum redis_handshake_step step, const redisReply *reply,
    const struct redis_settings *s, struct error *err);

/** redis_handshake_run_id(reply, id, err): 40 hex digits of an INFO answer into ${id} [41]. */
int redis_handshake_run_id(const redisReply *reply, char *id, struct error *err);

/** redis_info_field(reply, name, value, size): a line of an INFO answer; -1 if it is not there. */
int redis_info_field(const redisReply *reply, const char *name, char *value, size_t size);

#endif /* COMMON_REDIS_HANDSHAKE_H */
