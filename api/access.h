/*
 * access.h - May this peer connect, may this caller use the route?
 */
#ifndef API_ACCESS_H
#define API_ACCESS_H

#include "api/head.h"
#include "api/keys.h"
#include "api/problem.h"
#include "api/route.h"

struct server;

/** access_judge_peer(server, peer, route, problem): ${route} NULL: none was found. 0, or -1: 403. */
int access_judge_peer(const struct server *server, const char *peer, const struct route *route,
    struct problem *problem);

/**
 * access_judge_caller(server, head, route, caller, problem):
 * Who calls into ${caller}, also where it may not; name "" where no key is asked for or it is not
 * known. 0, or -1 with 401 or 403.
 */
int access_judge_caller(const struct server *server, const struct head *head,
    const struct route *route, struct caller *caller, struct problem *problem);

#endif /* API_ACCESS_H */
