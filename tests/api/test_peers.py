"""Addresses: who may connect, which proxies are believed, who is logged."""
import json
import socket
import subprocess
import time

import pytest

from api_keys import KeysFile, bearer
from kronosq import BUILD, environment, read_reply
from raw_http import assert_problem, elapsed, get, head


def ask(service, data, source="127.0.0.1", target="127.0.0.1"):
    """One exchange from another loopback address."""
    with socket.create_connection((target, service.port), timeout=15, source_address=(source, 0)) as s:
        s.sendall(data.encode("latin-1"))
        return read_reply(s.makefile("rb"))


def test_other_peers_are_refused_with_the_members_old_clients_know(service):
    service.start_api(KRONOS_PEER_ALLOW="127.0.0.2, 10.0.0.0/8")
    document = assert_problem(ask(service, get("/v1/tasks")), 403, "not_whitelisted")
    assert document["error"] == "Forbidden" and document["message"] == "Container not whitelisted"
    assert ask(service, get("/v1/tasks"), "127.0.0.2").status == 200
    assert ask(service, get("/v1/tasks"), "127.0.0.3").status == 403
    for path in ("/", "/nowhere", "/openapi.json", "/v2", "/v1/models"):
        assert ask(service, get(path)).status == 403, path
    for path in ("/v1/healthz", "/v1/readyz", "/v1/healthz/detailed", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready"):
        assert ask(service, get(path)).status in (200, 503), path
    line = service.api.log_lines(status_code=403)[0]
    assert line["level"] == "WARNING" and line["error_type"] == "not_whitelisted" and line["client_host"] == "127.0.0.1"


def test_a_refused_peer_is_told_before_it_has_sent_its_body(service):
    service.start_api(KRONOS_PEER_ALLOW="10.0.0.0/8")
    began = time.monotonic()
    reply = ask(service, head("POST", "/v1/predict/single", "Content-Type: application/json", f"Content-Length: {9 << 20}"))
    assert_problem(reply, 403, "not_whitelisted")
    assert elapsed(began) < 9, "a body has 30 s"


def test_a_peer_is_judged_before_its_key_and_a_header_changes_no_address(service, tmp_path):
    keys = KeysFile(tmp_path)
    key = bearer(keys.add("a"))["Authorization"]
    service.start_api("--keys-file", keys.path, KRONOS_PEER_ALLOW="127.0.0.2")
    for line in ("X-Forwarded-For: 127.0.0.2", "X-Real-IP: 127.0.0.2", "Forwarded: for=127.0.0.2", "X-Container-Name: frontend-app"):
        assert_problem(ask(service, get("/v1/tasks", f"Authorization: {key}", line)), 403, "not_whitelisted")
    assert_problem(ask(service, get("/v1/tasks"), "127.0.0.2"), 401, "unauthenticated")
    assert ask(service, get("/v1/tasks", f"Authorization: {key}"), "127.0.0.2").status == 200


def test_ipv6_peers_are_listed_like_others(service):
    service.start_api("--listen", "[::1]:0", KRONOS_PEER_ALLOW="::1")
    with socket.create_connection(("::1", service.port), timeout=15) as s:
        s.sendall(get("/v1/tasks").encode())
        assert read_reply(s.makefile("rb")).status == 200
    service.start_api("--listen", "[::1]:0", KRONOS_PEER_ALLOW="fd00::/8,127.0.0.0/8")
    with socket.create_connection(("::1", service.port), timeout=15) as s:
        s.sendall(get("/v1/tasks").encode())
        assert read_reply(s.makefile("rb")).status == 403


HOPS = [
    # what a trusted proxy sent, and whom the log names
    (["X-Forwarded-For: 203.0.113.7"], "203.0.113.7"),
    (["X-Forwarded-For: 198.51.100.1, 203.0.113.7"], "203.0.113.7"),
    (["X-Forwarded-For: 198.51.100.1, 203.0.113.7, 127.0.0.3"], "203.0.113.7"),
    (["X-Forwarded-For: 198.51.100.1,203.0.113.7,10.1.2.3 , 127.0.0.3"], "203.0.113.7"),
    (["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.7"], "203.0.113.7"),
    (["X-Forwarded-For: 203.0.113.7", "x-forwarded-for: 10.9.9.9"], "203.0.113.7"),
    (["X-Forwarded-For: 203.0.113.7:4711"], "203.0.113.7"), (["X-Forwarded-For: [2001:db8::7]:4711"], "2001:db8::7"),
    (["X-Forwarded-For: 2001:DB8:0::7"], "2001:db8::7"), (["X-Forwarded-For: ::ffff:203.0.113.7"], "203.0.113.7"),
    (["X-Forwarded-For: 10.1.1.1, 10.1.1.2"], "10.1.1.1"),  # nobody else is named
    (["X-Forwarded-For: 203.0.113.7, unknown"], "127.0.0.3"), (["X-Forwarded-For: 203.0.113.7, unknown, 10.1.1.1"], "10.1.1.1"),
    (["X-Forwarded-For:"], "127.0.0.3"), (["X-Forwarded-For: ,"], "127.0.0.3"), (["X-Forwarded-For: 203.0.113.7,"], "127.0.0.3"),
    (["X-Forwarded-For: " + "9" * 5000], "127.0.0.3"), (['X-Forwarded-For: "203.0.113.7"'], "127.0.0.3"), ([], "127.0.0.3"),
]


def test_the_last_hop_that_is_no_trusted_proxy_is_the_client(service):
    service.start_api(KRONOS_TRUSTED_PROXIES="127.0.0.3 10.0.0.0/8")
    for i, (lines, client) in enumerate(HOPS):
        assert ask(service, get("/v1/healthz", f"X-Request-ID: hop{i}", *lines), "127.0.0.3").status == 200
        assert service.api.log_lines(request_id=f"hop{i}")[0]["client_host"] == client, lines
    ask(service, get("/v1/healthz", "X-Request-ID: liar", "X-Forwarded-For: 203.0.113.7", "X-Container-Name: frontend-app"), "127.0.0.4")
    line = service.api.log_lines(request_id="liar")[0]
    assert line["client_host"] == "127.0.0.4" and "container_name" not in line, "only proxies are believed"


def test_a_container_name_from_a_proxy_is_a_log_field_and_nothing_else(service, tmp_path):
    keys = KeysFile(tmp_path)
    keys.add("a")
    service.start_api("--keys-file", keys.path, KRONOS_TRUSTED_PROXIES="127.0.0.3")
    name = 'front"end\\app' + "x" * 500
    assert_problem(ask(service, get("/v1/tasks", "X-Request-ID: one", f"X-Container-Name: {name}"), "127.0.0.3"), 401, "unauthenticated")
    line = service.api.log_lines(request_id="one")[0]
    assert line["container_name"].startswith('front"end\\app') and len(line["container_name"]) <= 256 and line["container"] is None


@pytest.fixture
def other_address():
    """An address of this machine that is not loopback; nothing is sent to anybody else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # no packet: it only chooses a source address
            address = s.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no address but loopback")
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    return address


def test_connections_per_peer_are_limited_and_proxies_are_exempt(service, tmp_path, other_address):
    keys = KeysFile(tmp_path)
    keys.add("a")
    for proxies, may_open in ((None, 2), (f"{other_address}/32", 6)):
        settings = {"KRONOS_TRUSTED_PROXIES": proxies} if proxies else {}
        service.start_api("--listen", f"{other_address}:0", "--keys-file", keys.path, KRONOS_MAX_CONNECTIONS_PER_PEER="2", **settings)
        opened = []
        try:
            for _ in range(6):
                s = socket.create_connection((other_address, service.port), timeout=15)
                opened.append(s)
                s.sendall(get("/v1/healthz").encode())
                try:
                    reply = read_reply(s.makefile("rb"))
                except ConnectionResetError:
                    reply = None
                assert (reply is not None) == (len(opened) <= may_open), len(opened)
        finally:
            for s in opened:
                s.close()


def test_lists_that_are_none_refuse_the_start_with_their_origin():
    for name, value in [("KRONOS_PEER_ALLOW", "10.0.0.0/33"), ("KRONOS_PEER_ALLOW", "10.1.2.3/8"), ("KRONOS_TRUSTED_PROXIES", "127.0.0.1,proxy"),
                        ("KRONOS_WEBHOOK_ALLOW_CIDR", "10.0.0.0/8;fd00::/8")]:
        done = subprocess.run([BUILD / "kronosq-api", "--check"], env=environment(**{name: value}), capture_output=True, text=True, timeout=20)
        assert done.returncode == 78 and name in done.stderr and "environment" in done.stderr, done.stderr
        assert json.loads(done.stderr.splitlines()[-1])["level"] == "ERROR"
