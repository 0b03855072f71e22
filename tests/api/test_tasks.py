"""Submitting, polling, waiting: the task document from queued to its end."""
import re
import time

import pytest

from kronosq import at_best, seconds_since, single_body, wait_for
from raw_http import Raw, assert_problem, get, post

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
MEMBERS = ["task_id", "status", "model", "priority", "attempt", "created_at", "started_at", "finished_at", "expires_at", "deadline_at",
           "queue", "progress", "data", "error", "warnings", "metadata", "urls"]


def test_a_submit_is_answered_at_once_with_a_whole_document(service):
    service.start_api()
    service.submit()  # the first connection's costs are not the submit's
    with Raw(service.port) as raw:
        reply = raw.send(post("/v1/predict/single", single_body(metadata={"strategy": "a1"}, priority="urgent", deadline_seconds=30))).reply()
        other = post("/v1/predict/single", single_body(priority="low"))
        at_best(lambda: raw.send(other).reply().seconds, 0.25)  # 50 ms without sanitizers
    assert reply.status == 202
    document = reply.json
    assert list(document) == MEMBERS
    assert UUID.match(document["task_id"]) and document["status"] == "queued" and document["model"] == "tiny"
    assert document["priority"] == "urgent" and document["attempt"] == 0
    assert TIME.match(document["created_at"]) and TIME.match(document["deadline_at"])
    assert document["started_at"] is None and document["finished_at"] is None and document["expires_at"] is None
    assert document["queue"] == {"position": 1, "estimated_start_seconds": None, "estimated_finish_seconds": None}
    assert document["progress"] == {"step": 0, "total": 8}
    assert document["data"] is None and document["error"] is None and document["metadata"] == {"strategy": "a1"}
    path = f"/v1/tasks/{document['task_id']}"
    assert document["urls"] == {"self": path, "result": path + "/result", "events": path + "/events", "cancel": path + "/cancel"}
    assert reply.headers["location"] == path and 1 <= int(reply.headers["retry-after"]) <= 60
    assert "preference-applied" not in reply.headers and reply.headers["vary"] == "Accept, Prefer"
    assert service.get(path).json == document


def test_a_task_without_a_worker_is_accepted_with_a_warning(service):
    service.start_api()
    wait_for(lambda: service.get("/v1/readyz").json["redis"] == "ok", 20)
    document = service.post("/v1/predict/single", single_body()).json
    assert [w["code"] for w in document["warnings"]] == ["no_worker"]
    service.start_worker()
    assert service.finished(document["task_id"])["status"] == "completed"


@pytest.mark.parametrize("name", ["tiny", "other"])
def test_a_worker_that_has_just_come_is_known_to_the_next_request(service, name):
    """The bug: for a second its model was unknown, or a horizon beyond its context accepted."""
    service.start_api()
    wait_for(lambda: service.get("/v1/readyz").json["redis"] == "ok", 20)
    service.start_worker(name=name)
    body = single_body(24, 49, model=name)
    reply = service.post("/v1/predict/single", body)
    assert reply.status == 422 and [e["code"] for e in reply.json["errors"]] == ["exceeds_context"], reply
    reply = service.post("/v1/predict/single", single_body(model=name))
    assert reply.status == 202 and reply.json["warnings"] == [], reply


def test_sync_mode_serves_as_soon_as_a_worker_does(service):
    service.start_api("--sync-default")
    wait_for(lambda: service.get("/v1/readyz").json["redis"] == "ok", 20)
    assert_problem(service.post("/v1/predict/single", single_body()), 503, "no_worker", "Model not ready")
    service.start_worker()
    assert service.post("/v1/predict/single", single_body()).status == 200


def test_a_model_that_cannot_be_looked_up_may_exist(service):
    service.start_api()
    service.redis.kill()
    assert service.post("/v1/predict/single", single_body(model="nope")).status in (422, 503)
    service.redis.start()
    wait_for(lambda: service.get("/v1/readyz").json["redis"] == "ok", 20)
    assert service.post("/v1/predict/single", single_body(model="nope")).json["errors"][0]["code"] == "unknown_model"


def test_positions_follow_the_order_of_submission_per_priority(service):
    service.start_api()
    ids = [service.submit(single_body(priority=p)) for p in ("normal", "normal", "low", "urgent", "normal")]
    assert [service.task(i)["queue"]["position"] for i in ids] == [1, 2, 1, 1, 3]


