"""One Redis, several APIs and workers, all of which may be killed, frozen and ended, and come back.

Who ends by itself is judged by its exit status and started again; who is found stopped is continued after a
while, because a failpoint may have stopped it. All of it from one thread: the kernel ends a child with the
thread that started it.
"""
import os
import pathlib
import shutil
import signal
import tempfile
import time
from collections import Counter

import kronosq
from kronosq import BUILD, MODELS, environment
from proxy import Proxy
from receiver import Receiver

CRASH_SEED = 666_666  # computing a task of this seed kills the worker
GAVE_UP = 75
ROOM_BYTES = 256 * 2**20  # for the AOF and the logs of a long run


def make_directory():
    """In memory where possible: on a busy disk Redis may hold back the AOF for up to 2 s behind an fsync, and then
    killing its process loses what it acknowledged. That is a documented limit of `everysec`, and not ours."""
    in_memory = "/dev/shm"
    has_room = os.access(in_memory, os.W_OK) and shutil.disk_usage(in_memory).free > ROOM_BYTES
    return pathlib.Path(tempfile.mkdtemp(prefix="kronosq-chaos-", dir=in_memory if has_room else None))


class Member:
    """A daemon's place in the fleet; processes come and go in it."""

    def __init__(self, name, start):
        self.name, self.start = name, start
        self.process = None
        self.lives = 0
        self.start_at = 0.0        # when it is to run again
        self.continue_at = None    # when a stopped one is to go on
        self.expected = None       # the exit status we caused

    @property
    def is_up(self):
        return self.process is not None and self.process.is_running() and self.continue_at is None

    def port(self):
        """Where an API listens; None until it says so."""
        lines = self.process.log_lines(event="listening") if self.is_up else []
        return lines[0]["port"] if lines else None


