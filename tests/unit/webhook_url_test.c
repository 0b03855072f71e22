/*
 * webhook_url_test.c - Where events may be sent, as far as a URL tells.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/webhook_address.h"
#include "common/webhook_url.h"

static const struct webhook_url_rules plain;

static void
check(const char *url, const struct webhook_url_rules *rules, int wanted)
{
    const char *reason = NULL;
    int rc = webhook_url_check(url, rules, &reason);

    if (rc != wanted)
        print_error("%s: %s\n", url, rc == 0 ? "allowed" : reason);
    assert_int_equal(rc, wanted);
    assert_true((reason == NULL) == (rc == 0));
}

static void
public_https_receivers_are_allowed(void **state)
{
    static const char *const urls[] = {"https://a.example", "https://a.example/",
        "https://a.example:443/x?y=z&u=%20", "https://A-b_c.example:8443/p", "HTTPS://a.example/",
        "https://a.example./x", "https://8.8.8.8/", "https://[2606:4700::1]/x",
        "https://[2606:4700::1]:8443/", "https://xn--bcher-kva.example/", "https://a.example?x",
        "https://1.2.3.example/", "https://a.example/@x:y"};

    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
        check(urls[i], &plain, 0);
}

static void
everything_two_readers_could_take_differently_is_refused(void **state)
{
    static const char *const urls[] = {"", "a.example", "//a.example/", "http://a.example/",
        "ftp://a.example/", "https:/a.example", "https:///x", "https://", "https://:443/",
        "https://user@a.example/", "https://u:p@a.example/", "https://a.example/#f",
        "https://a.example:22/", "https://a.example:80/", "https://a.example:/",
        "https://a.example:4 43/", "https://a.example:99999/", "https://a.example:443x/",
        "https://a.example\\@b/", "https://a b/", "https://a.example/\n", "https://a.example/\x7f",
        "https://a.example/\xE2\x82\xAC", "https://b\303\274cher.example/", "https://a..example/",
        "https://.a.example/", "https://a.example%2f/", "https://a,b/", "https://[::1/",
        "https://[::1]x/", "https://[1.2.3.4]/", "https://[fe80::1%25eth0]/", "https://::1/",
        "https://localhost/", "https://LOCALHOST./", "https://a.localhost/"};

    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
        check(urls[i], &plain, -1);
}

static void
private_addresses_are_refused_in_every_writing(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001",
        "0177.0.0.1", "0.0.0.0", "10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
        "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "[::]", "[::1]", "[::ffff:10.0.0.1]", "[::ffff:7f00:1]", "[::10.0.0.1]",
        "[64:ff9b::a00:1]", "[64:ff9b::808:808]", "[64:ff9b:1::1]", "[100::1]", "[2001::1]",
        "[2001:db8::1]", "[2002:0a00:0001::]", "[fc00::1]", "[fd12:3456::1]", "[fe80::1]",
        "[febf::1]", "[fec0::1]", "[fbff::1]", "[4000::1]", "[ff02::1]"};
    char url[128];

    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        snprintf(url, sizeof(url), "https://%s/", hosts[i]);
        check(url, &plain, -1);
    }
}

static void
neighbours_of_private_networks_are_public(void **state)
{
    static const char *const hosts[] = {"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255",
        "100.128.0.0", "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
        "[::ffff:8.8.8.8]", "[2001:200::1]", "[2003::1]"};
    char url[128];

    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        snprintf(url, sizeof(url), "https://%s/", hosts[i]);
        check(url, &plain, 0);
    }
}

static void
the_operator_may_allow_http_ports_and_networks(void **state)
{
    struct cidr_list allow;
    const struct webhook_url_rules rules = {
        .allow_http = true, .ports = "443, 9000,80", .allow = &allow};
    struct error err;

    (void)state;
    assert_int_equal(cidr_list_parse("10.1.0.0/16 ,fd00::/8", &allow, &err), 0);
    check("http://a.example/", &rules, 0);
    check("http://a.example:9000/", &rules, 0);
    check("https://a.example:8443/", &rules, -1);
    check("https://10.1.2.3/", &rules, 0);
    check("https://10.2.2.3/", &rules, -1);
    check("https://[::ffff:10.1.0.1]/", &rules, 0);
    check("https://[fd00::7]/", &rules, 0);
    check("https://[fc00::7]/", &rules, -1);
    check("https://127.0.0.1/", &rules, -1);
    cidr_list_clear(&allow);
}

static void
a_host_has_one_name_however_it_is_written(void **state)
{
    static const struct {
        const char *url, *authority;
    } cases[] = {{"https://A.Example", "a.example:443"},
        {"HTTPS://a.example.:443/x", "a.example:443"}, {"http://a.example?x", "a.example:80"},
        {"https://8.8.8.8:8443/", "8.8.8.8:8443"},
        {"https://[2606:4700::1]/x:9", "[2606:4700::1]:443"}};
    char text[WEBHOOK_AUTHORITY_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        webhook_url_authority(cases[i].url, text);
        assert_string_equal(text, cases[i].authority);
    }
}

static void
ports_are_numbers_or_the_setting_is_refused(void **state)
{
    static const char *const bad[] = {"", ", ", "443,x", "0", "65536", "443,999999", "44 3x", "-1"};
    struct error err;

    (void)state;
    assert_int_equal(webhook_ports_check("443, 8443 ,1,65535", &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(webhook_ports_check(bad[i], &err), -1);
}

static void
a_sockets_address_is_judged_like_a_written_one(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6}, public6 = {.sin6_family = AF_INET6};
    struct sockaddr unknown = {.sa_family = AF_UNIX};
    struct cidr_address address;

    (void)state;
    assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr), 1);
    assert_int_equal(inet_pton(AF_INET6, "2606:4700::1", &public6.sin6_addr), 1);
    assert_int_equal(webhook_address_of((struct sockaddr *)&v4, sizeof(v4), &address), 0);
    assert_false(webhook_address_is_public(&address, NULL));
    assert_int_equal(webhook_address_of((struct sockaddr *)&v4, sizeof(v4) - 1, &address), -1);
    assert_int_equal(webhook_address_of((struct sockaddr *)&mapped, sizeof(mapped), &address), 0);
    assert_false(webhook_address_is_public(&address, NULL));
    assert_int_equal(webhook_address_of((struct sockaddr *)&public6, sizeof(public6), &address), 0);
    assert_true(webhook_address_is_public(&address, NULL));
    assert_int_equal(webhook_address_of(&unknown, sizeof(unknown), &address), -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_https_receivers_are_allowed),
        cmocka_unit_test(everything_two_readers_could_take_differently_is_refused),
        cmocka_unit_test(private_addresses_are_refused_in_every_writing),
        cmocka_unit_test(neighbours_of_private_networks_are_public),
        cmocka_unit_test(the_operator_may_allow_http_ports_and_networks),
        cmocka_unit_test(a_host_has_one_name_however_it_is_written),
        cmocka_unit_test(ports_are_numbers_or_the_setting_is_refused),
        cmocka_unit_test(a_sockets_address_is_judged_like_a_written_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
