"""What the package saves it goes on saving: ratios of `scripts/bench` against loose bounds.

Medians are twice the bounds (docs/performance.md), so that other work does not matter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
# Key -> the least ratio.
LEAST = {"1m.read.vs_padded": 1.2, "1m.read.vs_one": 2.0}


def test_shared_reading_stays_faster_than_reading_again(tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    run = subprocess.run(
        [ROOT / "scripts/bench", "read", "--runs", "2", "--json", figures],
        env={**os.environ, "PYTHON_RUN": sys.executable},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(figures.read_text())
    slow = {key: found[key]["median"] for key, least in LEAST.items() if found[key]["median"] < least}
    assert slow == {}
