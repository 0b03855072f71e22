"""The figures this project wants to reach, for Kronos-small, 400 candles -> 120, and what bounds those that are not reached."""
import saved
from table import shown

SERVICE_SECONDS = 27.5   # the FastAPI service this one replaces: S=1, one thread, on a CPU with P = 230 GFLOP/s, B = 40 GB/s
ONE = "fit 400->120 S=1"


def goal(name, value, limit, at_most, unit="x", bound=""):
    """One line: what was reached, what was wanted, and the sentence for when it was not."""
    reached = value <= limit if at_most else value >= limit
    sign = "<=" if at_most else ">="
    return {"name": name, "value": value, "limit": limit, "reached": reached, "shown": shown(value, unit),
            "goal": f"{sign} {shown(limit, unit)}", "verdict": "reached" if reached else "NOT reached",
            "bound": "" if reached else bound}


def _forecast_bound(run, r):
    """Where the time above the floor is: the parts of a forecast."""
    step_floor = run["setup"]["step_weight_bytes"] / run["machine"]["bytes_per_second"]
    d, w = r["detail"], r["where"]
    return (f"prefill {shown(d['begin'], 's')}, {w['horizon']:.0f} steps of {shown(d['step'], 's')} where the weights alone take "
            f"{shown(step_floor, 's')}, decoding {shown(d['read'], 's')}; the keys and values, which the floor leaves out, make it "
            f"{shown(d['floor_with_kv'], 's')}, {r['value'] / d['floor_with_kv']:.2f} x")


def engine(run):
    found = []
    one, exact, joint = (saved.row(run, name) for name in (ONE, "exact 400->120 S=1", "step of 16"))
    if one:
        found.append(goal("one request, fit, over its floor", one["value"] / one["floor"], 1.25, True, "x", _forecast_bound(run, one)))
    slower = (f"{SERVICE_SECONDS} s were measured on a CPU with P = 230 GFLOP/s and B = 40 GB/s, this one has "
              f"{run['machine']['flops'] * 1e-9:.0f} and {run['machine']['bytes_per_second'] * 1e-9:.0f}; "
              "scripts/bench torch compares on one machine")
    for r, limit in ((one, 65), (exact, 20)):
        if r:
            found.append(goal(f"{r['where']['window']}: times faster than the FastAPI service's {SERVICE_SECONDS} s",
                              SERVICE_SECONDS / r["value"], limit, False, "x", slower))
    one_step, half = saved.row(run, "step of 1"), saved.row(run, "half: step of 1")
    if one_step and half:
        found.append(goal("layers in half precision: times faster at one sequence", one_step["value"] / half["value"], 1.6, False, "x",
                          f"the floors, {shown(one_step['floor'], 's')} and {shown(half['floor'], 's')}, allow "
                          f"{one_step['floor'] / half['floor']:.2f} x; what is not weights stays as it is"))
    if joint:
        m = run["machine"]
        compute = joint["floor"] * m["bytes_per_second"] > run["setup"]["step_weight_bytes"] * 1.001
        found.append(goal("one step of 16 sequences over its floor", joint["value"] / joint["floor"], 1.5, True, "x",
                          f"the floor is {'arithmetic at P' if compute else 'reading the weights at B'} alone; attention over the "
                          "keys and values of 16 sequences, norms, sampling and the time features come on top"))
    return found


def api(run):
    """Requests per second of the API's CPU time, the best over the numbers of connections."""
    found = []
    for request, limit in (("submit JSON", 2500), ("submit msgpack", 7000), ("poll", 30000)):
        of_it = [r for r in run["rows"] if r["where"]["request"] == request]
        if of_it:
            best = min(of_it, key=lambda r: r["value"])
            bound = (f"a bare evhttp that reads the same body does {1 / best['floor']:.0f} /s on this core; the API takes "
                     f"{best['value'] / best['floor']:.1f} times as long")
            found.append(goal(f"{request} per second of CPU time", 1 / best["value"], limit, False, "/s", bound))
    return found


def torch(run):
    found = []
    for samples, limit in ((1, 2.3), (5, 4), (30, 6)):
        r = saved.row(run, f"PyTorch / ours, S={samples}")
        if r:
            found.append(goal(f"times faster than PyTorch with a KV cache, S={samples}", r["value"], limit, False, "x",
                              f"PyTorch {shown(r['detail']['torch_s'], 's')}, ours {shown(r['detail']['ours_s'], 's')}, of which "
                              f"{shown(r['detail']['floor_s'], 's')} are the floor: at most {r['detail']['torch_s'] / r['detail']['floor_s']:.1f} x"))
    slow = "extrapolated from single steps of PyTorch"
    r = saved.row(run, "reference / ours, exact S=1")
    if r:
        found.append(goal("exact: times faster than the reference's way, this machine", r["value"], 20, False, "x", slow))
    r = saved.row(run, "reference / ours, fit S=1")
    if r:
        found.append(goal("fit: times faster than the reference's way, this machine", r["value"], 65, False, "x", slow))
    return found


def service(run):
    found = []
    best = max((r for r in run["rows"] if r["name"].startswith("saturated 2 workers")), key=lambda r: r["value"], default=None)
    if best:
        bound = (f"P = {run['machine']['flops'] * 1e-9:.0f} GFLOP/s and B = {run['machine']['bytes_per_second'] * 1e-9:.0f} GB/s allow "
                 f"{shown(best['floor'], best['unit'])} with these slots ({best['value'] / best['floor']:.0%} of that is reached); "
                 "the goal is for P = 230 GFLOP/s")
        found.append(goal("saturated, 2 workers, fit: series per second", best["value"], 9, False, "/s", bound))
    r = saved.row(run, "urgent behind low / idle, p95")
    if r:
        found.append(goal("urgent behind a full backlog of low, p95 over that of an idle service", r["value"], 2.5, True, "x",
                          r["detail"].get("bound", "")))
    r = saved.row(run, "memory of 4 workers")
    if r:
        found.append(goal("memory of 4 workers (PSS)", r["value"], r["where"]["goal_bytes"], True, "B",
                          f"anonymous {shown(r['detail']['anonymous'], 'B')}, files {shown(r['detail']['file'], 'B')}; weights once and all "
                          f"slots in use leave {shown(r['detail']['rest_of_a_worker'], 'B')} a worker for the rest"))
    r = saved.row(run, "worker start to ready")
    if r:
        found.append(goal("worker start to ready, weights in page cache", r["value"], 0.3, True, "s", "see its row"))
    return found


def webhook(run):
    found = []
    for name, words, limit, at_most in (("deliveries per second of CPU time", "webhook deliveries per second of CPU time", 1000, False),
                                        ("resident memory, peak", "memory of kronosq-webhook with 10,000 events due", 50e6, True)):
        if r := saved.row(run, name):
            found.append(goal(words, r["value"], limit, at_most, r["unit"].replace("1/s", "/s")))
    if r := saved.row(run, "outbox to receiver, beside dead ones"):
        found.append(goal("webhook, outbox to receiver beside dead ones, p95", r["detail"]["p95_s"], 0.1, True, "s"))
    return found


BY_BENCHMARK = {"webhook": webhook, "engine": engine, "api": api, "torch": torch, "service": service}
OF_SMALL = {"engine", "torch", "service"}   # goals for Kronos-small


def of(run):
    """The goals of a run, [] when it is not of the model they are for."""
    if run["benchmark"] in OF_SMALL and run.get("setup", {}).get("model") != "small":
        return []
    return BY_BENCHMARK.get(run["benchmark"], lambda r: [])(run)
