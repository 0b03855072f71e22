"""docs/api.md is pasted into a shell as it stands, in order, and says what it promises."""
import json
import os
import re
import subprocess

import pytest

from kronosq import ROOT, wait_for

PAGE = (ROOT / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture
def shell(service, tmp_path):
    service.start_api("--default-model", "tiny")
    service.start_worker()
    wait_for(lambda: service.get("/v1/readyz").status == 200, 20)

    def run(text):
        env = dict(os.environ, KRONOSQ=f"http://127.0.0.1:{service.port}")
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    run(BLOCKS[0])
    return run


def block(words):
    found = [text for text in BLOCKS if words in text]
    assert len(found) == 1, words
    return found[0]


def test_there_are_six_flows_and_every_block_is_tried_here():
    assert len(re.findall(r"^## \d", PAGE, re.M)) == 6 and len(BLOCKS) == 8


def test_ask_and_wait(shell):
    answer = json.loads(shell(block("-H 'Prefer: wait=30' --json @request.json")))
    assert answer["series_id"] == "BTC-USD" and len(answer["prediction"]) == 4
    assert answer["prediction"][0]["timestamp"] == "2025-01-01T09:30:00Z"


def test_submit_poll_fetch(shell):
    state, csv = shell(block("text/csv")).split("}\nseries_id")
    assert '"status": "completed"' in state and csv.count("\nBTC-USD,") == 4


def test_many_series(shell):
    lines = shell(block("batch.json"))
    assert re.findall(r'"series_id": "(\w+)-USD",\s+"steps": (\d)', lines) == [("BTC", "4"), ("ETH", "4"), ("SOL", "2")]


def test_how_sure(shell):
    answer = json.loads(shell(block("quantiles")))
    assert len(answer["p_up"]) == 4 and all(low <= high for low, high in zip(answer["low"], answer["high"], strict=True))


def test_watch_it_happen(shell):
    stream = shell(block("/events"))
    assert re.findall(r"^id: 1-(\d)$", stream, re.M) == ["1", "2", "3", "4"]
    assert stream.rstrip().split("event: ")[-1].startswith("completed")


def test_urgent_once_in_time_or_not_at_all(shell):
    answer = json.loads(shell(block("deadline_seconds")))
    assert answer["status"] in ("cancelled", "processing", "completed")


def test_an_error_says_where(shell):
    assert json.loads(shell(block(".candles.high[3]")))[0] == {
        "pointer": "#/candles/high/3", "code": "ohlc_order", "detail": "high 1 is below open 102"}