def test_a_finished_task_shows_its_result_in_every_way_of_asking(service):
    service.start_api()
    service.start_worker()
    task_id = service.submit(single_body(history=24, steps=8, overrides={"seed": 3}))
    document = service.finished(task_id)
    assert list(document) == MEMBERS and document["status"] == "completed" and document["queue"] is None
    assert document["created_at"] <= document["started_at"] <= document["finished_at"] < document["expires_at"]
    assert len(document["data"]["prediction"]) == 8
    assert document["data"]["timing"]["queue_ms"] >= 0 and document["data"]["provenance"]["seed"] == 3
    alias = service.get(f"/v1/predict/{task_id}")
    assert alias.status == 200 and alias.json == document and "retry-after" not in alias.headers
    assert service.get(f"/v1/tasks/{task_id}?data=0").json == {**document, "data": None}
    result = service.get(f"/v1/tasks/{task_id}/result")
    assert result.status == 200 and result.json == document["data"]
    assert result.headers["etag"] == f'"{task_id}.json"'
    assert re.match(r"private, max-age=8(6400|63\d\d)\Z", result.headers["cache-control"])
    same = service.get(f"/v1/tasks/{task_id}/result", headers={"If-None-Match": f'"x", {result.headers["etag"]}'})
    assert same.status == 304 and same.body == b"" and same.headers["etag"] == result.headers["etag"]
    assert service.get(f"/v1/tasks/{task_id}/result", headers={"If-None-Match": '"other"'}).status == 200
    assert_problem(service.get(f"/v1/tasks/{task_id}/result", headers={"Accept": "image/png"}), 406, "not_acceptable")


def test_optional_parts_of_a_result_are_there_when_asked_for(service):
    service.start_api()
    service.start_worker()
    task_id = service.submit(single_body(history=24, steps=4, overrides={"seed": 3, "sample_count": 4},
                                         output={"quantiles": [0.1, 0.5], "paths": True, "stats": True, "layout": "columns", "repair": True}))
    data = service.finished(task_id)["data"]
    assert list(data["prediction"]) == ["timestamp", "open", "high", "low", "close", "volume", "amount"]
    assert all(len(values) == 4 for values in data["prediction"].values())
    assert list(data["quantiles"]) == ["0.1", "0.5"] and len(data["quantiles"]["0.1"]["close"]) == 4
    assert data["paths"]["shape"] == [4, 4, 6] and len(data["paths"]["data"][3][3]) == 6
    assert data["stats"]["n_paths"] == 4 and data["stats"]["p_up_final"] == data["stats"]["p_up"][-1]
    assert set(data["stats"]) == {"n_paths", "last_close", "p_up", "p_up_final", "return_mean", "return_std", "realized_vol", "max_drawdown", "range"}
    assert set(data["repaired"]) == {"ohlc", "volume"}


def test_a_result_that_is_not_there_is_a_conflict(service):
    service.start_api()
    task_id = service.submit()
    reply = service.get(f"/v1/tasks/{task_id}/result")
    document = assert_problem(reply, 409, "not_finished", "task is queued, step 0 of 8")
    assert document["task_id"] == task_id and document["task_status"] == "queued" and reply.headers["retry-after"] == "5"
    late = service.submit(single_body(deadline_seconds=0.3))
    wait_for(lambda: service.task(late)["status"] == "expired", 20, "the API alone sweeps the deadline")
    shown = service.task(late)
    assert shown["error"]["code"] == "deadline_exceeded" and shown["data"] is None and shown["queue"] is None
    document = assert_problem(service.get(f"/v1/tasks/{late}/result"), 409, "no_result")
    assert document["task_status"] == "expired" and document["task_error"] == shown["error"]


@pytest.mark.parametrize("name", ["x", "3f0c1a52-8a4e-4d6b-9c1e-7b2f5a90d1c4", "3F0C1A52-8A4E-4D6B-9C1E-7B2F5A90D1C4", "a" * 1000, "single", "*", "{tiny}"])
def test_an_unknown_id_is_not_found(shared_service, name):
    for path in (f"/v1/tasks/{name}", f"/v1/tasks/{name}?wait=5", f"/v1/tasks/{name}/result"):
        assert_problem(shared_service.get(path), 404, "task_not_found")


