"""An evaluation goes on with what training collected and wrote, where that is still there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.errors import UserError
from reverse_codi.evaluation.defaults import Size
from reverse_codi.evaluation.draw import EvalSetRequest, draw
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.schema import Recipe
from reverse_codi.tasks.base import Split
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.kept_claims import kept_claims
from reverse_codi.verbalize.self_generated_cot import FILE
from tests.tiny import make_encoded, make_tiny_metric

WRITTEN = [["1 + 1 = 2"]] * 30


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe.model_validate({"trace": {"out": str(tmp_path / "traces"), "n": 70, "n_heldout": 70}})


@pytest.fixture
def trained(recipe: Recipe, tiny_reasoner: CodiReasoner) -> TraceStore:
    """The traces of a run; the model has written for 30 of them."""
    asked = TraceRequest.of_training(recipe, Split.TRAIN, 70, recipe.trace.seed, recipe.trace.out)
    store = collect(tiny_reasoner, recipe.task.build(), asked)
    first = store.questions[:30]
    kept_claims(Path(recipe.trace.out) / FILE, "written", tiny_reasoner, first, lambda start, end: WRITTEN)
    return store


def drawn(recipe: Recipe, reasoner: CodiReasoner, folder: Path, **trace: Any) -> EvalSet:
    changed = recipe.model_copy(update={"trace": recipe.trace.model_copy(update=trace)})
    metric = make_tiny_metric(reasoner)
    request = EvalSetRequest(out=folder, size=Size(problems=64, wrong=2, pairs=2))
    return draw(changed, reasoner, metric, make_encoded(3), request)


def test_traces_and_written_steps_of_training_are_used_again(
    recipe: Recipe, trained: TraceStore, tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    context = drawn(recipe, tiny_reasoner, tmp_path / "evaluation").context
    assert context.train.questions == trained.questions
    assert not list((tmp_path / "evaluation/traces").glob("train-*"))
    assert context.solved == dict(zip(trained.questions[:30], WRITTEN, strict=True))
    assert context.written(trained.questions[:30]) == WRITTEN  # the tiny model writes nothing like it


def test_without_them_the_same_traces_are_collected_anew(
    recipe: Recipe, trained: TraceStore, tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    for name, changed in (("n", {"n": 66}), ("out", {"out": str(tmp_path / "elsewhere")})):
        context = drawn(recipe, tiny_reasoner, tmp_path / name, **changed).context
        assert len(list((tmp_path / name / "traces").glob("train-*"))) == 1
        assert context.train.questions == trained.questions[: len(context.train)]
        assert context.train.hidden_states.equal(trained.hidden_states[: len(context.train)])
        assert context.solved == {}


def test_written_steps_of_other_questions_are_refused(
    recipe: Recipe, trained: TraceStore, tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    file = Path(recipe.trace.out) / FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"questions": "of others"}))
    with pytest.raises(UserError, match=r"written_steps\.json has other questions"):
        drawn(recipe, tiny_reasoner, tmp_path / "evaluation")
