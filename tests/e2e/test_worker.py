"""The worker alone, without the API: tasks are put into the queue by a tool, workers and Redis are killed."""
import json
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from kronosq import BUILD, DEFAULT_NAME, MODELS, ROOT, at_best, environment, passes, seconds_of_stopping, wait_for

LEASE_MS = 1500
SHORT_LEASE = ("--lease-ms", LEASE_MS)
PREFIX = f"kq:{{{DEFAULT_NAME}}}"


class Queue:
    """What a client could do, through the test tool."""

    def __init__(self, service):
        self.service = service

    def _tool(self, *arguments):
        done = subprocess.run([str(a) for a in (BUILD / "tests/support/submit_task", "--redis", self.service.redis.url,
                                                "--model", DEFAULT_NAME, *arguments)],
                              capture_output=True, text=True, timeout=30, env=environment())
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def submit(self, *flags):
        return self._tool(*flags)

    def show(self, task_id):
        return json.loads(self._tool("--show", task_id))

    def status(self, task_id):
        state = self.service.redis.command("HGET", f"{PREFIX}:task:{task_id}", "state")
        return "queued" if state == "scheduled" else state

    def ended(self, task_id, seconds=30):
        wait_for(lambda: self.status(task_id) not in ("queued", "processing"), seconds, f"task {task_id} ends")
        return self.show(task_id)

    def running(self, task_id, seconds=20):
        wait_for(lambda: self.status(task_id) == "processing", seconds, f"task {task_id} runs")

    def stepping(self, task_id, seconds=20):
        """Renewals carry the step: at least one has."""
        wait_for(lambda: int(self.service.redis.command("HGET", f"{PREFIX}:task:{task_id}", "step") or 0) > 0, seconds,
                 f"task {task_id} makes steps")

    def leases(self):
        return self.service.redis.command("ZCARD", f"{PREFIX}:running")

    def counter(self, name):
        return int(self.service.redis.command("HGET", f"{PREFIX}:stats", name) or 0)


@pytest.fixture
def queue(service):
    return Queue(service)


def _hang_up(peer):
    """Closing alone would not be seen by the peer while another thread still reads from it."""
    try:
        peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class LosingProxy:
    """Stands between a worker and Redis. Loses the reply to the first command that has all of some words, with the
    connection; or holds back what BLPOP answers."""

    def __init__(self, service):
        self.target = str(service.redis.socket_path)
        self.path = service.directory / "proxy.sock"
        self.url = f"unix://{self.path}"
        self.words, self.lost = None, 0
        self.hints_flow = threading.Event()
        self.hints_flow.set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, *words):
        self.words = [f"\r\n{word}\r\n".encode() for word in words]

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.target)
            except OSError:
                client.close()
                continue
            losing, waits = threading.Event(), threading.Event()
            threading.Thread(target=self._forward, args=(client, server, losing, waits), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client, losing, waits), daemon=True).start()

    def _forward(self, client, server, losing, waits):
        try:
            while data := client.recv(65536):
                if b"BLPOP" in data:
                    waits.set()
                if self.words and all(word in data for word in self.words):
                    self.words = None
                    losing.set()
                server.sendall(data)
        except OSError:
            pass
        _hang_up(server)

    def _answer(self, server, client, losing, waits):
        try:
            while data := server.recv(65536):
                if waits.is_set():
                    self.hints_flow.wait(20)
                if losing.is_set():
                    self.lost += 1
                    break
                client.sendall(data)
        except OSError:
            pass
        _hang_up(client)


@pytest.fixture
def proxy(service):
    made = LosingProxy(service)
    yield made
    made.close()


def start_worker_behind(service, proxy, *flags):
    direct, service.redis.url = service.redis.url, proxy.url
    try:
        return service.start_worker(*flags)
    finally:
        service.redis.url = direct


def forget_restart(service):
    """After a restart of Redis sweeps spare all leases for one lease; say that it was long ago."""
    wait_for(lambda: service.redis.command("HGET", f"{PREFIX}:boot", "run_id"), 20, "a first sweep")
    service.redis.command("HSET", f"{PREFIX}:boot", "hold_until_ms", "0")


