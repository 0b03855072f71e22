"""A network of its own in which every address answers, and a DNS that lies: what does kronosq-webhook connect to?

    unshare -rnm hostile_network.py       prints {"cases": [...], "connections": [...]} as JSON

Every network no webhook may reach has an address here, with a listener behind it that accepts and answers; so a
connection that is made is seen. Two public addresses are here too, to show that deliveries work. The API is asked what it
thinks of each URL, and then the event is put into the outbox behind its back, as a hostile Redis would hold it.
"""
import base64
import hashlib
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from kronosq import Service, single_body, wait_for

PUBLIC4, PUBLIC6 = "93.184.216.34", "2606:4700::1111"
FORBIDDEN4 = ["0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1", "172.31.255.254", "192.0.0.8",
              "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1"]
FORBIDDEN6 = ["::1", "::", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::1", "fc00::1", "fd00::1",
              "fe80::7", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::10.0.0.1"]
LITERALS = ["2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "0", "10.1", "017700000001", "localhost", "localhost.", "a.localhost"]
PORTS = (80, 443, 8443, 22, 6379)


def dns_name(address):
    return "h-" + base64.b16encode(address.encode()).decode().lower() + ".test"


class Names:
    """A DNS server: A and AAAA of h-<hex>.test as the name says, and a few names that lie in other ways."""

    def __init__(self):
        self.asked = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def answers(self, name, family):
        n = self.asked[name, family] = self.asked.get((name, family), 0) + 1
        if name.startswith("h-"):
            found = [base64.b16decode(name[2:].split(".")[0].upper()).decode()]
        elif name == "good.test":
            found = [PUBLIC4]
        elif name == "good6.test":
            found = [PUBLIC6]
        elif name == "rebind.test":    # public when it is first looked at, and then the neighbour
            found = [PUBLIC4 if n == 1 else "169.254.169.254"]
        elif name == "mixed.test":
            found = ["10.0.0.1", PUBLIC4]
        elif name == "mixed6.test":
            found = ["fd00::1", PUBLIC4]
        elif name == "alias.test":     # a CNAME and where it leads
            found = ["alias:inner.test", "192.168.1.1"]
        elif name == "silent.test":
            return None
        else:
            found = []
        return [a for a in found if a.startswith("alias:") or (":" in a) == (family == 28)]

    def _serve(self):
        while True:
            query, client = self.socket.recvfrom(512)
            at, labels = 12, []
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            family, question = struct.unpack("!H", query[at + 1:at + 3])[0], query[12:at + 5]
            found = self.answers(".".join(labels).lower(), family)
            if found is None:
                continue
            records, owner = b"", b"\xc0\x0c"
            for answer in found:
                if answer.startswith("alias:"):
                    target = b"".join(bytes([len(p)]) + p.encode() for p in answer[6:].split(".")) + b"\0"
                    records += owner + struct.pack("!HHIH", 5, 1, 0, len(target)) + target
                    owner = target
                else:
                    packed = socket.inet_pton(socket.AF_INET6 if ":" in answer else socket.AF_INET, answer)
                    records += owner + struct.pack("!HHIH", family, 1, 0, len(packed)) + packed
            self.socket.sendto(query[:2] + b"\x81\x80" + struct.pack("!HHHH", 1, len(found), 0, 0) + question + records, client)


class Listeners:
    """Accept on every address at PORTS, remember who was called, and answer."""

    def __init__(self):
        self.connections = []
        self._selector = selectors.DefaultSelector()
        for port in PORTS:
            s = socket.socket(socket.AF_INET6)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            s.bind(("::", port))
            s.listen(64)
            self._selector.register(s, selectors.EVENT_READ)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            for key, _ in self._selector.select():
                s, _ = key.fileobj.accept()
                address = s.getsockname()[0].removeprefix("::ffff:")
                self.connections.append([address, key.fileobj.getsockname()[1]])
                threading.Thread(target=self._answer, args=(s,), daemon=True).start()

    @staticmethod
    def _answer(s):
        with s:
            s.settimeout(5)
            data = b""
            try:
                while b"\r\n\r\n" not in data and (part := s.recv(65536)):
                    data += part
                if b"/redirect" in data.split(b"\r\n")[0]:
                    s.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data\r\nContent-Length: 0\r\n\r\n")
                elif b"/endless" in data.split(b"\r\n")[0]:
                    s.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    while True:
                        s.sendall(b"x" * 65536)
                else:
                    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            except OSError:
                pass


def make_network():
    run = lambda *words: subprocess.run(words, check=True, capture_output=True)
    run("ip", "link", "set", "lo", "up")
    for address in [PUBLIC4, *FORBIDDEN4]:
        if not address.startswith(("0.", "127.", "224.", "240.")):
            run("ip", "addr", "add", f"{address}/32", "dev", "lo")
    for address in [PUBLIC6, *FORBIDDEN6]:
        if address not in ("::1", "::", "ff02::1") and "." not in address:
            run("ip", "-6", "addr", "add", f"{address}/128", "dev", "lo", "nodad")
    folder = tempfile.mkdtemp()
    for name, text in (("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n"), ("nsswitch.conf", "hosts: files dns\n"),
                       ("hosts", "127.0.0.1 localhost\n")):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, 0o644)
        if os.path.exists(f"/etc/{name}"):
            run("mount", "--bind", path, f"/etc/{name}")


def pack_text(text):
    data = text.encode()
    return (b"\xa0"[0] + len(data)).to_bytes(1, "big") + data if len(data) < 32 else b"\xda" + len(data).to_bytes(2, "big") + data


def webhook_blob(url):
    return (b"\x84" + pack_text("format") + b"\x01" + pack_text("url") + pack_text(url) + pack_text("include_result") + b"\xc2" +
            pack_text("traceparent") + pack_text(""))


def put_event(service, task_id, url):
    """As a script of the outbox would, for a task that has ended."""
    key = "x" + hashlib.sha256(url.encode()).hexdigest()[:20]
    prefix, now = "kq:{tiny}", int(time.time() * 1000)
    service.redis.command("HSET", f"{prefix}:delivery:{key}", "subject", task_id, "state", "cancelled", "webhook", webhook_blob(url), "created_ms", now,
                          "expires_ms", now + 3600000, "owner", "local", "requeues", 0, "error_code", "cancelled_by_client", "error", "", "outcome",
                          "pending", "attempts", 0, "fence", 0, "previous", "")
    service.redis.command("ZADD", f"{prefix}:webhook", now, key)
    return f"{prefix}:delivery:{key}"


def urls():
    """(url, may it be delivered?)"""
    for scheme in ("http", "https"):
        for address in FORBIDDEN4:
            yield f"{scheme}://{address}/", False
    for address in FORBIDDEN6:
        yield f"http://[{address}]/", False
    for literal in LITERALS:
        yield f"http://{literal}/", False
    for address in FORBIDDEN4 + FORBIDDEN6:
        yield f"http://{dns_name(address)}/", False
    for name in ("alias.test", "mixed.test", "mixed6.test"):
        yield f"http://{name}/", False
    for odd in ("http://user:pw@good.test/", "http://good.test@10.0.0.1/", "http://good.test:22/", "http://good.test:6379/", "http://good.test\\@10.0.0.1/",
                "http://good.test#@10.0.0.1/", "http://good.test%2f@10.0.0.1/", "ftp://good.test/", "file:///etc/passwd", "gopher://10.0.0.1:6379/x",
                "http:///10.0.0.1/", "http://[::ffff:7f00:1]/", "http://[fe80::7%25lo]/", "http://①②⑦.0.0.1/", "//10.0.0.1/", "http://good.test /"):
        yield odd, False
    yield "http://good.test/", True
    yield "http://good6.test/", True
    yield f"http://{PUBLIC4}/", True
    yield f"http://[{PUBLIC6}]/endless", True


def outcome(service, key):
    names = ("outcome", "attempts", "last_status", "last_error")
    return dict(zip(names, service.redis.command("HMGET", key, *names)))


def main():
    make_network()
    names, listeners = Names(), Listeners()
    service = Service().start_redis()
    service.write_masters()
    settings = service.webhook_settings(80, 443, 8443)
    del settings["KRONOS_WEBHOOK_ALLOW_CIDR"]
    service.start_api(**settings)
    task_id = service.submit()
    service.post(f"/v1/tasks/{task_id}/cancel", b"")
    cases, keys = [], {}
    for url, good in urls():
        reply = service.post("/v1/predict/single", json.dumps(single_body(webhook={"url": url})))
        cases.append({"url": url, "good": good, "submit": reply.status})
        keys[url] = put_event(service, task_id, url)
    listeners.connections.clear()   # the API is at 127.0.0.1, too
    silent = put_event(service, task_id, "http://silent.test/")
    redirect = put_event(service, task_id, f"http://{PUBLIC4}/redirect")
    daemon = service.start_webhook("--retry-scale", "0.01", "--webhook-timeout", "3", "--webhook-connect-timeout", "2", **settings)
    try:
        wait_for(lambda: all(outcome(service, key)["outcome"] != "pending" for key in keys.values()), 30)
    except AssertionError:
        left = {url: outcome(service, key) for url, key in keys.items() if outcome(service, key)["outcome"] == "pending"}
        raise AssertionError(f"these events have no end: {left}\n{daemon.log()[-3000:]}") from None
    # what a name was before does not matter: delivered once, and then it has moved
    rebind = [put_event(service, task_id, "http://rebind.test/")]
    wait_for(lambda: outcome(service, rebind[0])["outcome"] != "pending", 20)
    rebind.append(put_event(service, task_id, "http://rebind.test/again"))
    wait_for(lambda: outcome(service, rebind[1])["outcome"] != "pending", 20)
    wait_for(lambda: int(outcome(service, redirect)["attempts"]) > 1, 20, "a redirect fails and is tried again")
    wait_for(lambda: outcome(service, silent)["last_error"] not in (None, ""), 20, "a name without an answer fails in time")
    for case in cases:
        case.update(outcome(service, keys[case["url"]]))
    found = {"cases": cases, "connections": sorted(map(list, {tuple(c) for c in listeners.connections})), "silent": outcome(service, silent),
             "redirect": outcome(service, redirect), "rebind": [outcome(service, key) for key in rebind], "exit": daemon.stop(),
             "asked": len(names.asked), "complaints": service.close(), "log": daemon.log()[-3000:]}
    service.remove()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
