/*
 * reload.h - What a HUP reads again.
 */
#ifndef API_RELOAD_H
#define API_RELOAD_H

#include "api/server.h"

/**
 * reload_settings(server, config, argc, argv): log level, limits, rates and lists of networks, from
 * the sources of the start; ${config} is the server's. One bad value, and all old ones stay.
 */
void reload_settings(struct server *server, struct config *config, int argc, char *const argv[]);

/** reload_keys(server): the keys file. A bad one is logged, and the old keys stay. */
void reload_keys(struct server *server);

#endif /* API_RELOAD_H */
