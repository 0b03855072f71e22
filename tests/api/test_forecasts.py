"""What a forecast is, as a client can check it: the same numbers for the same question in every form it may be asked in,
figures that follow from the returned paths, and the limits of a question."""
import hashlib
import math
import struct

import pytest

from kronosq import candles, single_body, times
from msgpack_client import packed, unpack
from raw_http import assert_problem

PRICES = ("open", "high", "low", "close")
FIELDS = PRICES + ("volume", "amount")
START = "2025-01-01T09:00:00"  # the first of kronosq.times()


def forecast(service, body, **headers):
    """The result of a held submit."""
    reply = service.post("/v1/predict/single", body, headers={"Prefer": "wait=60", **headers})
    assert reply.status == 200, reply
    return reply.json


def sha256(data):
    return data["provenance"]["forecast_sha256"]


def recomputed_sha256(data):
    rows = data["prediction"]
    return hashlib.sha256(b"".join(struct.pack("<6f", *(row[field] for field in FIELDS)) for row in rows)).hexdigest()


def seeded(**overrides):
    return single_body(overrides={"seed": 7, "sample_count": 2, **overrides})


# ---- one question, one answer ----

def test_the_same_seed_gives_the_same_forecast_and_its_hash_can_be_recomputed(shared_service):
    first, second = forecast(shared_service, seeded()), forecast(shared_service, seeded())
    assert first["prediction"] == second["prediction"] and sha256(first) == sha256(second) == recomputed_sha256(first)
    drawn = forecast(shared_service, single_body())
    again = forecast(shared_service, single_body(overrides={"seed": drawn["provenance"]["seed"]}))
    assert again["prediction"] == drawn["prediction"] and sha256(again) == sha256(drawn) == recomputed_sha256(drawn)
    assert sha256(drawn) != sha256(first)


def test_temperature_zero_is_the_likeliest_token_of_each_step(shared_service):
    greedy = [forecast(shared_service, single_body(overrides=overrides)) for overrides in (
        {"temperature": 0}, {"top_k": 1}, {"temperature": 0, "seed": 99, "top_p": 0.5}, {"temperature": "0"}, {"top_k": 1, "top_p": None})]
    assert len({sha256(data) for data in greedy}) == 1 and all(data["prediction"] == greedy[0]["prediction"] for data in greedy)
    assert sha256(forecast(shared_service, single_body(overrides={"seed": 3}))) != sha256(greedy[0])


def test_a_null_override_is_its_default(shared_service):
    nulls = {name: None for name in ("pred_len", "temperature", "top_k", "top_p", "sample_count", "context_mode")}
    plain = forecast(shared_service, single_body(overrides={"seed": 7}))
    assert sha256(forecast(shared_service, single_body(overrides={"seed": 7, **nulls}))) == sha256(plain)
    members = {name: None for name in ("priority", "deadline_seconds", "result_ttl_seconds", "webhook", "metadata", "output", "model")}
    assert sha256(forecast(shared_service, single_body(overrides={"seed": 7}, **members))) == sha256(plain)
    assert plain["provenance"]["params"] == {"pred_len": 8, "temperature": 1.0, "top_k": 0, "top_p": 0.9, "sample_count": 1, "context_mode": "exact"}


def columnar(body, generated=True):
    """The same question by columns, its times by rule."""
    rows = body["candles"]
    made = {**body, "candles": {name: [row.get(name) for row in rows] for name in rows[0]}}
    if generated:
        made["timestamps"] = {"start": START, "interval": "5min"}
        made["prediction_timestamps"] = {"count": len(body["prediction_timestamps"])}
    return made


def test_rows_columns_generated_times_and_msgpack_ask_the_same(shared_service):
    plain = forecast(shared_service, seeded())
    by_columns = forecast(shared_service, columnar(seeded(), generated=False))
    by_rule = forecast(shared_service, columnar(seeded()))
    by_length = forecast(shared_service, {**columnar(seeded(pred_len=8)), "prediction_timestamps": {"start": "2025-01-01T11:00:00", "interval": "300s"}})
    assert len({sha256(data) for data in (plain, by_columns, by_rule, by_length)}) == 1
    assert plain["prediction"] == by_columns["prediction"] == by_rule["prediction"] == by_length["prediction"]
    for body in (seeded(), columnar(seeded())):
        reply = shared_service.request("POST", "/v1/predict/single", packed(body), headers={
            "Content-Type": "application/msgpack", "Accept": "application/msgpack", "Prefer": "wait=60"})
        assert reply.status == 200 and reply.headers["content-type"] == "application/msgpack", reply
        data = unpack(reply.body)
        assert sha256(data) == sha256(plain) == recomputed_sha256(data)


