"""A batch: many series in one request, members that all workers share, one document."""
import concurrent.futures
import time

import pytest

from kronosq import candles, single_body, times, wait_for
from raw_http import assert_problem

PATH = "/v1/predict/batch"
COUNTS = ["queued", "processing", "completed", "failed", "cancelled", "expired"]


def item(name, history=24, steps=8, **members):
    body = {"series_id": name, "candles": candles(history), "timestamps": times(history),
            "prediction_timestamps": times(steps, first=history)}
    body.update(members)
    return body


def batch_body(n=3, **members):
    """Items of different lengths, horizons and overrides."""
    body = {"items": [item(f"S{i}", history=20 + 3 * i, steps=4 + i, overrides={"seed": i, "sample_count": 1 + i % 3}) for i in range(n)]}
    body.update(members)
    return body


def submit(service, body, **headers):
    return service.post(PATH, body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def counts(**given):
    return {name: given.get(name, 0) for name in COUNTS}


def finished(service, task_id, seconds=60):
    return service.finished(task_id, seconds)


def test_a_batch_is_accepted_as_one_task_with_members(service):
    service.start_api()
    reply = submit(service, batch_body(metadata={"strategy": "a1"}, priority="low", deadline_seconds=600))
    document = reply.json
    assert reply.status == 202 and document["status"] == "queued", reply
    batch_id = document["task_id"]
    assert reply.headers["location"] == f"/v1/tasks/{batch_id}" and 1 <= int(reply.headers["retry-after"]) <= 60
    assert list(document) == ["task_id", "status", "model", "priority", "attempt", "created_at", "started_at", "finished_at",
                              "expires_at", "deadline_at", "queue", "progress", "data", "tasks", "counts", "error", "warnings",
                              "metadata", "urls"]
    assert document["counts"] == counts(queued=3) and list(document["counts"]) == COUNTS
    assert [t["series_id"] for t in document["tasks"]] == ["S0", "S1", "S2"]
    assert {t["status"] for t in document["tasks"]} == {"queued"} and len({t["task_id"] for t in document["tasks"]} | {batch_id}) == 4
    assert document["data"] == [None, None, None] and document["error"] is None
    assert document["progress"] == {"step": 0, "total": 4 + 5 + 6}
    assert document["queue"]["position"] == 1 and document["priority"] == "low" and document["metadata"] == {"strategy": "a1"}
    assert document["deadline_at"] > document["created_at"]
    assert {w["code"] for w in document["warnings"]} == {"no_worker"} and len(document["warnings"]) == 1
    assert service.get(f"/v1/tasks/{batch_id}").json == document == service.get(f"/v1/predict/{batch_id}").json
    assert service.get(f"/v1/tasks/{batch_id}?data=0").json["data"] is None
    member = service.task(document["tasks"][1]["task_id"])
    assert member["batch_id"] == batch_id and member["progress"]["total"] == 5 and member["metadata"] == {"strategy": "a1"}
    assert service.redis.command("ZCARD", "kq:{tiny}:queued:low") == 3


def test_results_come_in_the_order_of_the_items(service):
    service.start_api()
    batch_id = submit(service, batch_body(5)).json["task_id"]
    service.start_worker()
    service.start_worker()
    document = finished(service, batch_id)
    assert document["status"] == "completed" and document["counts"] == counts(completed=5)
    assert document["progress"] == {"step": 30, "total": 30} and document["queue"] is None and document["attempt"] == 1
    assert document["created_at"] <= document["started_at"] <= document["finished_at"] < document["expires_at"]
    members = [service.task(t["task_id"]) for t in document["tasks"]]
    assert document["started_at"] == min(m["started_at"] for m in members)
    assert document["finished_at"] == max(m["finished_at"] for m in members)
    for i, data in enumerate(document["data"]):
        assert data == members[i]["data"] and data["series_id"] == f"S{i}" and data["task_id"] == document["tasks"][i]["task_id"]
        assert [row["timestamp"] for row in data["prediction"]] == times(4 + i, first=20 + 3 * i)
        assert data["provenance"]["params"]["sample_count"] == 1 + i % 3 and data["provenance"]["seed"] == i
    result = service.get(f"/v1/tasks/{batch_id}/result")
    assert result.status == 200 and result.json == document["data"]
    again = service.get(f"/v1/tasks/{batch_id}/result", headers={"If-None-Match": result.headers["etag"]})
    assert again.status == 304


def test_a_member_forecasts_what_it_would_alone(shared_service):
    reply = submit(shared_service, batch_body(3), Prefer="wait=30")
    for i, data in enumerate(reply.json):
        alone = shared_service.post("/v1/predict/single", batch_body(3)["items"][i], headers={"Prefer": "wait=30"}).json
        assert data["prediction"] == alone["prediction"]


def test_a_held_batch_is_answered_with_the_bare_array(shared_service):
    reply = submit(shared_service, batch_body(), Prefer="wait=30")
    assert reply.status == 200 and reply.headers["preference-applied"] == "wait=30", reply
    data = reply.json
    assert isinstance(data, list) and [d["series_id"] for d in data] == ["S0", "S1", "S2"]
    assert set(data[0]) >= {"series_id", "prediction", "model_version", "tokenizer_version", "task_id"}
    location = reply.headers["content-location"]
    assert shared_service.get(location).json == data
    assert location.split("/")[3] not in {d["task_id"] for d in data}, "the batch is none of its members"


def test_a_batch_of_one_is_a_batch(shared_service):
    reply = submit(shared_service, batch_body(1))
    assert reply.status == 202 and len(reply.json["tasks"]) == 1
    document = finished(shared_service, reply.json["task_id"])
    assert len(document["data"]) == 1 and document["data"][0]["series_id"] == "S0"
    assert submit(shared_service, batch_body(1), Prefer="wait=30").json[0]["series_id"] == "S0"


def test_a_batch_that_is_half_done_shows_what_there_is(service):
    service.start_api()
    service.start_worker("--slots", "1", "--step-delay-ms", "120")
    batch_id = submit(service, {"items": [item("short", steps=1), item("long", steps=40)]}).json["task_id"]
    half = wait_for(lambda: (lambda d: d if d["counts"]["completed"] == 1 else None)(service.task(batch_id)), 20)
    assert half["status"] == "processing" and half["data"][0]["series_id"] == "short" and half["data"][1] is None
    assert half["started_at"] and half["finished_at"] is None and half["expires_at"] is None
    assert half["queue"]["position"] in (0, 1) and half["progress"]["total"] == 41 and half["progress"]["step"] >= 1
    assert service.get(f"/v1/tasks/{batch_id}?data=0").json["data"] is None
    assert_problem(service.get(f"/v1/tasks/{batch_id}/result"), 409, "not_finished")
    held = service.get(f"/v1/tasks/{batch_id}?wait=30").json
    assert held["status"] == "completed" and held["data"][1]["series_id"] == "long"


def test_a_hold_that_ends_before_the_batch_shows_the_present_document(service):
    service.start_api()
    reply = submit(service, batch_body(), Prefer="wait=1")
    assert reply.status == 202 and reply.headers["preference-applied"] == "wait=1" and reply.json["counts"]["queued"] == 3
    assert reply.json["data"] == [None] * 3


def test_one_cancelled_member_makes_the_batch_cancelled_and_spares_the_others(service):
    service.start_api()
    document = submit(service, batch_body()).json
    cancelled = service.post(f"/v1/tasks/{document['tasks'][1]['task_id']}/cancel", b"")
    assert cancelled.status == 200, cancelled
    assert service.task(document["task_id"])["status"] == "queued", "no member has started"
    service.start_worker()
    document = finished(service, document["task_id"])
    assert document["status"] == "cancelled" and document["counts"] == counts(completed=2, cancelled=1)
    assert document["error"]["code"] == "cancelled_by_client"
    assert [d and d["series_id"] for d in document["data"]] == ["S0", None, "S2"]
    result = service.get(f"/v1/tasks/{document['task_id']}/result")
    assert result.status == 200 and [d and d["series_id"] for d in result.json] == ["S0", None, "S2"]


def test_a_cancelled_batch_cancels_what_has_not_ended(service):
    service.start_api()
    document = submit(service, batch_body()).json
    path = f"/v1/tasks/{document['task_id']}"
    cancelled = service.post(path + "/cancel", b"")
    assert cancelled.status == 200 and cancelled.json["status"] == "cancelled" and cancelled.json["counts"] == counts(cancelled=3), cancelled
    assert service.post(path + "/cancel", b"").json == cancelled.json
    assert service.redis.command("ZCARD", "kq:{tiny}:queued:normal") == 0
    service.start_worker("--slots", "2", "--step-delay-ms", "100")
    document = submit(service, {"items": [item("short", steps=1), item("long", steps=40), item("waits", steps=40)]}).json
    path = f"/v1/tasks/{document['task_id']}"
    wait_for(lambda: service.task(document["task_id"])["counts"]["completed"] == 1, 20)
    asked = service.post(path + "/cancel", b"").json
    assert asked["status"] in ("processing", "cancelled") and asked["data"][0]["series_id"] == "short"
    done = service.finished(document["task_id"], 20)
    assert done["status"] == "cancelled" and done["counts"] == counts(completed=1, cancelled=2)


def test_a_deleted_batch_leaves_nothing_and_its_members_are_not_deleted_alone(service):
    service.start_api()
    service.start_worker()
    document = submit(service, batch_body()).json
    member = document["tasks"][0]["task_id"]
    assert_problem(service.request("DELETE", f"/v1/tasks/{member}"), 409, "batch_member")
    finished(service, document["task_id"])
    assert_problem(service.request("DELETE", f"/v1/tasks/{member}"), 409, "batch_member")
    assert service.request("DELETE", f"/v1/tasks/{document['task_id']}").status == 204
    for task_id in (document["task_id"], member):
        assert_problem(service.get(f"/v1/tasks/{task_id}"), 404, "task_not_found")
    assert not [k for k in service.redis.keys() if ":task:" in k or ":group:" in k or ":gone:" in k]
    waiting = submit(service, batch_body(model="tiny"), Prefer="respond-async").json
    assert service.request("DELETE", f"/v1/tasks/{waiting['task_id']}").status == 204


def test_a_batch_without_any_result_says_so(service):
    service.start_api()
    reply = submit(service, batch_body(deadline_seconds=0.3), Prefer="wait=20")
    problem = assert_problem(reply, 504, "deadline_exceeded")
    document = service.task(problem["task_id"])
    assert document["status"] == "expired" and document["counts"] == counts(expired=3) and document["data"] == [None] * 3
    assert document["error"]["code"] == "deadline_exceeded"
    result = assert_problem(service.get(f"/v1/tasks/{problem['task_id']}/result"), 409, "no_result")
    assert result["task_status"] == "expired" and result["task_error"]["code"] == "deadline_exceeded"


def test_a_failed_member_fails_the_batch_by_name(service):
    service.start_api()
    document = submit(service, batch_body()).json
    service.redis.command("HSET", f"kq:{{tiny}}:task:{document['tasks'][0]['task_id']}", "input", b"\xc1")
    service.start_worker()
    document = finished(service, document["task_id"])
    assert document["status"] == "failed" and document["counts"] == counts(completed=2, failed=1)
    assert document["error"]["code"] == "batch_member_failed"
    assert service.task(document["tasks"][0]["task_id"])["error"]["code"] == "input_corrupt"


@pytest.mark.parametrize("change, pointer, code", [
    (lambda b: b["items"][1]["candles"][3].update(high=0), "#/items/1/candles/3/high", "range"),
    (lambda b: b["items"][2].pop("series_id"), "#/items/2/series_id", "required"),
    (lambda b: b["items"][1]["timestamps"].reverse(), "#/items/1/timestamps/1", "not_ascending"),
    (lambda b: b.update(items=[]), "#/items", "length"),
    (lambda b: b.update(items=b["items"] * 22), "#/items", "length"),
    (lambda b: b.update(overrides={"temperature": 9}), "#/overrides/temperature", "range"),
    (lambda b: b.update(model="nope"), "#/model", "unknown_model")])
def test_one_bad_item_stores_nothing(service, change, pointer, code):
    service.start_api()
    body = batch_body()
    change(body)
    reply = submit(service, body)
    assert reply.status == 422 and reply.json["errors"][0]["pointer"] == pointer and reply.json["errors"][0]["code"] == code, reply
    assert [k for k in service.redis.keys() if ":task:" in k or ":group:" in k] == []


@pytest.mark.parametrize("change, place, text", [
    (lambda i: i["timestamps"].pop(), [], "candles and timestamps length mismatch: 23 candles but 22 timestamps"),
    (lambda i: i["timestamps"].__setitem__(2, i["timestamps"][1]), ["timestamps", 2], "timestamps must be in ascending order at index 2"),
    (lambda i: i["prediction_timestamps"].reverse(), ["prediction_timestamps", 1], "prediction_timestamps must be in ascending order at index 1"),
    (lambda i: i["prediction_timestamps"].__setitem__(0, i["timestamps"][-1]), ["prediction_timestamps", 0], "prediction_timestamps must be after input timestamps")])
def test_the_texts_of_a_batch_are_the_old_ones(shared_service, change, place, text):
    body = batch_body()
    change(body["items"][1])
    reply = submit(shared_service, body)
    assert reply.status == 422 and reply.json["detail"][0]["loc"] == ["body", "items", 1, *place]
    assert reply.json["detail"][0]["type"] == "value_error" and reply.json["detail"][0]["msg"] == f"Value error, [S1] {text}"


def test_a_full_queue_takes_all_members_or_none(service):
    service.start_api("--queue-max-tasks", "4")
    assert submit(service, batch_body(3)).status == 202
    reply = submit(service, batch_body(2))
    assert_problem(reply, 503, "queue_full")
    assert service.redis.command("ZCARD", "kq:{tiny}:queued:normal") == 3


def test_the_same_key_is_the_same_batch(service):
    service.start_api()
    first = submit(service, batch_body(), Idempotency_Key="b-1")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: submit(service, batch_body(), Idempotency_Key="b-1"), range(8)))
    assert {r.json["task_id"] for r in replies} == {first.json["task_id"]}
    assert {r.headers["idempotency-replayed"] for r in replies} == {"true"}
    assert submit(service, batch_body(2), Idempotency_Key="b-1").json["code"] == "idempotency_mismatch"
    service.start_worker()
    done = submit(service, batch_body(), Idempotency_Key="b-1", Prefer="wait=30")
    assert done.status == 200 and [d["series_id"] for d in done.json] == ["S0", "S1", "S2"]
    assert submit(service, batch_body(), Idempotency_Key="b-1").json["status"] == "completed"


