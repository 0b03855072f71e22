/*
 * ask.h - What commands that show or change something have in common.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "cli/http.h"

/** ask(server, method, path, reply): 0 for a 2xx: http_reply_clear() it; else said why, exit status 1. */
int ask(const char *server, const char *method, const char *path, struct http_reply *reply);

/** ask_to_do(server, method, path, done): ask, print ${done} when it was done; exit status. */
int ask_to_do(const char *server, const char *method, const char *path, const char *done);

/** ask_path_fits(text): is it letters, digits and "-._" only, at most 64 of them? Else says so. */
bool ask_path_fits(const char *text);

/** ask_text(object, name, text, size): member ${name}, fit for a terminal; "-" where there is none. */
const char *ask_text(const cJSON *object, const char *name, char *text, size_t size);

/** ask_number(object, name, decimals, text, size): the same of a number. */
const char *ask_number(
    const cJSON *object, const char *name, int decimals, char *text, size_t size);

#endif /* CLI_ASK_H */
