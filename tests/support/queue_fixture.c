/*
 * queue_fixture.c - See queue_fixture.h. Uses the queue only through queue.h, and
 * Redis directly to look at what is stored and to let time pass.
 */
#include "tests/support/queue_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/id.h"
#include "common/queue/queue_admin.h"

#define DIGEST "d1ge57"

int
queue_fixture_open(void **state)
{
    struct queue_fixture *f = calloc(1, sizeof(*f));

    if (!f || !(f->server = redis_server_new(NULL)) || !(f->c = redis_server_connect(f->server))) {
        free(f);
        return -1;
    }
    *state = f;
    return 0;
}

static void
stop_listening(struct queue_fixture *f)
{
    if (f->events)
        redisFree(f->events);
    f->events = NULL;
}

int
queue_fixture_close(void **state)
{
    struct queue_fixture *f = *state;

    stop_listening(f);
    redisFree(f->c);
    redis_server_free(f->server);
    free(f);
    return 0;
}

int
queue_fixture_reset(void **state)
{
    struct queue_fixture *f = *state;

    stop_listening(f);
    queue_fixture_int(f, "CONFIG SET maxmemory 0");
    queue_fixture_int(f, "FLUSHALL");
    memset(f->run_id, 'a', 40);
    id_new(f->worker);
    id_new(f->other);
    assert_int_equal(queue_init(&f->q, "test-model", &f->err), 0);
    f->q.tuning.lease_ms = 0; /* no lease is held back after the first sweep sees the run id */
    assert_int_equal(queue_load_scripts(f->c, &f->err), 0);
    return 0;
}

static redisReply *
ask(struct queue_fixture *f, const char *format, va_list args)
{
    char expanded[512];
    size_t n = 0;
    redisReply *reply;

    for (const char *p = format; *p; p++) {
        int more = *p == '~' ? snprintf(expanded + n, sizeof(expanded) - n, "%s", f->q.prefix)
                             : snprintf(expanded + n, sizeof(expanded) - n, "%c", *p);

        n += (size_t)more;
        assert_true(n < sizeof(expanded));
    }
    reply = redisvCommand(f->c, expanded, args);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply->str);
    return reply;
}

redisReply *
queue_fixture_reply(struct queue_fixture *f, const char *format, ...)
{
    va_list args;
    redisReply *reply;

    va_start(args, format);
    reply = ask(f, format, args);
    va_end(args);
    return reply;
}

long long
queue_fixture_int(struct queue_fixture *f, const char *format, ...)
{
    va_list args;
    redisReply *reply;
    long long value;

    va_start(args, format);
    reply = ask(f, format, args);
    va_end(args);
    value = reply->type == REDIS_REPLY_INTEGER  ? reply->integer
            : reply->type == REDIS_REPLY_STRING ? atoll(reply->str)
                                                : 0;
    freeReplyObject(reply);
    return value;
}

const char *
queue_fixture_text(struct queue_fixture *f, const char *format, ...)
{
    va_list args;
    redisReply *reply;

    va_start(args, format);
    reply = ask(f, format, args);
    va_end(args);
    snprintf(f->text, sizeof(f->text), "%s",
        reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ? reply->str : "");
    freeReplyObject(reply);
    return f->text;
}

long long
queue_fixture_stat(struct queue_fixture *f, const char *name)
{
    return queue_fixture_int(f, "HGET ~:stats %s", name);
}

void
queue_fixture_fill(struct queue_submission *s, struct queue_series *series, char *id)
{
    id_new(id);
    *series = (struct queue_series){
        .task_id = id,
        .prefill_tokens = 393,
        .decode_steps = 120,
        .input = "the input",
        .input_size = 9,
        .about = "the about",
        .about_size = 9,
    };
    *s = (struct queue_submission){
        .id = id,
        .priority = TASK_NORMAL,
        .owner = "local",
        .digest = DIGEST,
        .result_ttl_ms = QUEUE_RESULT_TTL_MS,
        .idem_ttl_ms = QUEUE_IDEM_TTL_MS,
        .max_attempts = QUEUE_MAX_ATTEMPTS,
        .max_queued = QUEUE_MAX_QUEUED,
        .max_bytes = QUEUE_MAX_BYTES,
        .n_series = 1,
        .series = series,
    };
}

int
queue_fixture_submit_as(struct queue_fixture *f, const struct queue_submission *s)
{
    struct queue_submitted out;

    if (queue_submit(f->c, &f->q, s, &out, &f->err) == -1)
        fail_msg("submit: %s", f->err.text);
    snprintf(f->text, sizeof(f->text), "%s", out.id);
    return out.outcome;
}

