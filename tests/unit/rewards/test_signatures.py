"""Plain callables as rewards: ours, `fn(batch)`, and TRL's, `fn(completions, **kwargs)`."""

from __future__ import annotations

import doctest
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from reverse_codi import RewardBatch, reward
from reverse_codi.errors import RecipeError
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reward import RewardItem, RewardSection
from reverse_codi.rewards import signatures
from reverse_codi.rewards.batch import RewardError
from reverse_codi.rewards.calls import run_rewards
from reverse_codi.rewards.registry import find, find_functions
from reverse_codi.utils.config import Section
from tests.tiny import make_batch, make_rows, make_table_metric

SITE = Site("h", 1)
TEXTS = ["12 + 5 = 17.", "9 - 8 = 1."]


def batch(claims: list[list[str]] | None = None, **others: Any) -> RewardBatch:
    metric = make_table_metric({text: [1.0, 0.0] for text in TEXTS}, SITE, default=[0.0, 0.0])
    return make_batch(make_rows(TEXTS, torch.ones(2, 2), SITE, claims=claims, **others), metric)


def values(function: Callable[..., Any], given: RewardBatch | None = None, **options: Any) -> list[Any]:
    """What a function gives as a recipe's reward."""
    found = find(function, options)
    return run_rewards([found], given or batch())[found.name]


def ours(batch: RewardBatch) -> list[float]:
    """One for each.

    More.
    """
    return [1.0] * len(batch)


def trl(completions: list[str], **kwargs: Any) -> list[float | None]:
    return [float(len(text)) for text in completions]


def test_doctests() -> None:
    assert doctest.testmod(signatures).failed == 0


def test_a_function_is_a_reward_as_it_is() -> None:
    found = find(ours)
    assert (found.name, found.worst, found.description) == ("ours", None, "One for each.")
    assert values(ours) == [1.0, 1.0]
    assert find(lambda batch: []).name == "lambda"
    assert find(functools.partial(ours)).name == "ours"


def test_a_declared_function_keeps_what_was_declared() -> None:
    @reward(worst=-3.0, name="declared")
    def function(completions: list[str], **kwargs: Any) -> list[float]:
        return [0.5] * len(completions)

    assert (find(function).name, find(function).worst) == ("declared", -3.0)
    assert values(function) == [0.5, 0.5]


def test_trls_functions_get_columns_by_name() -> None:
    seen: dict[str, Any] = {}

    def all_of_it(**kwargs: Any) -> list[float]:
        seen.update(kwargs)
        return [0.0] * len(kwargs["prompts"])

    given = batch(claims=[["12 + 5 = 17"], ["9 - 8 = 1"]])
    assert values(all_of_it, given) == [0.0, 0.0]
    assert seen["prompts"] == seen["questions"] == ["question 0", "question 1"]
    assert seen["completions"] == TEXTS
    assert seen["completion_ids"] == [[0, 1, 2, 3, 4]] * 2
    assert seen["sites"] == [SITE, SITE] and seen["claims"] == [["12 + 5 = 17"], ["9 - 8 = 1"]]
    assert torch.equal(seen["targets"], torch.ones(2, 2))
    assert "trainer_state" not in seen


def test_trls_functions_get_only_what_they_take() -> None:
    def exact(prompts: list[str], completions: list[str], claims: Any, scale: float = 2.0) -> list[float]:
        assert claims is None
        return [scale * len(text) for text in completions]

    assert values(trl) == [12.0, 10.0]
    assert values(exact) == [24.0, 20.0]
    assert values(lambda prompts, completion_ids: [float(len(ids)) for ids in completion_ids]) == [5.0, 5.0]


def test_async_functions_of_trl_run_beside_others_and_are_awaited() -> None:
    async def asks(completions: list[str], **kwargs: Any) -> list[float | None]:
        return [None, 1.0]

    class Judge:
        async def __call__(self, completions: list[str], **kwargs: Any) -> list[float]:
            return [2.0, 3.0]

    assert find(asks).beside and find(Judge).beside and find(Judge()).beside
    assert not find(trl).beside
    assert values(asks) == [None, 1.0]
    assert values(Judge) == values(Judge()) == [2.0, 3.0]


def test_objects_and_classes_serve_too() -> None:
    class Scale(Section):
        by: float = 1.0

    class Scaled:
        def __init__(self, config: Scale) -> None:
            self.by = config.by

        def __call__(self, completions: list[str], **kwargs: Any) -> list[float]:
            return [self.by * len(text) for text in completions]

    # Annotations of local classes can be resolved only where they are no strings.
    Scaled.__init__.__annotations__["config"] = Scale
    assert values(Scaled, by=0.5) == [6.0, 5.0]
    assert find(Scaled(Scale(by=2.0))).name == "Scaled"
    assert values(Scaled(Scale(by=2.0))) == [24.0, 20.0]


def test_an_object_of_a_declared_class_is_called_and_keeps_what_was_declared() -> None:
    @reward(worst=-1.0, name="fixed")
    class Fixed:
        def __init__(self, value: float) -> None:
            self.value = value

        def __call__(self, batch: RewardBatch) -> list[float]:
            return [self.value] * len(batch)

    assert (find(Fixed(0.25)).name, find(Fixed(0.25)).worst) == ("fixed", -1.0)
    assert values(Fixed(0.25)) == [0.25, 0.25]


def test_metrics_that_trls_functions_log_are_scalars_of_the_step() -> None:
    logged: dict[str, float] = {}

    def logs(completions: list[str], log_metric: Callable[[str, float], None], **kwargs: Any) -> list[float]:
        log_metric("length", 11.0)
        return [0.0, 0.0]

    found = find(logs)
    metric = make_table_metric({text: [1.0, 0.0] for text in TEXTS}, SITE)
    run_rewards([found], make_batch(make_rows(TEXTS, torch.ones(2, 2), SITE), metric, logged.__setitem__))
    assert logged == {"reward/logs/length": 11.0}


def test_what_trl_would_give_and_we_do_not_is_refused_with_what_there_is() -> None:
    def needs(completions: list[str], solution: list[str]) -> list[float]:
        return []

    told = r"needs\(.* cannot be called with TRL's arguments \(missing.*'solution'\); write \*\*kwargs, "
    with pytest.raises(RecipeError, match=told):
        find(needs)


def test_an_error_in_a_trl_function_names_its_line() -> None:
    def looks(completions: list[str], **kwargs: Any) -> list[float]:
        return [float(kwargs["solution"]) for _ in completions]

    with pytest.raises(
        RewardError, match=r"'looks': raised KeyError at \S*test_signatures\.py:\d+ on 2 texts"
    ):
        values(looks)


def test_functions_stand_in_sections_and_are_written_by_name() -> None:
    section = RewardSection.model_validate({"functions": [ours, "brevity", {"name": trl, "weight": 0.5}]})
    assert [item.name for item in section.functions] == [ours, "brevity", trl]
    assert [found.name for found in find_functions(section)] == ["ours", "brevity", "trl"]
    written = [item["name"] for item in section.model_dump(mode="json")["functions"]]
    assert written == [f"{__name__}:ours", "brevity", f"{__name__}:trl"]
    assert RewardItem(name=ours).written == f"{__name__}:ours"
    with pytest.raises(RecipeError, match="two reward functions are named 'ours'"):
        find_functions(RewardSection(functions=[RewardItem(name=ours), RewardItem(name=ours)]))
