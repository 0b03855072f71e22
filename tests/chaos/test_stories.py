"""One thing goes wrong at the worst moment, and what must follow. Failpoints of the debug build choose the moment."""
import random
import signal
import time

import pytest
from fleet import CRASH_SEED, Fleet, is_started, is_stopped
from kronosq import seconds_since, single_body, wait_for
from oracle import PREFIX, Recorder

LEASE_MS = 1500
SHORT_LEASE = ("--lease-ms", LEASE_MS)
REPAIR_MS = 2000  # QUEUE_REPAIR_GRACE_MS and the sweeps on either side of it


def task_of(service, task_id, *names):
    return service.redis.command("HMGET", f"{PREFIX}:task:{task_id}", *names)


def counter(service, name):
    return int(service.redis.command("HGET", f"{PREFIX}:stats", name) or 0)


def redis_ms(service):
    seconds, us = service.redis.command("TIME")
    return int(seconds) * 1000 + int(us) // 1000


def forget_restart(service):
    """After a start of Redis sweeps spare all leases for one lease; say that it was long ago."""
    wait_for(lambda: service.redis.command("HGET", f"{PREFIX}:boot", "run_id"), 20, "a first sweep")
    service.redis.command("HSET", f"{PREFIX}:boot", "hold_until_ms", "0")


def ready_ms(process):
    """When it said so, by the clock that Redis tells, too."""
    return int(1000 * seconds_since(process.log_lines(event="ready")[0]["timestamp"]))


def dies(process):
    wait_for(lambda: not process.is_running(), 20, f"{process.name} dies")
    assert process.popen.returncode == -signal.SIGKILL


@pytest.fixture
def recorder(service):
    made = Recorder(service.redis)
    wait_for(lambda: service.redis.command("PUBSUB", "NUMPAT") == 1, 20, "events are recorded")
    yield made
    made.close()


@pytest.fixture
def fleet():
    """Daemons that are started again when they die; the test tends them."""
    made = []

    def start(**wishes):
        made.append(Fleet(random.Random(1), **wishes))
        made[0].start()
        wait_for(lambda: (made[0].tend(), made[0].ports)[1], 20, "an API listens")
        return made[0]

    yield start
    for one in made:
        one.close()
        complaints = one.unexpected + one.complaints()
        one.remove()
        assert not complaints, "\n".join(complaints)


class Client:
    """Of a fleet, through whichever API is up."""

    def __init__(self, fleet):
        import kronosq
        self.fleet = fleet
        self.http = kronosq.Service(fleet.directory)
        self.redis = fleet.redis

    def submit(self, body):
        self.http.port = self.fleet.ports[0]
        return self.http.submit(body)

    def state(self, task_id):
        return self.redis.command("HGET", f"{PREFIX}:task:{task_id}", "state")

    def all_ended(self, ids, seconds):
        left = list(ids)

        def check():
            self.fleet.tend()
            while left and self.state(left[-1]) not in ("queued", "scheduled", "processing"):
                left.pop()
            return not left
        wait_for(check, seconds, "all tasks end")


def test_a_misspelt_failpoint_ends_the_start_and_is_named(service):
    refused = [service.start_worker(wait=False, KRONOS_FAIL="after_lunch:1"), service.start_api(wait=False, KRONOS_FAIL="after_lunch:1")]
    assert [process.popen.wait(20) for process in refused] == [78, 78]
    assert all("after_lunch" in process.log() for process in refused)


# ---- killed at a moment ----

def test_a_worker_killed_between_blpop_and_claim_delays_its_task_by_less_than_two_seconds(service):
    service.start_api()
    victim = service.start_worker(KRONOS_FAIL="after_blpop:1")
    task_id = service.submit()
    dies(victim)
    died_ms = redis_ms(service)
    assert service.redis.command("LLEN", f"{PREFIX}:list:normal") == 0, "the hint is gone"
    assert service.redis.command("ZCARD", f"{PREFIX}:queued:normal") == 1, "the task is not"
    rescuer = service.start_worker()
    assert service.finished(task_id)["attempt"] == 1
    late_ms = int(task_of(service, task_id, "started_ms")[0]) - max(died_ms, ready_ms(rescuer))
    assert late_ms < REPAIR_MS, late_ms
    assert counter(service, "recovered_pop") >= 1


