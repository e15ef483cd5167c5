"""Each scenario of the fault table, with real Ray: `make test-fault`."""

from __future__ import annotations

import pytest

from tests.fault_scenarios import SCENARIOS
from tests.faults import Bench

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("faults"))
    made.run_whole()
    return made


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_the_run_survives_or_says_how_to_go_on(bench: Bench, name: str) -> None:
    for outcome in SCENARIOS[name](bench):
        assert outcome.wrong == (), outcome
