"""The webhook example of README.md, pasted as it stands: an event arrives at its receiver."""
import json
import os
import re
import signal
import socket
import subprocess

from kronosq import BUILD, MODELS, ROOT, environment, wait_for

BLOCK = re.search(r"^```sh webhook\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def test_the_example_of_the_readme_shows_an_event(service, tmp_path):
    receiver, api = free_port(), free_port()
    text = BLOCK.replace("9000", str(receiver)).replace("localhost:8000", f"localhost:{api}").replace("build/release/", f"{BUILD}/")
    assert text.count(str(receiver)) == 3
    model = MODELS / "tiny-seed7"
    env = environment(KRONOS_REDIS_URL=service.redis.url, KRONOS_LISTEN=f"127.0.0.1:{api}", KRONOSQ_SERVER=f"http://127.0.0.1:{api}",
                      KRONOS_MODEL_PATH=model / "model", KRONOS_TOKENIZER_PATH=model / "tokenizer", KRONOS_MAX_CONTEXT=48, KRONOS_MODEL_NAME="tiny",
                      KRONOS_DEFAULT_MODEL="tiny")
    with open(tmp_path / "output", "wb") as output:
        shell = subprocess.Popen(["bash", "-euo", "pipefail", "-c", text + "wait\n"], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True)
    said = lambda: (tmp_path / "output").read_text()
    try:
        line = wait_for(lambda: re.search(r'^\{"type":"task.completed".*$', said(), re.M), 60, "the event is printed")[0]
        assert json.loads(line)["data"]["status"] == "completed"
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(30)
    assert "Sanitizer" not in said()
