"""One document in several forms: JSON, msgpack, CSV; the same numbers in each."""
import csv
import io
import struct

import pytest

from kronosq import candles, single_body, times
from msgpack_client import unpack
from raw_http import assert_problem

MSGPACK = {"Accept": "application/msgpack"}


def same(packed, plain):
    """Are they one tree? binary32 in msgpack, its shortest decimal in JSON."""
    if isinstance(packed, float) and isinstance(plain, (int, float)):
        return packed == plain or struct.pack("f", packed) == struct.pack("f", plain)
    if isinstance(packed, dict):
        return isinstance(plain, dict) and list(packed) == list(plain) and all(same(packed[k], plain[k]) for k in packed)
    if isinstance(packed, list):
        return isinstance(plain, list) and len(packed) == len(plain) and all(map(same, packed, plain))
    return packed == plain


def done(service, body, path="/v1/predict/single"):
    reply = service.post(path, body, headers={"Prefer": "wait=30"})
    assert reply.status == 200, reply
    return reply.headers["content-location"]


def test_documents_and_results_are_the_same_in_msgpack(shared_service):
    body = single_body(metadata={"k": "v" * 300, "ü": ""}, output={"stats": True, "quantiles": [0.1, 0.9]}, overrides={"sample_count": 3}, extra=1)
    result = done(shared_service, body)
    for path in (result, result.rsplit("/", 1)[0], result.rsplit("/", 1)[0] + "?data=0"):
        packed, plain = shared_service.get(path, headers=MSGPACK), shared_service.get(path)
        assert packed.status == 200 and packed.headers["content-type"] == "application/msgpack"
        assert "Accept" in packed.headers["vary"]
        assert same(unpack(packed.body), plain.json)
    assert len(shared_service.get(result, headers=MSGPACK).body) < len(shared_service.get(result).body)


def test_submits_are_answered_in_msgpack(shared_service):
    accepted = shared_service.post("/v1/predict/single", single_body(), headers=MSGPACK)
    assert accepted.status == 202 and unpack(accepted.body)["status"] == "queued"
    held = shared_service.post("/v1/predict/single", single_body(), headers={**MSGPACK, "Prefer": "wait=30"})
    assert held.status == 200 and unpack(held.body)["series_id"] == "TEST"
    batch = shared_service.post("/v1/predict/batch", {"items": [single_body(), single_body()]}, headers={**MSGPACK, "Prefer": "wait=30"})
    assert [d["series_id"] for d in unpack(batch.body)] == ["TEST", "TEST"]
    refused = shared_service.post("/v1/predict/single", {}, headers=MSGPACK)
    assert refused.status == 422 and refused.headers["content-type"] == "application/problem+json", "errors are always JSON"


def test_paths_are_a_bin_of_binary32(shared_service):
    result = done(shared_service, single_body(steps=5, overrides={"sample_count": 3}, output={"paths": True}))
    paths = unpack(shared_service.get(result, headers=MSGPACK).body)["paths"]
    plain = shared_service.get(result).json["paths"]
    assert paths["shape"] == plain["shape"] == [3, 5, 6] and paths["fields"] == plain["fields"]
    flat = [x for path in plain["data"] for row in path for x in row]
    assert isinstance(paths["data"], bytes) and paths["data"] == struct.pack("<90f", *flat)


def rows_of(reply):
    text = reply.body.decode()
    assert text.endswith("\r\n") and text.count("\n") == text.count("\r\n")
    return list(csv.reader(io.StringIO(text, newline="")))


