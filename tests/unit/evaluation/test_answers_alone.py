"""A model that answers with the number alone, as `codi-tokens` checkpoints do, is right where it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reverse_codi.evaluation.accuracy import metric
from reverse_codi.reading.interventions.causal_activity import causal_activity
from reverse_codi.reading.interventions.diagnostics import early_decoding
from reverse_codi.reading.interventions.replace import kept_all
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.cot_mode import conclude
from reverse_codi.reasoners.latent_lm import CachedContext, LatentLM
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.tasks.answers import answer_of
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from reverse_codi.traces.collect import TraceRequest, collect
from reward.answer_preserved import answer_in
from tests.tiny import make_tiny_reasoner

TASK = Arithmetic()


class Terse(LatentLM):
    """The embedded model, which is given its cue after eot and so writes the rest alone."""

    cue: tuple[int, ...] = ()

    def greedy(
        self, context: CachedContext, first: Tensor, stop_id: int, max_new: int, unwritten: Sequence[int] = ()
    ) -> list[list[int]]:
        if bool((first == self.eot_id).all()):
            *given, last = [self.eot_id, *self.cue]
            tokens = torch.tensor([given]).expand(len(first), -1)
            self.extend(context, self.embed(tokens))
            first = torch.full_like(first, last)
        return super().greedy(context, first, stop_id, max_new, unwritten)


@pytest.fixture(scope="module")
def embedded() -> CodiReasoner:
    return load_reasoner("embedded")


@pytest.fixture(scope="module")
def terse() -> CodiReasoner:
    reasoner = load_reasoner("embedded")
    old = reasoner.model
    model = Terse(old.lm, old.prj, reasoner.n_thoughts, reasoner.config.bot_id, reasoner.config.eot_id)
    model.cue = tuple(reasoner.ids("The answer is:"))
    return CodiReasoner(model, reasoner.tokenizer, replace(reasoner.config, cue=""))


def test_it_is_as_right_as_with_a_cue(terse: CodiReasoner, embedded: CodiReasoner) -> None:
    problems = TASK.problems(Split.HELDOUT, 60, 3)
    outputs = terse.think([p.question for p in problems]).outputs
    assert all(output.strip().isdigit() for output in outputs)
    with_cue = embedded.think([p.question for p in problems]).outputs
    answers = [answer_of(terse, TASK, output) for output in outputs]
    assert answers == [answer_of(embedded, TASK, output) for output in with_cue]
    assert answer_of(embedded, TASK, outputs[0]) is None
    assert [answer_in(terse, o) for o in outputs] == [answer_in(embedded, o) for o in with_cue] == answers


def test_accuracy_and_traces_count_it(terse: CodiReasoner, tmp_path: Path) -> None:
    found = metric(terse, TASK, 60, 3)
    assert found.own.value > 0.9 and found.text.value > 0.9
    store = collect(terse, TASK, TraceRequest(split=Split.HELDOUT, n=40, seed=1, out=tmp_path))
    assert sum(map(bool, store.correct)) > 35 and None not in store.answers


def test_interventions_see_its_answers(terse: CodiReasoner) -> None:
    problems = TASK.problems(Split.HELDOUT, 30, 5, n_steps=3)
    questions = [p.question for p in problems]
    chains = terse.think(questions)
    answers = [answer_of(terse, TASK, output) for output in chains.outputs]
    active = torch.ones(chains.latent_inputs.shape[:2], dtype=torch.bool)
    traced = Traced(questions, chains.latent_inputs, chains.hidden_states, answers, active)
    assert kept_all(terse, TASK, traced, chains.latent_inputs).mean() == 1
    assert kept_all(terse, TASK, traced, chains.latent_inputs.roll(1, 0)).mean() < 0.3
    early = early_decoding(terse, TASK, questions, answers).mean(0)
    assert early[-1] == 1 > early[0]
    moved = causal_activity(terse, TASK, TASK.minimal_pairs(Split.HELDOUT, 20, 2, n_steps=3)).moved()
    assert max(moved.values()) > 0.5


def test_cot_mode_parts_steps_and_answer_by_eot() -> None:
    tiny = make_tiny_reasoner()
    alone = CodiReasoner(tiny.model, tiny.tokenizer, replace(tiny.config, cue=""))
    eot = tiny.config.eot_id
    steps, answer = tiny.ids("12 + 5 = 17."), tiny.ids("17")
    written = alone.solution([*steps, eot, *answer])
    assert written.split("\n") == ["12 + 5 = 17.", "17"]
    assert answer_of(alone, TASK, written) == "17"
    assert answer_of(alone, TASK, alone.solution(steps)) is None  # cut off before its answer
    assert answer_of(alone, TASK, alone.solution([*steps, eot])) is None
    assert tiny.solution(steps) == "12 + 5 = 17."


def test_the_answer_is_asked_for_right_after_a_solution(
    monkeypatch: pytest.MonkeyPatch, embedded: CodiReasoner
) -> None:
    problems = TASK.problems(Split.HELDOUT, 8, 2, n_steps=2)
    questions = [p.question for p in problems]
    solutions = [" ".join(f"{claim}." for claim in p.claims) for p in problems]
    concluded = conclude(embedded, questions, solutions)
    cue = embedded.answer_cue
    begun = embedded.write(questions, [f"{solution} {cue}" for solution in solutions])
    assert concluded == [f"{cue} {answer}" for answer in begun]
    assert [answer_of(embedded, TASK, text) for text in concluded] == [p.answer for p in problems]

    asked: list[list[int]] = []
    alone = CodiReasoner(embedded.model, embedded.tokenizer, replace(embedded.config, cue=""))
    monkeypatch.setattr(alone, "continued", lambda rows: asked.extend(rows) or ["5"] * len(rows))
    assert conclude(alone, questions, ["", *solutions[1:]]) == ["5"] * 8
    eot = alone.config.eot_id
    assert asked[0] == [*alone.before_steps(questions[:1])[0], eot]
    assert asked[1] == [*alone.before_steps(questions[1:2])[0], *alone.ids(solutions[1]), eot]
