"""When will it be done? Estimates, Retry-After, and deadlines that cannot be met."""
import math

from kronosq import single_body, wait_for
from raw_http import assert_problem

SLOW = ("--step-delay-ms", "200", "--slots", "2")
RIPE = 40  # steps of a task that runs for the whole of a test


def submit(service, path="/v1/predict/single", body=None, **headers):
    return service.post(path, body or single_body(), headers={k.replace("_", "-"): v for k, v in headers.items()})


def batch_body(n, **members):
    return {"items": [dict(single_body(), series_id=f"S{i}") for i in range(n)], **members}


def pause(service, name="paused"):
    service.redis.command("HSET", "kq:{tiny}:control", name, "1")


def resume(service):
    service.redis.command("DEL", "kq:{tiny}:control")


def assert_retry_after(reply):
    """Retry-After says what the document says."""
    finish = reply.json["queue"]["estimated_finish_seconds"]
    assert int(reply.headers["retry-after"]) == (5 if finish is None else min(max(math.ceil(finish), 1), 60)), reply.headers


def speed(service):
    """Seconds of a prefill and of a step, as the workers have measured them; at least what SLOW makes of it."""
    prefill, step = (float(x) for x in service.redis.command("HMGET", "kq:{tiny}:speed", "prefill_seconds", "step_seconds"))
    assert prefill > 0 and step >= 0.2
    return prefill, step


def test_without_a_worker_nothing_is_estimated(service):
    service.start_api()
    for path, body in (("/v1/predict/single", single_body()), ("/v1/predict/batch", batch_body(2))):
        reply = submit(service, path, body)
        queue = reply.json["queue"]
        assert queue["estimated_start_seconds"] is None and queue["estimated_finish_seconds"] is None
        assert_retry_after(reply)
        assert_retry_after(service.get(f"/v1/tasks/{reply.json['task_id']}"))


def test_a_worker_that_has_done_nothing_yet_is_known_by_its_warm_up(service):
    service.start_api()
    service.start_worker(*SLOW)
    prefill, step = speed(service)
    reply = submit(service)
    queue = reply.json["queue"]
    assert reply.json["status"] == "queued" and queue["estimated_start_seconds"] == 0
    # the worker may be quicker than the reply: then its first step is no longer to be waited for
    assert 7 * step <= queue["estimated_finish_seconds"] <= prefill + 8 * step + 0.01
    assert_retry_after(reply)


def test_workers_keep_the_averages_up_to_date(service):
    service.start_api()
    service.start_worker("--slots", "2")
    service.redis.command("HSET", "kq:{tiny}:speed", "prefill_seconds", "5", "step_seconds", "50")
    for _ in range(3):
        assert submit(service, Prefer="wait=30").status == 200
    prefill, step = (float(x) for x in service.redis.command("HMGET", "kq:{tiny}:speed", "prefill_seconds", "step_seconds"))
    # each of the three takes a fifth of the way to what it measured, which is next to nothing
    assert 5 * 0.8**3 <= prefill < 5 * 0.8**3 + 0.5 and 50 * 0.8**3 <= step < 50 * 0.8**3 + 0.5


def test_a_history_as_long_as_the_context_teaches_only_the_prefill(service):
    """Every step computes a window anew then: none of them is the step the average is about."""
    service.start_api()
    service.start_worker()
    service.redis.command("HSET", "kq:{tiny}:speed", "prefill_seconds", "5", "step_seconds", "50")
    assert submit(service, body=single_body(history=48, steps=4), Prefer="wait=30").status == 200
    prefill, step = (float(x) for x in service.redis.command("HMGET", "kq:{tiny}:speed", "prefill_seconds", "step_seconds"))
    assert prefill < 4.5 and 40 <= step <= 50


def test_estimates_grow_with_the_position_and_shrink_with_the_work(service):
    service.start_api()
    service.start_worker(*SLOW, "--queues", "normal,low")
    running = [submit(service, body=single_body(steps=steps)).json["task_id"] for steps in (RIPE - 8, RIPE)]
    wait_for(lambda: service.redis.command("ZCARD", "kq:{tiny}:running") == 2, 20)
    ids = [submit(service).json["task_id"] for _ in range(5)]
    documents = [service.task(i) for i in ids]
    starts = [d["queue"]["estimated_start_seconds"] for d in documents]
    assert [d["queue"]["position"] for d in documents] == [1, 2, 3, 4, 5]
    assert starts == sorted(set(starts)) and starts[0] > 0, starts
    # each of them adds 8 steps, two at a time; nothing has ended yet, so the speed is still that of the warm-up
    prefill, step = speed(service)
    assert 0.5 < (starts[4] - starts[0]) / 4 / ((prefill + 8 * step) / 2) < 1.5
    for d in documents:
        run = d["queue"]["estimated_finish_seconds"] - d["queue"]["estimated_start_seconds"]
        assert 8 * step - 0.01 <= run <= prefill + 8 * step + 0.01
    assert_retry_after(service.get(f"/v1/tasks/{ids[4]}"))
    shown = service.task(running[0])
    assert shown["queue"]["position"] == 0 and shown["queue"]["estimated_start_seconds"] == 0
    first = shown["queue"]["estimated_finish_seconds"]
    wait_for(lambda: (service.task(running[0])["queue"] or {"estimated_finish_seconds": 0})["estimated_finish_seconds"] < first, 20)
    low = submit(service, body=single_body(priority="low")).json
    assert low["queue"]["position"] == 1 and low["queue"]["estimated_start_seconds"] > starts[4] - first
    refused = assert_problem(service.get(f"/v1/tasks/{ids[4]}/result"), 409, "not_finished")
    assert refused["task_status"] == "queued"


