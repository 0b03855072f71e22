"""Events reach their receivers: signed, once or again, and never where they must not go."""
import json
import signal
import subprocess

import pytest

from kronosq import BUILD, environment, seconds_since, single_body, wait_for
from metrics import scrape
from receiver import Receiver, secret_of, verify

SCALE = "0.004"  # 5 s become 20 ms, 30 s 120 ms


class Hooks:
    """A service with a receiver, and the daemons that know of it."""

    def __init__(self, service):
        self.service = service
        self.receiver = Receiver()
        service.write_masters()
        self.settings = service.webhook_settings(self.receiver.port)
        service.start_api(**self.settings)
        self.daemon = None

    def start(self, *flags, **settings):
        self.daemon = self.service.start_webhook("--retry-scale", SCALE, *flags, **{**self.settings, **settings})
        return self.daemon

    @property
    def secret(self):
        return secret_of(self.service.masters[0], "local")

    def submit(self, path="/hook", **members):
        webhook = {"url": self.receiver.url(path), **members.pop("webhook", {})}
        return self.service.submit(single_body(webhook=webhook, **members))

    def cancelled(self, path="/hook", **members):
        """A task that has ended without a worker."""
        task_id = self.submit(path, **members)
        assert self.service.post(f"/v1/tasks/{task_id}/cancel", b"").json["status"] == "cancelled"
        return task_id

    def arrived(self, path="/hook", n=1, seconds=20):
        return wait_for(lambda: len(found := self.receiver.at(path)) >= n and found, seconds, f"{n} deliveries at {path}")

    def state(self, task_id):
        return self.service.task(task_id)["webhook"]

    def settled(self, task_id, state, seconds=20):
        return wait_for(lambda: (hook := self.state(task_id))["state"] == state and hook, seconds, f"{task_id} is {state}")


@pytest.fixture
def hooks(service):
    made = Hooks(service)
    yield made
    made.receiver.close()


def test_a_completion_is_posted_once_and_signed(hooks):
    hooks.start()
    hooks.service.start_worker()
    task_id = hooks.submit(metadata={"strategy": "a1"})
    document = hooks.service.finished(task_id)
    delivery, = hooks.arrived()
    event = verify(delivery, hooks.secret)
    assert delivery.headers["webhook-id"] == f"evt_{task_id}_completed"
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.headers["user-agent"].startswith("kronosq/")
    assert "traceparent" not in delivery.headers
    assert list(event) == ["type", "timestamp", "data"] and event["type"] == "task.completed"
    assert event["timestamp"] == document["finished_at"]
    assert event["data"] == {
        "task_id": task_id, "status": "completed", "model": "kronos-small", "series_ids": ["TEST"],
        "result_url": f"/v1/tasks/{task_id}/result",
        "forecast_sha256": document["data"]["provenance"]["forecast_sha256"], "expires_at": document["expires_at"],
        "metadata": {"strategy": "a1"}, "error": None}
    assert len(delivery.body) < 20_000
    assert hooks.settled(task_id, "delivered") == {"state": "delivered", "attempts": 1, "last_status": 200, "last_error": None, "next_at": None}
    assert len(hooks.receiver.deliveries) == 1
    page = wait_for(lambda: (lambda p: p if p.get("kronos_webhook_delivery_seconds_count") == 1 else None)(scrape(hooks.service)), 20)
    assert page.get("kronos_webhook_attempts_total", outcome="delivered") == 1
    assert page.get("kronos_webhook_pending") == 0


def test_a_document_says_that_nothing_was_told_yet(hooks):
    task_id = hooks.submit()
    assert hooks.state(task_id) == {"state": "pending", "attempts": 0, "last_status": None, "last_error": None, "next_at": None}
    assert "webhook" not in hooks.service.task(hooks.service.submit())


def test_only_the_events_that_were_asked_for_are_sent(hooks):
    hooks.start()
    hooks.service.start_worker()
    started = hooks.submit("/both", webhook={"events": ["task.processing", "task.completed"]})
    silent = hooks.submit("/silent", webhook={"events": ["task.failed"]})
    hooks.service.finished(started), hooks.service.finished(silent)
    found = {verify(d, hooks.secret)["type"]: d for d in hooks.arrived("/both", 2)}
    assert set(found) == {"task.processing", "task.completed"}
    data = json.loads(found["task.processing"].body)["data"]
    assert (data["status"], data["expires_at"], data["error"], data["forecast_sha256"]) == ("processing", None, None, None)
    assert found["task.processing"].headers["webhook-id"] == f"evt_{started}_processing"
    hooks.settled(started, "delivered")
    assert hooks.receiver.at("/silent") == [] and "webhook" not in hooks.service.task(silent)
    assert hooks.service.post(f"/v1/tasks/{silent}/webhook/replay", b"").json["code"] == "no_webhook"


