"""The whole service as a client sees it: Redis, API and workers, all real, some of them killed."""
import hashlib
import struct
import time

import pytest

from kronosq import at_best, single_body, wait_for

# A short lease, so that a killed worker's task is elsewhere in a second or two instead of fifteen.
LEASE_MS = 1500
SHORT_LEASE = ("--lease-ms", str(LEASE_MS))


def tasks_logged(*workers):
    """Ids of the tasks these workers say they finished; a line is written after Redis has the result."""
    return sorted(line["task_id"] for worker in workers for line in worker.log_lines(message="task finished"))


def start_two_workers(service, *flags):
    return [service.start_worker(*flags), service.start_worker(*flags)]


def test_a_submitted_forecast_completes_and_is_what_was_asked_for(service):
    service.start_api()
    service.start_worker()
    body = single_body(history=24, steps=8, metadata={"strategy": "a1"}, overrides={"seed": 7, "sample_count": 3})
    reply = service.post("/v1/predict/single", body)
    assert reply.status == 202, reply
    accepted = reply.json
    assert accepted["status"] == "queued" and accepted["progress"] == {"step": 0, "total": 8}
    assert reply.headers["location"] == f"/v1/tasks/{accepted['task_id']}"

    done = service.finished(accepted["task_id"])
    assert done["status"] == "completed", done
    assert [row["timestamp"] for row in done["data"]["prediction"]] == body["prediction_timestamps"]
    assert done["metadata"] == {"strategy": "a1"} and done["data"]["series_id"] == "TEST"
    assert done["attempt"] == 1 and done["progress"] == {"step": 8, "total": 8}
    assert done["created_at"] <= done["started_at"] <= done["finished_at"] < done["expires_at"]
    provenance = done["data"]["provenance"]
    assert provenance["seed"] == 7 and provenance["params"]["sample_count"] == 3 and provenance["rows_used"] == 24
    values = [row[f] for row in done["data"]["prediction"] for f in ("open", "high", "low", "close", "volume", "amount")]
    assert hashlib.sha256(struct.pack(f"<{len(values)}f", *values)).hexdigest() == provenance["forecast_sha256"]


def test_fifty_tasks_over_two_workers_all_complete(service):
    service.start_api()
    workers = start_two_workers(service)
    ids = [service.submit(single_body(history=10 + i % 30, steps=1 + i % 8, priority=("urgent", "normal", "low")[i % 3]))
           for i in range(50)]
    assert len(set(ids)) == 50
    for i, task_id in enumerate(ids):
        done = service.finished(task_id)
        assert done["status"] == "completed", done
        assert len(done["data"]["prediction"]) == 1 + i % 8
    wait_for(lambda: len(tasks_logged(*workers)) >= 50, 20, "all are logged")
    assert tasks_logged(*workers) == sorted(ids), "each task was finished once, by one of the two"
    assert service.redis.command("ZCARD", "kq:{kronos-small}:running") == 0
    assert all(service.redis.command("ZCARD", f"kq:{{kronos-small}}:queued:{p}") == 0 for p in ("urgent", "normal", "low"))


def test_a_task_whose_worker_is_killed_completes_on_the_other(service):
    service.start_api()
    victim = service.start_worker(*SHORT_LEASE, "--step-delay-ms", "500")  # it must not end before the other one has started
    task_id = service.submit(single_body(steps=20, overrides={"seed": 11}))
    wait_for(lambda: service.task(task_id)["status"] == "processing", 20, "the first worker runs the task")
    rescuer = service.start_worker(*SHORT_LEASE)
    victim.kill()
    done = service.finished(task_id)
    assert done["status"] == "completed" and done["attempt"] == 2, done
    wait_for(lambda: tasks_logged(rescuer) == [task_id], 20, "the rescuer says so")

    # The forecast does not tell that it took two attempts.
    undisturbed = service.finished(service.submit(single_body(steps=20, overrides={"seed": 11})))
    assert undisturbed["data"]["provenance"]["forecast_sha256"] == done["data"]["provenance"]["forecast_sha256"]


def test_everything_queued_completes_after_redis_was_gone_for_five_seconds(service):
    service.start_api()
    service.start_worker("--step-delay-ms", "20", "--slots", "2")
    ids = [service.submit() for _ in range(30)]
    service.redis.kill()
    gone = time.monotonic()

    def ask():
        refused = service.post("/v1/predict/single", single_body())
        assert refused.status == 503 and refused.json["code"] == "store_unavailable"
        return refused.seconds
    at_best(ask, 2.5)
    assert service.get("/v1/healthz").status == 200
    wait_for(lambda: time.monotonic() - gone > 5, 20, "five seconds without Redis")

    def come_back():
        service.redis.kill()
        service.redis.start()
        back = time.monotonic()
        wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 20, "submits are accepted again")
        return time.monotonic() - back
    at_best(come_back, 2.5)
    for task_id in ids:
        assert service.finished(task_id, 60)["status"] == "completed"


