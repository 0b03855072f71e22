/*
 * webhook_url.c - Scheme, host, port of a receiver, by one strict reading.
 *
 * Whatever two readers of a URL could understand differently is refused: userinfo, backslashes,
 * spaces, control and non-ASCII bytes, numbers as host names, percent signs in the host.
 */
#include "common/webhook_url.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/webhook_address.h"

#define HOST_MAX 253 /* bytes of a host name, RFC 1035 */

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_name_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

/* Labels of 1..63 letters, digits, hyphens; the last one not a number: 127.1, 0x7f.1 are none. */
static bool
is_host_name(const char *host, size_t len)
{
    size_t label = 0, label_len;

    if (len == 0 || len > HOST_MAX)
        return false;
    if (host[len - 1] == '.')
        len--; /* the root's dot */
    for (size_t i = 0; i <= len; i++) {
        if (i < len && host[i] != '.') {
            if (!is_name_char(host[i]))
                return false;
            continue;
        }
        label_len = i - label;
        if (label_len < 1 || label_len > 63)
            return false;
        if (i < len)
            label = i + 1;
    }
    return !is_digit(host[label]);
}

/* Is it a name that means this machine? RFC 6761 section 6.3. */
static bool
is_localhost(const char *host, size_t len)
{
    static const char word[] = "localhost";
    size_t word_len = sizeof(word) - 1;

    if (len > 0 && host[len - 1] == '.')
        len--;
    return len >= word_len && strncasecmp(host + len - word_len, word, word_len) == 0 &&
           (len == word_len || host[len - word_len - 1] == '.');
}

/* Is ${port} among "443,8443"? */
static bool
is_listed_port(unsigned port, const char *ports)
{
    while (*ports != '\0') {
        unsigned listed = 0;
        size_t len = strcspn(ports, ", ");
        bool is_number = len > 0 && len <= 5;

        for (size_t i = 0; i < len && is_number; i++) {
            is_number = is_digit(ports[i]);
            listed = listed * 10 + (unsigned)(ports[i] - '0');
        }
        if (is_number && listed == port)
            return true;
        ports += len;
        ports += strspn(ports, ", ");
    }
    return false;
}

static const char *
judge_host(const char *host, size_t len, const struct cidr_list *allow)
{
    struct cidr_address address;

    if (len == 0)
        return "the URL has no host";
    if (host[0] == '[') {
        if (host[len - 1] != ']' || cidr_address_parse(host + 1, len - 2, &address) == -1 ||
            memchr(host, ':', len) == NULL)
            return "the URL's host is no IPv6 address";
    } else if (cidr_address_parse(host, len, &address) == -1) {
        if (!is_host_name(host, len))
            return "the URL's host is neither a name nor a plain address";
        return is_localhost(host, len) ? "the URL's host is this machine" : NULL;
    }
    return webhook_address_is_public(&address, allow)
               ? NULL
               : "the URL's address is not on the public network";
}

/* Splits "host:port"; ${port} stays as it is where none is given. */
static const char *
split_port(const char *authority, size_t *len, unsigned *port)
{
    size_t host_len = *len, digits;
    const char *bracket = memchr(authority, ']', *len);
    const char *colon;

    colon = bracket != NULL ? memchr(bracket, ':', *len - (size_t)(bracket - authority))
                            : memchr(authority, ':', *len);
    if (colon == NULL)
        return NULL;
    host_len = (size_t)(colon - authority);
    digits = *len - host_len - 1;
    if (digits < 1 || digits > 5)
        return "the URL's port is no number up to 65535";
    *port = 0;
    for (size_t i = 0; i < digits; i++) {
        if (!is_digit(colon[1 + i]))
            return "the URL's port is no number up to 65535";
        *port = *port * 10 + (unsigned)(colon[1 + i] - '0');
    }
    *len = host_len;
    return NULL;
}

static const char *
judge(const char *url, const struct webhook_url_rules *rules)
{
    const char *ports = rules->ports != NULL ? rules->ports : WEBHOOK_PORTS_DEFAULT;
    unsigned port = 443;
    const char *reason;
    size_t len;

    for (const char *at = url; *at != '\0'; at++) {
        if (*at <= ' ' || *at >= 0x7F || *at == '\\')
            return "the URL has a space, a backslash, a control or a non-ASCII character";
        if (*at == '#')
            return "the URL has a fragment";
    }
    if (strncasecmp(url, "https://", 8) == 0) {
        url += 8;
    } else if (strncasecmp(url, "http://", 7) == 0) {
        if (!rules->allow_http)
            return "the URL must be https";
        url += 7;
        port = 80;
    } else {
        return "the URL must be absolute and https";
    }
    len = strcspn(url, "/?");
    if (memchr(url, '@', len) != NULL)
        return "the URL has a user name or password";
    if ((reason = split_port(url, &len, &port)) != NULL)
        return reason;
    if ((reason = judge_host(url, len, rules->allow)) != NULL)
        return reason;
    return is_listed_port(port, ports) ? NULL : "the URL's port is not one receivers may have";
}

int
webhook_url_check(const char *url, const struct webhook_url_rules *rules, const char **reason)
{
    *reason = judge(url, rules);
    return *reason == NULL ? 0 : -1;
}

void
webhook_url_authority(const char *url, char *text)
{
    bool is_https = strncasecmp(url, "https://", 8) == 0;
    unsigned port = is_https ? 443 : 80;
    size_t len;

    url += is_https ? 8 : 7;
    len = strcspn(url, "/?");
    (void)split_port(url, &len, &port);
    if (len > HOST_MAX)
        len = HOST_MAX;
    if (len > 0 && url[len - 1] == '.')
        len--; /* the root's dot */
    for (size_t i = 0; i < len; i++)
        text[i] = (char)tolower((unsigned char)url[i]);
    snprintf(text + len, WEBHOOK_AUTHORITY_MAX - len, ":%u", port);
}

int
webhook_ports_check(const char *ports, struct error *err)
{
    bool is_any = false;

    while (*ports != '\0') {
        size_t len = strcspn(ports, ", ");
        unsigned port = 0;

        for (size_t i = 0; i < len; i++)
            port = is_digit(ports[i]) && port <= 65535 ? port * 10 + (unsigned)(ports[i] - '0')
                                                       : 65536;
        if (len > 0 && (port < 1 || port > 65535 || len > 5))
            return error_set(err, ERR_INVALID,
                "KRONOS_WEBHOOK_PORTS: \"%.*s\" is no port: numbers 1 to 65535 between commas",
                (int)(len < 40 ? len : 40), ports);
        is_any = is_any || len > 0;
        ports += len;
        ports += strspn(ports, ", ");
    }
    return is_any ? 0 : error_set(err, ERR_INVALID, "KRONOS_WEBHOOK_PORTS names no port");
}
