"""Receivers of every temper, each at an address of its own; what they answer is in the path: /KIND/KEY.

Every delivery is verified as it comes, and remembered with the answer it was given.
"""
import asyncio
import collections
import random
import threading
import time

from receiver import Delivery, verify

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CUTS = (b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
NO_LINE = CUTS[:2]
ENDS = {"well": "delivered", "again": "delivered", "busy": "delivered", "gone": "disabled", "moved": "failed", "moved_once": "delivered",
        "silent": "delivered", "cut": "delivered", "never": "failed", "down": "delivered"}
FINAL = (200, 410)  # after these nothing more is to come

Seen = collections.namedtuple("Seen", "delivery event answer")


def _head(status, more=""):
    return f"HTTP/1.1 {status} Rough\r\n{more}Content-Length: 0\r\n\r\n".encode()


class RoughReceiver:
    def __init__(self, secret, seed):
        self.secret, self.rng = secret, random.Random(seed)
        self.seen = collections.defaultdict(list)   # path -> what came there, in order
        self.wrong, self.redirected = [], []
        self.dropped = 0                            # connections closed before anything was read
        self._servers, self._open = {}, collections.defaultdict(set)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.hosts = {kind: f"127.0.1.{i + 1}" for i, kind in enumerate((*ENDS, "target"))}
        self._ports = {kind: self._call(self._listen(kind, 0)) for kind in self.hosts}

    @property
    def ports(self):
        return sorted(set(self._ports.values()))

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    async def _listen(self, kind, port):
        server = await asyncio.start_server(lambda r, w: self._serve(kind, r, w), self.hosts[kind], port, backlog=512)
        self._servers[kind] = server
        return server.sockets[0].getsockname()[1]

    def url(self, kind, key):
        return f"http://{self.hosts[kind]}:{self._ports[kind]}/{kind}/{key}"

    async def _drop(self, kind):
        self._servers[kind].close()
        for writer in tuple(self._open[kind]):
            writer.transport.abort()

    def go_down(self, kind="down"):
        """From now on connections to it are refused."""
        self._call(self._drop(kind))

    def come_back(self, kind="down"):
        self._call(self._listen(kind, self._ports[kind]))

    async def _serve(self, kind, reader, writer):
        self._open[kind].add(writer)
        try:
            if kind == "cut" and self.rng.random() < 0.2:
                self.dropped += 1
                return
            while await self._exchange(kind, reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever sent it was killed
        finally:
            self._open[kind].discard(writer)
            writer.close()

    async def _exchange(self, kind, reader, writer):
        """One request; False: the connection is over."""
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = line.split(" ")[1]
        if kind == "target":
            self.redirected.append(path)
        answer = self._answer(kind, len(self.seen[path]))
        delivery = Delivery(path, headers, body, time.time())
        try:
            event = verify(delivery, self.secret)
        except (AssertionError, KeyError, ValueError) as error:
            self.wrong.append(f"{path} came unsigned or damaged: {error!r}"[:300])
            event = {}
        self.seen[path].append(Seen(delivery, event, answer))
        if answer == "silence":
            await reader.read(1)  # until the other end has had enough
            return False
        if isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()
            return False
        writer.write({200: OK, 429: _head(429, "Retry-After: 1\r\n"),
                      302: _head(302, f"Location: {self.url('target', 'x')}\r\n")}.get(answer) or _head(answer))
        await writer.drain()
        return True

    def _answer(self, kind, n):
        first = {"again": 500, "busy": 429, "moved_once": 302, "silent": "silence"}
        if kind in ("never", "gone", "moved"):
            return {"never": 500, "gone": 410, "moved": 302}[kind]
        if kind == "cut" and n < 2:
            return self.rng.choice(CUTS)
        return first.get(kind, 200) if n == 0 else 200

    def close(self):
        for kind in self.hosts:
            self._call(self._drop(kind))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
