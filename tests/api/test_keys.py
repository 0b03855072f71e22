"""Who may do what: keys, scopes, owners, and what changes by HUP."""
import hashlib
import json
import os
import re
import signal
import subprocess

import pytest

import kronosq
from api_keys import KeysFile, bearer
from kronosq import BUILD, environment, single_body, wait_for
from raw_http import Raw, assert_problem, get, head, post

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def keyed(service, tmp_path):
    """An API with keys A and B (submit, read, cap normal), R (read), Z (admin)."""
    service.keys = KeysFile(tmp_path)
    for name, scopes, priority in [("a", "submit,read", "normal"), ("b", "submit,read", "normal"), ("r", "read", "normal"), ("z", "admin", "urgent")]:
        setattr(service, name, bearer(service.keys.add(name, scopes, priority, "0")))
    service.start_api("--keys-file", service.keys.path)
    return service


def submit(service, headers, **members):
    return service.post("/v1/predict/single", single_body(**members), headers=headers)


def hup(service, **line):
    """Send HUP; the log line that tells what became of it."""
    n = len(service.api.log_lines(**line))
    service.api.signal(signal.SIGHUP)
    return wait_for(lambda: service.api.log_lines(**line)[n:], 20)[0]


def test_without_a_known_key_nobody_comes_in(keyed):
    good = keyed.a["Authorization"]
    for value in [None, "", "Bearer", "Bearer ", "Bearer krn_", good + "x", good[:-1], "Basic " + good[7:], good[7:], good + " x", good + ",", "Bearer\t" + good[7:],
                  "Bearer krn_" + "0" * 32, "Bearer krn_" + "0" * 12000, "Bearer " + good[7:].replace("krn_", "KRN_"), "Bearer krn_" + "\u00e9" * 40]:
        with Raw(keyed.port) as raw:
            lines = [] if value is None else [f"Authorization: {value}".encode().decode("latin-1")]
            reply = raw.send(get("/v1/tasks", *lines)).reply()
        document = assert_problem(reply, 401, "unauthenticated")
        assert reply.headers["www-authenticate"] == "Bearer", value
        assert good[12:] not in json.dumps(document)
    with Raw(keyed.port) as raw:
        assert_problem(raw.send(get("/v1/tasks", f"Authorization: {good}", f"Authorization: {good}")).reply(), 401, "unauthenticated")
    assert_problem(keyed.get("/v1/tasks", headers={"X-Container-Name": "frontend-app"}), 401, "unauthenticated")


def test_the_scheme_may_be_written_in_any_case(keyed):
    key = keyed.a["Authorization"][7:]
    for scheme in ("Bearer ", "bearer ", "BEARER ", "bEaReR   "):
        assert keyed.get("/v1/tasks", headers={"authorization": scheme + key}).status == 200, scheme