class Fleet:
    def __init__(self, rng, workers=4, apis=2, lease_ms=1500, failpoints=""):
        self.rng, self.lease_ms, self.failpoints = rng, lease_ms, failpoints
        self.directory = make_directory()
        self.redis = kronosq.Redis(self.directory, "--enable-debug-command", "local", "--appendfsync", "everysec")
        self.redis_start_at = 0.0
        self.redis_lives = 0
        self.proxy = Proxy(self.directory / "proxy.sock", self.redis.socket_path)
        self.counts = Counter()
        self.unexpected = []       # ends that nobody caused
        self.past = []             # every process that ever ran
        self.workers = [Member(f"worker-{i}", self._worker(i)) for i in range(workers)]
        self.apis = [Member(f"api-{i}", self._api(i)) for i in range(apis)]
        self.receiver = Receiver()
        self._masters = self.directory / "masters"
        self._masters.touch(mode=0o600)
        self._masters.write_text("A" * 43 + "=\n")
        self.hooks = [Member(f"webhook-{i}", self._webhook(i)) for i in range(2)]
        self._ports = {}
        self.ports = []            # of the APIs that can be asked now; any thread may read it

    # ---- starting ----

    def _redis_url(self, i):
        return self.proxy.url if i % 2 else self.redis.url

    def _worker(self, i):
        model = MODELS / "tiny-seed7"
        flags = [BUILD / "kronosq-worker", "--model", model / "model", "--tokenizer", model / "tokenizer", "--name", "tiny",
                 "--redis", self._redis_url(i), "--max-context", 48, "--lease-ms", self.lease_ms,
                 "--slots", (1, 2, 4, 8)[i % 4], "--step-delay-ms", (10, 30, 60)[i % 3], "--drain-timeout", 1]
        return lambda: (flags, f"{self.failpoints}crash_seed:{CRASH_SEED},seed:{self.rng.getrandbits(32)}")

    @property
    def members(self):
        return self.workers + self.apis + self.hooks

    def _hook_flags(self):
        return ["--webhook-secret-file", self._masters, "--webhook-allow-http", "true", "--webhook-allow-cidr", "127.0.0.0/8",
                "--webhook-ports", self.receiver.port]

    def _webhook(self, i):
        flags = lambda: [BUILD / "kronosq-webhook", "--redis", self._redis_url(i), "--default-model", "tiny", "--retry-scale", "0.02",
                         *self._hook_flags()]
        points = ("after_hook_claim", "before_hook_send", "after_hook_send", "after_hook_done")
        return lambda: (flags(), ("".join(f"{p}:0.01," for p in points) if self.failpoints else "") + f"seed:{self.rng.getrandbits(32)}")

    def _api(self, i):
        flags = [BUILD / "kronosq-api", "--listen", "127.0.0.1:0", "--redis", self._redis_url(i), "--default-model", "tiny",
                 "--admission", "false"]  # deadlines are here to pass
        fail = "before_submit:0.002,after_submit:0.002," if self.failpoints else ""
        return lambda: ([*flags, *self._hook_flags()], f"{fail if self.failpoints else ''}seed:{self.rng.getrandbits(32)}")

    def start(self):
        self.redis.start()
        self.redis_lives = 1
        self.tend()

    def _launch(self, member):
        flags, fail = member.start()
        member.lives += 1
        member.process = kronosq.Process(f"{member.name}.{member.lives}", flags, self.directory, environment(KRONOS_FAIL=fail))
        member.expected = member.continue_at = None
        self.past.append(member.process)

    # ---- what the main loop does again and again ----

    def tend(self):
        now = time.monotonic()
        if not self.redis.process.is_running() and now >= self.redis_start_at:
            self.redis.start()
            self.redis_lives += 1
        for member in self.members:
            if member.process is not None and not member.process.is_running():
                self._bury(member, now)
            if member.process is None:
                if now >= member.start_at:
                    self._launch(member)
            elif member.continue_at is None:
                if is_stopped(member.process.pid):
                    self._stalled(member, now)
            elif now >= member.continue_at:
                member.process.signal(signal.SIGCONT)
                member.continue_at = None
        self._look_for_ports()

    def _bury(self, member, now):
        status, kind = member.process.popen.returncode, member.name.split("-")[0]
        if status == -signal.SIGKILL and member.expected != status:
            self.counts[f"{kind} kills"] += 1      # a failpoint, or poison
        elif status == GAVE_UP:
            self.counts["gave up"] += 1
        elif status != member.expected and not (status == -signal.SIGTERM and not is_started(member.process)):
            self.unexpected.append(f"{member.process.name} ended with {status}, not {member.expected}")
        member.process = None
        member.start_at = now + self.rng.choice((0, 0, 0.2, 1.5))

    def _stalled(self, member, now):
        self.counts["stalls past the lease"] += 1
        member.continue_at = now + self.lease_ms / 1000 * self.rng.uniform(1.1, 2.2)

    # ---- faults ----

    def kill(self, member):
        member.expected = -signal.SIGKILL
        self.counts[f"{member.name.split('-')[0]} kills"] += 1
        member.process.kill()

    def stall(self, member):
        member.process.signal(signal.SIGSTOP)
        self._stalled(member, time.monotonic())

    def end(self, member):
        """TERM, as a deployment does."""
        member.expected = 0
        self.counts["terms"] += 1
        member.process.signal(signal.SIGTERM)

    def kill_redis(self, seconds):
        self.counts["redis kills"] += 1
        self.redis.kill()
        self.redis_start_at = time.monotonic() + seconds

    # ---- looking ----

    def _look_for_ports(self):
        found = []
        for api in self.apis:
            if api.is_up:
                if api.process not in self._ports and api.port() is not None:
                    self._ports[api.process] = api.port()
                if api.process in self._ports:
                    found.append(self._ports[api.process])
        self.ports = found

    def stats(self):
        """The queue's counters; None while Redis does not answer."""
        try:
            flat = self.redis.command("HGETALL", "kq:{tiny}:stats")
        except (OSError, kronosq.RedisError):
            return None
        return Counter(dict(zip(flat[::2], map(int, flat[1::2]))))

    # ---- the end ----

    def calm(self):
        """Everybody is continued, restarted without failpoints and left alone."""
        self.failpoints = ""
        self.redis_start_at = 0
        self.tend()
        for member in self.members:
            if member.continue_at is not None:
                member.continue_at = 0
            if member.process is not None and member.process.is_running():
                self.end(member)
        self.tend()

    def close(self):
        members = [m for m in self.members if m.process is not None]
        for member in members:
            member.expected = 0
            if member.process.is_running():
                member.process.signal(signal.SIGCONT)
                member.process.signal(signal.SIGTERM)
        for member in members:
            try:
                status = member.process.stop(40)
            except AssertionError as late:
                self.unexpected.append(str(late))
                continue
            if status not in (0, -signal.SIGKILL):
                self.unexpected.append(f"{member.process.name} ended with {status}, not 0")
        if self.redis.process.is_running():
            self.redis.kill()
        self.proxy.close()
        self.receiver.close()

    def complaints(self):
        """What sanitizers wrote into any log."""
        return [f"{p.name}: {p.log()[-3000:]}" for p in self.past
                if "Sanitizer" in p.log() or "runtime error:" in p.log()]

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def is_started(process):
    """Before that a TERM may meet a process that does not catch it yet."""
    return process.log_lines(event="ready") or process.log_lines(event="listening")


def is_stopped(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
