"""Saved runs: their form, read, written, added to, compared. docs/performance.md documents every member."""
import json
import pathlib

FORMAT = 1
ALWAYS_NOISE = 0.03   # no difference below this is called one


class BadRun(Exception):
    """A file that is no saved run."""


def read(path):
    """One run."""
    try:
        run = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadRun(f"{path}: {e}") from None
    if not isinstance(run, dict) or run.get("format") != FORMAT or not isinstance(run.get("rows"), list):
        raise BadRun(f"{path}: not a run of scripts/bench (format {FORMAT})")
    return run


def read_all(path):
    """The runs of a file, or of every .json of a folder, by the name of the file."""
    path = pathlib.Path(path)
    if path.is_dir():
        return {p.stem: read(p) for p in sorted(path.glob("*.json"))}
    return {path.stem: read(path)}


def write(run, path):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(run), indent=1) + "\n", encoding="utf-8")


def rounded(value):
    """Six digits are more than any measurement has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(v) for name, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def add(run, path):
    """The run with the rows that the file at `path` has and it has not; those must be of the same commit."""
    if not pathlib.Path(path).exists():
        return run
    old = read(path)
    for member in ("benchmark", "commit"):
        if old.get(member) != run.get(member):
            raise BadRun(f"{path}: its {member} is {old.get(member)}, not {run.get(member)}: save this run elsewhere")
    new = {row["name"] for row in run["rows"]}
    rows = [row for row in old["rows"] if row["name"] not in new] + run["rows"]
    setup = {**old.get("setup", {}), **run.get("setup", {})}
    notes = old["noise"]["notes"] + [n for n in run["noise"]["notes"] if n not in old["noise"]["notes"]]
    return {**old, **run, "setup": setup, "noise": {**run["noise"], "notes": notes}, "rows": rows}


def row(run, name):
    """The row of that name, or None."""
    return next((r for r in (run or {}).get("rows", []) if r["name"] == name), None)


def value(run, name):
    found = row(run, name)
    return found["value"] if found else None


def half_width(r):
    """Half of what lies between the quartiles, relative to the value."""
    if "low" not in r or not r["value"]:
        return 0.0
    return abs(r["high"] - r["low"]) / 2 / abs(r["value"])


def compare(new, old):
    """(row, old value, new / old, verdict) of every row that both have."""
    found = []
    for r in new["rows"]:
        before = row(old, r["name"])
        if not before or not before["value"] or before["unit"] != r["unit"]:
            continue
        ratio = r["value"] / before["value"]
        noise = ALWAYS_NOISE + half_width(r) + half_width(before)
        verdict = "same"
        if abs(ratio - 1) > noise:
            verdict = "better" if (ratio < 1) == (r["better"] == "lower") else "WORSE"
        found.append((r, before["value"], ratio, verdict))
    return found
