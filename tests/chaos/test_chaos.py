"""Everything killed at random for a while. The seed is printed; scripts/chaos --seed N does it again."""
import os
import random
import time

from run import Run

SECONDS = float(os.environ.get("KRONOSQ_CHAOS_SECONDS", 45))


def test_nothing_is_lost_published_twice_or_stuck_whatever_is_killed():
    run = Run(int(os.environ.get("KRONOSQ_CHAOS_SEED", random.SystemRandom().randrange(10**6))), SECONDS)
    late, verdict = [], None
    started = time.monotonic()
    try:
        verdict = run.go()
    finally:
        late = run.close()
    print(run.table(verdict), f"\n  took {time.monotonic() - started:.0f} s")
    complaints = [verdict.lost, verdict.twice, verdict.stuck, verdict.wrong + late]
    assert not any(complaints), f"seed {run.seed}, see {run.fleet.directory}: {complaints}"
    assert verdict.ended["completed"] > SECONDS, "hardly anything was done"
    assert run.fleet.counts["worker kills"] > SECONDS / 10, "hardly anything was killed"
    run.fleet.remove()
