/*
 * signals.c - A handler that writes one byte to a pipe.
 *
 * Not signalfd: a library may start threads before main() can block anything, and a
 * signal they do not block would take its default action there and end the process. The
 * handler runs in whichever thread the signal reaches. Our own threads block these
 * signals, so that no Redis call of theirs is interrupted; main lets them in while it
 * polls. A handler also is what makes TERM work for process 1.
 */
#include "worker/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGTSTP};
#define N_HANDLED (sizeof(handled) / sizeof(handled[0]))

static int pipe_fds[2] = {-1, -1}; /* what the handler can reach: written before it is installed */
static sigset_t outside;           /* the mask while main polls */

static void
on_signal(int signo)
{
    int saved = errno;
    char byte = (char)signo;

    /* A full pipe holds thousands of unread signals: one more says nothing new. */
    if (write(pipe_fds[1], &byte, 1) == -1)
        errno = saved;
}

int
signals_open(struct error *err)
{
    struct sigaction action;
    sigset_t set;

    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == -1)
        return error_errno(err, "pipe");
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    for (size_t i = 0; i < N_HANDLED; i++)
        sigaddset(&set, handled[i]);
    if (sigprocmask(SIG_BLOCK, &set, &outside) == -1) {
        error_errno(err, "block signals");
        goto close_pipe;
    }
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    action.sa_mask = set;
    for (size_t i = 0; i < N_HANDLED; i++) {
        sigdelset(&outside, handled[i]); /* whatever the parent had blocked */
        if (sigaction(handled[i], &action, NULL) == -1) {
            error_errno(err, "handle signal %d", handled[i]);
            goto close_pipe;
        }
    }
    return 0;

close_pipe:
    signals_close();
    return -1;
}

void
signals_close(void)
{
    for (size_t i = 0; i < N_HANDLED; i++)
        signal(handled[i], SIG_IGN); /* nothing may reach for the pipe any more */
    for (int i = 0; i < 2; i++) {
        if (pipe_fds[i] != -1)
            close(pipe_fds[i]);
        pipe_fds[i] = -1;
    }
}

void
signals_wait(int fd, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = pipe_fds[0], .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

    /* Which of the three it was shows in the pipe, in the descriptor and on the clock. */
    if (ppoll(fds, 2, &timeout, &outside) == -1)
        return;
}

int
signals_next(void)
{
    char byte;

    return read(pipe_fds[0], &byte, 1) == 1 ? byte : 0;
}
