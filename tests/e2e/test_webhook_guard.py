"""No byte goes where it must not, whatever a URL says and a name answers; seen from the other end."""
import json
import subprocess
import sys

import pytest

from kronosq import ROOT

NETWORK = ROOT / "tests/support/hostile_network.py"


def may_unshare():
    return subprocess.run(["unshare", "-rnm", "ip", "link", "set", "lo", "up"], capture_output=True, timeout=20).returncode == 0


@pytest.fixture(scope="module")
def seen():
    done = subprocess.run(["unshare", "-rnm", sys.executable, NETWORK], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["complaints"] == []
    return found


pytestmark = pytest.mark.skipif(not may_unshare(), reason="this system lets nobody make a network of its own")


def test_nobody_was_called_but_the_two_public_addresses(seen):
    assert seen["connections"] == [["2606:4700::1111", 80], ["93.184.216.34", 80]], seen["log"]
    assert seen["asked"] > 30, "the DNS of the test was asked"


def test_every_hostile_url_ends_for_good_without_an_attempt_to_spare(seen):
    hostile = [case for case in seen["cases"] if not case["good"]]
    assert len(hostile) >= 90
    for case in hostile:
        assert case["outcome"] == "failed", case
        assert case["last_error"] in ("blocked_address", "blocked_url") and case["last_status"] in ("0", ""), case
        assert int(case["attempts"]) == 1, case


def test_the_api_refuses_at_the_submit_what_can_be_told_without_a_name(seen):
    for case in seen["cases"]:
        host = case["url"].partition("//")[2]
        is_name = host.endswith(".test/") and not any(c in host for c in "@:\\ %#")
        if case["good"] or (is_name and case["url"].startswith("http://")):
            assert case["submit"] == 202, case
        else:
            assert case["submit"] == 422, case


def test_public_receivers_are_delivered_to_and_an_endless_answer_is_not_read(seen):
    for case in (case for case in seen["cases"] if case["good"]):
        assert (case["outcome"], case["last_status"]) == ("delivered", "200"), case


def test_a_redirect_to_the_neighbour_is_a_failure_and_not_followed(seen):
    assert seen["redirect"]["last_status"] == "302"


def test_a_name_that_moves_to_the_neighbour_is_judged_again(seen):
    first, then = seen["rebind"]
    assert first["outcome"] == "delivered"
    assert (then["outcome"], then["last_error"]) == ("failed", "blocked_address")


def test_a_name_nobody_answers_for_costs_an_attempt_and_no_more(seen):
    assert seen["silent"]["last_error"] in ("dns", "timeout")
    assert seen["exit"] == 0
