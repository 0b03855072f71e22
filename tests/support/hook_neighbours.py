"""Receivers that are well beside receivers that are not: how long an event takes from the outbox to the one that is well.

The clock of Redis says when an event entered the outbox: it is the event's timestamp. Both clocks are this machine's.
"""
import calendar
import socket
import time

from kronosq import single_body, wait_for
from receiver import Receiver, secret_of, verify

COPIES = 500  # of an event, by one script


class IllHosts:
    """Three ways not to answer, none of which needs a thread: a connection that the kernel takes and nobody reads, one that
    is never made because the queue of the listener is full and its SYNs are dropped, and one that is refused."""

    def __init__(self):
        self.silent = socket.create_server(("127.0.0.2", 0), backlog=4096)
        self.deaf = socket.create_server(("127.0.0.3", 0), backlog=0)
        self.refusing = socket.socket()
        self.refusing.bind(("127.0.0.4", 0))
        self._queued = [self._connect() for _ in range(4)]

    def _connect(self):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(self.deaf.getsockname())
        return client

    @property
    def _listeners(self):
        return self.silent, self.deaf, self.refusing

    @property
    def ports(self):
        return [listener.getsockname()[1] for listener in self._listeners]

    @property
    def urls(self):
        return ["http://{}:{}/hook".format(*listener.getsockname()) for listener in self._listeners]

    def close(self):
        for s in (*self._listeners, *self._queued):
            s.close()


def fill(service, url, n):
    """One task that has ended, and n more events about it that only differ by key. Its id."""
    task_id = service.submit(single_body(webhook={"url": url}))
    service.post(f"/v1/tasks/{task_id}/cancel", b"")
    key = next(k for k in service.redis.keys() if f":delivery:{task_id}" in k)
    script = """for i = 1, ARGV[1] do
      redis.call('COPY', KEYS[1], KEYS[2] .. i)
      redis.call('HSET', KEYS[2] .. i, 'outcome', 'pending', 'attempts', 0, 'fence', 0)
      redis.call('ZADD', KEYS[3], 1, string.sub(KEYS[2] .. i, #'kq:{tiny}:delivery:' + 1))
    end"""
    for first in range(0, n, COPIES):
        service.redis.command("EVAL", script, 3, key, f"{key}-{first}-", "kq:{tiny}:webhook", min(COPIES, n - first))
    return task_id


def delay_of(delivery, event):
    """Seconds from the outbox to the receiver."""
    whole, _, rest = event["timestamp"].rstrip("Z").partition(".")
    entered = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{rest or 0}")
    return max(0.0, delivery.at - entered)


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Neighbours:
    """Redis, an API, kronosq-webhook and the receivers."""

    def __init__(self, service, *flags):
        self.service = service
        self.well, self.ill = Receiver(), IllHosts()
        service.write_masters()
        self.secret = secret_of(service.masters[0], "local")
        settings = service.webhook_settings(self.well.port, *self.ill.ports)
        service.start_api("--admission", "false", "--rate-limit-enabled", "false", **settings)
        self.daemon = service.start_webhook(*flags, **settings)

    def delays(self, n, per_second, path):
        """Of n events to the receiver that is well, one after another."""
        service, began = self.service, time.monotonic()
        for i in range(n):
            wait_for(lambda: time.monotonic() >= began + i / per_second, 60)
            task_id = service.submit(single_body(webhook={"url": self.well.url(path)}))
            service.post(f"/v1/tasks/{task_id}/cancel", b"")
        deliveries = wait_for(lambda: len(found := self.well.at(path)) >= n and found, 60, f"{n} events at {path}")
        return [delay_of(delivery, verify(delivery, self.secret)) for delivery in deliveries]

    def burden(self, n):
        """Each of the ill hosts is owed n events."""
        for url in self.ill.urls:
            fill(self.service, url, n)

    def owed(self):
        return self.service.redis.command("ZCARD", "kq:{tiny}:webhook")

    def close(self):
        self.well.close()
        self.ill.close()
