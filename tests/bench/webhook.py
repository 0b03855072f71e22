"""How fast kronosq-webhook delivers to a receiver that is quick: events a second, CPU and memory of the daemon.

The events are of tasks that were cancelled, put into the outbox by the queue's own scripts, all due at once.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("KRONOSQ_BUILD", str(ROOT / "build/release"))
sys.path.insert(0, str(ROOT / "tests/support"))

from kronosq import BUILD, Service, single_body, wait_for  # noqa: E402

BATCH = 500


def ask(receiver):
    receiver.stdin.write("\n")
    receiver.stdin.flush()
    return int(receiver.stdout.readline())


def usage(pid):
    """(CPU seconds, peak resident MiB)"""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), peak / 1024


def fill(service, url, n):
    """One real ended task, and n events about it that only differ by key."""
    task_id = service.submit(single_body(webhook={"url": url}))
    service.post(f"/v1/tasks/{task_id}/cancel", b"")
    key = next(k for k in service.redis.keys() if ":delivery:" in k)
    script = """for i = 1, ARGV[1] do
      redis.call('COPY', KEYS[1], KEYS[2] .. i)
      redis.call('ZADD', KEYS[3], 1, string.sub(KEYS[2] .. i, #'kq:{tiny}:delivery:' + 1))
    end"""
    for first in range(0, n, BATCH):
        service.redis.command("EVAL", script, 3, key, f"{key}-{first}-", "kq:{tiny}:webhook", min(BATCH, n - first))


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench webhook", description=__doc__)
    parser.add_argument("--events", type=int, default=10000)
    parser.add_argument("--per-host", type=int, default=4)
    options = parser.parse_args()
    receiver = subprocess.Popen([BUILD / "tests/bench/webhook_receiver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = int(receiver.stdout.readline())
    service = Service().start_redis()
    try:
        service.write_masters()
        settings = service.webhook_settings(port)
        service.start_api(**settings)
        fill(service, f"http://127.0.0.1:{port}/hook", options.events)
        service.api.stop()
        daemon = service.start_webhook("--webhook-per-host", str(options.per_host), **settings)
        wait_for(lambda: ask(receiver) > 0, 10)
        began, first, cpu = time.monotonic(), ask(receiver), usage(daemon.pid)[0]
        wait_for(lambda: ask(receiver) >= options.events, 120, "all events have come")
        seconds, n = time.monotonic() - began, ask(receiver) - first
        wait_for(lambda: service.redis.command("ZCARD", "kq:{tiny}:webhook") == 0, 30, "Redis knows of all of them")
        used, peak = usage(daemon.pid)
        print(f"{n / seconds:.0f} deliveries/s; {(used - cpu) / n * 1e6:.0f} us of CPU each ({n / (used - cpu):.0f} a second of one core); "
              f"peak {peak:.1f} MiB resident; {ask(receiver)} came of {options.events + 1} events")
    finally:
        service.close()
        receiver.stdin.close()
        receiver.wait(10)
        service.remove()


if __name__ == "__main__":
    main()
