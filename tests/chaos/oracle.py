"""What must be true at the end, whatever was killed: every accepted task exists and has ended once.

Three witnesses: the events that Redis published, seen by a subscriber; the stored tasks; the workers' logs.
"""
import socket
import threading
from collections import Counter, defaultdict

import kronosq
from kronosq import wait_for

PREFIX = "kq:{tiny}"
ENDS = ("completed", "failed", "expired", "cancelled")


class Recorder:
    """Every event, through all lives of Redis. Some are missed while Redis comes back; none is invented."""

    def __init__(self, redis):
        self.redis = redis
        self.ends = defaultdict(list)   # id -> states in which it ended
        self.is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self.is_closed = True
        self._thread.join(10)

    def _run(self):
        while not self.is_closed:
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(1)
                    s.connect(str(self.redis.socket_path))
                    s.sendall(b"PSUBSCRIBE kq:{*}:events\r\n")
                    self._record(s)
            except OSError:
                threading.Event().wait(0.02)

    def _record(self, s):
        pending = b""
        while not self.is_closed:
            try:
                data = s.recv(65536)
            except socket.timeout:
                continue
            if not data:
                return
            *lines, pending = (pending + data).split(b"\r\n")
            for line in lines:
                words = line.decode(errors="replace").split()
                if len(words) == 2 and words[1] in ENDS:
                    self.ends[words[0]].append(words[1])


class Verdict:
    """Lists of sentences; all empty when nothing was lost."""

    def __init__(self):
        self.lost, self.twice, self.stuck, self.wrong = [], [], [], []
        self.ended = Counter()
        self.events = self.events_again = 0  # told to webhooks; of them told more than once

    @property
    def is_good(self):
        return not (self.lost or self.twice or self.stuck or self.wrong)


def _hash(redis, task_id):
    names = ("state", "fence", "worker", "attempts", "crashes", "error_code", "priority")
    values = redis.command("HMGET", f"{PREFIX}:task:{task_id}", *names)
    return dict(zip(names, values))


def _publications(processes):
    """id -> the workers that say Redis took their result."""
    found = defaultdict(list)
    for process in processes:
        if process.name.startswith("worker"):
            for line in process.log_lines(message="task finished", status="completed"):
                found[line["task_id"]].append(line["worker_id"])
    return found


def judge(fleet, load, recorder, ask):
    """`ask(id)` is the HTTP document of a task, None for 404. The fleet has calmed down."""
    verdict = Verdict()
    published = _publications(fleet.past)
    forecasts = defaultdict(set)
    for task in load.accepted:
        _judge_task(verdict, task, _hash(fleet.redis, task.task_id), ask(task.task_id),
                    recorder.ends[task.task_id], published[task.task_id], forecasts)
    for kind, hashes in forecasts.items():
        if len(hashes) > 1:
            verdict.wrong.append(f"tasks of kind {kind} gave {len(hashes)} different forecasts")
    ids = {task.task_id for task in load.accepted}
    if len(ids) != len(load.accepted):
        verdict.wrong.append("two keys were given one id")
    _judge_events(verdict, fleet, load, ask)
    _judge_counters(verdict, fleet, len(ids))
    verdict.wrong += load.wrong + fleet.unexpected + fleet.complaints()
    return verdict


def _judge_events(verdict, fleet, load, ask):
    """Of each task with a webhook exactly one event, which has come at least once; of others none."""
    heard = defaultdict(list)
    for delivery in fleet.receiver.deliveries:
        heard[delivery.path[1:]].append(delivery.headers["webhook-id"])
    verdict.events = len({event for events in heard.values() for event in events})
    verdict.events_again = sum(map(len, heard.values())) - verdict.events
    for task in load.accepted:
        events = heard.pop(task.key, [])
        document = ask(task.task_id) or {"status": "?"}
        expected = {f"evt_{task.task_id}_{document['status']}"} if task.has_hook else set()
        if set(events) != expected:
            (verdict.wrong if events else verdict.lost).append(f"{task.task_id} ({task.key}) is {document['status']}, {document.get('webhook')}, "
                                                               f"and was told as {events}")
    verdict.wrong += [f"nobody asked for {event}" for events in heard.values() for event in events]


def _judge_task(verdict, task, stored, document, events, publishers, forecasts):
    name = f"{task.task_id} ({task.key}): {stored} events {events}"
    if document is None or stored["state"] is None:
        verdict.lost.append(name)
        return
    status = document["status"]
    if status not in ENDS or stored["state"] != status:
        verdict.stuck.append(name)
        return
    verdict.ended[status] += 1
    if len(events) > 1 or len(publishers) > 1:
        verdict.twice.append(f"{name} publishers {publishers}")
    elif events and events != [status] or publishers and publishers != [stored["worker"]]:
        verdict.wrong.append(f"{name} publishers {publishers}")
    if status == "completed":
        maker = document["data"]["timing"]["worker"]
        if task.is_poison or not stored["worker"] or maker != f"w-{stored['worker'][:8]}":
            verdict.wrong.append(f"{name} made by {maker}")
        forecasts[task.kind].add(document["data"]["provenance"]["forecast_sha256"])
    elif status == "failed" and stored["error_code"] != "worker_lost" or status == "expired" and not task.has_deadline or \
            status == "cancelled" and not task.is_cancelled:
        verdict.wrong.append(name)
    if task.must_be is not None and status != task.must_be:
        verdict.wrong.append(f"{name}: who cancelled it was told it ends as {task.must_be}")


def _judge_counters(verdict, fleet, accepted):
    """Counters move in the scripts that move tasks, so they count what the clients counted, and all sets are empty."""
    redis, stats = fleet.redis, fleet.stats()
    ended = sum(stats[state] for state in ENDS)
    if stats["submitted"] != accepted:
        verdict.wrong.append(f"{accepted} tasks were accepted and {stats['submitted']} made")
    if ended != stats["submitted"]:
        (verdict.lost if ended < stats["submitted"] else verdict.twice).append(f"{stats['submitted']} made, {ended} ended")
    kept = sum(redis.command("HSTRLEN", f"{PREFIX}:task:{task_id}", "input")
               for task_id in redis.command("ZRANGE", f"{PREFIX}:dead", 0, -1))
    if stats["input_bytes"] != kept:
        verdict.wrong.append(f"input_bytes is {stats['input_bytes']}, dead letters hold {kept}")
    for name in ("queued_prefill", "queued_steps"):
        for priority in ("urgent", "normal", "low"):
            if stats[f"{name}:{priority}"] != 0:
                verdict.wrong.append(f"{name}:{priority} is {stats[f'{name}:{priority}']}")


def waiting(redis):
    """What is not flat at 0: sets of tasks that have not ended, and hints."""
    found = {}
    for key in [f"queued:{p}" for p in ("urgent", "normal", "low")] + ["running", "later", "deadline", "webhook"]:
        if n := redis.command("ZCARD", f"{PREFIX}:{key}"):
            found[key] = n
    for priority in ("urgent", "normal", "low"):
        if n := redis.command("LLEN", f"{PREFIX}:list:{priority}"):
            found[f"list:{priority}"] = n
    return found


def quiet_within(fleet, seconds):
    """Tend the fleet until nothing waits any more; what still does after that."""
    def is_quiet():
        fleet.tend()
        try:
            return not waiting(fleet.redis)
        except (OSError, kronosq.RedisError):
            return False
    try:
        wait_for(is_quiet, seconds)
    except AssertionError:
        return waiting(fleet.redis)
    return {}