def finished_line(worker, task_id):
    """The one line a worker writes when a task has ended."""
    return wait_for(lambda: worker.log_lines(message="task finished", task_id=task_id), 20, "the line of the task")[0]


def test_a_task_completes_and_its_output_decodes(service, queue):
    worker = service.start_worker()
    task_id = queue.submit("--samples", 3, "--seed", 7, "--paths", "--statistics")
    done = queue.ended(task_id)
    assert done["status"] == "completed" and done["attempts"] == 1, done
    assert done["horizon"] == 8 and len(done["prediction"]) == 8 * 6
    assert done["seed"] == 7 and done["rows_used"] == 24 and done["has_paths"] and done["n_quantiles"] == 1
    assert len(done["weights_sha256"]) == 64 and done["model_version"] == f"kronos-demo@{done['weights_sha256'][:12]}"
    line = finished_line(worker, task_id)
    assert line["status"] == "completed" and line["samples"] == 3 and line["steps"] == 8 and line["batch_size"] >= 3
    assert line["model"] == DEFAULT_NAME and line["priority"] == "normal" and line["attempt"] == 1
    assert line["wait_ms"] >= 0 and line["run_ms"] >= 0 and line["level"] == "INFO"


def test_the_hash_in_a_result_is_that_of_the_weight_file(service, queue):
    service.start_worker()
    sum_of_file = subprocess.run(["sha256sum", ROOT / "models/kronos-demo/model/model.safetensors"], capture_output=True, text=True)
    assert queue.ended(queue.submit())["weights_sha256"] == sum_of_file.stdout.split()[0]


def test_a_killed_workers_task_completes_on_the_other_as_its_second_attempt(service, queue):
    victim = service.start_worker(*SHORT_LEASE, "--step-delay-ms", 500)  # it must not end before the other one has started
    task_id = queue.submit("--horizon", 24, "--seed", 5)
    queue.running(task_id)
    queue.stepping(task_id)
    forget_restart(service)
    rescuer = service.start_worker(*SHORT_LEASE)
    victim.kill()
    done = queue.ended(task_id)
    assert done["status"] == "completed" and done["attempts"] == 2, done
    assert finished_line(rescuer, task_id)["attempt"] == 2
    assert queue.counter("recovered_lease") == 1
    undisturbed = queue.ended(queue.submit("--horizon", 24, "--seed", 5))
    assert undisturbed["prediction"] == done["prediction"]


def test_a_worker_that_was_frozen_past_its_lease_publishes_nothing(service, queue):
    frozen = service.start_worker(*SHORT_LEASE, "--step-delay-ms", 300)
    task_id = queue.submit("--horizon", 16)
    queue.running(task_id)
    forget_restart(service)
    frozen.signal(signal.SIGSTOP)
    rescuer = service.start_worker(*SHORT_LEASE)
    assert queue.ended(task_id)["attempts"] == 2
    frozen.signal(signal.SIGCONT)
    assert finished_line(frozen, task_id)["status"] == "fenced"
    assert finished_line(rescuer, task_id)["status"] == "completed"
    assert queue.counter("completed") == 1


def test_a_lease_outlasts_many_renewals_while_the_engine_lives(service, queue):
    # Nothing but the engine's loop moves for longer than a lease, and a second job only waits for slots.
    worker = service.start_worker("--lease-ms", 600, "--step-delay-ms", 1500, "--slots", 2)
    running = queue.submit("--horizon", 3, "--samples", 2)
    queue.running(running)
    waiting = queue.submit("--horizon", 1, "--samples", 2)
    assert queue.ended(running)["attempts"] == 1
    assert queue.ended(waiting)["attempts"] == 1
    assert queue.counter("recovered_lease") == 0
    assert not worker.log_lines(message="lease not renewed: the engine has not moved")


