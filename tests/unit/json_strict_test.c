/*
 * json_strict_test.c - What is JSON and what is not, to the byte, in the spirit of JSONTestSuite.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/json_strict.h"

#define VALUES 100000

/* ${text} in a block of exactly its size: ASan sees a byte read too far. */
static char *
exact_copy(const char *text, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);

    assert_non_null(copy);
    memcpy(copy, text, size);
    return copy;
}

static struct arena arena; /* of the tree parsed last */

static cJSON *
parse(const char *text, size_t size, struct json_fault *fault)
{
    char *copy = exact_copy(text, size);
    cJSON *tree;

    arena_clear(&arena);
    tree = json_strict_parse(copy, size, VALUES, &arena, fault);

    free(copy);
    return tree;
}

static void
everything_the_standard_allows_is_accepted(void **state)
{
    static const char *const texts[] = {"{}", "[]", "null", "true", "false", "0", "-0", "1", "\"\"",
        " \t\r\n[ ] \n", "[1 , 2]", "{\"a\" : 1 , \"b\":2}", "-1.5e+10", "1E5", "1e-5", "0.0",
        "0e0", "0E+1", "123456789012345678901234567890", "1e999", "-1e999", "1e-999",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0041\\u00e9\\u20ac\"", "\"\\ud83d\\ude00\"",
        "\"\\uD83D\\uDE00\"", "\"\\uFFFF\\uFFFE\"", "\"\x7f\"", "\"\xc2\x80\"", "\"\xdf\xbf\"",
        "\"\xe0\xa0\x80\"", "\"\xed\x9f\xbf\"", "\"\xee\x80\x80\"", "\"\xef\xbf\xbf\"",
        "\"\xf0\x90\x80\x80\"", "\"\xf4\x8f\xbf\xbf\"", "{\"\":0}", "{\"a\":1,\"A\":2}",
        "{\"a\":{\"a\":{\"a\":1}}}", "[{\"a\":1},{\"a\":2}]", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
        "[{},[],\"\",0,null,true,false]", "[\"\xe2\x80\xa8\"]", "[\"\\u2028\"]", "[\"/\"]"};
    size_t n = sizeof(texts) / sizeof(texts[0]);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        struct json_fault fault;
        cJSON *tree = parse(texts[i], strlen(texts[i]), &fault);

        if (tree == NULL)
            print_error("%s: refused at %zu: %s\n", texts[i], fault.offset, fault.reason);
        assert_non_null(tree);
    }
}

struct refusal {
    const char *text;
    size_t size; /* 0: strlen */
    size_t offset;
};

