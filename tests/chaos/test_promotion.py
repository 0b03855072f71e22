"""Redis dies and its replica takes over. What was not replicated is gone, which no queue on Redis can mend: the client
is told 404 and repeats its request. Everything else holds in the new history as in the old one."""
import json
import random

import pytest
from fleet import make_directory
from kronosq import Service, free_port, single_body, wait_for
from oracle import PREFIX, Recorder, waiting
from proxy import Proxy

LEASE_MS = 1500


@pytest.fixture
def pair():
    """A service whose daemons reach Redis through a proxy, and a replica of that Redis beside it."""
    import kronosq
    service = Service(make_directory())
    service.owns_directory = True
    port = free_port()
    service.redis = kronosq.Redis(service.directory, "--port", port, "--bind", "127.0.0.1",
                                  "--repl-diskless-sync-delay", 0)
    service.start_redis()
    beside = service.directory / "replica"
    beside.mkdir()
    replica = kronosq.Redis(beside, "--replicaof", f"127.0.0.1 {port}", "--repl-diskless-load", "disabled")
    replica.start()
    wait_for(lambda: "state=online" in service.redis.command("INFO", "replication"), 20, "the replica follows")
    proxy = Proxy(service.directory / "proxy.sock", service.redis.socket_path)
    service.direct, service.redis.url = service.redis.url, proxy.url
    yield service, replica, proxy
    complaints = service.close()
    replica.kill()
    proxy.close()
    service.remove()
    assert not complaints, "\n".join(complaints)


def submit_until_accepted(service, key, body):
    def attempt():
        try:
            reply = service.request("POST", "/v1/predict/single", body, {"Idempotency-Key": key}, timeout=5)
        except OSError:
            return None
        assert reply is None or reply.status in (202, 503), reply
        return reply.json["task_id"] if reply is not None and reply.status == 202 else None
    return wait_for(attempt, 20, f"{key} is accepted")


def test_after_a_promotion_every_request_completes_once_in_the_new_history(pair):
    service, replica, proxy = pair
    rng = random.Random(3)
    service.start_api()
    for i in range(3):
        service.start_worker("--lease-ms", LEASE_MS, "--step-delay-ms", 20, "--slots", 2 + i)
    requests = {f"request-{i}": json.dumps(single_body(history=8, steps=rng.randint(1, 10), overrides={"seed": i}))
                for i in range(120)}
    ids = {}
    for n, (key, body) in enumerate(requests.items()):
        ids[key] = submit_until_accepted(service, key, body)
        if n == 70:  # what the master accepts from here on is never replicated
            offset = service.redis.command("ROLE")[1]
            wait_for(lambda: replica.command("ROLE")[4] >= offset, 20, "the replica has the first 71")
            replica.command("REPLICAOF", "NO", "ONE")
        if n == 80:
            service.redis.kill()
            proxy.lead_to(replica.socket_path)
            recorder = Recorder(replica)
            wait_for(lambda: replica.command("PUBSUB", "NUMPAT") >= 1, 20, "events are recorded")

    def ended(key):
        """404: the new Redis never heard of it. The client asks again, as the contract tells it to."""
        reply = service.get(f"/v1/tasks/{ids[key]}?wait=1")
        if reply.status == 404:
            ids[key] = submit_until_accepted(service, key, requests[key])
        return reply.status == 200 and reply.json["status"] == "completed"

    repeated = dict(ids)
    for key in requests:
        wait_for(lambda: ended(key), 60, f"{key} completes")
    lost = sum(repeated[key] != ids[key] for key in ids)
    assert len(set(ids.values())) == len(requests)
    assert lost == 10, "those the replica was never told of"
    ends = {task_id: states for task_id, states in recorder.ends.items() if len(states) > 1}
    assert not ends, "published twice in one history"
    wait_for(lambda: not waiting(replica), 30, "nothing is left")
    for key, task_id in ids.items():
        state, worker = replica.command("HMGET", f"{PREFIX}:task:{task_id}", "state", "worker")
        maker = service.task(task_id)["data"]["timing"]["worker"]
        assert state == "completed" and maker == f"w-{worker[:8]}"
    recorder.close()


def test_a_worker_does_not_write_to_a_redis_that_became_a_replica(pair):
    """The old master comes back as a replica: daemons must not believe what it says of the past."""
    service, replica, proxy = pair
    service.start_api()
    worker = service.start_worker()
    assert service.finished(service.submit())["status"] == "completed"
    service.redis.command("REPLICAOF", "127.0.0.1", "1")
    service.redis.command("CLIENT", "KILL", "TYPE", "normal")
    wait_for(lambda: worker.log_lines(message="redis lost"), 20, "the worker notices")
    refused = service.post("/v1/predict/single", single_body())
    assert refused.status == 503 and refused.seconds < 5
    replica.command("REPLICAOF", "NO", "ONE")
    proxy.lead_to(replica.socket_path)
    done = wait_for(lambda: (lambda r: r if r.status == 202 else None)(service.post("/v1/predict/single", single_body())), 20,
                    "submits are accepted again")
    assert service.finished(done.json["task_id"])["status"] == "completed"