def test_sync_mode_answers_a_batch_as_the_old_service_did(service):
    service.start_api(KRONOS_SYNC_DEFAULT="1", KRONOS_REQUEST_TIMEOUT="1")
    service.start_worker("--step-delay-ms", "300")
    wait_for(lambda: submit(service, {"items": [item("A", steps=1), item("B", steps=1)]}).status == 200, 20)
    problem = assert_problem(submit(service, batch_body()), 504, "wait_timeout", "Batch prediction timeout after 1 seconds")
    assert finished(service, problem["task_id"])["status"] == "completed"


def test_sixty_four_members_are_read_in_one_exchange(service):
    service.start_api()
    service.start_worker()
    body = {"items": [item(f"S{i}", steps=1) for i in range(64)]}
    batch_id = submit(service, body).json["task_id"]
    assert finished(service, batch_id)["counts"]["completed"] == 64

    def commands():
        stats = service.redis.command("INFO", "commandstats")
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in stats.splitlines() if line.startswith("cmdstat_evalsha"))
    before, started = commands(), time.monotonic()
    for _ in range(20):
        assert len(service.get(f"/v1/tasks/{batch_id}").json["data"]) == 64
    # a read of a task, one of a batch, and at most one of the load; the rest are heartbeats and sweeps meanwhile
    # (two sweeps a second of each process)
    assert commands() - before < 20 * 3 + 20 + 5 * (time.monotonic() - started)