def test_term_in_the_middle_of_a_forecast_finishes_it_first(service, queue):
    worker = service.start_worker("--step-delay-ms", 150)
    task_id = queue.submit("--horizon", 20)
    queue.running(task_id)
    assert worker.stop() == 0
    done = queue.show(task_id)
    assert done["status"] == "completed" and done["attempts"] == 1
    assert service.redis.command("ZCARD", f"{PREFIX}:workers") == 0, "a clean exit takes its presence away"


def test_term_without_drain_time_gives_the_task_back_unspent(service, queue):
    first = service.start_worker("--step-delay-ms", 200, "--drain-timeout", 0)
    task_id = queue.submit("--horizon", 40)
    queue.running(task_id)
    assert first.stop() == 0
    assert seconds_of_stopping(first) < 5
    assert queue.status(task_id) == "queued"
    assert service.redis.command("HGET", f"{PREFIX}:task:{task_id}", "attempts") == "0"
    assert service.redis.command("LRANGE", f"{PREFIX}:list:normal", 0, -1) == [task_id]
    service.start_worker()
    done = queue.ended(task_id)
    assert done["status"] == "completed" and done["attempts"] == 1


def test_a_second_term_does_not_wait_for_the_drain_time(service, queue):
    worker = service.start_worker("--step-delay-ms", 200, "--drain-timeout", 60)
    task_id = queue.submit("--horizon", 40)
    queue.running(task_id)
    worker.signal(signal.SIGTERM)
    wait_for(lambda: worker.log_lines(message="stopping"), 20, "the worker drains")
    assert worker.stop(40) == 0
    assert queue.status(task_id) == "queued"


def test_term_while_nothing_is_to_do_loses_no_task_submitted_at_that_moment(service, queue):
    worker = service.start_worker()
    worker.signal(signal.SIGTERM)
    ids = [queue.submit() for _ in range(3)]
    assert worker.stop() == 0
    service.start_worker()
    assert {queue.ended(task_id)["status"] for task_id in ids} == {"completed"}


def test_a_hint_that_comes_after_term_goes_back_to_its_list(service, queue, proxy):
    worker = start_worker_behind(service, proxy)
    proxy.hints_flow.clear()
    task_id = queue.submit()
    wait_for(lambda: service.redis.command("LLEN", f"{PREFIX}:list:normal") == 0, 20, "BLPOP has taken the hint")
    worker.signal(signal.SIGTERM)
    wait_for(lambda: worker.log_lines(message="stopping"), 20, "the worker stops")
    proxy.hints_flow.set()
    assert worker.popen.wait(30) == 0
    assert service.redis.command("LRANGE", f"{PREFIX}:list:normal", 0, -1) == [task_id]
    assert service.redis.command("HGET", f"{PREFIX}:task:{task_id}", "fence") == "0", "it was never claimed"


def test_quiet_takes_nothing_new_and_finishes_what_it_has(service, queue):
    worker = service.start_worker("--step-delay-ms", 150)
    first = queue.submit("--horizon", 20)
    queue.running(first)
    worker.signal(signal.SIGTSTP)
    wait_for(lambda: worker.log_lines(message="quiet: no more work is taken"), 20, "the worker is quiet")
    assert queue.ended(first)["status"] == "completed"
    second = queue.submit()
    other = service.start_worker()
    assert queue.ended(second)["status"] == "completed"
    assert finished_line(other, second) and not worker.log_lines(message="task finished", task_id=second)


def test_hup_reads_the_log_level_again(service, queue):
    config = service.directory / "worker.conf"
    config.write_text("KRONOS_LOG_LEVEL=INFO\n")
    worker = service.start_worker("--config", config)
    config.write_text("KRONOS_LOG_LEVEL=ERROR\n")
    worker.signal(signal.SIGHUP)
    task_id = None

    def is_silent():  # a task that leaves no line shows that the level has changed
        nonlocal task_id
        task_id = queue.submit()
        queue.ended(task_id)
        return not worker.log_lines(message="task finished", task_id=task_id)

    wait_for(is_silent, 20, "INFO lines stop")


