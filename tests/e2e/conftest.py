"""End to end means what a user starts: no model is named, so the one that comes with the project is served."""
import pytest


@pytest.fixture
def served_model():
    return None
