"""What operators see and do: models, queues, workers, health in detail."""
import re
import time

import pytest

from kronosq import at_best, seconds_since, single_body, wait_for
from raw_http import assert_problem

UNKNOWN = "3f0c1a52-8a4e-4d6b-9c1e-7b2f5a90d1c4"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


def post(service, path):
    return service.request("POST", path)


def queue(service, priority="normal", model="tiny"):
    return next(q for q in service.get("/v1/queues").json["queues"] if (q["model"], q["priority"]) == (model, priority))


def workers(service):
    reply = service.get("/v1/workers")
    assert reply.status == 200 and reply.headers["cache-control"] == "no-store"
    return reply.json["workers"]


# ---- models ----

def test_a_model_shows_who_serves_it_and_how_fast(service):
    service.start_api()
    service.start_worker("--slots", "4")
    service.redis.command("DEL", "kq:{tiny}:speed")
    assert service.get("/v1/models/tiny").json["step_seconds"] is None
    service.redis.command("HSET", "kq:{tiny}:speed", "prefill_seconds", "0.25", "step_seconds", "0.5")
    reply = service.get("/v1/models")
    assert reply.status == 200 and list(reply.json) == ["models"]
    model, = reply.json["models"]
    assert list(model) == ["name", "context", "vocabulary", "model_version", "tokenizer_version", "weights_sha256", "tokenizer_sha256", "uniform",
                           "workers", "slots", "slots_busy", "prefill_seconds", "step_seconds"]
    assert model["name"] == "tiny" and model["context"] == 48 and model["vocabulary"] >= 2 and model["uniform"] is True
    assert model["workers"] == 1 and model["slots"] == 4
    assert re.match(r"[0-9a-f]{64}\Z", model["weights_sha256"]) and re.match(r"[0-9a-f]{64}\Z", model["tokenizer_sha256"])
    assert model["prefill_seconds"] == 0.25 and model["step_seconds"] == 0.5
    alone = service.get("/v1/models/tiny").json
    assert alone == {**model, "slots_busy": alone["slots_busy"]}


def test_a_model_nobody_serves_is_still_a_model(service):
    service.start_api()
    service.redis.command("SADD", "kq:models", "zeta")
    for name in ("tiny", "zeta"):
        model = service.get(f"/v1/models/{name}").json
        assert model["name"] == name and model["workers"] == 0 and model["context"] is None and model["weights_sha256"] is None
        assert service.get(f"/v2/models/{name}/ready").status == 503
        assert service.get(f"/v2/models/{name}/ready").json == {"name": name, "ready": False}
    assert [m["name"] for m in service.get("/v1/models").json["models"]] == ["tiny", "zeta"]


@pytest.mark.parametrize("name", ["nope", "Tiny", "a" * 64, "a" * 300, "%74iny", "a{b}", "*"])
def test_an_unknown_model_is_not_found(shared_service, name):
    for path in (f"/v1/models/{name}", f"/v2/models/{name}", f"/v2/models/{name}/ready"):
        assert_problem(shared_service.get(path), 404, "model_not_found")
    for verb in ("pause", "resume"):
        assert_problem(post(shared_service, f"/v1/queues/{name}/all/{verb}"), 404, "model_not_found")


def test_inference_protocol_probes(shared_service):
    assert shared_service.get("/v2").json == {"name": "kronosq", "version": "0.1.0", "extensions": []}
    shown = shared_service.get("/v2/models/tiny").json
    assert shown["name"] == "tiny" and shown["versions"] == [shared_service.get("/v1/models/tiny").json["model_version"]]
    assert shown["platform"] == "kronos" and shown["inputs"] == [] and shown["outputs"] == []
    reply = shared_service.get("/v2/models/tiny/ready")
    assert reply.status == 200 and reply.json == {"name": "tiny", "ready": True}


# ---- queues ----

def test_queues_show_what_waits(service):
    service.start_api()
    assert [(q["model"], q["priority"]) for q in service.get("/v1/queues").json["queues"]] == [
        ("tiny", "urgent"), ("tiny", "normal"), ("tiny", "low")]
    assert queue(service) == {"model": "tiny", "priority": "normal", "depth": 0, "bytes": 0, "oldest_age_seconds": None,
                              "backlog_seconds": None, "paused": False, "draining": False}
    service.redis.command("HSET", "kq:{tiny}:speed", "prefill_seconds", "0.25", "step_seconds", "0.5")
    service.submit(), service.submit(), service.submit(single_body(priority="low"))
    shown = queue(service)
    assert shown["depth"] == 2 and shown["bytes"] > 100 and 0 <= shown["oldest_age_seconds"] < 30 and shown["backlog_seconds"] is None
    assert queue(service, "low")["depth"] == 1 and queue(service, "urgent")["depth"] == 0