def test_a_batch_of_another_model_is_found_by_its_id(service):
    service.start_api()
    service.start_worker(name="other")
    wait_for(lambda: submit(service, batch_body(model="other")).status == 202, 20, "the model is known")
    batch_id = submit(service, batch_body(model="other")).json["task_id"]
    assert finished(service, batch_id)["model"] == "other"


@pytest.mark.parametrize("damage", ["member gone", "no members", "state", "about"])
def test_a_damaged_batch_is_never_a_crash(service, damage):
    service.start_api()
    document = submit(service, batch_body()).json
    group, member = f"kq:{{tiny}}:group:{document['task_id']}", f"kq:{{tiny}}:task:{document['tasks'][1]['task_id']}"
    if damage == "member gone":
        service.redis.command("DEL", member)
        shown = service.task(document["task_id"])
        assert shown["counts"] == counts(queued=2, failed=1) and shown["tasks"][1]["series_id"] is None
        return
    if damage == "no members":
        service.redis.command("DEL", group + ":tasks")
    elif damage == "state":
        service.redis.command("HSET", group, "state", "happy")
    else:
        service.redis.command("HSET", member, "about", b"\x93\x01")
    for path in ("", "?wait=1", "/result"):
        assert_problem(service.get(f"/v1/tasks/{document['task_id']}{path}"), 500, "internal")
    assert service.get("/v1/healthz").status == 200


def test_a_batch_survives_a_store_that_goes_away(service):
    service.start_api()
    batch_id = submit(service, batch_body()).json["task_id"]
    service.redis.kill()
    wait_for(lambda: service.get(f"/v1/tasks/{batch_id}").status == 503, 20)
    service.redis.start()
    wait_for(lambda: service.get(f"/v1/tasks/{batch_id}").status == 200, 20)
    service.start_worker()
    assert finished(service, batch_id)["status"] == "completed"
