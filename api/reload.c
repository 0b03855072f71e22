/*
 * reload.c - What a HUP reads again.
 *
 * Environment and flags of a process do not change, so new values come from the --config file
 * alone. What cannot follow, because something was built from it, is named in the log.
 */
#include "api/reload.h"

#include <unistd.h>

#include "api/keys.h"
#include "api/streams.h"
#include "api/wait.h"
#include "common/log.h"

extern char **environ;

/* Read at every use, or handed on below. */
static const enum config_id followed[] = {CONFIG_LOG_LEVEL, CONFIG_QUEUE_MAX_TASKS,
    CONFIG_QUEUE_MAX_MB, CONFIG_MAX_REQUEST_SIZE_MB, CONFIG_HEADER_TIMEOUT, CONFIG_BODY_TIMEOUT,
    CONFIG_IDLE_TIMEOUT, CONFIG_MAX_CONNECTIONS, CONFIG_MAX_CONNECTIONS_PER_PEER,
    CONFIG_MAX_WAITERS, CONFIG_RATE_LIMIT_ENABLED, CONFIG_RATE_LIMIT_PER_MINUTE, CONFIG_PEER_ALLOW,
    CONFIG_TRUSTED_PROXIES};

static bool
is_followed(enum config_id id)
{
    for (size_t i = 0; i < sizeof(followed) / sizeof(followed[0]); i++)
        if (followed[i] == id)
            return true;
    return false;
}

void
reload_settings(struct server *server, struct config *config, int argc, char *const argv[])
{
    enum config_action action;
    struct config *fresh = NULL;
    struct error err;

    if (config_load(&fresh, CONFIG_API, argc, argv, environ, &action, &err) == -1 ||
        peers_read(fresh, &server->peers, &err) == -1) {
        log_error("api.reload", "HUP: the old settings stay", LOG_TEXT("error_message", err.text));
        config_free(fresh);
        return;
    }
    for (int id = 0; id < CONFIG_COUNT; id++) {
        if (is_followed((enum config_id)id))
            config_take(config, fresh, (enum config_id)id);
        else if (config_differs(config, fresh, (enum config_id)id))
            log_warning("api.reload", "HUP: this setting has changed and needs a restart",
                LOG_TEXT("setting", config_setting_name((enum config_id)id)));
    }
    config_free(fresh);
    log_set_level(config_level(config, CONFIG_LOG_LEVEL));
    server_limit(server);
    waiters_limit(server->waiters, (size_t)config_integer(config, CONFIG_MAX_WAITERS));
    streams_limit(server->streams, (size_t)config_integer(config, CONFIG_MAX_STREAMS));
    log_info("api.reload", "HUP: settings read again",
        LOG_TEXT("log_level", config_text(config, CONFIG_LOG_LEVEL)));
}

void
reload_keys(struct server *server)
{
    const char *path = config_text(server->config, CONFIG_KEYS_FILE);
    struct keys *fresh;
    struct error err;

    if (path == NULL)
        return;
    if ((fresh = keys_load(path, &err)) == NULL) {
        log_error("api.reload", "HUP: the old keys stay", LOG_TEXT("error_message", err.text));
        return;
    }
    keys_free(server->keys);
    server->keys = fresh;
    log_info("api.reload", "HUP: keys read again", LOG_INT("keys", keys_count(fresh)));
}