def test_what_ended_badly_says_why(hooks):
    hooks.start()
    hooks.cancelled()
    event = verify(hooks.arrived()[0], hooks.secret)
    assert event["type"] == "task.cancelled" and event["data"]["forecast_sha256"] is None
    assert event["data"]["error"] == {"code": "cancelled_by_client", "detail": "cancelled by the client", "retryable": False}


def test_a_batch_sends_one_event(hooks):
    hooks.start(KRONOS_PUBLIC_URL="https://api.example/base/")
    hooks.service.start_worker()
    items = [{key: single_body()[key] for key in ("candles", "timestamps", "prediction_timestamps")} | {"series_id": name} for name in "AB"]
    reply = hooks.service.post("/v1/predict/batch", {"items": items, "metadata": {"k": "v"}, "webhook": {
        "url": hooks.receiver.url(), "include_result": True}})
    batch = reply.json["task_id"]
    assert hooks.service.finished(batch)["status"] == "completed"
    event = verify(hooks.arrived()[0], hooks.secret)
    data = event["data"]
    assert (data["task_id"], data["series_ids"], data["forecast_sha256"]) == (batch, ["A", "B"], None)
    assert data["result_url"] == f"https://api.example/base/v1/tasks/{batch}/result"
    assert data["metadata"] == {"k": "v"}
    assert data["result"] == hooks.service.get(f"/v1/tasks/{batch}/result").json
    hooks.settled(batch, "delivered")
    assert len(hooks.receiver.deliveries) == 1


def test_the_result_comes_along_when_asked_for_unless_it_is_large(hooks):
    hooks.start()
    hooks.service.start_worker(model="tiny-seed7")  # 256 paths of 24 steps: what is asked for is size
    small = hooks.submit("/small", webhook={"include_result": True})
    large = hooks.submit("/large", webhook={"include_result": True}, overrides={"sample_count": 256}, output={"paths": True}, steps=24)
    assert verify(hooks.arrived("/small")[0], hooks.secret)["data"]["result"] == hooks.service.finished(small)["data"]
    data = verify(hooks.arrived("/large")[0], hooks.secret)["data"]
    assert data["result_omitted"] is True and "result" not in data
    assert data["forecast_sha256"] == hooks.service.finished(large)["data"]["provenance"]["forecast_sha256"]


def test_a_failure_is_tried_again_under_the_same_id(hooks):
    hooks.receiver.answers("/hook", 500, 500, 200)
    hooks.start()
    task_id = hooks.cancelled()
    found = hooks.arrived(n=3)
    assert {d.headers["webhook-id"] for d in found} == {f"evt_{task_id}_cancelled"}
    for delivery in found:
        verify(delivery, hooks.secret)
    assert hooks.settled(task_id, "delivered")["attempts"] == 3
    assert len(hooks.receiver.deliveries) == 3


def test_a_later_attempt_is_signed_for_its_own_time(hooks):
    hooks.receiver.answers("/hook", (503, {"Retry-After": "1"}), 200)
    hooks.start()
    hooks.cancelled()
    first, second = hooks.arrived(n=2)
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_retry_after_is_kept(hooks):
    hooks.receiver.answers("/hook", (429, {"Retry-After": "7"}), 200)
    hooks.start()
    task_id = hooks.cancelled()
    first = hooks.arrived()[0].at
    hook = wait_for(lambda: (h := hooks.state(task_id))["last_status"] == 429 and h, 20)
    assert (hook["state"], hook["attempts"]) == ("pending", 1)
    assert -0.1 < seconds_since(hook["next_at"]) - first - 7 < 5
    assert 6.9 < hooks.arrived(n=2, seconds=40)[1].at - first < 20, "not the 20 ms it would wait by itself, nor much more than 7 s"


def test_410_ends_it_for_good(hooks):
    hooks.receiver.answers("/hook", 410)
    hooks.start()
    task_id = hooks.cancelled()
    assert hooks.settled(task_id, "disabled") == {"state": "disabled", "attempts": 1, "last_status": 410, "last_error": "refused", "next_at": None}
    assert len(hooks.receiver.deliveries) == 1


def test_no_redirect_is_followed(hooks):
    target = Receiver()
    hooks.receiver.answers("/hook", (302, {"Location": target.url("/elsewhere")}), 200)
    hooks.start()
    task_id = hooks.cancelled()
    assert len(hooks.arrived(n=2)) == 2 and hooks.settled(task_id, "delivered")
    assert target.deliveries == []
    target.close()


