"""Where one request ends and the next begins: nothing that two readers of HTTP could see differently gets through.

No worker and no task: a request that slipped past the guard would be seen by the second reply it causes.
"""
import math
import resource
import socket
import statistics
import time

import pytest

from kronosq import FULL, at_best, single_body, wait_for
from raw_http import Raw, assert_problem, elapsed, get, head, post

SMUGGLED = get("/smuggled")


@pytest.fixture(scope="module")
def api(request):
    import kronosq
    made = kronosq.Service().start_redis()
    made.start_api()
    yield made
    complaints = made.close()
    made.remove()
    assert not complaints, "\n".join(complaints)


def refused(api, data, status, code):
    """Send bytes; expect that refusal, a closed connection, and nothing else answered."""
    with Raw(api.port) as raw:
        raw.send(data)
        document = assert_problem(raw.reply(), status, code)
        assert raw.is_closed(), "the connection stayed open"
        return document


def length_block(*lines, path="/v1/predict/single"):
    return head("POST", path, "Content-Type: application/json", *lines)


@pytest.mark.parametrize("lines", [
    ("Transfer-Encoding: chunked",), ("Transfer-Encoding: gzip, chunked",), ("Transfer-Encoding: identity",),
    ("Transfer-Encoding: xchunked",), ("Transfer-Encoding:",), ("transfer-encoding: chunked", "Content-Length: 5"),
    ("Content-Length: 5", "Transfer-Encoding: chunked"),
])
def test_a_transfer_encoding_is_refused_with_one_reply(api, lines):
    refused(api, length_block(*lines) + "0\r\n\r\n" + SMUGGLED, 411, "length_required")


@pytest.mark.parametrize("lines", [
    ("Content-Length: 5", "Content-Length: 5"), ("Content-Length: 5", "Content-Length: 6"), ("Content-Length: 5, 5",),
    ("Content-Length: +5",), ("Content-Length: -5",), ("Content-Length: 0x5",), ("Content-Length:",), ("Content-Length: 5 5",),
    ("Content-Length: 5\r\n ",), ("Content-Length:\r\n 5",), ("Content-Length : 5",), ("Content-Length\t: 5",), ("Content-Length: 5.0",),
])
def test_an_ambiguous_length_is_refused_and_what_follows_is_no_request(api, lines):
    refused(api, length_block(*lines) + "12345" + SMUGGLED, 400, "malformed_request")


def test_a_length_beyond_every_integer_is_too_large(api):
    document = refused(api, length_block("Content-Length: 99999999999999999999"), 413, "body_too_large")
    assert document["limit_bytes"] == 10 * 1024 * 1024


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "FOOBAR"])
def test_only_methods_with_a_body_may_announce_one(api, method):
    with Raw(api.port) as raw:
        raw.send(head(method, "/v1/healthz", "Content-Length: 5") + "12345" + SMUGGLED)
        reply = raw.reply(method)
        assert reply.status == 400
        if method != "HEAD":
            assert_problem(reply, 400, "malformed_request")
        assert raw.is_closed()


def test_a_submit_without_length_is_411_and_not_an_empty_body(api):
    refused(api, length_block(), 411, "length_required")


@pytest.mark.parametrize("data", [
    head("GET", "/v1/healthz%00"), head("GET", "/v1/tasks/%00"), "GET /v1/heal\0thz HTTP/1.1\r\nHost: a\r\n\r\n",
    get("/v1/healthz", "X-A: b\0c"), get("/v1/healthz", "\0X-A: b"), "GET /v1/health z HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/\x80 HTTP/1.1\r\nHost: a\r\n\r\n", head("GET", "http://x/v1/healthz"), head("GET", "*"), head("OPTIONS", "*"),
    head("CONNECT", "test:80"), head("GET", ""), "GET  /v1/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/healthz  HTTP/1.1\r\nHost: a\r\n\r\n", "GET\t/v1/healthz\tHTTP/1.1\r\nHost: a\r\n\r\n",
])
def test_a_target_that_is_no_plain_path_is_refused(api, data):
    refused(api, data + SMUGGLED, 400, "malformed_request")