def test_numbers_may_be_texts_and_a_null_volume_is_none(shared_service):
    body = seeded()
    texts = {**seeded(), "candles": [{name: str(value) for name, value in row.items()} for row in body["candles"]],
             "overrides": {"seed": "7", "sample_count": "2", "temperature": "1e0", "top_p": "0.9"}}
    assert sha256(forecast(shared_service, texts)) == sha256(forecast(shared_service, body))
    for row in body["candles"][::2]:
        row["volume"] = None
    zero = {**body, "candles": [{**row, "volume": row["volume"] or 0} for row in body["candles"]]}
    assert sha256(forecast(shared_service, body)) == sha256(forecast(shared_service, zero))


def test_an_amount_nobody_gave_is_volume_times_the_mean_price(shared_service):
    body = seeded()
    explicit = {**body, "candles": [{**row, "amount": row["volume"] * sum(row[p] for p in PRICES) / 4} for row in body["candles"]]}
    assert forecast(shared_service, body)["prediction"] == forecast(shared_service, explicit)["prediction"]
    other = {**body, "candles": [{**row, "amount": row["volume"]} for row in body["candles"]]}
    assert forecast(shared_service, other)["prediction"] != forecast(shared_service, body)["prediction"], "the amount counts"
    nothing = {**body, "candles": candles(24, with_volume=False)}
    zeros = {**body, "candles": [{**row, "volume": 0, "amount": 0} for row in nothing["candles"]]}
    assert sha256(forecast(shared_service, nothing)) == sha256(forecast(shared_service, zeros))


@pytest.mark.parametrize("given, returned", [
    (lambda t: t + "+08:00", lambda t: t + "+08:00"), (lambda t: t + "-0330", lambda t: t + "-03:30"), (lambda t: t + "Z", lambda t: t + "Z"),
    (lambda t: t + "+00:00", lambda t: t + "Z"), (lambda t: t.replace("T", " "), lambda t: t), (lambda t: t[:16], lambda t: t),
    (lambda t: t + ".250", lambda t: t + ".250000"),
], ids=["an offset", "an offset without colon", "Z", "an offset of zero", "a space", "no seconds", "a fraction"])
def test_times_come_back_as_they_were_written(shared_service, given, returned):
    plain = seeded()
    body = {**plain, "timestamps": [given(t) for t in plain["timestamps"]], "prediction_timestamps": [given(t) for t in plain["prediction_timestamps"]]}
    data = forecast(shared_service, body)
    assert [row["timestamp"] for row in data["prediction"]] == [returned(t) for t in plain["prediction_timestamps"]]
    assert sha256(data) == sha256(forecast(shared_service, plain)), "the clock on the wall is what the model sees"


@pytest.mark.parametrize("unit", [1, 1000], ids=["seconds", "milliseconds"])
@pytest.mark.parametrize("form", [int, float, str])
def test_times_may_be_numbers_since_1970(shared_service, unit, form):
    base, plain = 1_735_722_000, seeded()
    body = {**plain, "timestamps": [form(unit * (base + 300 * i)) for i in range(24)],
            "prediction_timestamps": [form(unit * (base + 300 * i)) for i in range(24, 32)]}
    data = forecast(shared_service, body)
    assert [row["timestamp"] for row in data["prediction"]] == [t + "Z" for t in plain["prediction_timestamps"]]
    assert sha256(data) == sha256(forecast(shared_service, plain))


# ---- many paths ----

def quantile(values, q):
    """Type 7, as R and numpy have it by default."""
    values = sorted(values)
    h = (len(values) - 1) * q
    k = math.floor(h)
    return values[k] if k + 1 == len(values) else values[k] + (h - k) * (values[k + 1] - values[k])


def mean(values):
    return math.fsum(values) / len(values)


def binary32(*values):
    form = f"{len(values)}f"
    return struct.unpack(form, struct.pack(form, *values))


def close_to(found, expected, relative):
    return math.isclose(found, expected, rel_tol=relative, abs_tol=1e-12)


