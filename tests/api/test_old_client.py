"""The compatibility record: what a client of the FastAPI service meets when only its URL was changed."""
import datetime
import json

import pytest

from kronosq import wait_for
from old_client import FIELDS, Invalid, KronosClient, Refused, TimedOut, Unavailable

ALL_OVERRIDES = {"pred_len": 8, "temperature": 1.0, "top_k": 0, "top_p": 0.9, "sample_count": 1}


def candles(n, with_volume=True):
    rows = []
    for i in range(n):
        price = 100 + (i * 7 % 11) / 10
        row = {"open": price, "high": price + 1.5, "low": price - 1.25, "close": price + 0.5}
        if with_volume:
            row.update(volume=1000.0 + i, amount=(1000.0 + i) * price)
        rows.append(row)
    return rows


def times(n, first=0):
    start = datetime.datetime(2025, 1, 1, 9, 0)
    return [(start + datetime.timedelta(minutes=5 * (first + i))).isoformat() for i in range(n)]


def series(series_id="BTC-USD", n=24, steps=8, **more):
    return {"series_id": series_id, "candles": candles(n), "timestamps": times(n), "prediction_timestamps": times(steps, n), **more}


@pytest.fixture
def old(service):
    """The service as an operator starts it for old clients, and such a client."""
    service.start_api("--sync-default")
    service.start_worker()
    client = KronosClient(f"http://127.0.0.1:{service.port}")
    wait_for(lambda: client.readiness()[0] == "ok", 20)
    return client


def test_health_reads_as_it_did(old):
    assert old.is_healthy()
    assert old.readiness() == ("ok", True, "cpu", None)
    assert old._call("GET", "/")["message"] == "Kronosq"
    detailed = old._call("GET", "/v1/healthz/detailed")
    assert detailed["status"] in ("healthy", "degraded") and detailed["uptime_seconds"] >= 0 and detailed["timestamp"]
    assert detailed["checks"]["model"]["loaded"] is True and {"status", "version"} <= detailed["checks"]["model"].keys()
    assert {"status", "process_mb", "system_total_mb", "system_available_mb", "system_percent"} <= detailed["checks"]["memory"].keys()
    assert {"status", "total_gb", "free_gb", "percent"} <= detailed["checks"]["disk"].keys()


def test_a_single_forecast_has_a_row_for_every_timestamp(old):
    rows = old.predict(**series(overrides=ALL_OVERRIDES))
    assert [row[0] for row in rows] == times(8, 24)
    assert all(len(row) == 1 + len(FIELDS) for row in rows)


def test_the_example_of_the_old_guide_works(old):
    """Three candles, two timestamps, no overrides: its default of 120 steps made this a 500 there."""
    rows = old.predict("example", candles(3), times(3), times(2, 3))
    assert [row[0] for row in rows] == times(2, 3)


def test_a_batch_is_a_bare_array_in_order(old):
    items = [series("A", overrides=ALL_OVERRIDES), series("B", n=30, steps=4), series("A", n=12, steps=2)]
    assert [len(rows) for rows in old.predict_batch(items)] == [8, 4, 2]


def test_what_pydantic_let_through_still_passes(old):
    text = [{field: str(value) for field, value in row.items()} for row in candles(24)]
    assert len(old.predict("numbers as text", text, times(24), times(8, 24))) == 8
    assert len(old.predict("no volume", candles(24, with_volume=False), times(24), times(8, 24))) == 8
    body = series("extra members")
    body["candles"][0]["source"] = "exchange"
    body["user"] = "me"
    assert old._call("POST", "/v1/predict/single", body)["series_id"] == "extra members"
    assert len(old.predict("epoch", candles(3), [1735722000, 1735722300, 1735722600], [1735722900])) == 1


