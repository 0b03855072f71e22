"""scripts/fetch-model against a local server that behaves like the hub, and misbehaves like networks do."""
import hashlib
import http.server
import os
import pathlib
import subprocess
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = {
    "NeoQuasar/Kronos-small": {"config.json": b'{"n_layers": 8}', "model.safetensors": os.urandom(300_000)},
    "NeoQuasar/Kronos-Tokenizer-base": {"config.json": b'{"d_in": 6}', "model.safetensors": os.urandom(70_000)},
}


class Hub(http.server.BaseHTTPRequestHandler):
    """/OWNER/NAME/resolve/main/FILE; weights are a redirect to /storage/..., as the hub does it."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        server = self.server
        parts = self.path.strip("/").split("/")
        is_storage = parts[0] == "storage"
        if is_storage:
            parts = parts[1:]
        content = server.files.get("/".join(parts[:2]), {}).get(parts[-1]) if len(parts) >= 3 else None
        if content is None:
            return self.reply(404, b"not here", with_body)
        if parts[-1].endswith(".safetensors") and not is_storage:
            sha = hashlib.sha256(server.announced.get(self.path, content)).hexdigest()
            return self.reply(302, b"", with_body, {
                "Location": "/storage/" + "/".join(parts), "X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{sha}"'})
        if with_body:
            server.downloads.append((self.path, self.headers.get("Range")))
        start = 0
        if self.headers.get("Range"):
            start = int(self.headers["Range"].split("=")[1].split("-")[0])
        body = content[start:]
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self.reply(206 if start else 200, body, with_body, headers, cut=server.cut.get(self.path))

    def reply(self, status, body, with_body, headers=None, cut=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body if cut is None else body[:cut])
            if cut is not None:
                self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files = {repo: dict(files) for repo, files in FILES.items()}
    server.announced, server.cut, server.downloads = {}, {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(hub, to, *arguments):
    environment = dict(os.environ, KRONOSQ_HUB=f"http://127.0.0.1:{hub.server_port}", no_proxy="127.0.0.1")
    return subprocess.run([ROOT / "scripts/fetch-model", *arguments, "--to", to],
                          env=environment, capture_output=True, text=True, timeout=60)


def files_of(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


EXPECTED = {
    "config.json": FILES["NeoQuasar/Kronos-small"]["config.json"],
    "model.safetensors": FILES["NeoQuasar/Kronos-small"]["model.safetensors"],
    "tokenizer/config.json": FILES["NeoQuasar/Kronos-Tokenizer-base"]["config.json"],
    "tokenizer/model.safetensors": FILES["NeoQuasar/Kronos-Tokenizer-base"]["model.safetensors"],
}


def test_model_and_its_tokenizer_arrive_whole_and_their_hashes_are_printed(hub, tmp_path):
    done = fetch(hub, tmp_path / "small", "NeoQuasar/Kronos-small")
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "small") == EXPECTED
    sha = hashlib.sha256(EXPECTED["model.safetensors"]).hexdigest()
    assert f"sha256 {sha}  {tmp_path}/small/model.safetensors (as published)" in done.stdout
    assert "scripts/demo" in done.stdout


def test_a_second_run_downloads_nothing(hub, tmp_path):
    assert fetch(hub, tmp_path, "NeoQuasar/Kronos-small").returncode == 0
    hub.downloads.clear()
    again = fetch(hub, tmp_path, "NeoQuasar/Kronos-small")
    assert again.returncode == 0, again.stderr
    assert hub.downloads == []


def test_an_interrupted_download_goes_on_where_it_stopped(hub, tmp_path):
    path = "/storage/NeoQuasar/Kronos-small/resolve/main/model.safetensors"
    hub.cut[path] = 100_000
    broken = fetch(hub, tmp_path, "NeoQuasar/Kronos-small")
    assert broken.returncode == 1
    assert "run again to go on" in broken.stderr
    assert not (tmp_path / "model.safetensors").exists()
    assert (tmp_path / "model.safetensors.part").stat().st_size == 100_000

    del hub.cut[path]
    hub.downloads.clear()
    assert fetch(hub, tmp_path, "NeoQuasar/Kronos-small").returncode == 0
    assert (path, "bytes=100000-") in hub.downloads
    assert files_of(tmp_path) == EXPECTED


def test_a_damaged_download_is_removed_and_named(hub, tmp_path):
    hub.announced["/NeoQuasar/Kronos-small/resolve/main/model.safetensors"] = b"what the hub means to serve"
    done = fetch(hub, tmp_path, "NeoQuasar/Kronos-small")
    assert done.returncode == 1
    assert "SHA-256 is not" in done.stderr
    assert "model.safetensors" not in files_of(tmp_path) and "model.safetensors.part" not in files_of(tmp_path)


def test_a_file_that_changed_on_disk_is_not_taken_for_the_hubs(hub, tmp_path):
    assert fetch(hub, tmp_path, "NeoQuasar/Kronos-small").returncode == 0
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(len(EXPECTED["model.safetensors"])))
    done = fetch(hub, tmp_path, "NeoQuasar/Kronos-small")
    assert done.returncode == 1
    assert "is not what the hub has" in done.stderr


def test_a_name_the_hub_does_not_have_is_said_plainly(hub, tmp_path):
    done = fetch(hub, tmp_path, "NeoQuasar/Kronos-tiny", "--tokenizer", "NeoQuasar/Kronos-Tokenizer-base")
    assert done.returncode == 1
    assert "the server says 404; is the name right?" in done.stderr


def test_a_server_that_is_not_there_is_an_error_with_its_reason(hub, tmp_path):
    hub.shutdown()
    hub.server_close()
    done = fetch(hub, tmp_path, "NeoQuasar/Kronos-small")
    assert done.returncode == 1
    assert "connect" in done.stderr.lower()


@pytest.mark.parametrize("arguments, says", [
    ([], "scripts/fetch-model NeoQuasar/Kronos-small"),
    (["Kronos-small"], "is no OWNER/NAME"),
    (["../../etc/passwd"], "is no OWNER/NAME"),
    (["a/b;rm"], "is no OWNER/NAME"),
    (["NeoQuasar/Other"], "which tokenizer belongs to"),
    (["NeoQuasar/Kronos-small", "--revision", "../x"], "is no revision"),
    (["NeoQuasar/Kronos-small", "--what"], "scripts/fetch-model"),
])
def test_wrong_calls_are_refused_before_anything_is_fetched(hub, tmp_path, arguments, says):
    done = fetch(hub, tmp_path / "to", *arguments)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert hub.downloads == []
