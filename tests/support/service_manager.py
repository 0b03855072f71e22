"""The other end of NOTIFY_SOCKET: what a daemon tells systemd."""
import pathlib
import socket

from kronosq import wait_for


class ServiceManager:
    """Listens like systemd does, and remembers every line it was told, in order."""

    def __init__(self, directory):
        self.path = pathlib.Path(directory) / "notify.sock"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self._lines = []

    def settings(self, watchdog_seconds=None):
        """What systemd puts into the environment of a service."""
        given = {"NOTIFY_SOCKET": self.path}
        if watchdog_seconds is not None:
            given["WATCHDOG_USEC"] = int(watchdog_seconds * 1_000_000)
        return given

    def lines(self):
        while True:
            try:
                self._lines += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._lines

    def count(self, start):
        return sum(line.startswith(start) for line in self.lines())

    def await_line(self, start, seconds=30, times=1):
        wait_for(lambda: self.count(start) >= times, seconds, f"the daemon says {start} {times} times; so far: {self.lines()}")

    def close(self):
        self.socket.close()
