"""Thoughts to try rewards on, and for each of them texts whose worth is known beforehand.

Shapes: N thoughts, S slots, M distractors, d width.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from pydantic import Field
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.evaluation.defaults import TRIAL_PROBLEMS
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.edits import shuffled
from reverse_codi.reading.hard_negatives import CONSTANT
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import ASSETS, load_reasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.tasks import Arithmetic, Split
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.config import Section
from reverse_codi.verbalize.distractors import Distractors, seed_of
from reverse_codi.verbalize.thoughts import Thoughts, thoughts_of
from reverse_codi.verbalize.translator import Translator

# Fresh problems: no recipe trains or selects on seeds from here on, and no evaluation set uses them.
FIRST_SEED = 700_000
DISTRACTORS = 15


class TextKind(StrEnum):
    """Texts whose worth is known."""

    GOLD = "gold"
    """The steps that the thought holds."""
    SAMPLED = "sampled"
    """A sampled text of the verbalizer."""
    OTHER = "other"
    """The gold text of another problem's thought of the same site: well formed, and wrong."""
    SHUFFLED = "shuffled"
    """The words of the gold text in another order."""
    EMPTY = "empty"
    """No text: what a failed text is."""
    CONSTANT = "constant"
    """One claim for every thought."""


WORTHLESS = (TextKind.OTHER, TextKind.SHUFFLED, TextKind.EMPTY, TextKind.CONSTANT)
"""What no reward that is sensitive to the content may value as it values gold."""


class TrialSource(Section):
    """Where the thoughts of a trial come from."""

    reasoner: str = EMBEDDED
    """Folder, hub id or name of the reasoner."""
    verbalizer: Path = ASSETS / "verbalizer"
    """Its folder: maps, encoded steps, and who writes the sampled texts."""
    traces: Path | None = None
    """A trace store with steps; if none, the embedded reasoner thinks about fresh held-out problems."""
    problems: int = Field(default=TRIAL_PROBLEMS, ge=2)
    """How many problems; of a trace store, the first ones."""
    seed: int = 0
    """Of problems, samples, distractors and shuffled words."""


@dataclass(frozen=True)
class Bench:
    """Thoughts that encode a step, with texts.

    Attributes:
        reasoner: who thought them.
        metric: how texts are read.
        thoughts: N thoughts.
        texts: N texts of each kind.
        seed: of distractors.
    """

    reasoner: CodiReasoner
    metric: ThoughtMetric
    thoughts: Thoughts
    texts: Mapping[TextKind, list[str]]
    seed: int

    @staticmethod
    def of(source: TrialSource) -> Bench:
        """Load, think and write.

        Raises:
            UserError: a folder does not hold what it must, the traces are of another reasoner or without
                steps, or no two problems have a thought of one site.
        """
        reasoner = load_reasoner(source.reasoner)
        metric = ThoughtMetric.load(source.verbalizer, reasoner)
        encoded = EncodedSteps.load(source.verbalizer)
        with _traces(source, reasoner) as traces:
            if ANSWER in metric.maps:
                traces = traces.with_answer_states(reasoner)
            thoughts = with_others(thoughts_of(traces, metric.sites, encoded, active_only=True))
        translator = Translator(reasoner, source.verbalizer)
        sampled = translator.sampled(thoughts.slots, 1, source.seed)
        others = other_thoughts(thoughts, thoughts.sites, thoughts.questions, 1, source.seed)
        rng = random.Random(source.seed)
        texts = {
            TextKind.GOLD: thoughts.gold,
            TextKind.SAMPLED: [text for [text] in sampled],
            TextKind.OTHER: [thoughts.gold[row] for [row] in others],
            TextKind.SHUFFLED: [shuffled(text, rng) for text in thoughts.gold],
            TextKind.EMPTY: [""] * len(thoughts),
            TextKind.CONSTANT: [CONSTANT] * len(thoughts),
        }
        return Bench(reasoner, metric, thoughts, texts, source.seed)

    def rows(self, texts: Sequence[str]) -> Candidates:
        """The first thoughts with one text each, as one training step would have them scored."""
        thoughts = self.thoughts.take(range(len(texts)))
        return self.rows_of(texts, thoughts.questions, thoughts.sites, thoughts.targets, thoughts.claims)

    def rows_of(
        self,
        texts: Sequence[str],
        questions: list[str],
        sites: list[Site],
        targets: Tensor,
        claims: list[list[str]],
    ) -> Candidates:
        """Any N thoughts with one text each; distractors come from the bench."""
        others = other_thoughts(self.thoughts, sites, questions, DISTRACTORS, self.seed)
        return Candidates(
            texts=list(texts),
            token_ids=[self.reasoner.ids(text) for text in texts],
            questions=questions,
            sites=sites,
            targets=targets,
            distractors=self.thoughts.targets[torch.tensor(others)],
            finished=[True] * len(texts),
            claims=claims,
        )


def with_others(thoughts: Thoughts) -> Thoughts:
    """Thoughts that are not the only ones of their site; the others have nothing to compare with.

    Raises:
        UserError: none is left.
    """
    of_site = Counter(thoughts.sites)
    rows = [row for row, site in enumerate(thoughts.sites) if of_site[site] > 1]
    if not rows:
        raise UserError("no two problems have a thought of one site to compare; raise --problems")
    return thoughts.take(rows)


def other_thoughts(
    thoughts: Thoughts, sites: Sequence[Site], questions: Sequence[str], n: int, seed: int
) -> list[list[int]]:
    """For each site and question `n` rows of `thoughts`: of that site, of another question.

    Raises:
        UserError: there is none.
    """
    others = Distractors(thoughts.sites, thoughts.questions)
    return [
        others.rows(site, question, n, seed_of(seed, place))
        for place, (site, question) in enumerate(zip(sites, questions, strict=True))
    ]


@contextmanager
def _traces(source: TrialSource, reasoner: CodiReasoner) -> Iterator[TraceStore]:
    if source.traces is not None:
        store = TraceStore.open(source.traces, reasoner)
        chosen = store.select(range(min(source.problems, len(store))))
        if not any(chosen.claims):
            raise UserError(
                f"{source.traces} holds no steps, which gold texts are made of; import it with claims"
            )
        yield chosen
        return
    if source.reasoner != EMBEDDED:
        raise UserError(f"what should {source.reasoner} think about? give --traces, a trace store of it")
    with TemporaryDirectory() as folder:
        asked = TraceRequest(
            split=Split.HELDOUT,
            n=source.problems,
            seed=FIRST_SEED + source.seed,
            out=folder,
            shard_rows=source.problems,
            batch_size=source.problems,
        )
        yield collect(reasoner, Arithmetic(), asked)
