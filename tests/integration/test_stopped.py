"""Commands that a signal stops: a line, their exit code, no traceback, nothing left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.integration.test_distill import recipe_file

ROOT = Path(__file__).parents[2]


def stopped(words: list[str], number: int, ready: Callable[[], bool]) -> tuple[int, str]:
    """Exit code and output of a command that gets a signal once `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reverse_codi.cli", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not ready() and process.poll() is None:
            assert time.monotonic() < deadline, "never ready"
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
        return process.returncode, output
    finally:
        process.kill()


def test_trace_ends_with_whole_shards(tmp_path: Path) -> None:
    words = [
        "trace",
        "tiny",
        "--reasoner.path",
        "embedded",
        "--trace.n",
        "200000",
        "--trace.shard_rows",
        "500",
    ]
    out = tmp_path / "traces"
    code, output = stopped(
        [*words, "--trace.out", str(out)], signal.SIGTERM, lambda: len(list(out.glob("*.arrow"))) > 1
    )
    assert code == 143, output
    assert output.splitlines()[-1] == "stopped by SIGTERM; the same command goes on"
    assert "Traceback" not in output


def test_distill_keeps_the_step_that_was_under_way(tmp_path: Path) -> None:
    words = [
        "distill",
        str(recipe_file(tmp_path)),
        "--distill.written.steps",
        "3000",
        "--distill.save_steps",
        "1000",
    ]
    out = tmp_path / "reasoner/written"
    code, output = stopped(words, signal.SIGINT, out.is_dir)
    assert code == 130, output
    assert "Traceback" not in output
    said = re.fullmatch(
        r"stopped by Ctrl-C at step (\d+) of phase written; the same command goes on", output.splitlines()[-1]
    )
    if said is None:  # it came before the first step began
        assert output.splitlines()[-1] == "stopped by Ctrl-C; the same command goes on"
    else:
        assert (out / f"checkpoint-{said[1]}/trainer_state.json").is_file()


def test_evaluate_ends(tmp_path: Path) -> None:
    code, output = stopped(
        ["evaluate", "embedded", "--out", str(tmp_path / "out")], signal.SIGTERM, (tmp_path / "out").is_dir
    )
    assert code == 143, output
    assert output.splitlines()[-1] == "stopped by SIGTERM"
    assert "Traceback" not in output
