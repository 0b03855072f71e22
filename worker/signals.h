/*
 * signals.h - TERM, INT, HUP and TSTP as bytes to be read between two polls.
 */
#ifndef WORKER_SIGNALS_H
#define WORKER_SIGNALS_H

#include "common/error.h"

/** signals_open(err): before any thread is started; PIPE is ignored from here on. Once per process. */
int signals_open(struct error *err);
void signals_close(void);

/** signals_wait(fd, timeout_ms): until ${fd} (-1: none) is readable, a signal came or the time is over. */
void signals_wait(int fd, int timeout_ms);

/** signals_next(): the next signal that came, or 0. */
int signals_next(void);

#endif /* WORKER_SIGNALS_H */
