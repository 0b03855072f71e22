"""make install and make uninstall, into a folder of the test's own."""
import os
import re
import stat
import subprocess

import pytest

from kronosq import BUILD, ROOT, environment

PROGRAMS = ("kronosq", "kronosq-api", "kronosq-webhook", "kronosq-worker")


def make(*words):
    env = environment()
    for name in ("MAKEFLAGS", "MFLAGS", "PREFIX", "DESTDIR"):
        env.pop(name, None)
    done = subprocess.run(["make", "-s", f"MODE={BUILD.name}", *map(str, words)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def files(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("prefix", ["/usr/local", "/opt/kronosq"])
def test_what_was_installed_runs_and_what_was_uninstalled_is_gone(tmp_path, prefix):
    make("install", f"DESTDIR={tmp_path}", f"PREFIX={prefix}")
    root = tmp_path / prefix.lstrip("/")
    assert {name for name in files(root) if not name.startswith("share/")} == {
        *(f"bin/{program}" for program in PROGRAMS), "lib/systemd/system/kronosq.target",
        "lib/systemd/system/kronosq-api.service", "lib/systemd/system/kronosq-webhook.service",
        "lib/systemd/system/kronosq-worker@.service"}
    examples = {path.name for path in (ROOT / "systemd").glob("*.example")}
    assert {name for name in files(root) if name.startswith("share/")} == {
        f"share/doc/kronosq/{name}" for name in examples | {"LICENSE", "operations.md", "webhooks.md"}} | {
        f"share/kronosq/models/kronos-demo/{part}/{name}" for part in ("model", "tokenizer")
        for name in ("config.json", "model.safetensors")}
    assert files(tmp_path) == {f"{prefix[1:]}/{name}" for name in files(root)}, "nothing is put anywhere else"
    for program in PROGRAMS:
        done = subprocess.run([root / "bin" / program, "--version"], env=environment(), capture_output=True, text=True, timeout=20)
        assert done.returncode == 0 and re.fullmatch(rf"{program} \d+\.\d+\.\d+\n", done.stdout), done
    for path in root.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.parent.name == "bin" else 0o644), path

    # what is not ours stays
    strangers = [root / "bin/other", root / "lib/systemd/system/kronosq-local.service", root / "share/doc/other"]
    for path in strangers:
        path.write_text("")
    make("uninstall", f"DESTDIR={tmp_path}", f"PREFIX={prefix}")
    assert files(tmp_path) == {str(path.relative_to(tmp_path)) for path in strangers}
    assert not (root / "share/doc/kronosq").exists() and not (root / "share/kronosq").exists()
    make("uninstall", f"DESTDIR={tmp_path}", f"PREFIX={prefix}")


def test_installed_units_start_the_installed_programs(tmp_path):
    make("install", f"PREFIX={tmp_path}")
    for unit in ("kronosq-api.service", "kronosq-worker@.service"):
        text = (tmp_path / "lib/systemd/system" / unit).read_text()
        assert f"ExecStart={tmp_path}/bin/kronosq-" in text and "/usr/local" not in text
    found = sorted((tmp_path / "lib/systemd/system").iterdir())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *found], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_an_installed_worker_finds_the_model_that_came_with_it(tmp_path):
    make("install", f"PREFIX={tmp_path}")
    done = subprocess.run([tmp_path / "bin/kronosq-worker", "--check"], env=environment(), capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    for path in (tmp_path / "share/kronosq").rglob("config.json"):
        path.unlink()
    (tmp_path / "share/kronosq/models/kronos-demo").rename(tmp_path / "elsewhere")
    done = subprocess.run([tmp_path / "bin/kronosq-worker", "--check"], env=environment(), capture_output=True, text=True, timeout=20)
    assert done.returncode == 78 and "the bundled kronos-demo is neither in" in done.stderr


def test_installing_over_a_running_version_leaves_the_running_program_alone(tmp_path):
    make("install", f"PREFIX={tmp_path}")
    with open(tmp_path / "bin/kronosq-api", "rb") as running:
        make("install", f"PREFIX={tmp_path}")
        assert os.fstat(running.fileno()).st_ino != (tmp_path / "bin/kronosq-api").stat().st_ino
