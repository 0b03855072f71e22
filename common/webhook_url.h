/*
 * webhook_url.h - May events be posted to this URL? What can be told without a network.
 *
 * Names are resolved and judged again by whoever connects; here a literal address is judged
 * at once.
 */
#ifndef COMMON_WEBHOOK_URL_H
#define COMMON_WEBHOOK_URL_H

#include <stdbool.h>

#include "common/cidr.h"
#include "common/error.h"

#define WEBHOOK_URL_MAX       2048 /* bytes */
#define WEBHOOK_PORTS_DEFAULT "443,8443"

struct webhook_url_rules {
    bool allow_http;
    const char *ports;             /* "443,8443"; NULL: that */
    const struct cidr_list *allow; /* private networks to allow; NULL: none */
};

/** webhook_url_check(url, rules, reason): 0, or -1 with a static sentence in ${reason}. */
int webhook_url_check(const char *url, const struct webhook_url_rules *rules, const char **reason);

#define WEBHOOK_AUTHORITY_MAX 262 /* bytes of "host:port" */

/** webhook_url_authority(url, text): "hooks.example:443" of a checked ${url}, in lower case. */
void webhook_url_authority(const char *url, char *text);

/** webhook_ports_check(ports, err): are they numbers 1..65535 between commas or spaces? */
int webhook_ports_check(const char *ports, struct error *err);

#endif /* COMMON_WEBHOOK_URL_H */
