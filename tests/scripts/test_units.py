"""The units: systemd finds nothing wrong in them, and what they lock the daemons into is enough to live in."""
import re
import shutil
import subprocess
import sys

import pytest

import units
from kronosq import BUILD, MODELS, ROOT, Process, environment, single_body, wait_for
from receiver import Receiver, secret_of, verify

SERVICES = ("kronosq-api.service", "kronosq-worker@.service", "kronosq-webhook.service")
MOST_EXPOSURE = 1.5  # of 10; a service without any setting has 9.6
RELEASE_GRACE_S = 5  # RELEASE_GRACE_MS of worker/link.c
HARDENING = """
DynamicUser=yes NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes
ProtectKernelTunables=yes ProtectKernelModules=yes ProtectKernelLogs=yes ProtectControlGroups=yes ProtectClock=yes
ProtectHostname=yes ProtectProc=invisible ProcSubset=pid RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes
LockPersonality=yes MemoryDenyWriteExecute=yes SystemCallArchitectures=native SystemCallFilter=@system-service
CapabilityBoundingSet= UMask=0077 Type=notify WatchdogSec=30 RestartPreventExitStatus=78 Restart=on-failure
""".split()


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The units with programs that exist, because verify looks for them."""
    to = tmp_path_factory.mktemp("units")
    for path in units.UNITS.glob("kronosq*"):
        if path.suffix in (".service", ".target"):
            (to / path.name).write_text(path.read_text().replace("/usr/local/bin/", f"{BUILD}/"))
    return to


def test_there_are_units_for_what_can_be_started_and_no_others():
    found = sorted(path.name for path in units.UNITS.iterdir() if path.suffix in (".service", ".target", ".socket", ".timer"))
    assert found == ["kronosq-api.service", "kronosq-webhook.service", "kronosq-worker@.service", "kronosq.target"]
    makefile = (ROOT / "Makefile").read_text()
    assert sorted(re.search(r"^UNITS := (.*)$", makefile, re.M)[1].split()) == found
    for service in SERVICES:
        program = dict(units.settings(units.UNITS / service))["ExecStart"].split()[0].rsplit("/", 1)[1]
        assert program in re.search(r"^PROGRAMS := (.*)$", makefile, re.M)[1].split()


def test_systemd_finds_nothing_to_complain_about(installed):
    done = analyze("verify", "--man=no", *sorted(installed.iterdir()))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_would_have_complained_about_a_misspelt_setting(installed, tmp_path):
    shutil.copy(installed / SERVICES[0], tmp_path)
    unit = tmp_path / SERVICES[0]
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    assert "ProtectHouse" in analyze("verify", "--man=no", unit).stderr


def test_the_drop_in_for_another_redis_is_valid_with_all_it_offers(installed, tmp_path):
    offered = re.sub(r"^#([A-Z][A-Za-z]+=)", r"\1", (units.UNITS / "redis-elsewhere.conf.example").read_text(), flags=re.M)
    assert {name for name, _ in [line.split("=", 1) for line in offered.splitlines() if re.match("[A-Z]", line)]} == {
        "LoadCredential", "Environment", "IPAddressAllow", "SupplementaryGroups"}
    for service in SERVICES:
        shutil.copy(installed / service, tmp_path)
        (tmp_path / f"{service}.d").mkdir()
        (tmp_path / f"{service}.d/redis.conf").write_text(offered)
    done = analyze("verify", "--man=no", *(tmp_path / service for service in SERVICES))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_drop_in_for_keys_is_valid_in_both_ways(installed, tmp_path):
    offered = (units.UNITS / "keys.conf.example").read_text()
    first, second = [part.splitlines() for part in offered.split("[Service]")[1].split("\n\n")[1:3]]
    for way in (first, second):
        lines = [line[1:] for line in way if re.match("#[A-Z][A-Za-z]+=", line)]
        assert len(lines) == 2 and lines[1].startswith("Environment=KRONOS_KEYS_FILE=")
        shutil.copy(installed / SERVICES[0], tmp_path)
        (tmp_path / f"{SERVICES[0]}.d").mkdir(exist_ok=True)
        (tmp_path / f"{SERVICES[0]}.d/keys.conf").write_text("\n".join(["[Service]", *lines, ""]))
        done = analyze("verify", "--man=no", tmp_path / SERVICES[0])
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("service", SERVICES)
def test_little_is_exposed_to_whoever_takes_over_a_daemon(service, installed):
    done = analyze("security", "--offline=yes", "--no-pager", f"--threshold={int(MOST_EXPOSURE * 10)}", installed / service)
    overall = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert overall, done.stdout + done.stderr
    assert float(overall[1]) <= MOST_EXPOSURE and done.returncode == 0, done.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_the_hardening_list_is_there(service):
    given = {f"{name}={value}" for name, value in units.settings(units.UNITS / service)}
    assert set(HARDENING) - given == set()
    assert "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6" in given


def test_a_worker_may_talk_to_redis_and_to_nobody_else():
    given = dict(units.settings(units.UNITS / SERVICES[1]))
    assert (given["IPAddressDeny"], given["IPAddressAllow"], given["ReadOnlyPaths"]) == ("any", "localhost", "-/var/lib/kronosq")


def test_the_master_secrets_are_shown_to_the_webhook_daemon_alone():
    given = dict(units.settings(units.UNITS / SERVICES[2]))
    assert given["LoadCredential"] == "webhook-secrets:/etc/kronosq/webhook-secrets"
    assert given["Environment"] == "KRONOS_WEBHOOK_SECRET_FILE=%d/webhook-secrets"
    for service in SERVICES[:2]:
        assert "webhook-secrets" not in (units.UNITS / service).read_text()


def test_systemd_waits_longer_than_an_attempt_takes():
    given = dict(units.settings(units.UNITS / SERVICES[2]))
    shown = subprocess.run([BUILD / "kronosq-webhook", "--print-config"], env=environment(), capture_output=True, text=True, timeout=20)
    defaults = dict(line.split("  #")[0].split("=", 1) for line in shown.stdout.splitlines())
    grace = int(re.search(r"#define MAIN_STOP_GRACE_MS +(\d+)", (ROOT / "webhook/main.c").read_text())[1]) / 1000
    assert int(given["TimeoutStopSec"]) > int(defaults["KRONOS_WEBHOOK_TIMEOUT"]) + grace


def test_systemd_waits_longer_than_the_worker_takes():
    given = dict(units.settings(units.UNITS / SERVICES[1]))
    shown = subprocess.run([BUILD / "kronosq-worker", "--print-config"], env=environment(), capture_output=True, text=True, timeout=20)
    defaults = dict(line.split("  #")[0].split("=", 1) for line in shown.stdout.splitlines())
    assert int(given["TimeoutStartSec"]) > int(defaults["KRONOS_STARTUP_TIMEOUT"])
    assert int(given["TimeoutStopSec"]) > int(defaults["KRONOS_DRAIN_TIMEOUT"]) + RELEASE_GRACE_S
    assert f"#define RELEASE_GRACE_MS {RELEASE_GRACE_S * 1000} " in (ROOT / "worker/link.c").read_text()


def confined(service, name, unit, *command):
    """Start a daemon under its unit's filters; the leak checker cannot attach there."""
    process = Process(name, [sys.executable, units.__file__, units.UNITS / unit, *command], service.directory,
                      environment(ASAN_OPTIONS="detect_leaks=0"))
    service.processes.append(process)
    return process


