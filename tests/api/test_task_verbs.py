"""Cancelling, erasing and listing tasks, and what is said of one whose life is over."""
import calendar
import time
import urllib.parse
import uuid

import pytest

from kronosq import FULL, at_best, seconds_since, single_body, wait_for
from raw_http import Raw, assert_problem, head

UNKNOWN = "3f0c1a52-8a4e-4d6b-9c1e-7b2f5a90d1c4"


def cancel(service, task_id):
    return service.request("POST", f"/v1/tasks/{task_id}/cancel")


def running(service, **body):
    """A task that a slow worker has begun."""
    task_id = service.submit(single_body(**body))
    wait_for(lambda: service.task(task_id)["status"] == "processing", 20)
    return task_id


def submit_apart(service, count, **body):
    """Tasks of different milliseconds, the last one first: the order of a list."""
    ids = []
    for _ in range(count):
        ids.insert(0, service.submit(single_body(**body)))
        created = service.task(ids[0])["created_at"]
        wait_for(lambda: time.time() * 1000 // 1 > timestamp_ms(created), 20)
    return ids


def timestamp_ms(text):
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(text[20:23])


def list_of(service, query="", path="/v1/tasks"):
    reply = service.get(f"{path}?{query}")
    assert reply.status == 200, reply
    assert list(reply.json) == ["tasks", "next_cursor"] and reply.headers["cache-control"] == "no-store"
    return reply.json


def walk(service, query, path="/v1/tasks"):
    """All pages of a list; returns the ids of each."""
    pages, cursor = [], None
    while True:
        page = list_of(service, query + (f"&cursor={cursor}" if cursor else ""), path)
        pages.append([t["task_id"] for t in page["tasks"]])
        cursor = page["next_cursor"]
        if cursor is None:
            return pages
        assert len(pages) < 100, "the list does not end"


# ---- cancel ----

def test_a_waiting_task_is_cancelled_at_once_and_again_the_same(service):
    service.start_api()
    task_id = service.submit()
    reply = cancel(service, task_id)
    assert reply.status == 200 and reply.headers["cache-control"] == "no-store"
    document = reply.json
    assert document["status"] == "cancelled" and document["error"]["code"] == "cancelled_by_client"
    assert document["queue"] is None and document["finished_at"] and "cancel_requested" not in document
    assert cancel(service, task_id).json == document == service.task(task_id)
    assert assert_problem(service.get(f"/v1/tasks/{task_id}/result"), 409, "no_result")["task_status"] == "cancelled"


def test_a_running_task_is_cancelled_within_two_seconds(service):
    service.start_api()
    service.start_worker("--step-delay-ms", "300")

    def end_one():
        task_id = running(service, steps=20)
        started = time.time()
        document = cancel(service, task_id).json
        assert document["status"] == "processing" and document["cancel_requested"] is True
        document = cancel(service, task_id).json
        assert document["status"] == "cancelled" or document["cancel_requested"] is True
        document = service.get(f"/v1/tasks/{task_id}?wait=10").json
        assert document["status"] == "cancelled" and document["data"] is None
        assert "cancel_requested" not in document
        return seconds_since(document["finished_at"]) - started
    at_best(end_one, 2)


def test_a_task_that_has_ended_stays_as_it_is(shared_service):
    task_id = shared_service.submit()
    document = shared_service.finished(task_id)
    assert cancel(shared_service, task_id).json == document and document["status"] == "completed"


def test_cancelling_wakes_whoever_waits(service):
    service.start_api()
    with Raw(service.port) as raw:
        task_id = service.submit()
        raw.send(head("GET", f"/v1/tasks/{task_id}?wait=30"))
        cancel(service, task_id)
        reply = raw.reply()
        assert reply.json["status"] == "cancelled" and reply.seconds < 25


@pytest.mark.parametrize("name", ["x", UNKNOWN, "a" * 1000])
def test_what_is_not_there_cannot_be_changed(shared_service, name):
    for method, path in (("POST", f"/v1/tasks/{name}/cancel"), ("DELETE", f"/v1/tasks/{name}"), ("DELETE", f"/v1/dead-letters/{name}"),
                         ("POST", f"/v1/dead-letters/{name}/requeue")):
        assert_problem(shared_service.request(method, path), 404, "task_not_found")


def test_the_verbs_have_their_methods(shared_service):
    for method, path, allow in (("GET", f"/v1/tasks/{UNKNOWN}/cancel", "POST"), ("POST", f"/v1/tasks/{UNKNOWN}", "GET, HEAD, DELETE"),
                                ("DELETE", "/v1/tasks", "GET, HEAD"), ("GET", f"/v1/dead-letters/{UNKNOWN}", "DELETE")):
        reply = shared_service.request(method, path)
        assert_problem(reply, 405, "method_not_allowed")
        assert reply.headers["allow"] == allow


# ---- deadlines ----

def test_a_deadline_ends_a_task_that_waits_and_it_never_runs(service):
    service.start_api()
    worker = service.start_worker()
    service.finished(service.submit())
    assert service.request("POST", "/v1/queues/tiny/all/pause").status == 204
    task_id = service.submit(single_body(deadline_seconds=1))
    document = service.get(f"/v1/tasks/{task_id}?wait=20").json
    assert 0 <= seconds_since(document["finished_at"]) - seconds_since(document["deadline_at"]) < 2
    assert document["status"] == "expired" and document["error"]["code"] == "deadline_exceeded" and document["data"] is None
    assert document["attempt"] == 0 and document["started_at"] is None
    assert service.request("POST", "/v1/queues/tiny/all/resume").status == 204
    after = service.submit()
    assert service.finished(after)["status"] == "completed" and service.task(task_id) == document
    assert task_id not in [line["task_id"] for line in worker.log_lines(message="task finished")]


def test_a_deadline_ends_a_task_that_runs(service):
    service.start_api("--admission", "false")
    service.start_worker("--step-delay-ms", "200")
    task_id = running(service, steps=24, deadline_seconds=2)
    document = service.get(f"/v1/tasks/{task_id}?wait=20").json
    assert document["status"] == "expired" and document["error"]["code"] == "deadline_exceeded" and document["data"] is None
    assert 0 <= seconds_since(document["finished_at"]) - seconds_since(document["deadline_at"]) < 2 and document["attempt"] == 1
    assert assert_problem(service.get(f"/v1/tasks/{task_id}/result"), 409, "no_result")["task_status"] == "expired"


# ---- erase ----

def assert_erased(service, task_id):
    assert_problem(service.get(f"/v1/tasks/{task_id}"), 404, "task_not_found")
    assert_problem(service.request("DELETE", f"/v1/tasks/{task_id}"), 404, "task_not_found")
    left = [key for key in service.redis.keys() if task_id in key]
    assert left == []


def test_a_finished_task_is_erased_with_all_that_names_it(service):
    service.start_api()
    service.start_worker()
    body = single_body(overrides={"seed": 1})
    first = service.submit(body, Idempotency_Key="k1")
    service.finished(first)
    with Raw(service.port) as raw:  # the connection is still good after a reply without a body
        reply = raw.send(head("DELETE", f"/v1/tasks/{first}")).reply()
        assert reply.status == 204 and reply.body == b"" and "content-type" not in reply.headers and "content-length" not in reply.headers
        assert raw.send(head("GET", "/v1/healthz")).reply().status == 200
    assert_erased(service, first)
    assert first not in [t["task_id"] for t in list_of(service)["tasks"]]
    assert service.submit(body, Idempotency_Key="k1") != first, "the key is free"


def test_a_waiting_task_is_cancelled_and_erased(service):
    service.start_api()
    task_id = service.submit()
    assert service.request("DELETE", f"/v1/tasks/{task_id}").status == 204
    assert_erased(service, task_id)


def test_a_running_task_is_stopped_then_erased(service):
    service.start_api()
    service.start_worker("--step-delay-ms", "200")

    def erase_one():
        task_id = running(service, steps=20)
        reply = service.request("DELETE", f"/v1/tasks/{task_id}")
        assert reply.status == 204
        assert_erased(service, task_id)
        return reply.seconds
    at_best(erase_one, 3)
    assert service.finished(service.submit(single_body(steps=1)))["status"] == "completed", "the worker goes on"


def test_a_running_task_whose_worker_does_not_answer_is_a_conflict(service):
    service.start_api()
    worker = service.start_worker("--step-delay-ms", "300")
    task_id = running(service, steps=20)
    worker.kill()
    reply = service.request("DELETE", f"/v1/tasks/{task_id}")
    document = assert_problem(reply, 409, "not_finished")
    assert document["task_status"] == "processing" and document["task_id"] == task_id and int(reply.headers["retry-after"]) > 0


# ---- after its life ----

def test_a_task_whose_life_is_over_is_gone_for_a_day_and_then_unknown(service):
    service.start_api()
    service.start_worker()
    task_id = service.submit(single_body(result_ttl_seconds=60))
    done = service.finished(task_id)
    key = f"kq:{{tiny}}:task:{task_id}"
    assert 0 < service.redis.command("PTTL", key) <= 60_000
    service.redis.command("PEXPIRE", key, 1)  # the minute is over
    wait_for(lambda: service.redis.command("EXISTS", key) == 0, 20)
    for method, path in (("GET", ""), ("GET", "?wait=5"), ("GET", "/result"), ("POST", "/cancel")):
        document = assert_problem(service.request(method, f"/v1/tasks/{task_id}{path}"), 410, "result_expired")
        assert document["finished_at"] == done["finished_at"] and document["task_status"] == "completed" and document["task_id"] == task_id
    assert task_id not in [t["task_id"] for t in list_of(service)["tasks"]]
    service.redis.command("PEXPIRE", f"kq:{{tiny}}:gone:{task_id}", 1)
    wait_for(lambda: service.get(f"/v1/tasks/{task_id}").status == 404, 20)


@pytest.mark.skipif(not FULL, reason="a minute: scripts/test --full")
def test_a_result_lives_as_long_as_was_asked_for(service):
    service.start_api()
    service.start_worker()
    task_id = service.submit(single_body(result_ttl_seconds=60))
    done = service.finished(task_id)
    assert timestamp_ms(done["expires_at"]) - timestamp_ms(done["finished_at"]) == 60_000

    def is_gone():
        asked_ms = time.time() * 1000
        reply = service.get(f"/v1/tasks/{task_id}/result")
        assert reply.status == (200 if asked_ms < timestamp_ms(done["expires_at"]) - 500 else reply.status)
        return reply.status == 410
    wait_for(is_gone, 65)
    assert time.time() * 1000 >= timestamp_ms(done["expires_at"])
    kept_ms = service.redis.command("PTTL", f"kq:{{tiny}}:gone:{task_id}")
    assert 86_390_000 < kept_ms <= 86_400_000, "said for a day"


def test_what_is_left_of_a_task_can_be_erased_too(service):
    service.start_api()
    task_id = service.submit()
    cancel(service, task_id)
    service.redis.command("DEL", f"kq:{{tiny}}:task:{task_id}")
    assert service.get(f"/v1/tasks/{task_id}").status == 410
    assert service.request("DELETE", f"/v1/tasks/{task_id}").status == 204
    assert_erased(service, task_id)


def test_a_repeated_submit_whose_result_is_gone_says_so(service):
    service.start_api()
    body = single_body()
    task_id = service.submit(body, Idempotency_Key="k")
    cancel(service, task_id)
    service.redis.command("DEL", f"kq:{{tiny}}:task:{task_id}")
    reply = service.post("/v1/predict/single", body, headers={"Idempotency-Key": "k"})
    assert_problem(reply, 410, "result_expired")


# ---- lists ----

def test_pages_show_every_task_once_newest_first(service):
    service.start_api()
    ids = submit_apart(service, 7)
    pages = walk(service, "limit=2")
    assert [len(page) for page in pages[:3]] == [2, 2, 2] and sum(pages, []) == ids
    assert sum(walk(service, ""), []) == ids
    first = list_of(service, "limit=3")["tasks"][0]
    shown = service.task(ids[0])
    assert first == {**shown, "owner": "local"}


def test_a_cursor_stays_good_while_tasks_come_and_go(service):
    service.start_api()
    ids = submit_apart(service, 6)
    page = list_of(service, "limit=2")
    later = service.submit()
    service.request("DELETE", f"/v1/tasks/{ids[1]}")  # the one the cursor names
    service.request("DELETE", f"/v1/tasks/{ids[3]}")
    rest = list_of(service, f"limit=50&cursor={page['next_cursor']}")
    assert [t["task_id"] for t in rest["tasks"]] == [ids[2], ids[4], ids[5]]
    assert list_of(service, "limit=1")["tasks"][0]["task_id"] == later


def test_lists_of_several_models_are_one_list(service):
    service.start_api()
    service.redis.command("SADD", "kq:models", "other", "third")
    wait_for(lambda: service.post("/v1/predict/single", single_body(model="third")).status == 202, 20)
    ids = [service.submit(single_body(model=("tiny", "other", "third")[i % 3])) for i in range(11)]
    everything = sum(walk(service, "limit=200"), [])
    assert everything == sorted(everything, key=lambda i: (service.task(i)["created_at"], i), reverse=True) and set(ids) < set(everything)
    for limit in (1, 2, 3, 5):
        assert sum(walk(service, f"limit={limit}"), []) == everything, limit
    assert sum(walk(service, "limit=2&model=other"), []) == [i for i in everything if i in ids[1::3]]
    assert list_of(service, "model=nobody") == {"tasks": [], "next_cursor": None}


def test_filters_narrow_the_list(service):
    service.start_api()
    urgent, = submit_apart(service, 1, priority="urgent", series_id="A/B +&c")
    normal, = submit_apart(service, 1, series_id="ü")
    cancelled = service.submit(single_body(priority="low"))
    cancel(service, cancelled)
    for query, expected in [("status=queued", [normal, urgent]), ("status=cancelled", [cancelled]), ("status=completed", []),
                            ("priority=urgent", [urgent]), ("priority=low&status=queued", []), ("series_id=%c3%BC", [normal]),
                            ("series_id=" + urllib.parse.quote_plus("A/B +&c"), [urgent]), ("series_id=A", []),
                            ("model=tiny&status=", [cancelled, normal, urgent]), ("unknown=1", [cancelled, normal, urgent])]:
        assert sum(walk(service, query), []) == expected, query


def test_a_batch_is_one_entry_of_the_list_without_its_members(service):
    service.start_api()
    first, = submit_apart(service, 1)
    items = [{k: v for k, v in single_body(series_id=s).items()} for s in "AB"]
    reply = service.post("/v1/predict/batch", {"items": items})
    assert reply.status == 202, reply
    batch = reply.json["task_id"]
    assert walk(service, "limit=1") == [[batch], [first]]
    assert list_of(service)["tasks"][0] == {**service.task(batch), "data": None, "owner": "local"}
    assert walk(service, "status=queued") == [[batch, first]] and walk(service, "status=processing") == [[]]
    service.start_worker("--step-delay-ms", "300")
    wait_for(lambda: walk(service, "status=processing&limit=1") == [[batch]] or service.task(batch)["status"] == "completed", 20)
    assert service.finished(batch)["status"] == "completed" and batch in sum(walk(service, "status=completed"), [])


def test_a_series_is_found_among_many_whatever_the_limit(service):
    service.start_api()
    wanted = submit_apart(service, 1, series_id="rare")
    for _ in range(30):
        service.submit(single_body(series_id="common"))
    wanted.append(service.submit(single_body(series_id="rare")))
    assert walk(service, "series_id=rare&limit=1") == [[wanted[1]], [wanted[0]]]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=1", "status=done", "status=queued&status=queued", "priority=high",
                                   "model=a%20b", "cursor=x", "cursor=1-x", "cursor=-1", "series_id=%", "series_id=%zz", "series_id=%4",
                                   "series_id=" + "a" * 257, "cursor=" + "9" * 40 + "-" + UNKNOWN, "status=%71ueuedd"])