@pytest.mark.parametrize("path", ["/v1//healthz", "/v1/./healthz", "/v1/healthz/", "/v1/%68ealthz", "//v1/healthz", "//[", "/v1/healthz#x",
                                  "/V1/healthz", "/v1/tasks/", "/v1/tasks//result"])
def test_paths_match_byte_for_byte(api, path):
    with Raw(api.port) as raw:
        raw.send(get(path))
        assert_problem(raw.reply(), 404, "route_not_found", "Not Found")
        assert raw.send(get("/v1/healthz")).reply().status == 200, "a 404 does not close"


@pytest.mark.parametrize("data", [
    "GET /v1/healthz HTTP/1.1\nHost: a\n\n", "GET /v1/healthz HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", get("/v1/healthz", "X-A: b\rc"),
    get("/v1/healthz", "no colon"), get("/v1/healthz", ": nameless"), get("/v1/healthz", "X-A: b", " folded"),
    get("/v1/healthz", "X-A: b", "\tfolded"), get("/v1/healthz", "X A: b"), get("/v1/healthz", "X-A : b"), get("/v1/healthz", "X(A: b"),
    get("/v1/healthz", "X-A: \x07"), head("GET", "/v1/healthz", host=False), get("/v1/healthz", "Host: other"),
    "\r\n" + get("/v1/healthz"), "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
])
def test_a_block_that_is_not_http_is_refused_at_once(api, data):
    started = time.monotonic()
    refused(api, data, 400, "malformed_request")
    assert elapsed(started) < 9, "waited for the end of a block that cannot become good: a head has 10 s"


