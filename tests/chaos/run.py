"""A chaos run: load, faults, calm, judgement, and a table."""
import argparse
import json
import random
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import kronosq  # noqa: E402
import oracle  # noqa: E402
from faults import Faults, failpoints  # noqa: E402
from fleet import Fleet  # noqa: E402
from load import Load  # noqa: E402

CALM_SECONDS = 120  # a lease hold after a Redis restart, the second and third life of poison, with backoff
LOOK_SECONDS = 0.2


def _document(fleet):
    """Ask the API for a task: the document, None for 404."""
    def ask(task_id):
        with socket.create_connection(("127.0.0.1", fleet.ports[0]), timeout=20) as s:
            s.sendall(f"GET /v1/tasks/{task_id} HTTP/1.1\r\nHost: chaos\r\nConnection: close\r\n\r\n".encode())
            reply = kronosq.read_reply(s.makefile("rb"))
        assert reply is not None and reply.status in (200, 404), reply
        return json.loads(reply.body) if reply.status == 200 else None
    return ask


class Run:
    def __init__(self, seed, seconds, workers=4, say=print):
        self.seed, self.seconds, self.say = seed, seconds, say
        self.rng = random.Random(seed)
        self.fleet = Fleet(self.rng, workers=workers, failpoints=failpoints(self.rng))
        self.load = Load(self.fleet, seed)
        self.faults = Faults(self.fleet, self.load, self.rng)
        self.stats = {}

    def go(self):
        """The verdict. Whoever calls closes."""
        self.say(f"seed {self.seed}, {self.seconds:g} s, {len(self.fleet.workers)} workers, {self.fleet.directory}")
        self.fleet.start()
        recorder = oracle.Recorder(self.fleet.redis)
        self.load.start()
        self._suffer()
        self.load.stop()
        self.fleet.calm()
        kronosq.wait_for(self._all_answered, 60, "every request has its answer")
        left = oracle.quiet_within(self.fleet, CALM_SECONDS)
        kronosq.wait_for(self._api_answers, 20, "an API answers")
        self.stats = self.fleet.stats()
        verdict = oracle.judge(self.fleet, self.load, recorder, _document(self.fleet))
        verdict.stuck += [f"{key} holds {n}" for key, n in left.items()]
        recorder.close()
        return verdict

    def _suffer(self):
        started = time.monotonic()
        next_fault, next_look, next_line = started + 0.5, started, started + 5
        while (now := time.monotonic()) < started + self.seconds:
            self.fleet.tend()
            if now >= next_fault:
                next_fault = now + self.faults.next()
            if now >= next_look:
                next_look = now + LOOK_SECONDS
                self._look()
            if now >= next_line:
                next_line = now + 5
                self.say(f"{now - started:5.0f} s  {self._counts()}")
            time.sleep(0.01)

    def _look(self):
        stats = self.fleet.stats() if self.fleet.redis.process.is_running() else None
        if stats is not None:
            self.load.outstanding = stats["submitted"] - sum(stats[state] for state in oracle.ENDS)

    def _counts(self):
        counts = self.fleet.counts
        return (f"{len(self.load.accepted)} tasks, {self.load.outstanding} open; killed: {counts['worker kills']} workers, "
                f"{counts['redis kills']} redis, {counts['api kills']} api; {counts['stalls past the lease']} stalls")

    def _all_answered(self):
        self.fleet.tend()
        return not self.load.is_busy

    def _api_answers(self):
        self.fleet.tend()
        return self.fleet.ports

    def table(self, verdict):
        counts, stats = self.fleet.counts, self.stats
        rows = [("seed", self.seed), ("seconds", f"{self.seconds:g}"), ("tasks submitted", len(self.load.accepted)),
                ("completed / failed / expired / cancelled", " / ".join(str(verdict.ended[s]) for s in oracle.ENDS)),
                ("of them poison (must fail)", sum(task.is_poison for task in self.load.accepted)),
                ("submits without a reply", self.load.lost_replies), ("submits refused (503)", self.load.refusals),
                ("answered twice, same id", self.load.repeats), ("cancels answered", self.load.cancels)]
        rows += [(name, counts[name]) for name in ("worker kills", "terms", "gave up", "stalls past the lease", "redis kills",
                                                   "api kills", "connection drops", "network stalls", "redis pauses")]
        rows += [(text, stats[name]) for text, name in (
            ("recovered pops", "recovered_pop"), ("recovered leases", "recovered_lease"), ("fenced writes", "fenced"),
            ("fenced renewals", "fenced_renew"), ("ended by the crash cap", "poison"), ("stale hints", "stale_hint"), ("orphans", "orphan"))]
        rows += [("webhook kills", counts["webhook kills"]), ("events told to webhooks", verdict.events),
                 ("told again", verdict.events_again), ("lost", len(verdict.lost)), ("published twice", len(verdict.twice)), ("stuck", len(verdict.stuck)),
                 ("wrong", len(verdict.wrong))]
        return "\n".join(f"  {name:42} {value}" for name, value in rows)

    def close(self):
        """End everything; complaints that came while ending."""
        unexpected = len(self.fleet.unexpected)
        self.fleet.close()
        return self.fleet.unexpected[unexpected:] + self.fleet.complaints()


def main():
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="Kill everything at random; nothing may get lost.")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--keep", action="store_true", help="leave the directory with Redis' AOF and all logs")
    options = parser.parse_args()
    run = Run(options.seed, options.minutes * 60, options.workers, say=lambda text: print(text, flush=True))
    verdict = None
    try:
        verdict = run.go()
    finally:
        late = run.close()
        if verdict is None:
            print(f"the run broke off; see {run.fleet.directory}")
    verdict.wrong += late
    print(run.table(verdict))
    for kind in ("lost", "twice", "stuck", "wrong"):
        for sentence in getattr(verdict, kind)[:20]:
            print(f"{kind}: {sentence}")
    if verdict.is_good and not options.keep:
        run.fleet.remove()
    else:
        print(f"logs and AOF: {run.fleet.directory}")
    return 0 if verdict.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