def test_every_route_asks_for_its_scope(keyed):
    submitters, readers, admins = {"a", "b", "z"}, {"a", "b", "r", "z"}, {"z"}
    routes = [
        ("POST", "/v1/predict/single", submitters), ("POST", "/v1/predict/batch", submitters),
        ("GET", f"/v1/tasks/{UNKNOWN}", readers), ("GET", f"/v1/predict/{UNKNOWN}", readers), ("GET", f"/v1/tasks/{UNKNOWN}/result", readers),
        ("GET", f"/v1/tasks/{UNKNOWN}/events", readers), ("POST", f"/v1/tasks/{UNKNOWN}/webhook/replay", submitters), ("POST", "/v1/webhooks/ping", submitters),
        ("POST", f"/v1/tasks/{UNKNOWN}/cancel", submitters), ("DELETE", f"/v1/tasks/{UNKNOWN}", submitters), ("GET", "/v1/tasks", readers),
        ("GET", "/v1/models", readers), ("GET", "/v1/models/tiny", readers), ("GET", "/v1/queues", admins),
        ("POST", "/v1/queues/tiny/low/pause", admins), ("POST", "/v1/queues/tiny/low/resume", admins), ("GET", "/v1/workers", admins),
        ("POST", f"/v1/workers/{UNKNOWN}/quiet", admins), ("POST", f"/v1/workers/{UNKNOWN}/resume", admins), ("GET", "/v1/dead-letters", admins),
        ("POST", f"/v1/dead-letters/{UNKNOWN}/requeue", admins), ("DELETE", f"/v1/dead-letters/{UNKNOWN}", admins), ("GET", "/v1/healthz/detailed", readers)]
    for method, path, who in routes:
        body = b"{}" if path in ("/v1/predict/single", "/v1/predict/batch", "/v1/webhooks/ping") else None
        for name in ("a", "b", "r", "z"):
            reply = keyed.request(method, path, body, headers=getattr(keyed, name))
            if name in who:
                assert reply.status not in (401, 403), (name, method, path, reply)
            else:
                wanted = "admin" if who == admins else "submit" if who == submitters else "read"
                assert assert_problem(reply, 403, "forbidden_scope")["scope"] == wanted
        assert_problem(keyed.request(method, path, body), 401, "unauthenticated")
    for path in ("/", "/v1/healthz", "/v1/readyz", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny", "/v2/models/tiny/ready"):
        for headers in ({}, bearer("krn_" + "0" * 40)):
            assert keyed.get(path, headers=headers).status in (200, 404, 503), path


def test_no_route_of_the_table_lacks_a_scope():
    """A line whose scope was forgotten serves nobody but an admin; no line may lean on that."""
    text = (kronosq.ROOT / "api/server.c").read_text()
    table = text[text.index("struct route routes[]"):text.index("};\n", text.index("struct route routes[]"))]
    lines = re.findall(r"\{HEAD_METHOD_\w+,.*?\}", re.sub(r"\{\w+\}", "<hole>", table), re.S)
    assert len(lines) > 20 and all(re.search(r"ROUTE_(OPEN|METRICS|SUBMIT|READ|ADMIN)\b", line) for line in lines)


def test_a_key_has_a_highest_priority(keyed):
    reply = submit(keyed, keyed.a, priority="urgent")
    document = assert_problem(reply, 403, "priority_not_allowed")
    assert document["allowed"] == ["normal", "low"] and "normal" in document["detail"]
    assert submit(keyed, keyed.a, priority="normal").status == 202
    assert submit(keyed, keyed.z, priority="urgent").status == 202
    low = bearer(keyed.keys.add("low", priority="low"))
    hup(keyed, message="HUP: keys read again")
    assert submit(keyed, low, priority="normal").status == 403
    assert submit(keyed, low).json["priority"] == "low", "who says nothing gets what the key may have"


def test_a_bad_key_is_refused_before_its_body_was_sent(keyed):
    for lines, status, code in [([], 401, "unauthenticated"), ([f"Authorization: {keyed.r['Authorization']}"], 403, "forbidden_scope")]:
        with Raw(keyed.port) as raw:
            reply = raw.send(head("POST", "/v1/predict/single", "Content-Type: application/json", f"Content-Length: {9 << 20}", *lines)).reply()
            assert_problem(reply, status, code)
            assert reply.seconds < 9, "a body has 30 s"
            assert reply.headers["connection"] == "close" and raw.is_closed()


def test_the_route_is_judged_before_the_key_and_the_key_before_the_form(keyed):
    assert_problem(keyed.get("/nowhere"), 404, "route_not_found")
    assert_problem(keyed.request("PUT", "/v1/tasks"), 405, "method_not_allowed")
    assert_problem(keyed.post("/v1/predict/single", b"x", headers={"Content-Type": "text/plain"}), 401, "unauthenticated")
    assert_problem(keyed.get(f"/v1/tasks/{UNKNOWN}", headers={"Accept": "image/png"}), 401, "unauthenticated")
    assert_problem(keyed.get(f"/v1/tasks/{UNKNOWN}", headers={**keyed.a, "Accept": "image/png"}), 406, "not_acceptable")


def same(service, method, path, task_id, headers):
    """Are the replies about a foreign task and about no task byte for byte the same?"""
    replies = [service.request(method, path.format(i), headers={**headers, "X-Request-ID": "same"}) for i in (task_id, UNKNOWN)]
    for reply in replies:
        reply.headers.pop("date", None)
    assert replies[0].status == 404 and replies[0].json["code"] == "task_not_found", replies[0]
    assert (replies[0].body, replies[0].headers) == (replies[1].body, replies[1].headers)


OF_A_TASK = [("GET", "/v1/tasks/{}"), ("GET", "/v1/predict/{}"), ("GET", "/v1/tasks/{}?wait=1"), ("GET", "/v1/tasks/{}/result"),
             ("GET", "/v1/tasks/{}/events"), ("POST", "/v1/tasks/{}/webhook/replay"), ("POST", "/v1/tasks/{}/cancel"), ("DELETE", "/v1/tasks/{}")]


def test_to_others_a_task_is_not_there_in_any_state(keyed):
    single = submit(keyed, keyed.a).json["task_id"]
    batch = keyed.post("/v1/predict/batch", {"items": [single_body(), single_body()]}, headers=keyed.a).json
    ids = [single, batch["task_id"], batch["tasks"][0]["task_id"]]
    for task_id in ids:
        for method, path in OF_A_TASK:
            same(keyed, method, path, task_id, keyed.b)
        assert keyed.get(f"/v1/tasks/{task_id}", headers=keyed.a).json["status"] == "queued", "nothing was done to it"
        assert keyed.get(f"/v1/tasks/{task_id}", headers=keyed.z).status == 200
    keyed.start_worker()
    for task_id in ids:
        wait_for(lambda i=task_id: keyed.get(f"/v1/tasks/{i}?wait=1", headers=keyed.a).json["status"] == "completed", 30)
        for method, path in OF_A_TASK:
            same(keyed, method, path, task_id, keyed.b)
    assert keyed.get(f"/v1/tasks/{single}/result", headers=keyed.a).status == 200
    keyed.redis.command("PEXPIRE", f"kq:{{tiny}}:task:{single}", 1)  # its life is over
    wait_for(lambda: keyed.get(f"/v1/tasks/{single}", headers=keyed.a).status == 410, 20)
    for method, path in OF_A_TASK:
        same(keyed, method, path, single, keyed.b)
    assert keyed.request("DELETE", f"/v1/tasks/{batch['task_id']}", headers=keyed.a).status == 204


def test_lists_show_own_tasks_and_an_admin_all_with_their_owners(keyed):
    mine = {submit(keyed, keyed.a).json["task_id"] for _ in range(3)}
    mine.add(keyed.post("/v1/predict/batch", {"items": [single_body()]}, headers=keyed.a).json["task_id"])
    others = {submit(keyed, keyed.b).json["task_id"] for _ in range(2)}

    def listed(headers, query=""):
        reply = keyed.get("/v1/tasks" + query, headers=headers)
        assert reply.status == 200
        return reply.json
    assert {t["task_id"] for t in listed(keyed.a)["tasks"]} == mine and all("owner" not in t for t in listed(keyed.a)["tasks"])
    assert {t["task_id"] for t in listed(keyed.b)["tasks"]} == others
    assert listed(keyed.r)["tasks"] == []
    assert {t["task_id"]: t["owner"] for t in listed(keyed.z)["tasks"]} == {**{i: "a" for i in mine}, **{i: "b" for i in others}}
    seen, cursor = [], ""
    while cursor is not None:  # page by page, and a cursor of somebody else's list shows nothing of it
        page = listed(keyed.a, f"?limit=1{cursor and '&cursor=' + cursor}")
        assert {t["task_id"] for t in listed(keyed.b, f"?limit=200{cursor and '&cursor=' + cursor}")["tasks"]} <= others
        seen += [t["task_id"] for t in page["tasks"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == sorted(mine)


def test_idempotency_keys_of_two_owners_are_two_keys(keyed):
    first = submit(keyed, {**keyed.a, "Idempotency-Key": "k1"}, overrides={"seed": 1})
    again = submit(keyed, {**keyed.a, "Idempotency-Key": "k1"}, overrides={"seed": 1})
    other = submit(keyed, {**keyed.b, "Idempotency-Key": "k1"}, overrides={"seed": 1})
    assert again.json["task_id"] == first.json["task_id"] and again.headers["idempotency-replayed"] == "true"
    assert other.status == 202 and other.json["task_id"] != first.json["task_id"]


def test_two_lines_of_a_name_are_one_owner(keyed):
    """Rotation: the new key is added, everybody changes over, the old line goes."""
    task_id = submit(keyed, keyed.a).json["task_id"]
    fresh = bearer(keyed.keys.add("a"))
    assert keyed.get("/v1/tasks", headers=fresh).status == 401
    assert hup(keyed, message="HUP: keys read again")["keys"] == 5
    for headers in (keyed.a, fresh):
        assert keyed.get(f"/v1/tasks/{task_id}", headers=headers).status == 200
    del keyed.keys.lines[0]
    keyed.keys.write()
    hup(keyed, message="HUP: keys read again")
    assert keyed.get(f"/v1/tasks/{task_id}", headers=keyed.a).status == 401
    assert keyed.get(f"/v1/tasks/{task_id}", headers=fresh).status == 200


def test_a_bad_file_at_hup_keeps_the_old_keys_and_is_named(keyed):
    good = keyed.keys.path.read_text()
    for text, words in [(good + "b 12 read normal -\n", f"{keyed.keys.path}:6"), ("", "no key"), (good + "b\n", "fields"), (good + good, "line 2")]:
        keyed.keys.write(text)
        line = hup(keyed, message="HUP: the old keys stay")
        assert words in line["error_message"] and line["level"] == "ERROR"
        assert keyed.get("/v1/tasks", headers=keyed.a).status == 200
    keyed.keys.path.unlink()
    hup(keyed, message="HUP: the old keys stay")
    assert keyed.get("/v1/tasks", headers=keyed.a).status == 200


def test_hup_reads_limits_again_and_names_what_needs_a_restart(service, tmp_path):
    config = tmp_path / "kronosq.conf"
    config.write_text("KRONOS_QUEUE_MAX_TASKS=1\n")
    service.start_api("--config", config)
    service.submit()
    assert service.post("/v1/predict/single", single_body()).status == 503
    config.write_text("KRONOS_QUEUE_MAX_TASKS=2\nKRONOS_MAX_REQUEST_SIZE_MB=1\nKRONOS_APP_NAME=Other\nKRONOS_PEER_ALLOW=127.0.0.0/8\n")
    hup(service, message="HUP: settings read again")
    service.submit()
    assert [line["setting"] for line in service.api.log_lines(message="HUP: this setting has changed and needs a restart")] == ["KRONOS_APP_NAME"]
    with Raw(service.port) as raw:
        assert_problem(raw.send(head("POST", "/v1/predict/single", f"Content-Length: {2 << 20}")).reply(), 413, "body_too_large")
    config.write_text("KRONOS_PEER_ALLOW=10.0.0.0/8\n")
    hup(service, message="HUP: settings read again")
    assert_problem(service.get("/v1/tasks"), 403, "not_whitelisted")


# ---- the start ----

def start(service, *flags, **settings):
    done = subprocess.run([BUILD / "kronosq-api", "--redis", service.redis.url, "--listen", "127.0.0.1:0", *flags], env=environment(**settings),
                          capture_output=True, text=True, timeout=20)
    return done.returncode, done.stderr


def test_a_keys_file_that_is_not_right_refuses_the_start_and_shows_no_secret(service, tmp_path):
    keys = KeysFile(tmp_path)
    key = keys.add("a")
    good = keys.lines[0].split()
    bad = [("name", ["a/b", *good[1:]]), ("name", ["x" * 65, *good[1:]]), ("name", ["unknown", *good[1:]]), ("SHA-256", ["a", key, *good[2:]]), ("SHA-256", ["a", good[1][:-1], *good[2:]]),
           ("SHA-256", ["a", good[1][:-1] + "g", *good[2:]]), ("scopes", [*good[:2], "write", *good[3:]]), ("scopes", [*good[:2], "read,", *good[3:]]),
           ("scopes", [*good[:2], "read,read", *good[3:]]), ("priority", [*good[:3], "high", "-"]), ("rate", [*good[:4], "1000001"]), ("rate", [*good[:4], "-1"]),
           ("rate", [*good[:4], "1.5"]), ("rate", [*good[:4], "99999999999999999999"]), ("fields", good[:4]), ("fields", [*good, "x"])]
    for word, fields in bad:
        keys.write("# first\n\n" + " ".join(fields) + "\n")
        status, log = start(service, "--keys-file", str(keys.path))
        assert status == 78 and f"{keys.path}:3" in log and word in log, (fields, log)
        assert key not in log and good[1] not in log and good[1][:-1] not in log, log
    keys.write()
    assert start(service, "--check", "--keys-file", str(keys.path))[0] == 0
    keys.path.chmod(0o604)
    status, log = start(service, "--check", "--keys-file", str(keys.path))
    assert status == 78 and "everybody" in log
    for path in (tmp_path, tmp_path / "none", "/dev/null"):
        assert start(service, "--keys-file", str(path))[0] == 78
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert start(service, KRONOS_KEYS_FILE=tmp_path / "fifo")[0] == 78
    (tmp_path / "large").write_bytes(b"#" * (1 << 20 | 1))
    (tmp_path / "large").chmod(0o600)
    assert "limit" in start(service, KRONOS_KEYS_FILE=tmp_path / "large")[1]


def test_other_than_loopback_needs_keys_or_insecure(service, tmp_path):
    status, log = start(service, "--listen", "0.0.0.0:0")
    assert status == 78 and "KRONOS_KEYS_FILE" in log
    keys = KeysFile(tmp_path)
    headers = bearer(keys.add("a"))
    service.start_api("--listen", "0.0.0.0:0", "--keys-file", keys.path)
    assert service.get("/v1/tasks", headers=headers).status == 200
    assert not any("--insecure" in line["message"] for line in service.api.log_lines(level="WARNING"))


# ---- people ----

def kronosq_command(service, *words, **settings):
    return subprocess.run([BUILD / "kronosq", "--server", f"http://127.0.0.1:{service.port}", *map(str, words)], env=environment(**settings), capture_output=True, text=True,
                          timeout=60)


def test_a_key_made_by_the_command_works_where_its_line_was_added(service, tmp_path):
    made = subprocess.run([BUILD / "kronosq", "key", "new", "desk-a", "--scopes", "read,submit,admin", "--rate", "0"], env=environment(), capture_output=True, text=True, timeout=20)
    key, line = made.stdout.splitlines()
    assert made.returncode == 0 and re.fullmatch(r"krn_[0-9A-Za-z]{43}", key)
    assert line == f"desk-a {hashlib.sha256(key.encode()).hexdigest()} admin normal 0" and key not in made.stderr
    keys = KeysFile(tmp_path)
    keys.write(line + "\n")
    service.start_api("--keys-file", keys.path)
    service.start_worker()
    secret = tmp_path / "key"
    secret.touch(mode=0o600)
    secret.write_text(f"  {key}\n")
    refused = kronosq_command(service, "queues")
    assert refused.returncode == 1 and "401" in refused.stderr and "API key" in refused.stderr
    assert kronosq_command(service, "--key-file", secret, "queues").returncode == 0
    assert kronosq_command(service, "workers", KRONOS_API_KEY=key).returncode == 0
    printed = subprocess.run([BUILD / "kronosq-api", "--print-config"], env=environment(KRONOS_API_KEY=key), capture_output=True, text=True, timeout=20)
    assert printed.returncode == 0 and key not in printed.stdout + printed.stderr, "the daemons know the name and do not use it"
    wrong = kronosq_command(service, "workers", KRONOS_API_KEY=key.replace("krn_", "nrk_"))
    assert wrong.returncode == 1 and "KRONOS_API_KEY" in wrong.stderr and key[4:] not in wrong.stderr
    secret.chmod(0o644)
    assert "everybody" in kronosq_command(service, "--key-file", secret, "queues").stderr
    bad = subprocess.run([BUILD / "kronosq", "key", "new", "desk-a", "--priority", "high"], env=environment(), capture_output=True, text=True, timeout=20)
    assert bad.returncode == 2 and "priority" in bad.stderr and bad.stdout == ""


def test_the_log_names_who_was_refused_and_tells_no_secret(keyed, tmp_path):
    body = single_body(metadata={"note": "correct horse battery staple"})
    keyed.post("/v1/predict/single", {**body, "priority": "urgent"}, headers=keyed.a)
    keyed.post("/v1/predict/single", body, headers=keyed.r)
    keyed.post("/v1/predict/single", body, headers=bearer("krn_" + "a1B2" * 10))
    keyed.post("/v1/predict/single", body, headers=keyed.b)
    with Raw(keyed.port) as raw:  # refused by the guard, with the key in what was read and in what was not
        raw.send(f"GET / HTTP/1.1\r\nAuthorization: {keyed.a['Authorization']}\r\nbad line\r\nAuthorization: {keyed.b['Authorization']}\r\n\r\n").reply()
    with Raw(keyed.port) as raw:
        raw.send(post("/v1/predict/single", body, f"Authorization : {keyed.a['Authorization']}")).reply()
    keyed.get("/v1/tasks?" + keyed.a["Authorization"][7:], headers=keyed.a)
    keyed.keys.write("a " + keyed.a["Authorization"][7:] + " read normal -\n")
    hup(keyed, message="HUP: the old keys stay")
    lines = keyed.api.log_lines(message="request completed")
    told = [(line["status_code"], line["level"], line["container"]) for line in lines]
    assert told[:4] == [(403, "WARNING", "a"), (403, "WARNING", "r"), (401, "WARNING", None), (202, "INFO", "b")]
    keyed.api.stop()
    log = keyed.api.log()
    for key in [*keyed.keys.keys, "a1B2a1B2"]:
        assert key not in log and key[4:] not in log and hashlib.sha256(key.encode()).hexdigest() not in log
    assert "correct horse" not in log
    for line in log.splitlines():
        assert {"timestamp", "level", "logger", "message"} <= set(json.loads(line))
    assert not any(key.encode() in data for data in redis_bytes(keyed) for key in keyed.keys.keys)


def redis_bytes(service):
    return [path.read_bytes() for path in service.directory.rglob("*") if path.is_file() and path.suffix in (".aof", ".rdb")]