def test_versions_other_than_1_0_and_1_1_are_named(api):
    refused(api, "GET /v1/healthz\r\n", 400, "malformed_request")
    refused(api, "GET /v1/healthz HTTP/11\r\n\r\n", 400, "malformed_request")
    refused(api, "GET /v1/healthz http/1.1\r\n\r\n", 400, "malformed_request")
    refused(api, head("GET", "/v1/healthz", version="HTTP/2.0"), 505, "version_not_supported")
    refused(api, head("GET", "/v1/healthz", version="HTTP/1.9"), 505, "version_not_supported")
    refused(api, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_not_supported")


def test_http_1_0_is_answered_and_closed_unless_kept_alive(api):
    with Raw(api.port) as raw:
        raw.send(head("GET", "/v1/healthz", version="HTTP/1.0", host=False))
        assert raw.reply().json == {"status": "ok"}
        assert raw.is_closed()
    with Raw(api.port) as raw:
        for _ in range(2):
            raw.send(head("GET", "/v1/healthz", "Connection: keep-alive", version="HTTP/1.0"))
            assert raw.reply().status == 200


def test_blocks_and_targets_have_limits(api):
    refused(api, get("/v1/healthz", "X-A: " + "a" * 17_000), 431, "headers_too_large")
    refused(api, get("/v1/healthz", *[f"X-{i}: a" for i in range(100)]), 431, "headers_too_large")
    with Raw(api.port) as raw:
        assert raw.send(get("/v1/healthz", *[f"X-{i}: a" for i in range(99)])).reply().status == 200
    refused(api, get("/" + "a" * 4999), 414, "uri_too_long")
    refused(api, "GET /" + "a" * 8000, 414, "uri_too_long")
    with Raw(api.port) as raw:
        assert raw.send(get("/" + "a" * 4095)).reply().status == 404


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(api):
    with Raw(api.port) as raw:
        raw.send(length_block(f"Content-Length: {11 * 1024 * 1024}"))
        reply = raw.reply()
        assert assert_problem(reply, 413, "body_too_large")["limit_bytes"] == 10 * 1024 * 1024
        assert reply.seconds < 9, "waited for a part of the body: it has 30 s, the head 10"


def test_a_client_that_sends_all_of_a_body_too_large_reads_the_413(api):
    chunk = b"x" * (1024 * 1024)
    for _ in range(5):
        with Raw(api.port) as raw:
            raw.send(length_block(f"Content-Length: {20 * len(chunk)}"))
            for _ in range(20):
                raw.send(chunk)
            assert_problem(raw.reply(), 413, "body_too_large")
            assert raw.is_closed()


def test_expect_is_met_or_refused(api):
    body = post("/v1/predict/single", single_body(), "Expect: 100-continue")
    block, content = body.split(b"\r\n\r\n", 1)
    with Raw(api.port) as raw:
        raw.send(block + b"\r\n\r\n")
        assert raw.reply().status == 100
        assert raw.send(content).reply().status == 202
        assert raw.send(get("/v1/healthz")).reply().status == 200
    refused(api, length_block("Content-Length: 5", "Expect: x"), 417, "expectation_failed")
    with Raw(api.port) as raw:
        raw.send(length_block("Content-Length: 5", "Expect: 100-continue", path="/v1/nowhere"))
        assert_problem(raw.reply(), 404, "route_not_found")
        assert raw.is_closed()


def test_what_the_head_tells_is_judged_before_the_body_is_read(api):
    for lines, path, status, code in [
            (("Content-Type: text/plain",), "/v1/predict/single", 415, "unsupported_media_type"),
            (("Content-Type: application/x-www-form-urlencoded",), "/v1/predict/single", 415, "unsupported_media_type"),
            (("Content-Encoding: gzip",), "/v1/predict/single", 415, "unsupported_media_type"),
            (("Accept: image/png",), "/v1/predict/single", 406, "not_acceptable"),
            ((), "/v1/healthz", 405, "method_not_allowed")]:
        with Raw(api.port) as raw:
            raw.send(head("POST", path, "Content-Length: 9000000", *lines))
            assert_problem(raw.reply(), status, code)
            assert raw.is_closed()


def test_pipelined_requests_are_answered_in_order(api):
    with Raw(api.port) as raw:
        raw.send(get("/v1/healthz", "X-Request-ID: a") + get("/nowhere", "X-Request-ID: b") + get("/", "X-Request-ID: c"))
        replies = [raw.reply() for _ in range(3)]
        assert [(r.status, r.headers["x-request-id"]) for r in replies] == [(200, "a"), (404, "b"), (200, "c")]
    with Raw(api.port) as raw:
        raw.send(get("/v1/healthz") + "GET /v1/healthz HTTP/1.1\r\nHost : x\r\n\r\n" + SMUGGLED)
        assert raw.reply().status == 200
        assert_problem(raw.reply(), 400, "malformed_request")
        assert raw.is_closed()


def test_submits_may_be_pipelined_and_cut_anywhere(api):
    data = post("/v1/predict/single", single_body(), "X-Request-ID: one") + post("/v1/predict/single", single_body(), "X-Request-ID: two") \
        + get("/v1/healthz", "X-Request-ID: three").encode()
    for cut in (1, 20, 100, 400, len(data) // 2, len(data) - 1):
        with Raw(api.port) as raw:
            raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.send(data[:cut])
            wait_for(raw.was_read, 20, "the first part has been read")
            raw.send(data[cut:])
            replies = [raw.reply() for _ in range(3)]
            assert [(r.status, r.headers["x-request-id"]) for r in replies] == [(202, "one"), (202, "two"), (200, "three")]


def test_a_request_byte_by_byte_is_one_request(api):
    with Raw(api.port) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in get("/v1/healthz").encode():
            raw.send(bytes([byte]))
        assert raw.reply().json == {"status": "ok"}


def test_head_sends_no_body_and_keeps_the_connection(api):
    with Raw(api.port) as raw:
        raw.send(get("/v1/healthz", method="HEAD"))
        reply = raw.reply("HEAD")
        assert reply.status == 200 and reply.headers["content-length"] == "15"
        assert raw.send(get("/v1/healthz")).reply().json == {"status": "ok"}
        assert raw.send(get("/nowhere", method="HEAD")).reply("HEAD").status == 404
        assert raw.send(get("/v1/healthz")).reply().json == {"status": "ok"}


def test_methods_that_are_not_served_are_told_apart_from_unknown_ones(api):
    for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "DELETE", "POST"):
        with Raw(api.port) as raw:
            reply = raw.send(head(method, "/v1/healthz")).reply()
            assert_problem(reply, 405, "method_not_allowed", "Method Not Allowed")
            assert reply.headers["allow"] == "GET, HEAD"
    for method in ("FOOBAR", "get", "G"):
        with Raw(api.port) as raw:
            assert_problem(raw.send(head(method, "/v1/healthz")).reply(), 501, "method_not_implemented")
    with Raw(api.port) as raw:
        reply = raw.send(get("/v1/predict/single")).reply()
        assert_problem(reply, 405, "method_not_allowed")
        assert reply.headers["allow"] == "POST"


UNKNOWN = "3f0c1a52-8a4e-4d6b-9c1e-7b2f5a90d1c4"


@pytest.mark.parametrize("path, allow", [
    ("/", "GET, HEAD"), ("/v1/readyz", "GET, HEAD"), ("/v1/healthz/detailed", "GET, HEAD"), ("/metrics", "GET, HEAD"), ("/openapi.json", "GET, HEAD"),
    ("/v1/predict/single", "POST"), ("/v1/predict/batch", "POST"), (f"/v1/predict/{UNKNOWN}", "GET, HEAD"), ("/v1/tasks", "GET, HEAD"),
    (f"/v1/tasks/{UNKNOWN}", "GET, HEAD, DELETE"), (f"/v1/tasks/{UNKNOWN}/result", "GET, HEAD"), (f"/v1/tasks/{UNKNOWN}/cancel", "POST"),
    ("/v1/models", "GET, HEAD"), ("/v1/queues", "GET, HEAD"), ("/v1/queues/tiny/low/pause", "POST"), ("/v2/health/ready", "GET, HEAD")])
def test_every_path_names_the_methods_it_has(api, path, allow):
    for method in ("PUT", "PATCH", "OPTIONS", "TRACE"):
        with Raw(api.port) as raw:
            reply = raw.send(head(method, path)).reply()
            assert_problem(reply, 405, "method_not_allowed", "Method Not Allowed")
            assert reply.headers["allow"] == allow and "access-control-allow-origin" not in reply.headers


def test_a_request_id_is_echoed_when_it_is_fit_to_be(api):
    for data in (get("/v1/healthz", "X-Request-ID: a.b-1"), get("/nowhere", "X-Request-ID: a.b-1"),
                 get("/v1/healthz", "X-Request-ID: a.b-1", "no colon"), get("/v1/healthz", "no colon", "X-Request-ID: a.b-1"),
                 head("GET", "/", "X-Request-ID: a.b-1", version="HTTP/2.0")):
        with Raw(api.port) as raw:
            assert raw.send(data).reply().headers["x-request-id"] == "a.b-1"
    for bad in ("a b", "", "a" * 129, "a/b", "\u00e4"):
        with Raw(api.port) as raw:
            echoed = raw.send(get("/v1/healthz", f"X-Request-ID: {bad}")).reply().headers["x-request-id"]
            assert echoed != bad and len(echoed) == 36


def slow_clients(service, pause, limit):
    """One stops in the middle of its head; two go on, a byte at a time, in head and body. {name: (seconds until
    closed, what it read)}, and how many seconds others waited for an answer meanwhile."""
    clients = {"half": (Raw(service.port).send("GET /v1/healthz HT"), b""), "drip": (Raw(service.port).send("G"), b"E"),
               "body": (Raw(service.port).send(length_block("Content-Length: 100") + "{"), b" ")}
    started = time.monotonic()
    closed, waited = {}, []
    while len(closed) < len(clients) and elapsed(started) < limit:
        for name, (raw, more) in clients.items():
            if name in closed:
                continue
            raw.socket.settimeout(0.01)
            try:
                raw.socket.sendall(more)
                data = raw.socket.recv(4096)
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                data = b""
            closed[name] = (elapsed(started), data)
        reply = service.get("/v1/healthz")
        assert reply.status == 200
        waited.append(reply.seconds)
        time.sleep(pause)  # the pace of such clients, no wait for anything
    for raw, _ in clients.values():
        raw.close()
    return closed, waited


def test_slow_heads_and_bodies_are_cut_off_and_disturb_nobody(service):
    """header-timeout 1 s, body-timeout 1.5 s: deadlines, which a byte now and then does not push back."""
    service.start_api(KRONOS_HEADER_TIMEOUT="1", KRONOS_BODY_TIMEOUT="1.5")

    def late():
        """By how much the worst of the three was closed too late; never may one be too early."""
        closed, waited = slow_clients(service, 0.1, 10)
        assert b"408 " in closed["half"][1] and b"408 " in closed["drip"][1]
        over = [closed[name][0] - limit for name, limit in (("half", 1), ("drip", 1), ("body", 1.5))]
        assert min(over) > -0.1, closed
        return max(over) if statistics.median(waited) < 0.25 else math.inf  # 50 ms without sanitizers
    at_best(late, 0.6)


@pytest.mark.skipif(not FULL, reason="30 seconds: scripts/test --full")
def test_by_default_a_head_has_ten_seconds_and_a_body_thirty(service):
    service.start_api()
    closed, _ = slow_clients(service, 1, 40)
    assert 9.9 < closed["half"][0] < 12 and 9.9 < closed["drip"][0] < 12 and 29.9 < closed["body"][0] < 32, closed
    assert all(data == b"" or b" 408 " in data for _, data in closed.values())


def test_a_body_that_ends_early_is_no_request(api):
    before = api.redis.keys()
    with Raw(api.port) as raw:
        data = post("/v1/predict/single", single_body())
        raw.send(data[:-10])
        raw.half_close()
        assert raw.is_closed()
    assert api.redis.keys() == before


def test_every_refusal_is_one_log_line_and_a_warning(api):
    refused(api, get("/v1/healthz", "X-Request-ID: framing-log", "no colon"), 400, "malformed_request")
    lines = wait_for(lambda: api.api.log_lines(request_id="framing-log"), 20)
    assert len(lines) == 1
    assert lines[0]["level"] == "WARNING" and lines[0]["message"] == "request completed" and lines[0]["status_code"] == 400


def test_connections_over_the_limit_are_closed_and_the_others_served(service):
    service.start_api(KRONOS_MAX_CONNECTIONS="4")
    kept = [Raw(service.port) for _ in range(4)]
    for raw in kept:
        assert raw.send(get("/v1/healthz")).reply().status == 200
    with Raw(service.port) as surplus:
        assert surplus.is_closed()
    for raw in kept:
        assert raw.send(get("/v1/healthz")).reply().status == 200
    kept.pop().close()
    wait_for(lambda: service_answers(service), 20, "the place is free again")


def test_the_four_thousand_and_ninety_seventh_connection_is_closed(service):
    """As many as there are by default, all of them alive."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 4096 + 400:
        pytest.skip("this process may not open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    service.start_api()
    opened = [Raw(service.port) for _ in range(4096)]
    try:
        for raw in (opened[0], opened[2048], opened[-1]):
            assert raw.send(get("/v1/healthz")).reply().status == 200
        for _ in range(3):
            with Raw(service.port) as surplus:
                assert surplus.is_closed()
        at_best(lambda: opened[1].send(get("/v1/healthz")).reply().seconds, 0.25)
        opened.pop().close()
        wait_for(lambda: service_answers(service), 20, "the place is free again")
    finally:
        for raw in opened:
            raw.close()


def service_answers(service):
    with Raw(service.port) as raw:
        try:
            return raw.send(get("/v1/healthz")).reply() is not None
        except (ConnectionResetError, BrokenPipeError):
            return False


def test_an_idle_connection_is_closed(service):
    service.start_api(KRONOS_IDLE_TIMEOUT="1.5")
    with Raw(service.port) as silent, Raw(service.port) as used:
        assert used.send(get("/v1/healthz")).reply().status == 200
        assert silent.is_closed(9) and used.is_closed(9)  # after 60 by default
