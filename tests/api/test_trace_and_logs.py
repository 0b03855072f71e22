"""traceparent, and what the logs of a request and of its task say; and what they never say."""
import json

import pytest
from kronosq import candles, single_body, times, wait_for

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
IGNORED = [f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01", PARENT.upper(), PARENT[:-1], f"ff{PARENT[2:]}", "zebra"]


def request_line(process, request_id):
    return wait_for(lambda: process.log_lines(message="request completed", request_id=request_id), 20)[0]


def test_a_trace_goes_from_the_submit_to_the_workers_log(service):
    api, worker = service.start_api(), service.start_worker()
    headers = {"traceparent": PARENT, "X-Request-ID": "traced", "Prefer": "wait=20"}
    reply = service.post("/v1/predict/single", single_body(), headers=headers)
    assert reply.status == 200
    line = request_line(api, "traced")
    assert line["trace_id"] == TRACE
    done = wait_for(lambda: worker.log_lines(message="task finished", task_id=line["task_id"]), 20)[0]
    assert (done["trace_id"], done["owner"], done["event"]) == (TRACE, "local", "task_finished")
    service.get("/v1/healthz", headers={"traceparent": PARENT, "X-Request-ID": "probe"})
    assert request_line(api, "probe")["trace_id"] == TRACE


@pytest.mark.parametrize("parent", IGNORED)
def test_a_traceparent_that_is_none_is_ignored(service, parent):
    api = service.start_api()
    service.post("/v1/predict/single", single_body(), headers={"traceparent": parent, "X-Request-ID": "r"})
    line = request_line(api, "r")
    assert line["status_code"] == 202 and "trace_id" not in line
    assert service.redis.command("HGET", "kq:{tiny}:task:" + line["task_id"], "trace_id") is None


def test_a_submits_line_says_what_was_asked_and_how_long_it_took(service):
    api, worker = service.start_api(), service.start_worker("--step-delay-ms", "10")
    assert service.post("/v1/predict/single", single_body(history=30, steps=6, priority="urgent"),
                        headers={"Prefer": "wait=20", "X-Request-ID": "one"}).status == 200
    line = request_line(api, "one")
    expected = {"method": "POST", "path": "/v1/predict/single", "status_code": 200, "model": "tiny", "priority": "urgent",
                "series_id": "TEST", "series_count": 1, "rows": 30, "pred_len": 6, "container": "local",
                "client_host": "127.0.0.1", "error_type": None, "level": "INFO"}
    assert {name: line[name] for name in expected} == expected
    assert line["model_inference_ms"] >= 50 and line["latency_ms"] >= line["model_inference_ms"]
    assert line["request_size_bytes"] > 500 and line["response_size_bytes"] > 500
    batch = {"items": [dict(single_body(), series_id=name) for name in "AB"]}
    assert service.post("/v1/predict/batch", batch, headers={"Prefer": "wait=20", "X-Request-ID": "two"}).status == 200
    line = request_line(api, "two")
    assert (line["series_count"], line["rows"], line["batch_id"]) == (2, 48, line["task_id"]) and "series_id" not in line
    members = wait_for(lambda: (lambda found: found if len(found) == 2 else None)(
        worker.log_lines(message="task finished", batch_id=line["batch_id"])), 5)
    assert all(type(member["seed"]) is int and member["rows"] == 24 for member in members)


def test_a_refusals_line_says_why_and_quotes_no_body(service):
    api = service.start_api()
    body = single_body(candles=candles(3), timestamps=times(2), metadata={"note": "s3cret-value"})
    assert service.post("/v1/predict/single", body, headers={"X-Request-ID": "bad"}).status == 422
    line = request_line(api, "bad")
    assert line["error_type"] == "validation_failed" and "error_message" not in line
    assert service.get("/v1/tasks/x", headers={"X-Request-ID": "none"}).status == 404
    line = request_line(api, "none")
    assert line["error_type"] == "task_not_found" and line["error_message"]
    assert service.post("/v1/predict/single", "x", headers={"X-Request-ID": "big", "Content-Length": "99999999"}).status == 413
    assert request_line(api, "big")["level"] == "WARNING"
    assert "s3cret-value" not in api.log()


def test_a_sync_time_out_says_after_how_long(service):
    api = service.start_api(KRONOS_SYNC_DEFAULT=1, KRONOS_REQUEST_TIMEOUT=1)
    service.start_worker("--step-delay-ms", "300")
    wait_for(lambda: service.get("/v1/readyz").status == 200, 20)
    assert service.post("/v1/predict/single", single_body(), headers={"X-Request-ID": "slow"}).status == 504
    line = request_line(api, "slow")
    assert (line["timeout_seconds"], line["error_type"]) == (1, "wait_timeout")


def test_every_line_of_every_daemon_is_json_and_there_is_one_for_each_request(service):
    api, worker = service.start_api(), service.start_worker()
    asked = ["/v1/healthz", "/v1/models", "/nowhere", "/metrics", "/openapi.json", "/v1/tasks?limit=0"]
    for i, path in enumerate(asked):
        service.get(path, headers={"X-Request-ID": f"r{i}"})
    service.finished(service.submit())
    for i, path in enumerate(asked):
        line = request_line(api, f"r{i}")
        assert len(api.log_lines(request_id=f"r{i}", message="request completed")) == 1
        assert line["path"] == path.split("?")[0]
    for process in (api, worker):
        assert process.stop() == 0
        for text in process.log().splitlines():
            line = json.loads(text)
            assert {"timestamp", "level", "logger", "message"} <= line.keys(), text
