"""One profile for both: `make test` runs 500 cases, always the same, `make fuzz` 10,000 new ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.cases import IN_CI, TOTAL

settings.register_profile(
    "reverse_codi",
    derandomize=TOTAL <= IN_CI,
    database=None,  # a failure is kept as a test of its own, beside the code that it is about
    deadline=None,  # pytest-timeout ends what hangs
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("reverse_codi")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of a module's cases: what lies above other tests' folders is read by them."""
    return tmp_path_factory.mktemp("fuzz")
