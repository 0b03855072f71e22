"""The C programs behind scripts/bench: built, run, their report read; the machine they run on."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KRONOSQ_BUILD", ROOT / "build/release"))
MODELS = pathlib.Path(os.environ.get("KRONOSQ_TEST_MODELS", ROOT / "build/test-models"))


def build():
    """The release and its benchmarks; another build that somebody names must be there."""
    if "KRONOSQ_BUILD" not in os.environ:
        subprocess.run(["make", "-s", f"-j{os.cpu_count()}", "all", "bench"], cwd=ROOT, check=True, stdout=sys.stderr)


def model(size):
    """Its folder with model/ and tokenizer/, written if it is missing."""
    subprocess.run([ROOT / "scripts/test-models", size], cwd=ROOT, check=True, stdout=sys.stderr)
    return next(MODELS.glob(f"{size}-seed*"))


def start(name, *arguments):
    """A program that writes its report to standard output."""
    out = tempfile.TemporaryFile("w+", encoding="utf-8")
    process = subprocess.Popen([BUILD / "tests/bench" / name, *map(str, arguments)], stdout=out, stdin=subprocess.DEVNULL, cwd=ROOT)
    process.report = out
    return process


def finish(process):
    """Its report; ends this program when it failed: it has said why."""
    if process.wait() != 0:
        sys.exit(f"bench: {pathlib.Path(process.args[0]).name} failed")
    process.report.seek(0)
    with process.report as out:
        return json.load(out)


def run(name, *arguments):
    return finish(start(name, *arguments))


def machine(folder, both=False, context=512):
    """P and B, and what a task costs a core at least, by slots; with `both` also for two cores that are busy at once."""
    arguments = ("engine", "--only", "machine", "--max-context", context, folder / "model", folder / "tokenizer")
    alone = run(*arguments)
    found, shares = alone["machine"], [alone.get("shares", {})]
    if both:
        pair = [finish(p) for p in [start(*arguments) for _ in range(2)]]
        found["both"] = {name: min(m["machine"][name] for m in pair) for name in ("flops", "bytes_per_second")}
        shares.append(pair[0].get("shares", {}))
    return found, shares


def commit():
    """(commit, are there changes) of the working tree."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    dirty = bool(git("status", "--porcelain", "--untracked-files=no", "--", ":!docs", ":!*.md"))
    return git("rev-parse", "--short=12", "HEAD") or "unknown", dirty