def test_a_forecast_survives_a_redis_that_is_killed_and_comes_back(service, queue):
    worker = service.start_worker("--step-delay-ms", 200)
    task_id = queue.submit("--horizon", 10)
    queue.running(task_id)
    service.redis.kill()
    wait_for(lambda: worker.log_lines(message="redis lost", operation="deliver") or
             worker.log_lines(message="redis lost", operation="wait"), 20, "the worker notices")
    gone = time.monotonic()
    wait_for(lambda: time.monotonic() - gone > 3, 20, "the forecast ends while Redis is away")
    service.redis.start()
    done = queue.ended(task_id, 20)
    assert done["status"] == "completed" and done["attempts"] == 1, done
    after = queue.submit()
    assert queue.ended(after, 20)["status"] == "completed"


def test_killed_client_connections_cost_nothing(service, queue):
    service.start_worker("--step-delay-ms", 250)
    ids = [queue.submit("--horizon", 20) for _ in range(4)]
    queue.running(ids[0])
    service.redis.command("CLIENT", "KILL", "TYPE", "normal")
    assert {queue.ended(task_id)["status"] for task_id in ids} == {"completed"}
    assert {queue.show(task_id)["attempts"] for task_id in ids} == {1}


def test_a_claim_whose_reply_is_lost_costs_the_task_no_attempt_and_no_lease_time(service, queue, proxy):
    worker = start_worker_behind(service, proxy)
    proxy.lose("normal", "15000")  # of all scripts only claim has a priority and the lease
    task_id = queue.submit()
    done = queue.ended(task_id, 10)  # sooner than the lease of 15 s
    assert proxy.lost == 1
    assert done["status"] == "completed" and done["attempts"] == 1, done
    assert worker.log_lines(message="released a lease this worker does not hold", task_id=task_id)
    assert queue.counter("recovered_lease") == 0


def sha1_of(script):
    source = (BUILD / "common/queue/scripts.c").read_text()
    return re.search(rf'\.name = "{script}",\s*\.sha1 = "([0-9a-f]{{40}})"', source)[1]


def test_a_complete_whose_reply_is_lost_is_repeated_and_publishes_once(service, queue, proxy):
    worker = start_worker_behind(service, proxy, "--step-delay-ms", 200)
    task_id = queue.submit("--horizon", 10)
    queue.running(task_id)
    proxy.lose(task_id, sha1_of("complete"))
    assert queue.ended(task_id, 10)["status"] == "completed"
    assert finished_line(worker, task_id)["status"] == "already_completed" and proxy.lost == 1
    assert queue.counter("completed") == 1 and queue.counter("fenced") == 0


def test_an_input_that_does_not_decode_fails_at_once_and_the_next_task_runs(service, queue):
    worker = service.start_worker()
    task_id = queue.submit("--corrupt")
    done = queue.ended(task_id)
    assert done["status"] == "failed" and done["error_code"] == "input_corrupt" and done["attempts"] == 1, done
    assert worker.log_lines(message="task failed", task_id=task_id, error_type="input_corrupt")
    assert queue.ended(queue.submit())["status"] == "completed"


def test_a_horizon_longer_than_the_context_fails_and_says_so(service, queue):
    service.start_worker("--max-context", 48)
    done = queue.ended(queue.submit("--horizon", 60))
    assert done["status"] == "failed" and done["error_code"] == "inference_failed", done
    assert done["attempts"] == 1 and "48" in done["error_text"]


def test_a_cancel_flag_stops_a_running_task_soon(service, queue):
    service.start_worker(*SHORT_LEASE, "--step-delay-ms", 300)
    task_id = queue.submit("--horizon", 40)
    queue.running(task_id)
    service.redis.command("HSET", f"{PREFIX}:task:{task_id}", "cancel", "1")
    assert queue.ended(task_id)["status"] == "cancelled"


