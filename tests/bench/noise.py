"""Was the machine ours while we measured? CPU that the hypervisor or others took, and what the spread of P and B says."""
import os
import pathlib

STEAL_MAX = 0.01    # of all CPU time
OTHERS_MAX = 0.05   # of all CPU time, used by processes that are not ours
FLOPS_MAX = 0.10    # 1 - worst / best of repeated measurements
BYTES_MAX = 0.25


def cpu_seconds():
    """All, idle and stolen seconds of the machine's cores since its start."""
    fields = pathlib.Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(f) / os.sysconf("SC_CLK_TCK") for f in fields)
    return user + nice + system + idle + iowait + irq + softirq + steal, idle + iowait, steal


class Watch:
    """From its making to stop(); processes count as ours once they have ended and were waited for."""

    def __init__(self):
        self.before, self.own, self.load = cpu_seconds(), sum(os.times()[:4]), os.getloadavg()[0]

    def stop(self, machine):
        """What was seen, and the sentences that say why not to trust the run."""
        total, idle, steal = (after - before for after, before in zip(cpu_seconds(), self.before))
        total = max(total, 1e-9)
        others = max(0.0, total - idle - steal - (sum(os.times()[:4]) - self.own))
        seen = {"steal_share": steal / total, "others_share": others / total, "load_before": self.load}
        notes = []
        if seen["steal_share"] > STEAL_MAX:
            notes.append(f"the hypervisor took {100 * seen['steal_share']:.1f} % of the CPU time")
        if seen["others_share"] > OTHERS_MAX:
            notes.append(f"other processes took {100 * seen['others_share']:.1f} % of the CPU time")
        for name, spread, limit in (("P", "flops_spread", FLOPS_MAX), ("B", "bytes_spread", BYTES_MAX)):
            if machine.get(spread, 0.0) > limit:
                notes.append(f"repeated measurements of {name} differ by {100 * machine[spread]:.0f} %")
        seen["notes"] = notes
        return seen