def test_wait_answers_as_soon_as_the_task_has_ended(service):
    service.start_api()
    service.start_worker("--step-delay-ms", "100")
    task_id, document = None, None

    def wait():
        nonlocal task_id, document
        task_id = service.submit(single_body(steps=10))
        asked = time.time()
        reply = service.get(f"/v1/tasks/{task_id}?wait=20")
        document = reply.json
        assert document["status"] == "completed"
        return asked + reply.seconds - seconds_since(document["finished_at"])
    at_best(wait, 0.3)
    again = service.get(f"/v1/tasks/{task_id}?wait=20")
    assert again.json == document and again.seconds < 15


def test_a_wait_that_is_over_shows_the_present_state(service):
    service.start_api()
    task_id = service.submit()

    def wait():
        reply = service.get(f"/v1/tasks/{task_id}?wait=1")
        assert reply.json["status"] == "queued" and reply.seconds >= 1
        return reply.seconds
    at_best(wait, 1.5)


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=1.5", "wait=abc", "wait=", "wait", "wait=1&wait=1", "data=2", "data=", "wait=%31"])
def test_a_malformed_parameter_is_named(shared_service, query):
    task_id = shared_service.submit()
    document = assert_problem(shared_service.get(f"/v1/tasks/{task_id}?{query}"), 400, "bad_parameter")
    assert document["parameter"] == query.split("=")[0]


def test_unknown_parameters_are_ignored(shared_service):
    task_id = shared_service.submit()
    for query in ("", "x=1", "waiting=9&wai=9", "wait=0&data=1&&"):
        assert shared_service.get(f"/v1/tasks/{task_id}?{query}").status == 200


def test_a_submit_that_is_held_gets_the_result_in_the_old_shape(shared_service):
    reply = shared_service.post("/v1/predict/single", single_body(), headers={"Prefer": "wait=30"})
    assert reply.status == 200
    assert list(reply.json)[:4] == ["task_id", "series_id", "prediction", "model_version"] and "tokenizer_version" in reply.json
    assert reply.headers["preference-applied"] == "wait=30"
    assert reply.headers["content-location"] == f"/v1/tasks/{reply.json['task_id']}/result"
    assert shared_service.get(reply.headers["content-location"]).json == reply.json


def test_preferences_are_applied_or_ignored(service):
    service.start_api()
    for prefer, applied, least, most in [
            ("wait=1", "wait=1", 1.0, 1.5), ("respond-async, wait=1", "wait=1", 1.0, 1.5), ("wait=0", "wait=0", 0, 0.5),
            ("respond-async", "respond-async", 0, 0.5), ("wait=abc", None, 0, 0.5), ("foo=1", None, 0, 0.5), ("wait=-1", None, 0, 0.5)]:
        def ask():
            reply = service.post("/v1/predict/single", single_body(), headers={"Prefer": prefer})
            assert reply.status == 202 and reply.json["status"] == "queued", reply
            assert reply.headers.get("preference-applied") == applied and reply.seconds >= least, prefer
            return reply.seconds
        at_best(ask, most)


def test_a_submit_that_runs_longer_than_its_wait_is_a_202_with_the_present_document(service):
    service.start_api()
    service.start_worker("--step-delay-ms", "300")
    reply = None

    def ask():
        nonlocal reply
        reply = service.post("/v1/predict/single", single_body(), headers={"Prefer": "wait=1"})
        assert reply.status == 202 and reply.seconds >= 1
        assert reply.headers["preference-applied"] == "wait=1" and reply.headers["location"] == f"/v1/tasks/{reply.json['task_id']}"
        assert reply.json["status"] in ("queued", "processing") and reply.json["data"] is None
        return reply.seconds
    at_best(ask, 1.5)
    assert service.finished(reply.json["task_id"])["status"] == "completed"


def test_a_wait_beyond_the_limit_is_the_limit(shared_service):
    reply = shared_service.post("/v1/predict/single", single_body(), headers={"Prefer": "wait=600"})
    assert reply.status == 200 and reply.headers["preference-applied"] == "wait=60"


def test_a_held_submit_whose_deadline_passes_is_a_504_that_names_the_task(service):
    service.start_api()
    reply = service.post("/v1/predict/single", single_body(deadline_seconds=0.3), headers={"Prefer": "wait=20"})
    document = assert_problem(reply, 504, "deadline_exceeded")
    assert document["task_error"]["code"] == "deadline_exceeded"
    assert service.task(document["task_id"])["status"] == "expired"


