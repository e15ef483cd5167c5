from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.evaluation import baselines
from reverse_codi.evaluation.baselines import METHODS, ON_REQUEST, Tools
from reverse_codi.evaluation.defaults import CONTROLS, CONTROLS_ON_REQUEST
from reverse_codi.evaluation.eval_set import EvalContext, EvalSet
from reverse_codi.evaluation.suite.predictions import Method
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.recipe.reasoner import ReasonerSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.verbalize.translator import Translator
from tests.tiny import (
    make_encoded,
    make_sharp_reasoner,
    make_tiny_metric,
    make_tiny_policy,
    make_tiny_traces,
    stir,
)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """Of a verbalizer that writes at random."""
    root, reasoner = tmp_path_factory.mktemp("baselines"), make_sharp_reasoner()
    reasoner.save_pretrained(root / "reasoner")
    policy = make_tiny_policy(reasoner)
    stir(policy)
    policy.save(root / "verbalizer")
    traces = make_tiny_traces(reasoner, root / "traces", n=8)
    context = EvalContext.of(reasoner, Arithmetic(), make_tiny_metric(reasoner), make_encoded(3), traces)
    eval_set = EvalSet(context, traces, traces.select([]), None, seed=0)
    recipe = Recipe(reasoner=ReasonerSection(path=str(root / "reasoner")))
    translator = Translator(reasoner, root / "verbalizer")
    return Tools(
        eval_set,
        recipe,
        root / "verbalizer",
        lambda thoughts: translator.greedy(thoughts.slots),
        root / "out",
    )


def test_every_control_has_a_name_and_the_oracle_is_last() -> None:
    assert (*METHODS, "oracle") == CONTROLS and tuple(ON_REQUEST) == CONTROLS_ON_REQUEST
    assert "best_of_16" in CONTROLS
    assert not set(ON_REQUEST) & set(CONTROLS)  # minutes each, so only where they are asked for


@pytest.mark.parametrize("at_once", [256, 5])
def test_the_best_of_16_reads_nearer_than_the_greedy_text_and_never_farther(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(baselines, "RERANKED", at_once)
    # An untrained verbalizer writes nothing that can be read, so here every text makes a claim of its own.
    monkeypatch.setattr("reverse_codi.reading.best_of.claimed", lambda text: (text,))
    eval_set, thoughts = tools.eval_set, tools.eval_set.thoughts
    metric = eval_set.context.metric

    def match(texts: list[str]) -> list[float]:
        return metric.match(thoughts.targets, eval_set.predicted(thoughts, texts), thoughts.sites).tolist()

    best = METHODS["best_of_16"](tools)(thoughts)
    pairs = list(zip(match(tools.write(thoughts)), match(best), strict=True))
    assert all(searched >= plain - 1e-5 for plain, searched in pairs)
    assert sum(searched > plain + 1e-3 for plain, searched in pairs) > 0.5 * len(pairs)
    assert METHODS["best_of_16"](tools)(thoughts) == best
    other = replace(tools, eval_set=replace(eval_set, seed=1))
    assert METHODS["best_of_16"](other)(thoughts) != best


def test_the_warm_start_is_the_verbalizer_itself_where_there_was_no_rl(tools: Tools, tmp_path: Path) -> None:
    trained = replace(tools, verbalizer=tmp_path / "verbalizer")
    assert trained.warm == tmp_path / "verbalizer"  # none was kept
    (tmp_path / "warm").mkdir()
    (tmp_path / "warm" / "verbalizer.json").write_text("{}")
    assert trained.warm == tmp_path / "verbalizer"  # another run's, as in the package: RL keeps a best policy
    (tmp_path / "best").mkdir()
    assert trained.warm == tmp_path / "warm"
    assert replace(trained, verbalizer=tmp_path / "copied").warm == tmp_path / "copied"


def test_warm_nearest_is_taught_runs_of_the_self_generated_cot(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[list[str]] = []

    def warmed(context: EvalContext, like: Path, out: Path, targets: Any, section: Any) -> Method:
        taught.append(targets(context.thoughts(context.train)))
        assert section.problems and not section.samples
        return lambda thoughts: [""] * len(thoughts)

    monkeypatch.setattr(baselines.trained_controls, "warmed", warmed)
    context = tools.eval_set.context
    own = [["1 + 1 = 2", "2 * 3 = 6"]] * len(context.train)
    context.solved.update(zip(context.train.questions, own, strict=True))
    METHODS["warm_nearest"](tools)
    [texts] = taught
    runs = {"1 + 1 = 2.", "2 * 3 = 6.", "1 + 1 = 2. 2 * 3 = 6.", "(no step)"}
    assert len(texts) == 3 * len(context.train)
    answered = {f"2 * 3 = {answer}." for answer in context.train.answers if answer}
    assert {text for text in texts if "=" in text} <= runs | answered | {f"1 + 1 = 2. {a}" for a in answered}
    assert set(texts[2::3]) == {"(no step)"}  # of two steps the third thought holds none


def test_no_reconstructor_where_the_model_writes_no_steps(
    tools: Tools, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader that was fitted on nothing would have no head for any site."""
    eval_set = tools.eval_set
    silent = replace(eval_set.context, solved={question: [] for question in eval_set.context.train.questions})
    mute = replace(tools, eval_set=replace(eval_set, context=silent))
    assert mute.eval_set.active
    assert set(mute.self_generated_cot) == {NO_STEP}
    assert mute.reconstructor() is None
    assert "no reconstructor: the model wrote no step for thoughts of h0, h1, h2" in caplog.text