static const struct refusal refusals[] = {
    {"", 0, 0},
    {"  ", 0, 2},
    {"\xEF\xBB\xBF{}", 0, 0},
    {"\xFE\xFF", 0, 0},
    {"{", 0, 1},
    {"[", 0, 1},
    {"]", 0, 0},
    {"}", 0, 0},
    {"[1", 0, 2},
    {"[1,", 0, 3},
    {"[1,]", 0, 3},
    {"[,1]", 0, 1},
    {"[1,,2]", 0, 3},
    {"[1 2]", 0, 3},
    {"[1}", 0, 2},
    {"{]", 0, 1},
    {"{\"a\"", 0, 4},
    {"{\"a\":", 0, 5},
    {"{\"a\" 1}", 0, 5},
    {"{\"a\":1,}", 0, 7},
    {"{\"a\":1 \"b\":2}", 0, 7},
    {"{\"a\"::1}", 0, 5},
    {"{1:1}", 0, 1},
    {"{a:1}", 0, 1},
    {"{null:1}", 0, 1},
    {"{'a':1}", 0, 1},
    {"{,}", 0, 1},
    {"{\"a\":1}}", 0, 7},
    {"[]]", 0, 2},
    {"[] x", 0, 3},
    {"1 2", 0, 2},
    {"null\0", 5, 4},
    {"[]\0", 3, 2},
    {"\v[]", 0, 0},
    {"\f[]", 0, 0},
    {"\xC2\xA0[]", 0, 0},
    {"01", 0, 1},
    {"-01", 0, 2},
    {"00", 0, 1},
    {"-", 0, 1},
    {"-a", 0, 1},
    {"--1", 0, 1},
    {"+1", 0, 0},
    {".5", 0, 0},
    {"1.", 0, 2},
    {"1.e5", 0, 2},
    {"1e", 0, 2},
    {"1e+", 0, 3},
    {"1ex", 0, 2},
    {"1.5.5", 0, 4},
    {"1e5e5", 0, 4},
    {"1e5.5", 0, 4},
    {"0x10", 0, 1},
    {"1_000", 0, 1},
    {"1,000", 0, 1},
    {"\xEF\xBC\x91", 0, 0}, /* a full-width digit */
    {"Infinity", 0, 0},
    {"-Infinity", 0, 1},
    {"NaN", 0, 0},
    {"nan", 0, 1},
    {"inf", 0, 0},
    {"tru", 0, 3},
    {"truth", 0, 3},
    {"True", 0, 0},
    {"FALSE", 0, 0},
    {"nulll", 0, 4},
    {"undefined", 0, 0},
    {"\"", 0, 1},
    {"\"a", 0, 2},
    {"\"\\", 0, 2},
    {"\"\\\"", 0, 3},
    {"\"\\a\"", 0, 2},
    {"\"\\x41\"", 0, 2},
    {"\"\\'\"", 0, 2},
    {"\"\\\0\"", 4, 2},
    {"\"\\u\"", 0, 3},
    {"\"\\u12\"", 0, 5},
    {"\"\\u12G4\"", 0, 5},
    {"\"\\U0041\"", 0, 2},
    {"\"\\u0000\"", 0, 1},
    {"\"a\\u0000b\"", 0, 2},
    {"{\"\\u0000\":1}", 0, 2},
    {"\"\\ud800\"", 0, 1},
    {"\"\\udc00\"", 0, 1},
    {"\"\\ud800x\"", 0, 1},
    {"\"\\ud800\\n\"", 0, 1},
    {"\"\\ud800\\ud800\"", 0, 1},
    {"\"\\udc00\\ud800\"", 0, 1},
    {"\"\\ud800\\u0041\"", 0, 1},
    {"\"\\ud800\\u00\"", 0, 11},
    {"\"\n\"", 0, 1},
    {"\"\t\"", 0, 1},
    {"\"\x01\"", 0, 1},
    {"\"\0\"", 3, 1},
    {"\"\x1f\"", 0, 1},
    {"\"\x80\"", 0, 1},
    {"\"\xbf\"", 0, 1},
    {"\"\xc0\x80\"", 0, 1},
    {"\"\xc1\xbf\"", 0, 1},
    {"\"\xc2\"", 0, 1},
    {"\"\xc2", 0, 1},
    {"\"\xc2x\"", 0, 1},
    {"\"\xe0\x9f\xbf\"", 0, 1},
    {"\"\xe2\x82\"", 0, 1},
    {"\"\xed\xa0\x80\"", 0, 1},
    {"\"\xed\xbf\xbf\"", 0, 1},
    {"\"\xf0\x8f\xbf\xbf\"", 0, 1},
    {"\"\xf4\x90\x80\x80\"", 0, 1},
    {"\"\xf5\x80\x80\x80\"", 0, 1},
    {"\"\xf8\x88\x80\x80\x80\"", 0, 1},
    {"\"\xfe\"", 0, 1},
    {"\"\xff\"", 0, 1},
    {"[\"a\xff\"]", 0, 3},
    {"[1]//x", 0, 3},
    {"/**/[1]", 0, 0},
    {"#\n[1]", 0, 0},
    {"[[[[[[[[[[[[[[[[[", 0, 16},
    {"[[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]]", 0, 16},
    {"{\"a\":1,\"a\":1}", 0, 7},
    {"{\"a\":1,\"\\u0061\":1}", 0, 7},
    {"{\"\":1,\"\":1}", 0, 6},
    {"[{\"b\":[{\"b\":1}],\"a\":2,\"b\":3}]", 0, 22},
    {"{\"/\":1,\"\\/\":1}", 0, 7},
    {"{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":1}", 0, 18},
    {"<html>", 0, 0},
    {"a=b&c=d", 0, 0},
};

