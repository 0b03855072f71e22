"""Alive, ready, and what a balancer may conclude."""
import signal

from kronosq import at_best
from raw_http import assert_problem


def test_alive_is_answered_with_and_without_redis(service):
    service.start_api()
    for _ in range(2):
        for path, document in (("/v1/healthz", {"status": "ok"}), ("/v2/health/live", {"live": True})):
            reply = service.get(path)
            assert reply.status == 200 and reply.json == document and reply.headers["content-type"] == "application/json"
        service.redis.kill()


def test_ready_means_a_worker_of_the_default_model(service):
    service.start_api()
    reply = service.get("/v1/readyz")
    assert reply.status == 503
    assert reply.json == {"status": "loading", "model_loaded": False, "device": None, "device_warning": None, "redis": "ok", "workers": 0,
                          "version": reply.json["version"]}
    assert service.get("/v2/health/ready").status == 503 and service.get("/v2/health/ready").json == {"ready": False}
    worker = service.start_worker()
    reply = service.get("/v1/readyz")
    assert reply.status == 200
    assert reply.json["status"] == "ok" and reply.json["model_loaded"] is True and reply.json["device"] == "cpu" and reply.json["workers"] == 1
    assert service.get("/v2/health/ready").status == 200 and service.get("/v2/health/ready").json == {"ready": True}
    assert worker.stop() == 0
    assert service.get("/v1/readyz").status == 503, "a worker that left is not waited for"


def ready_in_time(service):
    replies = []

    def ask():
        replies.append(service.get("/v1/readyz"))
        return replies[-1].seconds
    at_best(ask, 2)
    return replies[-1]


def test_ready_says_within_two_seconds_that_redis_does_not_answer(service):
    service.start_api()
    service.start_worker()
    service.redis.process.signal(signal.SIGSTOP)
    reply = ready_in_time(service)
    service.redis.process.signal(signal.SIGCONT)
    assert reply.status == 503 and reply.json["redis"] == "down" and reply.json["model_loaded"] is False and reply.json["status"] == "loading"
    service.redis.kill()
    reply = ready_in_time(service)
    assert reply.status == 503 and (reply.json["status"], reply.json["model_loaded"], reply.json["redis"]) == ("loading", False, "down")
    assert service.get("/v2/health/ready").status == 503


def test_the_root_says_the_name_and_unknown_paths_are_not_found(service):
    service.start_api(KRONOS_APP_NAME="Desk forecasts")
    assert service.get("/").json == {"message": "Desk forecasts"}
    for path in ("/docs", "/redoc", "/v1/metric", "/v1/tasks/x/y", "/v1"):
        assert_problem(service.get(path), 404, "route_not_found", "Not Found")
