"""GET /metrics: every family is there and moves, whoever is asked; counters outlive processes."""
import re
import socket
import threading

import pytest
from api_keys import KeysFile, bearer
from event_stream import EventStream
from kronosq import ROOT, single_body, wait_for
from metrics import Scrape, scrape
from raw_http import Raw, post

FAMILIES = {
    "kronos_requests_total": "counter", "kronos_request_duration_seconds": "histogram",
    "kronos_security_events_total": "counter", "kronos_rate_limit_hits_total": "counter",
    "kronos_request_size_rejections_total": "counter", "kronos_model_inference_seconds": "histogram",
    "kronos_concurrent_requests": "gauge", "kronos_timeouts_total": "counter",
    "kronos_prediction_input_size": "histogram", "kronos_http_responses_total": "counter",
    "kronos_http_held_requests": "gauge", "kronos_http_streams": "gauge", "kronos_http_connections": "gauge",
    "kronos_http_framing_rejections_total": "counter", "kronos_queue_depth": "gauge",
    "kronos_queue_oldest_age_seconds": "gauge", "kronos_queue_backlog_seconds": "gauge",
    "kronos_queue_paused": "gauge", "kronos_tasks_total": "counter", "kronos_task_wait_seconds": "histogram",
    "kronos_task_run_seconds": "histogram", "kronos_decode_steps_total": "counter",
    "kronos_prefill_tokens_total": "counter", "kronos_batch_size": "histogram", "kronos_workers": "gauge",
    "kronos_slots": "gauge", "kronos_eta_error_ratio": "histogram", "kronos_recovered_total": "counter",
    "kronos_fenced_total": "counter", "kronos_dead_letters": "gauge", "kronos_webhook_attempts_total": "counter",
    "kronos_webhook_pending": "gauge", "kronos_webhook_delivery_seconds": "histogram", "kronos_redis_up": "gauge",
    "kronos_redis_errors_total": "counter", "kronos_redis_seconds": "histogram", "kronos_build_info": "gauge",
    "kronos_model_info": "gauge",
}
OLD_BUCKETS = {
    "kronos_request_duration_seconds": "0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 120 300 600 +Inf",
    "kronos_prediction_input_size": "50 100 200 400 800 1600 2048 +Inf",
    "kronos_batch_size": "1 2 4 8 16 32 64 +Inf",
    "kronos_eta_error_ratio": "0.25 0.5 0.8 1 1.25 2 4 +Inf",
}


def moves(service, name, by=1, seconds=20, **labels):
    """Wait until the sum of these samples is at least `by` in a scrape, and return it."""
    return wait_for(lambda: (lambda s: s if s.sum(name, **labels) >= by else None)(scrape(service)), seconds,
                    f"{name} {labels} reaches {by}")


def test_every_family_is_there_from_the_start(service):
    service.start_api()
    page = scrape(service)
    assert {name: family.type for name, family in page.families.items()} == FAMILIES
    assert scrape(service, "/v1/metrics").families.keys() == page.families.keys()
    for route in ("/v1/predict/single", "/v1/predict/batch"):
        for status in ("success", "error", "timeout"):
            assert page.get("kronos_requests_total", route=route, status=status) == 0
        assert page.get("kronos_request_duration_seconds_count", route=route) == 0
        assert page.get("kronos_timeouts_total", endpoint=route) == 0
    assert page.get("kronos_tasks_total", model="tiny", queue="low", status="expired") == 0
    assert page.get("kronos_queue_depth", model="tiny", queue="urgent") == 0
    assert page.get("kronos_task_run_seconds_count", model="tiny") == 0
    assert page.get("kronos_redis_up") == 1


