"""Clients that never give up: a request has an Idempotency-Key and is repeated until it has an answer.

Of every kind of body there are many tasks, so that all of them must give the same forecast.
"""
import json
import random
import socket
import threading
import time

from fleet import CRASH_SEED
from oracle import ENDS
from kronosq import read_reply, single_body

KINDS = 24
REPEAT_SECONDS = 0.05  # how long a client waits before it repeats a request


class Accepted:
    """What a client knows of a task: it was answered with this id."""

    def __init__(self, key, kind, is_poison, has_deadline, has_hook):
        self.key, self.kind, self.is_poison, self.has_deadline, self.has_hook = key, kind, is_poison, has_deadline, has_hook
        self.task_id = None
        self.is_cancelled = False  # asked for, perhaps unheard
        self.must_be = None        # the end that was promised when cancelling was answered


def bodies(rng):
    """Most are short; some run longer than a frozen worker stays away, so that two have them in hand."""
    return [single_body(history=rng.randint(2, 16), steps=rng.choice((1, 2, 4, 6, 8, 12, 30, 30)),
                        overrides={"seed": kind, "sample_count": rng.choice((1, 1, 1, 2, 3, 9))}) for kind in range(KINDS)]


class Load:
    def __init__(self, fleet, seed, limit=40, per_second=30, threads=4):
        self.fleet, self.seed, self.limit = fleet, seed, limit
        self.bodies = bodies(random.Random(seed))
        self._outstanding = 0
        self.poison_wanted = 0
        self.accepted, self.wrong = [], []
        self.lost_replies = self.repeats = self.refusals = self.cancels = 0
        self._lock = threading.Lock()
        self._has_room = threading.Condition(self._lock)
        self._pause = threads / per_second
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(i,), daemon=True) for i in range(threads)]

    def start(self):
        for thread in self._threads:
            thread.start()

    def stop(self):
        """No new tasks; returns when every request has its answer. The fleet must be tended meanwhile."""
        self._is_over.set()
        with self._has_room:
            self._has_room.notify_all()

    @property
    def outstanding(self):
        """Tasks that have not ended; kept by whoever reads the counters."""
        return self._outstanding

    @outstanding.setter
    def outstanding(self, n):
        with self._has_room:
            self._outstanding = n
            self._has_room.notify_all()

    @property
    def is_busy(self):
        return any(thread.is_alive() for thread in self._threads)

    # ---- one client ----

    def _client(self, number):
        rng = random.Random(f"{self.seed}/{number}")
        n = 0
        while True:
            with self._has_room:
                self._has_room.wait_for(lambda: self._is_over.is_set() or self._outstanding < self.limit)
            if self._is_over.is_set():
                return
            n += 1
            self._submit(rng, f"{self.seed}-{number}-{n}")
            self._is_over.wait(rng.expovariate(1 / self._pause))  # requests come as they come to a service

    def _next(self, rng, key):
        kind = rng.randrange(KINDS)
        body = dict(self.bodies[kind], priority=rng.choice(("urgent", "normal", "normal", "low")))
        with self._lock:
            is_poison = self.poison_wanted > 0
            self.poison_wanted -= is_poison
        if is_poison:
            body["overrides"] = {"seed": CRASH_SEED}
        has_hook = rng.random() < 0.5
        if has_hook:
            body["webhook"] = {"url": self.fleet.receiver.url(f"/{key}")}
        has_deadline = not is_poison and rng.random() < 0.06
        if has_deadline:
            body["deadline_seconds"] = round(rng.uniform(0.3, 6), 2)
        return Accepted(key, kind, is_poison, has_deadline, has_hook), json.dumps(body).encode()

    def _submit(self, rng, key):
        task, body = self._next(rng, key)
        for _ in range(1 + (rng.random() < 0.15)):   # some ask twice although they were answered
            task_id = self._post_until_answered(rng, key, body)
            if task_id is None:
                return
            if task.task_id is None:
                task.task_id = task_id
                with self._lock:
                    self.accepted.append(task)
                    self._outstanding += 1
            elif task.task_id != task_id:
                self.wrong.append(f"key {key} gave {task.task_id}, then {task_id}")
            else:
                self.repeats += 1
        if not task.is_poison and rng.random() < 0.05:
            self._cancel(rng, task)

    def _cancel(self, rng, task):
        """Until it is answered: from then on the task may end in no other way, unless it had ended already."""
        time.sleep(rng.choice((0, 0, 0.1, 0.6)))  # a client changes its mind at any moment of the task's life
        task.is_cancelled = True
        while task.must_be is None:
            try:
                reply = self._post(rng, f"/v1/tasks/{task.task_id}/cancel", "", b"")
            except (OSError, ValueError, IndexError):
                reply = None
            if reply is not None and reply.status == 200:
                status = reply.json["status"]
                task.must_be = status if status in ENDS else "cancelled"
                self.cancels += 1
            elif reply is not None and reply.status != 503:
                self.wrong.append(f"cancelling {task.task_id} was answered {reply}")
                return
            else:
                time.sleep(REPEAT_SECONDS)

    def _post_until_answered(self, rng, key, body):
        while True:
            try:
                reply = self._post(rng, "/v1/predict/single", key, body)
            except (OSError, ValueError, IndexError):
                reply = None
            if reply is None:
                self.lost_replies += 1
            elif reply.status == 202:
                return reply.json["task_id"]
            elif reply.status == 503:
                self.refusals += 1
            else:
                self.wrong.append(f"key {key} was answered {reply}")
                return None
            time.sleep(REPEAT_SECONDS)

    def _post(self, rng, path, key, body):
        ports = self.fleet.ports
        if not ports:
            return None
        with socket.create_connection(("127.0.0.1", rng.choice(ports)), timeout=5) as s:
            key = f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\n" if key else ""
            s.sendall(f"POST {path} HTTP/1.1\r\nHost: chaos\r\nConnection: close\r\n{key}"
                      f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            return read_reply(s.makefile("rb"), "POST")
