/*
 * deliver.c - Attempts: easy handles of libcurl, driven by sockets and timers of the loop.
 *
 * Names are resolved by libcurl's own threads, so nothing here waits; the time limits hold for
 * them, too, and QUICK_EXIT keeps libcurl from joining one that is stuck.
 */
#include "webhook/deliver.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/webhook_address.h"

#define BUFFER_BYTES           4096  /* of a response, which nobody reads */
#define UPLOAD_BYTES           16384 /* libcurl's least */
#define CONNECTION_AGE_SECONDS 60    /* so that a name that has moved is found again */
#define ADDRESS_TEXT_MAX       64

struct attempt {
    struct deliver *deliver;
    struct attempt *next, *previous; /* on their way; of spare ones next alone */
    CURL *easy;
    struct curl_slist *headers;
    void *what;
    char *body;
    size_t n_read; /* of the response */
    bool is_blocked, is_full;
    int64_t began_ms;
};

/* A socket libcurl wants to be told of. */
struct watch {
    struct event *event;
    short wants; /* EV_READ, EV_WRITE */
};

struct deliver {
    struct event_base *base;
    struct deliver_settings settings;
    deliver_fn fn;
    void *cookie;
    CURLM *multi;
    struct event *timer;
    struct attempt *first, *spare;
    const char *protocols;
};

/* ---- what libcurl asks on the way ---- */

/* An address, before anything is sent to it. */
static curl_socket_t
on_open_socket(void *cookie, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct attempt *a = cookie;
    struct cidr_address where;

    if (purpose == CURLSOCKTYPE_IPCXN && !a->is_blocked &&
        webhook_address_of(&address->addr, (socklen_t)address->addrlen, &where) == 0 &&
        webhook_address_is_public(&where, a->deliver->settings.rules->allow))
        return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    a->is_blocked = true; /* a name with one such address has no other that is trusted */
    return CURL_SOCKET_BAD;
}

/* Head lines count, too: there is no end to them either. */
static size_t
on_head_line(char *line, size_t size, size_t n, void *cookie)
{
    struct attempt *a = cookie;

    (void)line;
    a->n_read += size * n;
    if (a->n_read <= DELIVER_RESPONSE_MAX)
        return size * n;
    a->is_full = true;
    return 0;
}

static size_t
on_body(char *bytes, size_t size, size_t n, void *cookie)
{
    return on_head_line(bytes, size, n, cookie);
}

/* ---- ends ---- */

static enum attempt_end
end_of(const struct attempt *a, CURLcode code, long status)
{
    if (a->is_blocked && code != CURLE_OK)
        return ATTEMPT_BLOCKED;
    switch (code) {
    case CURLE_OK:
        return status >= 200 ? ATTEMPT_ANSWERED : ATTEMPT_BROKEN;
    case CURLE_WRITE_ERROR: /* we have stopped reading, and the status is known */
        return a->is_full && status >= 200 ? ATTEMPT_ANSWERED : ATTEMPT_BROKEN;
    case CURLE_COULDNT_RESOLVE_HOST:
        return ATTEMPT_NO_NAME;
    case CURLE_COULDNT_CONNECT:
        return ATTEMPT_NO_CONNECTION;
    case CURLE_OPERATION_TIMEDOUT:
        return ATTEMPT_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
        return ATTEMPT_TLS;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_SSL_CACERT_BADFILE:
        return ATTEMPT_LOCAL;
    default:
        return ATTEMPT_BROKEN;
    }
}

/* Why there was no answer; nothing that came from outside, because it is logged. */
static const char *
detail_of(const struct attempt *a, CURLcode code, enum attempt_end end)
{
    long verified = X509_V_OK;

    if (end == ATTEMPT_ANSWERED || end == ATTEMPT_BLOCKED)
        return NULL;
    if (code != CURLE_PEER_FAILED_VERIFICATION)
        return curl_easy_strerror(code);
    curl_easy_getinfo(a->easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    if (verified != X509_V_OK && verified != X509_V_ERR_UNSPECIFIED)
        return X509_verify_cert_error_string(verified);
    return "the certificate is for another host"; /* libcurl looks at names before it notes more */
}

static void
unlink_attempt(struct attempt *a)
{
    struct deliver *d = a->deliver;

    if (a->next != NULL)
        a->next->previous = a->previous;
    if (a->previous != NULL)
        a->previous->next = a->next;
    else
        d->first = a->next;
    curl_multi_remove_handle(d->multi, a->easy);
    curl_slist_free_all(a->headers);
    a->headers = NULL;
    free(a->body);
    a->body = NULL;
}

static void
free_attempt(struct attempt *a)
{
    curl_easy_cleanup(a->easy);
    free(a);
}

/* An attempt has ended, however. Its handle serves another. */
static void
finish(struct attempt *a, CURLcode code)
{
    struct deliver *d = a->deliver;
    struct attempt_report report = {.latency_ms = clock_monotonic_ms() - a->began_ms};
    curl_off_t retry_after = 0;
    void *what = a->what;
    long status = 0;

    curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(a->easy, CURLINFO_RETRY_AFTER, &retry_after);
    report.end = end_of(a, code, status);
    report.status = report.end == ATTEMPT_ANSWERED ? (uint32_t)status : 0;
    report.detail = detail_of(a, code, report.end);
    report.retry_after_seconds = (int64_t)retry_after;
    unlink_attempt(a);
    a->next = d->spare;
    a->previous = NULL;
    d->spare = a;
    d->fn(d->cookie, what, &report);
}

static void
collect(struct deliver *d)
{
    const CURLMsg *message;
    int n_left;

    while ((message = curl_multi_info_read(d->multi, &n_left)) != NULL) {
        struct attempt *a = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&a);
        finish(a, code);
    }
}

