"""Completions whose events go to receivers of every temper, while kronosq-webhook and Redis are killed: `scripts/chaos --webhooks N`."""
import argparse
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import kronosq  # noqa: E402
from fleet import Fleet  # noqa: E402
from receiver import secret_of  # noqa: E402
from rough_receiver import ENDS, FINAL, NO_LINE, RoughReceiver  # noqa: E402
from run import _document  # noqa: E402

ATTEMPTS = 8
OUTSTANDING = 400           # tasks that have not ended
CLIENTS = 4
PER_SECOND = 80             # submits
TOLD_SECONDS = 1.5          # after an answer Redis has been told of it, unless it is away
SETTLE_SECONDS = 400
PREFIX = "kq:{tiny}"
# of a thousand; the dead letters of failed and disabled are kept a thousand at most
SHARES = {"well": 520, "again": 120, "busy": 60, "gone": 40, "moved": 6, "moved_once": 50, "silent": 15, "cut": 80, "never": 9,
          "down": 80, "nobody": 15, "deaf": 5}


class HookFleet(Fleet):
    """Only who delivers, and Redis, are killed here."""

    def __init__(self, rng, scale):
        self.scale = scale
        super().__init__(rng, workers=1, apis=1, lease_ms=5000)
        self.receiver.close()
        self.receiver = RoughReceiver(secret_of(self._masters.read_text().strip(), "local"), rng.getrandbits(32))
        self.hook_kills, self.outages = [], []   # wall clock

    def _redis_url(self, i):
        return self.redis.url

    def _hook_flags(self):
        return ["--webhook-secret-file", self._masters, "--webhook-allow-http", "true", "--webhook-allow-cidr", "127.0.0.0/8",
                "--webhook-ports", ",".join(map(str, self.receiver.ports))]

    def _webhook(self, i):
        return lambda: ([kronosq.BUILD / "kronosq-webhook", "--redis", self.redis.url, "--default-model", "tiny", "--retry-scale", self.scale,
                         "--webhook-timeout", 1, *self._hook_flags()], "")

    def _worker(self, i):
        flags, fail = super()._worker(i)()
        fast = {"--slots": 8, "--step-delay-ms": 0}
        flags = [fast.get(before, word) for before, word in zip([None, *flags], flags)]
        return lambda: (flags, "")

    def kill_hook(self):
        up = [m for m in self.hooks if m.is_up]
        if up:
            self.kill(self.rng.choice(up))
            self.hook_kills.append(time.time())

    def kill_redis(self, seconds):
        self.outages.append((time.time(), time.time() + seconds + 1))
        super().kill_redis(seconds)

    def may_repeat(self, at):
        """Was a daemon killed before it can have told Redis of what it was answered at that time?"""
        until = at + TOLD_SECONDS
        for began, ended in self.outages:
            if began < until and ended > at:
                until = max(until, ended + TOLD_SECONDS)
        return any(at - 0.1 < killed < until for killed in self.hook_kills)