void
queue_fixture_submit(struct queue_fixture *f, enum task_priority priority, char *id)
{
    struct queue_submission s;
    struct queue_series series;

    queue_fixture_fill(&s, &series, id);
    s.priority = priority;
    assert_int_equal(queue_fixture_submit_as(f, &s), QUEUE_SUBMITTED);
}

void
queue_fixture_claim(struct queue_fixture *f, enum task_priority priority, const char *worker,
    struct queue_claims *claims)
{
    char key[QUEUE_KEY_MAX], hint[ID_LEN + 1];
    struct queue_claim_request r;

    queue_list_key(&f->q, priority, key);
    snprintf(hint, sizeof(hint), "%.*s", ID_LEN, queue_fixture_text(f, "LPOP %s", key));
    r = (struct queue_claim_request){
        .priority = priority,
        .hint = hint,
        .hint_len = strlen(hint),
        .worker = worker,
        .lease_ms = FIXTURE_LEASE_MS,
        .room = 1,
        .room_other = 1,
    };
    if (queue_claim(f->c, &f->q, &r, claims, &f->err) == -1)
        fail_msg("claim: %s", f->err.text);
}

struct queue_token
queue_fixture_take(
    struct queue_fixture *f, enum task_priority priority, const char *id, const char *worker)
{
    struct queue_claims claims;
    struct queue_token token;

    queue_fixture_claim(f, priority, worker, &claims);
    assert_int_equal(claims.n, 1);
    assert_string_equal(claims.leases[0].id, id);
    token = (struct queue_token){.id = id, .fence = claims.leases[0].fence, .worker = worker};
    queue_claims_clear(&claims);
    return token;
}

struct queue_swept
queue_fixture_sweep(struct queue_fixture *f)
{
    struct queue_swept swept;

    queue_fixture_int(f, "DEL ~:sweep");
    if (queue_sweep(f->c, &f->q, f->run_id, &swept, &f->err) == -1)
        fail_msg("sweep: %s", f->err.text);
    assert_false(swept.throttled);
    return swept;
}

redisReply *
queue_fixture_run(struct queue_fixture *f, struct queue_call *call)
{
    redisReply *reply = queue_run(f->c, call, &f->err);

    queue_call_clear(call);
    if (!reply)
        fail_msg("%s", f->err.text);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s", reply->str);
    return reply;
}

bool
queue_fixture_do(struct queue_fixture *f, int rc, struct queue_call *call)
{
    redisReply *reply;
    bool is_done;

    assert_int_equal(rc, 0);
    reply = queue_fixture_run(f, call);
    if (queue_done_parse(reply, &is_done, &f->err) == -1)
        fail_msg("%s", f->err.text);
    freeReplyObject(reply);
    return is_done;
}

void
queue_fixture_end_lease(struct queue_fixture *f, const char *id)
{
    assert_int_equal(queue_fixture_int(f, "ZADD ~:running XX CH 1 %s", id), 1);
}

void
queue_fixture_pass_deadline(struct queue_fixture *f, const char *id)
{
    queue_fixture_int(f, "HSET ~:task:%s deadline_ms 1", id);
    queue_fixture_int(f, "ZADD ~:deadline XX CH 1 %s", id);
}

void
queue_fixture_listen(struct queue_fixture *f)
{
    redisReply *reply;

    f->events = redis_server_connect(f->server);
    assert_non_null(f->events);
    reply = redisCommand(f->events, "PSUBSCRIBE %s", QUEUE_EVENTS_PATTERN);
    assert_non_null(reply);
    freeReplyObject(reply);
}

const char *
queue_fixture_event(struct queue_fixture *f)
{
    long long marker = ++f->markers;

    /* What was published earlier comes before this marker, so nothing has to be waited for. */
    queue_fixture_int(f, "PUBLISH ~:events marker%lld", marker);
    for (;;) {
        redisReply *reply = NULL;
        const char *message;
        bool is_marker;

        assert_int_equal(redisGetReply(f->events, (void **)&reply), REDIS_OK);
        assert_int_equal(reply->elements, 4); /* pmessage, pattern, channel, message */
        message = reply->element[3]->str;
        is_marker = strncmp(message, "marker", 6) == 0;
        snprintf(f->text, sizeof(f->text), "%s", message);
        freeReplyObject(reply);
        if (!is_marker)
            return f->text;
        if (atoll(f->text + 6) == marker)
            return NULL;
    }
}

redisContext *
queue_fixture_canned(const char *bytes)
{
    static int peer = -1; /* takes what the caller sends; closed by the next call */
    size_t n = strlen(bytes);
    int ends[2];
    redisContext *c;

    if (peer != -1)
        close(peer);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer = ends[1];
    assert_int_equal(write(peer, bytes, n), (ssize_t)n);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    c = redisConnectFd(ends[0]);
    assert_non_null(c);
    return c;
}
