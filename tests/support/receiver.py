"""The other end of a webhook: an HTTP server that remembers what it was sent and answers as it is told.

verify() is an implementation of Standard Webhooks of its own: it shares nothing with the daemon.
"""
import base64
import collections
import hashlib
import hmac
import http.server
import json
import ssl
import sys
import threading
import time

Delivery = collections.namedtuple("Delivery", "path headers body at")
Handshake = collections.namedtuple("Handshake", "version alpn name is_resumed")  # name: what the client asked for by SNI


def tls_context(certificate, key):
    """What a receiver over TLS shows; it would speak HTTP/2, too, to whoever asks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda connection, name, _: setattr(connection, "asked_name", name)
    return context


class Receiver:
    """Answers 200, or per path what answers() was told, one after another; the last one stays.

    With a context of TLS it is an https receiver; handshakes and refusals say how clients met it.
    """

    def __init__(self, host="127.0.0.1", tls=None):
        self.deliveries = []
        self.handshakes, self.refusals = [], []
        self.is_keeping = True
        self._answers = {}
        self._lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, text = receiver._note(self.path, self.headers, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

                if not receiver.is_keeping:
                    self.close_connection = True

            do_GET = do_POST

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def finish_request(self, request, client_address):
                if tls is not None:
                    request.settimeout(30)
                    request = receiver._handshake(request, tls)
                if request is not None:
                    super().finish_request(request, client_address)
                    if tls is not None:
                        request.close()

            def handle_error(self, request, client_address):
                if not isinstance(sys.exc_info()[1], OSError):  # the client has left
                    super().handle_error(request, client_address)

        self._server = Server((host, 0), Handler)
        self.host, self.port = host, self._server.server_address[1]
        self.scheme = "https" if tls is not None else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def url(self, path="/hook", host=None):
        return f"{self.scheme}://{host or self.host}:{self.port}{path}"

    def _handshake(self, request, tls):
        """The connection under TLS; None when it came to none."""
        try:
            secure = tls.wrap_socket(request, server_side=True)
        except OSError as error:  # ssl.SSLError is one
            self.refusals.append(str(error))
            return None
        self.handshakes.append(Handshake(secure.version(), secure.selected_alpn_protocol(), getattr(secure, "asked_name", None), secure.session_reused))
        return secure

    def answers(self, path, *answers):
        """Each a status, or (status, headers), or (status, headers, body)."""
        full = [(a, {}, b"") if isinstance(a, int) else (*a, {}, b"")[:3] if len(a) == 1 else (*a, b"")[:3] for a in answers]
        with self._lock:
            self._answers[path] = full

    def _note(self, path, headers, body):
        with self._lock:
            self.deliveries.append(Delivery(path, {name.lower(): value for name, value in headers.items()}, body, time.time()))
            planned = self._answers.get(path) or [(200, {}, b"")]
            return planned.pop(0) if len(planned) > 1 else planned[0]

    def at(self, path):
        with self._lock:
            return [d for d in self.deliveries if d.path == path]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def secret_of(master, name):
    """whsec_... of a key, by the contract's words."""
    digest = hmac.new(base64.b64decode(master), b"webhook:" + name.encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(digest).decode()


def verify(delivery, secret, tolerance=300):
    """The event, or AssertionError: one of the signatures must be that of the secret, and the time be now."""
    headers = delivery.headers
    moment = int(headers["webhook-timestamp"])
    assert abs(time.time() - moment) < tolerance
    signed = f"{headers['webhook-id']}.{moment}.".encode() + delivery.body
    expected = base64.b64encode(hmac.new(base64.b64decode(secret[6:]), signed, hashlib.sha256).digest()).decode()
    assert any(hmac.compare_digest("v1," + expected, given) for given in headers["webhook-signature"].split(" ")), headers
    return json.loads(delivery.body)
