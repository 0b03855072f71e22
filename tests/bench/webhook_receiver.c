/*
 * webhook_receiver.c - A receiver of webhooks that does nothing but answer 200, quickly.
 *
 * Prints its port, then at each line on stdin how many events it has had. Loopback only.
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned long n_events;

static void
on_request(struct evhttp_request *http, void *cookie)
{
    (void)cookie;
    n_events++;
    evhttp_send_reply(http, 200, "OK", NULL);
}

static void
on_line(evutil_socket_t fd, short what, void *cookie)
{
    char line[64];

    (void)what;
    if (read(fd, line, sizeof(line)) <= 0) {
        event_base_loopbreak(cookie);
        return;
    }
    printf("%lu\n", n_events);
    fflush(stdout);
}

int
main(void)
{
    struct event_base *base = event_base_new();
    struct evhttp *server = base != NULL ? evhttp_new(base) : NULL;
    struct evhttp_bound_socket *bound =
        server != NULL ? evhttp_bind_socket_with_handle(server, "127.0.0.1", 0) : NULL;
    struct event *lines =
        base != NULL ? event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_line, base) : NULL;
    struct sockaddr_in at;
    socklen_t len = sizeof(at);

    signal(SIGPIPE, SIG_IGN);
    if (bound == NULL || lines == NULL ||
        getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&at, &len) == -1) {
        fputs("the receiver does not start\n", stderr);
        return EXIT_FAILURE;
    }
    evhttp_set_gencb(server, on_request, NULL);
    event_add(lines, NULL);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    event_base_dispatch(base);
    event_free(lines);
    evhttp_free(server);
    event_base_free(base);
    return EXIT_SUCCESS;
}
