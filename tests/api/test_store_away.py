"""Redis away: said at once, alive all the same, and back by itself."""
import concurrent.futures
import re
import signal
import time

import pytest

from api_keys import KeysFile, bearer
from kronosq import FULL, at_best, single_body, wait_for
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
            def asked(ask=ask):
                reply = ask()
                assert_unavailable(reply)
                return reply.seconds
            at_best(asked, 2)
        assert service.get("/v1/healthz").status == 200

    def come_back():
        if how == "killed":
            service.redis.kill()
            service.redis.start()
        else:
            service.redis.process.signal(signal.SIGCONT)
        back = time.monotonic()
        wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 20)
        return elapsed(back)
    at_best(come_back, 2)
    assert service.task(task_id)["status"] == "queued", "an accepted task is still there"
    service.start_worker()
    assert service.finished(task_id)["status"] == "completed"


@pytest.mark.parametrize("rate", [None, "100"], ids=["without keys", "with a rate"])
def test_whatever_was_asked_is_answered_within_two_seconds_of_the_moment_redis_froze(service, tmp_path, rate):
    """Also what takes several exchanges with Redis: their time limits are not added up."""
    keys, headers = KeysFile(tmp_path), {}
    if rate is not None:
        headers = bearer(keys.add("a", "submit,admin", "urgent", rate))
    service.start_api(*(["--keys-file", keys.path] if rate else []))
    service.start_worker()
    wait_for(lambda: service.get("/v1/readyz").status == 200, 20)
    assert service.request("POST", "/v1/queues/tiny/all/pause", headers=headers).status == 204
    unknown = "3f0c1a52-8a4e-4d6b-9c1e-7b2f5a90d1c4"

    def posted(path, body, **more):
        return service.post(path, body, headers={**headers, **more})
    task_id = posted("/v1/predict/single", single_body()).json["task_id"]
    batch_id = posted("/v1/predict/batch", {"items": [single_body(), single_body()]}).json["task_id"]
    asks = [lambda: posted("/v1/predict/single", single_body()), lambda: posted("/v1/predict/single", single_body(deadline_seconds=60)),
            lambda: posted("/v1/predict/single", single_body(), **{"Idempotency-Key": "k"}), lambda: posted("/v1/predict/single", single_body(model="nope")),
            lambda: posted("/v1/predict/single", single_body(), Prefer="wait=30"), lambda: posted("/v1/predict/batch", {"items": [single_body()]})]
    for method, path in [("GET", f"/v1/tasks/{task_id}"), ("GET", f"/v1/tasks/{task_id}?wait=30"), ("GET", f"/v1/tasks/{task_id}/result"), ("GET", f"/v1/tasks/{batch_id}"),
                         ("GET", f"/v1/tasks/{batch_id}/result"), ("GET", f"/v1/tasks/{unknown}"), ("POST", f"/v1/tasks/{task_id}/cancel"), ("DELETE", f"/v1/tasks/{batch_id}"),
                         ("GET", "/v1/tasks"), ("GET", "/v1/models"), ("GET", "/v1/models/nope"), ("GET", "/v1/queues"), ("GET", "/v1/workers"), ("GET", "/v1/dead-letters"),
                         ("POST", "/v1/queues/tiny/all/pause"), ("POST", f"/v1/dead-letters/{task_id}/requeue"), ("GET", "/v1/readyz"), ("GET", "/v1/healthz/detailed"),
                         ("GET", "/v1/healthz"), ("GET", "/v2/health/ready"), ("GET", "/v2/models/tiny/ready"), ("GET", "/metrics")]:
        asks.append(lambda method=method, path=path: service.request(method, path, headers=headers))

    def freeze():
        """The slowest answer of all that are asked for at once; threads of this process wait for each other, too."""
        service.redis.process.signal(signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(len(asks)) as pool:
            replies = list(pool.map(lambda ask: ask(), asks))
        service.redis.process.signal(signal.SIGCONT)
        assert {reply.status for reply in replies} <= {200, 503}, replies
        assert [reply.status for reply in replies[:6]] == [503] * 6
        wait_for(lambda: posted("/v1/predict/single", single_body()).status == 202, 20)
        return max(reply.seconds for reply in replies)
    at_best(freeze, 2)


def test_a_held_submit_keeps_its_id_when_redis_goes_away(service):
    service.start_api()
    raw = Raw(service.port).send(post("/v1/predict/single", single_body(), "Prefer: wait=30"))
    wait_for(lambda: service.redis.command("ZCARD", "kq:{tiny}:queued:normal") == 1, 20)
    service.redis.kill()
    reply = raw.reply()
    assert reply.status == 202 and reply.json["status"] == "queued" and reply.json["queue"]["position"] is None
    service.redis.start()
    wait_for(lambda: service.get(reply.headers["location"]).status == 200, 20)


def test_the_api_starts_before_redis_does(service):
    service.redis.kill()
    service.start_api()
    assert service.get("/v1/healthz").status == 200
    assert_unavailable(service.post("/v1/predict/single", single_body()))
    service.redis.start()
    wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 20)


def test_a_redis_that_turns_out_to_lose_tasks_gets_none(service):
    service.redis.kill()
    service.start_api()
    service.redis.start()
    wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 20)
    service.redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    service.redis.command("CLIENT", "KILL", "TYPE", "normal")
    wait_for(lambda: service.api.log_lines(level="CRITICAL"), 20)
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
    wait_for(told, 20)
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
    wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 20)


def test_full_memory_refuses_submits_and_serves_the_rest(service):
    service.start_api()
    task_id = service.submit()
    service.redis.command("CONFIG", "SET", "maxmemory", "1")
    reply = service.post("/v1/predict/single", single_body())
    assert_problem(reply, 503, "queue_full")
    assert service.task(task_id)["status"] == "queued"