def test_a_malformed_filter_is_named(shared_service, query):
    document = assert_problem(shared_service.get(f"/v1/tasks?{query}"), 400, "bad_parameter")
    assert document["parameter"] == query.split("=")[0]


def test_a_broken_task_does_not_hide_the_others(service):
    service.start_api()
    ids = submit_apart(service, 4)[::-1]
    service.redis.command("HSET", f"kq:{{tiny}}:task:{ids[1]}", "about", b"\x93\x01")
    service.redis.command("HSET", f"kq:{{tiny}}:task:{ids[2]}", "created_ms", "yesterday")
    service.redis.command("ZADD", "kq:{tiny}:recent", 1, "no id at all")
    assert sum(walk(service, "limit=1"), [])[:2] == [ids[3], ids[0]]
    assert [t["task_id"] for t in list_of(service)["tasks"]] == [ids[3], ids[0]]
    assert service.api.log_lines(level="ERROR", logger="api.list")


def test_without_redis_every_verb_says_so(service):
    service.start_api()
    service.submit()
    service.redis.kill()
    task_id = str(uuid.uuid4())
    for method, path in (("POST", f"/v1/tasks/{task_id}/cancel"), ("DELETE", f"/v1/tasks/{task_id}"), ("GET", "/v1/tasks"), ("GET", "/v1/dead-letters"),
                         ("POST", f"/v1/dead-letters/{task_id}/requeue"), ("DELETE", f"/v1/dead-letters/{task_id}")):
        def ask():
            reply = service.request(method, path)
            assert_problem(reply, 503, "store_unavailable")
            return reply.seconds
        at_best(ask, 2.5)


