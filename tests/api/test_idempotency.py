"""A client that got no reply repeats with its key, and cannot make a second task."""
import concurrent.futures

import pytest

from kronosq import single_body, wait_for
from raw_http import assert_problem

BODY = single_body(overrides={"seed": 5})


def submit(service, key, body=BODY, **headers):
    return service.post("/v1/predict/single", body, headers={"Idempotency-Key": key, **headers})


def test_the_same_key_and_body_is_the_same_task(service):
    service.start_api()
    first = submit(service, '"order-1"')
    assert first.status == 202 and "idempotency-replayed" not in first.headers
    again = submit(service, "order-1")  # a bare token is the same key as a quoted one
    assert again.status == 202 and again.headers["idempotency-replayed"] == "true"
    assert again.json == first.json and again.headers["location"] == first.headers["location"]
    assert submit(service, "order-2").json["task_id"] != first.json["task_id"]
    service.start_worker()
    done = submit(service, "order-1", Prefer="wait=30")
    assert done.status == 200 and done.json["task_id"] == first.json["task_id"] and done.headers["idempotency-replayed"] == "true"
    assert submit(service, "order-1").json["status"] == "completed"


def test_twenty_at_once_make_one_task(service):
    service.start_api()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: submit(service, "race"), range(20)))
    assert {r.status for r in replies} == {202} and len({r.json["task_id"] for r in replies}) == 1
    assert sum("idempotency-replayed" not in r.headers for r in replies) == 1
    assert service.redis.command("ZCARD", "kq:{tiny}:queued:normal") == 1


def test_the_same_key_for_another_body_is_refused(service):
    service.start_api()
    first = submit(service, "order-1")
    reply = submit(service, "order-1", single_body(overrides={"seed": 6}))
    document = reply.json
    assert reply.status == 422 and document["code"] == "idempotency_mismatch" and document["task_id"] == first.json["task_id"]
    assert document["errors"][0]["pointer"] == "header"
    assert document["detail"][0]["loc"] == ["header", "idempotency-key"]


def test_a_replay_works_while_the_queue_is_full(service):
    service.start_api(KRONOS_QUEUE_MAX_TASKS="1")
    first = submit(service, "order-1")
    assert submit(service, "order-2").status == 503
    assert submit(service, "order-1").json["task_id"] == first.json["task_id"]


@pytest.mark.parametrize("key", ["", '""', "a" * 256, '"' + "a" * 256 + '"', "a b", '"a b"', '"open', '"a"b', "\u00e4"])
def test_a_key_that_is_none_is_named(shared_service, key):
    from raw_http import Raw, post
    with Raw(shared_service.port) as raw:
        data = post("/v1/predict/single", BODY, f"Idempotency-Key: {key}".encode("utf-8").decode("latin-1"))
        assert_problem(raw.send(data).reply(), 400, "bad_idempotency_key")


def test_keys_may_be_as_long_as_said(shared_service):
    key = "k" * 255
    first = submit(shared_service, key)
    assert wait_for(lambda: submit(shared_service, f'"{key}"').json["task_id"], 1) == first.json["task_id"]
