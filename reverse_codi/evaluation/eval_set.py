"""The evaluation set: fresh held-out problems, errors, minimal pairs, and the frozen model.

Everything here is the same for the verbalizer and for every control.

Shapes: N traces, K thoughts, d width.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from reverse_codi.evaluation.counterfactual import edited_step
from reverse_codi.evaluation.retrieval_set import RetrievalSet
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reading.lens import lens
from reverse_codi.reading.lens_names import LensNames
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import CachedReader
from reverse_codi.reasoners.base import Chains
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.question_checks import knows
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.base import Problem, Task
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.self_generated_cot import self_generated_claims
from reverse_codi.verbalize.targets import with_answer
from reverse_codi.verbalize.thoughts import Thoughts, thought_sites, thoughts_of

# Share of held-out steps that occur in training traces, from which a task's steps are a closed world.
CLOSED = 0.9


@dataclass(frozen=True)
class EvalContext:
    """The frozen model with its reading, and the training traces that controls and constants come from.

    Attributes:
        reasoner: the latent reasoning model.
        task: where questions and answers come from.
        metric: reader and maps; its reader remembers what it has read.
        encoded: which steps each site encodes.
        train: training traces.
        solved: the steps that the model has written so far, by question.
    """

    reasoner: CodiReasoner
    task: Task
    metric: ThoughtMetric
    encoded: EncodedSteps
    train: TraceStore
    solved: dict[str, list[str]] = field(default_factory=dict)

    @staticmethod
    def of(
        reasoner: CodiReasoner,
        task: Task,
        metric: ThoughtMetric,
        encoded: EncodedSteps,
        train: TraceStore,
        solved: Mapping[str, list[str]] | None = None,
    ) -> EvalContext:
        """With a reader that reads no text twice: controls share most of theirs."""
        cached = ThoughtMetric(CachedReader(metric.reader), metric.maps)
        return EvalContext(reasoner, task, cached, encoded, train, dict(solved or {}))

    @property
    def sites(self) -> list[Site]:
        """h0..h(K-1)."""
        return thought_sites(self.reasoner.n_thoughts)

    def knows(self, text: str) -> bool:
        """Whether the tokenizer knows every word of a text."""
        return knows(self.reasoner, text)

    def written(self, questions: list[str]) -> list[list[str]]:
        """The steps that the model writes for N questions in CoT mode; none is asked twice."""
        if new := [question for question in dict.fromkeys(questions) if question not in self.solved]:
            self.solved.update(zip(new, self_generated_claims(self.reasoner, new), strict=True))
        return [self.solved[question] for question in questions]

    def lens(self, hidden_states: Tensor) -> list[list[str]]:
        """The logit lens of hidden states [N, d], see `reading.lens`."""
        return lens(self.reasoner, hidden_states)

    @functools.cached_property
    def lens_names(self) -> LensNames:
        """Which tokens of the lens name a number."""
        return LensNames(self.reasoner)

    def thoughts(self, traces: TraceStore, claims: list[list[str]] | None = None) -> Thoughts:
        """Every thought of every trace, causally active or not, problem by problem, sites in order.

        Args:
            traces: N traces.
            claims: N lists of claims to take for the steps; the traces' gold ones if None.
        """
        return thoughts_of(traces, self.sites, self.encoded, claims=claims)

    def encoded_by(self, thoughts: Thoughts) -> list[list[int]]:
        """Indices of the steps of which each thought encodes the claim, or the result."""
        pairs = [(site, len(claims)) for site, claims in zip(thoughts.sites, thoughts.claims, strict=True)]
        return [list(self.encoded.content(*pair).steps) for pair in pairs]


@dataclass(frozen=True)
class MinimalPairs:
    """Minimal pairs: the same words, one number changed, another answer.

    Attributes:
        recipients: N problems with their chains.
        donors: the other side of each pair.
        chains: of the recipients.
        donor_chains: of the donors.
        answers: the model's answers to the recipients.
        donor_answers: to the donors.
    """

    recipients: list[Problem]
    donors: list[Problem]
    chains: Chains
    donor_chains: Chains
    answers: list[str | None]
    donor_answers: list[str | None]

    def __len__(self) -> int:
        """N."""
        return len(self.recipients)


@dataclass(frozen=True)
class EvalSet:
    """The questions.

    Attributes:
        context: see `EvalContext`.
        heldout: traces of fresh held-out problems.
        wrong: traces of fresh held-out problems that the model answers wrongly; some are among `heldout`.
        pairs: minimal pairs; None where the task cannot make them.
        seed: of distractors, edits and donors, and of `retrieved`.
        retrieval: how many thoughts retrieval is measured on; all active ones if None.
    """

    context: EvalContext
    heldout: TraceStore
    wrong: TraceStore
    pairs: MinimalPairs | None
    seed: int
    retrieval: int | None = None

    @functools.cached_property
    def gold_steps(self) -> bool:
        """Whether the task has gold steps.

        If it has none, the model's own written steps count how many steps a trace has, which decides what its
        thoughts encode. What needs gold steps to compare with then has no figure.
        """
        return any(self.heldout.claims)

    def steps_of(self, traces: TraceStore) -> list[list[str]]:
        """The claims of each trace's steps: gold ones, or if there are none the model's own written ones."""
        return traces.claims if self.gold_steps else self.context.written(traces.questions)

    @functools.cached_property
    def thoughts(self) -> Thoughts:
        """All thoughts of the held-out traces."""
        return self.context.thoughts(self.heldout, self.steps_of(self.heldout))

    @functools.cached_property
    def wrong_thoughts(self) -> Thoughts:
        """All thoughts of the wrong traces; none where the model makes no error."""
        if not len(self.wrong):
            return self.thoughts.take([])
        return self.context.thoughts(self.wrong, self.steps_of(self.wrong))

    @functools.cached_property
    def steps_encoded(self) -> list[list[int]]:
        """For each held-out thought, the steps of which it encodes the claim, or the result."""
        return self.context.encoded_by(self.thoughts)

    @functools.cached_property
    def gold_claims(self) -> list[list[str]]:
        """For each held-out thought, what it encodes of its problem's claims; see `EncodedSteps.claims`."""
        pairs = zip(self.thoughts.sites, self.thoughts.claims, strict=True)
        return [self.context.encoded.claims(site, claims) for site, claims in pairs]

    def whole(self, row: int) -> bool:
        """Whether a held-out thought encodes its claims whole, and not their results alone."""
        return set(self.gold_claims[row]) <= set(self.thoughts.claims[row])

    @functools.cached_property
    def active(self) -> list[int]:
        """Held-out thoughts that encode a step, or its result."""
        return [row for row, steps in enumerate(self.steps_encoded) if steps]

    @functools.cached_property
    def right(self) -> list[bool]:
        """For each held-out trace, whether its answer is right: only then are gold steps what was thought."""
        return [bool(flag) for flag in self.heldout.correct]

    @functools.cached_property
    def supports(self) -> list[set[str]]:
        """For each held-out trace, every claim that something in it supports.

        Gold claims, the model's own written ones, and both with the answer that the thoughts gave.
        """
        own = self.context.written(self.heldout.questions)
        rows = zip(self.heldout.claims, own, self.heldout.answers, strict=True)
        return [
            {*gold, *written, *with_answer(gold, answer), *with_answer(written, answer)}
            for gold, written, answer in rows
        ]

    @functools.cached_property
    def repertoire(self) -> frozenset[str] | None:
        """Every step of the training traces, where held-out steps are mostly among them; else None.

        A task with a closed world of steps trains nothing beyond it: "20 % 9" may be well formed and mean
        nothing to the model.
        """
        met = frozenset(claim for claims in self.context.train.claims for claim in claims)
        asked = [claim for claims in self.heldout.claims for claim in claims]
        if not asked:
            return None
        return met if sum(claim in met for claim in asked) >= CLOSED * len(asked) else None

    def plausible(self, text: str) -> bool:
        """Whether the model can be expected to compute with the claims of a text."""
        if not self.context.knows(text):
            return False
        true = (equation.claim for equation in parse_equations(text) if equation.holds)
        return self.repertoire is None or all(claim in self.repertoire for claim in true)

    @functools.cached_property
    def editable(self) -> list[int]:
        """Active thoughts of right traces that encode one step, of which a counterfactual can be made."""
        rng, found = random.Random(self.seed), []
        for row in self.active:
            claims, (step, *more) = self.thoughts.claims[row], self.steps_encoded[row]
            if not more and self.whole(row) and self.right[self.thoughts.problems[row]]:
                found += [row] if edited_step(claims, step, rng, self.plausible) else []
        return found

    @functools.cached_property
    def retrieved(self) -> list[int]:
        """Active thoughts that are looked for among other thoughts' texts."""
        if self.retrieval is None or self.retrieval >= len(self.active):
            return self.active
        return sorted(random.Random(self.seed).sample(self.active, self.retrieval))

    @functools.cached_property
    def candidates(self) -> RetrievalSet:
        """The other texts that a thought's own must beat."""
        return RetrievalSet(self.thoughts, self.steps_encoded, self.context.knows, self.seed)

    @functools.cached_property
    def traced(self) -> Traced:
        """The held-out traces, for interventions."""
        return Traced.of(self.heldout, self.context.encoded, self.steps_of(self.heldout))

    def predicted(self, thoughts: Thoughts, texts: list[str]) -> Tensor:
        """What texts stand for, [N, d]."""
        return self.context.metric.predict(texts, thoughts.sites, thoughts.questions)
