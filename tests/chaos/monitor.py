"""Redis' MONITOR: what clients sent, and when, by Redis' clock. Commands inside scripts are left out."""
import re
import socket
import threading

LINE = re.compile(r'^\+([0-9.]+) \[\d+ (\S+)\] (.*)$')
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Monitor:
    """`with Monitor(redis) as seen:` collects (seconds, words) in seen.commands until it ends."""

    def __init__(self, redis):
        self.redis, self.commands = redis, []

    def __enter__(self):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(self.redis.socket_path))
        self._stream = self._socket.makefile("r", encoding="utf-8", errors="replace", newline="\r\n")
        self._socket.sendall(b"MONITOR\r\n")
        assert self._stream.readline().startswith("+OK")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def _read(self):
        try:
            for line in self._stream:
                match = LINE.match(line.rstrip())
                if match and match[2] != "lua":
                    self.commands.append((float(match[1]), WORD.findall(match[3])))
        except OSError:
            pass

    def __exit__(self, *_):
        self.redis.command("ECHO", "the end of MONITOR")  # what came before it has been read when it has
        for _ in range(500):
            if any(words[-1] == "the end of MONITOR" for _, words in self.commands[-50:]):
                break
            threading.Event().wait(0.01)
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()