def test_a_pause_stops_dispatch_and_not_submits(service):
    service.start_api()
    service.start_worker()
    service.finished(service.submit())
    reply = post(service, "/v1/queues/tiny/all/pause")
    assert reply.status == 204 and reply.body == b""
    assert [q["paused"] for q in service.get("/v1/queues").json["queues"]] == [True] * 3

    def resume():
        """Seconds until the next task starts."""
        post(service, "/v1/queues/tiny/all/pause")
        task_id = service.submit()
        assert service.task(task_id, wait=2)["status"] == "queued" and queue(service)["depth"] == 1
        resumed = time.time()
        assert post(service, "/v1/queues/tiny/all/resume").status == 204
        document = service.finished(task_id)
        assert document["status"] == "completed"
        return seconds_since(document["started_at"]) - resumed
    at_best(resume, 6)  # within a beat
    service.redis.command("HSET", "kq:{tiny}:speed", "prefill_seconds", "0.25", "step_seconds", "0.5")
    assert queue(service)["backlog_seconds"] == 0


def test_one_priority_is_paused_alone(service):
    service.start_api()
    service.start_worker()
    assert post(service, "/v1/queues/tiny/low/pause").status == 204
    assert post(service, "/v1/queues/tiny/low/pause").status == 204, "again is the same"
    assert [queue(service, p)["paused"] for p in ("urgent", "normal", "low")] == [False, False, True]
    low = service.submit(single_body(priority="low"))
    assert service.finished(service.submit())["status"] == "completed"
    assert service.task(low)["status"] == "queued"
    assert post(service, "/v1/queues/tiny/all/pause").status == 204
    assert post(service, "/v1/queues/tiny/low/resume").status == 204
    assert [queue(service, p)["paused"] for p in ("urgent", "normal", "low")] == [True, True, False]
    assert service.finished(low)["status"] == "completed"


@pytest.mark.parametrize("path, code", [("/v1/queues/tiny/high/pause", "route_not_found"), ("/v1/queues/tiny/ALL/pause", "route_not_found"),
                                        ("/v1/queues/tiny/urgent/stop", "route_not_found"), ("/v1/queues/tiny//pause", "route_not_found"),
                                        (f"/v1/workers/{UNKNOWN}/quiet", "worker_not_found"), ("/v1/workers/x/quiet", "worker_not_found"),
                                        (f"/v1/workers/{UNKNOWN}/resume", "worker_not_found"), (f"/v1/workers/{UNKNOWN}/stop", "route_not_found")])
def test_what_is_not_there_is_named(shared_service, path, code):
    assert_problem(post(shared_service, path), 404, code)


# ---- workers ----

def test_workers_are_shown_with_what_they_do(service):
    service.start_api()
    assert workers(service) == []
    worker = service.start_worker("--slots", "4", "--step-delay-ms", "400")
    shown, = workers(service)
    assert list(shown) == ["worker_id", "name", "host", "pid", "model", "state", "slots", "slots_busy", "tasks", "heartbeat_at", "rss_bytes",
                           "version", "model_version", "weights_sha256", "kernel", "done", "failed"]
    assert shown["state"] == "idle" and shown["pid"] == worker.pid and shown["model"] == "tiny" and shown["slots"] == 4
    assert shown["tasks"] == 0 and shown["slots_busy"] == 0 and shown["rss_bytes"] > 1e6 and TIME.match(shown["heartbeat_at"])
    ids = [service.submit(single_body(steps=40)) for _ in range(2)]  # longer than three times the 5 s between beats
    # a beat may come between the first one's claim and the second's
    shown = wait_for(lambda: (lambda w: w if w["tasks"] == 2 else None)(workers(service)[0]), 20)
    assert shown["state"] == "busy" and shown["slots_busy"] == 2
    for task_id in ids:
        post(service, f"/v1/tasks/{task_id}/cancel")
    assert [service.finished(task_id)["status"] for task_id in ids] == ["cancelled"] * 2


def test_a_quiet_worker_claims_nothing_until_it_is_resumed(service):
    service.start_api()
    service.start_worker()
    worker_id = workers(service)[0]["worker_id"]
    reply = post(service, f"/v1/workers/{worker_id}/quiet")
    assert reply.status == 204 and reply.body == b""
    assert workers(service)[0]["state"] == "quiet"
    beat = workers(service)[0]["heartbeat_at"]
    wait_for(lambda: workers(service)[0]["heartbeat_at"] != beat, 20, "the next beat")
    task_id = service.submit()
    assert service.task(task_id, wait=2)["status"] == "queued"
    assert post(service, f"/v1/workers/{worker_id}/resume").status == 204
    assert workers(service)[0]["state"] == "idle"
    assert service.finished(task_id, 10)["status"] == "completed"


