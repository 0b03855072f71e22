"""Held requests: clients that leave, clients that send more, a process that stops."""
import concurrent.futures
import pathlib
import signal
import subprocess
import sys
import time

from kronosq import at_best, cpu_seconds, passes, seconds_of_stopping, single_body, wait_for
from metrics import scrape
from raw_http import Raw, assert_problem, elapsed, get, post

HELD = "Prefer: wait=60"


def answered(service, request_id):
    """The log line of a request: written when its hold has ended and its place is free."""
    return service.api.log_lines(message="request completed", request_id=request_id)


def n_descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def hold(service, request_id):
    raw = Raw(service.port).send(post("/v1/predict/single", single_body(), HELD, f"X-Request-ID: {request_id}"))
    return raw


def n_held(service):
    return scrape(service).get("kronos_http_held_requests")


def queued(service):
    return service.redis.command("ZCARD", "kq:{tiny}:queued:normal")


def test_a_client_that_leaves_ends_its_hold_and_not_its_task(service):
    service.start_api()
    service.submit()
    fds = n_descriptors(service.api.pid)
    leave = {"fin": Raw.close, "rst": Raw.reset}
    for n, (name, how) in enumerate(leave.items()):
        raw = hold(service, name)
        wait_for(lambda: queued(service) == n + 2, 20)
        assert not answered(service, name)
        wait_for(lambda: n_held(service) == 1, 20)
        how(raw)
        wait_for(lambda: answered(service, name) and n_held(service) == 0, 20, "the hold ends")
    wait_for(lambda: n_descriptors(service.api.pid) <= fds, 20, "descriptors as before")
    before = cpu_seconds(service.api.pid)
    passes(1)
    assert cpu_seconds(service.api.pid) - before < 0.2
    service.start_worker()
    wait_for(lambda: queued(service) == 0, 20, "the tasks are done")


def test_a_killed_client_ends_its_hold(service):
    service.start_api()
    code = ("import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
            "s.sendall(sys.stdin.buffer.read()); s.recv(1)")
    client = subprocess.Popen([sys.executable, "-c", code, str(service.port)], stdin=subprocess.PIPE)
    client.stdin.write(post("/v1/predict/single", single_body(), HELD, "X-Request-ID: killed"))
    client.stdin.close()
    wait_for(lambda: n_held(service) == 1, 20)
    client.kill()
    client.wait()
    wait_for(lambda: answered(service, "killed") and n_held(service) == 0, 20)


def test_a_hold_ends_within_a_second_of_its_client(service):
    service.start_api()
    names = iter(("first", "second", "third"))

    def leave():
        name = next(names)
        before, raw = queued(service), hold(service, name)
        wait_for(lambda: queued(service) == before + 1, 20)
        started = time.monotonic()
        raw.close()
        wait_for(lambda: answered(service, name), 20)
        return elapsed(started)
    at_best(leave, 1)


def test_a_client_that_closed_its_half_gets_the_present_document(service):
    service.start_api()
    raw = hold(service, "half")
    wait_for(lambda: queued(service) == 1, 20)
    raw.half_close()
    reply = raw.reply()
    assert reply.status == 202 and reply.json["status"] == "queued" and reply.seconds < 55, "before its wait of 60 s is over"
    task_id = reply.json["task_id"]
    with Raw(service.port) as poll:
        poll.send(get(f"/v1/tasks/{task_id}?wait=30"))
        poll.half_close()
        assert poll.reply().json["task_id"] == task_id


def test_bytes_behind_a_held_request_wait_in_the_kernel(service):
    service.start_api()
    raw = hold(service, "more")
    wait_for(lambda: queued(service) == 1, 20)
    rss = int(pathlib.Path(f"/proc/{service.api.pid}/statm").read_text().split()[1])
    raw.socket.settimeout(0.5)
    sent = 0
    try:
        while sent < 1024 * 1024:
            sent += raw.socket.send(b"x" * 65536)
    except TimeoutError:
        pass  # the kernel's buffers are full: nobody reads, as it should be
    before = cpu_seconds(service.api.pid)
    passes(1)
    assert cpu_seconds(service.api.pid) - before < 0.2, "unread bytes do not spin the loop"
    assert (int(pathlib.Path(f"/proc/{service.api.pid}/statm").read_text().split()[1]) - rss) * 4096 < 512 * 1024
    service.start_worker()
    raw.socket.settimeout(20)
    assert raw.reply().status == 200
    assert assert_problem(raw.reply(), 400, "malformed_request") or True
    assert raw.is_closed()


def test_a_client_that_leaves_behind_unread_bytes_is_noticed(service):
    service.start_api()
    raw = hold(service, "piped")
    raw.send(get("/v1/healthz"))
    wait_for(lambda: queued(service) == 1, 20)
    raw.close()
    wait_for(lambda: answered(service, "piped"), 20, "looked at once a second, not when its 60 s are over")


def test_a_pipelined_request_is_answered_after_the_hold(service):
    service.start_api()
    with Raw(service.port) as raw:
        raw.send(post("/v1/predict/single", single_body(), "Prefer: wait=1") + get("/v1/healthz").encode())
        assert raw.reply().status == 202
        assert raw.reply().json == {"status": "ok"}


def test_without_a_place_a_request_is_answered_now(service):
    service.start_api(KRONOS_MAX_WAITERS="1")
    raw = hold(service, "first")
    wait_for(lambda: queued(service) == 1, 20)
    reply = service.post("/v1/predict/single", single_body(), headers={"Prefer": "wait=30"})
    assert reply.status == 202 and "preference-applied" not in reply.headers and reply.seconds < 25
    reply = service.get(f"/v1/tasks/{reply.json['task_id']}?wait=30")
    assert reply.status == 200 and reply.seconds < 25
    raw.close()
    wait_for(lambda: answered(service, "first"), 20)
    reply = service.post("/v1/predict/single", single_body(), headers={"Prefer": "wait=1"})
    assert reply.headers["preference-applied"] == "wait=1"


def test_fifty_holds_are_answered_when_the_process_stops(service):
    service.start_api()
    raws = [hold(service, f"stop-{i}") for i in range(40)]
    wait_for(lambda: queued(service) == 40, 20)
    task_id = service.submit()
    raws += [Raw(service.port).send(get(f"/v1/tasks/{task_id}?wait=60")) for _ in range(10)]
    idle = Raw(service.port)
    assert idle.send(get("/v1/healthz")).reply().status == 200
    service.api.signal(signal.SIGTERM)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(Raw.reply, raws))
    assert [r.status for r in replies] == [202] * 40 + [200] * 10
    assert all(r.json["status"] == "queued" for r in replies)
    assert service.api.stop() == 0 and seconds_of_stopping(service.api) < 5
    assert not service.api.log_lines(level="ERROR")
    assert idle.is_closed()


def test_sync_holds_are_told_that_the_process_stops(service):
    service.start_api(KRONOS_SYNC_DEFAULT="1")
    service.start_worker("--step-delay-ms", "500")
    wait_for(lambda: service.get("/v1/readyz").status == 200, 20)
    raw = Raw(service.port).send(post("/v1/predict/single", single_body()))
    wait_for(lambda: service.redis.command("ZCARD", "kq:{tiny}:running") == 1, 20)
    service.api.signal(signal.SIGINT)
    assert assert_problem(raw.reply(), 503, "shutting_down")["task_id"]
    assert service.api.stop() == 0
