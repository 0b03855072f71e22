/*
 * problem.h - A refusal, as RFC 9457 problem+json, before it is sent.
 *
 * Built by whoever finds the fault; only reply.c turns it into bytes and adds
 * title, request_id and headers.
 */
#ifndef API_PROBLEM_H
#define API_PROBLEM_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "common/error.h"

#define PROBLEM_ERRORS_MAX 20 /* errors listed in one 422 */

#define PROBLEM_POINTER_HEADER "header" /* stands for Idempotency-Key where a pointer is due */

struct problem {
    int status;        /* HTTP; 0: no problem */
    const char *code;  /* static text, "malformed_json"; the type is urn:kronosq:error:<code> */
    char detail[256];  /* a sentence; "" on a validation problem, whose detail is an array */
    bool closes;       /* the connection is closed after the reply */
    int retry_after;   /* seconds, 0: no Retry-After */
    const char *allow; /* value of Allow on 405 */
    cJSON *extras;     /* members beside the fixed ones, NULL if none; owned */
    cJSON *fastapi;    /* 422: FastAPI's detail array; owned, `detail` is then unused */
    cJSON *errors;     /* 422: the same list with JSON Pointers; owned */
    bool is_truncated; /* more than PROBLEM_ERRORS_MAX were found */
};

/** problem_set(p, status, code, format, ...): a plain refusal; clears what ${p} held. Returns -1. */
int problem_set(struct problem *p, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** problem_extra(p, name, value): add a member; takes ${value} over. */
void problem_extra(struct problem *p, const char *name, cJSON *value);

/* One fault of a request body. */
struct problem_fault {
    const char *code;    /* "range": errors[].code */
    const char *type;    /* "greater_than": FastAPI's detail[].type */
    const char *message; /* "Input should be greater than 0": detail[].msg */
    const char *detail;  /* "must be > 0, is -1": errors[].detail */
    const char *pointer; /* "#/candles/3/high"; detail[].loc is derived from it */
    const cJSON *input;  /* the offending value; only scalars are shown */
    cJSON *context;      /* detail[].ctx or NULL; taken over */
};

/**
 * problem_fault(p, fault):
 * Make ${p} a 422 validation_failed, or add to it; beyond the limit only is_truncated is set.
 * For deadline_unmeetable and idempotency_mismatch, which have the same two lists, the caller
 * then sets p->code.
 */
void problem_fault(struct problem *p, const struct problem_fault *fault);

/** problem_title(status): the status phrase of RFC 9110, "Unprocessable Content". */
const char *problem_title(int status);

/** problem_to_json(p, request_id): the whole document, NULL without memory. */
cJSON *problem_to_json(const struct problem *p, const char *request_id);

void problem_clear(struct problem *p);

#endif /* API_PROBLEM_H */
