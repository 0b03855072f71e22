"""What the queue costs: commands while idle, commands for a task, and the time from a request to its claim.

Counts hold for every build. Times and CPU are promises of the release build; the sanitized one only says that it was
not asked: KRONOSQ_BUILD=build/release /usr/bin/python3 -m pytest tests/chaos/test_cost.py
"""
import re
import statistics
import subprocess
import time

import pytest
from kronosq import BUILD, at_best, cpu_seconds, passes, single_body, wait_for
from monitor import Monitor
from oracle import PREFIX

needs_release = pytest.mark.skipif(
    "KRONOS_FAIL" in subprocess.run([BUILD / "kronosq-worker", "--help"], capture_output=True, text=True).stdout,
    reason="times mean something only in a release build")
IDLE_SECONDS = 5


def names_of_scripts():
    """SHA-1 -> name, as they were built in."""
    source = (BUILD / "common/queue/scripts.c").read_text()
    return {sha: name for name, sha in re.findall(r'\.name = "(\w+)",\s*\.sha1 = "([0-9a-f]{40})"', source)}


def unblocks(service):
    """MONITOR does not show CLIENT UNBLOCK, which cuts a wait short; Redis counts it since its start."""
    found = re.search(r"cmdstat_client\|unblock:calls=(\d+)", service.redis.command("INFO", "commandstats"))
    return int(found[1]) if found else 0


class Counted:
    """What a worker sent, by name, and what of it there would not be without tasks."""

    def __init__(self, service, commands):
        names = names_of_scripts()
        self.total = {}
        for _, words in commands:
            name = words[0].upper()
            if name in ("EVALSHA", "EVAL"):
                name = names.get(words[1], "other script")
            self.total[name] = self.total.get(name, 0) + 1
        self.total["UNBLOCK"] = unblocks(service)

    def __getitem__(self, name):
        return self.total.get(name, 0)

    @property
    def for_tasks(self):
        """Round trips because there was work: hints, claims, ends, and cutting a wait short."""
        return self["BLPOP"] + self["claim"] + self["complete"] + self["fail"] + self["release"] + self["UNBLOCK"] + self["LPUSH"]


def test_an_idle_worker_sends_less_than_ten_commands_a_second(service):
    service.start_worker()

    def commands_a_second():
        """While it starts there are some more; then each stretch is like the one before."""
        started = time.monotonic()
        with Monitor(service.redis) as seen:
            passes(IDLE_SECONDS)
            took = time.monotonic() - started
        print(f"{len(seen.commands) / took:.1f} commands a second, {Counted(service, seen.commands).total}")
        assert seen.commands
        return len(seen.commands) / took
    at_best(commands_a_second, 10)


@needs_release
def test_an_idle_worker_uses_less_than_half_a_percent_of_a_core(service):
    worker = service.start_worker()
    passes(1)  # what starting left to do
    before = cpu_seconds(worker.pid)
    passes(IDLE_SECONDS)
    used = cpu_seconds(worker.pid) - before
    print(f"{100 * used / IDLE_SECONDS:.3f} % of a core")
    assert used < 0.005 * IDLE_SECONDS, f"{100 * used / IDLE_SECONDS:.2f} %"


def test_a_task_of_an_idle_worker_costs_four_round_trips_at_most(service):
    service.start_api()
    service.start_worker()
    service.finished(service.submit())
    n, before, started = 20, unblocks(service), time.monotonic()
    with Monitor(service.redis) as seen:
        for _ in range(n):
            task_id = service.submit(single_body(history=8, steps=1))
            wait_for(lambda t=task_id: service.redis.command("HGET", f"{PREFIX}:task:{t}", "state") == "completed", 20)
    counted = Counted(service, seen.commands)
    assert counted["claim"] >= n and counted["complete"] == n, counted.total
    timed_out = (time.monotonic() - started) / 2 + 1  # BLPOPs that ended by their time of 2 s meanwhile
    assert counted.for_tasks - before <= 4 * n + timed_out + 3, counted.total
    print(f"{counted.for_tasks / n:.2f} round trips a task, {counted.total}")


def test_a_task_of_a_busy_worker_costs_two_round_trips(service):
    """A claim, in which the script pops the hint itself, and a result."""
    service.start_api()
    n = 200
    ids = [service.submit(single_body(history=8, steps=1)) for _ in range(n)]
    with Monitor(service.redis) as seen:
        service.start_worker()
        wait_for(lambda: service.redis.command("HGET", f"{PREFIX}:stats", "completed") == str(n), 30, "all are done")
    counted = Counted(service, seen.commands)
    assert counted["complete"] == len(ids), counted.total
    assert counted.for_tasks <= 2.2 * n, counted.total
    print(f"{counted.for_tasks / n:.2f} round trips a task, {counted.total}")


@needs_release
def test_an_idle_worker_claims_within_two_milliseconds_of_the_submit(service):
    service.start_api()
    service.start_worker()
    service.finished(service.submit())
    waited_ms, sent_ms = [], []
    with Monitor(service.redis) as seen:
        for _ in range(100):
            started = time.monotonic()
            task_id = service.submit(single_body(history=8, steps=1))
            sent_ms.append(1000 * (time.monotonic() - started))
            wait_for(lambda t=task_id: service.redis.command("HGET", f"{PREFIX}:task:{t}", "state") == "completed", 20)
    submitted, names = {}, names_of_scripts()
    for at, words in seen.commands:
        script = names.get(words[1]) if words[0].upper() == "EVALSHA" else None
        if script == "submit":
            submitted[words[4]] = at
        elif script == "claim" and words[5] in submitted:
            waited_ms.append(1000 * (at - submitted[words[5]]))
    assert len(waited_ms) == 100
    print(f"submit to claim: p50 {statistics.median(waited_ms):.2f} ms, p99 {sorted(waited_ms)[98]:.2f} ms; "
          f"the client's request p50 {statistics.median(sent_ms):.2f} ms")
    assert statistics.median(waited_ms) < 2