def test_a_dead_worker_is_lost_and_then_forgotten(service):
    service.start_api()
    service.start_worker().kill()
    shown, = workers(service)
    key = next(k for k in service.redis.keys() if k.endswith(":workers"))
    beat = int(service.redis.command("ZSCORE", key, shown["worker_id"]))
    service.redis.command("ZADD", key, beat - 20_000, shown["worker_id"])
    assert workers(service)[0]["state"] == "lost"
    service.redis.command("ZADD", key, beat - 70_000, shown["worker_id"])
    assert workers(service) == []


def test_a_task_that_kills_its_workers_is_a_dead_letter_and_can_run_again(service):
    """One worker after the other dies while it has the task; requeued, it completes under its id."""
    service.start_api()
    body = single_body(steps=20)
    task_id = None
    for crash in range(3):
        worker = service.start_worker("--step-delay-ms", "200", "--lease-ms", "1500")
        task_id = task_id or service.submit(body)
        wait_for(lambda: service.task(task_id)["status"] == "processing" and service.task(task_id)["attempt"] == crash + 1, 30)
        worker.kill()
        wait_for(lambda: service.task(task_id)["status"] != "processing", 30)
    document = service.finished(task_id)
    assert document["status"] == "failed" and document["error"]["code"] == "worker_lost" and document["attempt"] == 3
    assert [t["task_id"] for t in service.get("/v1/dead-letters").json["tasks"]] == [task_id]
    service.start_worker()
    assert post(service, f"/v1/dead-letters/{task_id}/requeue").status == 202
    document = service.finished(task_id)
    assert document["status"] == "completed" and document["attempt"] == 1


# ---- health ----

def test_health_in_detail_is_the_old_document_and_more(service):
    service.start_api()
    shown = service.get("/v1/healthz/detailed")
    assert shown.status == 200 and shown.json["status"] == "degraded" and shown.json["checks"]["model"]["loaded"] is False
    service.start_worker()
    document = service.get("/v1/healthz/detailed").json
    assert list(document) == ["status", "timestamp", "uptime_seconds", "version", "checks"]
    assert TIME.match(document["timestamp"]) and 0 <= document["uptime_seconds"] < 300 and document["version"] == "0.1.0"
    checks = document["checks"]
    assert checks["model"] == {"status": "healthy", "loaded": True, "version": service.get("/v1/models/tiny").json["model_version"]}
    assert set(checks["memory"]) == {"status", "process_mb", "system_total_mb", "system_available_mb", "system_percent"}
    assert checks["memory"]["process_mb"] > 1 and 0 < checks["memory"]["system_percent"] <= 100
    assert set(checks["disk"]) == {"status", "total_gb", "free_gb", "percent"} and 0 <= checks["disk"]["percent"] <= 100
    assert checks["redis"] == {"status": "healthy"} and checks["workers"]["live"] == 1
    warned = any(checks[name]["status"] == "warning" for name in ("memory", "disk"))
    assert document["status"] == ("degraded" if warned else "healthy")


def test_without_redis_operators_are_told_so(service):
    service.start_api()
    wait_for(lambda: service.get("/v1/readyz").json["redis"] == "ok", 20)
    service.redis.kill()
    document = service.get("/v1/healthz/detailed")
    assert document.status == 200 and document.json["status"] == "degraded" and document.json["checks"]["redis"]["status"] == "unhealthy"
    for method, path in (("GET", "/v1/models"), ("GET", "/v1/models/tiny"), ("GET", "/v1/queues"), ("GET", "/v1/workers"), ("GET", "/v2/models/tiny/ready"),
                         ("POST", "/v1/queues/tiny/all/pause"), ("POST", f"/v1/workers/{UNKNOWN}/quiet")):
        def ask():
            reply = service.request(method, path)
            assert_problem(reply, 503, "store_unavailable")
            return reply.seconds
        at_best(ask, 2.5)


def test_head_answers_without_a_body(shared_service):
    for path in ("/v1/tasks", "/v1/models", "/v1/queues", "/v1/workers", "/v1/dead-letters", "/v1/healthz/detailed", "/v2"):
        reply = shared_service.request("HEAD", path)
        assert reply.status == 200 and int(reply.headers["content-length"]) > 2
