/*
 * settings.c - From the configuration's values to the daemon's.
 *
 * Ranges of single values are checked by common/config.c; here is what needs two of them or a file.
 */
#include "webhook/settings.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* It begins result URLs: absolute, without query or fragment, short enough to leave room. */
static int
check_public_url(const char *url, struct error *err)
{
    if (url == NULL)
        return 0;
    if (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0)
        return error_set(err, ERR_INVALID, "KRONOS_PUBLIC_URL must begin with https:// or http://");
    if (strlen(url) > WEBHOOK_URL_MAX || strpbrk(url, "?# \"\\") != NULL)
        return error_set(err, ERR_INVALID,
            "KRONOS_PUBLIC_URL has a query, a fragment, a space, or more than %d bytes",
            WEBHOOK_URL_MAX);
    for (const char *at = url; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            return error_set(err, ERR_INVALID, "KRONOS_PUBLIC_URL must be ASCII");
    return 0;
}

/* libcurl reads it at a handshake, when nobody looks any more: it must be good now. */
static int
check_ca_file(const char *path, struct error *err)
{
    X509_STORE *store;
    bool is_good;

    if (path == NULL)
        return 0;
    if (access(path, R_OK) == -1)
        return error_set(err, ERR_INVALID, "KRONOS_WEBHOOK_CA_FILE: %.150s cannot be read", path);
    if ((store = X509_STORE_new()) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    is_good = X509_STORE_load_file(store, path) == 1;
    X509_STORE_free(store);
    ERR_clear_error();
    return is_good ? 0
                   : error_set(err, ERR_INVALID,
                         "KRONOS_WEBHOOK_CA_FILE: %.150s does not hold certificates in PEM alone",
                         path);
}

int
webhook_settings_read(struct webhook_settings *s, const struct config *config, struct error *err)
{
    const char *ca_file = config_text(config, CONFIG_WEBHOOK_CA_FILE);

    *s = (struct webhook_settings){
        .secret_file = config_text(config, CONFIG_WEBHOOK_SECRET_FILE),
        .public_url = config_text(config, CONFIG_PUBLIC_URL),
        .default_model = config_text(config, CONFIG_DEFAULT_MODEL),
        .print_secret = config_text(config, CONFIG_PRINT_SECRET),
        .retry_scale = config_number(config, CONFIG_RETRY_SCALE),
        .allow_volatile = config_bool(config, CONFIG_ALLOW_VOLATILE),
        .hosts =
            {
                .per_host = (size_t)config_integer(config, CONFIG_WEBHOOK_PER_HOST),
                .total = (size_t)config_integer(config, CONFIG_WEBHOOK_CONCURRENCY),
            },
    };
    s->hosts.rest_ms = (int64_t)(HOSTS_REST_MS * s->retry_scale);
    if (s->hosts.rest_ms < 1)
        s->hosts.rest_ms = 1;
    s->deliver = (struct deliver_settings){
        .rules = &s->rules.url,
        .ca_file = ca_file,
        .timeout_ms = config_integer(config, CONFIG_WEBHOOK_TIMEOUT) * 1000,
        .connect_timeout_ms = config_integer(config, CONFIG_WEBHOOK_CONNECT_TIMEOUT) * 1000,
        .total = s->hosts.total,
        .per_host = s->hosts.per_host,
    };
    if (s->secret_file == NULL)
        return error_set(err, ERR_INVALID,
            "KRONOS_WEBHOOK_SECRET_FILE is not set: without a master secret nothing can be signed");
    if (check_ca_file(ca_file, err) == -1 || check_public_url(s->public_url, err) == -1 ||
        webhook_rules_read(&s->rules, config, err) == -1 ||
        sign_masters_read(&s->masters, s->secret_file, err) == -1)
        return -1;
    return redis_settings_parse(&s->redis, config_text(config, CONFIG_REDIS_URL),
        config_text(config, CONFIG_REDIS_PASSWORD_FILE), err);
}

void
webhook_settings_clear(struct webhook_settings *s)
{
    webhook_rules_clear(&s->rules);
    sign_masters_clear(&s->masters);
    redis_settings_clear(&s->redis);
}
