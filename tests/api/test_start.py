"""Starting and stopping: what is refused, what is logged, signals."""
import json
import shutil
import signal
import socket
import subprocess

import pytest

import kronosq
from kronosq import BUILD, environment, single_body, wait_for

API = BUILD / "kronosq-api"


def run(service, *flags, **settings):
    """Start, expect it to end by itself; exit status and log."""
    done = subprocess.run([API, "--redis", service.redis.url, *flags], env=environment(**settings), capture_output=True, text=True, timeout=20)
    return done.returncode, done.stderr


@pytest.mark.parametrize("flags, settings, word", [
    (("--listen", "0.0.0.0:0"), {}, "loopback"), (("--listen", "[::]:0"), {}, "loopback"), (("--listen", "192.0.2.1:0"), {}, "loopback"),
    (("--listen", "localhost:0"), {}, "numeric"), (("--listen", "127.0.0.1"), {}, "numeric"), (("--listen", "127.0.0.1:65536"), {}, "numeric"),
    (("--listen", "127.0.0.1:"), {}, "numeric"), (("--listen", "::1:80"), {}, "numeric"),
    ((), {"KRONOS_KEYS_FILE": "/etc/hostname"}, "KRONOS_KEYS_FILE"), ((), {"KRONOS_PEER_ALLOW": "10.0.0.0/33"}, "KRONOS_PEER_ALLOW"),
    ((), {"KRONOS_TRUSTED_PROXIES": "proxy.example"}, "KRONOS_TRUSTED_PROXIES"), ((), {"KRONOS_FOO": "1"}, "KRONOS_FOO"),
    ((), {"KRONOS_MAX_CONNECTIONS": "x"}, "KRONOS_MAX_CONNECTIONS"), (("--redis", "http://x"), {}, "redis"),
])
def test_a_setting_that_cannot_be_obeyed_refuses_the_start(service, flags, settings, word):
    status, log = run(service, *flags, **settings)
    assert status == 78 and word in log, log


def test_insecure_is_said_aloud_and_starts(service):
    service.start_api("--listen", "0.0.0.0:0", "--insecure")
    assert service.get("/v1/healthz").status == 200
    assert any("without API keys" in line["message"] for line in service.api.log_lines(level="WARNING"))


def test_ipv6_loopback_is_loopback(service):
    service.start_api("--listen", "[::1]:0")
    with socket.create_connection(("::1", service.port)) as s:
        s.sendall(b"GET /v1/healthz HTTP/1.0\r\n\r\n")
        assert b" 200 " in s.recv(4096)


def test_a_redis_that_may_lose_tasks_is_refused_unless_allowed(service):
    service.redis.command("CONFIG", "SET", "appendonly", "no")
    status, log = run(service, "--listen", "127.0.0.1:0")
    assert status == 78 and "appendonly" in log
    service.start_api("--allow-volatile")
    assert any("may lose" in line["message"] for line in service.api.log_lines(level="WARNING"))
    wait_for(lambda: service.post("/v1/predict/single", single_body()).status == 202, 20)