def test_a_task_whose_worker_is_killed_after_the_claim_runs_elsewhere_within_the_lease_and_a_second(service):
    service.start_api()
    victim = service.start_worker(*SHORT_LEASE, KRONOS_FAIL="after_claim:1")
    forget_restart(service)
    task_id = service.submit()
    dies(victim)
    claimed_ms = int(task_of(service, task_id, "started_ms")[0])
    rescuer = service.start_worker(*SHORT_LEASE)
    done = service.finished(task_id)
    assert done["status"] == "completed" and done["attempt"] == 2, done
    started_ms = int(task_of(service, task_id, "started_ms")[0])
    assert LEASE_MS <= started_ms - claimed_ms
    late_ms = started_ms - max(claimed_ms + LEASE_MS, ready_ms(rescuer))
    assert late_ms < 1000, late_ms
    assert counter(service, "recovered_lease") == 1


@pytest.mark.parametrize("point", ["mid_forecast", "before_complete", "before_renew"])
def test_a_worker_killed_while_it_computes_costs_one_attempt(service, recorder, point):
    service.start_api()
    victim = service.start_worker(*SHORT_LEASE, "--step-delay-ms", 100, KRONOS_FAIL=f"{point}:1")
    forget_restart(service)
    task_id = service.submit()
    dies(victim)
    service.start_worker(*SHORT_LEASE)
    done = service.finished(task_id)
    assert done["status"] == "completed" and done["attempt"] == 2, done
    assert counter(service, "completed") == 1
    wait_for(lambda: recorder.ends[task_id] == ["completed"], 20, "one event")


def test_a_worker_killed_after_complete_before_the_reply_has_published_once(service, recorder):
    service.start_api()
    victim = service.start_worker(*SHORT_LEASE, KRONOS_FAIL="after_complete:1")
    forget_restart(service)
    task_id = service.submit()
    dies(victim)
    done = service.finished(task_id)
    assert done["status"] == "completed" and done["attempt"] == 1, done
    output = task_of(service, task_id, "output")
    assert service.redis.command("ZCARD", f"{PREFIX}:running") == 0, "nothing is left that a sweep could give away"

    rescuer = service.start_worker(*SHORT_LEASE)
    other = service.submit()
    assert service.finished(other)["status"] == "completed"
    assert task_of(service, task_id, "output") == output
    wait_for(lambda: recorder.ends.get(other), 20, "the last event has come")
    assert recorder.ends == {task_id: ["completed"], other: ["completed"]}
    assert not rescuer.log_lines(message="task finished", task_id=task_id)
    assert counter(service, "completed") == 2 and counter(service, "recovered_lease") == 0


@pytest.mark.parametrize("point", ["before_submit", "after_submit"])
def test_a_client_whose_api_died_repeats_its_request_and_gets_one_task(service, point):
    victim = service.start_api(KRONOS_FAIL=f"{point}:1")
    headers = {"Idempotency-Key": "once"}
    body = single_body(overrides={"seed": 5})
    try:
        reply = service.post("/v1/predict/single", body, headers=headers)
    except OSError:
        reply = None
    assert reply is None
    dies(victim)
    service.start_api()
    replies = [service.post("/v1/predict/single", body, headers=headers) for _ in range(2)]
    assert [r.status for r in replies] == [202, 202]
    assert len({r.json["task_id"] for r in replies}) == 1
    assert counter(service, "submitted") == 1
    service.start_worker()
    assert service.finished(replies[0].json["task_id"])["status"] == "completed"


# ---- frozen ----

