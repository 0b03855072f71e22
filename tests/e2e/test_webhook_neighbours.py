"""A receiver that is dead, in whatever way, is no delay for the others."""
import pytest

from hook_neighbours import Neighbours, quantile

OWED = 6000     # events to each of three receivers that are dead
LATE = 0.1      # seconds


@pytest.fixture
def neighbours(service):
    made = Neighbours(service)
    yield made
    made.close()


def test_events_come_as_quickly_beside_18000_that_nobody_takes(neighbours):
    """They stood in a row before the others, and came to the head of it again twenty times a second."""
    alone = quantile(neighbours.delays(60, 30, "/alone"), 0.95)
    neighbours.burden(OWED)
    beside = quantile(neighbours.delays(120, 30, "/beside"), 0.95)
    assert neighbours.owed() > 3 * OWED * 0.99, "they are owed still"
    # what else runs on this machine delays both
    assert beside < LATE + 3 * alone, f"p95 is {beside * 1e3:.0f} ms; alone it is {alone * 1e3:.0f}"
