"""kronosq-webhook alone: deliveries a second to a receiver that is quick, its CPU and memory, and what an event waits beside dead receivers.

The events that are due at once are of a task that was cancelled, put into the outbox by the queue's own scripts and copied there.
"""
import os
import pathlib
import subprocess
import sys
import time

import programs

os.environ["KRONOSQ_BUILD"] = str(programs.BUILD)
sys.path.insert(0, str(programs.ROOT / "tests/support"))

from hook_neighbours import Neighbours, fill, quantile  # noqa: E402
from kronosq import BUILD, Service, cpu_seconds, wait_for  # noqa: E402

PER_SECOND = 50  # events one after another, to see what one waits


def ask(receiver):
    receiver.stdin.write("\n")
    receiver.stdin.flush()
    return int(receiver.stdout.readline())


def peak_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) << 10


def throughput(events, per_host):
    receiver = subprocess.Popen([BUILD / "tests/bench/webhook_receiver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = int(receiver.stdout.readline())
    service = Service().start_redis()
    try:
        service.write_masters()
        settings = service.webhook_settings(port)
        service.start_api(**settings)
        fill(service, f"http://127.0.0.1:{port}/hook", events)
        service.api.stop()
        daemon = service.start_webhook("--webhook-per-host", str(per_host), **settings)
        wait_for(lambda: ask(receiver) > 0, 10)
        began, first, cpu = time.monotonic(), ask(receiver), cpu_seconds(daemon.pid)
        wait_for(lambda: ask(receiver) >= events, 120, "all events have come")
        seconds, n = max(time.monotonic() - began, 1e-6), max(ask(receiver) - first, 1)
        wait_for(lambda: service.redis.command("ZCARD", "kq:{tiny}:webhook") == 0, 30, "Redis knows of all of them")
        used, peak = cpu_seconds(daemon.pid) - cpu, peak_bytes(daemon.pid)
    finally:
        service.close()
        receiver.stdin.close()
        receiver.wait(10)
        service.remove()
    return [{"name": "deliveries to a quick receiver", "unit": "1/s", "better": "higher", "value": n / seconds},
            {"name": "deliveries per second of CPU time", "unit": "1/s", "better": "higher", "value": n / used},
            {"name": "CPU of a delivery", "unit": "s", "better": "lower", "value": used / n},
            {"name": "resident memory, peak", "unit": "B", "better": "lower", "value": float(peak)}]


def delay_row(name, delays):
    return {"name": name, "unit": "s", "better": "lower", "value": quantile(delays, 0.5), "low": quantile(delays, 0.25),
            "high": quantile(delays, 0.75), "n": len(delays),
            "detail": {"p95_s": quantile(delays, 0.95), "p99_s": quantile(delays, 0.99), "most_s": max(delays)}}


def delays(seconds, owed):
    service = Service().start_redis()
    neighbours = Neighbours(service)
    try:
        n = max(10, int(seconds * PER_SECOND))
        alone = neighbours.delays(n, PER_SECOND, "/alone")
        neighbours.burden(owed)
        beside = neighbours.delays(n, PER_SECOND, "/beside")
    finally:
        neighbours.close()
        service.close()
        service.remove()
    return [delay_row("outbox to receiver, alone", alone), delay_row("outbox to receiver, beside dead ones", beside)]


def measure(options):
    rows = throughput(options.events, options.per_host) + delays(options.seconds, options.owed)
    return {"setup": {"events": options.events, "per_host": options.per_host, "owed_to_each_of_3_dead": options.owed}, "rows": rows}