def test_sync_mode_answers_as_the_old_service_did(service):
    service.start_api(KRONOS_SYNC_DEFAULT="1", KRONOS_REQUEST_TIMEOUT="1")
    wait_for(lambda: assert_problem(service.post("/v1/predict/single", single_body()), 503, "no_worker", "Model not ready"), 20)
    assert service.redis.command("EXISTS", "kq:{tiny}:queued:normal") == 0, "nothing is stored"
    service.start_worker("--step-delay-ms", "300")
    wait_for(lambda: service.post("/v1/predict/single", single_body(steps=1)).status == 200, 20)
    assert service.post("/v1/predict/single", single_body(), headers={"Prefer": "respond-async"}).status == 202
    reply = service.post("/v1/predict/single", single_body(steps=8))
    document = assert_problem(reply, 504, "wait_timeout", "Prediction timeout after 1 seconds")
    assert service.finished(document["task_id"])["status"] == "completed", "the task goes on"


def test_a_full_queue_is_said_with_a_time_to_come_back(service):
    service.start_api("--queue-max-tasks", "2")
    service.submit(), service.submit()
    reply = service.post("/v1/predict/single", single_body())
    assert_problem(reply, 503, "queue_full")
    assert 1 <= int(reply.headers["retry-after"]) <= 300
    service.submit(single_body(priority="low"))


def test_tasks_of_any_model_are_found_by_their_id(service):
    service.start_api()
    service.start_worker(name="other")
    wait_for(lambda: service.post("/v1/predict/single", single_body(model="other")).status == 202, 20, "the model is known")
    task_id = service.submit(single_body(model="other"))
    assert service.finished(task_id)["model"] == "other"
    second = service.start_api()  # knows the default model only until it has looked
    assert service.get(f"/v1/tasks/{task_id}").status == 200
    assert second.is_running()
    assert service.post("/v1/predict/single", single_body(model="nope")).status == 422


@pytest.mark.parametrize("field, value", [
    ("output", b"\xc1 no msgpack"), ("output", b""), ("output", None), ("about", b"\x93\x01"), ("about", None), ("state", b"happy"),
    ("created_ms", b"yesterday"), ("priority", b"express")])
def test_a_corrupt_task_is_an_internal_error_and_never_a_crash(service, field, value):
    service.start_api()
    service.start_worker()
    task_id = service.submit()
    assert service.finished(task_id)["status"] == "completed"
    key = f"kq:{{tiny}}:task:{task_id}"
    service.redis.command("HDEL", key, field) if value is None else service.redis.command("HSET", key, field, value)
    for path in (f"/v1/tasks/{task_id}", f"/v1/tasks/{task_id}?wait=5", f"/v1/tasks/{task_id}/result"):
        assert_problem(service.get(path), 500, "internal")
    assert service.api.log_lines(level="ERROR", task_id=task_id)
    assert service.get("/v1/healthz").status == 200


def test_accept_is_negotiated_on_documents(shared_service):
    task_id = shared_service.submit()
    for accept, status in [("*/*", 200), ("application/*", 200), ("application/json;q=0.1, text/html", 200), ("text/html", 406), ("", 200),
                           ("application/json;q=0", 406), ("application/json;q=0, application/msgpack;q=0, */*", 406), ("text/html, */*;q=0.1", 200)]:
        headers = {"Accept": accept} if accept else {}
        reply = shared_service.get(f"/v1/tasks/{task_id}", headers=headers)
        assert reply.status == status, (accept, reply)
        if status == 406:
            assert assert_problem(reply, 406, "not_acceptable")["available"] == ["application/json", "application/msgpack"]


def test_two_accept_lines_count_together(shared_service):
    task_id = shared_service.submit()
    with Raw(shared_service.port) as raw:
        assert raw.send(get(f"/v1/tasks/{task_id}", "Accept: text/html", "Accept: application/json")).reply().status == 200


def test_a_task_that_waits_too_long_ends_expired_by_the_queue(service):
    service.start_api("--max-queue-seconds", "1")
    done = service.finished(service.submit(), 10)
    assert done["status"] == "expired" and done["error"]["code"] == "queue_timeout"
    assert done["attempt"] == 0 and done["data"] is None
