"""Start the real thing: a private Redis, the daemons, and sockets to talk to them.

Everything started here is ended here, by process id; logs go to files and are shown by the fixture only when
a test failed. Nothing waits for a time: wait_for() waits for a condition, with a deadline.
"""
import base64
import ctypes
import datetime
import json
import math
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import contract

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
BUILD = pathlib.Path(os.environ.get("KRONOSQ_BUILD", ROOT / "build/debug"))
DEFAULT_NAME = "kronos-small"  # what KRONOS_MODEL_NAME and KRONOS_DEFAULT_MODEL are when nobody sets them
FULL = os.environ.get("KRONOSQ_FULL") == "1"  # scripts/test --full: times as they are by default, not shortened
MODELS = pathlib.Path(os.environ.get("KRONOSQ_TEST_MODELS", ROOT / "build/test-models"))


def wait_for(condition, seconds, what=None):
    """Call condition() until it returns something true, and return that; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.01)


def at_best(measure, limit, times=3):
    """measure() does something and returns how many seconds it took: of up to three times one is below `limit`. Other work
    on the machine makes a thing slower and never quicker, so one that was quick enough shows what is promised."""
    least = math.inf
    for _ in range(times):
        least = min(least, measure())
        if least < limit:
            return least
    raise AssertionError(f"took {least:.3f} s at best of {times}, which must be below {limit} s")


def passes(seconds):
    """Some time in which nothing is done, where just that is what is measured."""
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= until, seconds + 5)


def free_port():
    """For a program that cannot be told 0. The kernel gives out others to those who ask for any, so it stays free."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    while True:
        port = random.SystemRandom().randrange(10_000, max(first, 20_000))
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def seconds_since(text):
    """1970, of a time in a document or a log line."""
    return datetime.datetime.fromisoformat(text).timestamp()


def seconds_of_stopping(process):
    """From the signal to the end, as the log has it; the sanitizers look for leaks after that."""
    first, = process.log_lines(message="stopping")
    last, = process.log_lines(message="stopped")
    return seconds_since(last["timestamp"]) - seconds_since(first["timestamp"])


def cpu_seconds(pid):
    """Of all threads; the clock ticks of /proc/PID/stat are as coarse as what is measured."""
    used_ns = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
            used_ns += int(f.read().split()[0])
    return used_ns / 1e9


def environment(**settings):
    """The environment of a daemon: nothing of ours leaks in, sanitizers on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KRONOS_")}
    kept.pop("CACHE_DIRECTORY", None)
    kept["XDG_CACHE_HOME"] = str(BUILD / "cache")  # prepared weights; not the user's own
    kept.update({name: str(value) for name, value in settings.items()})
    return kept


class Process:
    """A daemon with its log in a file."""

    def __init__(self, name, arguments, directory, env=None):
        self.name = name
        self.log_path = pathlib.Path(directory) / f"{name}.log"
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=env or environment(), cwd=ROOT, start_new_session=True,
                                          # should pytest itself be killed, nothing stays behind
                                          preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))

    @property
    def pid(self):
        return self.popen.pid

    def is_running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        """SIGKILL, as a machine that loses power."""
        if self.is_running():
            self.popen.kill()
        return self.popen.wait()

    def stop(self, seconds=40):
        """SIGTERM; returns the exit status."""
        if self.is_running():
            self.popen.terminate()
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.name} did not end within {seconds} s of SIGTERM") from None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def lines_that_are_no_json(self):
        """What a daemon wrote that no reader of its log would understand."""
        wrong = []
        for line in self.log().splitlines():
            try:
                is_line = {"timestamp", "level", "logger", "message"} <= json.loads(line).keys()
            except (ValueError, AttributeError):
                is_line = False
            if not is_line:
                wrong.append(f"{self.name} logged: {line[:500]}")
        return wrong[:5]

    def log_lines(self, **members):
        """The JSON lines of the log that have all these members."""
        found = []
        for line in self.log().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and all(entry.get(name) == value for name, value in members.items()):
                found.append(entry)
        return found


class Redis:
    """A private redis-server on a unix socket, with AOF, in its own directory; more flags override ours.

    It never syncs: with `everysec` a busy disk makes it put off writes to the AOF for up to 2 s, and a kill then takes what
    it had acknowledged (docs/operations.md says so). Without, what was answered has been written."""

    def __init__(self, directory, *flags):
        self.directory = pathlib.Path(directory)
        self.flags = flags
        self.socket_path = self.directory / "redis.sock"
        self.url = f"unix://{self.socket_path}"
        self.process = None

    def start(self):
        self.process = Process("redis", [
            "redis-server", "--port", "0", "--unixsocket", self.socket_path, "--dir", self.directory,
            "--appendonly", "yes", "--appendfsync", "no", "--save", "", "--maxmemory-policy", "noeviction", *self.flags],
                               self.directory)
        wait_for(self.answers, 30, "Redis answers")
        return self

    def answers(self):
        try:
            return self.command("PING") == "PONG"
        except (OSError, RedisError):
            return False

    def kill(self):
        self.process.kill()

    def stop(self):
        self.process.stop(30)

    def command(self, *words):
        """One command over a connection of its own; replies as str, int, None, list; bytes where not UTF-8."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(self.socket_path))
            out = b"*%d\r\n" % len(words)
            for word in words:
                word = word if isinstance(word, bytes) else str(word).encode()
                out += b"$%d\r\n%s\r\n" % (len(word), word)
            s.sendall(out)
            return _read_reply(s.makefile("rb"))

    def keys(self):
        return sorted(self.command("KEYS", "*"))


