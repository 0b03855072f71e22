/*
 * repeat.c - A client that costs little itself: epoll, one write and one read per exchange.
 *
 * It reads of a reply what it must: the status, Content-Length, and how many bytes came.
 */
#include "tests/bench/repeat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/measure.h"

#define REPLY_ROOM    (256 * 1024)
#define EVENTS        64
#define SILENCE_MS    10000
#define CONNECT_TRIES 200 /* 10 ms each: a server that was just started */

struct connection {
    int fd;
    size_t sent;
    size_t received, expected; /* expected 0: the head is not complete */
    double began;
    char *reply; /* [REPLY_ROOM + 1] */
};

static int
connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;

    for (int i = 0; i < CONNECT_TRIES; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd == -1)
            measure_die("socket", strerror(errno));
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            return fd;
        }
        close(fd);
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    measure_die("connect", strerror(errno));
}

/* How many bytes the reply has in all; 0: its head is not complete. */
static size_t
reply_size(const char *reply, int status)
{
    const char *end = strstr(reply, "\r\n\r\n"), *length;
    char wanted[32];

    if (end == NULL)
        return 0;
    snprintf(wanted, sizeof(wanted), "HTTP/1.1 %d ", status);
    if (strncmp(reply, wanted, strlen(wanted)) != 0)
        measure_die("a reply of another status", reply);
    if ((length = strcasestr(reply, "\r\nContent-Length:")) == NULL || length > end)
        measure_die("a reply without Content-Length", reply);
    return (size_t)(end + 4 - reply) + strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
}

static void
send_more(struct connection *c, const struct repeat_job *job)
{
    while (c->sent < job->request_size) {
        ssize_t n = send(c->fd, job->request + c->sent, job->request_size - c->sent, MSG_NOSIGNAL);

        if (n == -1 && errno == EAGAIN)
            return;
        if (n == -1)
            measure_die("send", strerror(errno));
        c->sent += (size_t)n;
    }
}

/* Is the reply complete? */
static int
receive_more(struct connection *c, const struct repeat_job *job)
{
    ssize_t n = recv(c->fd, c->reply + c->received, REPLY_ROOM - c->received, 0);

    if (n == -1 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        measure_die("recv", n == 0 ? "the server closed the connection" : strerror(errno));
    c->received += (size_t)n;
    c->reply[c->received] = '\0';
    if (c->expected == 0 && (c->expected = reply_size(c->reply, job->status)) > REPLY_ROOM)
        measure_die("a reply", "is too long");
    return c->expected != 0 && c->received >= c->expected;
}

static void
begin(struct connection *c, const struct repeat_job *job)
{
    c->sent = c->received = c->expected = 0;
    c->began = measure_now();
    send_more(c, job);
}

static struct connection *
open_connections(const struct repeat_job *job, int epoll)
{
    struct connection *all = measure_take(job->n_connections, sizeof(*all));

    for (size_t i = 0; i < job->n_connections; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &all[i]};

        all[i].fd = connect_to(job->port);
        all[i].reply = malloc(REPLY_ROOM + 1);
        if (all[i].reply == NULL || fcntl(all[i].fd, F_SETFL, O_NONBLOCK) == -1 ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event) == -1)
            measure_die("a connection", strerror(errno));
    }
    return all;
}

void
repeat_run(const struct repeat_job *job, struct repeat_result *result)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = open_connections(job, epoll);
    double *latencies = measure_take(job->most, sizeof(*latencies));
    size_t begun = 0, n = 0;
    double start, cpu, now;

    if (epoll == -1)
        measure_die("epoll", strerror(errno));
    *result = (struct repeat_result){0};
    cpu = measure_cpu_seconds();
    start = now = measure_now();
    for (; begun < job->n_connections && begun < job->most; begun++)
        begin(&all[begun], job);
    while (n < begun) {
        struct epoll_event events[EVENTS];
        int n_events = epoll_wait(epoll, events, EVENTS, SILENCE_MS);

        if (n_events <= 0 && errno != EINTR)
            measure_die("epoll", n_events == 0 ? "no reply for 10 s" : strerror(errno));
        for (int i = 0; i < n_events; i++) {
            struct connection *c = events[i].data.ptr;

            if (c->began == 0)
                continue;
            send_more(c, job);
            if (!receive_more(c, job))
                continue;
            now = measure_now();
            latencies[n++] = now - c->began;
            result->reply_body_bytes =
                c->expected - (size_t)(strstr(c->reply, "\r\n\r\n") + 4 - c->reply);
            c->began = 0;
            if (begun < job->most && now - start < job->most_seconds) {
                begun++;
                begin(c, job);
            }
        }
    }
    result->n = n;
    result->seconds = now - start;
    result->client_cpu_seconds = measure_cpu_seconds() - cpu;
    measure_sort(latencies, n);
    result->p50 = measure_quantile(latencies, n, 0.5);
    result->p99 = measure_quantile(latencies, n, 0.99);
    for (size_t i = 0; i < job->n_connections; i++) {
        close(all[i].fd);
        free(all[i].reply);
    }
    close(epoll);
    free(all);
    free(latencies);
}

void
repeat_once(const struct repeat_job *job, char *reply, size_t room)
{
    struct connection c = {.fd = connect_to(job->port)};

    send_more(&c, job); /* the socket blocks: all of it */
    while (c.expected == 0 || c.received < c.expected) {
        ssize_t n = recv(c.fd, reply + c.received, room - 1 - c.received, 0);

        if (n <= 0)
            measure_die("recv", n == 0 ? "the server closed the connection" : strerror(errno));
        c.received += (size_t)n;
        reply[c.received] = '\0';
        c.expected = reply_size(reply, job->status);
    }
    close(c.fd);
}
