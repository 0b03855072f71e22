"""The whole service under load: its own Redis, one API, workers with a model of real size, and clients that count.

saturated   more clients than slots, for each number of workers and slots: series per second, and what one of them waits
rates       tasks at random times (Poisson), so many a second: what a client waits, counted from when a task was due
urgent      an urgent task on an idle service, and behind a full backlog of low ones
memory      four workers with all slots in use: what they take together (PSS)
start       a worker from its start to ready, the weights in the page cache
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import programs

os.environ["KRONOSQ_BUILD"] = str(programs.BUILD)
sys.path.insert(0, str(programs.ROOT / "tests/support"))

import kronosq  # noqa: E402

NAME = "bench"
MARK = "@@@@@@@@@@"
URGENT_SLOTS = 8         # the default of kronosq-worker
BACKLOG = 400
MEMORY_WORKERS = 4
MEMORY_REST = 40 << 20   # what a worker may take beside weights and slots
STARTS = 7


class Fleet(kronosq.Service):
    """Redis, the API, and workers of the measured model."""

    def __init__(self, options, folder, context):
        super().__init__()
        self.options, self.folder, self.context = options, folder, context

    def __enter__(self):
        self.start_redis()
        self.start_api()
        return self

    def __exit__(self, *_):
        self.close()
        self.remove()

    def start_api(self, *_, **__):
        arguments = [kronosq.BUILD / "kronosq-api", "--listen", "127.0.0.1:0", "--redis", self.redis.url, "--default-model", NAME,
                     "--rate-limit-enabled", "false"]
        self.api = kronosq.Process("api", arguments, self.directory, kronosq.environment())
        self.processes.append(self.api)

        def listening():
            if not self.api.is_running():
                sys.exit(f"bench: kronosq-api ended:\n{self.api.log()}")
            return self.api.log_lines(event="listening")
        self.port = kronosq.wait_for(listening, 20, "the API listens")[0]["port"]
        return self.api

    def start_worker(self, *flags, wait=True, **_):
        arguments = [kronosq.BUILD / "kronosq-worker", "--model", self.folder / "model", "--tokenizer", self.folder / "tokenizer",
                     "--name", NAME, "--redis", self.redis.url, "--max-context", self.context, "--drain-timeout", 0, *flags]
        worker = kronosq.Process(f"worker-{len(self.processes)}", arguments, self.directory, kronosq.environment())
        self.processes.append(worker)
        if wait:
            self.wait_ready(worker)
        return worker

    def wait_ready(self, worker):
        while not (lines := worker.log_lines(event="ready")):
            if not worker.is_running():
                sys.exit(f"bench: kronosq-worker ended:\n{worker.log()}")
            time.sleep(0.0005)
        return lines[0]

    def start_workers(self, n, slots):
        workers = [self.start_worker("--slots", slots, wait=False) for _ in range(n)]
        for worker in workers:
            self.wait_ready(worker)
        return workers

    def body(self, priority):
        """A file with the request; every request gets another seed, so that no task is another's twin."""
        request = kronosq.single_body(history=self.options.history, steps=self.options.horizon, priority=priority,
                                      overrides={"context_mode": "fit", "sample_count": 1, "seed": MARK})
        path = pathlib.Path(self.directory) / f"body-{priority}"
        path.write_text(json.dumps(request).replace(f'"{MARK}"', MARK))
        return path

    def load(self, priority, *arguments):
        """The generator, running."""
        return programs.start("load", "--port", self.port, "--body", self.body(priority), *arguments)

    def stat(self, name):
        return int(self.redis.command("HGET", f"kq:{{{NAME}}}:stats", name) or 0)

    def depth(self):
        return sum(self.redis.command("ZCARD", f"kq:{{{NAME}}}:queued:{p}") for p in ("urgent", "normal", "low"))


def row_of(report, name):
    return next((r for r in report["rows"] if r["name"] == name), None)