def test_a_result_that_comes_after_a_freeze_past_the_lease_is_fenced_and_the_other_stands(service, recorder):
    service.start_api()
    frozen = service.start_worker(*SHORT_LEASE, KRONOS_FAIL="before_complete:1:stop")
    forget_restart(service)
    task_id = service.submit(single_body(overrides={"seed": 3}))
    wait_for(lambda: is_stopped(frozen.pid), 20, "the worker freezes with its output in hand")
    rescuer = service.start_worker(*SHORT_LEASE)
    done = service.finished(task_id)
    assert done["status"] == "completed" and done["attempt"] == 2
    stored = task_of(service, task_id, "output", "fence", "worker")

    frozen.signal(signal.SIGCONT)
    late = wait_for(lambda: frozen.log_lines(message="task finished", task_id=task_id), 20, "the late one ends")[0]
    assert late["status"] == "fenced" and late["attempt"] == 1
    assert counter(service, "fenced") >= 1
    assert task_of(service, task_id, "output", "fence", "worker") == stored
    assert stored[2] == rescuer.log_lines(event="ready")[0]["worker_id"]
    assert recorder.ends[task_id] == ["completed"] and counter(service, "completed") == 1


def test_a_worker_frozen_after_its_claim_leaves_the_task_to_others_and_works_on(service):
    service.start_api()
    frozen = service.start_worker(*SHORT_LEASE, KRONOS_FAIL="after_claim:1:stop")
    forget_restart(service)
    task_id = service.submit()
    wait_for(lambda: is_stopped(frozen.pid), 20, "the worker freezes")
    rescuer = service.start_worker(*SHORT_LEASE)
    assert service.finished(task_id)["attempt"] == 2
    rescuer.stop()
    frozen.signal(signal.SIGCONT)
    wait_for(lambda: frozen.log_lines(message="task finished", task_id=task_id, status="fenced"), 20, "it gives up")
    second = service.submit()

    def is_done():  # it freezes at every claim, and is continued in time
        if is_stopped(frozen.pid):
            frozen.signal(signal.SIGCONT)
        return service.task(second)["status"] == "completed"
    wait_for(is_done, 20, "the next task completes")


def test_a_connection_that_breaks_at_any_point_costs_nothing(service):
    """close at every point, often: reconnects, repeats, and no attempt is spent on it."""
    service.start_api()
    points = ("after_blpop", "after_claim", "before_renew", "after_renew", "before_complete", "after_complete", "before_sweep")
    service.start_worker(KRONOS_FAIL=",".join(f"{p}:0.2:close" for p in points) + ",seed:4")
    ids = [service.submit() for _ in range(40)]
    assert {service.finished(task_id)["status"] for task_id in ids} == {"completed"}
    assert counter(service, "completed") == 40 and counter(service, "recovered_lease") == 0
    assert {service.task(task_id)["attempt"] for task_id in ids} == {1}


# ---- poison, crowds, memory, fairness ----

def test_a_task_that_kills_three_workers_is_failed_and_its_neighbours_complete(fleet):
    fleet = fleet(workers=3, apis=1)
    client = Client(fleet)
    wait_for(lambda: client.redis.command("HGET", f"{PREFIX}:boot", "run_id"), 10, "a first sweep")
    client.redis.command("HSET", f"{PREFIX}:boot", "hold_until_ms", "0")
    neighbours = [client.submit(single_body()) for _ in range(10)]
    poison = client.submit(single_body(overrides={"seed": CRASH_SEED}))

    def poison_ends():
        fleet.tend()
        if len(neighbours) < 400:
            neighbours.append(client.submit(single_body(steps=4)))
        return client.state(poison) not in ("queued", "scheduled", "processing")
    wait_for(poison_ends, 60, "the poison task ends")
    state, code, crashes, attempts = client.redis.command("HMGET", f"{PREFIX}:task:{poison}", "state", "error_code",
                                                          "crashes", "attempts")
    assert (state, code, crashes, attempts) == ("failed", "worker_lost", "3", "3")
    assert fleet.counts["worker kills"] == 3
    client.all_ended(neighbours, 40)
    assert {client.state(task_id) for task_id in neighbours} == {"completed"}

    def is_whole():  # the last one killed may still be on its way back
        fleet.tend()
        return all(member.is_up and is_started(member.process) for member in fleet.workers)
    wait_for(is_whole, 10, "every worker is up again")
    assert fleet.counts["worker kills"] == 3


