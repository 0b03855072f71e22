"""Fixtures of all process tests: a service that is ended, checked for sanitizer reports and for log
lines that are not JSON, and quiet unless a test failed."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))

import kronosq  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


def _end(service, request):
    complaints = service.close()
    report = getattr(request.node, "report_call", None)
    if (report is not None and report.failed) or complaints:
        print(service.logs())
    service.remove()
    assert not complaints, "daemons complained:\n" + "\n".join(complaints)


@pytest.fixture
def served_model():
    """What workers of `service` serve; small and quick, and its values mean nothing."""
    return "tiny-seed7"


@pytest.fixture
def service(request, served_model):
    """A private Redis; the test starts the daemons it wants."""
    made = kronosq.Service(model=served_model).start_redis()
    yield made
    _end(made, request)


@pytest.fixture(scope="module")
def shared_service(request):
    """One Redis, API and worker for a whole module of tests that only ask."""
    made = kronosq.Service().start_redis()
    made.start_api()
    made.start_worker()
    yield made
    _end(made, request)
