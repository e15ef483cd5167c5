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
import pytest

from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS, newest_whole
from tests.integration.test_distill import recipe_file
from tests.integration.test_workers import SHARED, with_recipe

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def stopped(words: list[str], number: int, ready: Callable[[], bool], within: float = 120) -> tuple[int, str]:
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
        deadline = time.monotonic() + within
        while not ready() and process.poll() is None:
            assert time.monotonic() < deadline, "never ready"
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(number)
        output, _ = process.communicate(timeout=120)
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
        "--distill.threads",
        "1",  # with more, a step beside other tests takes many times as long
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


@pytest.mark.timeout(400)
def test_several_trainers_keep_the_step_that_was_under_way(tmp_path: Path) -> None:
    run, steps = tmp_path / "run", tmp_path / "run/metrics.jsonl"
    options = ["--train.out", str(run), "--grpo.steps", "500", "--grpo.save_every", "500", *SHARED]
    words = ["train", str(with_recipe(tmp_path) / "recipe.yaml"), "--warm_start.steps", "8", *options]
    code, output = stopped(
        words, signal.SIGTERM, lambda: steps.is_file() and '"loss"' in steps.read_text(), within=300
    )
    assert code == 143, output
    said = re.search(r"^stopped by SIGTERM at step (\d+) of grpo; go on with --resume$", output, re.MULTILINE)
    assert said is not None and "Traceback" not in output, output
    found = newest_whole(run / "grpo", POLICY_WEIGHTS)
    assert found.folder == str(run / f"grpo/checkpoint-{said[1]}") and found.passed == {}


@pytest.mark.timeout(400)
def test_several_trainers_end_at_once_where_nothing_can_be_kept(tmp_path: Path) -> None:
    run, traces = tmp_path / "run", tmp_path / "more"
    options = ["--train.out", str(run), "--trace.out", str(traces), "--trace.n", "200000", *SHARED]
    words = ["train", str(with_recipe(tmp_path) / "recipe.yaml"), *options]
    code, output = stopped(words, signal.SIGTERM, lambda: len(list(traces.glob("*.arrow"))) > 1, within=300)
    assert code == 143, output
    assert re.search(r"^stopped by SIGTERM.*; go on with --resume$", output, re.MULTILINE), output
    assert "Traceback" not in output, output
