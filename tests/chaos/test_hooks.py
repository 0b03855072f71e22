"""Events to receivers of every temper while who delivers them is killed. The seed is printed; scripts/chaos --webhooks N --seed S does it again."""
import os
import random

from hooks import HookRun
from kronosq import FULL

COMPLETIONS = 10000 if FULL else 150


def test_every_event_arrives_and_ends_as_its_receiver_answers_whatever_is_killed():
    seed = int(os.environ.get("KRONOSQ_CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    # killed early, as what a daemon had leased waits 20 s
    run = HookRun(seed, COMPLETIONS) if FULL else HookRun(seed, COMPLETIONS, scale="0.0003", seconds_between=0.5, kill_seconds=1.5)
    try:
        run.go()
    finally:
        run.close()
    print(run.table())
    assert not run.lost and not run.wrong, f"seed {seed}, see {run.fleet.directory}: {run.lost[:5]} {run.wrong[:5]}"
    assert run.fleet.counts["webhook kills"], "nothing was killed"
    run.fleet.remove()
