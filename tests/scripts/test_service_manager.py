"""What the daemons tell systemd, and how they live as process 1 of a container."""
import ctypes
import os
import pathlib
import signal
import subprocess

import pytest

import kronosq
from kronosq import BUILD, MODELS, Process, single_body, wait_for
from service_manager import ServiceManager

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WATCHDOG_S = 2


@pytest.fixture
def manager(service):
    made = ServiceManager(service.directory)
    yield made
    made.close()


def test_the_api_is_ready_when_redis_answers_and_serves_before(service, manager):
    service.redis.stop()
    service.start_api(**manager.settings())
    assert service.get("/v1/healthz").status == 200
    assert service.get("/v1/readyz").status == 503
    assert manager.lines() == [], "not ready: no task could be taken"
    service.redis.start()
    manager.await_line("READY=1")
    assert service.post("/v1/predict/single", single_body()).status == 202


def test_a_worker_is_ready_when_redis_answered_and_the_model_is_warm(service, manager):
    service.redis.stop()
    worker = service.start_worker(wait=False, **manager.settings())
    wait_for(lambda: worker.log_lines(message="waiting for redis"), 20)
    assert manager.lines() == []
    service.redis.start()
    manager.await_line("READY=1")
    assert worker.log_lines(message="model loaded") and worker.log_lines(event="ready")
    wait_for(lambda: service.redis.command("SCARD", "kq:models"), 20, "it is in Redis")


def start_redis_that_loads_for_seconds(service):
    """Started again with its file of tasks, and slowly: it answers ROLE and INFO, and says that its AOF is off."""
    service.redis.process = Process("redis-slow", [
        "redis-server", "--port", "0", "--unixsocket", service.redis.socket_path, "--dir", service.directory, "--appendonly", "yes",
        "--save", "", "--maxmemory-policy", "noeviction", "--key-load-delay", "400"], service.directory)

    def is_loading():
        try:
            info = service.redis.command("INFO", "persistence")
        except OSError:
            return False
        assert "\nloading:1\r" in info and "\naof_enabled:0\r" in info, "this Redis was too fast for the test"
        return True
    wait_for(is_loading, 20)


def test_a_redis_that_still_loads_its_tasks_is_waited_for_and_not_taken_for_one_that_loses_them(service, manager):
    """The bug: after a restart of the host, daemons that met Redis while it loaded ended with 78 and stayed away."""
    for batch in range(10):
        service.redis.command("EVAL", "for i = 1, 1000 do redis.call('SET', KEYS[1] .. i, 1) end", 1, f"filler:{batch}:")
    running = service.start_api()
    service.redis.stop()
    start_redis_that_loads_for_seconds(service)
    worker = service.start_worker(wait=False)
    service.start_api(**manager.settings())
    wait_for(lambda: worker.log_lines(message="waiting for redis"), 20)
    manager.await_line("READY=1", seconds=60)
    wait_for(lambda: service.get("/v1/readyz").status == 200, 30, "a worker serves, and the API trusts its Redis")
    for api in (running, service.api):
        service.port = api.log_lines(event="listening")[0]["port"]
        wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 20, "it is connected again")
        assert api.log_lines(level="CRITICAL") == []


def test_a_worker_that_cannot_load_its_model_never_says_ready(service, manager):
    worker = service.start_worker("--model", service.directory, wait=False, **manager.settings())
    assert worker.popen.wait(20) == 78, "systemd is told not to try again"
    assert manager.count("READY=1") == 0


@pytest.mark.parametrize("daemon", ["api", "worker"])
def test_the_watchdog_is_fed_only_when_there_is_one(service, manager, daemon):
    start = service.start_api if daemon == "api" else service.start_worker
    start(**manager.settings())
    manager.await_line("READY=1")
    (service.directory / "watched").mkdir()
    watched = ServiceManager(service.directory / "watched")
    start(**watched.settings(WATCHDOG_S))
    watched.await_line("WATCHDOG=1", times=3)
    watched.close()
    assert manager.count("WATCHDOG=1") == 0


@pytest.mark.parametrize("daemon", ["api", "worker"])
def test_term_is_told_as_stopping_before_the_end(service, manager, daemon):
    process = service.start_api(**manager.settings()) if daemon == "api" else service.start_worker(**manager.settings())
    manager.await_line("READY=1")
    assert manager.count("STOPPING=1") == 0
    assert process.stop() == 0
    assert manager.count("STOPPING=1") == 1 and manager.count("READY=1") == 1