# ---- dead letters ----

def dead_letter(service):
    """A task that failed because its input was damaged, and the input as it was."""
    service.redis.command("HSET", "kq:{tiny}:control", "paused", "1")
    task_id = service.submit(single_body(steps=3))
    key = f"kq:{{tiny}}:task:{task_id}"
    good = service.redis.command("HGET", key, "input")
    service.redis.command("HSET", key, "input", b"\xc1")
    service.redis.command("HDEL", "kq:{tiny}:control", "paused")
    document = service.finished(task_id)
    assert document["status"] == "failed" and document["error"]["code"] == "input_corrupt"
    refused = assert_problem(service.get(f"/v1/tasks/{task_id}/result"), 409, "no_result")
    assert refused["task_status"] == "failed" and refused["task_error"] == document["error"]
    return task_id, good


def test_a_failed_task_is_a_dead_letter_until_it_runs_again(service):
    service.start_api()
    service.start_worker()
    other = service.submit()
    service.finished(other)
    task_id, good = dead_letter(service)
    listed = list_of(service, path="/v1/dead-letters")
    assert [t["task_id"] for t in listed["tasks"]] == [task_id] and listed["next_cursor"] is None
    assert listed["tasks"][0] == {**service.task(task_id), "owner": "local"}
    assert_problem(service.request("POST", f"/v1/dead-letters/{other}/requeue"), 404, "task_not_found")
    service.redis.command("HSET", f"kq:{{tiny}}:task:{task_id}", "input", good)
    reply = service.request("POST", f"/v1/dead-letters/{task_id}/requeue")
    assert reply.status == 202 and reply.json["task_id"] == task_id and reply.json["status"] in ("queued", "processing", "completed")
    assert reply.json["attempt"] <= 1
    assert service.finished(task_id)["status"] == "completed"
    assert list_of(service, path="/v1/dead-letters")["tasks"] == []
    assert_problem(service.request("POST", f"/v1/dead-letters/{task_id}/requeue"), 404, "task_not_found")


def test_a_discarded_dead_letter_keeps_its_document_and_loses_its_input(service):
    service.start_api()
    service.start_worker()
    task_id, _ = dead_letter(service)
    second, _ = dead_letter(service)  # a later millisecond: a worker came between
    assert sum(walk(service, "limit=1", "/v1/dead-letters"), []) == [second, task_id]
    before = service.task(task_id)
    assert service.request("DELETE", f"/v1/dead-letters/{task_id}").status == 204
    assert service.task(task_id) == before
    assert service.redis.command("HEXISTS", f"kq:{{tiny}}:task:{task_id}", "input") == 0
    assert sum(walk(service, "", "/v1/dead-letters"), []) == [second]
    assert_problem(service.request("DELETE", f"/v1/dead-letters/{task_id}"), 404, "task_not_found")
    assert service.request("DELETE", f"/v1/tasks/{second}").status == 204
    assert walk(service, "", "/v1/dead-letters") == [[]]
