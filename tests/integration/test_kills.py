"""A kill at any write leaves what was whole before, or what is whole now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
# At least so many writes are there to be killed at: fewer would mean that they are not seen any more.
QUICK = {"file": 2, "folder": 5, "folder-without-exchange": 5, "best": 10, "maps": 4, "traces": 6}


def killed(words: list[str], folder: Path) -> dict[str, int]:
    """Case -> number of writes, each of which was killed in its turn."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills", *words, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split() for line in done.stdout.splitlines() if line.split()[0] in words]
    return {name: int(writes) for name, writes in lines}


def test_a_kill_at_any_write_of_a_file_a_folder_a_policy_maps_or_traces(tmp_path: Path) -> None:
    found = killed(list(QUICK), tmp_path)
    assert all(found[name] >= least for name, least in QUICK.items()), found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_at_any_write_of_a_checkpoint_ends_where_it_would_have(tmp_path: Path) -> None:
    assert killed(["training"], tmp_path)["training"] >= 20