/* ---- the loop ---- */

static void
on_ready(evutil_socket_t fd, short what, void *cookie)
{
    struct deliver *d = cookie;
    int mask = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int n_running;

    curl_multi_socket_action(d->multi, fd, mask, &n_running);
    collect(d);
}

static void
on_time(evutil_socket_t fd, short what, void *cookie)
{
    struct deliver *d = cookie;
    int n_running;

    (void)fd;
    (void)what;
    curl_multi_socket_action(d->multi, CURL_SOCKET_TIMEOUT, 0, &n_running);
    collect(d);
}

/* libcurl wants to be called at a time, or at none. */
static int
on_timer_wanted(CURLM *multi, long timeout_ms, void *cookie)
{
    struct deliver *d = cookie;

    (void)multi;
    if (timeout_ms < 0)
        event_del(d->timer);
    else
        event_add(d->timer, &(struct timeval){timeout_ms / 1000, timeout_ms % 1000 * 1000});
    return 0;
}

static void
forget_watch(struct deliver *d, curl_socket_t fd, struct watch *w)
{
    curl_multi_assign(d->multi, fd, NULL);
    event_free(w->event);
    free(w);
}

/* libcurl wants to know when a socket is ready, or no more. */
static int
on_socket_wanted(CURL *easy, curl_socket_t fd, int action, void *cookie, void *of_socket)
{
    struct deliver *d = cookie;
    struct watch *w = of_socket;
    short wants =
        (short)((action & CURL_POLL_IN ? EV_READ : 0) | (action & CURL_POLL_OUT ? EV_WRITE : 0));

    (void)easy;
    if (action == CURL_POLL_REMOVE) {
        if (w != NULL)
            forget_watch(d, fd, w);
        return 0;
    }
    if (w == NULL) {
        if ((w = calloc(1, sizeof(*w))) == NULL)
            return -1;
        if ((w->event = event_new(d->base, fd, (short)(wants | EV_PERSIST), on_ready, d)) == NULL) {
            free(w);
            return -1;
        }
        curl_multi_assign(d->multi, fd, w);
    } else if (w->wants == wants) {
        return 0;
    } else {
        event_del(w->event);
        event_assign(w->event, d->base, fd, (short)(wants | EV_PERSIST), on_ready, d);
    }
    w->wants = wants;
    return event_add(w->event, NULL);
}

/* ---- attempts ---- */

