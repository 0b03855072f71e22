"""Event streams: states, progress and candles as they come, for early, late and returning clients."""
import pathlib
import signal
import subprocess
import sys
import threading
import time

from event_stream import EventStream
from kronosq import at_best, seconds_of_stopping, seconds_since, single_body, wait_for
from raw_http import Raw, assert_problem, get

SLOW = ("--step-delay-ms", "120")


def names(events):
    return [e.name for e in events]


def streamed(**members):
    return single_body(output={"stream": True, **members.pop("output", {})}, **members)


def rows(events):
    return [e.data["candle"] for e in events if e.name == "candle"]


def assert_candles(events, document, attempt=1, first=1):
    """Every candle from number `first` on, in order, each the row of the prediction."""
    prediction = document["data"]["prediction"]
    shown = [e for e in events if e.name == "candle"]
    assert [e.id for e in shown] == [f"{attempt}-{i}" for i in range(first, len(prediction) + 1)]
    for i, event in enumerate(shown, first):
        assert event.data == {"task_id": document["task_id"], "series_id": "TEST", "step": i,
                              "total": len(prediction), "candle": prediction[i - 1]}


def answered(service, request_id):
    return service.api.log_lines(message="request completed", request_id=request_id)


def n_descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def rss(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_a_stream_shows_the_present_state_rising_progress_and_the_end(service):
    service.start_api()
    task_id = service.submit(single_body(steps=12))
    with EventStream(service.port, task_id, "X-Request-ID: whole") as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["x-accel-buffering"] == "no" and stream.headers["cache-control"] == "no-store"
        first = stream.next()
        assert stream.retry == "3000" and first.name == "queued" and first.id is None
        assert first.data["task_id"] == task_id and first.data["data"] is None and first.data["queue"]["position"] == 1
        service.start_worker(*SLOW)
        events = stream.rest()
    assert not rows(events)
    states = [n for n in names(events) if n != "progress"]
    assert states == ["processing", "completed"] and events[-1].name == "completed"
    assert events[-1].data["data"] is None and events[-1].data["progress"] == {"step": 12, "total": 12}
    progress = [e for e in events if e.name == "progress" and e.data["step"] > 0]
    steps = [e.data["step"] for e in progress]
    assert len(steps) >= 2 and steps == sorted(set(steps)), steps
    for event in progress:
        assert set(event.data) == {"task_id", "step", "total", "queue"} and event.data["total"] == 12
        assert event.data["queue"]["position"] == 0
    document = service.task(task_id)
    ran = seconds_since(document["finished_at"]) - seconds_since(document["started_at"])
    assert len(progress) <= 4 * ran + 2, "four a second at most"
    line = answered(service, "whole")[0]
    assert line["status_code"] == 200 and line["response_size_bytes"] > 500 and line["task_id"] == task_id


def test_candles_come_in_order_while_it_runs_and_are_the_rows_of_the_prediction(service):
    service.start_api()
    service.start_worker(*SLOW)
    for body in (streamed(steps=12), streamed(steps=10, history=46, overrides={"sample_count": 3})):
        task_id = service.submit(body)
        with EventStream(service.port, task_id) as early:
            while (event := early.next()).name != "candle":
                pass
            seen = [event]
            with EventStream(service.port, task_id) as late:  # first gets those already there
                late_events = late.rest()
            seen += early.rest()
        document = service.finished(task_id)
        assert_candles(seen, document)
        assert_candles(late_events, document)
        # as they are sampled, not all at the end: after the first candle a second client still finds the task running
        assert names(late_events)[0] == "processing" and names(seen)[-1] == "completed"
        with EventStream(service.port, task_id) as after:
            events = after.rest()
        assert names(events) == ["candle"] * len(document["data"]["prediction"]) + ["completed"]
        assert_candles(events, document)


def test_with_rounds_candles_come_late_and_in_order(service):
    service.start_api()
    service.start_worker("--slots", "2", "--step-delay-ms", "40")
    task_id = service.submit(streamed(overrides={"sample_count": 5}))
    with EventStream(service.port, task_id) as stream:
        events = stream.rest()
    assert_candles(events, service.finished(task_id))


def test_a_candle_is_the_row_before_repair_also_when_the_task_has_ended(service):
    service.start_api()
    service.start_worker()
    body = streamed(output={"repair": True}, steps=16, overrides={"seed": 5, "temperature": 5})
    plain = dict(body, output={})
    task_id, plain_id = service.submit(body), service.submit(plain)
    prediction = service.finished(plain_id)["data"]["prediction"]
    document = service.finished(task_id)
    assert document["data"]["repaired"]["ohlc"] > 0, "nothing to repair: the test shows nothing"
    with EventStream(service.port, task_id) as stream:
        shown = rows(stream.rest())
    assert shown == prediction and shown != document["data"]["prediction"]


def test_a_client_that_returns_is_shown_only_what_it_has_not_seen(service):
    service.start_api()
    service.start_worker(*SLOW)
    task_id = service.submit(streamed())
    with EventStream(service.port, task_id) as stream:
        seen = [e for e in stream.until("candle") if e.name == "candle"]
    with EventStream(service.port, task_id, f"Last-Event-ID: {seen[-1].id}") as stream:
        events = stream.rest()
    document = service.finished(task_id)
    assert_candles(seen + events, document)
    for last, first in (("1-6", 7), ("1-8", 9), ("1-99", 9), ("2-3", 1), ("x", 1), ("1-", 1), ("1--1", 1)):
        with EventStream(service.port, task_id, f"Last-Event-ID: {last}") as stream:
            assert_candles(stream.rest(), document, first=first)


def test_a_task_that_has_ended_is_one_event(service):
    service.start_api()
    cancelled = service.submit()
    assert service.post(f"/v1/tasks/{cancelled}/cancel", b"").status == 200
    with EventStream(service.port, cancelled) as stream:
        events = stream.rest()
        assert names(events) == ["cancelled"] and events[0].data["error"]["code"] == "cancelled_by_client"
        stream.socket.sendall(get("/v1/healthz").encode())
        assert stream.file.readline().startswith(b"HTTP/1.1 200"), "the connection goes on"
    service.start_worker()
    done = service.submit()
    service.finished(done)
    with EventStream(service.port, done) as stream:
        events = stream.rest()
    assert names(events) == ["completed"] and events[0].data == service.get(f"/v1/tasks/{done}?data=0").json


def test_a_lost_worker_is_seen_and_candles_begin_anew(service):
    service.start_api()
    flags = ("--lease-ms", "1500", "--step-delay-ms", "250")
    worker = service.start_worker(*flags)
    task_id = service.submit(streamed())
    with EventStream(service.port, task_id) as stream:
        events = stream.until("candle")
        worker.kill()
        events += stream.until("queued")
        service.start_worker()
        events += stream.rest()
    document = service.finished(task_id)
    states = [(e.name, e.data["attempt"]) for e in events if e.name in ("queued", "processing", "completed")]
    assert states[-4:] == [("processing", 1), ("queued", 1), ("processing", 2), ("completed", 2)] or \
        states[-3:] == [("processing", 1), ("queued", 1), ("completed", 2)], states
    assert [e.id for e in events if e.name == "candle"][0] == "1-1"
    assert_candles([e for e in events if e.name != "candle" or e.id.startswith("2-")], document, attempt=2)


def test_cancel_and_erasure_end_a_stream_and_leave_no_candles(service):
    service.start_api()
    service.start_worker("--step-delay-ms", "200")
    task_id = service.submit(streamed())
    with EventStream(service.port, task_id) as stream:
        stream.until("candle")
        assert [k for k in service.redis.keys() if ":candles:" in k] == [f"kq:{{tiny}}:candles:{task_id}.1"]
        assert 0 < service.redis.command("PTTL", f"kq:{{tiny}}:candles:{task_id}.1") <= 260_000
        service.post(f"/v1/tasks/{task_id}/cancel", b"")
        assert stream.rest()[-1].name == "cancelled"
    assert not [k for k in service.redis.keys() if ":candles:" in k]
    task_id = service.submit(streamed())
    with EventStream(service.port, task_id) as stream:
        stream.until("candle")
        assert service.request("DELETE", f"/v1/tasks/{task_id}").status == 204
        stream.rest()
    assert not [k for k in service.redis.keys() if task_id in k]
    assert_problem(service.get(f"/v1/tasks/{task_id}/events"), 404, "task_not_found")


def test_a_batch_shows_its_state_and_the_progress_of_all_its_members(service):
    service.start_api()
    item = {k: single_body()[k] for k in ("series_id", "candles", "timestamps", "prediction_timestamps")}
    reply = service.post("/v1/predict/batch", {"items": [dict(item, series_id=s) for s in "abc"], "output": {"stream": True}})
    assert reply.status == 202, reply
    batch_id, member_id = reply.json["task_id"], reply.json["tasks"][1]["task_id"]
    with EventStream(service.port, batch_id) as stream, EventStream(service.port, member_id) as member:
        assert stream.next().name == "queued" and member.next().name == "queued"
        service.start_worker(*SLOW)
        events, of_member = stream.rest(), member.rest()
    states = [e for e in events if e.name != "progress"]
    assert names(states)[0] == "processing" and names(states)[-1] == "completed" and len(states) <= 3
    assert states[-1].data["counts"]["completed"] == 3 and states[-1].data["data"] is None
    steps = [e.data["step"] for e in events if e.name == "progress"]
    assert len(steps) >= 2 and steps == sorted(steps) and all(e.data["total"] == 24 for e in events if e.name == "progress")
    document = service.finished(member_id)
    assert rows(of_member) == document["data"]["prediction"] and document["batch_id"] == batch_id


def test_what_is_no_stream_is_refused(service):
    service.start_api(KRONOS_MAX_STREAMS="1")
    task_id = service.submit()
    path = f"/v1/tasks/{task_id}/events"
    problem = assert_problem(service.get(path, headers={"Accept": "application/json"}), 406, "not_acceptable")
    assert problem["available"] == ["text/event-stream"]
    reply = service.request("HEAD", path)
    assert reply.status == 405 and reply.headers["allow"] == "GET"
    assert service.request("POST", path, b"").headers["allow"] == "GET"
    for unknown in ("x", "0f9aa4c2-6b4e-4d9c-8d0e-3b7c5f1e2a90"):
        assert_problem(service.get(f"/v1/tasks/{unknown}/events"), 404, "task_not_found")
    with EventStream(service.port, task_id, "Accept: text/event-stream", "X-Request-ID: one") as stream:
        assert stream.next().name == "queued"
        assert_problem(service.get(path), 503, "too_many_streams")
    wait_for(lambda: answered(service, "one"), 20, "its place is free")
    with EventStream(service.port, task_id, "Accept: text/*;q=0.5") as stream:
        assert stream.next().name == "queued"


def test_a_position_in_the_queue_that_changes_is_progress(service):
    service.start_api()
    first, second = service.submit(), service.submit()
    with EventStream(service.port, second) as stream:
        assert stream.next().data["queue"]["position"] == 2
        service.post(f"/v1/tasks/{first}/cancel", b"")
        event = stream.next()
        assert event.name == "progress" and event.data["queue"]["position"] == 1 and event.data["step"] == 0


def test_clients_that_leave_free_their_places_and_nothing_spins(service):
    service.start_api()
    task_id = service.submit()
    fds = n_descriptors(service.api.pid)
    for how in ("close", "half", "reset"):
        stream = EventStream(service.port, task_id, f"X-Request-ID: {how}")
        assert stream.next().name == "queued"
        raw = Raw.__new__(Raw)
        raw.socket, raw.stream = stream.socket, stream.file
        {"close": raw.close, "half": raw.half_close, "reset": raw.reset}[how]()
        wait_for(lambda: answered(service, how), 20, f"the stream of a client that left by {how} ends")
        stream.close()
    code = ("import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
            "s.sendall(sys.stdin.buffer.read()); f = s.makefile('rb'); print(f.readline(), flush=True); f.read()")
    client = subprocess.Popen([sys.executable, "-c", code, str(service.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    client.stdin.write(get(f"/v1/tasks/{task_id}/events", "X-Request-ID: killed").encode())
    client.stdin.close()
    assert b"200" in client.stdout.readline()
    client.kill()
    client.wait()
    client.stdout.close()
    wait_for(lambda: answered(service, "killed"), 20)
    wait_for(lambda: n_descriptors(service.api.pid) <= fds, 20, "descriptors as before")


def test_a_client_that_sends_a_mebibyte_into_its_stream_is_closed(service):
    service.start_api()
    task_id = service.submit()
    before = rss(service.api.pid)
    with EventStream(service.port, task_id, "X-Request-ID: loud") as stream:
        assert stream.next().name == "queued"
        stream.socket.sendall(b"x" * 1000)  # the next request may wait
        assert not answered(service, "loud")
        try:
            for _ in range(16):
                stream.socket.sendall(b"x" * 65536)
        except OSError:
            pass
        wait_for(lambda: answered(service, "loud"), 20, "the stream is closed")
    assert rss(service.api.pid) - before < 4 * 1024 * 1024
    assert service.get("/v1/healthz").status == 200


def test_streams_end_when_the_process_stops(service):
    service.start_api()
    task_id = service.submit()
    streams = [EventStream(service.port, task_id) for _ in range(20)]
    for stream in streams:
        assert stream.next().name == "queued"
    service.api.signal(signal.SIGTERM)
    assert [stream.rest() for stream in streams] == [[]] * 20, "ended, not cut off"
    assert service.api.stop() == 0 and seconds_of_stopping(service.api) < 5
    assert not service.api.log_lines(level="ERROR")


def test_a_stream_outlives_a_redis_that_was_away(service):
    service.start_api()
    task_id = service.submit()
    with EventStream(service.port, task_id) as stream:
        assert stream.next().name == "queued"
        service.redis.kill()
        assert_problem(service.get(f"/v1/tasks/{task_id}/events"), 503, "store_unavailable")
        service.redis.start()
        service.start_worker()
        assert stream.rest()[-1].name == "completed"


def test_an_old_client_gets_the_stream_until_the_connection_closes(service):
    service.start_api()
    service.start_worker()
    task_id = service.submit(streamed())
    with Raw(service.port) as raw:
        raw.send(f"GET /v1/tasks/{task_id}/events HTTP/1.0\r\nHost: x\r\n\r\n")
        reply = raw.reply()
    assert reply.status == 200 and "transfer-encoding" not in reply.headers
    assert reply.body.startswith(b"retry: 3000\n\n") and reply.body.count(b"event: candle\n") == 8
    assert b"event: completed\n" in reply.body and reply.body.endswith(b"\n\n")


def read_comments(stream, n):
    """Until there are so many, so that each has the time at which it came."""
    while len(stream.comments) < n:
        stream.wait_for_comment(60)


def test_silence_is_broken_and_a_client_that_does_not_read_is_closed(service):
    """The two that take their time, at the same time: a comment within 16 s, no progress for 30 s."""
    service.start_api()
    quiet = service.submit()
    service.post("/v1/queues/tiny/low/pause", b"")
    with EventStream(service.port, quiet, timeout=60) as stream:
        assert stream.next().name == "queued"
        silent_since = time.monotonic()
        reading = threading.Thread(target=read_comments, args=(stream, 2), daemon=True)
        reading.start()
        worker = service.start_worker("--max-context", "512", "--queues", "urgent", "--step-delay-ms", "3")
        long = service.submit(streamed(history=12, steps=500, priority="urgent"))
        stored = f"kq:{{tiny}}:candles:{long}.1"
        wait_for(lambda: service.redis.command("STRLEN", stored) > 400 * 24, 30, "candles for a late client")
        worker.signal(signal.SIGSTOP)
        with EventStream(service.port, long, "X-Request-ID: deaf", receive_bytes=1) as deaf:
            started = time.monotonic()
            wait_for(lambda: stream.comments, 40, "the silence is broken")
            assert not answered(service, "deaf") or time.monotonic() - started > 29
            wait_for(lambda: answered(service, "deaf"), 40, "the client that does not read is closed")
            assert 29 < time.monotonic() - started < 45
            deaf.close()
        reading.join(60)
        came = [at for at, text in stream.comments if text == "keep-alive"]
        gaps = iter([after - before for before, after in zip([silent_since, *came], came)])
        # the first, or the second should this process have been busy
        assert 14 < at_best(lambda: next(gaps), 16.2, times=len(came))