def test_check_version_help_and_print_config_start_nothing(service):
    for flag in ("--check", "--version", "--help", "--print-config"):
        done = subprocess.run([API, flag], env=environment(), capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, (flag, done.stderr)


def printed(*flags, **settings):
    done = subprocess.run([API, *flags, "--print-config"], env=environment(**settings), capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_print_config_tells_of_each_value_where_it_comes_from(tmp_path):
    path = tmp_path / "kronosq.conf"
    path.write_text("# a file\nKRONOS_RESULT_TTL=100\nKRONOS_APP_NAME=From the file\nKRONOS_MAX_STREAMS=7\n\nKRONOS_MAX_WAITERS=8\n")
    lines = printed("--config", path, "--max-waiters", "9", "--result-ttl=300", KRONOS_APP_NAME="From outside", KRONOS_RESULT_TTL="200", KRONOS_SLOTS="3")
    for line in ("KRONOS_RESULT_TTL=300  # flag", "KRONOS_MAX_WAITERS=9  # flag", "KRONOS_APP_NAME=From outside  # env", f"KRONOS_MAX_STREAMS=7  # {path}:4",
                 "KRONOS_MAX_CONNECTIONS=4096  # default"):
        assert line in lines, lines


def test_a_file_with_a_setting_nobody_knows_refuses_the_start_and_names_it(service, tmp_path):
    path = tmp_path / "kronosq.conf"
    for text, number, words in [("KRONOS_FOO=1\n", 1, ["KRONOS_FOO"]), ("\nKRONOS_MAX_WAITER=1\n", 2, ["KRONOS_MAX_WAITER", "KRONOS_MAX_WAITERS"]),
                                ("KRONOS_MAX_WAITERS\n", 1, []), ("KRONOS_MAX_WAITERS=x\n", 1, ["KRONOS_MAX_WAITERS"]), ("KRONOS_SYNC_DEFAULT=yes\n", 1, ["KRONOS_SYNC_DEFAULT"])]:
        path.write_text(text)
        status, log = run(service, "--config", str(path))
        assert status == 78 and f"{path}:{number}" in log and all(word in log for word in words), log
    status, log = run(service, KRONOS_MAX_CONECTIONS="1")
    assert status == 78 and "KRONOS_MAX_CONNECTIONS" in log, "the nearest known name is told"
    assert run(service, "--max-conections", "1")[0] == 78
    assert run(service, "--config", str(tmp_path / "none"))[0] == 78


@pytest.mark.parametrize("name, value", [("KRONOS_DEFAULT_LOOKBACK", "400"), ("KRONOS_DEFAULT_PRED_LEN", "120"), ("KRONOS_PORT", "8000"), ("KRONOS_LB_PORT", "80"),
                                         ("KRONOS_SECURITY_ENABLED", "false"), ("KRONOS_MODEL_HOST_PATH", "/models")])
def test_a_setting_of_the_old_service_that_means_nothing_here_is_one_warning(service, name, value):
    service.start_api(**{name: value})
    assert len([line for line in service.api.log_lines(level="WARNING") if name in json.dumps(line)]) == 1
    assert service.get("/v1/healthz").status == 200


def test_the_old_list_of_container_names_is_refused_unless_it_protected_nothing(service):
    status, log = run(service, KRONOS_CONTAINER_WHITELIST="a")
    assert status == 78 and "KRONOS_CONTAINER_WHITELIST" in log
    assert run(service, KRONOS_CONTAINER_WHITELIST="a", KRONOS_SECURITY_ENABLED="true")[0] == 78
    service.start_api(KRONOS_CONTAINER_WHITELIST="a", KRONOS_SECURITY_ENABLED="false")
    assert service.get("/v1/healthz").status == 200


def test_a_port_in_use_by_another_program_is_an_error(service):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        status, log = run(service, "--listen", f"127.0.0.1:{other.getsockname()[1]}")
    assert status == 1 and "bind" in log


def test_two_processes_share_a_port(service):
    service.start_api()
    service.start_api("--listen", f"127.0.0.1:{service.port}")
    ids = [service.submit() for _ in range(20)]
    assert all(service.task(i)["status"] == "queued" for i in ids), "any process answers for any task"
    assert all(p.log_lines(message="request completed") for p in service.processes)


def test_hup_reads_the_log_level_again(service, tmp_path):
    config = tmp_path / "kronosq.conf"
    config.write_text("KRONOS_LOG_LEVEL=WARNING\n")
    service.start_api("--config", config, wait=False)
    config.write_text("KRONOS_LOG_LEVEL=INFO\n")

    def level_is_read():
        assert service.api.is_running()
        if service.redis.command("CLIENT", "LIST").count("name=kronosq-api") >= 2:
            service.api.signal(signal.SIGHUP)
        return service.api.log_lines(log_level="INFO")
    wait_for(level_is_read, 20)
    config.write_text("nonsense\n")
    service.api.signal(signal.SIGHUP)
    wait_for(lambda: service.api.log_lines(level="ERROR"), 20)
    assert service.api.is_running(), "a bad file changes nothing"
    assert service.api.stop() == 0


def test_a_broken_pipe_does_not_end_it(service):
    service.start_api()
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", service.port))
        s.sendall(b"GET /v1/healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    assert service.get("/v1/healthz").status == 200


@pytest.mark.skipif(shutil.which("unshare") is None or subprocess.run(["unshare", "-Urpf", "true"], capture_output=True).returncode != 0,
                    reason="needs unshare with a process namespace of its own")
def test_signals_work_as_process_one(service):
    api = kronosq.Process("api-pid1", ["unshare", "-Urpf", "--kill-child", API, "--listen", "127.0.0.1:0", "--redis", service.redis.url], service.directory)
    service.processes.append(api)
    line = wait_for(lambda: api.log_lines(event="listening"), 20)[0]
    assert line["pid"] == 1
    children = wait_for(lambda: open(f"/proc/{api.pid}/task/{api.pid}/children").read().split(), 20)
    subprocess.run(["kill", "-TERM", children[0]], check=True)
    assert api.popen.wait(5) == 0
    assert api.log_lines(message="stopped")


def test_every_log_line_is_json_and_tells_no_body(service):
    service.start_api(KRONOS_LOG_LEVEL="DEBUG")
    service.submit(single_body(metadata={"secret": "correct horse battery staple"}))
    service.post("/v1/predict/single", b'{"note":"correct horse battery staple"')
    service.get("/v1/tasks/" + "x" * 3000 + "?token=hunter2")
    service.api.stop()
    log = service.api.log()
    for line in log.splitlines():
        assert {"timestamp", "level", "logger", "message"} <= set(json.loads(line)), line
    assert "correct horse" not in log and "hunter2" not in log
    assert len(service.api.log_lines(message="request completed")) == 3


def test_a_worker_told_to_use_a_gpu_does_not_start(service):
    worker = service.start_worker(wait=False, KRONOS_DEVICE="cuda:0")
    assert worker.popen.wait(20) == 78 and "KRONOS_DEVICE" in worker.log() and "cuda:0" in worker.log()
