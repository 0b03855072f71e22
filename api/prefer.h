/*
 * prefer.h - The Prefer header (RFC 7240): how long a client is willing to wait.
 */
#ifndef API_PREFER_H
#define API_PREFER_H

#include <stdbool.h>

#define PREFER_WAIT_MAX_SECONDS 60 /* longer waits are this long */

struct prefer {
    bool respond_async;
    bool has_wait;
    int wait_seconds; /* 0..PREFER_WAIT_MAX_SECONDS */
};

/**
 * prefer_read(value, prefer):
 * Add what one header line says; call it for each line, ${prefer} zeroed before the first.
 * Malformed and unknown preferences are ignored; of a repeated one the first counts.
 */
void prefer_read(const char *value, struct prefer *prefer);

#define PREFER_APPLIED_MAX 32
/** prefer_applied(prefer, text): the value of Preference-Applied, false if nothing was. */
bool prefer_applied(const struct prefer *prefer, char *text);

#endif /* API_PREFER_H */
