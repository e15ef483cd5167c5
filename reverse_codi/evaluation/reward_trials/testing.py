"""The checks of `rewards try` for a test of your own reward.

def test_my_reward() -> None:
check_reward("./my_reward.py:my_reward")
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from reverse_codi.evaluation.reward_trials.bench import Bench, TextKind, TrialSource
from reverse_codi.evaluation.reward_trials.trial import Trial, Values, run, score
from reverse_codi.recipe.reward import RewardItem, RewardSection
from reverse_codi.rewards.candidates import balanced
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.rewards.registry import find_functions

# float32 sums differ with the composition of a batch.
TOLERANCE = 1e-3
_bench = functools.cache(Bench.of)


def check_reward(
    name: str | Callable[..., Any],
    options: Mapping[str, Any] | None = None,
    *,
    sensitive_to_content: bool = True,
    by_row: bool = True,
    source: TrialSource | None = None,
) -> Trial:
    """Fail unless a reward keeps the rules on texts of the embedded model's thoughts.

    Args:
        name: the function, or what a recipe would say: module:function, ./path.py:function, or a registered
            name.
        options: of the reward.
        sensitive_to_content: gold texts must score better than worthless ones (`Trial.won_by`). False for a
            reward of form or length.
        by_row: a row's value must not depend on which rows are scored with it, since actors share a step.
            False for a reward that learns while it scores.
        source: other thoughts than those of 40 fresh problems.

    Returns:
        The trial, for further checks of the values.

    Raises:
        RecipeError: there is no such reward, or it refuses the options.
        RewardError: it raised, or returned NaN, another number of values, no float, or less than its worst.
        AssertionError: it can be won without content, or depends on the other rows.
    """
    item = RewardItem(name=name, options=dict(options or {}))
    [record] = find_functions(RewardSection(functions=[item]))
    bench = _bench(source or TrialSource(problems=40))
    trial = run(record, bench)
    if sensitive_to_content and trial.won_by:
        raise AssertionError(
            f"reward {record.name!r}: {', '.join(trial.won_by)} texts score as well as gold, so it can be "
            "won without content; fix it, or say sensitive_to_content=False and use it beside one "
            "that is sensitive to it"
        )
    if by_row:
        check_by_row(record, bench, trial.values[TextKind.SAMPLED])
    return trial


def check_by_row(record: RewardSpec, bench: Bench, together: Values) -> None:
    """Score the sampled texts again, backwards and in two shares; `together` is what they got at once.

    Raises:
        AssertionError: a value is another one.
    """
    rows = bench.rows(bench.texts[TextKind.SAMPLED])
    scored = set(rows.well_formed)  # a failed text gets what its step gives it
    for share in balanced(rows, 2, bench.metric.reader.spec):  # as actors share a step
        order = [row for row in share[::-1] if row in scored]
        for row, value in zip(order, score(record, rows.take(order), bench), strict=True):
            first = together[row]
            same = value is first if value is None or first is None else abs(value - first) <= TOLERANCE
            if not same:
                raise AssertionError(
                    f"reward {record.name!r}: {first} for {rows.texts[row]!r} among {len(rows)} rows, "
                    f"{value} among {len(order)}; let it depend on the row and batch.step alone, or say "
                    "by_row=False"
                )