def latencies(report):
    """Detail of a row: the generator's share, and quantiles of each stretch of a task's way."""
    found = {"generator_share": report["generator"]["cpu_share"]}
    for name in ("submit", "wait", "run", "end to end"):
        r = row_of(report, name)
        if r:
            label = name.replace(" ", "_")
            found.update({f"{label}_p50_s": r["value"], f"{label}_p95_s": r["detail"]["p95"], f"{label}_p99_s": r["detail"]["p99"]})
    return found


def check(fleet, report):
    """The generator and the service count the same tasks, or nothing it says is worth a line."""
    counts = report["counts"]
    if counts["refused"] or counts["failed"]:
        sys.exit(f"bench: tasks were refused or failed: {counts}")
    if counts["completed"] != fleet.stat("completed") or counts["submitted"] != fleet.stat("submitted"):
        sys.exit(f"bench: the generator counts {counts}, the service {fleet.stat('submitted')} submitted, "
                 f"{fleet.stat('completed')} completed")


def saturated(options, folder, context, shares):
    rows = []
    for workers in options.workers:
        for slots in options.slots:
            with Fleet(options, folder, context) as fleet:
                fleet.start_workers(workers, slots)
                report = programs.finish(fleet.load("normal", "--clients", 2 * workers * slots + 2, "--seconds", options.seconds,
                                                    "--warm-up", options.warm_up))
                check(fleet, report)
            share = shares[0 if workers == 1 else 1][str(slots)] if str(slots) in shares[0] else None
            row = {"name": f"saturated {workers} workers {slots} slots", "unit": "1/s", "better": "higher",
                   "value": row_of(report, "throughput")["value"],
                   "where": {"workers": workers, "slots": slots},
                   "detail": {"clients": report["generator"]["connections"], **latencies(report), **report["counts"]}}
            if share:
                cores = min(workers, os.cpu_count())
                row["floor"] = cores / share["bare"]
                row["detail"]["floor_with_kv"] = cores / share["with_kv"]
            rows.append(row)
    return rows


def rates(options, folder, context, _):
    rows = []
    workers = os.cpu_count()
    for rate in options.rates:
        with Fleet(options, folder, context) as fleet:
            fleet.start_workers(workers, URGENT_SLOTS)
            report = programs.finish(fleet.load("normal", "--rate", rate, "--seconds", options.seconds, "--warm-up", options.warm_up))
            check(fleet, report)
        end = row_of(report, "end to end")
        rows.append({**end, "name": f"{rate:g} tasks a second", "where": {"workers": workers, "slots": URGENT_SLOTS, "rate": rate},
                     "detail": {**end["detail"], **latencies(report), "sent_late_by_s": report["generator"]["latest_seconds"]}})
    return rows


def urgent(options, folder, context, _):
    reports = {}
    workers = os.cpu_count()
    count = options.tasks
    with Fleet(options, folder, context) as fleet:
        fleet.start_workers(workers, URGENT_SLOTS)
        programs.finish(fleet.load("urgent", "--clients", 1, "--count", 2))  # pages and averages
        reports["idle"] = programs.finish(fleet.load("urgent", "--clients", 1, "--count", count, "--seconds", 600, "--first", 2000000000))
        programs.finish(fleet.load("low", "--submit-only", BACKLOG, "--first", 3000000000))
        # full: every slot that low ones may have is taken
        busy = workers * (URGENT_SLOTS - 1)
        kronosq.wait_for(lambda: fleet.depth() <= BACKLOG - busy, 60, "the workers are full")
        reports["behind low"] = programs.finish(fleet.load("urgent", "--clients", 1, "--count", count, "--seconds", 600,
                                                           "--first", 4000000000))
        left = fleet.depth()
    rows = []
    for name, report in reports.items():
        end = row_of(report, "end to end")
        rows.append({**end, "name": f"urgent, {name}", "where": {"workers": workers, "slots": URGENT_SLOTS, "load": name},
                     "detail": {**end["detail"], **latencies(report)}})
    p95 = {name: row_of(r, "end to end")["detail"]["p95"] for name, r in reports.items()}
    wait, run = (row_of(reports["behind low"], name)["detail"]["p95"] for name in ("wait", "run"))
    alone = row_of(reports["idle"], "run")["detail"]["p95"]
    bound = (f"of {p95['behind low']:.2f} s it waits {wait:.3f} s for its slot and runs {run:.2f} s beside {URGENT_SLOTS - 1} low ones, "
             f"{alone:.2f} s alone: its steps are as long as those of everybody in them, and the prefills of low ones go between")
    if left == 0:
        bound = "the backlog was empty before the end: not a measurement of anything"
    rows.append({"name": "urgent behind low / idle, p95", "unit": "x", "better": "lower", "value": p95["behind low"] / p95["idle"],
                 "detail": {"bound": bound, "low_still_waiting": left}})
    return rows


