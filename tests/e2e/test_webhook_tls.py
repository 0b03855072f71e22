"""Deliveries over real TLS: to whom a certificate is trusted, and not a byte of an event to anybody else."""
import socket
import ssl
import subprocess
import threading
import warnings

import pytest

from certificates import Authority, self_signed
from kronosq import BUILD, Process, environment, single_body, wait_for
from receiver import Receiver, secret_of, tls_context, verify

HERE = "IP:127.0.0.1"
NAME = "hooks.kronosq.test"


def may_mount():
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, timeout=20).returncode == 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


class Secure:
    """A service whose API takes https receivers on loopback; tests bring receivers and start the daemon."""

    def __init__(self, service):
        self.service = service
        self.receivers = []
        service.write_masters()

    def receiver(self, certificate=None, tls=None):
        made = Receiver(tls=tls or tls_context(*certificate))
        self.receivers.append(made)
        return made

    def settings(self, **more):
        given = self.service.webhook_settings(*(r.port for r in self.receivers))
        del given["KRONOS_WEBHOOK_ALLOW_HTTP"]
        return {**given, **more}

    def start(self, *flags, **more):
        self.service.start_api(**self.settings())
        return self.service.start_webhook(*flags, **self.settings(**more))

    def cancelled(self, url):
        task_id = self.service.submit(single_body(webhook={"url": url}))
        self.service.post(f"/v1/tasks/{task_id}/cancel", b"")
        return task_id

    def settled(self, task_id, state):
        return wait_for(lambda: (hook := self.service.task(task_id)["webhook"])["state"] == state and hook, 30, f"{task_id} is {state}")

    def assert_refused(self, daemon, url, why):
        """The first attempt; the next one is seconds away."""
        task_id = self.cancelled(url)
        hook = wait_for(lambda: (hook := self.service.task(task_id)["webhook"])["last_error"] and hook, 30, "an attempt has failed")
        assert (hook["state"], hook["attempts"], hook["last_status"], hook["last_error"]) == ("pending", 1, None, "tls")
        told, = wait_for(lambda: daemon.log_lines(message="delivery attempted", task_id=task_id), 20, "and it is told")
        assert (told["error_type"], told["error_message"], told["status_code"]) == ("tls", why, 0)
        assert all(receiver.deliveries == [] for receiver in self.receivers), "nobody has seen an event"


@pytest.fixture
def secure(service):
    made = Secure(service)
    yield made
    for receiver in made.receivers:
        receiver.close()


def test_an_event_reaches_a_receiver_whose_authority_the_operator_has_named(secure, authority):
    receiver = secure.receiver(authority.certificate("good", HERE))
    secure.start(KRONOS_WEBHOOK_CA_FILE=authority.path)
    task_id = secure.cancelled(receiver.url())
    hook = secure.settled(task_id, "delivered")
    assert (hook["attempts"], hook["last_status"], hook["last_error"]) == (1, 200, None)
    delivery, = receiver.deliveries
    assert verify(delivery, secret_of(secure.service.masters[0], "local"))["data"]["task_id"] == task_id
    handshake, = receiver.handshakes
    assert (handshake.version, handshake.alpn) == ("TLSv1.3", "http/1.1"), "HTTP/2 was offered and not wanted"
    assert handshake.name is None, "an address is no name to ask for"


def test_a_file_of_several_authorities_trusts_each_of_them(secure, authority, tmp_path):
    other = Authority(tmp_path, "other")
    both = tmp_path / "both.pem"
    both.write_text("# ours\n" + authority.path.read_text() + "\n# theirs\n" + other.path.read_text())
    receivers = [secure.receiver(made.certificate("good", HERE)) for made in (authority, other)]
    secure.start(KRONOS_WEBHOOK_CA_FILE=both)
    for receiver in receivers:
        secure.settled(secure.cancelled(receiver.url()), "delivered")