static void
everything_else_is_refused_at_the_byte_that_is_wrong(void **state)
{
    int failures = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal *r = &refusals[i];
        struct json_fault fault = {0};
        cJSON *tree = parse(r->text, r->size > 0 ? r->size : strlen(r->text), &fault);

        if (tree != NULL || fault.reason == NULL || fault.offset != r->offset) {
            print_error("%s: %s at %zu, not %zu (%s)\n", r->text,
                tree != NULL ? "accepted" : "refused", fault.offset, r->offset,
                fault.reason != NULL ? fault.reason : "-");
            failures++;
        }
    }
    assert_int_equal(failures, 0);
}

static void
every_truncation_of_a_good_body_is_refused_near_its_end(void **state)
{
    static const char body[] =
        "{\"series_id\":\"B\\u20ac\xe2\x82\xac\\ud83d\\ude00\",\"candles\":[{\"open\":-1.5e+3,"
        "\"high\":0,\"x\":[true,false,null]}, {} ],\"t\":\"\\\\\"}";
    size_t size = sizeof(body) - 1;
    struct json_fault fault;
    cJSON *tree;

    (void)state;
    for (size_t n = 0; n < size; n++) {
        tree = parse(body, n, &fault);
        assert_null(tree);
        assert_non_null(fault.reason);
        assert_true(fault.offset <= n);
        /* a cut character or escape is named at its start */
        assert_true(n - fault.offset <= 12);
    }
    tree = parse(body, size, &fault);
    assert_non_null(tree);
}

static void
escapes_and_numbers_arrive_as_they_were_meant(void **state)
{
    struct json_fault fault;
    static const char text[] = "[\"\\u20ac\\ud83d\\ude00\\n\",1e999,-0.25e2,0.1,\"a\\\\\"]";
    cJSON *tree = parse(text, sizeof(text) - 1, &fault);

    (void)state;
    assert_non_null(tree);
    assert_string_equal(cJSON_GetArrayItem(tree, 0)->valuestring, "\xe2\x82\xac\xf0\x9f\x98\x80\n");
    assert_true(cJSON_GetArrayItem(tree, 1)->valuedouble > 1e308);
    assert_true(cJSON_GetArrayItem(tree, 2)->valuedouble == -25);
    assert_true(cJSON_GetArrayItem(tree, 3)->valuedouble == 0.1);
    assert_string_equal(cJSON_GetArrayItem(tree, 4)->valuestring, "a\\");
}

/* Links in both directions and every value, as cJSON itself would have made them. */
static void
assert_same_tree(const cJSON *mine, const cJSON *other)
{
    const cJSON *a = mine->child, *b = other->child;

    assert_int_equal(mine->type, other->type);
    assert_int_equal(mine->valueint, other->valueint);
    assert_memory_equal(&mine->valuedouble, &other->valuedouble, sizeof(mine->valuedouble));
    assert_true((mine->string == NULL) == (other->string == NULL));
    if (mine->string != NULL)
        assert_string_equal(mine->string, other->string);
    assert_true((mine->valuestring == NULL) == (other->valuestring == NULL));
    if (mine->valuestring != NULL)
        assert_string_equal(mine->valuestring, other->valuestring);
    for (; a != NULL && b != NULL; a = a->next, b = b->next) {
        assert_same_tree(a, b);
        assert_true(a == mine->child || a->prev->next == a);
        if (a->next == NULL)
            assert_true(mine->child->prev == a);
    }
    assert_true(a == NULL && b == NULL);
}

