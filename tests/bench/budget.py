"""On paper: what Redis and the API have to do for many workers, from the measured cost of each call."""
import saved
import table

WORKERS = (2, 10, 100, 1000)
TASKS_A_SECOND = 2.0       # of a worker, where no run of the service says it
BEAT_SECONDS = 5.0         # between beats of a worker, and between renewals of its leases
SWEEP_SECONDS = 0.5        # between sweeps of a process; nearly all are throttled
KEPT_SECONDS = 3600.0      # results kept for an hour


def rate_of(service):
    """Tasks per second of one worker when all cores are busy."""
    best = max((r for r in (service or {}).get("rows", []) if r["name"].startswith("saturated")),
               key=lambda r: r["value"], default=None)
    return best["value"] / best["where"]["workers"] if best else TASKS_A_SECOND


def redis_share(queue, workers, rate):
    """Of one core, the only one a Redis has: tasks, and what workers send because they are there."""
    cost = {r["name"]: r["detail"]["redis_cpu"] for r in queue["rows"] if r["name"].startswith("call ")}
    tasks = saved.value(queue, "redis CPU of a task") * rate
    presence = (cost["call beat"] + cost["call renew"]) / BEAT_SECONDS + cost["call sweep"] / SWEEP_SECONDS
    return workers * tasks, workers * presence


def print_budget(queue, service, api):
    rate = rate_of(service)
    size = queue["setup"]["input_bytes"] + queue["setup"]["output_bytes"]
    kept = saved.value(queue, "memory of a result kept")
    submit = min((r["value"] for r in (api or {}).get("rows", []) if r.get("where", {}).get("request") == "submit JSON"), default=None)
    head = ["workers", "tasks", "Redis: tasks", "Redis: presence", "append-only file", "results of an hour"]
    lines = [tuple(head + (["API: submits"] if submit else []))]
    for workers in WORKERS:
        tasks, presence = redis_share(queue, workers, rate)
        line = [str(workers), f"{workers * rate:.0f} /s", f"{100 * tasks:.1f} %", f"{100 * presence:.1f} %",
                f"{workers * rate * size / 1e6:.1f} MB/s", table.shown(workers * rate * KEPT_SECONDS * kept, "B")]
        lines.append(tuple(line + ([f"{100 * workers * rate * submit:.1f} %"] if submit else [])))
    print(f"\non paper, {rate:.2f} tasks per second of each worker; % of one core")
    for line in table.columns(lines):
        print(line)
