"""Saved runs as SVG: every figure of which the runs have the rows. Greys and colours that are read on white and on black."""
import pathlib
import sys

import saved

try:
    import matplotlib
except ImportError:
    sys.exit("bench: --svg draws with matplotlib: apt install --no-install-recommends python3-matplotlib, for /usr/bin/python3")

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

GREY = "#7d8590"
COLOURS = ("#3b82f6", "#e0742b", "#2f9e63", "#b66ad8", "#c9546a")
matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "kronosq", "font.family": "sans-serif", "font.size": 10,
    "text.color": GREY, "axes.labelcolor": GREY, "axes.edgecolor": GREY, "xtick.color": GREY, "ytick.color": GREY,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GREY, "grid.alpha": 0.25,
    "legend.frameon": False, "figure.figsize": (6.4, 3.8), "figure.autolayout": True, "savefig.transparent": True,
})


def points(run, x, name="", **fixed):
    """(x, value, floor) of the rows whose name begins so and that lie where `fixed` says, in order of x."""
    found = [(r["where"][x], r["value"], r.get("floor")) for r in run["rows"]
             if r["name"].startswith(name) and x in r.get("where", {}) and all(r["where"].get(place) == value for place, value in fixed.items())]
    return sorted(found)


def line(axes, found, colour, label, floor_label=None):
    xs, values, floors = zip(*found)
    axes.plot(xs, values, "o-", color=colour, label=label, markersize=4)
    if floor_label and all(floors):
        axes.plot(xs, floors, ":", color=colour, label=floor_label)


def finish(axes, title, x, y):
    axes.set_title(title, color=GREY, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(bottom=0)
    axes.legend()


def horizon(axes, run):
    """Seconds against the steps to forecast."""
    lines = [(points(run, "horizon", window=window, samples=samples, history=400), f"{window}, {samples} path{'s' * (samples > 1)}")
             for window, samples in (("fit", 1), ("fit", 5), ("exact", 1))]
    lines = [(found, label) for found, label in lines if len(found) > 1]
    for (found, label), colour in zip(lines, COLOURS):
        line(axes, found, colour, label, f"{label}: floor")
    finish(axes, f"{setup(run)}, 400 candles, one thread", "steps to forecast", "seconds")
    return bool(lines)


def history(axes, run):
    """Seconds against the candles given."""
    found = points(run, "history", window="fit", samples=1, horizon=30)
    if len(found) > 1:
        line(axes, found, COLOURS[0], "fit, 1 path, 30 steps", "floor")
        finish(axes, f"{setup(run)}, one thread", "candles given", "seconds")
    return len(found) > 1


def steps(axes, run):
    """Milliseconds of a step against the sequences in it."""
    found = [(x, value * 1e3, floor * 1e3) for x, value, floor in points(run, "sequences", "step")]
    if len(found) > 1:
        line(axes, found, COLOURS[0], "one step of all", "floor: weights at B, arithmetic at P")
        finish(axes, f"{setup(run)}, one thread", "sequences that step together", "milliseconds")
    return len(found) > 1


def throughput(axes, run):
    """Series per second against slots, a line for each number of workers."""
    counts = sorted({r["where"]["workers"] for r in run["rows"] if r["name"].startswith("saturated")})
    for n, colour in zip(counts, COLOURS):
        line(axes, points(run, "slots", "saturated", workers=n), colour, f"{n} worker{'s' * (n > 1)}", "what P and B allow")
    finish(axes, f"{setup(run)}, 400 candles, 120 steps, fit, through the whole service", "slots of each worker", "series per second")
    return bool(counts)


def rates(axes, run):
    """Seconds a client waits against the tasks that come in a second."""
    rows = sorted((r for r in run["rows"] if "rate" in r.get("where", {})), key=lambda r: r["where"]["rate"])
    for name, value, colour in (("median", lambda r: r["value"], COLOURS[0]), ("p95", lambda r: r["detail"]["p95"], COLOURS[1])):
        axes.plot([r["where"]["rate"] for r in rows], [value(r) for r in rows], "o-", color=colour, label=name, markersize=4)
    if len(rows) > 1:
        finish(axes, f"{setup(run)}, 400 candles, 120 steps, fit, {rows[0]['where']['workers']} workers of {rows[0]['where']['slots']} slots",
               "tasks that come in a second, at random times", "seconds from due to completed")
        axes.set_xlim(left=0)
    return len(rows) > 1


def urgent(axes, run):
    """The share of urgent tasks that were done within so many seconds."""
    rows = [r for r in run["rows"] if r["name"].startswith("urgent,")]
    for r, colour in zip(rows, COLOURS):
        axes.plot(r["quantiles"], range(101), color=colour, label={"idle": "idle service"}.get(r["where"]["load"], "behind a full backlog of low"))
    if rows:
        finish(axes, f"{setup(run)}, urgent tasks, {rows[0]['where']['workers']} workers of {rows[0]['where']['slots']} slots",
               "seconds from submit to completed", "% of the tasks")
        axes.set_xlim(left=0)
    return bool(rows)


def queue(axes, run):
    """Tasks per second through the queue alone against connections."""
    found = points(run, "connections")
    if len(found) > 1:
        line(axes, found, COLOURS[0], "submit, claim, complete")
        finish(axes, "the queue alone, one Redis, no model", "connections that never wait", "tasks per second")
    return len(found) > 1


def torch(axes, run):
    """Seconds by number of paths, PyTorch beside this engine."""
    rows = [(r["where"]["samples"], r["value"], saved.value(run, f"ours fit S={r['where']['samples']:.0f}"))
            for r in run["rows"] if r["name"].startswith("PyTorch fit")]
    rows = sorted(r for r in rows if r[2])
    for i, (label, colour) in enumerate((("PyTorch with a KV cache", COLOURS[1]), ("Kronosq", COLOURS[0]))):
        axes.bar([x + 0.4 * i - 0.2 for x in range(len(rows))], [r[1 + i] for r in rows], 0.36, color=colour, label=label)
    axes.set_xticks(range(len(rows)))
    axes.set_xticklabels([f"{r[0]:.0f}" for r in rows])
    finish(axes, f"{setup(run)}, 400 candles, 120 steps, fit, one thread", "paths", "seconds")
    return bool(rows)


def setup(run):
    return f"Kronos-{run['setup']['model']}"


FIGURES = {"engine": {"horizon": horizon, "history": history, "steps": steps}, "service": {"throughput": throughput, "rates": rates, "urgent": urgent},
           "queue": {"queue": queue}, "torch": {"torch": torch}}


def draw(runs, folder):
    """One SVG for each figure into `folder`; returns their paths."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for run in runs.values():
        for name, figure in FIGURES.get(run["benchmark"], {}).items():
            canvas, axes = pyplot.subplots()
            if figure(axes, run):
                drawn.append(folder / f"{name}.svg")
                canvas.savefig(drawn[-1], metadata={"Date": None, "Creator": None})
            pyplot.close(canvas)
    return drawn
