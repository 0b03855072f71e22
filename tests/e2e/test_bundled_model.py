"""The model that comes with the project: found without being named, trained, and called what it is."""
import json
import re
import subprocess

import pytest

from kronosq import ROOT, environment, wait_for


@pytest.fixture
def bundled(service):
    """A service as a stranger starts it: no model is named anywhere."""
    service.start_api()
    service.start_worker()
    return service


def rows(n):
    made = []
    with open(ROOT / "tests/data/candles-5min.csv", encoding="utf-8") as f:
        names = f.readline().strip().split(",")
        for line in f:
            made.append(dict(zip(names, line.strip().split(","), strict=True)))
    return made[-n:]


def body(n=200, steps=16, **members):
    history = rows(n)
    time = next(name for name in history[0] if "time" in name)
    return {"candles": [{k: float(v) for k, v in row.items() if k != time} for row in history],
            "timestamps": [row[time] for row in history],
            "prediction_timestamps": {"interval": "5min", "count": steps}, **members}


def test_a_worker_without_a_model_serves_the_bundled_one_and_says_so(bundled):
    wait_for(lambda: bundled.get("/v1/readyz").status == 200, 20)
    answer = bundled.post("/v1/predict/single", body(), headers={"Prefer": "wait=60"})
    assert answer.status == 200 and re.fullmatch(r"kronos-demo@[0-9a-f]{12}", answer.json["model_version"])


def test_repaired_candles_obey_their_order_and_no_volume_is_negative(bundled):
    wait_for(lambda: bundled.get("/v1/readyz").status == 200, 20)
    asked = body(overrides={"sample_count": 8, "seed": 11}, output={"repair": True, "quantiles": [0.1, 0.9]})
    answer = bundled.post("/v1/predict/single", asked, headers={"Prefer": "wait=60"}).json
    last = float(rows(1)[0]["close"])
    for row, low, high in zip(answer["prediction"], answer["quantiles"]["0.1"]["close"], answer["quantiles"]["0.9"]["close"], strict=True):
        assert row["low"] <= min(row["open"], row["close"]) and row["high"] >= max(row["open"], row["close"])
        assert row["volume"] >= 0 and row["amount"] >= 0
        # A trained model stays near the price; random weights do not.
        assert abs(row["close"] / last - 1) < 0.05 and low <= high
    assert answer["repaired"].keys() == {"ohlc", "volume"}


def test_pytorch_says_the_same_on_these_weights():
    if subprocess.run(["/usr/bin/python3", "-c", "import torch"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs python3-torch, which nothing else does")
    done = subprocess.run([ROOT / "scripts/evaluate-model", ROOT / "models/kronos-demo", "--series", "2", "--torch"],
                          capture_output=True, text=True, timeout=500,
                          # beside other tests its threads would wait for each other most of the time
                          env=environment(OMP_NUM_THREADS=1), check=False)
    assert done.returncode == 0, done.stderr
    history, drawn, logits = re.search(r": (\d+) of \d+ history tokens differ, (\d+) of \d+ greedy tokens differ, logits at most (\S+)", done.stdout).groups()
    assert (int(history), int(drawn)) == (0, 0) and float(logits) < 1e-4


def test_the_card_gives_the_figures_that_were_measured():
    card = (ROOT / "models/kronos-demo/MODEL_CARD.md").read_text()
    laws = json.loads((ROOT / "models/kronos-demo/evaluation.json").read_text())["laws"]
    for law, figures in laws.items():
        assert re.search(rf"^\| {law} \|.* {figures['close']['crps_ratio']:.3f} \|.* {figures['close']['coverage']:.2f} \|", card, re.M), law
    size = sum(path.stat().st_size for path in (ROOT / "models/kronos-demo").rglob("*") if path.is_file())
    assert size <= 6e6