def test_a_deadline_stops_a_running_task(service, queue):
    service.start_worker(*SHORT_LEASE, "--step-delay-ms", 300)
    task_id = queue.submit("--horizon", 40, "--deadline-ms", 1500)
    queue.running(task_id)
    assert queue.ended(task_id)["status"] == "expired"


def test_a_run_over_the_limit_fails_with_run_timeout(service, queue):
    service.start_worker(*SHORT_LEASE, "--step-delay-ms", 300, "--inference-timeout", 1)
    done = queue.ended(queue.submit("--horizon", 40))
    assert done["status"] == "failed" and done["error_code"] == "run_timeout", done


def test_a_long_step_delay_does_not_hold_up_a_stop(service, queue):
    worker = service.start_worker("--step-delay-ms", 60000, "--drain-timeout", 0)
    task_id = queue.submit("--horizon", 40)
    queue.running(task_id)
    assert worker.stop() == 0
    assert seconds_of_stopping(worker) < 5


def test_an_idle_worker_sends_few_commands(service, queue):
    service.start_worker()
    queue.ended(queue.submit())

    def processed():
        info = service.redis.command("INFO", "commandstats").splitlines()
        calls = (line.split("calls=")[1].split(",")[0] for line in info
                 if line.startswith(("cmdstat_evalsha:", "cmdstat_blpop:", "cmdstat_eval:", "cmdstat_client")))
        return sum(int(n) for n in calls)

    def commands_a_second():
        before, started = processed(), time.monotonic()
        passes(4)
        return (processed() - before) / (time.monotonic() - started)
    at_best(commands_a_second, 4.1)  # two sweeps a second, a wait every two, a beat every five


def test_the_same_seed_gives_the_same_bytes_alone_and_in_company(service, queue):
    service.start_worker("--slots", 8)
    alone = queue.ended(queue.submit("--seed", 99, "--samples", 2, "--horizon", 12))
    company = [queue.submit("--seed", seed, "--samples", 1 + seed % 3, "--horizon", 4 + seed) for seed in range(6)]
    again = queue.ended(queue.submit("--seed", 99, "--samples", 2, "--horizon", 12))
    assert again["forecast_sha256"] == alone["forecast_sha256"] and again["prediction"] == alone["prediction"]
    for task_id in company:
        assert queue.ended(task_id)["status"] == "completed"
    other = queue.ended(queue.submit("--seed", 100, "--samples", 2, "--horizon", 12))
    assert other["prediction"] != alone["prediction"]


def test_eight_tasks_step_together_in_eight_slots(service, queue):
    # Urgent: they may use the slot that is kept for urgent work, too.
    ids = [queue.submit("--priority", "urgent", "--horizon", 20, "--seed", i) for i in range(8)]
    worker = service.start_worker("--slots", 8, "--step-delay-ms", 50)
    for task_id in ids:
        assert queue.ended(task_id)["status"] == "completed"
    wait_for(lambda: len(worker.log_lines(message="task finished")) == 8, 20, "eight lines")
    assert max(line["batch_size"] for line in worker.log_lines(message="task finished")) == 8


def test_low_tasks_leave_one_slot_free_and_an_urgent_one_takes_it_at_once(service, queue):
    low = [queue.submit("--priority", "low", "--horizon", 40) for _ in range(8)]
    service.start_worker("--slots", 4, "--step-delay-ms", 250, "--drain-timeout", 0)
    wait_for(lambda: queue.leases() == 3, 20, "three of four slots run low tasks")
    urgent = queue.submit("--priority", "urgent", "--horizon", 2)
    assert queue.ended(urgent)["status"] == "completed"
    assert all(queue.status(task_id) in ("queued", "processing") for task_id in low)


