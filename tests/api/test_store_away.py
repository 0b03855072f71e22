"""Redis away: said at once, alive all the same, and back by itself."""
import re
import signal
import time

import pytest

from kronosq import FULL, single_body, wait_for
from raw_http import Raw, assert_problem, elapsed, get, post


def assert_unavailable(reply):
    assert_problem(reply, 503, "store_unavailable")
    assert reply.headers["retry-after"] == "2"


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_every_request_is_answered_while_redis_is_away(service, how):
    service.start_api()
    task_id = service.submit()
    if how == "killed":
        service.redis.kill()
    else:
        service.redis.process.signal(signal.SIGSTOP)
    began = time.monotonic()
    while elapsed(began) < (30 if FULL else 5):
        for ask in (lambda: service.post("/v1/predict/single", single_body()), lambda: service.get(f"/v1/tasks/{task_id}"),
                    lambda: service.get(f"/v1/tasks/{task_id}/result"), lambda: service.get(f"/v1/tasks/{task_id}?wait=30")):
            started = time.monotonic()
            assert_unavailable(ask())
            assert elapsed(started) < 2
        assert service.get("/v1/healthz").status == 200
    if how == "killed":
        service.redis.start()
    else:
        service.redis.process.signal(signal.SIGCONT)
    back = time.monotonic()
    wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 5)
    assert elapsed(back) < 2
    assert service.task(task_id)["status"] == "queued", "an accepted task is still there"
    service.start_worker()
    assert service.finished(task_id)["status"] == "completed"


def test_a_held_submit_keeps_its_id_when_redis_goes_away(service):
    service.start_api()
    raw = Raw(service.port).send(post("/v1/predict/single", single_body(), "Prefer: wait=30"))
    wait_for(lambda: service.redis.command("ZCARD", "kq:{tiny}:queued:normal") == 1, 2)
    service.redis.kill()
    reply = raw.reply()
    assert reply.status == 202 and reply.json["status"] == "queued" and reply.json["queue"]["position"] is None
    service.redis.start()
    wait_for(lambda: service.get(reply.headers["location"]).status == 200, 3)


def test_the_api_starts_before_redis_does(service):
    service.redis.kill()
    service.start_api()
    assert service.get("/v1/healthz").status == 200
    assert_unavailable(service.post("/v1/predict/single", single_body()))
    service.redis.start()
    wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 3)


def test_a_redis_that_turns_out_to_lose_tasks_gets_none(service):
    service.redis.kill()
    service.start_api()
    service.redis.start()
    wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 3)
    service.redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    service.redis.command("CLIENT", "KILL", "TYPE", "normal")
    wait_for(lambda: service.api.log_lines(level="CRITICAL"), 5)
    assert "noeviction" in service.api.log_lines(level="CRITICAL")[0]["error_message"]
    assert_unavailable(service.post("/v1/predict/single", single_body()))
    assert service.get("/v1/healthz").status == 200


def test_waits_go_on_when_only_the_subscription_is_lost(service):
    service.start_api()
    task_id = service.submit()
    raw = Raw(service.port).send(get(f"/v1/tasks/{task_id}?wait=30"))
    service.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
    service.start_worker()
    assert raw.reply().json["status"] == "completed"


def test_a_flushed_script_cache_costs_nobody_anything(service):
    service.start_api()
    service.submit()
    service.redis.command("SCRIPT", "FLUSH")
    task_id = service.submit()
    service.redis.command("SCRIPT", "FLUSH")
    assert service.task(task_id)["status"] == "queued"


def test_submits_stop_before_the_memory_of_redis_is_used_up(service):
    """At 85 %: what is left is for the results of tasks that are there."""
    service.start_api()
    task_id = service.submit(None, Idempotency_Key="first")

    def limit_memory(share):
        info = service.redis.command("INFO", "memory")
        used = int(re.search(r"\nused_memory:(\d+)", info).group(1)) - int(re.search(r"\nmem_not_counted_for_evict:(\d+)", info).group(1))
        service.redis.command("CONFIG", "SET", "maxmemory", int(used / share))

    def told():
        return service.api.log_lines(level="WARNING", message="Redis has used up its memory: no new tasks are accepted")
    limit_memory(0.5)
    service.submit()
    limit_memory(0.9)
    wait_for(told, 5)
    for headers in ({}, {"Idempotency-Key": "third"}):
        reply = service.post("/v1/predict/single", single_body(), headers=headers)
        assert_problem(reply, 503, "queue_full")
        assert "memory" in reply.json["detail"] and 1 <= int(reply.headers["retry-after"]) <= 300
    again = service.post("/v1/predict/single", single_body(), headers={"Idempotency-Key": "first"})
    assert again.status == 202 and again.json["task_id"] == task_id, "a repeat needs no room"
    service.start_worker()
    assert service.finished(task_id)["status"] == "completed", "what is there goes on"
    assert len(told()) == 1
    service.redis.command("CONFIG", "SET", "maxmemory", "0")
    wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 5)


def test_full_memory_refuses_submits_and_serves_the_rest(service):
    service.start_api()
    task_id = service.submit()
    service.redis.command("CONFIG", "SET", "maxmemory", "1")
    reply = service.post("/v1/predict/single", single_body())
    assert_problem(reply, 503, "queue_full")
    assert service.task(task_id)["status"] == "queued"