class RedisError(Exception):
    pass


def _read_reply(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise OSError("Redis closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest.decode()
    if kind == b"-":
        raise RedisError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        if rest == b"-1":
            return None
        data = stream.read(int(rest) + 2)[:-2]
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
    return None if rest == b"-1" else [_read_reply(stream) for _ in range(int(rest))]


class Reply:
    """An HTTP reply: status, headers (lower-case names), body bytes, JSON; how many seconds it took, where that is known."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.seconds = None

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Service:
    """One Redis, and the daemons a test asks for.

    `model` is a folder of build/test-models, served as `tiny`, with the context its golden cases have. None: as a user
    starts it, with nothing named, which serves the bundled model under the default name."""

    def __init__(self, directory=None, model="tiny-seed7"):
        self.model = model
        self.name = DEFAULT_NAME if model is None else "tiny"
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="kronosq-test-"))
        self.owns_directory = directory is None
        self.redis = Redis(self.directory)
        self.processes = []
        self.api = None
        self.port = None

    # ---- processes ----

    def start_redis(self):
        self.redis.start()
        return self

    def start_api(self, *flags, wait=True, **settings):
        name = f"api-{len(self.processes)}"
        arguments = [BUILD / "kronosq-api", "--listen", "127.0.0.1:0", "--redis", self.redis.url, *self._named("--default-model"), *flags]
        self.api = Process(name, arguments, self.directory, environment(**settings))
        self.processes.append(self.api)
        if wait:
            def listening():
                assert self.api.is_running(), f"kronosq-api ended:\n{self.api.log()}"
                return self.api.log_lines(event="listening")
            self.port = wait_for(listening, 60, "the API listens")[0]["port"]
        return self.api

    def _named(self, flag, name=None):
        return [] if name is None and self.model is None else [flag, name or self.name]

    def start_worker(self, *flags, model=None, name=None, wait=True, **settings):
        model = model or self.model
        of_files = [] if model is None else ["--model", MODELS / model / "model", "--tokenizer", MODELS / model / "tokenizer",
                                             "--max-context", "48"]
        arguments = [BUILD / "kronosq-worker", *of_files, *self._named("--name", name), "--redis", self.redis.url, *flags]
        worker = Process(f"worker-{len(self.processes)}", arguments, self.directory, environment(**settings))
        self.processes.append(worker)
        if wait:
            def ready():
                assert worker.is_running(), f"kronosq-worker ended:\n{worker.log()}"
                return worker.log_lines(event="ready")
            wait_for(ready, 60, "the worker is ready")
        return worker

    def write_masters(self, *masters):
        """The file of master secrets; without any, a new one."""
        path = self.directory / "masters"
        self.masters = masters or (base64.b64encode(os.urandom(32)).decode(),)
        path.touch(mode=0o600)
        path.write_text("".join(master + "\n" for master in self.masters))
        return path

    def webhook_settings(self, *ports):
        """What API and kronosq-webhook are told alike: receivers on loopback, at these ports, without TLS."""
        return {"KRONOS_WEBHOOK_SECRET_FILE": self.directory / "masters", "KRONOS_WEBHOOK_ALLOW_HTTP": "1",
                "KRONOS_WEBHOOK_ALLOW_CIDR": "127.0.0.0/8", "KRONOS_WEBHOOK_PORTS": ",".join(str(port) for port in ports)}

    def start_webhook(self, *flags, wait=True, **settings):
        daemon = Process(f"webhook-{len(self.processes)}", [BUILD / "kronosq-webhook", "--redis", self.redis.url, *self._named("--default-model"), *flags],
                         self.directory, environment(**settings))
        self.processes.append(daemon)
        if wait:
            def ready():
                assert daemon.is_running(), f"kronosq-webhook ended:\n{daemon.log()}"
                return daemon.log_lines(event="ready")
            wait_for(ready, 60, "kronosq-webhook is ready")
        return daemon

    def close(self):
        """End everything; returns what a sanitizer complained about, and lines of logs that are none."""
        for process in reversed(self.processes):
            if process.is_running():
                process.signal(signal.SIGCONT)
                process.popen.terminate()
        for process in reversed(self.processes):
            try:
                process.popen.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        if self.redis.process:
            self.redis.kill()
        complaints = [f"{p.name}:\n{p.log()[-6000:]}" for p in self.processes
                      if "Sanitizer" in p.log() or "runtime error:" in p.log()]
        return complaints + [line for p in self.processes for line in p.lines_that_are_no_json()]

    def logs(self):
        return "\n".join(f"--- {p.name}\n{p.log()[-4000:]}" for p in self.processes)

    def remove(self):
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    # ---- HTTP ----

    def request(self, method, path, body=None, headers=None, timeout=70):
        """One exchange on a connection of its own."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close"]
        given = {name.lower() for name in (headers or {})}
        if body is not None and "content-length" not in given:
            lines.append(f"Content-Length: {len(body)}")
        if body is not None and "content-type" not in given:
            lines.append("Content-Type: application/json")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
            reply = read_reply(s.makefile("rb"), method)
        if reply is not None:
            reply.seconds = time.monotonic() - started  # checking it takes its time, too
            contract.check(method, path, reply)
        return reply

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def submit(self, body=None, **headers):
        """POST a single prediction; returns the task id."""
        reply = self.post("/v1/predict/single", body or single_body(), headers={k.replace("_", "-"): v for k, v in headers.items()})
        assert reply.status == 202, reply
        return reply.json["task_id"]

    def task(self, task_id, wait=None):
        reply = self.get(f"/v1/tasks/{task_id}" + (f"?wait={wait}" if wait is not None else ""))
        assert reply.status == 200, reply
        return reply.json

    def finished(self, task_id, seconds=60):
        """The document once the task has ended."""
        return wait_for(lambda: (lambda d: d if d["status"] not in ("queued", "processing") else None)(self.task(task_id, wait=1)),
                        seconds, f"task {task_id} ends")


def read_reply(stream, method="GET"):
    """Parse one HTTP/1.x reply from a binary stream; None when the peer closed without one."""
    line = stream.readline()
    if not line:
        return None
    status = int(line.split()[1])
    headers = {}
    while True:
        line = stream.readline().rstrip(b"\r\n")
        if not line:
            break
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if method == "HEAD" or status in (204, 304) or 100 <= status < 200:
        return Reply(status, headers, b"")
    if "content-length" in headers:
        return Reply(status, headers, stream.read(int(headers["content-length"])))
    return Reply(status, headers, stream.read())


def candles(n, start=100.0, with_volume=True):
    """Candles that go up and down, the same every time."""
    rows, price = [], start
    for i in range(n):
        close = price * (1 + 0.004 * (((i * 7919) % 13) - 6) / 6)
        row = {"open": round(price, 4), "high": round(max(price, close) * 1.002, 4),
               "low": round(min(price, close) * 0.998, 4), "close": round(close, 4)}
        if with_volume:
            row["volume"] = 10 + (i * 31) % 17
        rows.append(row)
        price = row["close"]
    return rows


def times(n, first=0, minutes=5):
    base = 1_735_722_000  # 2025-01-01T09:00:00
    return [time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(base + 60 * minutes * (first + i))) for i in range(n)]


def single_body(history=24, steps=8, **members):
    """A valid body for the tiny model (C = 48)."""
    body = {"series_id": "TEST", "candles": candles(history), "timestamps": times(history),
            "prediction_timestamps": times(steps, first=history)}
    body.update(members)
    return body