def test_a_paused_list_has_positions_and_no_estimates(service):
    service.start_api()
    service.start_worker(*SLOW)
    pause(service)
    ids = [submit(service).json["task_id"] for _ in range(3)]
    for k, task_id in enumerate(ids):
        reply = service.get(f"/v1/tasks/{task_id}")
        assert reply.json["queue"] == {"position": k + 1, "estimated_start_seconds": None, "estimated_finish_seconds": None}
        assert_retry_after(reply)
    batch = submit(service, "/v1/predict/batch", batch_body(2)).json
    assert batch["queue"] == {"position": 4, "estimated_start_seconds": None, "estimated_finish_seconds": None}
    resume(service)
    wait_for(lambda: (service.task(ids[2])["queue"] or {"estimated_finish_seconds": 1})["estimated_finish_seconds"] is not None, 20)


def test_a_batch_is_estimated_by_what_its_members_are_together(service):
    service.start_api()
    service.start_worker(*SLOW)
    reply = submit(service, "/v1/predict/batch", batch_body(6))
    queue = reply.json["queue"]
    assert queue["estimated_start_seconds"] == 0
    prefill, step = speed(service)
    assert 0.7 * 6 * 8 * step / 2 <= queue["estimated_finish_seconds"] < 1.5 * 6 * (prefill + 8 * step) / 2
    assert_retry_after(reply)
    member = service.task(reply.json["tasks"][5]["task_id"])
    assert member["queue"]["estimated_start_seconds"] > 0


def test_a_deadline_that_cannot_be_met_is_refused_and_nothing_is_stored(service):
    service.start_api()
    service.start_worker(*SLOW)
    for _ in range(30):
        submit(service)
    before = service.redis.command("ZCARD", "kq:{tiny}:queued:normal")
    for path, body in (("/v1/predict/single", single_body(deadline_seconds=1)), ("/v1/predict/batch", batch_body(3, deadline_seconds=1))):
        reply = submit(service, path, body)
        document = reply.json
        assert reply.status == 422 and document["code"] == "deadline_unmeetable", reply
        assert document["type"] == "urn:kronosq:error:deadline_unmeetable" and document["estimated_finish_seconds"] > 1
        assert document["errors"][0]["pointer"] == "#/deadline_seconds" and document["detail"][0]["loc"] == ["body", "deadline_seconds"]
    assert service.redis.command("ZCARD", "kq:{tiny}:queued:normal") <= before
    assert service.redis.command("ZCARD", "kq:{tiny}:recent") == 30
    assert submit(service, body=single_body(deadline_seconds=600)).status == 202
    assert submit(service, body=single_body(deadline_seconds=10, priority="urgent")).status == 202, "what waits behind it does not count"


def test_admission_can_be_turned_off(service):
    service.start_api(KRONOS_ADMISSION="false")
    service.start_worker(*SLOW)
    assert submit(service, body=single_body(deadline_seconds=1)).status == 202


def test_an_unknown_estimate_never_refuses(service):
    service.start_api()
    assert submit(service, body=single_body(deadline_seconds=0.1)).status == 202
    service.start_worker(*SLOW)
    pause(service)
    wait_for(lambda: submit(service, body=single_body(deadline_seconds=0.1)).status == 202, 20)


def test_a_repeated_request_is_answered_although_its_deadline_could_not_be_met_now(service):
    service.start_api()
    body = single_body(deadline_seconds=10)
    first = submit(service, body=body, Idempotency_Key="early")
    assert first.status == 202
    service.start_worker(*SLOW)
    for _ in range(40):
        submit(service)
    again = submit(service, body=body, Idempotency_Key="early")
    assert again.status == 202 and again.json["task_id"] == first.json["task_id"] and again.headers["idempotency-replayed"] == "true"
    other = submit(service, body=single_body(deadline_seconds=4), Idempotency_Key="early")
    assert other.status == 422 and other.json["code"] == "idempotency_mismatch"
    late = submit(service, body=body, Idempotency_Key="late")
    assert late.status == 422 and late.json["code"] == "deadline_unmeetable"
    assert submit(service, body=single_body(), Idempotency_Key="late").status == 202, "the refusal used up no key"


def test_a_full_queue_says_how_long_it_is(service):
    service.start_api("--queue-max-tasks", "6")
    service.start_worker(*SLOW)
    pause(service)
    for _ in range(6):
        assert submit(service).status == 202
    assert submit(service).headers["retry-after"] == "5", "nothing moves, so nobody knows"
    resume(service)
    pause(service, "paused:low")
    reply = submit(service)
    if reply.status == 503:  # until the worker has been told
        assert 1 <= int(reply.headers["retry-after"]) <= 30
    service.redis.command("HSET", "kq:{tiny}:speed", "step_seconds", "500")
    pause(service, "draining")
    assert submit(service).headers["retry-after"] == "300"


def test_damaged_averages_refuse_nothing(service):
    service.start_api()
    service.start_worker()
    for value in ("nan", "inf", "-1", "soon", ""):
        service.redis.command("HSET", "kq:{tiny}:speed", "prefill_seconds", value, "step_seconds", value)
        reply = submit(service, body=single_body(deadline_seconds=30), Prefer="wait=30")
        assert reply.status == 200, (value, reply)
