"""Never idle for a while; scripts/soak does it with a real model for as long as one likes."""
import os

from soak import Soak

SECONDS = float(os.environ.get("KRONOSQ_SOAK_SECONDS", 20))


def test_a_worker_that_is_never_idle_does_not_grow(monkeypatch):
    # freed memory is kept for later by the sanitizer, which would look like growth
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0")
    soak = Soak(SECONDS, "tiny-seed7", context=48, threads=2)
    try:
        is_good = soak.go()
    finally:
        complaints = soak.close()
    assert is_good and not complaints, f"seed {soak.seed}, see {soak.service.directory}: {soak.wrong + complaints}"
    assert soak.ended["completed"] > 5 * SECONDS, "hardly anything was done"
