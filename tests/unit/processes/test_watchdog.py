from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from reverse_codi.processes import under_way
from reverse_codi.processes.watchdog import FILE, stalls_ended

ROOT = Path(__file__).parents[3]


def test_what_moves_is_left_alone_and_leaves_no_file(tmp_path: Path) -> None:
    with stalls_ended(0.4, tmp_path):
        for _ in range(8):
            time.sleep(0.1)
            under_way.moved()
    assert not (tmp_path / FILE).exists()


def test_0_watches_nothing(tmp_path: Path) -> None:
    with stalls_ended(0, tmp_path):
        assert not (tmp_path / FILE).exists()


# How the main thread is stuck -> whether it can still be stopped by itself.
WAYS = {"asleep": "time.sleep(1000)", "held": "hold()", "deaf": "deaf()"}
STUCK = """
import ctypes, sys, time
from pathlib import Path
from reverse_codi.processes import stopping, under_way, watchdog
from reverse_codi.utils.command import run_verb

watchdog.ENDS_S = 1.5

def hold():
    with stopping.deferred():
        while True:
            time.sleep(0.1)

def deaf():
    ctypes.PyDLL(None).sleep(1000)  # with Python's lock: no other thread runs

def work():
    stopping.advise("go on with --resume")
    with watchdog.stalls_ended(1.0, Path(sys.argv[1])), under_way.stage("grpo"):
        under_way.at_step(12)
        with under_way.phase("generate"), under_way.waiting("rollout actor 0"):
            {way}

run_verb(work)
"""


@pytest.mark.parametrize("way", list(WAYS))
def test_a_stall_is_named_with_its_stacks_and_ends_the_run(tmp_path: Path, way: str) -> None:
    code = STUCK.replace("{way}", WAYS[way])
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=150
    )
    assert time.monotonic() - began < 100
    stacks = (tmp_path / FILE).read_text()
    assert "work" in stacks and "<string>" in stacks
    if way == "deaf":  # the interpreter itself ended it
        assert done.returncode == 1
        return
    assert done.returncode == 75
    where = "grpo, step 12, generate (waiting for rollout actor 0)"
    why = f"stalled: nothing moved for 1 s (train.stall_s) in {where}; stacks are in {tmp_path / FILE}"
    assert stacks.startswith(f"{why}\n")
    assert done.stderr.splitlines()[0] == why
    assert "Traceback (most recent call last)" not in done.stderr
    if way == "asleep":
        assert done.stderr.splitlines()[-1].endswith("; go on with --resume")
