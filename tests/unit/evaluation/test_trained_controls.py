from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reverse_codi.evaluation.eval_set import EvalContext
from reverse_codi.evaluation.trained_controls import more_sft, new_like, question_only, require_known, warmed
from reverse_codi.reading.claims import NO_STEP, EncodedSteps
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts
from tests.tiny import make_sharp_reasoner, make_tiny_metric, make_tiny_policy, make_tiny_traces, stir

# 4 problems of 2 thoughts: the first holds step 1, the second nothing or step 2.
HELD = EncodedSteps(
    {(Site("h", k), n): [float(step == k) for step in range(n)] for k in range(2) for n in range(1, 5)}, 0.5
)
SECTION = WarmStartSection(steps=80, batch_size=8, learning_rate=2e-2)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> EvalContext:
    reasoner = make_sharp_reasoner(n_thoughts=2)
    reasoner.save_pretrained(tmp_path_factory.mktemp("reasoner"))  # engines load it from there
    train = make_tiny_traces(reasoner, tmp_path_factory.mktemp("traces"), n=4)
    return EvalContext.of(reasoner, Arithmetic(), make_tiny_metric(reasoner, n=32), HELD, train)


@pytest.fixture(scope="module")
def like(context: EvalContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluated verbalizer, of rank 16, which has learnt nothing."""
    folder = tmp_path_factory.mktemp("verbalizer")
    make_tiny_policy(context.reasoner, rank=16).save(folder)
    return folder


def right(predictions: Sequence[str], wanted: Sequence[str]) -> int:
    return sum(a == b for a, b in zip(predictions, wanted, strict=True))


def loras(policy: Policy) -> torch.Tensor:
    weights = [w.detach().flatten() for name, w in policy.model.named_parameters() if "lora" in name]
    return torch.cat(weights)


def modified(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_new_policy_has_the_shape_and_the_config_of_the_evaluated_one(
    context: EvalContext, like: Path
) -> None:
    evaluated = Policy.load(like, context.reasoner)
    policy = new_like(context.reasoner, like, seed=0)
    shapes = [{name: w.shape for name, w in p.model.named_parameters()} for p in (evaluated, policy)]
    assert shapes[0] == shapes[1]
    assert policy.model.peft_config["default"].lora_alpha == 32
    assert policy.verbalizer_config == evaluated.verbalizer_config


def gold(thoughts: Thoughts) -> list[str]:
    return thoughts.gold


def test_warm_gold_memorises_its_texts_and_is_not_trained_twice(
    context: EvalContext, like: Path, tmp_path: Path
) -> None:
    out, thoughts = tmp_path / "gold", context.thoughts(context.train)
    predictions = warmed(context, like, out, gold, SECTION)(thoughts)
    assert right(predictions, thoughts.gold) >= 7
    before = modified(out)
    assert warmed(context, like, out, gold, SECTION)(thoughts) == predictions
    assert modified(out) == before


def test_warm_gold_learns_from_the_labelled_problems_alone(
    context: EvalContext, like: Path, tmp_path: Path
) -> None:
    thoughts = context.thoughts(context.train)
    one = SECTION.model_copy(update={"problems": 1, "batch_size": 2, "steps": 40})
    predictions = warmed(context, like, tmp_path, gold, one)(thoughts)
    assert predictions[:2] == thoughts.gold[:2]
    assert right(predictions[2:], thoughts.gold[2:]) == 0


def test_more_sft_goes_on_from_the_warm_start_for_as_many_texts(
    context: EvalContext, like: Path, tmp_path: Path
) -> None:
    policy = new_like(context.reasoner, like, seed=0)
    stir(policy)
    policy.save(tmp_path / "warm")
    targets = context.thoughts(context.train).gold
    moved = {}
    for texts in (80, 160):  # 10 and 20 steps
        out = tmp_path / f"more{texts}"
        more_sft(context, tmp_path / "warm", targets, texts, out, batch_size=8)
        moved[texts] = float((loras(Policy.load(out, context.reasoner)) - loras(policy)).abs().max())
    # AdamW moves a weight by no more than about the rate a step, which falls from 3e-4 to 0.
    assert 9e-4 < moved[80] < 3e-3
    assert moved[80] < moved[160] < 2.4e-2


def test_more_sft_needs_one_target_a_thought_and_a_full_batch(
    context: EvalContext, like: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="1 target texts for 8 training thoughts"):
        more_sft(context, like, ["12 + 5 = 17."], 100, tmp_path / "a", batch_size=8)
    with pytest.raises(ValueError, match="7 texts do not fill one batch of 8"):
        more_sft(context, like, ["12 + 5 = 17."] * 8, 7, tmp_path / "b", batch_size=8)


def test_question_only_learns_from_question_and_site_and_never_sees_the_thought(
    context: EvalContext, like: Path, tmp_path: Path
) -> None:
    thoughts = context.thoughts(context.train)
    write = question_only(context, like, tmp_path, SECTION)
    predictions = write(thoughts)
    assert right(predictions, thoughts.gold) >= 7
    assert predictions[0] != predictions[1]  # one question, two sites
    others = replace(thoughts, slots=thoughts.slots.flip(0), targets=torch.zeros_like(thoughts.targets))
    assert write(others) == predictions
    assert write(thoughts.take([5])) == [predictions[5]]  # padding changes nothing


def test_an_unknown_word_of_a_prompt_is_named(context: EvalContext) -> None:
    with pytest.raises(ValueError, match="does not know 'wombat'"):
        require_known(context.reasoner, "The wombat is: ?")
    require_known(context.reasoner, f"The answer is: ? {NO_STEP}")