def test_twenty_workers_that_come_and_go_complete_every_task_once(fleet):
    fleet = fleet(workers=20, apis=1)
    client, rng, started = Client(fleet), random.Random(2), time.monotonic()
    ids, next_end = [], 0

    def all_are_done():
        nonlocal next_end
        fleet.tend()
        if len(ids) < 2000:
            ids.append(client.submit(single_body(history=4, steps=1)))
        completed = int(client.redis.command("HGET", f"{PREFIX}:stats", "completed") or 0)
        up = [member for member in fleet.workers if member.is_up]
        if up and completed >= next_end:  # not by the clock: starting again is what takes a slow machine all its time
            next_end = completed + 25
            fleet.end(rng.choice(up))
        return completed == 2000
    wait_for(all_are_done, 300, "all tasks complete")
    logged = [line["task_id"] for process in fleet.past if process.name.startswith("worker")
              for line in process.log_lines(message="task finished", status="completed")]
    assert sorted(logged) == sorted(ids), "each is finished by one worker, once"
    assert fleet.counts["terms"] > 20 and fleet.counts["worker kills"] == 0
    assert client.redis.command("HGET", f"{PREFIX}:stats", "recovered_lease") is None, "they gave back what they had"
    print(f"{time.monotonic() - started:.0f} s, {fleet.counts['terms']} ends")


def test_a_full_redis_refuses_new_tasks_completes_the_old_ones_and_drains(service):
    service.start_api()
    body = single_body(history=400, steps=1)
    ids = [service.submit(body) for _ in range(5)]
    used = int(next(line.split(":")[1] for line in service.redis.command("INFO", "memory").splitlines()
                    if line.startswith("used_memory:")))
    service.redis.command("CONFIG", "SET", "maxmemory", used + 6 * 1024 * 1024)
    refused = None
    for _ in range(2000):
        reply = service.post("/v1/predict/single", body)
        if reply.status != 202:
            refused = reply
            break
        ids.append(reply.json["task_id"])
    assert refused is not None and refused.status == 503 and refused.json["code"] == "queue_full", refused
    assert int(refused.headers["retry-after"]) > 0
    assert "memory" in refused.json["detail"]

    service.start_worker()
    for task_id in ids:
        assert service.finished(task_id)["status"] == "completed"
    assert counter(service, "input_bytes") == 0
    # The API looks at Redis's memory once a second, and lets nobody in above 85 % of it.
    wait_for(lambda: service.post("/v1/predict/single", body).status == 202, 20, "there is room again")
    assert service.finished(service.submit(body))["status"] == "completed"


def test_low_tasks_get_their_share_under_endless_urgent_work(service):
    service.start_api()
    urgent = [service.submit(single_body(history=4, steps=1, priority="urgent")) for _ in range(1280)]
    low = [service.submit(single_body(history=4, steps=1, priority="low")) for _ in range(80)]
    service.start_worker("--slots", 4)
    for task_id in (urgent[-1], low[-1]):
        service.finished(task_id, 60)

    def claims(ids):
        return [int(task_of(service, task_id, "started_ms")[0]) for task_id in ids]
    wait_for(lambda: counter(service, "completed") == 1360, 20, "all are done")
    end = max(claims(urgent))
    share = sum(ms < end for ms in claims(low)) / (sum(ms < end for ms in claims(low)) + len(urgent))
    assert 0.8 / 32 < share < 1.2 / 32, share