def test_beside_an_urgent_task_others_seldom_begin(service, queue):
    low = [queue.submit("--priority", "low", "--horizon", 2) for _ in range(60)]
    service.start_worker("--slots", 4, "--step-delay-ms", 20)
    wait_for(lambda: queue.status(low[3]) == "completed", 20, "low tasks come and go")
    urgent = queue.submit("--priority", "urgent", "--horizon", 40)
    assert queue.ended(urgent)["status"] == "completed"

    def times(task_id):
        return [int(ms or 0) for ms in service.redis.command("HMGET", f"{PREFIX}:task:{task_id}", "started_ms", "finished_ms")]
    began, ended = times(urgent)
    # 40 steps: one that was already claimed, one that begins, one that is claimed and waits
    assert sum(began < times(task_id)[0] < ended for task_id in low) <= 3, "each of them is a prefill in the way of the urgent one"
    for task_id in low:
        assert queue.ended(task_id)["status"] == "completed"


def test_thirty_samples_in_eight_slots_run_in_rounds(service, queue):
    service.start_worker("--slots", 8)
    small = [queue.submit("--horizon", 6) for _ in range(5)]
    wide = queue.submit("--samples", 30, "--horizon", 6, "--seed", 3)
    done = queue.ended(wide)
    assert done["status"] == "completed" and done["attempts"] == 1, done
    for task_id in small:
        assert queue.ended(task_id)["status"] == "completed"
    # Rounds do not show in the result.
    service.start_worker("--slots", 32, "--queues", "low")
    whole = queue.ended(queue.submit("--samples", 30, "--horizon", 6, "--seed", 3, "--priority", "low"))
    assert whole["prediction"] == done["prediction"]


def test_a_worker_claims_no_more_than_fits(service, queue):
    ids = [queue.submit("--samples", 8, "--horizon", 30) for _ in range(5)]
    service.start_worker("--slots", 8, "--step-delay-ms", 300, "--drain-timeout", 0)
    queue.running(ids[0])
    other = service.start_worker("--slots", 8)
    for task_id in ids[1:]:
        assert queue.ended(task_id)["status"] == "completed"
    wait_for(lambda: len(other.log_lines(message="task finished")) >= 3, 20, "it finishes what the busy one left in the queue")


def test_urgent_overtakes_low(service, queue):
    low = [queue.submit("--priority", "low", "--horizon", 10) for _ in range(10)]
    urgent = queue.submit("--priority", "urgent")
    worker = service.start_worker("--slots", 1)
    for task_id in low + [urgent]:
        assert queue.ended(task_id)["status"] == "completed"
    wait_for(lambda: len(worker.log_lines(message="task finished")) == 11, 20, "eleven lines")
    order = [line["task_id"] for line in worker.log_lines(message="task finished")]
    assert order.index(urgent) <= 1


def test_a_pinned_worker_leaves_other_priorities_alone(service, queue):
    urgent, low = queue.submit("--priority", "urgent"), queue.submit("--priority", "low")
    service.start_worker("--queues", "low")
    assert queue.ended(low)["status"] == "completed"
    assert queue.status(urgent) == "queued"


def test_a_suspect_runs_alone_and_keeps_its_place(service, queue):
    first, suspect, after = (queue.submit("--horizon", horizon) for horizon in (12, 6, 2))
    service.redis.command("HSET", f"{PREFIX}:task:{suspect}", "crashes", "2")  # its workers died twice
    worker = service.start_worker("--slots", 8, "--step-delay-ms", 30)
    for task_id in (first, suspect, after):
        assert queue.ended(task_id)["status"] == "completed"
    wait_for(lambda: len(worker.log_lines(message="task finished")) == 3, 20, "three lines")
    lines = worker.log_lines(message="task finished")
    assert [line["task_id"] for line in lines] == [first, suspect, after]
    assert {line["batch_size"] for line in lines} == {1}, "nothing stepped beside the suspect"
    stats = dict(line.split(":") for line in service.redis.command("INFO", "commandstats").splitlines() if ":" in line)
    assert stats["cmdstat_lpush"].startswith("calls=1,"), "the suspect's hint was put back once, not over and over"


def test_once_ends_after_one_task(service, queue):
    ids = [queue.submit(), queue.submit()]
    worker = service.start_worker("--once", wait=False)
    assert worker.popen.wait(30) == 0
    assert sorted(queue.status(task_id) for task_id in ids) == ["completed", "queued"]


