/*
 * guard_bytes.c - A client's bytes on their way between its socket and evhttp's buffers.
 *
 * Knows nothing of requests. A body that fits into one piece of memory is read into one, because
 * it is parsed as one and would be copied together otherwise.
 */
#include "api/guard_bytes.h"

#include <event2/buffer.h>
#include <string.h>
#include <sys/socket.h>

#define BYTES_ONE_PIECE  ((size_t)60 * 1024)  /* reserved on the word of a Content-Length */
#define BYTES_READ_AHEAD ((size_t)256 * 1024) /* in one go, so that no sender holds up the loop */

void
bytes_cut_tail(struct bufferevent *bev, size_t n, struct evbuffer *to)
{
    struct evbuffer *input = bufferevent_get_input(bev);
    struct evbuffer *front = evbuffer_new();

    if (front == NULL) { /* without memory nothing may slip through: evhttp gets less, not more */
        evbuffer_drain(input, evbuffer_get_length(input));
        return;
    }
    evbuffer_remove_buffer(input, front, evbuffer_get_length(input) - n);
    if (to != NULL)
        evbuffer_add_buffer(to, input);
    else
        evbuffer_drain(input, n);
    evbuffer_add_buffer(input, front);
    evbuffer_free(front);
}

/* ${n} bytes of ${from} behind what is in ${to}, in its piece if it has room. */
static void
copy_bytes(struct evbuffer *to, struct evbuffer *from, size_t n)
{
    struct evbuffer_iovec room;

    if (evbuffer_reserve_space(to, (ev_ssize_t)n, &room, 1) != 1) {
        evbuffer_remove_buffer(from, to, n);
        return;
    }
    room.iov_len = (size_t)evbuffer_remove(from, room.iov_base, n);
    evbuffer_commit_space(to, &room, 1);
}

void
bytes_give(struct bufferevent *bev, bool is_reading, const char *block, struct evbuffer *from,
    size_t n, uint64_t n_more)
{
    struct evbuffer *input = bufferevent_get_input(bev);
    size_t len = strlen(block);
    bool is_one_piece = n_more > 0 && len + n + n_more <= BYTES_ONE_PIECE;

    if (!is_reading)
        evbuffer_unfreeze(input, 0);
    if (is_one_piece)
        (void)evbuffer_expand(input, len + n + (size_t)n_more); /* else it is several pieces */
    evbuffer_add(input, block, len);
    if (n > 0 && is_one_piece)
        copy_bytes(input, from, n);
    else if (n > 0)
        evbuffer_remove_buffer(from, input, n);
    if (!is_reading)
        evbuffer_freeze(input, 0);
}

size_t
bytes_read_ahead(struct bufferevent *bev, uint64_t most)
{
    struct evbuffer *input = bufferevent_get_input(bev);
    size_t want = most < BYTES_READ_AHEAD ? (size_t)most : BYTES_READ_AHEAD;
    struct evbuffer_iovec room;
    ssize_t n;

    if (want == 0 || evbuffer_reserve_space(input, (ev_ssize_t)want, &room, 1) != 1)
        return 0;
    n = recv(bufferevent_getfd(bev), room.iov_base, want, MSG_DONTWAIT);
    room.iov_len = n > 0 ? (size_t)n : 0;
    if (room.iov_len > 0 && evbuffer_commit_space(input, &room, 1) == -1)
        return 0;
    return room.iov_len;
}

bool
bytes_write_now(struct bufferevent *bev)
{
    struct evbuffer *output = bufferevent_get_output(bev);

    evbuffer_unfreeze(output, 1);
    while (evbuffer_get_length(output) > 0 && evbuffer_write(output, bufferevent_getfd(bev)) > 0)
        ;
    evbuffer_freeze(output, 1);
    return evbuffer_get_length(output) == 0;
}