def pss(worker):
    """Bytes: all, anonymous, file pages; shared ones divided by those who share them."""
    rollup = pathlib.Path(f"/proc/{worker.pid}/smaps_rollup").read_text(encoding="ascii")
    kib = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
    return {name: kib.get(member, 0) << 10 for name, member in (("all", "Pss"), ("anonymous", "Pss_Anon"), ("file", "Pss_File"),
                                                              ("shmem", "Pss_Shmem"))}


def kv_bytes(folder, slots, context):
    """Keys and values of all slots: float32, one more layer for the dependency layer."""
    config = json.loads((folder / "model/config.json").read_text(encoding="utf-8"))
    return slots * context * (config["n_layers"] + 1) * 2 * config["d_model"] * 4


def memory(options, folder, context, _):
    weights = sum(path.stat().st_size for path in folder.glob("*/model.safetensors"))
    kv = kv_bytes(folder, URGENT_SLOTS, context)
    most = {"all": 0}
    with Fleet(options, folder, context) as fleet:
        workers = fleet.start_workers(MEMORY_WORKERS, URGENT_SLOTS)
        load = fleet.load("normal", "--clients", 2 * MEMORY_WORKERS * URGENT_SLOTS, "--seconds", options.seconds)
        while load.poll() is None:
            sums = [pss(worker) for worker in workers]
            now = {name: sum(s[name] for s in sums) for name in sums[0]}
            most = now if now["all"] > most["all"] else most
            try:
                load.wait(0.1)
            except subprocess.TimeoutExpired:
                pass
        check(fleet, programs.finish(load))
    goal = weights + MEMORY_WORKERS * (kv + MEMORY_REST)
    return [{"name": f"memory of {MEMORY_WORKERS} workers", "unit": "B", "better": "lower", "value": most["all"],
             "where": {"workers": MEMORY_WORKERS, "slots": URGENT_SLOTS, "goal_bytes": goal},
             "detail": {"anonymous": most["anonymous"], "file": most["file"], "shmem": most["shmem"], "weight_files": weights,
                        "kv_of_a_worker": kv, "rest_of_a_worker": (most["all"] - weights) / MEMORY_WORKERS - kv}}]


def start(options, folder, context, _):
    seconds, said = [], []
    with Fleet(options, folder, context) as fleet:
        for _ in range(STARTS + 1):  # the first brings the weights into the page cache
            before = time.monotonic()
            worker = fleet.start_worker(wait=False)
            said.append(fleet.wait_ready(worker)["start_ms"] / 1000)
            seconds.append(time.monotonic() - before)
            worker.stop()
    low, middle, high = statistics.quantiles(seconds[1:], n=4)
    return [{"name": "worker start to ready", "unit": "s", "better": "lower", "value": middle, "low": low, "high": high, "n": STARTS,
             "detail": {"of_it_by_its_own_clock": statistics.median(said[1:])}}]


SCENARIOS = {"saturated": saturated, "rates": rates, "urgent": urgent, "memory": memory, "start": start}


def measure(options, folder, context):
    """All rows of the scenarios asked for."""
    machine, shares = programs.machine(folder, both=True, context=context)
    wanted = SCENARIOS if options.scenario == "all" else {options.scenario: SCENARIOS[options.scenario]}
    rows = []
    for scenario in wanted.values():
        rows += scenario(options, folder, context, shares)
    return {"machine": machine, "rows": rows,
            "setup": {"context": context, "history": options.history, "horizon": options.horizon, "samples": 1, "window": "fit"}}