def test_an_authority_that_nobody_named_is_not_trusted(secure, authority):
    receiver = secure.receiver(authority.certificate("good", HERE))
    secure.assert_refused(secure.start(), receiver.url(), "unable to get local issuer certificate")


def test_the_authorities_that_are_named_are_the_only_ones(secure, authority, tmp_path):
    receiver = secure.receiver(authority.certificate("good", HERE))
    other = Authority(tmp_path, "other")
    # the place where OpenSSL looks for the system's, if it is asked to
    daemon = secure.start(KRONOS_WEBHOOK_CA_FILE=other.path, SSL_CERT_FILE=authority.path)
    secure.assert_refused(daemon, receiver.url(), "unable to get local issuer certificate")


@pytest.mark.parametrize("kind,why", [
    ("expired", "certificate has expired"),
    ("of another address", "the certificate is for another host"),
    ("of a name", "the certificate is for another host"),
    ("for clients", "unsuitable certificate purpose"),
    ("self-signed", "self-signed certificate"),
])
def test_a_certificate_that_is_not_good_for_this_host_now_is_refused(secure, authority, tmp_path, kind, why):
    certificate = {
        "expired": lambda: authority.certificate("expired", HERE, days=-1),
        "of another address": lambda: authority.certificate("another", "IP:127.0.0.2"),
        "of a name": lambda: authority.certificate("127.0.0.1", f"DNS:{NAME}"),  # its CN is the address: that counts for nothing
        "for clients": lambda: authority.certificate("client", HERE, usage="clientAuth"),
        "self-signed": lambda: self_signed(tmp_path, "own", HERE),
    }[kind]()
    receiver = secure.receiver(certificate)
    secure.assert_refused(secure.start(KRONOS_WEBHOOK_CA_FILE=authority.path), receiver.url(), why)


def test_old_tls_is_refused_and_1_2_is_spoken(secure, authority):
    certificate = authority.certificate("good", HERE)
    old, plain = tls_context(*certificate), tls_context(*certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    plain.maximum_version = ssl.TLSVersion.TLSv1_2
    refused, spoken = secure.receiver(tls=old), secure.receiver(tls=plain)
    daemon = secure.start(KRONOS_WEBHOOK_CA_FILE=authority.path)
    secure.assert_refused(daemon, refused.url(), "SSL connect error")
    wait_for(lambda: refused.refusals, 20, "the receiver has noticed, too")
    assert refused.handshakes == [] and len(refused.refusals) == 1
    secure.settled(secure.cancelled(spoken.url()), "delivered")
    assert [h.version for h in spoken.handshakes] == ["TLSv1.2"]


def test_a_port_that_speaks_no_tls_hears_nothing_of_the_event(secure, authority):
    heard = []
    listener = socket.create_server(("127.0.0.1", 0))

    def listen():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=listen, daemon=True).start()
    settings = {"KRONOS_WEBHOOK_PORTS": listener.getsockname()[1]}
    secure.service.start_api(**secure.settings(**settings))
    daemon = secure.service.start_webhook(**secure.settings(KRONOS_WEBHOOK_CA_FILE=authority.path, **settings))
    secure.assert_refused(daemon, f"https://127.0.0.1:{listener.getsockname()[1]}/hook", "SSL connect error")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    assert len(heard) == 1 and not any(b"webhook" in part or b"POST" in part for part in heard)


