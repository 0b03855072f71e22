/*
 * repeat.h - One request, sent again and again over connections that stay open.
 */
#ifndef TESTS_BENCH_REPEAT_H
#define TESTS_BENCH_REPEAT_H

#include <stddef.h>

struct repeat_job {
    int port; /* on 127.0.0.1 */
    size_t n_connections;
    const char *request; /* head and body */
    size_t request_size;
    int status;          /* every reply must have it */
    size_t most;         /* replies, and */
    double most_seconds; /* whatever ends first */
};

struct repeat_result {
    size_t n;
    double seconds;
    double client_cpu_seconds;
    double p50, p99; /* seconds from the first byte sent to the last one received */
    size_t reply_body_bytes;
};

/**
 * repeat_run(job, result):
 * Each connection sends, waits for its reply, sends again; nothing is pipelined. One thread.
 * Ends the process with a message when a connection fails or a reply is not the one wanted.
 */
void repeat_run(const struct repeat_job *job, struct repeat_result *result);

/** repeat_once(job, reply, room): one request on its own; the reply, head and body, as a string. */
void repeat_once(const struct repeat_job *job, char *reply, size_t room);

#endif /* TESTS_BENCH_REPEAT_H */
