/*
 * script_versions.h - A fleet that is being upgraded: calls go to one of several versions of a script.
 *
 * The versions differ in their words, and so in their SHA-1, or write one field more.
 */
#ifndef TESTS_SUPPORT_SCRIPT_VERSIONS_H
#define TESTS_SUPPORT_SCRIPT_VERSIONS_H

#include <stdint.h>

#include "tests/support/queue_fixture.h"

/** script_versions_mix(f, seed): load them, and from now on choose one for each blocking call. */
void script_versions_mix(struct queue_fixture *f, uint64_t seed);

/** script_versions_stop(): how many calls went to another version than this build's. */
long script_versions_stop(void);

#endif /* TESTS_SUPPORT_SCRIPT_VERSIONS_H */