@pytest.mark.parametrize("change, location, kind, message", [
    (lambda b: b.pop("candles"), ("body", "candles"), "missing", "Field required"),
    (lambda b: b.update(candles=[]), ("body", "candles"), "too_short", "List should have at least 1 item after validation, not 0"),
    (lambda b: b["candles"][3].update(high=-1), ("body", "candles", 3, "high"), "greater_than", "Input should be greater than 0"),
    (lambda b: b["candles"][2].update(volume=-1), ("body", "candles", 2, "volume"), "greater_than_equal",
     "Input should be greater than or equal to 0"),
    (lambda b: b["candles"][1].update(close="abc"), ("body", "candles", 1, "close"), "float_parsing",
     "Input should be a valid number, unable to parse string as a number"),
    (lambda b: b["candles"][5].update(open=2, high=3, low=2.5, close=2.75), ("body", "candles", 5), "value_error",
     "Value error, Low (2.5) cannot be greater than open (2.0) or close (2.75)"),
    (lambda b: b["timestamps"].pop(), ("body",), "value_error",
     "Value error, candles and timestamps length mismatch: 24 candles but 23 timestamps"),
    (lambda b: b["timestamps"].__setitem__(2, times(1, 1)[0]), ("body", "timestamps", 2), "value_error",
     "Value error, timestamps must be in ascending order: timestamp[1] = 2025-01-01 09:05:00 >= timestamp[2] = 2025-01-01 09:05:00"),
    (lambda b: b.update(prediction_timestamps=times(8, 3)), ("body", "prediction_timestamps", 0), "value_error",
     "Value error, prediction_timestamps must be after input timestamps: last input timestamp = 2025-01-01 10:55:00, "
     "first prediction timestamp = 2025-01-01 09:15:00"),
    (lambda b: b.update(timestamps=["yesterday"] * 24), ("body", "timestamps", 0), "datetime_from_date_parsing", None),
])
def test_a_refusal_is_the_list_it_always_was(old, change, location, kind, message):
    body = series()
    change(body)
    with pytest.raises(Invalid) as refused:
        old._call("POST", "/v1/predict/single", body)
    first = refused.value.errors[0]
    assert first[:2] == (location, kind)
    assert message is None or first[2] == message


def test_a_bad_item_of_a_batch_is_found_by_its_index(old):
    items = [series("A"), series("B")]
    items[1]["timestamps"][4] = items[1]["timestamps"][3]
    with pytest.raises(Invalid) as refused:
        old.predict_batch(items)
    assert refused.value.errors[0][2] == "Value error, [B] timestamps must be in ascending order at index 4"
    with pytest.raises(Invalid):
        old.predict_batch([])  # an IndexError and a 500 there


def test_unknown_paths_and_methods_have_the_texts_of_fastapi(old):
    with pytest.raises(Refused) as refused:
        old._call("GET", "/v1/nothing")
    assert (refused.value.status, refused.value.detail) == (404, "Not Found")
    with pytest.raises(Refused) as refused:
        old._call("GET", "/v1/predict/single")
    assert (refused.value.status, refused.value.detail) == (405, "Method Not Allowed")


def test_without_a_model_the_client_is_told_to_wait(service):
    service.start_api("--sync-default")
    client = KronosClient(f"http://127.0.0.1:{service.port}")
    wait_for(lambda: service.get("/v1/readyz").json["redis"] == "ok", 20)
    with pytest.raises(Unavailable) as refused:
        client.predict(**series())
    assert str(refused.value) == "Model not ready"


def test_a_forecast_that_takes_too_long_ends_in_the_old_sentence(service):
    service.start_api("--sync-default", "--request-timeout", "1")
    service.start_worker("--step-delay-ms", "400")
    client = KronosClient(f"http://127.0.0.1:{service.port}")
    wait_for(lambda: client.readiness()[0] == "ok", 20)
    with pytest.raises(TimedOut) as late:
        client.predict(**series())
    assert str(late.value) == "Prediction timeout after 1 seconds"
    with pytest.raises(TimedOut) as late:
        client.predict_batch([series("A")])
    assert str(late.value) == "Batch prediction timeout after 1 seconds"


def test_a_request_id_comes_back(service):
    service.start_api("--sync-default")
    reply = service.get("/v1/healthz", headers={"X-Request-ID": "scheduler-17"})
    assert reply.headers["x-request-id"] == "scheduler-17" and json.loads(reply.body) == {"status": "ok"}
