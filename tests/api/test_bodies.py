"""A body that is wrong costs a 4xx that names the fault, and reaches neither queue nor worker."""
import base64
import json
import pathlib
import urllib.parse

import pytest

from kronosq import single_body
from msgpack_client import packed
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


def stored(service):
    return [key for key in service.redis.keys() if ":task:" in key or ":queued:" in key or ":list:" in key]


def location(pointer):
    """What FastAPI calls the place a JSON Pointer names."""
    parts = urllib.parse.unquote(pointer).split("/")[1:]
    return ["body"] + [int(p) if p.isdigit() else p.replace("~1", "/").replace("~0", "~") for p in parts]


@pytest.mark.parametrize("case", BODIES, ids=[c["name"] for c in BODIES])
def test_a_malformed_body_is_refused_and_stores_nothing(api, case):
    before = stored(api)
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
        found = [(e["pointer"], e["code"]) for e in document["errors"]]
        assert (case["pointer"], case["code"]) in found
        assert len(document["errors"]) == len(document["detail"]) == case.get("count", len(found)) <= 20
        assert document.get("truncated", False) == (case.get("count") == 20)
        old = document["detail"][found.index((case["pointer"], case["code"]))]
        assert old["loc"] == location(case["pointer"])
        assert old["type"] == case.get("type", old["type"]) and old["msg"] == case.get("msg", old["msg"])
    assert stored(api) == before


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


WHOLE = packed(single_body())
NAME = packed("series_id")


@pytest.mark.parametrize("body, offset", [
    (WHOLE[:-3], WHOLE.rindex(b"\xda")), (WHOLE[:1], 0), (b"", None), (WHOLE + b"\xc0", len(WHOLE)), (WHOLE + WHOLE, len(WHOLE)),
    (b"\x82" + NAME + b"\xa1a" + NAME + b"\xa1b", 1 + len(NAME) + 2), (b"\x81" + NAME + b"\xd4\x01\x00", 1 + len(NAME)), (b"\x81" + NAME + b"\xc7\x00\xff", 1 + len(NAME)),
    (b"\x81" + NAME + b"\xc4\x01a", 1 + len(NAME)), (b"\x81\x01\x02", 1), (b"\x81\xa7candles" + b"\x91" * 16 + b"\x01", 9 + 15), (b"\x91" * 1_000_000, 16), (b"\xc1", 0),
    (b"\x81\xa7candles\xdd\xff\xff\xff\xff" + b"\x01" * 1000, None), (b"\x81\xa7candles\xdd\xff\xff\xff\xff", None),
    (b"\xdf\xff\xff\xff\xff" + NAME, None), (b"\x81" + NAME + b"\xdb\xff\xff\xff\xffabc", None), (b"\x81" + NAME + b"\xa1\xff", None),
], ids=["truncated", "one byte", "empty", "a byte behind it", "two values", "a name twice", "fixext", "ext", "bin", "a name that is a number", "depth 17", "a million deep",
        "a byte that is no form", "an array of 2^32-1, some given", "an array of 2^32-1, none given", "a map of 2^32-1", "a string of 2^32-1", "no UTF-8"])
def test_msgpack_that_is_none_is_refused_with_its_offset_and_costs_no_memory(api, body, offset):
    memory, before = rss_bytes(api), stored(api)
    for _ in range(3):
        reply = api.request("POST", "/v1/predict/single", body, {"Content-Type": "application/msgpack"})
        if not body:
            assert reply.status == 422 and reply.json["errors"][0]["pointer"] == "#"
            continue
        document = assert_problem(reply, 400, "malformed_msgpack")
        assert 0 <= document["offset"] <= len(body) and (offset is None or document["offset"] == offset), document
    assert rss_bytes(api) - memory < 16 << 20
    assert stored(api) == before


def rss_bytes(service):
    return int(pathlib.Path(f"/proc/{service.api.pid}/statm").read_text().split()[1]) * 4096