def test_the_eighth_failure_is_the_last_and_a_replay_begins_anew(hooks):
    hooks.receiver.answers("/hook", 404)
    hooks.start("--retry-scale", "0")
    task_id = hooks.cancelled()
    assert hooks.settled(task_id, "failed") == {"state": "failed", "attempts": 8, "last_status": 404, "last_error": "refused", "next_at": None}
    assert len(hooks.receiver.deliveries) == 8
    hooks.receiver.answers("/hook", 200)
    reply = hooks.service.post(f"/v1/tasks/{task_id}/webhook/replay", b"")
    assert reply.status == 202 and reply.json["webhook"]["state"] == "pending" and reply.json["task_id"] == task_id
    assert hooks.settled(task_id, "delivered")["attempts"] == 1
    assert len({d.headers["webhook-id"] for d in hooks.arrived(n=9)}) == 1
    assert hooks.service.post(f"/v1/tasks/{task_id}/webhook/replay", b"").status == 202, "what was delivered, too"
    hooks.arrived(n=10)


def test_an_unknown_task_has_nothing_to_replay(hooks):
    assert hooks.service.post("/v1/tasks/3f0c1a52-8a4e-4d6b-9c1e-7b2f5a90d1c4/webhook/replay", b"").status == 404
    assert hooks.service.post(f"/v1/tasks/{hooks.service.submit()}/webhook/replay", b"").json["code"] == "no_webhook"


def test_a_ping_is_sent_once_whatever_becomes_of_it(hooks):
    hooks.receiver.answers("/bad", 500)
    hooks.start()
    for path in ("/hook", "/bad"):
        reply = hooks.service.post("/v1/webhooks/ping", {"url": hooks.receiver.url(path)})
        assert reply.status == 202 and list(reply.json) == ["event_id"]
        delivery = hooks.arrived(path)[0]
        event = verify(delivery, hooks.secret)
        assert delivery.headers["webhook-id"] == reply.json["event_id"]
        assert (event["type"], event["data"]) == ("test.ping", {})
    wait_for(lambda: hooks.service.redis.command("KEYS", "kq:*:delivery:*") == [], 20, "pings are forgotten")
    assert len(hooks.receiver.at("/bad")) == 1


def test_a_ping_that_cannot_be_is_refused(hooks):
    ask = lambda body: hooks.service.post("/v1/webhooks/ping", body)
    assert ask({"url": "https://10.0.0.1/"}).json["code"] == "webhook_url_blocked"
    for body in ({}, {"url": 1}, {"url": hooks.receiver.url(), "x": 1}, [], {"url": "https://a.example/" + "a" * 2048}):
        reply = ask(body)
        assert (reply.status, reply.json["code"]) == (422, "validation_failed"), body
    assert ask("{").json["code"] == "malformed_json"
    assert isinstance(ask({}).json["detail"], str)


def test_without_master_secrets_there_are_no_webhooks(service):
    service.start_api()
    reply = service.post("/v1/predict/single", single_body(webhook={"url": "https://a.example/"}))
    assert reply.status == 422 and reply.json["errors"][0]["code"] == "webhook_disabled"
    reply = service.post("/v1/webhooks/ping", {"url": "https://a.example/"})
    assert (reply.status, reply.json["code"]) == (422, "webhook_disabled")


def test_a_trace_goes_along_to_the_receiver_and_the_log(hooks):
    daemon = hooks.start()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for path, given in (("/traced", f"00-{trace}-00f067aa0ba902b7-01"), ("/zeros", f"00-{'0' * 32}-00f067aa0ba902b7-01")):
        reply = hooks.service.post("/v1/predict/single", single_body(webhook={"url": hooks.receiver.url(path)}), headers={"traceparent": given})
        hooks.service.post(f"/v1/tasks/{reply.json['task_id']}/cancel", b"")
    assert hooks.arrived("/traced")[0].headers["traceparent"] == f"00-{trace}-00f067aa0ba902b7-01"
    assert "traceparent" not in hooks.arrived("/zeros")[0].headers
    wait_for(lambda: daemon.log_lines(message="delivery attempted", trace_id=trace), 20)


def test_two_masters_sign_twice_and_hup_reads_them(hooks):
    old = hooks.service.masters[0]
    daemon = hooks.start()
    new = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    hooks.service.write_masters(new, old)
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.log_lines(message="HUP: master secrets and log level read again", masters=2), 20)
    hooks.cancelled()
    delivery = hooks.arrived()[0]
    assert len(delivery.headers["webhook-signature"].split(" ")) == 2
    for master in (old, new):
        verify(delivery, secret_of(master, "local"))
    hooks.service.write_masters("short")
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.log_lines(message="HUP: the old master secrets stay"), 20)
    hooks.cancelled("/again")
    verify(hooks.arrived("/again")[0], secret_of(new, "local"))
    assert "short" not in daemon.log() and new not in daemon.log()


