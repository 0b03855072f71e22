/*
 * cidr_test.c - Lists of networks: who is in, and which lists are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cidr.h"

static bool
is_in(const char *text, const char *address_text)
{
    struct cidr_address address;
    struct cidr_list list;
    struct error err;
    bool found;

    assert_int_equal(cidr_list_parse(text, &list, &err), 0);
    assert_int_equal(cidr_address_parse(address_text, strlen(address_text), &address), 0);
    found = cidr_list_has(&list, &address);
    cidr_list_clear(&list);
    return found;
}

static void
an_address_is_in_the_networks_that_hold_it_and_in_no_other(void **state)
{
    (void)state;
    assert_true(is_in("10.0.0.0/8", "10.0.0.0"));
    assert_true(is_in("10.0.0.0/8", "10.255.255.255"));
    assert_false(is_in("10.0.0.0/8", "9.255.255.255"));
    assert_false(is_in("10.0.0.0/8", "11.0.0.0"));
    assert_true(is_in("100.64.0.0/10", "100.127.255.255"));
    assert_false(is_in("100.64.0.0/10", "100.128.0.0"));
    assert_true(is_in("192.0.2.7", "192.0.2.7"));
    assert_false(is_in("192.0.2.7", "192.0.2.6"));
    assert_true(is_in("192.0.2.6/31", "192.0.2.7"));
    assert_true(is_in("fd00::/8", "fdff::1"));
    assert_false(is_in("fd00::/8", "fe00::1"));
    assert_true(is_in("::1", "0:0::1"));
    assert_false(is_in("::1", "::2"));
    assert_true(is_in("2001:db8::/33", "2001:db8:7fff::"));
    assert_false(is_in("2001:db8::/33", "2001:db8:8000::"));
}

static void
everybody_of_one_family_is_not_everybody_of_the_other(void **state)
{
    (void)state;
    assert_true(is_in("0.0.0.0/0", "203.0.113.9"));
    assert_false(is_in("0.0.0.0/0", "2001:db8::1"));
    assert_true(is_in("::/0", "2001:db8::1"));
    assert_false(is_in("::/0", "203.0.113.9"));
}

static void
a_mapped_address_is_the_one_inside_in_lists_and_in_what_is_looked_up(void **state)
{
    (void)state;
    assert_true(is_in("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(is_in("::ffff:10.0.0.0/104", "10.1.2.3"));
    assert_true(is_in("::ffff:10.1.2.3", "10.1.2.3"));
    assert_false(is_in("::ffff:10.1.2.3", "10.1.2.4"));
    assert_false(is_in("::/0", "::ffff:10.1.2.3"));
    assert_true(is_in("::10.1.2.3", "::10.1.2.3")); /* compatible, not mapped: IPv6 */
    assert_false(is_in("10.1.2.3", "::10.1.2.3"));
}

static void
a_list_is_separated_by_commas_spaces_or_both(void **state)
{
    const char *text = " 10.0.0.0/8, ::1\t192.0.2.1,,198.51.100.0/24 ";

    (void)state;
    assert_true(is_in(text, "10.9.9.9"));
    assert_true(is_in(text, "::1"));
    assert_true(is_in(text, "192.0.2.1"));
    assert_true(is_in(text, "198.51.100.255"));
    assert_false(is_in(text, "192.0.2.2"));
}

static void
a_list_with_one_bad_entry_is_refused_by_its_name(void **state)
{
    static const char *const entries[] = {"010.0.0.1", "10.1", "0x7f.1", "1.2.3.4.5", "256.0.0.1",
        "localhost", "fe80::1%eth0", "::g", "[::1]", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
        "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0.0/+8", "10.0.0.0/1000", "::/129", "/8", "10.1.2.3/8",
        "192.0.2.7/31", "fd00::1/8", "::ffff:10.1.0.0/104"};
    char text[128];
    struct cidr_list list;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        snprintf(text, sizeof(text), "127.0.0.1,%s,::1", entries[i]);
        assert_int_equal(cidr_list_parse(text, &list, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.text, entries[i]));
        assert_null(list.networks);
        assert_int_equal(list.n, 0);
    }
}

static void
a_list_of_nothing_is_refused_and_one_has_a_size(void **state)
{
    static char text[(CIDR_NETWORKS_MAX + 1) * 8 + 1];
    struct cidr_list list;
    struct error err;

    (void)state;
    assert_int_equal(cidr_list_parse("", &list, &err), -1);
    assert_int_equal(cidr_list_parse(" ,, ", &list, &err), -1);
    for (size_t i = 0; i < CIDR_NETWORKS_MAX; i++)
        strcat(text, "1.2.3.4 ");
    assert_int_equal(cidr_list_parse(text, &list, &err), 0);
    assert_int_equal(list.n, CIDR_NETWORKS_MAX);
    cidr_list_clear(&list);
    strcat(text, "1.2.3.4 ");
    assert_int_equal(cidr_list_parse(text, &list, &err), -1);
    assert_non_null(strstr(err.text, "1024"));
}

static void
an_address_is_read_within_its_length(void **state)
{
    struct cidr_address address;

    (void)state;
    assert_int_equal(cidr_address_parse("10.0.0.12", 8, &address), 0);
    assert_int_equal(address.bytes[3], 1);
    assert_int_equal(cidr_address_parse("10.0.0.1\0 2", 10, &address), -1);
    assert_int_equal(cidr_address_parse("", 0, &address), -1);
    assert_int_equal(
        cidr_address_parse("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", 45, &address), 0);
    assert_int_equal(address.family, AF_INET6);
    assert_int_equal(
        cidr_address_parse("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", 49, &address), -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_in_the_networks_that_hold_it_and_in_no_other),
        cmocka_unit_test(everybody_of_one_family_is_not_everybody_of_the_other),
        cmocka_unit_test(a_mapped_address_is_the_one_inside_in_lists_and_in_what_is_looked_up),
        cmocka_unit_test(a_list_is_separated_by_commas_spaces_or_both),
        cmocka_unit_test(a_list_with_one_bad_entry_is_refused_by_its_name),
        cmocka_unit_test(a_list_of_nothing_is_refused_and_one_has_a_size),
        cmocka_unit_test(an_address_is_read_within_its_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
