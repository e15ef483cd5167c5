from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.evaluation.reward_trials.bench import TextKind, TrialSource
from reverse_codi.evaluation.reward_trials.testing import check_reward
from reverse_codi.rewards.batch import RewardError

OWN = '''
from reverse_codi.rewards.batch import RewardBatch
from reverse_codi import reward


@reward(worst=0.0)
def right(batch: RewardBatch) -> list[float | None]:
    """1 where a gold result is said."""
    said = [text.rstrip(" .").rpartition(" ")[2] for text in batch.texts]
    return [float(any(c.endswith(f"= {word}") for c in claims)) for word, claims in zip(said, batch.claims)]


@reward(worst=0.0)
def length(batch: RewardBatch) -> list[float | None]:
    return [float(len(text)) for text in batch.texts]


@reward(worst=-9.0)
def rank(batch: RewardBatch) -> list[float | None]:
    order = sorted(batch.texts)
    return [order.index(text) / len(order) for text in batch.texts]


@reward(worst=0.0)
def broken(batch: RewardBatch) -> list[float | None]:
    return [float("nan")] * len(batch.texts)


@reward(worst=0.0)
def short(batch: RewardBatch) -> list[float | None]:
    return [0.0]
'''
SOURCE = TrialSource(problems=16)


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(OWN)
    return str(tmp_path / "own.py")


def test_a_sound_reward_passes_and_its_values_are_returned(own: str) -> None:
    trial = check_reward(f"{own}:right", source=SOURCE)
    assert set(trial.values[TextKind.GOLD]) == {1.0}


def test_a_plain_function_is_checked_as_it_is() -> None:
    def right(completions: list[str], claims: list[list[str]], **kwargs: object) -> list[float]:
        said = [text.rstrip(" .").rpartition(" ")[2] for text in completions]
        return [
            float(any(c.endswith(f"= {word}") for c in of)) for word, of in zip(said, claims, strict=True)
        ]

    assert set(check_reward(right, source=SOURCE).values[TextKind.GOLD]) == {1.0}


def test_one_that_can_be_won_without_content_fails(own: str) -> None:
    with pytest.raises(AssertionError, match=r"'length': .*constant.* as gold.*sensitive_to_content=False"):
        check_reward(f"{own}:length", source=SOURCE)
    check_reward(f"{own}:length", source=SOURCE, sensitive_to_content=False)


def test_one_that_depends_on_the_other_rows_fails(own: str) -> None:
    with pytest.raises(AssertionError, match=r"'rank': .* rows, .* among .*; let it depend on the row"):
        check_reward(f"{own}:rank", source=SOURCE, sensitive_to_content=False)
    check_reward(f"{own}:rank", source=SOURCE, sensitive_to_content=False, by_row=False)


@pytest.mark.parametrize(("name", "problem"), [("broken", "returned nan"), ("short", "returned 1 values")])
def test_one_that_breaks_its_rules_is_named(own: str, name: str, problem: str) -> None:
    with pytest.raises(RewardError, match=f"reward '{name}': {problem}"):
        check_reward(f"{own}:{name}", source=SOURCE)


@pytest.mark.parametrize("name", ["novelty", "contrastive", "format"])
def test_the_built_in_ones_depend_on_row_and_step_alone(name: str) -> None:
    check_reward(name, source=SOURCE, sensitive_to_content=name == "contrastive")
