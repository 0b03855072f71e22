/*
 * settings.h - The configuration's values as the daemon uses them.
 */
#ifndef WEBHOOK_SETTINGS_H
#define WEBHOOK_SETTINGS_H

#include "common/config.h"
#include "common/redis.h"
#include "common/webhook_rules.h"
#include "webhook/deliver.h"
#include "webhook/hosts.h"
#include "webhook/sign.h"

struct webhook_settings { /* points into the config */
    struct redis_settings redis;
    struct webhook_rules rules;
    struct sign_masters masters;
    struct deliver_settings deliver;
    struct hosts_limits hosts;
    const char *secret_file, *public_url, *default_model, *print_secret;
    double retry_scale;
    bool allow_volatile;
};

/** webhook_settings_read(s, config, err): ERR_INVALID names the setting. ${s} must stay where it is. */
int webhook_settings_read(
    struct webhook_settings *s, const struct config *config, struct error *err);
void webhook_settings_clear(struct webhook_settings *s);

#endif /* WEBHOOK_SETTINGS_H */
