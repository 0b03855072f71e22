/*
 * webhook_rules.h - What the settings say of receivers, for whoever judges one.
 *
 * The API judges at the submit, so that a client hears of it; the webhook daemon judges again
 * before it connects. Both by the same settings.
 */
#ifndef COMMON_WEBHOOK_RULES_H
#define COMMON_WEBHOOK_RULES_H

#include "common/config.h"
#include "common/webhook_url.h"

struct webhook_rules {
    struct webhook_url_rules url; /* points to allow, and into the config */
    struct cidr_list allow;
};

/** webhook_rules_read(rules, config, err): ERR_INVALID names the setting. ${rules} must stay where it is. */
int webhook_rules_read(struct webhook_rules *rules, const struct config *config, struct error *err);
void webhook_rules_clear(struct webhook_rules *rules);

#endif /* COMMON_WEBHOOK_RULES_H */
