"""A body that is wrong costs a 4xx that names the fault, and reaches neither queue nor worker."""
import base64
import json
import pathlib
import struct

import pytest

from kronosq import single_body
from raw_http import Raw, assert_problem, head

BODIES = json.loads((pathlib.Path(__file__).parents[1] / "data" / "malformed_bodies.json").read_text())


@pytest.fixture(scope="module")
def api():
    import kronosq
    made = kronosq.Service().start_redis()
    made.start_api()
    yield made
    complaints = made.close()
    made.remove()
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("case", BODIES, ids=[c["name"] for c in BODIES])
def test_a_malformed_body_is_refused_and_stores_nothing(api, case):
    before = [key for key in api.redis.keys() if ":task:" in key or ":queued:" in key or ":list:" in key]
    body = base64.b64decode(case["body_base64"]) if "body_base64" in case else case["body"]
    body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body if isinstance(body, bytes) else body.encode()
    reply = api.request("POST", "/v1/predict/single", body)
    assert reply.status == case["status"], reply
    document = reply.json
    if case["status"] == 400:
        assert_problem(reply, 400, case["code"])
        assert document["offset"] == case["offset"]
    else:
        assert reply.headers["content-type"] == "application/problem+json" and document["code"] == "validation_failed"
        assert (case["pointer"], case["code"]) in [(e["pointer"], e["code"]) for e in document["errors"]]
        assert len(document["errors"]) == len(document["detail"]) <= 20
    assert [key for key in api.redis.keys() if ":task:" in key or ":queued:" in key or ":list:" in key] == before


@pytest.mark.parametrize("content_type, status", [
    (None, 202), ("application/json", 202), ("application/json; charset=utf-8", 202), ("application/vnd.desk+json", 202), ("APPLICATION/JSON", 202),
    ("text/plain", 415), ("multipart/form-data; boundary=x", 415), ("application/jsonp", 415), ("application/cbor", 415), ("", 415)])
def test_json_is_what_a_body_is_in(api, content_type, status):
    body = json.dumps(single_body()).encode()
    lines = [f"Content-Length: {len(body)}"] + ([f"Content-Type: {content_type}"] if content_type is not None else [])
    with Raw(api.port) as raw:
        reply = raw.send(head("POST", "/v1/predict/single", *lines).encode() + body).reply()
        assert reply.status == status, reply
        if status == 415:
            assert assert_problem(reply, 415, "unsupported_media_type")["supported"] == ["application/json", "application/msgpack"]
            assert raw.is_closed()


def test_an_empty_body_is_a_body_that_lacks_everything(api):
    with Raw(api.port) as raw:
        reply = raw.send(head("POST", "/v1/predict/single", "Content-Length: 0")).reply()
        assert reply.status == 422 and reply.json["errors"][0]["pointer"] == "#"


def packed(value):
    """msgpack, as much of it as a request needs."""
    if isinstance(value, str):
        data = value.encode()
        return b"\xda" + struct.pack(">H", len(data)) + data
    if isinstance(value, (int, float)):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(packed(v) for v in value)
    return b"\xdf" + struct.pack(">I", len(value)) + b"".join(packed(k) + packed(v) for k, v in value.items())


@pytest.mark.parametrize("content_type", ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"])
def test_a_msgpack_body_is_the_same_request(api, content_type):
    headers = {"Content-Type": content_type, "Idempotency-Key": content_type[12:]}
    first = api.request("POST", "/v1/predict/single", packed(single_body()), headers)
    assert first.status == 202 and first.json["progress"]["total"] == 8, first
    again = api.request("POST", "/v1/predict/single", packed(single_body()), headers)
    assert again.json["task_id"] == first.json["task_id"]
    reply = api.request("POST", "/v1/predict/single", packed(single_body())[:-3], {"Content-Type": content_type})
    assert_problem(reply, 400, "malformed_msgpack")
    assert api.request("POST", "/v1/predict/single", packed(single_body()), {"Content-Type": "application/json"}).status == 400
