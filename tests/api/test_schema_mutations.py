"""Every rule of the published schema, broken at every place it holds for: refused by name, and nothing is stored."""
import json
import pathlib
import random

import pytest
import yaml

import kronosq
from mutations import broken

ROOT = pathlib.Path(__file__).parents[2]
SCHEMAS = yaml.safe_load((ROOT / "schemas" / "openapi.yaml").read_text())["components"]["schemas"]


def every_member(generated=False, columns=False):
    """A valid request in which each optional member is present, so that each of its rules can be broken."""
    body = kronosq.single_body(history=6, steps=4)
    body.update(
        series_id="BTC-USD", model="tiny", priority="normal", deadline_seconds=600, result_ttl_seconds=3600, metadata={"desk": "a"},
        overrides={"pred_len": 4, "temperature": 0.9, "top_k": 0, "top_p": 0.8, "sample_count": 2, "seed": 7, "context_mode": "fit"},
        output={"quantiles": [0.1, 0.5], "paths": True, "stats": ["p_up"], "repair": True, "layout": "rows", "stream": False})
    if generated:
        body["timestamps"] = {"start": "2025-01-01T09:30:00Z", "interval": "5min", "calendar": "all", "count": 6}
        body["prediction_timestamps"] = {"start": "2025-01-01T10:00:00Z", "interval": "5min", "calendar": "all", "count": 4}
    if columns:
        body["candles"] = {name: [row[name] for row in body["candles"]] for name in body["candles"][0]}
    return body


def batch():
    body = every_member()
    item = {name: body.pop(name) for name in ("series_id", "candles", "timestamps", "prediction_timestamps")}
    return {"items": [dict(item, overrides=dict(body["overrides"])), dict(item, series_id="B", overrides={})], **body}


@pytest.fixture(scope="module")
def api():
    made = kronosq.Service().start_redis()
    made.start_api("--default-model", "tiny")
    yield made
    complaints = made.close()
    made.remove()
    assert not complaints, "\n".join(complaints)


def stored(service):
    return sorted(key for key in service.redis.keys() if ":task:" in key or ":queued:" in key or ":list:" in key)


def refused(service, path, body, *case):
    """The reply's document, when it is the refusal it must be."""
    reply = service.request("POST", path, body)
    assert 400 <= reply.status < 500, (*case, reply.status, reply.body[:300])
    return reply.status, reply.json


@pytest.mark.parametrize("route, schema, body", [
    ("single", "SingleRequest", every_member()),
    ("single", "SingleRequest", every_member(generated=True)),
    ("single", "SingleRequest", every_member(columns=True)),
    ("batch", "BatchRequest", batch()),
], ids=["by rows", "generated times", "by columns", "a batch"])
def test_a_broken_rule_is_refused_with_its_pointer(api, route, schema, body):
    before = stored(api)
    cases = list(broken(SCHEMAS[schema], body, SCHEMAS))
    assert len(cases) >= 100, "the schema lost most of its rules, or the walk its way"
    for pointer, what, mutated in cases:
        status, document = refused(api, f"/v1/predict/{route}", json.dumps(mutated).encode(), pointer, what)
        where = [e["pointer"] for e in document.get("errors", [])]
        assert status == 422 and where, (pointer, what, document)
        # The fault, or what follows from it: a list that is too short no longer fits its neighbour.
        assert any(found == pointer or found.startswith(pointer + "/") or pointer.startswith(found) for found in where), (pointer, what, where)
    assert stored(api) == before
    # The body all of them came from is a good one.
    assert api.request("POST", f"/v1/predict/{route}", json.dumps(body).encode()).status == 202


def test_a_body_cut_or_changed_at_any_byte_is_never_our_fault(api):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    whole = json.dumps(every_member()).encode()
    before = stored(api)
    for _ in range(60):
        status, document = refused(api, "/v1/predict/single", whole[:rng.randrange(1, len(whole))])
        assert status == 400 and document["code"] == "malformed_json" and 0 <= document["offset"] <= len(whole)
    assert stored(api) == before
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        reply = api.request("POST", "/v1/predict/single", bytes(damaged))
        assert reply.status in (202, 400, 422), (bytes(damaged), reply.status)
        if reply.status != 202:
            assert "offset" in reply.json or reply.json["errors"][0]["pointer"].startswith("#")
