"""scripts/demo, the first thing a stranger runs: it works, and it leaves nothing behind."""
import json
import os
import pathlib
import re
import signal
import subprocess
import urllib.request

import pytest

from kronosq import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]


def start_demo(directory, *arguments, **settings):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KRONOS_", "KRONOSQ_BUILD"))}
    output = open(directory / "output", "w+")
    # Tests started in the background of a script ignore Ctrl-C, and a shell cannot unlearn what it inherits.
    return subprocess.Popen([ROOT / "scripts/demo", *arguments],
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=directory,
                            start_new_session=True, env={**kept, "TMPDIR": str(directory), **settings})


def processes_of(directory):
    """Commands of the running processes that mention the demo's directory."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(directory / "kronosq-demo").encode() in command:
            found.append((entry / "cmdline").read_bytes())
    return found


def output(directory):
    return (directory / "output").read_text()


def assert_nothing_is_left(directory):
    wait_for(lambda: not processes_of(directory), 20, "every process of the demo has ended")
    assert [path.name for path in directory.iterdir()] == ["output"]


def test_the_demo_prints_a_forecast_as_table_and_chart_and_stops_everything(tmp_path):
    demo = start_demo(tmp_path, "--steps", "12")
    assert demo.wait(240) == 0, output(tmp_path)
    said = output(tmp_path)
    assert "not for trading" in said and "░" in said, "the model is called what it is, and its band is drawn"
    assert re.search(r"^12 candles by kronos-demo@[0-9a-f]{12} in \d+ ms", said, re.M), said
    assert len(re.findall(r"^2024-06-18T1[12]:\d\d:00 +\d", said, re.M)) == 8 and "(4 more rows: --all)" in said
    assert "┊" in said and "┤" in said and "volume" in said
    assert_nothing_is_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_kept_demo_serves_until_it_is_told_to_stop(tmp_path, number):
    demo = start_demo(tmp_path, "--keep", "--steps", "2")
    wait_for(lambda: "stays up until Ctrl-C" in output(tmp_path) and "tail -f" in output(tmp_path), 240, "the demo keeps")
    server = re.search(r"export KRONOSQ_SERVER=(\S+)", output(tmp_path)).group(1)
    with urllib.request.urlopen(server + "/v1/readyz", timeout=10) as reply:
        assert json.load(reply)["workers"] == 2
    os.killpg(demo.pid, number)
    assert demo.wait(60) == 128 + number
    assert_nothing_is_left(tmp_path)


def test_a_demo_that_cannot_go_on_says_why_and_stops_everything(tmp_path):
    demo = start_demo(tmp_path, KRONOS_MODEL_PATH=str(tmp_path / "no-such-model"))
    assert demo.wait(240) == 1
    assert "no-such-model" in output(tmp_path)
    assert_nothing_is_left(tmp_path)


def test_candles_the_server_refuses_are_named_with_their_field(tmp_path):
    (tmp_path / "bad.csv").write_text("timestamp,open,high,low,close\n2024-01-01,1,2,0.5,1\n2024-01-02,1,0.9,0.5,1\n")
    demo = start_demo(tmp_path, "--csv", str(tmp_path / "bad.csv"), "--steps", "2")
    assert demo.wait(240) == 1
    assert "#/candles/high/1: high 0.9 is below" in output(tmp_path)
    assert "timestamp\":" not in output(tmp_path), "no daemon's log hides the reason"
    (tmp_path / "bad.csv").unlink()
    assert_nothing_is_left(tmp_path)
