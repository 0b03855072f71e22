"""A client of the FastAPI service, as its users wrote them: synchronous, knowing nothing of tasks.

It sends the old request bodies, reads only the old members, and turns errors into what it always
turned them into. Nothing in here may learn anything new: that is what it is for.
"""
import json
import urllib.error
import urllib.request

FIELDS = ("open", "high", "low", "close", "volume", "amount")


class Invalid(Exception):
    """422: a list of (location, message), as pydantic reports them."""

    def __init__(self, errors):
        super().__init__(errors)
        self.errors = errors


class Unavailable(Exception):
    """503 "Model not ready": wait and try again."""


class TimedOut(Exception):
    """504: give up."""


class ServerError(Exception):
    """500."""


class Refused(Exception):
    """Any other status, with its detail."""

    def __init__(self, status, detail):
        super().__init__(f"{status}: {detail}")
        self.status, self.detail = status, detail


class KronosClient:
    def __init__(self, base, container="scheduler"):
        self.base = base
        self.headers = {"Content-Type": "application/json", "X-Container-Name": container}

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method, headers=self.headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                assert reply.status == 200, f"the old service never answered {reply.status}"
                return json.load(reply)
        except urllib.error.HTTPError as failure:
            answer = json.load(failure)
            if failure.code == 422:
                raise Invalid([(tuple(e["loc"]), e["type"], e["msg"]) for e in answer["detail"]]) from None
            if failure.code == 503:
                raise Unavailable(answer["detail"]) from None
            if failure.code == 504:
                raise TimedOut(answer["detail"]) from None
            if failure.code == 500:
                raise ServerError(answer["detail"]) from None
            raise Refused(failure.code, answer["detail"]) from None

    def is_healthy(self):
        return self._call("GET", "/v1/healthz") == {"status": "ok"}

    def readiness(self):
        answer = self._call("GET", "/v1/readyz")
        return answer["status"], answer["model_loaded"], answer["device"], answer["device_warning"]

    def predict(self, series_id, candles, timestamps, prediction_timestamps, overrides=None):
        """Rows of (timestamp, open, high, low, close, volume, amount)."""
        body = {"series_id": series_id, "candles": candles, "timestamps": timestamps, "prediction_timestamps": prediction_timestamps}
        if overrides is not None:
            body["overrides"] = overrides
        return self._rows(self._call("POST", "/v1/predict/single", body), series_id)

    def predict_batch(self, items):
        answers = self._call("POST", "/v1/predict/batch", {"items": items})
        assert isinstance(answers, list), "the old service answered a batch with an array"
        return [self._rows(answer, item["series_id"]) for answer, item in zip(answers, items, strict=True)]

    @staticmethod
    def _rows(answer, series_id):
        assert answer["series_id"] == series_id
        for version in ("model_version", "tokenizer_version"):
            assert answer[version] is None or isinstance(answer[version], str)
        return [(row["timestamp"], *(float(row[field]) for field in FIELDS)) for row in answer["prediction"]]
