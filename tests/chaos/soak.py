"""A service that is never idle, for as long as one likes: memory, files and threads stay what they were.

One Redis, one API, one worker with 16 slots, and clients that submit the next task when the last has ended: every
length, mode, number of samples and priority, some cancelled. What is set aside at the start is touched first, so that
what grows afterwards is growth.
"""
import argparse
import os
import random
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import kronosq  # noqa: E402
from kronosq import single_body  # noqa: E402

SLOTS = 16
CLIENTS = 20             # more than slots: there is always something that waits
HISTORY_MAX = 2048       # of a request; the tokenizer's memory is for so many
GROWTH_MAX = 2 << 20     # bytes of a process, from the first third after the warm-up to the last one
STATUS = {"rss": "VmRSS", "anonymous": "RssAnon", "threads": "Threads"}


def look(process):
    """What a process holds now, in bytes, files and threads."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines())
    found = {name: int(lines[member].split()[0]) for name, member in STATUS.items()}
    found["rss"] <<= 10
    found["anonymous"] <<= 10
    found["files"] = len(os.listdir(f"/proc/{process.pid}/fd"))
    return found


class Soak:
    def __init__(self, seconds, model="small-seed21", context=512, seed=None, threads=1, say=print):
        self.seconds, self.model, self.context, self.threads, self.say = seconds, model, context, threads, say
        self.seed = random.SystemRandom().randrange(10**6) if seed is None else seed
        self.service = kronosq.Service()
        self.daemons = {}
        self.samples = {}          # of each daemon, after the warm-up
        self.ended = {"completed": 0, "cancelled": 0}
        self.wrong = []
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    # ---- load ----

    def _body(self, rng):
        history = rng.choice((2, rng.randint(2, 40), self.context // 2, self.context, rng.randint(self.context, HISTORY_MAX)))
        # a window that slides is computed anew at every step: in most tasks it does not
        mode = "exact" if history < self.context // 3 else rng.choice(("fit", "fit", "block", "exact"))
        steps = rng.choice((1, 2, 3)) if mode == "exact" else rng.choice((1, 8, 24, min(64, self.context // 2)))
        overrides = {"seed": rng.randrange(10**9), "sample_count": rng.choice((1, 1, 1, 2, 5, SLOTS, 20)), "context_mode": mode}
        return single_body(history=history, steps=steps, overrides=overrides, priority=rng.choice(("urgent", "normal", "low")))

    def _run_task(self, rng, body):
        task_id = self.service.submit(body)
        if rng.random() < 0.05:
            self.service.post(f"/v1/tasks/{task_id}/cancel", b"")
        end = self.service.finished(task_id, 120)["status"]
        with self._lock:
            if end in self.ended:
                self.ended[end] += 1
            else:
                self.wrong.append(f"task {task_id} ended {end}")

    def _client(self, number):
        rng = random.Random(f"{self.seed}/{number}")
        while not self._is_over.is_set():
            try:
                self._run_task(rng, self._body(rng))
            except (OSError, AssertionError, ValueError) as error:
                self.wrong.append(f"client {number}: {error!r}"[:500])
                return

    def _touch_everything(self):
        """Every slot leads a task whose history fills the context, twice as many at once as there are slots."""
        def one(number):
            try:
                self._run_task(random.Random(1), single_body(history=HISTORY_MAX, steps=2,
                                                             overrides={"seed": number, "context_mode": "fit"}))
            except (OSError, AssertionError, ValueError) as error:
                self.wrong.append(repr(error)[:500])
        threads = [threading.Thread(target=one, args=(number,)) for number in range(2 * SLOTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # ---- a run ----

    def start(self):
        service = self.service
        service.start_redis()
        # results leave Redis as soon as they may, and nothing is refused
        self.daemons["api"] = service.start_api("--result-ttl", 60, "--admission", "false", "--rate-limit-enabled", "false")
        self.daemons["worker"] = service.start_worker("--max-context", self.context, "--slots", SLOTS, "--threads", self.threads,
                                                      model=self.model)

    def go(self):
        """True when nothing grew. Whoever calls closes."""
        self.say(f"seed {self.seed}, {self.seconds:g} s, {self.model}, {SLOTS} slots, {CLIENTS} clients, {self.service.directory}")
        self.start()
        self._touch_everything()
        clients = [threading.Thread(target=self._client, args=(i,), daemon=True) for i in range(CLIENTS)]
        for client in clients:
            client.start()
        began = time.monotonic()
        warm_at, period = began + self.seconds / 5, min(10, self.seconds / 40)
        while (now := time.monotonic()) < began + self.seconds and not self.wrong:
            seen = {name: look(process) for name, process in self.daemons.items()}
            if now >= warm_at:
                for name, values in seen.items():
                    self.samples.setdefault(name, []).append(values)
            if period >= 5:
                self.say(self._line(now - began, seen, now < warm_at))
            time.sleep(max(0, began + self.seconds - now if now + period > began + self.seconds else period))
        self._is_over.set()
        for client in clients:
            client.join(150)
        return self.judge()

    def _line(self, at, seen, is_warming):
        memory = int(next(line.split(":")[1] for line in self.service.redis.command("INFO", "memory").splitlines() if line.startswith("used_memory:")))
        parts = [f"{name} {values['rss'] / 2**20:8.2f} MiB, {values['files']} files" for name, values in seen.items()]
        return f"{at:5.0f} s  {'; '.join(parts)}; redis {memory / 2**20:.1f} MiB; {self.ended['completed']} tasks{'  (warming up)' if is_warming else ''}"

    def growth(self, name, member):
        values = [sample[member] for sample in self.samples[name]]
        third = max(1, len(values) // 3)
        return statistics.median(values[-third:]) - statistics.median(values[:third])

    def judge(self):
        for name in self.daemons:
            if not self.daemons[name].is_running():
                self.wrong.append(f"{name} ended")
        for name in self.samples:
            grown = {member: self.growth(name, member) for member in ("rss", "anonymous", "files", "threads")}
            self.say(f"{name}: rss {grown['rss'] / 2**10:+.0f} KiB, anonymous {grown['anonymous'] / 2**10:+.0f} KiB, "
                     f"files {grown['files']:+g}, threads {grown['threads']:+g}, from the first third to the last")
            if grown["anonymous"] > GROWTH_MAX:
                self.wrong.append(f"{name} grew by {grown['anonymous'] / 2**20:.1f} MiB")
            if grown["threads"] > 0:
                self.wrong.append(f"{name} has {grown['threads']:g} threads more")
            if name == "worker" and grown["files"] > 0:
                self.wrong.append(f"{name} has {grown['files']:g} files more")
        if not self.ended["completed"]:
            self.wrong.append("nothing was completed")
        self.say(f"{self.ended['completed']} completed, {self.ended['cancelled']} cancelled")
        return not self.wrong

    def close(self):
        """End everything; what a sanitizer complained about."""
        complaints = self.service.close()
        if not self.wrong and not complaints:
            self.service.remove()
        return complaints


def main():
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Never idle, and nothing grows.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--model", default="small", choices=("tiny", "mini", "small", "base"))
    parser.add_argument("--threads", type=int, default=1, help="of the worker's engine")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    folder = next(kronosq.MODELS.glob(f"{options.model}-seed*"))
    context = {"tiny": 48}.get(options.model, 512)
    soak = Soak(options.minutes * 60, folder.name, context, options.seed, options.threads, say=lambda text: print(text, flush=True))
    is_good = False
    try:
        is_good = soak.go()
    finally:
        complaints = soak.close()
    for sentence in soak.wrong + complaints:
        print(f"wrong: {sentence}")
    return 0 if is_good and not complaints else 1


if __name__ == "__main__":
    sys.exit(main())
