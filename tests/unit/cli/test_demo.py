from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.cli.jobs.demo import empty, kept_step, label_efficiency, show_changes
from reverse_codi.errors import RecipeError
from reverse_codi.verbalize.scores import Scored
from tests.fakes import output, printed, screen


def test_an_earlier_demo_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    empty(tmp_path / "demo")
    (tmp_path / "demo/best").mkdir()
    empty(tmp_path / "demo")
    assert not (tmp_path / "demo/best").exists()
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(RecipeError, match="choose another --out"):
        empty(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def scored(texts: list[str], result: float) -> Scored:
    flags, ones = torch.full((len(texts),), result), torch.ones(len(texts))
    return Scored(ones / 2, ones, 0.0, flags, flags, torch.empty(0), texts)


def shown(before: Scored, after: Scored, step: int) -> str:
    console = screen(200)
    show_changes(output(console), before, after, list(range(len(before.texts))), step)
    return printed(console)


def test_it_says_that_the_best_checkpoint_is_the_warm_start(tmp_path: Path) -> None:
    assert kept_step(tmp_path) == 0
    (tmp_path / "best.json").write_text('{"step": 40, "worth": 0.9}')
    assert kept_step(tmp_path) == 40
    warm, better = scored(["1", "2", "3"], 0.0), scored(["4", "5", "6"], 1.0)
    assert "The best policy is the warm start" in shown(warm, warm, 0)
    assert "Stage 40 writes the same texts" in shown(warm, warm, 40)
    message = shown(warm, better, 40)
    assert "warm start:" not in message and "same texts" not in message and "1.000 [1.000, 1.000]" in message


def test_sentences_have_no_row_of_operations() -> None:
    assert "operations" not in shown(scored(["1"], 0.0), scored(["2"], 0.0), 3)


def test_the_label_efficiency_is_read_off_what_was_measured() -> None:
    assert "needs those of about 1,000 for as many whole claims" in label_efficiency(0.5)
    assert "needs those of more than 16,000 for as many whole claims" in label_efficiency(0.99)
