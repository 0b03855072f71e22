"""A client that sends exactly the bytes it is told to, and sees exactly what comes back."""
import json
import re
import socket
import struct
import time

import contract
from kronosq import read_reply

REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|DELETE|PUT|PATCH|OPTIONS|TRACE) (/\S*) HTTP/1\.[01]\r\n")


class Raw:
    """One TCP connection."""

    def __init__(self, port, timeout=15):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.stream = self.socket.makefile("rb")
        self.asked = []  # (method, target) of each whole request; None where it is not known what was asked

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        data = data if isinstance(data, bytes) else data.encode("latin-1")
        first = REQUEST_LINE.match(data)
        is_one = first is not None and REQUEST_LINE.search(data, first.end()) is None
        self.asked.append((first[1].decode(), first[2].decode()) if is_one else None)
        self.sent_at = time.monotonic()
        self.socket.sendall(data)
        return self

    def reply(self, method="GET"):
        """The next reply, None when the peer closed instead; its seconds are those since something was last sent."""
        try:
            reply = read_reply(self.stream, method)
        except ConnectionResetError:
            return None
        if reply is not None:
            reply.seconds = time.monotonic() - self.sent_at
        if reply is not None and reply.status < 200:  # the request's reply is still to come
            return reply
        asked = self.asked.pop(0) if self.asked else None
        if reply is not None and asked is not None and None not in self.asked:
            contract.check(*asked, reply)
        return reply

    def was_read(self):
        """Has the peer's process taken everything that was sent out of the kernel?"""
        here, there = (f":{name[1]:04X}" for name in (self.socket.getsockname(), self.socket.getpeername()))
        unread = None  # until the peer has accepted the connection it has no entry of its own
        with open("/proc/net/tcp", encoding="ascii") as table:
            for _, local, remote, _, queues, *_ in map(str.split, table.readlines()[1:]):
                if local.endswith(here) and remote.endswith(there) and int(queues.split(":")[0], 16):
                    return False
                if local.endswith(there) and remote.endswith(here):
                    unread = int(queues.split(":")[1], 16)
        return unread == 0

    def is_closed(self, seconds=20):
        """Has the peer closed, without another byte? Waits for it up to `seconds`."""
        self.socket.settimeout(seconds)
        try:
            return self.stream.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()


def head(method, path, *lines, version="HTTP/1.1", host=True):
    """A header block as text; lines are given whole."""
    all_lines = [f"{method} {path} {version}"] + (["Host: test"] if host else []) + list(lines)
    return "\r\n".join(all_lines) + "\r\n\r\n"


def get(path, *lines, method="GET"):
    return head(method, path, *lines)


def post(path, body, *lines):
    body = json.dumps(body).encode() if not isinstance(body, bytes) else body
    return head("POST", path, "Content-Type: application/json", f"Content-Length: {len(body)}", *lines).encode() + body


def assert_problem(reply, status, code, detail=None):
    """Is the reply that refusal, with everything a refusal carries?"""
    assert reply is not None, "closed without a reply"
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/problem+json", reply.headers
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    document = reply.json
    assert document["status"] == status and document["code"] == code, document
    assert document["type"] == f"urn:kronosq:error:{code}" and document["title"]
    assert document["request_id"] == reply.headers["x-request-id"]
    if detail is not None:
        assert document["detail"] == detail
    return document


def elapsed(since):
    return time.monotonic() - since
