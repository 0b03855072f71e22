/*
 * answer.h - From a finished forecast to the bytes that are stored.
 */
#ifndef WORKER_ANSWER_H
#define WORKER_ANSWER_H

#include "common/error.h"
#include "worker/handoff.h"
#include "worker/kronos/forecast.h"
#include "worker/model_identity.h"

/* What every answer of this process says of who made it. */
struct answer_maker {
    const struct model_identity *identity;
    const char *kernel;    /* "avx512" */
    const char *precision; /* "fp32" */
    const char *worker;    /* the short name */
    uint32_t context;
    uint32_t vocabulary; /* entries of the larger token table */
};

/**
 * answer_make(maker, job, forecast, err): fill ${job}->output from the finished ${forecast};
 * run_ms and batch_size must be there. ERR_NOT_FINITE, ERR_MEMORY; ERR_INVALID when the
 * result is larger than one may be.
 */
int answer_make(const struct answer_maker *maker, struct job *job, struct forecast *forecast,
    struct error *err);

#endif /* WORKER_ANSWER_H */
