"""A keys file, written as an operator would, and the headers of those who hold the keys."""
import hashlib
import os
import secrets


class KeysFile:
    """Lines of keys; write() makes them the file, readable by its owner alone."""

    def __init__(self, directory, name="keys"):
        self.path = directory / name
        self.lines = []
        self.keys = []

    def add(self, name, scopes="submit,read", priority="normal", rate="-"):
        """A new key of that name; returns the key."""
        key = "krn_" + secrets.token_hex(20)
        self.keys.append(key)
        self.lines.append(f"{name} {hashlib.sha256(key.encode()).hexdigest()} {scopes} {priority} {rate}")
        self.write()
        return key

    def write(self, text=None):
        """The lines, or another text, at once: a reader sees the old file or the new one."""
        fresh = self.path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text("\n".join(["# keys of a test", *self.lines, ""]) if text is None else text)
        os.replace(fresh, self.path)


def bearer(key, **headers):
    return {"Authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
