"""Tasks without minimal pairs or gold steps: what can be computed is, and the rest says why it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from reverse_codi.evaluation import controls
from reverse_codi.evaluation.baselines import FROM_GOLD, Tools, baseline
from reverse_codi.evaluation.defaults import Size
from reverse_codi.evaluation.draw import EvalSetRequest, draw
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.evaluation.report import flat, save, save_texts, tables
from reverse_codi.evaluation.suite import matching
from reverse_codi.evaluation.suite.predictions import Predictions
from reverse_codi.evaluation.suite.readable import prompt
from reverse_codi.evaluation.suite.reasons import (
    FEW_QUESTIONS,
    NO_ACTIVE,
    NO_GOLD,
    NO_PAIRS,
    NO_RIGHT,
    OF_METHOD,
    OF_THOUGHTS,
)
from reverse_codi.evaluation.suite.run import evaluate, shared_figures
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import ASSETS, load_reasoner
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.task import TaskSection
from reverse_codi.recipe.traces import TraceSection
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Problem, Split
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import Figures
from reverse_codi.verbalize.thoughts import Thoughts
from tests.fakes import lines_of
from tests.tiny import make_encoded, make_tiny_metric, make_tiny_reasoner

pytestmark = pytest.mark.long

ROWS = {Split.TRAIN: 200, Split.HELDOUT: 120}
PROBLEMS = {split: Arithmetic().problems(split, n, 5) for split, n in ROWS.items()}
CLAIMS = {problem.question: problem.claims for of_split in PROBLEMS.values() for problem in of_split}
GOLD_FIGURES = (
    "step_result.1",
    "operands",
    "operation",
    "claims.f1",
    "last.result",
    "claim.right",
    "chain.right",
)


def gsm8k_row(problem: Problem) -> dict[str, str]:
    steps = "\n".join(f"So it is <<{claim}>>." for claim in problem.claims)
    return {"question": problem.question, "answer": f"{steps}\n#### {problem.answer}"}


def bare_row(problem: Problem) -> dict[str, str]:
    return {"question": problem.question, "answer": problem.answer}


def draw_from(
    folder: Path,
    task: str,
    row: Callable[[Problem], dict[str, str]],
    reasoner: CodiReasoner,
    metric: ThoughtMetric,
    problems: int = 100,
) -> EvalSet:
    """The set of a task whose rows are the arithmetic task's problems."""
    data = folder / "data"
    data.mkdir()
    for split, name in ((Split.TRAIN, "train"), (Split.HELDOUT, "test")):
        (data / f"{name}.jsonl").write_text(
            "\n".join(json.dumps(row(problem)) for problem in PROBLEMS[split])
        )
    recipe = Recipe(task=TaskSection(name=task, path=str(data)), trace=TraceSection(n=150))
    request = EvalSetRequest(out=folder, size=Size(problems=problems, wrong=3, pairs=4))
    return draw(recipe, reasoner, metric, make_encoded(4), request)


def true_steps(thoughts: Thoughts) -> list[str]:
    """Thought k states step k, and the fourth every later one too, whatever the task tells of steps."""
    texts = []
    for site, question in zip(thoughts.sites, thoughts.questions, strict=True):
        claims = CLAIMS[question][site.index : site.index + 1 if site.index < 3 else None]
        texts.append(" ".join(f"{claim}." for claim in claims) or NO_STEP)
    return texts


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, EvalSet]:
    reasoner = load_reasoner("embedded")
    metric = ThoughtMetric.load(ASSETS / "verbalizer", reasoner)
    return {
        "pairs": draw_from(tmp_path_factory.mktemp("gsm8k"), "gsm8k", gsm8k_row, reasoner, metric),
        "gold": draw_from(tmp_path_factory.mktemp("jsonl"), "jsonl", bare_row, reasoner, metric),
    }


