"""docs/operations.md is typed in as it stands: what needs no systemd is run, the rest is at least a shell's language."""
import os
import re
import stat
import subprocess
import threading

import pytest

import kronosq
from kronosq import BUILD, ROOT, environment, single_body, wait_for
from receiver import Receiver, verify

PAGE = ROOT / "docs/operations.md"
BLOCKS = re.findall(r"^```sh ?(\w*)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
RUN = [text for kind, text in BLOCKS if kind == ""]
RESTORE = [text for kind, text in BLOCKS if kind == "restore"]
PREFIX = "kq:{kronos-small}"


@pytest.fixture
def small(service):
    """A service with the names the page uses."""
    service.start_api("--default-model", "kronos-small")
    service.start_worker(name="kronos-small")
    wait_for(lambda: service.get("/v1/readyz").status == 200, 20)
    return service


def shell(service, text):
    """Run it where `redis-cli` and `kronosq` mean this service, and sudo nobody else."""
    shims = service.directory / "bin"
    shims.mkdir(exist_ok=True)
    for name, body in {
        "redis-cli": f'exec /usr/bin/redis-cli -s {service.redis.socket_path} "$@"',
        "kronosq": f'exec {BUILD}/kronosq "$@"',
        "kronosq-webhook": f'exec {BUILD}/kronosq-webhook "$@"',
        "systemctl": 'echo "systemctl $*"',
        # there may be no user redis, and the test is not root everywhere
        "sudo": 'case $1 in chown) exit 0 ;; install) set -- $(printf "%s\\n" "$@" | sed "/^-[og]$/,+1d") ;; esac; exec "$@"',
    }.items():
        (shims / name).write_text(f"#!/bin/bash\n{body}\n")
        (shims / name).chmod(stat.S_IRWXU)
    env = environment(KRONOSQ_SERVER=f"http://127.0.0.1:{service.port}", BACKUP=service.directory / "backup.rdb",
                      DATA=service.directory, PATH=f"{shims}:{os.environ['PATH']}")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout


def commands_of_the_table(word):
    return re.findall(rf"^\|[^|]*\| `({word})` \|", PAGE.read_text(), re.M)


def test_every_block_is_a_shells_language():
    assert len(BLOCKS) > 10
    for _, text in BLOCKS:
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=20)
        assert (done.returncode, done.stderr) == (0, ""), text


def test_units_and_files_the_page_names_exist():
    text = PAGE.read_text()
    named = set(re.findall(r"kronosq-(?:api|worker|webhook|redis|[a-z]+)@?", text))
    assert named == {"kronosq-api", "kronosq-worker", "kronosq-worker@", "kronosq-redis", "kronosq-webhook"}
    for name in set(re.findall(r"[a-z-]+\.conf\.example", text)):
        assert (ROOT / "systemd" / name).exists(), name
    for name in re.findall(r"scripts/[a-z-]+", text):
        assert (ROOT / name).exists(), name


def test_every_setting_and_counter_the_page_names_exists():
    text = PAGE.read_text()
    options = (ROOT / "common/config_options.h").read_text()
    for name in set(re.findall(r"KRONOS_[A-Z_]+", text)) - {"KRONOS_"}:
        assert f'"{name}"' in options, name
    counters = (ROOT / "schemas/redis-keys.md").read_text()
    for name in ("recovered_lease", "fenced", "fenced_renew", "poison", "recovered_pop", "orphan", "stale_hint"):
        assert f"`{name}`" in text and f"`{name}`" in counters, name


def test_the_blocks_that_need_no_systemd_run_as_they_stand(small):
    small.finished(small.submit())
    outputs = [shell(small, text) for text in RUN]
    assert len(outputs) >= 6
    everything = "\n".join(outputs)
    assert "kronos-small@" in everything and "backlog s" in everything and "completed" in everything
    assert re.search(r"^[0-9a-f-]{36} idle +\d+ +0/\d+ +0 +\d+ +0 +\d+ 0\.1\.0 +[0-9a-f]{12} kronos-small, ", everything, re.M), "a worker's line"
    assert "used_memory:" in everything and "aof_last_write_status:ok" in everything


def test_pausing_stops_work_and_going_on_resumes_it(small):
    pause, resume = commands_of_the_table("kronosq queues [^`]*")
    shell(small, pause)
    task = small.submit()
    # a worker that was waiting when it was paused hands the task back
    wait_for(lambda: small.redis.command("ZSCORE", f"{PREFIX}:queued:normal", task), 20)
    assert small.task(task, wait=2)["status"] == "queued"
    shell(small, resume)
    assert small.finished(task)["status"] == "completed"


def test_draining_refuses_new_tasks_until_it_is_taken_back(small):
    drain, accept = commands_of_the_table("redis-cli H[^`]* draining[^`]*")
    shell(small, drain)
    assert small.post("/v1/predict/single", single_body()).status == 503
    shell(small, accept)
    assert small.finished(small.submit())["status"] == "completed"


