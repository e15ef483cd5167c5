"""Counts are checked when they are parsed, in every verb."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from reverse_codi.cli import (
    ablate,
    bench_rewards,
    ceilings,
    check_reasoner,
    evaluate,
    reading_study,
    rewards,
    soft_text,
    trajectories,
    verbalize,
)
from reverse_codi.errors import RecipeError
from reverse_codi.utils.arguments import size


@pytest.mark.parametrize(
    ("main", "words", "named"),
    [
        (verbalize.main, ["Ann has 3.", "--samples", "-3"], "--samples: -3 is too small; give 0 or more"),
        (verbalize.main, ["Ann has 3.", "--samples", "many"], "--samples: 'many' is no whole number"),
        (evaluate.main, ["embedded", "--problems", "0"], "--problems: 0 is too small; give 1 or more"),
        (evaluate.main, ["embedded", "--wrong", "-1"], "--wrong: -1 is too small"),
        (evaluate.main, ["embedded", "--pairs", "-1"], "--pairs: -1 is too small"),
        (evaluate.main, ["embedded", "--seed", "-1"], "--seed: -1 is too small; give 0 or more"),
        (rewards.main, ["try", "brevity", "--problems", "-2"], "--problems: -2 is too small"),
        (trajectories.main, ["m", "--text", "a", "--out", "o", "--iterations", "0"], "--iterations: 0 is"),
        (trajectories.main, ["m", "--text", "a", "--out", "o", "--answer-tokens", "-1"], "-tokens: -1 is"),
        (ceilings.main, ["--n-test", "0"], "--n-test: 0 is too small"),
        (soft_text.main, ["--n", "0"], "--n: 0 is too small"),
        (soft_text.main, ["--steps", "0"], "--steps: 0 is too small"),
        (check_reasoner.main, ["--n", "0"], "--n: 0 is too small"),
        (bench_rewards.main, ["--texts", "0"], "--texts: 0 is too small"),
        (bench_rewards.main, ["--rounds", "0"], "--rounds: 0 is too small"),
        (ablate.main, ["--threads", "-1"], "--threads: -1 is too small"),
    ],
)
def test_counts_out_of_range_are_named(
    main: Callable[[list[str]], None], words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err


def test_ridge_strengths_are_checked_before_the_study() -> None:
    with pytest.raises(RecipeError, match=r"--ridge: ridge = 0\.0: "):
        reading_study.main(["recipes/tiny.yaml", "--ridge", "0"])


def test_sizes() -> None:
    assert (size("0"), size("0.5")) == (0.0, 0.5)
    for given in ("-1", "nan", "inf", "much"):
        with pytest.raises(argparse.ArgumentTypeError, match="give 0 or more"):
            size(given)
