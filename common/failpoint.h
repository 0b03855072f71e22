/*
 * failpoint.h - Places where a debug build can be made to die, freeze or lose its connection.
 *
 *   KRONOS_FAIL=after_claim:0.02,before_complete:0.1:stop,seed:7,crash_seed:666
 *
 * name:probability[:action]; actions are kill (SIGKILL, the default), stop (SIGSTOP: somebody
 * continues it later) and close (the connection in use breaks). seed:N makes the draws of every
 * point repeat; crash_seed:N kills whoever starts to compute a task of that seed. In a release
 * build the macros are nothing and the setting is unknown.
 */
#ifndef COMMON_FAILPOINT_H
#define COMMON_FAILPOINT_H

#include <stdint.h>

#include "common/error.h"

/* X(id, name, whether a connection is there to be closed) */
#define FAILPOINTS(X)                                                                              \
    X(AFTER_BLPOP, "after_blpop", 1) /* a hint was taken, nothing is claimed */                    \
    X(AFTER_CLAIM, "after_claim", 1) /* a lease is ours, nobody here knows it yet */               \
    X(BEFORE_RENEW, "before_renew", 1)                                                             \
    X(AFTER_RENEW, "after_renew", 1)                                                               \
    X(MID_FORECAST, "mid_forecast", 0)       /* between two steps */                               \
    X(BEFORE_COMPLETE, "before_complete", 1) /* the output is there, Redis does not know */        \
    X(AFTER_COMPLETE, "after_complete", 1)   /* Redis knows, nobody here read the reply */         \
    X(BEFORE_FAIL, "before_fail", 1)                                                               \
    X(BEFORE_RELEASE, "before_release", 1)                                                         \
    X(BEFORE_SWEEP, "before_sweep", 1)                                                             \
    X(BEFORE_SUBMIT, "before_submit", 0)       /* a request was judged, not stored */              \
    X(AFTER_SUBMIT, "after_submit", 0)         /* stored, the client does not know */              \
    X(AFTER_HOOK_CLAIM, "after_hook_claim", 0) /* deliveries are ours, nobody here knows */        \
    X(BEFORE_HOOK_SEND, "before_hook_send", 0)                                                     \
    X(AFTER_HOOK_SEND, "after_hook_send", 0) /* the receiver has it, Redis does not know */        \
    X(AFTER_HOOK_DONE, "after_hook_done", 0) /* Redis knows, nobody here read the reply */

enum failpoint {
#define X(id, name, has_connection) FAILPOINT_##id,
    FAILPOINTS(X)
#undef X
        FAILPOINT_COUNT
};

#ifdef KRONOSQ_DEBUG

/**
 * failpoint_setup(text, err): what KRONOS_FAIL says, before threads start; NULL is nothing.
 * ERR_INVALID names the part that is wrong and what is allowed; nothing is set then.
 */
int failpoint_setup(const char *text, struct error *err);

/** failpoint_pass(point, fd): perhaps do not come back. ${fd} may be closed for talking; -1: none. */
void failpoint_pass(enum failpoint point, int fd);

/** failpoint_task(seed): a task of this seed begins; of crash_seed, the process ends. */
void failpoint_task(uint64_t seed);

#define FAILPOINT(id, fd)    failpoint_pass(FAILPOINT_##id, (fd))
#define FAILPOINT_TASK(seed) failpoint_task(seed)

#else

#define FAILPOINT(id, fd)    ((void)0)
#define FAILPOINT_TASK(seed) ((void)0)

#endif

#endif /* COMMON_FAILPOINT_H */