@pytest.fixture(scope="module")
def found(sets: Mapping[str, EvalSet]) -> Mapping[str, Figures]:
    """Every figure of right texts, of the task without minimal pairs and of that without gold steps too."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (figures, matching):
            patch.setattr(module, "RESAMPLES", 20)
        return {
            name: evaluate(Predictions(eval_set, true_steps)) | shared_figures(eval_set)
            for name, eval_set in sets.items()
        }


def test_with_fewer_problems_than_a_figure_takes_it_is_null_with_the_reason(tmp_path: Path) -> None:
    reasoner = load_reasoner("embedded")
    metric = ThoughtMetric.load(ASSETS / "verbalizer", reasoner)
    few = Predictions(draw_from(tmp_path, "gsm8k", gsm8k_row, reasoner, metric, problems=16), true_steps)
    [figure] = prompt(few).values()
    assert (figure.n, figure.reason) == (0, FEW_QUESTIONS)
    for key, one in {**evaluate(few), **shared_figures(few.eval_set)}.items():
        assert one.n or one.reason, key


def test_every_null_figure_has_a_reason_and_no_other(found: Mapping[str, Figures]) -> None:
    for of_task in found.values():
        assert {*OF_METHOD, *OF_THOUGHTS} <= {*of_task}
        for key, figure in flat(of_task, {}).items():
            assert (figure["value"] is None) == (figure["n"] == 0) == bool(figure.get("reason")), key


def test_without_minimal_pairs_all_but_swaps_is_computed(
    sets: Mapping[str, EvalSet], found: Mapping[str, Figures]
) -> None:
    of_task = found["pairs"]
    for key in (*GOLD_FIGURES, "step_result.2", "lens_top1.1", "lens_top5.1.whole"):
        assert of_task[key].n > 0, key
    for key in GOLD_FIGURES:
        assert of_task[key].value == 1, key
    assert of_task["retrieval.top1_64"].value > 0.7 and of_task["likelihood.number"].value > 0.8
    assert of_task["causal.counterfactual"].n > 0 and of_task["causal.kept_all.gold_text"].value > 0.6
    swaps = {key for key, figure in of_task.items() if figure.reason == NO_PAIRS}
    assert swaps == {"faithful.swap", "faithful.swap_next", "active.encoded"}
    assert sets["pairs"].pairs is None


def test_without_gold_steps_what_needs_none_is_the_same(found: Mapping[str, Figures]) -> None:
    with_gold, without = found["pairs"], found["gold"]
    for key in ("accuracy", "faithful.wrong", "cot.agree.right", "early.0", "ablated.h1", "prompt.top1_64"):
        if key in with_gold:
            assert without[key] == with_gold[key], key
    for key in (
        "match.whitened",
        "fve.affine",
        "causal.kept_all",
        "causal.kept_each",
        "causal.kept_all.mean",
    ):
        assert without[key].n > 0 and without[key].value == pytest.approx(with_gold[key].value, abs=0.05), key
    for key in ("retrieval.top1_64", "robust.number_drop", "readability.nll", "inactive.detected"):
        assert without[key].value == pytest.approx(with_gold[key].value, abs=0.1), key
    assert without["claims.unsupported"].value < 0.1


def test_without_gold_steps_what_compares_with_them_is_null(
    sets: Mapping[str, EvalSet], found: Mapping[str, Figures]
) -> None:
    of_task = found["gold"]
    null = {key for key, figure in of_task.items() if figure.reason == NO_GOLD}
    assert {*GOLD_FIGURES, "lens_top1.1", "likelihood.number", "causal.counterfactual"} <= null
    assert {"causal.kept_all.gold_text", "ceiling.wrong"} <= null
    assert (
        not {"match.whitened", "causal.kept_all", "claims.unsupported", "faithful.wrong", "accuracy"} & null
    )
    assert not sets["gold"].gold_steps and sets["pairs"].gold_steps


def test_reasons_are_kept_and_printed(
    sets: Mapping[str, EvalSet], found: Mapping[str, Figures], tmp_path: Path
) -> None:
    kept = json.loads(save(found["gold"], {}, tmp_path).read_text())
    assert kept["operands"] == {"value": None, "low": None, "high": None, "n": 0, "reason": NO_GOLD}
    assert "reason" not in kept["accuracy"] and kept["accuracy"]["n"] == 100
    shown = " ".join(" ".join(lines_of(*tables(found["gold"], {}, tmp_path), width=200)).split())
    assert NO_GOLD in shown and NO_PAIRS in shown
    assert str(Interval(float("nan"), float("nan"), float("nan"), 0, NO_GOLD)) == NO_GOLD
    file = save_texts(Predictions(sets["gold"], true_steps), tmp_path)
    assert {json.loads(line)["gold"] for line in file.read_text().splitlines()} == {None}


@pytest.mark.parametrize("name", FROM_GOLD)
def test_a_control_of_gold_steps_says_that_there_are_none(
    sets: Mapping[str, EvalSet], name: str, tmp_path: Path
) -> None:
    tools = Tools(sets["gold"], Recipe(), tmp_path, controls.empty, tmp_path)
    of_control = baseline(name, tools, None)
    assert {figure.n for figure in of_control.values()} == {0}
    assert of_control["operands"].reason == f"{name} is made from gold steps, and the task has none"


def test_a_model_that_writes_no_steps_has_the_figures_that_need_none(tmp_path: Path) -> None:
    """No gold steps, and no own ones to count: no thought is known to encode a step."""
    reasoner = make_tiny_reasoner(4)
    eval_set = draw_from(tmp_path, "jsonl", bare_row, reasoner, make_tiny_metric(reasoner))
    of_task = evaluate(Predictions(eval_set, true_steps)) | shared_figures(eval_set)
    assert of_task["accuracy"].value == 0 and of_task["accuracy"].n == 100
    assert of_task["match.inactive"].n == 100
    assert of_task["match.whitened"].reason == of_task["causal.kept_all"].reason == NO_ACTIVE
    assert of_task["cot.agree.right"].reason == NO_RIGHT and of_task["operands"].reason == NO_GOLD
    assert all(figure.n or figure.reason for figure in of_task.values())
    assert torch.isfinite(torch.tensor([figure.value for figure in of_task.values() if figure.n])).all()
