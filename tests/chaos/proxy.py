"""A network between the daemons and Redis that can be bad: it stalls, drops, loses replies, or goes deaf.

A unix socket in front of another one, on a thread of its own. What was sent arrives in order or not at all.
"""
import asyncio
import random
import threading

DEAF_SECONDS = 10  # how long Redis goes on believing in a client that is gone


class _Link:
    """One connection and its other half at Redis."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.loses_reply = self.is_deaf = False

    def close(self):
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    def __init__(self, path, target):
        self.path, self.target = str(path), str(target)
        self.url = f"unix://{path}"
        self._links = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    # ---- how bad it gets; from any thread ----

    def drop_all(self):
        """Every connection breaks at once, whatever was on its way."""
        self._call(lambda: [link.close() for link in list(self._links)])

    def lose_replies(self):
        """Redis does what it is told next, but nobody hears of it."""
        self._call(lambda: [setattr(link, "loses_reply", True) for link in self._links])

    def stall(self, seconds):
        """Nothing moves for a while, then everything does."""
        def stop():
            self._flowing.clear()
            self._loop.call_later(seconds, self._flowing.set)
        self._call(stop)

    def deafen(self, rng=random):
        """One connection goes half-open: nothing arrives any more, and nobody is told."""
        pick = rng.random()
        self._call(lambda: [setattr(link, "is_deaf", True) for link in
                            list(self._links)[int(pick * len(self._links)):][:1]])

    def lead_to(self, target):
        """New connections go to another Redis; the old ones break."""
        self.target = str(target)
        self.drop_all()

    def close(self):
        self._call(self._loop.stop)
        self._thread.join(10)

    def _call(self, function):
        self._loop.call_soon_threadsafe(function)

    # ---- its own thread ----

    def _run(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_unix_server(self._serve, self.path, backlog=128))
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for link in list(self._links):
            link.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, from_client, to_client):
        try:
            from_redis, to_redis = await asyncio.open_unix_connection(self.target)
        except OSError:
            to_client.transport.abort()
            return
        link = _Link(to_client, to_redis)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(link, from_client, to_redis), self._pump(link, from_redis, to_client))
        finally:
            self._links.discard(link)
            link.close()

    async def _pump(self, link, source, sink):
        is_reply = sink is link.client
        try:
            while data := await source.read(65536):
                await self._flowing.wait()
                if link.is_deaf:
                    continue
                if is_reply and link.loses_reply:
                    break
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        if link.is_deaf:
            await asyncio.sleep(DEAF_SECONDS)
        link.close()
