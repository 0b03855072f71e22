"""How often a key may submit."""
import concurrent.futures
import re

import pytest

from api_keys import KeysFile, bearer
from kronosq import single_body, wait_for
from raw_http import assert_problem

NAMES = ("ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@pytest.fixture
def keyed(service, tmp_path):
    service.keys = KeysFile(tmp_path)
    for name, rate in [("server", "-"), ("three", "3"), ("free", "0")]:
        setattr(service, name, bearer(service.keys.add(name, rate=rate)))
    return service


def submit(service, headers, body=None):
    return service.post("/v1/predict/single", body if body is not None else single_body(), headers=headers)


def left_of(reply, quota):
    """What the headers say is left; all of them say the same."""
    assert reply.headers["ratelimit-policy"] == f'"default";q={quota};w=60'
    left, seconds = re.fullmatch(r'"default";r=(\d+);t=(\d+)', reply.headers["ratelimit"]).groups()
    assert [reply.headers[name] for name in NAMES[2:]] == [str(quota), left, seconds] and 1 <= int(seconds) <= 60
    return int(left)


def end_window(service, name):
    """The window ends, as after a minute."""
    assert service.redis.command("PEXPIRE", f"kq:rate:{name}", "1") == 1
    wait_for(lambda: service.redis.command("EXISTS", f"kq:rate:{name}") == 0, 20)


def test_the_hundred_and_first_submit_of_a_minute_is_refused(keyed):
    keyed.start_api("--keys-file", keyed.keys.path)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: submit(keyed, keyed.server), range(100)))
    assert {r.status for r in replies} == {202}
    assert sorted(left_of(r, 100) for r in replies) == list(range(100))
    reply = submit(keyed, keyed.server)
    assert_problem(reply, 429, "rate_limited")
    assert left_of(reply, 100) == 0 and reply.headers["retry-after"] == reply.headers["x-ratelimit-reset"]
    line = keyed.api.log_lines(status_code=429)[0]
    assert line["level"] == "WARNING" and line["container"] == "server" and line["error_type"] == "rate_limited"
    task_id = replies[0].json["task_id"]
    assert keyed.get(f"/v1/tasks/{task_id}", headers=keyed.server).status == 200, "only submits are counted"
    assert keyed.request("DELETE", f"/v1/tasks/{task_id}", headers=keyed.server).status == 204
    assert submit(keyed, keyed.free).status == 202, "the others go on"
    end_window(keyed, "server")
    reply = submit(keyed, keyed.server)
    assert reply.status == 202 and left_of(reply, 100) == 99


def test_a_key_has_a_rate_of_its_own_or_none(keyed):
    keyed.start_api("--keys-file", keyed.keys.path, KRONOS_RATE_LIMIT_PER_MINUTE="1")
    assert [submit(keyed, keyed.three).status for _ in range(4)] == [202, 202, 202, 429]
    assert [submit(keyed, keyed.server).status for _ in range(2)] == [202, 429]
    for _ in range(5):
        reply = submit(keyed, keyed.free)
        assert reply.status == 202 and not set(NAMES) & set(reply.headers)
    assert keyed.redis.command("EXISTS", "kq:rate:free") == 0


def test_refused_submits_count_and_tell_what_is_left(keyed):
    keyed.start_api("--keys-file", keyed.keys.path)
    assert left_of(submit(keyed, keyed.three, b"{"), 3) == 2
    reply = submit(keyed, keyed.three, {})
    assert reply.status == 422 and left_of(reply, 3) == 1
    reply = keyed.post("/v1/predict/batch", {"items": [single_body()], "priority": "urgent"}, headers=keyed.three)
    assert reply.status == 403 and left_of(reply, 3) == 0
    assert submit(keyed, keyed.three, b"{").status == 429, "the rate is judged before the body"
    reply = keyed.post("/v1/predict/single", b"x", headers={**keyed.three, "Content-Type": "text/plain"})
    assert reply.status == 415 and "ratelimit" not in reply.headers, "and the form before the rate"


def test_processes_and_two_keys_of_a_name_count_together(keyed):
    again = bearer(keyed.keys.add("three", rate="3"))
    keyed.start_api("--keys-file", keyed.keys.path)
    first = keyed.port
    keyed.start_api("--keys-file", keyed.keys.path)
    replies = []
    for port, headers in [(first, keyed.three), (keyed.port, keyed.three), (first, again), (keyed.port, again), (first, keyed.three)]:
        keyed.port = port
        replies.append(submit(keyed, headers).status)
    assert replies == [202, 202, 202, 429, 429]


def test_a_replay_of_an_idempotency_key_counts(keyed):
    keyed.start_api("--keys-file", keyed.keys.path)
    body = single_body(overrides={"seed": 1})
    headers = {**keyed.three, "Idempotency-Key": "k"}
    replies = [submit(keyed, headers, body) for _ in range(4)]
    assert [r.status for r in replies] == [202, 202, 202, 429] and len({r.json["task_id"] for r in replies[:3]}) == 1


def test_rates_can_be_switched_off_and_without_keys_there_are_none(keyed):
    keyed.start_api("--keys-file", keyed.keys.path, KRONOS_RATE_LIMIT_ENABLED="false")
    for _ in range(5):
        reply = submit(keyed, keyed.three)
        assert reply.status == 202 and not set(NAMES) & set(reply.headers)
    keyed.start_api(KRONOS_RATE_LIMIT_PER_MINUTE="1")
    for _ in range(3):
        reply = submit(keyed, {})
        assert reply.status == 202 and not set(NAMES) & set(reply.headers)
    assert not [k for k in keyed.redis.keys() if k.startswith("kq:rate:")]


def test_while_redis_is_away_a_submit_is_503_like_all_else(keyed):
    keyed.start_api("--keys-file", keyed.keys.path)
    assert submit(keyed, keyed.three).status == 202
    keyed.redis.kill()
    reply = submit(keyed, keyed.three)
    assert_problem(reply, 503, "store_unavailable")
    assert reply.headers["retry-after"] == "2"
    keyed.redis.start()
    reply = wait_for(lambda: (lambda r: r if r.status == 202 else None)(submit(keyed, keyed.three)), 20)
    assert left_of(reply, 3) == 1, "a restart of Redis forgets no window"


def test_a_held_submit_tells_what_is_left_when_it_is_answered(keyed):
    keyed.start_api("--keys-file", keyed.keys.path)
    keyed.start_worker()
    reply = submit(keyed, {**keyed.three, "Prefer": "wait=30"})
    assert reply.status == 200 and left_of(reply, 3) == 2