/* Whatever is not said here is libcurl's default; what matters for safety is said. */
static int
set_up(struct attempt *a, struct error *err)
{
    const struct deliver_settings *s = &a->deliver->settings;
    CURL *e = a->easy;
    int bad = 0;

#define set(option, value) bad |= curl_easy_setopt(e, CURLOPT_##option, value) != CURLE_OK
    set(PRIVATE, (char *)a);
    set(POST, 1L);
    set(FOLLOWLOCATION, 0L);
    set(PROTOCOLS_STR, a->deliver->protocols);
    set(REDIR_PROTOCOLS_STR, a->deliver->protocols);
    set(DISALLOW_USERNAME_IN_URL, 1L);
    set(PATH_AS_IS, 1L);
    set(PROXY, "");
    set(NETRC, (long)CURL_NETRC_IGNORED);
    set(NOSIGNAL, 1L);
    set(QUICK_EXIT, 1L);
    set(DNS_CACHE_TIMEOUT,
        0L); /* a name that has moved is found at its new place, and judged there */
    set(SSL_VERIFYPEER, 1L);
    set(SSL_VERIFYHOST, 2L);
    set(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (s->ca_file != NULL) {
        set(CAINFO, s->ca_file);
        set(CAPATH, NULL);
    }
    set(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    set(TIMEOUT_MS, (long)s->timeout_ms);
    set(CONNECTTIMEOUT_MS, (long)s->connect_timeout_ms);
    set(MAXLIFETIME_CONN, (long)CONNECTION_AGE_SECONDS);
    set(BUFFERSIZE, (long)BUFFER_BYTES);
    set(UPLOAD_BUFFERSIZE, (long)UPLOAD_BYTES);
    set(OPENSOCKETFUNCTION, on_open_socket);
    set(OPENSOCKETDATA, a);
    set(HEADERFUNCTION, on_head_line);
    set(HEADERDATA, a);
    set(WRITEFUNCTION, on_body);
    set(WRITEDATA, a);
    set(USERAGENT, "kronosq/" KRONOSQ_VERSION);
#undef set
    return bad ? error_set(err, ERR_SYSTEM, "libcurl refuses a setting") : 0;
}

static struct attempt *
new_attempt(struct deliver *d, struct error *err)
{
    struct attempt *a = d->spare;

    if (a != NULL) {
        d->spare = a->next;
        return a;
    }
    if ((a = calloc(1, sizeof(*a))) == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    a->deliver = d;
    if ((a->easy = curl_easy_init()) == NULL) {
        free(a);
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    if (set_up(a, err) == -1) {
        free_attempt(a);
        return NULL;
    }
    return a;
}

static int add_header(struct attempt *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int
add_header(struct attempt *a, const char *format, ...)
{
    char line[512];
    struct curl_slist *longer;
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if ((longer = curl_slist_append(a->headers, line)) == NULL)
        return -1;
    a->headers = longer;
    return 0;
}

static int
add_headers(struct attempt *a, const struct deliver_post *post)
{
    if (add_header(a, "Content-Type: application/json") == -1 ||
        add_header(a, "webhook-id: %s", post->id) == -1 ||
        add_header(a, "webhook-timestamp: %" PRId64, post->timestamp) == -1 ||
        add_header(a, "webhook-signature: %s", post->signature) == -1 ||
        add_header(a, "Expect:") == -1) /* none */
        return -1;
    return post->traceparent[0] != '\0' ? add_header(a, "traceparent: %s", post->traceparent) : 0;
}

int
deliver_post(
    struct deliver *deliver, const struct deliver_post *post, void *what, struct error *err)
{
    struct attempt *a = new_attempt(deliver, err);

    if (a == NULL) {
        free(post->body);
        return -1;
    }
    a->what = what;
    a->body = post->body;
    a->n_read = 0;
    a->is_blocked = a->is_full = false;
    a->began_ms = clock_monotonic_ms();
    a->previous = NULL;
    if ((a->next = deliver->first) != NULL)
        a->next->previous = a;
    deliver->first = a;
    if (add_headers(a, post) == -1 ||
        curl_easy_setopt(a->easy, CURLOPT_URL, post->url) != CURLE_OK ||
        curl_easy_setopt(a->easy, CURLOPT_HTTPHEADER, a->headers) != CURLE_OK ||
        curl_easy_setopt(a->easy, CURLOPT_POSTFIELDS, a->body) != CURLE_OK ||
        curl_easy_setopt(a->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->size) !=
            CURLE_OK ||
        curl_multi_add_handle(deliver->multi, a->easy) != CURLM_OK) {
        unlink_attempt(a);
        free_attempt(a);
        return error_set(err, ERR_MEMORY, "no memory for an attempt");
    }
    return 0;
}

/* ---- from nothing to attempts and back ---- */

struct deliver *
deliver_new(struct event_base *base, const struct deliver_settings *settings, deliver_fn fn,
    void *cookie, struct error *err)
{
    struct deliver *d = calloc(1, sizeof(*d));

    if (d == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        return NULL;
    }
    d->base = base;
    d->settings = *settings;
    d->fn = fn;
    d->cookie = cookie;
    d->protocols = settings->rules->allow_http ? "https,http" : "https";
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        error_set(err, ERR_SYSTEM, "libcurl does not start");
        free(d);
        return NULL;
    }
    if ((d->multi = curl_multi_init()) == NULL ||
        (d->timer = event_new(base, -1, 0, on_time, d)) == NULL ||
        curl_multi_setopt(d->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted) != CURLM_OK ||
        curl_multi_setopt(d->multi, CURLMOPT_SOCKETDATA, d) != CURLM_OK ||
        curl_multi_setopt(d->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) != CURLM_OK ||
        curl_multi_setopt(d->multi, CURLMOPT_TIMERDATA, d) != CURLM_OK ||
        curl_multi_setopt(d->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) != CURLM_OK ||
        curl_multi_setopt(d->multi, CURLMOPT_MAXCONNECTS, (long)settings->total) != CURLM_OK) {
        deliver_free(d);
        error_set(err, ERR_MEMORY, "no memory for libcurl");
        return NULL;
    }
    return d;
}

void
deliver_free(struct deliver *deliver)
{
    struct attempt *a;

    if (deliver == NULL)
        return;
    while ((a = deliver->first) != NULL) {
        unlink_attempt(a);
        free_attempt(a);
    }
    while ((a = deliver->spare) != NULL) {
        deliver->spare = a->next;
        free_attempt(a);
    }
    if (deliver->multi != NULL)
        curl_multi_cleanup(deliver->multi); /* closes connections, which calls back for watches */
    if (deliver->timer != NULL)
        event_free(deliver->timer);
    free(deliver);
    curl_global_cleanup();
}