def test_every_metric_of_the_operators_page_exists():
    page = (ROOT / "docs/operations.md").read_text()
    named = set(re.findall(r"\bkronos_\w+", page)) - {"kronos_small"}
    assert named and {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= FAMILIES.keys()


def test_buckets_are_those_of_the_contract(service):
    service.start_api()
    page = scrape(service)
    for name, bounds in OLD_BUCKETS.items():
        ends = [sample.labels["le"] for sample in page.families[name].samples if sample.name.endswith("_bucket")]
        assert " ".join(ends[:len(bounds.split())]) == bounds


def test_without_metrics_there_is_no_route(service):
    service.start_api(KRONOS_ENABLE_METRICS="false")
    for path in ("/metrics", "/v1/metrics"):
        reply = service.get(path)
        assert (reply.status, reply.json["code"]) == (404, "route_not_found")
    assert service.request("HEAD", "/v1/healthz").status == 200


def test_a_completed_task_moves_everything_it_went_through(service):
    service.start_api()
    service.start_worker("--slots", "4")
    moves(service, "kronos_slots", by=4, state="idle")
    service.finished(service.submit(single_body(overrides={"sample_count": 3}, priority="urgent")))
    batch = {"items": [dict(single_body(history=30), series_id=name) for name in "AB"]}
    assert service.post("/v1/predict/batch", batch, headers={"Prefer": "wait=30"}).status == 200
    page = moves(service, "kronos_task_run_seconds_count", by=3, model="tiny")
    assert page.get("kronos_requests_total", route="/v1/predict/single", status="success") == 1
    assert page.get("kronos_requests_total", route="/v1/predict/batch", status="success") == 1
    assert page.get("kronos_request_duration_seconds_count", route="/v1/predict/batch") == 1
    assert page.get("kronos_request_duration_seconds_count", route="/v1/tasks/{id}") >= 1
    assert page.get("kronos_model_inference_seconds_count", endpoint="/v1/predict/single") == 1
    assert page.get("kronos_model_inference_seconds_count", endpoint="/v1/predict/batch") == 2
    assert page.get("kronos_prediction_input_size_bucket", endpoint="/v1/predict/batch", le="50") == 2
    assert page.get("kronos_prediction_input_size_sum", endpoint="/v1/predict/batch") == 60
    assert page.get("kronos_tasks_total", model="tiny", queue="urgent", status="completed") == 1
    assert page.get("kronos_tasks_total", model="tiny", queue="normal", status="completed") == 2
    assert page.get("kronos_task_wait_seconds_count", queue="urgent") == 1
    assert page.get("kronos_task_wait_seconds_count", queue="normal") == 2
    assert page.get("kronos_decode_steps_total", model="tiny") == 8 * 3 + 8 * 2
    assert page.get("kronos_prefill_tokens_total", model="tiny") == 24 + 30 * 2
    assert page.get("kronos_batch_size_count", model="tiny") >= 16
    assert page.get("kronos_batch_size_bucket", model="tiny", le="2") < page.get("kronos_batch_size_count", model="tiny")
    assert page.get("kronos_http_responses_total", route="/v1/predict/single", code="202") == 1
    assert page.get("kronos_workers", model="tiny", state="idle") == 1
    assert page.sum("kronos_model_info", model="tiny") == 1
    assert page.sum("kronos_build_info") == 1
    assert page.get("kronos_redis_seconds_count") > 10
    weights = [dict(labels)["weights_sha256"] for name, labels in page.samples if name == "kronos_model_info"]
    assert [len(sha) for sha in weights] == [64]


def test_estimates_are_compared_with_what_came_true(service):
    service.start_api()
    service.start_worker("--step-delay-ms", "30")

    def another():
        service.finished(service.submit())
        return scrape(service).sum("kronos_eta_error_ratio_count", model="tiny")

    wait_for(another, 20, "a task whose end was estimated")  # the first ones may come before the API knows the worker
    moves(service, "kronos_eta_error_ratio_sum", by=0.25)


def test_what_waits_and_what_is_held_is_seen(service):
    service.start_api()
    assert service.post("/v1/queues/tiny/low/pause", b"").status == 204
    held = Raw(service.port).send(post("/v1/predict/single", single_body(priority="low"), "Prefer: wait=30"))
    page = moves(service, "kronos_http_held_requests")
    assert page.get("kronos_concurrent_requests") >= 2
    assert page.get("kronos_http_connections") >= 2
    assert page.get("kronos_queue_depth", model="tiny", queue="low") == 1
    assert page.get("kronos_queue_paused", model="tiny", queue="low") == 1
    assert page.get("kronos_queue_paused", model="tiny", queue="urgent") == 0
    backlog = page.get("kronos_queue_backlog_seconds", model="tiny", queue="low")
    assert backlog != backlog  # NaN: nobody can tell
    moves(service, "kronos_queue_oldest_age_seconds", by=0.05, queue="low")
    held.close()
    wait_for(lambda: scrape(service).get("kronos_http_held_requests") == 0, 20)


def test_streams_are_counted_while_they_are_open_and_answered_when_they_end(service):
    service.start_api()
    task = service.submit()
    stream = EventStream(service.port, task)
    moves(service, "kronos_http_streams")
    assert service.post(f"/v1/tasks/{task}/cancel", b"").status == 200
    wait_for(lambda: scrape(service).get("kronos_http_streams") == 0, 20)
    moves(service, "kronos_http_responses_total", route="/v1/tasks/{id}/events", code="200")
    stream.close()


def test_other_ends_are_counted_by_what_they_were(service):
    service.start_api()
    service.start_worker()
    assert service.post("/v1/queues/tiny/all/pause", b"").status == 204
    cancelled, damaged = service.submit(single_body(priority="low")), service.submit()
    service.submit(single_body(priority="urgent", deadline_seconds=0.3))
    assert service.post(f"/v1/tasks/{cancelled}/cancel", b"").json["status"] == "cancelled"
    service.redis.command("HSET", "kq:{tiny}:task:" + damaged, "input", "nonsense")
    moves(service, "kronos_tasks_total", queue="urgent", status="expired")
    assert service.post("/v1/queues/tiny/all/resume", b"").status == 204
    page = moves(service, "kronos_tasks_total", queue="normal", status="failed")
    assert page.get("kronos_tasks_total", model="tiny", queue="low", status="cancelled") == 1
    assert page.get("kronos_dead_letters", model="tiny") == 1


def test_refusals_are_counted_by_their_code(service):
    service.start_api("--queue-max-tasks", "1")
    assert service.post("/v1/queues/tiny/all/pause", b"").status == 204
    service.submit()
    assert service.post("/v1/predict/single", single_body()).status == 503
    assert service.get("/nowhere").status == 404
    for head in (b"POST /v1/predict/single HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as s:
            s.sendall(head)
            assert s.recv(100).startswith(b"HTTP/1.1 4")
    page = scrape(service)
    assert page.get("kronos_requests_total", route="/v1/predict/single", status="error") == 1
    assert page.get("kronos_http_responses_total", route="other", code="404") == 1
    assert page.sum("kronos_request_size_rejections_total") == 1
    assert page.get("kronos_http_framing_rejections_total", code="body_too_large") == 1
    assert page.get("kronos_http_framing_rejections_total", code="malformed_request") == 1


def test_who_was_let_in_or_not_is_counted_by_key(service, tmp_path):
    keys = KeysFile(tmp_path)
    quick, reader = bearer(keys.add("quick", "submit,read", "normal", "1")), bearer(keys.add("reader", "read", "normal", "0"))
    service.start_api("--keys-file", keys.path, KRONOS_METRICS_AUTH=1)
    assert service.get("/metrics").status == 401
    assert service.get("/v1/models", headers=reader).status == 200
    assert service.post("/v1/predict/single", single_body(), headers=reader).status == 403
    assert [service.post("/v1/predict/single", single_body(), headers=quick).status for _ in range(2)] == [202, 429]
    reply = service.get("/metrics", headers=reader)
    assert reply.status == 200
    page = Scrape(reply.body.decode())
    for key, event, count in (("unknown", "unauthorized", 1), ("reader", "unauthorized", 1), ("reader", "authorized", 1), ("quick", "authorized", 2)):
        assert page.get("kronos_security_events_total", event=event, container=key) == count, (key, event)
    assert page.get("kronos_rate_limit_hits_total", container="quick") == 1


def test_a_sync_request_that_takes_too_long_is_a_timeout(service):
    service.start_api(KRONOS_SYNC_DEFAULT=1, KRONOS_REQUEST_TIMEOUT=1)
    service.start_worker("--step-delay-ms", "300")
    wait_for(lambda: service.get("/v1/readyz").status == 200, 20)
    assert service.post("/v1/predict/single", single_body()).status == 504
    page = scrape(service)
    assert page.get("kronos_timeouts_total", endpoint="/v1/predict/single") == 1
    assert page.get("kronos_requests_total", route="/v1/predict/single", status="timeout") == 1
    assert page.get("kronos_request_duration_seconds_bucket", route="/v1/predict/single", le="0.5") == 0


def test_what_was_lost_and_found_again_is_counted(service):
    service.start_api()
    service.submit()
    assert service.redis.command("LPOP", "kq:{tiny}:list:normal")
    moves(service, "kronos_recovered_total", kind="lost_pop")
    worker = service.start_worker("--step-delay-ms", "200")
    wait_for(lambda: service.redis.command("ZCARD", "kq:{tiny}:running"), 20)
    worker.kill()
    task = service.redis.command("ZRANGE", "kq:{tiny}:running", 0, 0)[0]
    service.redis.command("HSET", "kq:{tiny}:boot", "hold_until_ms", 0)  # as if Redis had run for long
    service.redis.command("ZADD", "kq:{tiny}:running", "XX", 1, task)
    moves(service, "kronos_recovered_total", kind="lease")
    wid = service.redis.command("ZRANGE", "kq:{tiny}:workers", 0, 0)[0]
    beat = service.redis.command("ZSCORE", "kq:{tiny}:workers", wid)
    service.redis.command("ZADD", "kq:{tiny}:workers", int(float(beat)) - 20000, wid)
    moves(service, "kronos_workers", state="lost")


def test_a_worker_that_lost_its_lease_is_counted_as_fenced(service):
    service.start_api()
    service.start_worker("--step-delay-ms", "200")
    task = service.submit()
    wait_for(lambda: service.task(task)["status"] == "processing", 20)
    service.redis.command("HINCRBY", "kq:{tiny}:task:" + task, "fence", 1)
    moves(service, "kronos_fenced_total")


def test_workers_are_counted_by_their_state(service):
    service.start_api()
    service.start_worker("--step-delay-ms", "800")
    service.submit()
    moves(service, "kronos_workers", state="busy")  # it tells of itself every 5 s
    assert scrape(service).sum("kronos_slots", state="busy") == 1
    wid = service.get("/v1/workers").json["workers"][0]["worker_id"]
    assert service.post(f"/v1/workers/{wid}/quiet", b"").status == 204
    moves(service, "kronos_workers", state="quiet")
    assert scrape(service).sum("kronos_slots") == 0


def test_all_processes_answer_for_all_and_gauges_are_of_the_living(service):
    first = service.start_api()
    first_port = service.port
    service.start_api()
    second_port = service.port
    for port, count in ((first_port, 3), (second_port, 2)):
        service.port = port
        for _ in range(count):
            assert service.get("/v1/models").status == 200
    waiting = socket.create_connection(("127.0.0.1", first_port))
    moves(service, "kronos_http_responses_total", by=5, route="/v1/models", code="200")
    moves(service, "kronos_http_connections", by=2)  # one at each, the scrape's included
    assert scrape(service, port=first_port).sum("kronos_http_responses_total", route="/v1/models") == 5
    assert first.stop() == 0
    waiting.close()
    assert scrape(service).sum("kronos_http_responses_total", route="/v1/models") == 5
    wait_for(lambda: scrape(service).get("kronos_http_connections") == 1, 20)  # the last scrape's may still be closing


def test_counters_survive_a_restart_and_a_kill_costs_at_most_what_was_not_flushed(service):
    service.start_api()
    for _ in range(4):
        service.get("/v1/models")
    service.api.stop()
    victim = service.start_api()
    victim_port = service.port
    assert scrape(service).sum("kronos_http_responses_total", route="/v1/models") == 4
    for _ in range(3):
        service.get("/v1/models")
    service.start_api()
    moves(service, "kronos_http_responses_total", by=7, route="/v1/models")  # not scraped at the victim
    assert victim_port != service.port
    victim.kill()
    assert scrape(service).sum("kronos_http_responses_total", route="/v1/models") == 7


def test_without_redis_a_scrape_is_answered_and_no_counter_falls(service):
    service.start_api()
    for _ in range(5):
        service.get("/v1/models")
    before = scrape(service)
    assert before.get("kronos_redis_up") == 1
    service.redis.kill()
    wait_for(lambda: scrape(service).get("kronos_redis_up") == 0, 20)
    for _ in range(2):
        service.get("/v1/healthz")
    away = scrape(service)
    assert away.families.keys() == before.families.keys()
    for (name, labels), value in before.samples.items():
        kind = away.families.get(name)
        if kind is not None and kind.type == "counter":
            assert away.samples[(name, labels)] >= value, (name, labels)
    assert away.sum("kronos_http_responses_total", route="/v1/healthz") == 2
    assert away.get("kronos_queue_depth", model="tiny", queue="normal") is None
    service.redis.start()
    back = wait_for(lambda: (lambda s: s if s.get("kronos_redis_up") == 1 else None)(scrape(service)), 20)
    assert back.sum("kronos_http_responses_total", route="/v1/healthz") == 2
    assert back.sum("kronos_http_responses_total", route="/v1/models") == 5
    assert back.sum("kronos_redis_errors_total") > 0


def test_many_scrapes_at_once_cost_redis_little(service):
    service.start_api()
    scrape(service)
    pages = []

    def ask():
        pages.append(scrape(service).get("kronos_redis_up"))

    def reads():
        info = service.redis.command("INFO", "commandstats")
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in info.splitlines() if line.startswith("cmdstat_evalsha:"))

    before = reads()
    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert pages == [1] * 40
    assert reads() - before < 40 * 4  # each alone: a flush, sums, load and workers


@pytest.mark.parametrize("field,value", [
    ("http_responses_total|/v1/models|200", "-5"), ("http_responses_total|/v1/models|200", "nan"),
    ("http_responses_total|/v1/models|200", "zebra"), ("http_responses_total|x", "3"), ("no_such_family|x", "3"),
    ("task_run_seconds|tiny|le", "3"), ("http_responses_total|a\"b\n|200", "3"), ("", ""), ("|" * 300, "1"),
])
def test_what_somebody_else_wrote_into_the_sums_does_no_harm(service, field, value):
    service.start_api()
    service.redis.command("HSET", "kq:{@metrics}:sum", field, value)
    service.get("/v1/models")
    page = scrape(service)
    assert page.sum("kronos_http_responses_total", route="/v1/models") == 1
    service.redis.command("DEL", "kq:{@metrics}:sum")
    service.redis.command("SET", "kq:{@metrics}:sum", "a string")
    wait_for(lambda: scrape(service).get("kronos_redis_up") == 0, 20)  # it cannot tell
    service.redis.command("DEL", "kq:{@metrics}:sum")
    wait_for(lambda: scrape(service).get("kronos_redis_up") == 1, 20)
