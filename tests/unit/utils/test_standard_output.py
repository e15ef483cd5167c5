"""What a program reads from standard output is a result and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[3]
NOISY = """
import os
import subprocess

from reverse_codi import reward

print("loading")


@reward(worst=-1.0)
def noisy(batch):
    print("scoring")
    os.write(1, b"past Python\\n")
    subprocess.run(["echo", "another process"])
    return [0.0] * len(batch)
"""


def answered(folder: Path, *words: str) -> tuple[Any, str]:
    """What a command prints as JSON, and its standard error, with W&B offline."""
    environment = os.environ | {"WANDB_MODE": "offline", "PYTHONPATH": str(ROOT), "COLUMNS": "60"}
    run = subprocess.run(
        [sys.executable, "-m", "reverse_codi.cli", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), run.stderr


def test_a_trial_as_json_is_json_whatever_prints_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    found, message = answered(tmp_path, "rewards", "try", "./noisy.py:noisy", "--problems", "4", "--json")
    assert found["reward"] == "noisy" and found["kinds"]["gold"]["mean"] == 0.0
    for line in ("loading", "scoring", "past Python", "another process"):
        assert line in message


def test_a_check_of_a_reasoner_as_json_is_json(tmp_path: Path) -> None:
    words = ("check-reasoner", "--n", "20", "--no-probe", "--json")
    found, _ = answered(tmp_path, *words)
    assert found["n"] == 20 and 0.0 <= found["accuracy"] <= 1.0
