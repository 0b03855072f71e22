/*
 * webhook_rules.c - What the settings say of receivers.
 */
#include "common/webhook_rules.h"

int
webhook_rules_read(struct webhook_rules *rules, const struct config *config, struct error *err)
{
    const char *networks = config_text(config, CONFIG_WEBHOOK_ALLOW_CIDR);
    struct error why;

    *rules = (struct webhook_rules){
        .url =
            {
                .allow_http = config_bool(config, CONFIG_WEBHOOK_ALLOW_HTTP),
                .ports = config_text(config, CONFIG_WEBHOOK_PORTS),
                .allow = &rules->allow,
            },
    };
    if (webhook_ports_check(rules->url.ports, err) == -1)
        return -1;
    if (networks != NULL && cidr_list_parse(networks, &rules->allow, &why) == -1)
        return error_set(err, ERR_INVALID, "KRONOS_WEBHOOK_ALLOW_CIDR: %s", why.text);
    return 0;
}

void
webhook_rules_clear(struct webhook_rules *rules)
{
    cidr_list_clear(&rules->allow);
}