class HookRun:
    def __init__(self, seed, n, scale="0.001", seconds_between=3.0, kill_seconds=None, say=print):
        self.seed, self.n, self.say = seed, n, say
        self.between, self.kill_seconds = seconds_between, kill_seconds
        self.rng = random.Random(seed)
        self.fleet = HookFleet(self.rng, scale)
        self.tasks = {}             # key -> (id, kind)
        self.wrong, self.lost = [], []
        self.counts = Counter()
        self._completed = 0
        self._keys = iter([(f"{seed}-{i}", kind) for i, kind in enumerate(self._kinds())])
        self._lock = threading.Lock()
        self._clients = [threading.Thread(target=self._client, args=(i,), daemon=True) for i in range(CLIENTS)]

    def _kinds(self):
        kinds = list(SHARES)
        return kinds + self.rng.choices(kinds, list(SHARES.values()), k=self.n - len(kinds))

    # ---- clients, who repeat a submit until it is answered ----

    def _body(self, key, kind):
        body = kronosq.single_body(history=2, steps=1)
        if kind == "deaf":
            body["webhook"] = {"url": self.fleet.receiver.url("well", key), "events": ["task.failed"]}
        elif kind != "nobody":
            body["webhook"] = {"url": self.fleet.receiver.url(kind, key)}
        return json.dumps(body).encode()

    def _client(self, number):
        while True:
            with self._lock:
                key, kind = next(self._keys, (None, None))
            if key is None:
                return
            due = self._began + int(key.split("-")[1]) / PER_SECOND
            while time.monotonic() < due or len(self.tasks) - self._completed > OUTSTANDING:
                time.sleep(0.01)
            while (reply := self._post(key, self._body(key, kind))) is None or reply.status == 503:
                self.counts["submits repeated"] += 1
                time.sleep(0.05)
            if reply.status != 202:
                self.wrong.append(f"key {key} was answered {reply}")
                return
            self.tasks[key] = reply.json["task_id"], kind

    def _post(self, key, body):
        try:
            with socket.create_connection(("127.0.0.1", self.fleet.ports[0]), timeout=10) as s:
                s.sendall(f"POST /v1/predict/single HTTP/1.1\r\nHost: chaos\r\nConnection: close\r\nIdempotency-Key: {key}\r\n"
                          f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                return kronosq.read_reply(s.makefile("rb"), "POST")
        except (OSError, ValueError, IndexError):
            return None

    # ---- the run ----

    def go(self):
        """Whoever calls closes."""
        fleet = self.fleet
        self.say(f"seed {self.seed}, {self.n} completions, {fleet.directory}")
        fleet.start()
        kronosq.wait_for(lambda: (fleet.tend(), fleet.ports)[1], 30, "the API listens")
        began = self._began = time.monotonic()
        for client in self._clients:
            client.start()
        self._suffer(began)
        fleet.redis_start_at = 0
        fleet.tend()
        self.seconds_of_load = time.monotonic() - began
        kronosq.wait_for(self._is_settled, SETTLE_SECONDS, f"every event has its end; seed {self.seed}, see {fleet.directory}")
        self.seconds = time.monotonic() - began
        self._judge()
        return not self.wrong and not self.lost

    def _suffer(self, began):
        """Until all are submitted; kills end earlier when the run is a short one."""
        fleet, receiver = self.fleet, self.fleet.receiver
        next_kill, next_down, back_at, next_line = began + 0.5, began + 0.5, None, began + 5
        while any(client.is_alive() for client in self._clients):
            now = time.monotonic()
            fleet.tend()
            self._look()
            if now >= next_kill and (self.kill_seconds is None or now < began + self.kill_seconds):
                next_kill = now + self.rng.expovariate(1 / self.between)
                if self.rng.random() < 0.75:
                    fleet.kill_hook()
                elif fleet.redis.process.is_running():
                    fleet.kill_redis(self.rng.choice((0, 0.3, 1, 2)))
            if back_at is None and now >= next_down:
                receiver.go_down()
                back_at = now + self.rng.uniform(0.5, 1.0 if self.kill_seconds else 3.0)
            elif back_at is not None and now >= back_at:
                receiver.come_back()
                self.counts["times down"] += 1
                back_at, next_down = None, now + 40   # later than the last but one retry of who met the one before
            if now >= next_line:
                next_line = now + 5
                self.say(f"{now - began:5.0f} s  {len(self.tasks)} submitted, {self._completed} completed; killed: "
                         f"{fleet.counts['webhook kills']} webhook, {fleet.counts['redis kills']} redis")
            time.sleep(0.01)
        if back_at is not None:
            receiver.come_back()
            self.counts["times down"] += 1

    def _look(self):
        stats = self.fleet.stats() if self.fleet.redis.process.is_running() else None
        if stats is not None:
            self._completed = stats["completed"]

    def _is_settled(self):
        self.fleet.tend()
        self._look()
        try:
            return self._completed >= len(self.tasks) and not self.fleet.redis.command("ZCARD", f"{PREFIX}:webhook")
        except (OSError, kronosq.RedisError):
            return False

    # ---- judgement ----

    def _judge(self):
        receiver, ask = self.fleet.receiver, _document(self.fleet)
        heard = {path: list(seen) for path, seen in receiver.seen.items()}
        for key, (task_id, kind) in self.tasks.items():
            document = ask(task_id)
            if document is None or document["status"] != "completed":
                self.wrong.append(f"{task_id} ({key}) is no completed task: {document}"[:300])
                continue
            seen = heard.pop(f"/{kind}/{key}", [])
            self._judge_task(f"{task_id} ({kind} {key})", task_id, kind, document.get("webhook"), seen)
        self.wrong += [f"nobody asked for {path}" for path in heard]
        self.wrong += [f"a redirect was followed to {path}" for path in receiver.redirected]
        self.wrong += receiver.wrong + self.fleet.unexpected + self.fleet.complaints()
        if len({task_id for task_id, _ in self.tasks.values()}) != self.n:
            self.wrong.append(f"{self.n} were to be submitted and {len(self.tasks)} were")

    def _judge_task(self, name, task_id, kind, hook, seen):
        if kind not in ENDS:
            if hook is not None or seen:
                self.wrong.append(f"{name} has no event to tell, and {hook}, {len(seen)} deliveries")
            return
        self.counts[kind] += 1
        self.counts["deliveries"] += len(seen)
        if not seen:
            self.lost.append(f"{name} was never told; {hook}")
            return
        if hook is None or hook["state"] != ENDS[kind]:
            self.wrong.append(f"{name} must be {ENDS[kind]}: {hook}, answered {[s.answer for s in seen]}")
        # when a kept connection ends before a line of an answer, the library posts again in the same attempt
        elif sum(s.answer not in NO_LINE for s in seen) > min(hook["attempts"], ATTEMPTS):
            self.wrong.append(f"{name} came {len(seen)} times in attempts of {hook}")
        ids = {s.delivery.headers.get("webhook-id") for s in seen}
        if ids != {f"evt_{task_id}_completed"} or any(s.event.get("data", {}).get("task_id") != task_id for s in seen):
            self.wrong.append(f"{name} was told as {ids}")
        for this, following in zip(seen, seen[1:]):
            if this.answer in FINAL:
                self.counts["told again"] += 1
                if not self.fleet.may_repeat(this.delivery.at):
                    self.wrong.append(f"{name} came again {following.delivery.at - this.delivery.at:.2f} s after {this.answer}, "
                                      "and no daemon had been killed")

    def table(self):
        fleet, counts = self.fleet, self.counts
        rows = [("seed", self.seed), ("completions", len(self.tasks)), ("seconds of load, until all was told", f"{self.seconds_of_load:.0f}, {self.seconds:.0f}"),
                ("kills of kronosq-webhook", fleet.counts["webhook kills"]), ("kills of Redis", fleet.counts["redis kills"]),
                ("submits repeated", counts["submits repeated"]), ("times one receiver was down", counts["times down"]),
                ("connections closed unread", fleet.receiver.dropped), ("events", sum(counts[kind] for kind in ENDS)),
                *((f"  to receivers: {kind} ({ENDS[kind]})", counts[kind]) for kind in ENDS),
                ("deliveries", counts["deliveries"]), ("  after a final answer, daemon killed", counts["told again"]),
                ("lost", len(self.lost)), ("wrong", len(self.wrong))]
        return "\n".join(f"  {name:42} {value}" for name, value in rows)

    def close(self):
        before = len(self.fleet.unexpected)
        self.fleet.close()
        self.wrong += self.fleet.unexpected[before:]


def main():
    parser = argparse.ArgumentParser(prog="scripts/chaos --webhooks N", description=__doc__)
    parser.add_argument("--webhooks", type=int, required=True, metavar="N", help="completions")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="leave the directory with Redis' AOF and all logs")
    options = parser.parse_args()
    run, is_good = HookRun(options.seed, max(options.webhooks, len(SHARES)), say=lambda text: print(text, flush=True)), False
    try:
        is_good = run.go()
    finally:
        run.close()
    print(run.table())
    for sentence in [f"lost: {s}" for s in run.lost[:20]] + [f"wrong: {s}" for s in run.wrong[:20]]:
        print(sentence)
    is_good = is_good and not run.wrong
    if is_good and not options.keep:
        run.fleet.remove()
    else:
        print(f"logs and AOF: {run.fleet.directory}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