@pytest.fixture(scope="module")
def wide(shared_service):
    """A forecast of 32 paths with all that can be asked of them, and its paths as binary32."""
    body = single_body(overrides={"seed": 11, "sample_count": 32}, output={"quantiles": [0.1, 0.5, 0.9], "stats": True, "paths": True})
    data = forecast(shared_service, body)
    assert data["paths"]["shape"] == [32, 8, 6] and tuple(data["paths"]["fields"]) == FIELDS
    paths = [[dict(zip(FIELDS, binary32(*row))) for row in path] for path in data["paths"]["data"]]
    assert len({str(path) for path in paths}) > 1, "paths differ"
    return body, data, paths


def test_quantiles_are_those_of_the_returned_paths(wide):
    _, data, paths = wide
    assert list(data["quantiles"]) == ["0.1", "0.5", "0.9"]
    for q, figures in data["quantiles"].items():
        assert tuple(figures) == FIELDS
        for field in FIELDS:
            expected = [quantile([path[t][field] for path in paths], float(q)) for t in range(8)]
            assert all(close_to(a, b, 1e-6) for a, b in zip(figures[field], expected, strict=True)), (q, field)


def test_statistics_are_those_of_the_returned_paths(wide):
    body, data, paths = wide
    stats, last = data["stats"], binary32(body["candles"][-1]["close"])[0]
    closes = [[last] + [row["close"] for row in path] for path in paths]
    assert stats["n_paths"] == 32 and stats["last_close"] == last
    for t in range(1, 9):
        returns = [c[t] / last - 1 for c in closes]
        center = mean(returns)
        assert close_to(stats["p_up"][t - 1], mean([1 if c[t] > last else 0.5 if c[t] == last else 0 for c in closes]), 1e-9)
        assert close_to(stats["return_mean"][t - 1], center, 1e-9)
        assert close_to(stats["return_std"][t - 1], math.sqrt(math.fsum((r - center) ** 2 for r in returns) / 31), 1e-9)
    assert stats["p_up_final"] == stats["p_up"][7]
    volatility = [math.sqrt(mean([math.log(c[t] / c[t - 1]) ** 2 for t in range(1, 9)])) for c in closes if min(c) > 0]
    drawdown = [max(1 - c[t] / max(c[:t + 1]) for t in range(1, 9)) for c in closes]
    highs, lows = [max(row["high"] for row in path) for path in paths], [min(row["low"] for row in path) for path in paths]
    expected = {
        "realized_vol": {"mean": mean(volatility), "q10": quantile(volatility, 0.1), "q90": quantile(volatility, 0.9)},
        "max_drawdown": {"mean": mean(drawdown), "q90": quantile(drawdown, 0.9)},
        "range": {"high_mean": mean(highs), "high_q90": quantile(highs, 0.9), "low_mean": mean(lows), "low_q10": quantile(lows, 0.1)}}
    for name, figures in expected.items():
        for figure, value in figures.items():
            assert close_to(stats[name][figure], value, 1e-9), (name, figure)
    assert stats["realized_vol"].get("excluded", 0) == 32 - len(volatility)


def test_figures_of_narrowed_draws_carry_a_warning(shared_service, wide):
    body, data, _ = wide
    assert "narrowed_distribution" in [w["code"] for w in data["warnings"]]
    whole = {**body, "overrides": {**body["overrides"], "top_p": 1}}
    assert "narrowed_distribution" not in [w["code"] for w in forecast(shared_service, whole)["warnings"]]
    few = forecast(shared_service, {**body, "overrides": {"seed": 1, "sample_count": 4, "top_p": 1}})
    assert "few_paths" in [w["code"] for w in few["warnings"]]


def test_the_prediction_is_the_mean_of_the_paths(wide):
    """Taken before prices and volumes are brought back to their scale, which is linear; so it is their mean up to rounding."""
    _, data, paths = wide
    for t, row in enumerate(data["prediction"]):
        for field in FIELDS:
            values = [path[t][field] for path in paths]
            assert math.isclose(row[field], mean(values), rel_tol=1e-4, abs_tol=1e-4 * max(map(abs, values))), (t, field)


# ---- what comes back ----

