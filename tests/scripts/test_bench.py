"""scripts/bench with the smallest model: every benchmark runs, says what its page promises, and counts what the service counts.

Times mean nothing here: other tests run beside it, and the programs are those with sanitizers.
"""
import json
import os
import subprocess

import pytest

import kronosq
from kronosq import BUILD, ROOT, single_body

OURS = {"KRONOSQ_BUILD": str(BUILD), "KRONOSQ_TEST_MODELS": str(kronosq.MODELS)}


def bench(*arguments, status=0):
    """What it printed."""
    done = subprocess.run([ROOT / "scripts/bench", *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, **OURS})
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def measured(tmp_path, *arguments):
    """The saved run, after a look at what every run has."""
    path = tmp_path / "run.json"
    bench(*arguments, "--json", path)
    run = json.loads(path.read_text())
    assert run["format"] == 1 and run["benchmark"] == arguments[0]
    assert {"date", "commit", "is_dirty", "machine", "noise", "setup", "rows"} <= set(run)
    assert run["machine"]["flops"] > 0 and run["machine"]["bytes_per_second"] > 0 and run["machine"]["cpu"]
    assert 0 <= run["noise"]["steal_share"] <= 1 and isinstance(run["noise"]["notes"], list)
    for row in run["rows"]:
        assert {"name", "unit", "better", "value"} <= set(row) and row["better"] in ("lower", "higher"), row
        assert row["value"] >= 0 and ("n" not in row or row["low"] <= row["value"] <= row["high"]), row
    names = [row["name"] for row in run["rows"]]
    assert len(set(names)) == len(names)
    return {row["name"]: row for row in run["rows"]}


def test_the_engine_is_measured_beside_its_floor(tmp_path):
    rows = measured(tmp_path, "engine", "--model", "tiny", "--runs", 2, "--only", "400->10 S=1,step of 2")
    assert set(rows) == {"fit 400->10 S=1", "step of 2"}, "half precision was not asked for"
    assert all(row["floor"] > 0 for row in rows.values())


def test_half_precision_is_compared_with_float32(tmp_path):
    rows = measured(tmp_path, "precision", "--model", "tiny")
    assert set(rows) == {f"{form}: {what} {token}" for form in ("fp16-weights", "fp16-kv", "fp16")
                         for what in ("divergence of", "another best") for token in ("s1", "s2")}
    assert all(0 < row["value"] < 1e-3 for name, row in rows.items() if "divergence" in name), "near, and not the same"


def test_the_queue_alone_is_measured(tmp_path):
    rows = measured(tmp_path, "queue", "--tasks", 30, "--seconds", 0.2, "--connections", "1,3", "--weights", "tiny")
    assert {"submit to claimed", "call submit", "call claim", "call complete", "redis CPU of a task", "tasks through 3 connections",
            "memory of a task that waits", "memory of a result kept"} <= set(rows)
    assert rows["memory of a task that waits"]["value"] > 12000, "the input alone is larger"


def test_the_api_alone_is_measured(tmp_path):
    rows = measured(tmp_path, "api", "--seconds", 0.2, "--only", "poll", "--weights", "tiny")
    assert rows and all("poll" in name and row["floor"] > 0 for name, row in rows.items())


def test_webhooks_are_measured_to_quick_receivers_and_beside_dead_ones(tmp_path):
    rows = measured(tmp_path, "webhook", "--events", 200, "--owed", 100, "--seconds", 0.4, "--weights", "tiny")
    assert set(rows) == {"deliveries to a quick receiver", "deliveries per second of CPU time", "CPU of a delivery", "resident memory, peak",
                         "outbox to receiver, alone", "outbox to receiver, beside dead ones"}
    assert rows["resident memory, peak"]["value"] > 1 << 20 and rows["CPU of a delivery"]["value"] > 0
    for name in ("outbox to receiver, alone", "outbox to receiver, beside dead ones"):
        assert rows[name]["n"] == 20 and rows[name]["value"] <= rows[name]["detail"]["p95_s"] <= rows[name]["detail"]["most_s"]


def test_the_whole_service_is_measured_in_every_scenario(tmp_path):
    rows = measured(tmp_path, "service", "--model", "tiny", "--history", 24, "--horizon", 8, "--workers", "1,2", "--slots", 2,
                    "--seconds", 0.4, "--warm-up", 0.1, "--tasks", 3, "--rates", "20")
    assert {"saturated 1 workers 2 slots", "saturated 2 workers 2 slots", "20 tasks a second", "urgent, idle",
            "urgent, behind low", "urgent behind low / idle, p95", "memory of 4 workers", "worker start to ready"} == set(rows)
    for name in ("saturated 1 workers 2 slots", "saturated 2 workers 2 slots"):
        detail = rows[name]["detail"]
        assert rows[name]["value"] > 0 and detail["submitted"] == detail["completed"] > 0 and detail["generator_share"] < 0.9
        assert detail["end_to_end_p50_s"] >= detail["submit_p50_s"] > 0