def test_an_api_restarted_beside_another_refuses_nobody(small):
    """What the page does with kronosq-api-b."""
    first, port = small.api, small.port
    refused, served, is_over = [], [], threading.Event()

    def ask():
        while not is_over.is_set():
            try:
                reply = small.get("/v1/healthz")
                if reply is not None:
                    served.append(reply.status)
            except ConnectionRefusedError as error:
                refused.append(error)
            except OSError:
                pass  # reset: it stood in the queue of the one that closed

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        second = small.start_api("--listen", f"127.0.0.1:{port}")
        assert first.stop() == 0
        small.start_api("--listen", f"127.0.0.1:{port}")
        assert second.stop() == 0
        wait_for(lambda: len(served) > 20, 20)
    finally:
        is_over.set()
        asking.join()
    assert refused == []
    assert set(served) <= {200, 503}, "503: it reached the one that was stopping"


def test_a_backup_restores_waiting_and_finished_tasks(small):
    done = small.finished(small.submit())
    small.redis.command("HSET", f"{PREFIX}:control", "paused", "1")
    waiting = small.submit()
    shell(small, next(text for text in RUN if "--rdb" in text))
    later = small.submit()

    lines = RESTORE[0].splitlines()
    assert (lines[0], lines[-1]) == ("sudo systemctl stop kronosq.target redis-server", "sudo systemctl start redis-server kronosq.target")
    small.processes[1].stop()
    small.redis.stop()
    shell(small, "\n".join(lines[1:-1]))
    small.redis.start()
    small.start_worker(name="kronos-small")
    wait_for(lambda: small.get("/v1/readyz").status == 200, 20)

    assert small.task(done["task_id"])["status"] == "completed"
    assert small.get(f"/v1/tasks/{later}").status == 404
    small.redis.command("HDEL", f"{PREFIX}:control", "paused")
    assert small.finished(waiting)["status"] == "completed"
    assert small.redis.command("CONFIG", "GET", "appendonly")[1] == "yes"
    # and it lives on: what is written now survives the next restart
    small.redis.kill()
    small.redis.start()
    assert small.redis.command("HGET", f"{PREFIX}:task:{waiting}", "state") == "completed"


def test_workers_of_two_models_share_a_machine_as_the_page_says(small):
    """The second file goes through the environment, as the unit gives it, and wins over the shared one."""
    text = next(text for kind, text in BLOCKS if kind == "host" and "worker-mini.conf <<" in text)
    own = dict(line.split("=", 1) for line in re.findall(r"^KRONOS_.*$", text, re.M))
    shared = small.directory / "worker.conf"
    shared.write_text("KRONOS_MODEL_NAME=kronos-small\nKRONOS_MAX_CONTEXT=512\nKRONOS_SLOTS=2\n")
    shown = subprocess.run([BUILD / "kronosq-worker", "--config", shared, "--print-config"], env=environment(**own),
                           capture_output=True, text=True, timeout=20).stdout
    for name, value in own.items():
        assert f"{name}={value}  # env\n" in shown
    assert f"KRONOS_SLOTS=2  # {shared}:3\n" in shown


def test_master_secrets_are_made_shown_and_changed_as_the_page_says(small):
    """Between each step a daemon, started with what is there, tells the receiver; every secret shown verifies what it says."""
    receiver = Receiver()
    settings = small.webhook_settings(receiver.port)
    secrets = small.directory / "webhook-secrets"
    settings["KRONOS_WEBHOOK_SECRET_FILE"] = secrets
    here = {"/etc/kronosq": str(small.directory), "desk-a": "local", "https://hooks.example/kronosq": receiver.url()}

    def on_this_host(text):
        for there, now in here.items():
            text = text.replace(there, now)
        return shell(small, text)

    make = next(text for kind, text in BLOCKS if kind == "host" and "webhook-secrets" in text)
    on_this_host("\n".join(make.splitlines()[:2]))
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    small.start_api("--default-model", "kronos-small", **settings)
    daemon = small.start_webhook("--default-model", "kronos-small", **settings)
    show, change = (next(text for kind, text in BLOCKS if kind == word) for word in ("webhook", "rotate"))
    first = re.search(r"whsec_\S+", on_this_host(show))[0]
    verify(wait_for(lambda: receiver.deliveries, 20, "the ping of the page")[0], first)

    said = on_this_host(change)
    assert "systemctl restart kronosq-webhook\n" in said and stat.S_IMODE(secrets.stat().st_mode) == 0o600
    second, former = re.findall(r"whsec_\S+", said)
    assert former == first != second
    assert daemon.stop() == 0
    small.start_webhook("--default-model", "kronos-small", **settings)
    on_this_host(show)
    for secret in (second, first):
        verify(wait_for(lambda: receiver.deliveries[1:], 20, "the second ping")[0], secret)
    receiver.close()
