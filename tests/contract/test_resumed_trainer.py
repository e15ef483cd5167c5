"""What the design leans on in transformers' and TRL's resuming: rate, savings, and the stop at NaN.

The whole trainer with its callbacks; a sampler made here stands in for the actors.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS, last_complete_checkpoint
from reverse_codi.utils.finite import NotFiniteError
from tests.short_grpo import train


def rates(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["learning_rate"] for line in lines if "loss" in line]


def saved(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "grpo").iterdir() if path.is_dir())


def test_a_resumed_run_follows_the_rate_the_schedule_and_the_savings_at_hand(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    train(tiny_reasoner, tmp_path, steps=4, save_every=2, learning_rate=1e-3)
    assert saved(tmp_path) == ["checkpoint-2", "checkpoint-4"]
    last = str(tmp_path / "grpo/checkpoint-4")
    train(tiny_reasoner, tmp_path, last, steps=8, save_every=1, learning_rate=2e-3)
    # A warm-up of 5 steps, then a line to 0 at the last: of the old rate to step 4, then of the new one.
    expected = [0, 2e-4, 4e-4, 6e-4, 2e-3 * 4 / 5, 2e-3, 2e-3 * 2 / 3, 2e-3 / 3]
    assert rates(tmp_path) == pytest.approx(expected)
    assert saved(tmp_path) == ["checkpoint-7", "checkpoint-8"]


def test_a_policy_that_diverges_stops_and_the_last_finite_one_is_gone_on_from(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    with pytest.raises(NotFiniteError, match=r"step \d.*Lower grpo\.learning_rate \(now 1e\+30\)"):
        train(tiny_reasoner, tmp_path, steps=9, save_every=1, learning_rate=1e30)
    checkpoint = last_complete_checkpoint(tmp_path / "grpo", POLICY_WEIGHTS)
    assert checkpoint is not None
    assert all(bool(w.isfinite().all()) for w in load_file(Path(checkpoint) / POLICY_WEIGHTS).values())
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in (Path(checkpoint) / "trainer_state.json").read_text()
    train(tiny_reasoner, tmp_path, checkpoint, steps=9, learning_rate=1e-3)
    final = load_file(tmp_path / "grpo/checkpoint-9" / POLICY_WEIGHTS)
    assert all(bool(weight.isfinite().all()) for weight in final.values())