static unsigned
draw(unsigned n)
{
    static unsigned long long seed = 2026;

    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(seed >> 33) % n;
}

static size_t
random_text(char *text)
{
    static const char *const pieces[] = {"a", "open", " ", "\\n", "\\\\", "\\\"", "\\/", "\\b",
        "\\f", "\\r", "\\t", "\\u0001", "\\u007f", "\\u0080", "\\u07FF", "\\u0800", "\\uffff",
        "\\ud800\\udc00", "\\udbff\\uDFFF", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "/", "\x7f"};
    size_t len = 0;

    len += (size_t)sprintf(text + len, "\"");
    for (unsigned i = draw(6); i > 0; i--)
        len += (size_t)sprintf(text + len, "%s", pieces[draw(sizeof(pieces) / sizeof(pieces[0]))]);
    return len + (size_t)sprintf(text + len, "\"");
}

static size_t
random_value(char *text, unsigned depth)
{
    static const char *const words[] = {"true", "false", "null", "0", "-0", "1e999", "-12.5e-3"};
    unsigned kind = draw(depth < 5 ? 6 : 4), n = draw(5);
    size_t len = 0;

    if (kind == 0)
        return random_text(text);
    if (kind == 1)
        return (size_t)sprintf(text, "%s", words[draw(sizeof(words) / sizeof(words[0]))]);
    if (kind < 4)
        return (size_t)sprintf(text, "%.*g", 1 + (int)draw(17), (double)draw(1u << 30) / 1e4);
    len += (size_t)sprintf(text + len, "%s", kind == 4 ? "[ " : "{");
    for (unsigned i = 0; i < n; i++) {
        if (kind == 5)
            len += (size_t)sprintf(text + len, draw(9) > 0 ? "\"n%u\":" : "\"%u\\t\" :", i);
        len += random_value(text + len, depth + 1);
        if (i + 1 < n)
            len += (size_t)sprintf(text + len, ",\n");
    }
    return len + (size_t)sprintf(text + len, "%s", kind == 4 ? "]" : "}");
}

static void
the_tree_is_the_one_cjson_reads(void **state)
{
    static char text[1 << 20];
    struct json_fault fault;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        size_t len = random_value(text, 0);
        cJSON *mine = parse(text, len, &fault), *other = cJSON_ParseWithLength(text, len);

        if (mine == NULL || other == NULL)
            print_error("%.*s\n", (int)len, text);
        assert_non_null(mine);
        assert_non_null(other);
        assert_same_tree(mine, other);
        cJSON_Delete(other);
    }
}

