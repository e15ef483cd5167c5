from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reverse_codi.cli import evaluate
from reverse_codi.errors import RecipeError
from reverse_codi.evaluation.accuracy import Accuracies, flat, metric, verdict
from reverse_codi.evaluation.thoughtless import without_thoughts
from reverse_codi.reasoners.checkpoints.known import Published
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from reverse_codi.utils.bootstrap import Interval

NOT_KNOWN = "no published figure is known for this checkpoint, number of thoughts and task"

TASK = Arithmetic()


def near(value: float) -> Interval:
    return Interval(value, value - 0.03, value + 0.03, 1000)


def found(own: float = 0.43, text: float = 0.42, left: float = 0.1, steps: float | None = None) -> Accuracies:
    ways = {"zero": 0.05, "mean": left, "resampled": 0.02, "removed": 0.04}
    without = {name: near(value) for name, value in ways.items()}
    return Accuracies(near(own), near(text), without, None if steps is None else near(steps))


def test_a_model_as_published_that_thinks_and_writes_is_not_complained_of() -> None:
    assert verdict(found(), Published(0.437, "paper")) == ["agrees with the published 0.437 (paper)"]
    assert verdict(found(), None) == [NOT_KNOWN]


@pytest.mark.parametrize(("published", "message"), [(0.48, "OFF by -0.050"), (0.38, "OFF by +0.050")])
def test_a_figure_outside_the_interval_is_called_off(published: float, message: str) -> None:
    [line] = verdict(found(), Published(published, "paper"))
    assert line.startswith(message) and f"{published:.3f} (paper)" in line


def test_a_model_that_cannot_write_or_does_not_need_its_thoughts_is_diagnosed() -> None:
    _, text = verdict(found(text=0.1), None)
    assert text.startswith("NO COT MODE")
    _, thoughts = verdict(found(left=0.4), None)
    assert thoughts.startswith("THOUGHTS HARDLY MATTER: 0.400 of 0.430 is left with thoughts mean")
    assert len(verdict(found(text=0.2), None)) == 1  # within its interval of half


def test_right_answers_without_a_step_are_no_cot_mode() -> None:
    _, text = verdict(found(steps=0.1), None)
    assert text.startswith("NO COT MODE: 0.900 of its written solutions hold no step")
    assert verdict(found(steps=0.48), None) == [NOT_KNOWN]  # within its interval of half


def test_the_embedded_model_thinks_and_writes() -> None:
    accuracies = metric(load_reasoner("embedded"), TASK, 150, seed=3)
    assert accuracies.own.value > 0.9 and accuracies.text.value > 0.95
    assert set(accuracies.without) == {"zero", "mean", "resampled", "removed"}
    assert max(figure.value for figure in accuracies.without.values()) < 0.45  # one-step problems
    assert verdict(accuracies, Published(0.96, "README")) == ["agrees with the published 0.960 (README)"]
    assert flat(accuracies)["accuracy.zero"]["n"] == 150
    assert flat(accuracies)["written.any"]["value"] == 1.0


def test_own_thoughts_given_back_change_nothing_and_donors_answer_otherwise() -> None:
    reasoner = load_reasoner("embedded")
    problems = TASK.problems(Split.HELDOUT, 40, 8, n_steps=2)
    chains = reasoner.think([p.question for p in problems])
    own = without_thoughts(reasoner, TASK, problems, chains.latent_inputs, chains.latent_inputs.mean(0))
    # In the place of the mean, each problem's own thoughts.
    given = without_thoughts(
        reasoner, TASK, problems, torch.zeros_like(chains.latent_inputs), chains.latent_inputs
    )
    right = [TASK.extract_answer(o) == p.answer for o, p in zip(chains.outputs, problems, strict=True)]
    assert given["mean"] == right and sum(right) > 35
    assert sum(own["resampled"]) <= 1 and given["resampled"] == given["zero"]


def test_the_verb_prints_and_keeps_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--reasoner", "embedded", "--problems", "100", "--out", str(tmp_path / "out")]
    evaluate.main(words)
    shown = " ".join(capsys.readouterr().out.split())
    assert "embedded on arithmetic, 100 held-out problems" in shown and "no published figure" in shown
    kept = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert kept["accuracy"]["value"] > 0.9 > kept["accuracy.mean"]["value"]


def test_what_to_evaluate_must_be_given() -> None:
    with pytest.raises(RecipeError, match="nothing to evaluate: give a recipe"):
        evaluate.main(["--seed", "1"])