def test_masters_change_with_a_restart_and_no_event_is_lost(hooks):
    """What systemctl restart does; whoever hears of an event while both masters hold can verify it with either."""
    old, new = hooks.service.masters[0], "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    daemon = hooks.start("--webhook-per-host", "1")
    tasks = [hooks.cancelled(f"/{n}") for n in range(20)]
    wait_for(lambda: len(hooks.receiver.deliveries) >= 3, 20, "it is at work")
    hooks.service.write_masters(new, old)
    assert daemon.stop() == 0
    before = len(hooks.receiver.deliveries)
    tasks += [hooks.cancelled(f"/{n}") for n in range(20, 25)]
    hooks.start()
    for task_id in tasks:
        assert hooks.settled(task_id, "delivered")["attempts"] == 1
    assert {d.path for d in hooks.receiver.deliveries} == {f"/{n}" for n in range(25)} and len(hooks.receiver.deliveries) == 25
    for delivery in hooks.receiver.deliveries:
        verify(delivery, secret_of(old, "local"))
    for delivery in hooks.receiver.deliveries[before:]:
        verify(delivery, secret_of(new, "local"))


def test_delete_erases_what_is_pending(hooks):
    task_id = hooks.cancelled()
    assert hooks.service.request("DELETE", f"/v1/tasks/{task_id}").status == 204
    assert not [key for key in hooks.service.redis.keys() if "delivery" in key or "webhook" in key]
    hooks.start()
    marker = hooks.cancelled("/marker")
    hooks.settled(marker, "delivered")
    assert hooks.receiver.at("/hook") == []


def test_term_lets_an_attempt_end_and_tells_of_it(hooks):
    """The receiver answers only when the daemon was told to stop."""
    import threading
    may_answer = threading.Event()
    note = hooks.receiver._note
    hooks.receiver._note = lambda *a: (may_answer.wait(20), note(*a))[1]
    daemon = hooks.start()
    task_id = hooks.cancelled()
    wait_for(lambda: hooks.state(task_id)["attempts"] == 1, 20)
    daemon.signal(signal.SIGTERM)
    wait_for(lambda: daemon.log_lines(message="stopping"), 20)
    may_answer.set()
    assert daemon.popen.wait(20) == 0
    assert hooks.state(task_id)["state"] == "delivered"


def test_what_waits_for_its_host_is_given_back_at_term(hooks):
    import threading
    may_answer = threading.Event()
    note = hooks.receiver._note
    hooks.receiver._note = lambda *a: (may_answer.wait(20), note(*a))[1]
    daemon = hooks.start("--webhook-per-host", "1")
    tasks = [hooks.cancelled() for _ in range(5)]
    wait_for(lambda: sum(hooks.state(t)["attempts"] for t in tasks) == 5, 20, "all are leased")
    daemon.signal(signal.SIGTERM)
    wait_for(lambda: sum(hooks.state(t)["attempts"] for t in tasks) == 1, 20, "all but one were given back")
    may_answer.set()
    assert daemon.popen.wait(20) == 0
    hooks.start()
    for task_id in tasks:
        assert hooks.settled(task_id, "delivered")["attempts"] == 1


def test_the_daemon_needs_its_secrets_to_start(service):
    def status(*flags, **settings):
        daemon = service.start_webhook(*flags, wait=False, **settings)
        return daemon.popen.wait(20), daemon.log()
    code, log = status()
    assert code == 78 and "KRONOS_WEBHOOK_SECRET_FILE" in log
    path = service.write_masters()
    good = {"KRONOS_WEBHOOK_SECRET_FILE": path}
    assert status("--check", **good)[0] == 0
    path.chmod(0o604)
    assert status("--check", **good)[0] == 78
    path.chmod(0o600)
    for bad in ("x", "QUJD", "A" * 42 + "==", "\n", "A" * 44 + "\n" + "B" * 44 + "\n" + "C" * 44):
        path.write_text(bad)
        code, log = status("--check", **good)
        assert code == 78 and "masters" in log and (len(bad) < 3 or bad not in log), bad
    service.write_masters()
    for name, value in (("KRONOS_WEBHOOK_PORTS", "443,x"), ("KRONOS_WEBHOOK_ALLOW_CIDR", "10.0.0.0/33"),
                        ("KRONOS_PUBLIC_URL", "api.example"), ("KRONOS_WEBHOOK_CA_FILE", "/nowhere")):
        code, log = status("--check", **good, **{name: value})
        assert code == 78 and name in log


def test_the_secret_of_a_key_can_be_printed(service):
    path = service.write_masters("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    done = subprocess.run([BUILD / "kronosq-webhook", "--print-secret", "desk-a"], env=environment(KRONOS_WEBHOOK_SECRET_FILE=path),
                          capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "whsec_wtik5481W3QXg8CZ/e8Gk08ci6PsM8MLCOXSMKPqg+Q=\n", "")