/* Rows share the names of the row before: only where they are the same, and judged as ever. */
static void
names_like_those_of_the_row_before_are_still_judged(void **state)
{
    static const struct refusal {
        const char *text;
        size_t offset;
    } refused[] = {
        {"[{\"a\":1,\"b\":2},{\"a\":1,\"b\":2,\"a\":3}]", 28},
        {"[{\"a\":1,\"b\":2},{\"a\":1,\"a\":2}]", 22},
        {"[{\"a\":1},{\"a\":1},{\"a\":1,\"a\":1}]", 24},
        {"[{\"a\":1,\"a\":1},{\"a\":1,\"a\":1}]", 8},
        {"[{\"a\\\"b\":1},{\"a\"b\":1}]", 16},
        {"[{\"a\\u0001\":1},{\"a\x01\":1}]", 18},
        {"[{\"a\\\\\":1},{\"a\\\":1}]", 20},
        {"[{\"ab\":1},{\"ab", 14},
        {"[{\"ab\":1},{\"a", 13},
    };
    static const struct accepted {
        const char *text;
        const char *names[4];
    } accepted[] = {
        {"[{\"a\":1,\"b\":2},{\"a\":1,\"b\":2}]", {"a", "b"}},
        {"[{\"ab\":1},{\"a\":1}]", {"a"}},
        {"[{\"a\":1},{\"ab\":1}]", {"ab"}},
        {"[{\"a\":1,\"b\":2,\"c\":3},{\"a\":1,\"c\":2,\"b\":0}]", {"a", "c", "b"}},
        {"[{\"a\":1,\"b\":2},{\"a\":1}]", {"a"}},
        {"[{\"a\":1},{\"a\":1,\"b\":2}]", {"a", "b"}},
        {"[{\"a\":1},[],{\"b\":1}]", {"b"}},
        {"[{},{\"a\":1}]", {"a"}},
        {"[{\"a\\\\\":1},{\"a\\\\\":1}]", {"a\\"}},
        {"[{\"\":1},{\"\":1}]", {""}},
        {"[{\"\xe2\x82\xac\":1},{\"\xe2\x82\xac\":1}]", {"\xe2\x82\xac"}},
    };
    struct json_fault fault;

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (parse(refused[i].text, strlen(refused[i].text), &fault) != NULL ||
            fault.offset != refused[i].offset) {
            print_error("%s: %zu\n", refused[i].text, fault.offset);
            fail();
        }
    }
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        cJSON *tree = parse(accepted[i].text, strlen(accepted[i].text), &fault), *member;
        size_t n = 0;

        assert_non_null(tree);
        cJSON_ArrayForEach(member, tree->child->prev)
            assert_string_equal(member->string, accepted[i].names[n++]);
        assert_null(accepted[i].names[n]);
    }
}

static void
a_number_is_at_most_63_bytes(void **state)
{
    char text[80];
    struct json_fault fault;
    cJSON *tree;

    (void)state;
    memset(text, '1', sizeof(text));
    tree = parse(text, 63, &fault);
    assert_non_null(tree);
    assert_true(tree->valuedouble > 1e62);
    assert_null(parse(text, 64, &fault));
    assert_int_equal(fault.offset, 0);
}

static void
more_values_than_allowed_are_refused_at_the_first_of_them(void **state)
{
    struct json_fault fault;

    (void)state;
    arena_clear(&arena);
    assert_non_null(json_strict_parse("[1,2,3]", 7, 4, &arena, &fault));
    assert_null(json_strict_parse("[1,2,3]", 7, 3, &arena, &fault));
    assert_int_equal(fault.offset, 5);
}

/* A large object is sorted, not compared pair by pair: quadratic would take minutes. */
static void
a_duplicate_among_very_many_names_is_found(void **state)
{
    const size_t n = 60000;
    char *text = malloc(n * 40 + 64);
    struct json_fault fault;
    size_t len = 0, last;
    cJSON *tree;

    (void)state;
    assert_non_null(text);
    text[len++] = '{';
    for (size_t i = 0; i < n; i++)
        len += (size_t)sprintf(text + len, "%s\"a long common prefix %zu\":0", i > 0 ? "," : "", i);
    last = len + 1;
    text[len] = '}';
    tree = parse(text, len + 1, &fault);
    assert_non_null(tree);
    len += (size_t)sprintf(text + len, ",\"a long common prefix 7\":0}");
    assert_null(parse(text, len, &fault));
    assert_int_equal(fault.offset, last);
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_the_standard_allows_is_accepted),
        cmocka_unit_test(everything_else_is_refused_at_the_byte_that_is_wrong),
        cmocka_unit_test(every_truncation_of_a_good_body_is_refused_near_its_end),
        cmocka_unit_test(escapes_and_numbers_arrive_as_they_were_meant),
        cmocka_unit_test(the_tree_is_the_one_cjson_reads),
        cmocka_unit_test(names_like_those_of_the_row_before_are_still_judged),
        cmocka_unit_test(a_number_is_at_most_63_bytes),
        cmocka_unit_test(more_values_than_allowed_are_refused_at_the_first_of_them),
        cmocka_unit_test(a_duplicate_among_very_many_names_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