def test_an_open_loop_sends_what_was_due_and_counts_what_the_service_counts(service, tmp_path):
    service.start_api()
    service.start_worker()
    body = tmp_path / "body"
    body.write_text(json.dumps(single_body(overrides={"seed": "@@@@@@@@@@"})).replace('"@@@@@@@@@@"', "@@@@@@@@@@"))
    done = subprocess.run([BUILD / "tests/bench/load", "--port", str(service.port), "--body", body, "--rate", "60", "--seconds", "1.5"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)

    def stat(name):
        return int(service.redis.command("HGET", "kq:{tiny}:stats", name) or 0)
    assert report["counts"] == {"submitted": stat("submitted"), "completed": stat("completed"), "refused": 0, "failed": 0}
    assert 50 <= stat("submitted") <= 140, "90 are expected; Poisson draws them"
    results = {service.redis.command("HGET", key, "output") for key in service.redis.keys() if ":task:" in key}
    assert len(results) == stat("submitted"), "each request had a seed of its own"


def test_the_generator_says_what_was_refused(service, tmp_path):
    service.start_api()
    (tmp_path / "body").write_text('{"candles": 3}')
    done = subprocess.run([BUILD / "tests/bench/load", "--port", str(service.port), "--body", tmp_path / "body", "--clients", "1",
                           "--count", "3"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "refused with 4" in done.stderr
    assert json.loads(done.stdout)["counts"] == {"submitted": 0, "completed": 0, "refused": 3, "failed": 0}


def run_of(**values):
    """A saved run by hand; each value is a row of seconds."""
    return {"format": 1, "benchmark": "engine", "date": "2025-01-01T00:00:00Z", "commit": "abc", "is_dirty": False, "setup": {},
            "machine": {"cpu": "x", "cores": 2, "memory_bytes": 1, "kernel": "avx512", "blas_core": "x", "flops": 1e11,
                        "flops_spread": 0, "bytes_per_second": 1e10, "bytes_spread": 0},
            "noise": {"steal_share": 0, "others_share": 0, "load_before": 0, "notes": []},
            "rows": [{"name": name, "unit": "s", "better": "lower", "value": v, "low": v * 0.98, "high": v * 1.02, "n": 5}
                     for name, v in values.items()]}


def test_a_comparison_marks_what_is_more_than_noise(tmp_path):
    for name, run in (("old", run_of(much=1.0, little=1.0, slower=1.0)), ("new", run_of(much=0.5, little=1.04, slower=1.2))):
        (tmp_path / f"{name}.json").write_text(json.dumps(run))
    said = bench("show", tmp_path / "new.json", "--compare", tmp_path / "old.json").split("compared with")[1].splitlines()
    verdicts = {line.split()[0]: line.split()[-1] for line in said if line.startswith(("much", "little", "slower"))}
    assert verdicts == {"much": "better", "little": "same", "slower": "WORSE"}


def test_runs_of_two_commits_are_not_mixed_in_one_file(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(run_of(old=1.0)))
    said = bench("engine", "--model", "tiny", "--runs", 1, "--only", "step of 1", "--json", tmp_path / "run.json", "--add", status=1)
    assert "its commit is abc" in said
    assert json.loads((tmp_path / "run.json").read_text())["rows"][0]["name"] == "old", "the file is as it was"


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2, "rows": []}'])
def test_a_file_that_is_no_run_is_named(tmp_path, content):
    (tmp_path / "broken.json").write_text(content)
    assert "broken.json" in bench("show", tmp_path / "broken.json", status=1)


def test_the_saved_runs_in_docs_are_shown_and_drawn(tmp_path):
    said = bench("show", ROOT / "docs/figures")
    assert "\non paper, " in said and "1000" in said.split("on paper")[1]
    pytest.importorskip("matplotlib")
    bench("show", ROOT / "docs/figures", "--svg", tmp_path)
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    kept = {path.name for path in (ROOT / "docs/figures").glob("*.svg")}
    assert drawn == kept, "docs/figures has the figures of its runs, no others"
    for path in tmp_path.glob("*.svg"):
        assert "<svg" in path.read_text()


def test_pytorch_draws_the_same_greedy_tokens(tmp_path):
    pytest.importorskip("torch")
    rows = measured(tmp_path, "torch", "--model", "tiny", "--runs", 1, "--samples", "1,5")
    same = rows["greedy steps that are the same"]
    assert same["value"] == same["where"]["steps"] == 10
    assert {"PyTorch fit S=5", "ours fit S=5", "PyTorch / ours, S=5", "reference's way S=1, extrapolated"} <= set(rows)
