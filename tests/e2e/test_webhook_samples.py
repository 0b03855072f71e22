"""The code of docs/webhooks.md, as it stands there, verifies what is really sent, and nothing else."""
import json
import re
import subprocess

import pytest

from kronosq import BUILD, ROOT, environment, wait_for
from receiver import Receiver, secret_of

PAGE = (ROOT / "docs/webhooks.md").read_text()


def sample(language):
    return re.search(rf"^```{language}\n(.*?verify.*?)^```", PAGE, re.S | re.M)[1]


@pytest.fixture
def delivery(service):
    """A ping as it came, and the secret."""
    receiver = Receiver()
    service.write_masters()
    settings = service.webhook_settings(receiver.port)
    service.start_api(**settings)
    service.start_webhook(**settings)
    service.post("/v1/webhooks/ping", {"url": receiver.url()})
    found = wait_for(lambda: receiver.deliveries, 20)[0]
    receiver.close()
    return found, secret_of(service.masters[0], "local")


def in_python(secret, headers, body, path):
    space = {}
    exec(sample("python"), space)  # noqa: S102
    return space["verify"](secret, headers, body)


def in_node(secret, headers, body, path):
    (path / "body").write_bytes(body)
    call = f"console.log(verify({json.dumps(secret)}, {json.dumps(headers)}, require('fs').readFileSync({json.dumps(str(path / 'body'))})))"
    done = subprocess.run(["node", "-e", sample("js") + call], capture_output=True, text=True, timeout=30, check=True)
    return {"true\n": True, "false\n": False}[done.stdout]


def in_shell(secret, headers, body, path):
    (path / "body").write_bytes(body)
    words = [secret, headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], str(path / "body")]
    return subprocess.run(["sh", "-euc", sample("sh") + '\nverify "$@"', "sh", *words], timeout=30).returncode == 0


@pytest.mark.parametrize("verify", [in_python, in_node, in_shell])
def test_what_was_sent_is_verified_and_what_was_changed_is_not(delivery, tmp_path, verify):
    found, secret = delivery
    headers = dict(found.headers)
    assert verify(secret, headers, found.body, tmp_path)
    both = {**headers, "webhook-signature": "v1,AAAA " + headers["webhook-signature"]}
    assert verify(secret, both, found.body, tmp_path), "one of two is enough"
    assert not verify(secret, headers, found.body + b" ", tmp_path)
    assert not verify(secret, {**headers, "webhook-id": "evt_other"}, found.body, tmp_path)
    assert not verify(secret_of("A" * 43 + "=", "local"), headers, found.body, tmp_path)
    if verify is not in_shell:
        assert not verify(secret, {**headers, "webhook-timestamp": "1614265330"}, found.body, tmp_path), "it is old"


def test_the_vectors_of_the_contract_are_verified_by_the_shell_sample(tmp_path):
    contract = (ROOT / "schemas/webhook.md").read_text()
    cells = [re.findall(r"`([^`]+)`", cell) for cell in re.findall(r"^\| [^|]+ \| (.*?) \|$", contract[contract.index("| Vector |"):], re.M)]
    standard, ours = cells[0:4], cells[5:9]
    for (secret,), (event, timestamp), (body,), (signature,) in (standard, ours):
        headers = {"webhook-id": event, "webhook-timestamp": timestamp, "webhook-signature": signature}
        assert in_shell(secret, headers, body.encode(), tmp_path), event
    (master, name), (secret,) = cells[4:6]
    assert secret_of(master, name) == secret


def test_a_secret_file_made_as_the_page_says_is_accepted(tmp_path):
    commands = next(block for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.S | re.M) if "openssl rand" in block)
    done = subprocess.run(["sh", "-euc", commands], cwd=tmp_path, env={**environment(), "PATH": f"{BUILD}:{environment()['PATH']}"},
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