@pytest.mark.skipif(not may_mount(), reason="this system lets nobody have names of their own")
def test_the_name_of_the_url_is_asked_for_and_checked_wherever_the_connection_goes(secure, authority, tmp_path):
    """The name leads to 127.0.0.1 by the daemon's own /etc/hosts; the certificate of that address is not the name's."""
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost {NAME} other.kronosq.test\n")
    named = secure.receiver(authority.certificate("named", f"DNS:{NAME}"))
    address = secure.receiver(authority.certificate("good", HERE))
    secure.service.start_api(**secure.settings())
    daemon = Process("webhook", ["unshare", "-rm", "sh", "-euc", 'mount --bind "$0" /etc/hosts; exec "$@"', tmp_path / "hosts",
                                 BUILD / "kronosq-webhook", "--redis", secure.service.redis.url],
                     secure.service.directory, environment(**secure.settings(KRONOS_WEBHOOK_CA_FILE=authority.path)))
    secure.service.processes.append(daemon)
    secure.settled(secure.cancelled(named.url(host=NAME)), "delivered")
    assert [h.name for h in named.handshakes] == [NAME] and named.deliveries[0].headers["host"] == f"{NAME}:{named.port}"
    named.deliveries.clear()
    for url, asked in ((address.url(host=NAME), address), (named.url(host="other.kronosq.test"), named), (named.url(), named)):
        secure.assert_refused(daemon, url, "the certificate is for another host")
    # the receivers may hear of it after the daemon
    wait_for(lambda: {h.name for h in address.handshakes} == {NAME} and {h.name for h in named.handshakes} == {NAME, "other.kronosq.test", None},
             20, "all handshakes are seen")


def test_one_handshake_serves_many_events_and_a_new_connection_is_checked_again(secure, authority):
    receiver = secure.receiver(authority.certificate("good", HERE))
    secure.start(KRONOS_WEBHOOK_CA_FILE=authority.path)
    for _ in range(5):
        secure.settled(secure.cancelled(receiver.url()), "delivered")
    assert len(receiver.handshakes) == 1, "the connection was kept"
    receiver.is_keeping = False
    for _ in range(3):
        secure.settled(secure.cancelled(receiver.url()), "delivered")
    assert len(receiver.handshakes) == 3 and len(receiver.deliveries) == 8
    assert {h.version for h in receiver.handshakes} == {"TLSv1.3"}


def test_https_is_what_a_receiver_needs_unless_the_operator_allows_less(secure, authority):
    plain = Receiver()
    secure.receivers.append(plain)
    secure.start(KRONOS_WEBHOOK_CA_FILE=authority.path)
    reply = secure.service.post("/v1/predict/single", single_body(webhook={"url": plain.url()}))
    assert (reply.status, reply.json["errors"][0]["code"]) == (422, "webhook_url_blocked")
    assert secure.service.post("/v1/webhooks/ping", {"url": plain.url()}).json["code"] == "webhook_url_blocked"
    # an API that allows more than the daemon: the daemon has the last word
    secure.service.start_api(**secure.settings(KRONOS_WEBHOOK_ALLOW_HTTP="1"))
    hook = secure.settled(secure.cancelled(plain.url()), "failed")
    assert (hook["attempts"], hook["last_error"]) == (1, "blocked_url") and plain.deliveries == []


def test_a_file_of_authorities_that_holds_none_refuses_the_start(service, authority, tmp_path):
    path = service.write_masters()
    empty, garbage, key, cut = (tmp_path / name for name in ("empty", "garbage", "key", "cut"))
    empty.write_text("")
    garbage.write_bytes(b"\0\xffno certificate")
    key.write_text(authority.path.with_suffix(".key").read_text())
    cut.write_text(authority.path.read_text() + authority.path.read_text()[:200])
    for bad in (empty, garbage, key, cut, tmp_path, tmp_path / "nowhere"):
        daemon = service.start_webhook("--check", wait=False, KRONOS_WEBHOOK_SECRET_FILE=path, KRONOS_WEBHOOK_CA_FILE=bad)
        assert daemon.popen.wait(20) == 78, bad
        assert "KRONOS_WEBHOOK_CA_FILE" in daemon.log() and "PRIVATE" not in daemon.log()
    daemon = service.start_webhook("--check", wait=False, KRONOS_WEBHOOK_SECRET_FILE=path, KRONOS_WEBHOOK_CA_FILE=authority.path)
    assert daemon.popen.wait(20) == 0, daemon.log()