def test_the_filters_deny_what_they_should():
    done = subprocess.run([sys.executable, units.__file__, units.UNITS / SERVICES[0], sys.executable, "-c",
                           "import mmap\n"
                           "try: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
                           "except PermissionError: print('no code in writable memory')\n"
                           "import os\n"
                           "try: os.chroot('/')\n"
                           "except PermissionError: print('no other root')\n"], capture_output=True, text=True, timeout=30)
    assert done.stdout == "no code in writable memory\nno other root\n", done.stderr


def test_a_forecast_is_made_under_the_units_filters(service):
    worker = confined(service, "worker", SERVICES[1], BUILD / "kronosq-worker", "--model", MODELS / "tiny-seed7/model", "--tokenizer",
                      MODELS / "tiny-seed7/tokenizer", "--name", "tiny", "--redis", service.redis.url, "--max-context", 48)
    api = confined(service, "api", SERVICES[0], BUILD / "kronosq-api", "--listen", "127.0.0.1:0", "--redis", service.redis.url,
                   "--default-model", "tiny")
    service.port = wait_for(lambda: api.log_lines(event="listening"), 20)[0]["port"]
    wait_for(lambda: worker.log_lines(event="ready"), 30, "the worker is ready")
    wait_for(lambda: service.get("/v1/readyz").status == 200, 20)
    assert service.finished(service.submit(single_body()))["status"] == "completed"
    assert (worker.stop(), api.stop()) == (0, 0)
    assert "files are allowed" not in api.log(), "it may raise its limit of open files"


def test_an_event_is_delivered_under_the_units_filters(service):
    receiver = Receiver()
    service.write_masters()
    settings = service.webhook_settings(receiver.port)
    flags = [word for name, value in settings.items() for word in ("--" + name[7:].lower().replace("_", "-"), str(value))]
    daemon = confined(service, "webhook", SERVICES[2], BUILD / "kronosq-webhook", "--redis", service.redis.url, "--default-model", "tiny", *flags)
    service.start_api(**settings)
    assert service.post("/v1/webhooks/ping", {"url": receiver.url()}).status == 202
    delivery = wait_for(lambda: receiver.deliveries, 20, "the ping arrives")[0]
    verify(delivery, secret_of(service.masters[0], "local"))
    assert daemon.stop() == 0
    assert "allowed than attempts" not in daemon.log(), "it may raise its limit of open files"
    receiver.close()
