"""Runs as tables for a terminal."""
import saved

SCALES = {"s": ((1, "s"), (1e-3, "ms"), (1e-6, "us")), "B": ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")),
          "nat": ((1, "nat"), (1e-3, "mnat"), (1e-6, "unat"), (1e-9, "nnat"))}


def shown(value, unit):
    """Three digits and a unit that suits them: 0.00123 s is 1.23 ms."""
    if value is None:
        return "-"
    for scale, name in SCALES.get(unit, ()):
        if abs(value) >= scale:
            value, unit = value / scale, name
            break
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {unit}".rstrip()


def columns(rows, gap=2):
    """Left-justified first column, right-justified others."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        cells = [r[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(r[1:], widths[1:])]
        yield (" " * gap).join(cells).rstrip()


def print_machine(run):
    m, noise = run["machine"], run["noise"]
    print(f"machine     {m['cpu']}, {m['cores']} cores, {shown(m['memory_bytes'], 'B')}, Linux {m.get('system', '?')}")
    print(f"arithmetic  {m['kernel']}; OpenBLAS core {m['blas_core']}, for P only")
    print(f"P           {m['flops'] * 1e-9:.1f} GFLOP/s, sgemm 400x1024x512 (worst repeat -{100 * m['flops_spread']:.0f} %)")
    print(f"B           {m['bytes_per_second'] * 1e-9:.1f} GB/s, reading the weights where they lie "
          f"(worst repeat -{100 * m['bytes_spread']:.0f} %)")
    if "both" in m:
        print(f"both cores  {m['both']['flops'] * 1e-9:.1f} GFLOP/s and {m['both']['bytes_per_second'] * 1e-9:.1f} GB/s each")
    print(f"run         {run['date']}, commit {run['commit']}{', changed since' if run['is_dirty'] else ''}")
    print(f"setup       " + ", ".join(f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
                                     for name, value in run.get("setup", {}).items()))
    print(f"noise       hypervisor {100 * noise['steal_share']:.1f} %, others {100 * noise['others_share']:.1f} % of the CPU time, "
          f"load {noise['load_before']:.2f} before")
    for note in noise["notes"]:
        print(f"            NOISY: {note}")


def detail(r):
    """p95 of latencies, parts of a forecast: what a row has beside its value."""
    unit = r["unit"]
    parts = []
    for name, value in r.get("detail", {}).items():
        if isinstance(value, str):
            continue  # a sentence: for the goals
        elif name.endswith("share"):
            parts.append(f"{name[:-6].replace('_', ' ')} {100 * value:.0f} % of a core")
        elif name == "redis_cpu_per_task":
            parts.append(f"Redis {shown(value, 's')} a task")
        elif name.endswith("_s"):
            parts.append(f"{name[:-2].replace('_', ' ')} {shown(value, 's')}")
        elif unit == "1/s" and float(value).is_integer():
            parts.append(f"{name.replace('_', ' ')} {value:.0f}")
        else:
            parts.append(f"{name.replace('_', ' ')} {shown(value, unit)}")
    return ", ".join(parts)


def print_rows(run):
    out = [("", "value", "quartiles", "n", "floor", "ratio", "")]
    for r in run["rows"]:
        unit = r["unit"]
        quartiles = f"{shown(r['low'], unit)} .. {shown(r['high'], unit)}" if "low" in r else ""
        floor = r.get("floor")
        ratio = "" if not floor else f"{(r['value'] / floor if r['better'] == 'lower' else floor / r['value']):.2f}"
        out.append((r["name"], shown(r["value"], unit), quartiles, str(int(r["n"])) if "n" in r else "",
                    shown(floor, unit) if floor else "", ratio, detail(r)))
    widths = [max(len(row[i]) for row in out) for i in range(6)]
    for row in out:
        print("  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:6], widths[1:])] + [row[6]]).rstrip())


def print_goals(goals):
    if not goals:
        return
    print("\nto reach")
    for line in columns([("", "figure", "goal", "")] + [(g["name"], g["shown"], g["goal"], g["verdict"]) for g in goals]):
        print(line)
    for g in goals:
        if g["bound"]:
            print(f"  {g['name']}: {g['bound']}")


def print_run(run, goals):
    print_machine(run)
    print()
    print_rows(run)
    print_goals(goals)


def print_comparison(new, old):
    found = saved.compare(new, old)
    print(f"\ncompared with {old['date']}, commit {old['commit']}, on {old['machine']['cpu']}")
    if old["machine"].get("cpu") != new["machine"].get("cpu"):
        print("ANOTHER MACHINE: the ratios are between machines, not between commits")
    for name, member in (("P", "flops"), ("B", "bytes_per_second")):
        print(f"{name} is {new['machine'][member] / old['machine'][member]:.2f} of what it was")
    if not found:
        print("no row is in both")
        return
    for line in columns([("", "before", "now", "now / before", "")] + [
            (r["name"], shown(before, r["unit"]), shown(r["value"], r["unit"]), f"{ratio:.3f}", verdict)
            for r, before, ratio, verdict in found]):
        print(line)
    if old["noise"]["notes"] or new["noise"]["notes"]:
        print("one of the runs was NOISY: a small difference says nothing")
