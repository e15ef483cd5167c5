"""What replacing each thought does to the answer: by its text, by other texts and vectors, by an edited text.

Shapes: N traces, K thoughts, d width.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverse_codi.evaluation.counterfactual import edited_step
from reverse_codi.reading.interventions.follow import Edits, follow
from reverse_codi.reading.interventions.replace import (
    Moments,
    Replacement,
    Sources,
    answers_with,
    inputs_of_texts,
    only,
    replacement_vectors,
)
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.question_checks import knows
from reverse_codi.reports.control_texts import Texts
from reverse_codi.reports.records import REPLACEMENTS, Control, Effect
from reverse_codi.tasks.answers import answer_of
from reverse_codi.tasks.base import Task
from reverse_codi.tasks.claims import result_of
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.verbalize.thoughts import thought_sites
from reverse_codi.verbalize.translations.record import Translation

# Which of the possible edits is made of a translation.
SEED = 0


@dataclass(frozen=True)
class Model:
    """Who thinks, who reads, and who knows an answer.

    Attributes:
        reasoner: the frozen model.
        metric: reads texts; it needs a map for each thought.
        task: finds the answer in what the model writes.
    """

    reasoner: CodiReasoner
    metric: ThoughtMetric
    task: Task

    def thinks(self, questions: Sequence[str]) -> Traced:
        """The model's own chains; every thought is to be replaced, one at a time."""
        chains = self.reasoner.think(questions)
        answers = [answer_of(self.reasoner, self.task, output) for output in chains.outputs]
        every = torch.ones(chains.latent_inputs.shape[:2], dtype=torch.bool)
        return Traced(list(questions), chains.latent_inputs, chains.hidden_states, answers, every)


def effects(
    model: Model,
    questions: Sequence[str],
    traces: Sequence[Sequence[Translation]],
    controls: Sequence[Sequence[Texts]],
) -> list[list[list[Effect]]]:
    """Effects on each thought of N traces, in the order of `REPLACEMENTS`; then the edit if there is one.

    Where the model states no answer, none is kept.

    Args:
        model: who thinks and reads.
        questions: N questions.
        traces: of each the translations of its K thoughts.
        controls: of each thought the controls' texts.
    """
    traced = model.thinks(questions)
    k = model.reasoner.n_thoughts
    pairs = [(row, thought) for row in range(len(traced)) for thought in range(k)]
    single = traced.take([row for row, _ in pairs])
    where = only([thought for _, thought in pairs], k)
    found: list[list[list[Effect]]] = [[[] for _ in range(k)] for _ in traces]
    for kind in REPLACEMENTS:
        texts = _texts(kind, traces, controls)
        vectors = _vectors(model, kind, traced, texts)[[row for row, _ in pairs]]
        answers = answers_with(model.reasoner, model.task, single, vectors, where)
        for (row, thought), answer in zip(pairs, answers, strict=True):
            if kind is Replacement.OTHER_TEXT and Control.OTHER not in controls[row][thought]:
                continue  # no other thought gets another text
            own, text = traced.answers[row], None if texts is None else texts[row][thought]
            kept = answer is not None and answer == own
            found[row][thought].append(Effect(kind, text, answer, own, kept))
    for row, thought, effect in _edited(model, traced, traces):
        found[row][thought].append(effect)
    return found


def _texts(
    kind: Replacement, traces: Sequence[Sequence[Translation]], controls: Sequence[Sequence[Texts]]
) -> list[list[str]] | None:
    """The text of each thought that is read in its place; None for a vector."""
    match kind:
        case Replacement.TRANSLATION:
            return [[row.translation for row in rows] for rows in traces]
        case Replacement.OTHER_TEXT:
            return [[texts.get(Control.OTHER, "") for texts in of_trace] for of_trace in controls]
        case Replacement.EMPTY_TEXT:
            return [["" for _ in rows] for rows in traces]
        case _:
            return None


def _vectors(model: Model, kind: Replacement, traced: Traced, texts: list[list[str]] | None) -> Tensor:
    """What replaces the thoughts, [N, K, d]."""
    reasoner, metric = model.reasoner, model.metric
    if texts is not None:
        return inputs_of_texts(reasoner, metric, texts, traced.questions)
    maps = [metric.map_of(site) for site in thought_sites(reasoner.n_thoughts)]
    if kind is Replacement.OTHER:
        turned = [
            torch.stack(
                [own.reference[row % len(own.reference)] if len(own.reference) else own.mean for own in maps]
            )
            for row in range(len(traced))
        ]
        return reasoner.project(torch.stack(turned))
    mean = reasoner.project(torch.stack([own.mean for own in maps]))
    moments = Moments(mean, torch.zeros_like(mean))
    return replacement_vectors(kind, traced, Sources(reasoner, metric, moments, [], [], []))


def _edited(
    model: Model, traced: Traced, traces: Sequence[Sequence[Translation]]
) -> list[tuple[int, int, Effect]]:
    """The last operand of each translation changed, and its result with it: (row, thought, effect)."""
    rng = random.Random(SEED)
    edits = Edits([], [], [], [])
    for row, (rows, answer) in enumerate(zip(traces, traced.answers, strict=True)):
        steps = _steps(rows)
        chain = [claim for _, claim in steps]
        if not chain or result_of(chain[-1]) != answer:
            continue  # the translations do not lead to the answer, so no edit implies another
        for step, (thought, _) in enumerate(steps):
            edit = edited_step(chain, step, rng, lambda text: knows(model.reasoner, text))
            if edit is not None:
                edits.rows.append(row)
                edits.thoughts.append(thought)
                edits.texts.append(f"{edit.claim}.")
                edits.expected.append(edit.answer)
    if not edits.rows:
        return []
    followed = follow(model.reasoner, model.metric, model.task, traced, edits)
    columns = zip(edits.rows, edits.thoughts, edits.texts, followed.answers, edits.expected, strict=True)
    return [
        (row, thought, Effect(None, text, answer, expected, answer == expected))
        for row, thought, text, answer, expected in columns
    ]


def _steps(rows: Sequence[Translation]) -> list[tuple[int, str]]:
    """The thoughts of a trace that say one equation and are not distrusted, each with its claim."""
    said = [(thought, parse_equations(row.translation)) for thought, row in enumerate(rows)]
    return [
        (thought, claims[0].claim)
        for thought, claims in said
        if len(claims) == 1 and rows[thought].trusted is not False
    ]
