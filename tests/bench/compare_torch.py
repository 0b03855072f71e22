"""The same forecasts by PyTorch and by the engine, one after the other in one run, one thread each."""
import statistics
import sys
import tempfile
import time

import programs
import saved

try:
    import torch
except ImportError:
    sys.exit("bench: this compares with PyTorch: apt install --no-install-recommends python3-torch, for /usr/bin/python3")

import torch_kv  # noqa: E402

REFERENCE_STEPS = 2   # at each of the lengths it is extrapolated from


def same_tokens(engine, greedy):
    """Draws the engine's greedy forecast again; returns how many of its steps are the same from the first on."""
    history = torch.tensor(greedy["history"]).view(-1, 6)
    _, s1, s2 = engine.forecast(history, greedy["minutes"], greedy["horizon"], 1, temperature=0)
    for step, ours in enumerate(zip(greedy["s1"], greedy["s2"])):
        if ours != (int(s1[0, step]), int(s2[0, step])):
            return step
    return greedy["horizon"]


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def reference_seconds(engine, history, minutes, horizon):
    """The reference's way, extrapolated: steps at the shortest window and at the full one, the time in between on a line.

    Its window is the last min(L + i, C) places, so it is full from step C - L on.
    """
    s1, s2, times, *_ = engine.prepare(history, minutes)
    s1, s2 = (torch.cat([s, s[:horizon]])[None] for s in (s1, s2))
    context, length = engine.context, len(history)

    def step(n):
        return min(seconds_of(lambda: engine.reference_step(s1[:, :n], s2[:, :n], times[:n])) for _ in range(REFERENCE_STEPS))
    short, full = min(length, context), min(length + horizon, context)
    at_short, at_full = step(short), step(full)
    growing = full - short
    return growing * (at_short + at_full) / 2 + (horizon - growing) * at_full


def measure(options, folder, context):
    torch.set_num_threads(1)
    engine = torch_kv.Engine(folder, context)
    wanted = ",".join(f"fit 400->{10 if context < 400 else 120} S={s}" for s in options.samples)
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        ours = programs.run("engine", "--runs", options.runs, "--max-context", context, "--greedy", file.name,
                            "--only", f"{wanted},exact 400->120 S=1", folder / "model", folder / "tokenizer")
        greedy = saved.read(file.name)
    same = same_tokens(engine, greedy)
    history, minutes = torch.tensor(greedy["history"]).view(-1, 6), greedy["minutes"]
    rows = []
    for samples in options.samples:
        def forecast(s=samples):
            engine.forecast(history, minutes, greedy["horizon"], s)
        forecast()
        seconds = [seconds_of(forecast) for _ in range(options.runs)]
        row = {"name": f"PyTorch fit S={samples}", "unit": "s", "better": "lower", "value": statistics.median(seconds),
               "low": min(seconds), "high": max(seconds), "n": len(seconds), "where": {"samples": samples}}
        rows.append(row)
        own = saved.row(ours, f"fit {greedy['n_past']}->{greedy['horizon']} S={samples}")
        if own:
            rows.append({**own, "name": f"ours fit S={samples}", "detail": {}})
            rows.append({"name": f"PyTorch / ours, S={samples}", "unit": "x", "better": "higher", "value": row["value"] / own["value"],
                         "detail": {"torch_s": row["value"], "ours_s": own["value"], "floor_s": own["floor"]}})
    if not options.no_reference:
        reference = reference_seconds(engine, history, minutes, greedy["horizon"])
        rows.append({"name": "reference's way S=1, extrapolated", "unit": "s", "better": "lower", "value": reference})
        for window in ("exact", "fit"):
            own = saved.row(ours, f"{window} {greedy['n_past']}->{greedy['horizon']} S=1")
            if own:
                rows.append({"name": f"reference / ours, {window} S=1", "unit": "x", "better": "higher",
                             "value": reference / own["value"], "detail": {"reference_s": reference, "ours_s": own["value"]}})
    rows.append({"name": "greedy steps that are the same", "unit": "", "better": "higher", "value": same,
                 "where": {"steps": greedy["horizon"]}})
    return {"machine": ours["machine"], "rows": rows,
            "setup": {**ours["setup"], "torch": torch.__version__, "history": greedy["n_past"], "horizon": greedy["horizon"]}}