def run_to_end(service, *arguments):
    done = subprocess.run([str(a) for a in (BUILD / "kronosq-worker", *arguments)], capture_output=True, text=True, timeout=30,
                          env=environment())
    return done.returncode, done.stderr


@pytest.mark.parametrize("flags, word", [
    (("--tokenizer", MODELS / "tiny-seed7/tokenizer"), "KRONOS_MODEL_PATH"),
    (("--model", "/nonexistent", "--tokenizer", "/nonexistent"), "/nonexistent"),
    (("--model", MODELS / "tiny-seed7/model", "--queues", "urgent,soon"), "KRONOS_QUEUES"),
    (("--model", MODELS / "tiny-seed7/model", "--device", "cuda"), "KRONOS_DEVICE"),
    (("--model", MODELS / "tiny-seed7/model", "--weights", "int8"), "KRONOS_WEIGHTS"),
    (("--model", MODELS / "tiny-seed7/model", "--kv", "fp8"), "KRONOS_KV"),
    (("--model", MODELS / "tiny-seed7/model", "--name", "not a name"), "not a name"),
    (("--model", MODELS / "tiny-seed7/model", "--tokenizer", MODELS / "tail-seed7/tokenizer"), "bits"),
])
def test_a_configuration_that_cannot_work_ends_with_78_and_says_why(service, flags, word):
    status, log = run_to_end(service, "--redis", service.redis.url, "--max-context", "48", *flags)
    assert status == 78, log
    assert word in log


def test_check_needs_no_redis(service):
    model = MODELS / "tiny-seed7/model"
    assert run_to_end(service, "--check", "--model", model, "--redis", "unix:///nonexistent.sock")[0] == 0
    assert run_to_end(service, "--check", "--model", model, "--queues", "soon")[0] == 78


def test_a_redis_that_evicts_is_refused_unless_allowed(service, queue):
    service.redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    refused = service.start_worker(wait=False)
    assert refused.popen.wait(30) == 78
    assert "maxmemory-policy" in refused.log()
    service.start_worker("--allow-volatile")
    assert queue.ended(queue.submit())["status"] == "completed"


def test_a_worker_waits_for_redis_when_it_starts_first(service, queue):
    service.redis.stop()
    worker = service.start_worker(wait=False)
    wait_for(lambda: worker.log_lines(message="waiting for redis"), 20, "the worker waits")
    service.redis.start()
    assert queue.ended(queue.submit())["status"] == "completed"


def test_a_worker_gives_up_waiting_for_redis_in_the_time_it_was_given(service):
    service.redis.stop()
    worker = service.start_worker("--startup-timeout", 1, wait=False)
    assert worker.popen.wait(30) == 75


def test_a_wrong_password_ends_the_start_instead_of_being_tried_for_minutes(service, tmp_path):
    """The bug: the worker waited out its whole start time for a Redis that had already said no."""
    service.redis.command("CONFIG", "SET", "requirepass", "right")
    password = tmp_path / "password"
    password.write_text("wrong\n")
    worker = service.start_worker("--redis-password-file", password, wait=False)
    assert worker.popen.wait(20) == 78
    assert "AUTH" in worker.log_lines(level="CRITICAL")[0]["message"]
    assert "wrong" not in worker.log()
    password.write_text("right\n")
    service.start_worker("--redis-password-file", password)


def test_a_task_that_fell_out_of_its_queue_is_put_back_by_the_audit(service, queue):
    """No script loses one; a hand in Redis, or a bug, can. The bug: nobody ever called the audit."""
    task_id = queue.submit()
    assert service.redis.command("ZREM", f"{PREFIX}:queued:normal", task_id) == 1
    service.redis.command("DEL", f"{PREFIX}:list:normal")
    worker = service.start_worker()
    assert queue.ended(task_id)["status"] == "completed"
    assert service.redis.command("HGET", f"{PREFIX}:stats", "audit_fixed") == "1"
    assert worker.log_lines(message="the audit mended an index")[0]["fixed"] == 1
