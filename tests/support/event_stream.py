"""A client of an event stream, as a browser's EventSource reads one."""
import json
import socket
import time

from raw_http import get


class Event:
    def __init__(self, name, data, event_id, at):
        self.name, self.text, self.id, self.at = name, data, event_id, at

    @property
    def data(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"<{self.name} {self.id or ''} {self.text[:120]}>"


class EventStream:
    """GET /v1/tasks/{id}/events on a connection of its own; the reply's head is read, its body on demand."""

    def __init__(self, port, task_id, *headers, timeout=20, receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(get(f"/v1/tasks/{task_id}/events", *headers).encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while line := self.file.readline().rstrip(b"\r\n"):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        self.text = b""
        self.comments, self.retry = [], None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def _more(self):
        """The next chunk; False at the end of the stream. EOFError when it was cut off."""
        if self.headers.get("transfer-encoding") != "chunked":
            data = self.file.read1(65536)
            self.text += data
            return bool(data)
        size = self.file.readline()
        if not size:
            raise EOFError("the stream was cut off")
        data = self.file.read(int(size, 16) + 2)
        self.text += data[:-2]
        return len(data) > 2

    def next(self):
        """The next event, None at the end; comments and retry are kept aside."""
        while True:
            while b"\n\n" not in self.text:
                if not self._more():
                    assert self.text == b"", self.text
                    return None
            block, self.text = self.text.split(b"\n\n", 1)
            fields = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(": ")
                assert name not in fields, block
                fields[name] = value
            if "" in fields:
                self.comments.append((time.monotonic(), fields[""]))
                return self.next()
            if "retry" in fields:
                self.retry = fields["retry"]
            elif "event" in fields:
                return Event(fields["event"], fields["data"], fields.get("id"), time.monotonic())

    def until(self, name):
        """Events up to the first of that name, that one included."""
        events = []
        while not events or events[-1].name != name:
            event = self.next()
            assert event is not None, f"no event {name}: {events}"
            events.append(event)
        return events

    def rest(self):
        """All events to the end of the stream."""
        events = []
        while (event := self.next()) is not None:
            events.append(event)
        return events

    def wait_for_comment(self, seconds):
        """Read until a comment has come, within `seconds`; nothing else may."""
        self.socket.settimeout(seconds)
        n = len(self.comments)
        while len(self.comments) == n:
            while b"\n\n" in self.text:
                block, self.text = self.text.split(b"\n\n", 1)
                assert block.startswith(b": "), block
                self.comments.append((time.monotonic(), block[2:].decode()))
            if len(self.comments) == n:
                assert self._more()