def test_repaired_columns_are_candles_and_say_how_many_were_none(shared_service):
    body = single_body(overrides={"seed": 5, "temperature": 2, "top_p": 1})
    plain = forecast(shared_service, body)["prediction"]
    data = forecast(shared_service, {**body, "output": {"layout": "columns", "repair": True, "paths": True}})
    columns = data["prediction"]
    assert list(columns) == ["timestamp", *FIELDS] and {len(values) for values in columns.values()} == {8}
    assert columns["timestamp"] == body["prediction_timestamps"]
    broken = negative = 0
    for t, row in enumerate(plain):
        candle = {field: columns[field][t] for field in FIELDS}
        assert candle["low"] <= min(candle["open"], candle["close"]) and candle["high"] >= max(candle["open"], candle["close"])
        assert candle["volume"] >= 0 and candle["amount"] >= 0
        assert candle["open"] == row["open"] and candle["close"] == row["close"]
        assert candle["low"] == min(row[p] for p in PRICES) and candle["high"] == max(row[p] for p in PRICES)
        broken += row["low"] > min(row["open"], row["close"]) or row["high"] < max(row["open"], row["close"])
        negative += row["volume"] < 0 or row["amount"] < 0
    assert data["repaired"] == {"ohlc": broken, "volume": negative}
    assert broken + negative > 0, "a random model forecasts candles that are none"
    assert ("repaired" in [w["code"] for w in data["warnings"]])
    unrepaired = [[data["paths"]["data"][0][t][i] for i in range(6)] for t in range(8)]
    assert unrepaired == [[row[field] for field in FIELDS] for row in plain], "paths are never repaired"


def test_members_nobody_knows_are_named_or_in_output_refused(shared_service):
    body = single_body(prioirty="urgent", overrides={"temprature": 1})
    reply = shared_service.post("/v1/predict/single", body)
    named = [(w["code"], w.get("pointer")) for w in reply.json["warnings"]]
    assert reply.status == 202 and ("unknown_member", "#/prioirty") in named and ("unknown_member", "#/overrides/temprature") in named
    assert reply.json["priority"] == "normal"
    many = shared_service.post("/v1/predict/single", single_body(**{f"x{i}": 1 for i in range(9)})).json["warnings"]
    assert [w["code"] for w in many].count("unknown_member") == 5
    reply = shared_service.post("/v1/predict/single", single_body(output={"quantile": [0.5]}))
    assert reply.status == 422 and reply.json["errors"][0]["pointer"] == "#/output/quantile"


# ---- how much may be asked ----

@pytest.mark.parametrize("history, steps, status, pointer, code", [
    (2048, 8, 202, None, None), (2049, 8, 422, "#/candles", "length"), (0, 8, 422, "#/candles", "length"),
    (24, 48, 202, None, None), (24, 49, 422, "#/prediction_timestamps", "exceeds_context"), (24, 512, 422, "#/prediction_timestamps", "exceeds_context"),
    (24, 513, 422, "#/prediction_timestamps", "length"), (1, 1, 202, None, None)])
def test_a_question_has_limits(shared_service, history, steps, status, pointer, code):
    reply = shared_service.post("/v1/predict/single", single_body(history, steps))
    assert reply.status == status, reply
    if status == 422:
        assert reply.headers["content-type"] == "application/problem+json"
        assert (pointer, code) in [(e["pointer"], e["code"]) for e in reply.json["errors"]]
    else:
        data = shared_service.finished(reply.json["task_id"])["data"]
        assert [row["timestamp"] for row in data["prediction"]] == times(steps, first=history)
        assert data["provenance"]["rows_given"] == history and data["provenance"]["rows_used"] == min(history, 48)
        assert ("context_truncated" in [w["code"] for w in data["warnings"]]) == (history > 48)


def test_what_all_paths_together_may_hold_is_limited(shared_service):
    items = [dict(single_body(4, 4), series_id=f"S{i}", overrides={"sample_count": 256}) for i in range(5)]
    reply = shared_service.post("/v1/predict/batch", {"items": items})
    assert reply.status == 422 and [e["code"] for e in reply.json["errors"]] == ["too_many_values"], reply
    reply = shared_service.post("/v1/predict/single", single_body(4, 8, overrides={"sample_count": 256}, output={"paths": True}))
    assert reply.status == 202
    shared_service.post(f"/v1/tasks/{reply.json['task_id']}/cancel", b"")


def test_a_result_nobody_can_read_is_refused_before_anything_is_stored(shared_service):
    before = shared_service.redis.command("ZCARD", "kq:{tiny}:recent")
    assert_problem(shared_service.post("/v1/predict/single", single_body(), headers={"Accept": "text/html"}), 406, "not_acceptable")
    assert shared_service.redis.command("ZCARD", "kq:{tiny}:recent") == before