def test_tasks_wait_for_the_first_worker_to_come(service):
    service.start_api()
    ids = [service.submit() for _ in range(3)]
    assert service.get("/v1/readyz").status == 503
    assert [service.task(i)["queue"]["position"] for i in ids] == [1, 2, 3]
    service.start_worker()
    for task_id in ids:
        assert service.finished(task_id)["status"] == "completed"
    assert service.get("/v1/readyz").status == 200


def test_the_same_request_with_the_same_seed_gives_equal_bytes(service):
    service.start_api()
    start_two_workers(service, "--slots", "3")
    body = single_body(history=40, steps=16, overrides={"seed": 42, "sample_count": 5, "temperature": 1.0, "top_p": 0.9})
    ids = [service.submit(body) for _ in range(6)]
    documents = [service.finished(task_id) for task_id in ids]
    assert {d["status"] for d in documents} == {"completed"}
    assert len({d["data"]["provenance"]["forecast_sha256"] for d in documents}) == 1
    assert len({str(d["data"]["prediction"]) for d in documents}) == 1
    other = dict(body, overrides=dict(body["overrides"], seed=43))
    assert service.finished(service.submit(other))["data"]["prediction"] != documents[0]["data"]["prediction"]


def test_a_seed_the_server_drew_repeats_the_forecast(service):
    service.start_api()
    service.start_worker()
    first = service.finished(service.submit())
    seed = first["data"]["provenance"]["seed"]
    again = service.finished(service.submit(single_body(overrides={"seed": seed})))
    assert again["data"]["prediction"] == first["data"]["prediction"]


def test_an_urgent_task_overtakes_the_waiting_low_ones(service):
    service.start_api()
    low = [service.submit(single_body(priority="low")) for _ in range(12)]
    urgent = service.submit(single_body(priority="urgent"))
    service.start_worker("--slots", "1", "--step-delay-ms", "20")
    finished = service.finished(urgent)["finished_at"]
    last = max(service.finished(task_id)["finished_at"] for task_id in low)
    assert finished < last
    assert sum(service.task(task_id)["finished_at"] < finished for task_id in low) <= 2


def test_an_urgent_task_starts_beside_a_task_with_more_paths_than_slots(service):
    service.start_api()
    service.start_worker("--slots", "4", "--step-delay-ms", "100")
    wide = service.submit(single_body(steps=12, priority="low", overrides={"sample_count": 30, "seed": 3}))
    wait_for(lambda: service.task(wide)["status"] == "processing", 20, "the wide task runs")

    def overtake():
        urgent = service.finished(service.submit(single_body(steps=2, priority="urgent")))
        assert urgent["status"] == "completed"
        return urgent["data"]["timing"]["queue_ms"] / 1000
    at_best(overtake, 0.5)
    assert service.task(wide)["status"] == "processing", "the urgent one did not wait for it"
    assert service.finished(wide, 60)["status"] == "completed"


def test_a_deadline_that_passes_while_waiting_ends_the_task(service):
    service.start_api()
    task_id = service.submit(single_body(deadline_seconds=0.5))
    done = service.finished(task_id, 20)
    assert done["status"] == "expired" and done["error"]["code"] == "deadline_exceeded"
    worker = service.start_worker()
    other = service.submit()
    assert service.finished(other)["status"] == "completed"
    wait_for(lambda: tasks_logged(worker), 20, "the worker says what it did")
    assert tasks_logged(worker) == [other], "never the expired one"


def test_stopping_the_service_loses_nothing(service):
    service.start_api()
    worker = service.start_worker("--step-delay-ms", "100", "--drain-timeout", "0", "--slots", "1")
    ids = [service.submit(single_body(steps=30)) for _ in range(3)]
    wait_for(lambda: service.task(ids[0])["status"] == "processing", 20, "the first task runs")
    assert worker.stop() == 0
    assert service.task(ids[0])["status"] == "queued", "released, not lost"
    assert service.api.stop() == 0
    service.redis.stop()

    service.redis.start()
    service.start_api()
    service.start_worker()
    for task_id in ids:
        assert service.finished(task_id)["status"] == "completed"


@pytest.mark.parametrize("flags, precision", [
    (("--weights", "fp16"), "fp16-weights"), (("--kv", "fp16"), "fp16-kv"), (("--weights", "fp16", "--kv", "fp16"), "fp16")])
def test_a_result_names_what_was_kept_in_half_precision(service, flags, precision):
    service.start_api()
    worker = service.start_worker(*flags)
    assert worker.log_lines(precision=precision), "the worker says so when its model is loaded"
    assert service.finished(service.submit())["data"]["provenance"]["precision"] == precision