def test_a_result_as_csv_has_the_same_numbers(shared_service):
    body = single_body(series_id='a,"b" ü', overrides={"sample_count": 4}, output={"quantiles": [0.1, 0.5], "stats": ["p_up", "return"]})
    result = done(shared_service, body)
    reply = shared_service.get(result, headers={"Accept": "text/csv"})
    assert reply.status == 200 and reply.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    data = shared_service.get(result).json
    fields = ["open", "high", "low", "close", "volume", "amount"]
    header, *rows = rows_of(reply)
    assert header == (["series_id", "timestamp"] + fields + [f"{f}_q0.1" for f in fields] + [f"{f}_q0.5" for f in fields]
                      + ["p_up", "return_mean", "return_std"])
    assert len(rows) == 8
    for i, row in enumerate(rows):
        expected = [data["prediction"][i][f] for f in fields]
        expected += [data["quantiles"][q][f][i] for q in ("0.1", "0.5") for f in fields]
        expected += [data["stats"][s][i] for s in ("p_up", "return_mean", "return_std")]
        assert row[:2] == ['a,"b" ü', data["prediction"][i]["timestamp"]]
        assert [float(x) for x in row[2:]] == expected


def test_columns_without_a_figure_and_a_series_without_a_name_are_empty_in_csv(shared_service):
    body = single_body(output={"stats": ["return"], "layout": "columns"})
    del body["series_id"]
    header, *rows = rows_of(shared_service.get(done(shared_service, body), headers={"Accept": "text/csv"}))
    assert header[-1] == "return_std" and {row[-1] for row in rows} == {""} and {row[0] for row in rows} == {""}
    assert all(row[-2] for row in rows)


def test_a_batch_as_csv_is_its_series_one_after_another_without_those_that_have_none(service):
    service.start_api()
    items = [{"series_id": f"S{i}", "candles": candles(24), "timestamps": times(24), "prediction_timestamps": times(2 + i, first=24)} for i in range(3)]
    document = service.post("/v1/predict/batch", {"items": items}).json
    service.post(f"/v1/tasks/{document['tasks'][1]['task_id']}/cancel", b"")
    service.start_worker()
    service.finished(document["task_id"])
    header, *rows = rows_of(service.get(f"/v1/tasks/{document['task_id']}/result", headers={"Accept": "text/csv"}))
    assert header[0] == "series_id" and [row[0] for row in rows] == ["S0"] * 2 + ["S2"] * 4
    packed = unpack(service.get(f"/v1/tasks/{document['task_id']}", headers=MSGPACK).body)
    assert packed["counts"]["cancelled"] == 1 and packed["data"][1] is None


@pytest.mark.parametrize("accept, form", [
    ("*/*", "json"), ("text/csv, */*;q=0.1", "csv"), ("text/csv, */*", "csv"), ("application/msgpack, application/json", "json"),
    ("application/json;q=0.5, application/msgpack", "msgpack"), ("application/*", "json"), ("text/*", "csv"),
    ("application/json;q=0, */*", "msgpack"), ("TEXT/CSV", "csv")])
def test_the_best_form_wins_and_each_has_its_tag(shared_service, accept, form):
    result = done(shared_service, single_body())
    task_id = result.split("/")[3]
    reply = shared_service.get(result, headers={"Accept": accept})
    assert reply.status == 200 and reply.headers["etag"] == f'"{task_id}.{form}"'
    assert form in reply.headers["content-type"]
    again = shared_service.get(result, headers={"Accept": accept, "If-None-Match": reply.headers["etag"]})
    assert again.status == 304 and again.body == b""
    other = shared_service.get(result, headers={"Accept": accept, "If-None-Match": f'"{task_id}.other"'})
    assert other.status == 200


def test_only_results_come_as_csv(shared_service):
    result = done(shared_service, single_body())
    refused = assert_problem(shared_service.get(result.rsplit("/", 1)[0], headers={"Accept": "text/csv"}), 406, "not_acceptable")
    assert refused["available"] == ["application/json", "application/msgpack"]
    refused = assert_problem(shared_service.get(result, headers={"Accept": "image/png"}), 406, "not_acceptable")
    assert refused["available"] == ["application/json", "application/msgpack", "text/csv"]
    reply = shared_service.post("/v1/predict/single", single_body(), headers={"Accept": "text/csv"})
    assert_problem(reply, 406, "not_acceptable")
