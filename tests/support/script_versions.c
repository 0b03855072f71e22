/*
 * script_versions.c - See script_versions.h. Takes the place of redisCommandArgv() in a program that
 * is linked with --wrap=redisCommandArgv.
 */
#include "tests/support/script_versions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/queue/script.h"

#define N_VERSIONS 3
static struct {
    const char *sha1; /* of the script in this build */
    char others[N_VERSIONS - 1][41];
} versions[64];
static size_t n_versions; /* 0: no mixing */
static uint64_t chance;
static long n_mixed;

/* What a script would be with ${from} replaced by ${to}; NULL without it. For free(). */
static char *
changed(const char *source, const char *from, const char *to)
{
    const char *at = strstr(source, from);
    char *out;

    if (!at || asprintf(&out, "%.*s%s%s", (int)(at - source), source, to, at + strlen(from)) < 0)
        return NULL;
    return out;
}

/* Versions that might have been or may come: other words; another field of the hash. */
void
script_versions_mix(struct queue_fixture *f, uint64_t seed)
{
    n_versions = 0;
    chance = seed | 1;
    for (size_t i = 0; queue_scripts[i]; i++) {
        const struct queue_script *script = queue_scripts[i];
        char *other = changed(script->source, "\n", "\n-- another version\n");
        char *field = changed(script->source, "call('HSET', k, 'state',", /* claim, finish */
            "call('HSET', k, 'of_next_version', 1, 'state',");

        if (!field) /* submit */
            field = changed(
                script->source, "'format', 1, ", "'format', 1, 'also_of_next_version', 'x', ");
        if (!field)
            field = changed(script->source, "\n", "\n-- a third version\n");
        assert_true(n_versions < sizeof(versions) / sizeof(versions[0]));
        assert_non_null(other);
        assert_non_null(field);
        versions[n_versions].sha1 = script->sha1;
        snprintf(versions[n_versions].others[0], 41, "%s",
            queue_fixture_text(f, "SCRIPT LOAD %s", other));
        snprintf(versions[n_versions].others[1], 41, "%s",
            queue_fixture_text(f, "SCRIPT LOAD %s", field));
        assert_int_equal(strlen(versions[n_versions].others[1]), 40);
        n_versions++;
        free(other);
        free(field);
    }
}

long
script_versions_stop(void)
{
    n_versions = 0;
    return n_mixed;
}

static uint32_t
pick(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (uint32_t)((chance >> 16) % N_VERSIONS);
}

void *__real_redisCommandArgv(redisContext *c, int argc, const char **argv, const size_t *lens);
void *__wrap_redisCommandArgv(redisContext *c, int argc, const char **argv, const size_t *lens);

void *
__wrap_redisCommandArgv(redisContext *c, int argc, const char **argv, const size_t *lens)
{
    const char *own = argc > 1 ? argv[1] : "", *other = NULL;
    uint32_t which = n_versions > 0 ? pick() : 0;
    void *reply;

    for (size_t i = 0; which > 0 && i < n_versions; i++) {
        if (strcmp(versions[i].sha1, own) == 0)
            other = versions[i].others[which - 1];
    }
    if (!other || strcmp(argv[0], "EVALSHA") != 0)
        return __real_redisCommandArgv(c, argc, argv, lens);
    n_mixed++;
    argv[1] = other;
    reply = __real_redisCommandArgv(c, argc, argv, lens);
    argv[1] = own;
    return reply;
}
