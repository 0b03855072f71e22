"""kronosq, the command for people: what it shows and does, and its exit status."""
import json
import subprocess
import time

from kronosq import BUILD, at_best, environment, seconds_since, single_body, wait_for
from receiver import Receiver

UNKNOWN = "3f0c1a52-8a4e-4d6b-9c1e-7b2f5a90d1c4"


def kronosq(service, *words, status=0):
    done = subprocess.run([BUILD / "kronosq", "--server", f"http://127.0.0.1:{service.port}", *words], env=environment(),
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == status, (words, done)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done.stdout if status == 0 else done.stderr


def rows(text):
    head, *lines = text.splitlines()
    return head.split(), [line.split() for line in lines]


def test_a_task_is_shown_and_cancelled(service):
    service.start_api()
    task_id = service.submit()
    assert json.loads(kronosq(service, "task", task_id))["status"] == "queued"
    assert json.loads(kronosq(service, "cancel", task_id))["status"] == "cancelled"
    assert service.task(task_id)["status"] == "cancelled"
    kronosq(service, "cancel", UNKNOWN, status=1)


def test_queues_are_shown_paused_and_resumed(service):
    service.start_api()
    service.submit(single_body(priority="low"))
    head, lines = rows(kronosq(service, "queues"))
    assert head[:3] == ["model", "priority", "depth"]
    assert [(line[1], line[2], line[-1]) for line in lines] == [("urgent", "0", "open"), ("normal", "0", "open"), ("low", "1", "open")]
    assert kronosq(service, "queues", "pause", "kronos-small", "urgent") == "paused\n"
    assert [line[-1] for line in rows(kronosq(service, "queues"))[1]] == ["paused", "open", "open"]
    kronosq(service, "queues", "pause", "kronos-small")
    assert [line[-1] for line in rows(kronosq(service, "queues"))[1]] == ["paused"] * 3
    assert kronosq(service, "queues", "resume", "kronos-small") == "resumed\n"
    assert [line[-1] for line in rows(kronosq(service, "queues"))[1]] == ["open"] * 3
    assert "no model of this name" in kronosq(service, "queues", "pause", "nope", status=1)


def test_workers_are_shown_quieted_and_resumed(service):
    service.start_api()
    worker = service.start_worker()
    service.redis.command("HSET", next(k for k in service.redis.keys() if ":worker:" in k), "host", "evil\x1b[2Jhost")
    head, (line,) = rows(kronosq(service, "workers"))
    assert head[:2] == ["worker", "state"] and line[1] == "idle" and line[2] == str(worker.pid)
    assert "evil?[2Jhost" in kronosq(service, "workers")
    kronosq(service, "workers", "quiet", line[0])
    assert rows(kronosq(service, "workers"))[1][0][1] == "quiet"
    kronosq(service, "workers", "resume", line[0])
    assert rows(kronosq(service, "workers"))[1][0][1] == "idle"
    assert "no worker of this id" in kronosq(service, "workers", "quiet", UNKNOWN, status=1)


def test_dead_letters_are_shown_requeued_and_given_up(service):
    service.start_api()
    ids = [service.submit() for _ in range(2)]
    for task_id in ids:
        service.redis.command("HSET", f"kq:{{kronos-small}}:task:{task_id}", "input", b"\xc1")
    worker = service.start_worker()
    for task_id in ids:
        assert service.finished(task_id)["status"] == "failed"
    _, lines = rows(kronosq(service, "dead"))
    assert {line[0] for line in lines} == set(ids) and all(line[3] == "input_corrupt" for line in lines)
    assert kronosq(service, "dead", "delete", ids[0]) == "given up\n"
    worker.stop()
    assert kronosq(service, "dead", "requeue", ids[1]) == "queued again\n"
    assert service.task(ids[1])["status"] == "queued" and rows(kronosq(service, "dead"))[1] == []
    assert "no dead letter" in kronosq(service, "dead", "requeue", ids[0], status=1)


def test_a_receiver_is_tried_and_an_event_sent_again(service):
    receiver = Receiver()
    service.write_masters()
    settings = service.webhook_settings(receiver.port)
    service.start_api(**settings)
    service.start_webhook(**settings)
    said = kronosq(service, "webhook", "ping", receiver.url("/ping"))
    delivery, = wait_for(lambda: receiver.at("/ping"), 20, "the ping has come")
    assert said == f"test.ping is sent, once: {delivery.headers['webhook-id']}\n"
    task_id = service.submit(single_body(webhook={"url": receiver.url()}))
    assert "webhook" in kronosq(service, "webhook", "replay", task_id, status=1), "nothing has happened that could be told again"
    kronosq(service, "cancel", task_id)
    wait_for(lambda: json.loads(kronosq(service, "task", task_id))["webhook"]["state"] == "delivered", 20, "its end is told")
    assert kronosq(service, "webhook", "replay", task_id) == "its last event is sent again\n"
    first, again = wait_for(lambda: len(found := receiver.at("/hook")) == 2 and found, 20, "and told again")
    assert first.headers["webhook-id"] == again.headers["webhook-id"] and first.body == again.body
    assert "not on the public network" in kronosq(service, "webhook", "ping", "https://10.0.0.1/", status=1)
    receiver.close()


def test_a_wrong_call_is_told_its_usage(service):
    service.start_api()
    for words in (["cancel"], ["cancel", "a/b"], ["queues", "pause"], ["queues", "stop", "tiny"], ["queues", "pause", "a/b"], ["workers", "quiet"],
                  ["workers", "quiet", "../queues"], ["dead", "requeue"], ["dead", "eat", UNKNOWN], ["dead", "delete", "x?y"],
                  ["webhook"], ["webhook", "ping"], ["webhook", "eat", UNKNOWN], ["webhook", "replay", "a/b"]):
        kronosq(service, *words, status=2)
    usage = kronosq(service, "--help")
    for name in ("forecast", "task", "cancel", "health", "queues", "workers", "dead", "webhook"):
        assert f"\n  {name} " in usage


def test_without_a_server_the_reason_is_told(service):
    service.start_api().stop()
    for name in ("queues", "workers", "dead"):
        assert f"127.0.0.1:{service.port}" in kronosq(service, name, status=1)


def test_a_client_that_cancels_frees_the_worker_within_two_seconds(service):
    """Waiting, a deadline and a cancel reach a worker that computes; the next task has its slots at once."""
    service.start_api()
    service.start_worker("--slots", "1", "--step-delay-ms", "300")

    def cancel_one():
        first, second = service.submit(single_body(steps=24)), service.submit(single_body(steps=1))
        wait_for(lambda: service.task(first)["status"] == "processing", 20)
        asked = time.time()
        kronosq(service, "cancel", first)
        done = service.finished(first)
        assert done["status"] == "cancelled" and service.finished(second)["status"] == "completed"
        return seconds_since(done["finished_at"]) - asked
    at_best(cancel_one, 2)
