"""The example configurations are the manual: complete, true, and accepted by what they are for."""
import re
import subprocess

import pytest

import kronosq
from kronosq import BUILD, MODELS, ROOT, Process, environment, free_port, single_body, wait_for

EXAMPLES = ROOT / "systemd"
DAEMONS = ("api", "worker", "webhook")
DEBUG_ONLY = {"KRONOS_FAIL"}
MODEL = ("--model", MODELS / "tiny-seed7/model", "--tokenizer", MODELS / "tiny-seed7/tokenizer")


def run(daemon, *flags):
    done = subprocess.run([BUILD / f"kronosq-{daemon}", *map(str, flags)], env=environment(), capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(daemon, *flags):
    """{name: (value, origin)} of --print-config; settings that are flags only are no part of a file."""
    lines = (re.fullmatch(r"(\S+?)=(.*?)  # (.*)", line) for line in run(daemon, *flags, "--print-config").splitlines())
    return {line[1]: (line[2], line[3]) for line in lines if line[1].startswith("KRONOS_") and line[1] not in DEBUG_ONLY}


def ranges(daemon):
    """{name: "1..256"} of --help."""
    return {name: found for name, found in re.findall(r"(KRONOS_\w+)\n.*\n +(\S+\.\.\S+), ", run(daemon, "--help"))}


def paragraphs(daemon):
    """{name: (comment, value)}: each setting stands commented out below the comment that explains it."""
    found = {}
    for paragraph in (EXAMPLES / f"{daemon}.conf.example").read_text().split("\n\n"):
        settings = re.findall(r"^#(KRONOS_\w+)=(.*)$", paragraph, re.M)
        assert len(settings) <= 1, f"one setting a paragraph: {paragraph}"
        for name, value in settings:
            assert name not in found, name
            found[name] = (" ".join(re.findall(r"^# (.*)$", paragraph, re.M)), value)
    return found


def uncommented(daemon, directory):
    path = directory / f"{daemon}.conf"
    path.write_text(re.sub(r"^#(KRONOS_\w+=)", r"\1", (EXAMPLES / f"{daemon}.conf.example").read_text(), flags=re.M))
    return path


@pytest.mark.parametrize("daemon", DAEMONS)
def test_the_example_names_every_setting_with_its_default(daemon):
    defaults = {name: value for name, (value, origin) in printed(daemon).items()}
    assert {name: value for name, (_, value) in paragraphs(daemon).items()} == defaults


@pytest.mark.parametrize("daemon", DAEMONS)
def test_the_example_as_it_is_changes_nothing(daemon):
    assert printed(daemon, "--config", EXAMPLES / f"{daemon}.conf.example") == printed(daemon)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_every_default_taken_out_of_its_comment_is_read_from_the_file_and_valid(daemon, tmp_path):
    path = uncommented(daemon, tmp_path)
    read = printed(daemon, "--config", path)
    assert {name for name, (_, origin) in read.items() if not origin.startswith(f"{path}:")} == set()
    assert {name: value for name, (value, _) in read.items()} == {name: value for name, (value, _) in printed(daemon).items()}
    masters = tmp_path / "masters"
    masters.touch(mode=0o600)
    masters.write_text("A" * 43 + "=\n")
    run(daemon, "--config", path, "--check",
        *{"worker": MODEL, "webhook": ("--webhook-secret-file", masters)}.get(daemon, ()))


@pytest.mark.parametrize("daemon", DAEMONS)
def test_every_setting_is_explained_and_its_range_is_the_one_that_is_checked(daemon):
    checked = ranges(daemon)
    for name, (comment, _) in paragraphs(daemon).items():
        assert len(comment) > 10, f"{name} has no explanation"
        if name in checked:
            assert checked[name] in comment, f"{name}: the range is {checked[name]}"
        else:
            assert not re.search(r"\d\.\.\d", comment), f"{name} has no range"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_the_example_says_of_exactly_the_unused_settings_that_they_have_no_effect(daemon):
    """An unused setting that looks alive is worse than a missing one; this fails the day one comes to life."""
    code = "\n".join(path.read_text() for path in [*(ROOT / daemon).glob("*.c"), *(ROOT / "common").glob("*.c")])
    used = {"KRONOS_" + name for name in re.findall(r"\bCONFIG_([A-Z0-9_]+)\b", code)}
    for name, (comment, _) in paragraphs(daemon).items():
        assert ("No effect yet" in comment) == (name not in used), name


def test_redis_with_our_settings_and_user_runs_a_forecast_and_refuses_nothing(tmp_path):
    password = "a-password-of-this-test"
    settings = (EXAMPLES / "kronosq-redis.conf.example").read_text()
    assert settings.count("PASSWORD") == 1
    conf = tmp_path / "redis.conf"
    conf.write_text(re.sub(r"^#user ", "user ", settings, flags=re.M).replace("PASSWORD", password))
    (tmp_path / "password").write_text(password + "\n")
    port = free_port()
    service = kronosq.Service(tmp_path)
    # A unix socket for the test, which is the default user; the daemons come over TCP as kronosq.
    service.redis.process = Process("redis", ["redis-server", conf, "--port", port, "--unixsocket", service.redis.socket_path,
                                              "--dir", tmp_path], tmp_path)
    try:
        wait_for(service.redis.answers, 20, "Redis answers")
        service.redis.url = f"redis://kronosq@127.0.0.1:{port}/0"
        service.start_api("--redis-password-file", tmp_path / "password")
        worker = service.start_worker("--redis-password-file", tmp_path / "password")
        wait_for(lambda: service.get("/v1/readyz").status == 200, 20)
        reply = service.post("/v1/predict/single", single_body(), headers={"Prefer": "wait=30"})
        assert reply.status == 200 and len(reply.json["prediction"]) == 8, reply
        assert worker.stop() == 0
        assert service.redis.command("ACL", "LOG") == []
        assert service.api.log_lines(level="WARNING") == [] and worker.log_lines(level="WARNING") == []
        assert password not in service.logs()
    finally:
        complaints = service.close()
    assert complaints == []