def test_the_status_line_names_the_model_and_counts_tasks(service, manager):
    service.start_api()
    service.start_worker(**manager.settings(WATCHDOG_S))
    service.finished(service.submit(single_body()))
    manager.await_line("STATUS=tiny: 0 tasks in work, 1 completed, 0 failed")


def test_the_status_line_of_the_api_says_how_much_waits(service, manager):
    service.start_api(**manager.settings())
    service.submit(single_body())
    manager.await_line("STATUS=0 connections, 0 held, 1 tasks queued")


def threads(pid):
    return sorted(int(path.name) for path in pathlib.Path(f"/proc/{pid}/task").iterdir())


# main.c starts engine, beat and link last, in this order
@pytest.mark.parametrize("place", [-3, -2, -1], ids=["engine", "beat", "link"])
def test_a_thread_that_hangs_starves_the_watchdog_while_the_rest_lives(service, manager, place):
    worker = service.start_worker(**manager.settings(WATCHDOG_S))
    manager.await_line("WATCHDOG=1")
    hung = threads(worker.pid)[place]
    kronosq.LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if kronosq.LIBC.ptrace(PTRACE_SEIZE, hung, None, None) == -1:
        pytest.skip("this system lets nobody stop a single thread")
    assert kronosq.LIBC.ptrace(PTRACE_INTERRUPT, hung, None, None) == 0
    os.waitpid(hung, 0x40000000)  # __WALL: it has stopped
    fed, told = manager.count("WATCHDOG=1"), manager.count("STATUS=")
    manager.await_line("STATUS=", times=told + 4)
    assert manager.count("WATCHDOG=1") <= fed + 1, "one tick may have been on its way"
    assert kronosq.LIBC.ptrace(PTRACE_DETACH, hung, None, None) == 0
    manager.await_line("WATCHDOG=1", times=fed + 3)


# ---- process 1 ----

def children(pid):
    """[(pid, state)] of the processes whose parent is pid."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if int(parent) == pid:
            found.append((int(path.parent.name), state))
    return found


def may_unshare():
    return subprocess.run(["unshare", "--fork", "--pid", "--mount", "mount", "-t", "proc", "-o", "subset=pid", "proc", "/proc"],
                          capture_output=True, timeout=20).returncode == 0


def start_as_process_1(service, *command):
    """Process 1 of a namespace of its own, which sees of /proc what ProcSubset=pid leaves. The outer process, the daemon's pid here."""
    outer = Process(pathlib.Path(command[0]).name, ["unshare", "--fork", "--kill-child", "--pid", "--mount", "sh", "-c",
                    'mount -t proc -o subset=pid proc /proc && exec "$@"', "sh", *command], service.directory)
    service.processes.append(outer)
    return outer, wait_for(lambda: children(outer.pid), 10)[0][0]


@pytest.mark.skipif(not may_unshare(), reason="only root may make a pid namespace with a /proc of its own")
def test_the_daemons_work_and_end_as_process_1(service):
    model = MODELS / "tiny-seed7"
    outer_api, api = start_as_process_1(service, BUILD / "kronosq-api", "--listen", "127.0.0.1:0", "--redis", service.redis.url,
                                        "--default-model", "tiny")
    outer_worker, worker = start_as_process_1(service, BUILD / "kronosq-worker", "--model", model / "model", "--tokenizer",
                                              model / "tokenizer", "--name", "tiny", "--redis", service.redis.url, "--max-context", "48")
    service.port = wait_for(lambda: outer_api.log_lines(event="listening"), 20)[0]["port"]
    assert wait_for(lambda: outer_worker.log_lines(event="ready"), 30)[0]["pid"] == 1
    wait_for(lambda: service.get("/v1/readyz").status == 200, 20)
    assert service.finished(service.submit(single_body()))["status"] == "completed"
    for outer, pid in ((outer_worker, worker), (outer_api, api)):
        assert children(pid) == [], "it starts no process, so there is none to bury"
        os.kill(pid, signal.SIGTERM)
        assert outer.popen.wait(30) == 0
        assert not pathlib.Path(f"/proc/{pid}").exists()
