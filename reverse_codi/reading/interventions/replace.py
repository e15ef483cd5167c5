"""Replace thoughts by other vectors, and check which answers stay.

The decisive control is `other_text`. A translation carries its thought only if the answer stays with it, and
changes with the translation of another problem's thought.

Shapes: N problems, K thoughts, d width, M single replacements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.base import Patch, Reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import Prefix
from reverse_codi.tasks.answers import answer_of
from reverse_codi.tasks.base import Task
from reverse_codi.utils.bootstrap import Floats


class Replacement(StrEnum):
    """The kind of vector that replaces a thought."""

    ZERO = "zero"
    MEAN = "mean"
    NOISE = "noise"
    OTHER = "other"
    EMPTY_TEXT = "empty_text"
    OTHER_TEXT = "other_text"
    GOLD_TEXT = "gold_text"
    TRANSLATION = "translation"


@dataclass(frozen=True)
class Moments:
    """Latent inputs of training traces, site by site.

    Attributes:
        mean: [K, d].
        deviation: [K, d] standard deviation of each dimension.
    """

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def of(latent_inputs: Tensor) -> Moments:
        """From latent inputs [N, K, d] of training traces."""
        return Moments(latent_inputs.mean(0), latent_inputs.std(0))


@dataclass(frozen=True)
class Sources:
    """The material for replacements in N problems.

    Attributes:
        reasoner: the frozen model.
        metric: its maps from text to hidden state, one for each thought.
        moments: of training traces.
        donors: N row numbers (`Traced.donors`).
        gold: N lists of K gold texts.
        translations: N lists of K translations.
        seed: seed of the noise.
    """

    reasoner: Reasoner
    metric: ThoughtMetric
    moments: Moments
    donors: Sequence[int]
    gold: Sequence[Sequence[str]]
    translations: Sequence[Sequence[str]]
    seed: int = 0


def latent_inputs_of_each(
    reasoner: Reasoner,
    metric: ThoughtMetric,
    texts: Sequence[str],
    thoughts: Sequence[int],
    questions: Sequence[str],
) -> Tensor:
    """The latent inputs [M, d] that M texts give; text i replaces thought `thoughts[i]`.

    Each distinct text is read once and each distinct (text, thought) mapped once.
    """
    if not texts:
        return torch.empty(0, reasoner.width)
    with_question = metric.reader.spec.prefix is Prefix.QUESTION
    keys = list(zip(texts, questions if with_question else [""] * len(texts), strict=True))
    row_of = {key: row for row, key in enumerate(dict.fromkeys(keys))}
    features = metric.reader.features([text for text, _ in row_of], [question for _, question in row_of])
    wanted = list(zip(keys, thoughts, strict=True))
    place_of = {pair: place for place, pair in enumerate(dict.fromkeys(wanted))}
    predicted = metric.apply(
        features[[row_of[key] for key, _ in place_of]], [Site("h", k) for _, k in place_of]
    )
    return reasoner.project(predicted)[[place_of[pair] for pair in wanted]]


def inputs_of_texts(
    reasoner: Reasoner, metric: ThoughtMetric, texts: Sequence[Sequence[str]], questions: Sequence[str]
) -> Tensor:
    """The latent inputs [N, K, d] that N lists of K texts give; column k is read as hidden state h_k.

    Raises:
        ValueError: a row has not K texts.
        KeyError: a thought has no map.
    """
    n, k = len(texts), reasoner.n_thoughts
    for row, of_row in enumerate(texts):
        if len(of_row) != k:
            raise ValueError(f"row {row} has {len(of_row)} texts; give one for each of the {k} thoughts")
    flat = [text for of_row in texts for text in of_row]
    asked = [question for question in questions for _ in range(k)]
    return latent_inputs_of_each(reasoner, metric, flat, list(range(k)) * n, asked).view(n, k, reasoner.width)


def replacement_vectors(kind: Replacement, traced: Traced, sources: Sources) -> Tensor:
    """The vectors [N, K, d] of one kind of replacement, for causally active and inactive thoughts."""

    def read(texts: Sequence[Sequence[str]]) -> Tensor:
        return inputs_of_texts(sources.reasoner, sources.metric, texts, traced.questions)

    own, moments = traced.latent_inputs, sources.moments
    match kind:
        case Replacement.ZERO:
            return torch.zeros_like(own)
        case Replacement.MEAN:
            return moments.mean.expand_as(own).clone()
        case Replacement.NOISE:
            generator = torch.Generator().manual_seed(sources.seed)
            return moments.mean + moments.deviation * torch.randn(own.shape, generator=generator)
        case Replacement.OTHER:
            return own[list(sources.donors)]
        case Replacement.EMPTY_TEXT:
            return read([[""] * own.shape[1]] * len(traced))
        case Replacement.OTHER_TEXT:
            return read([sources.translations[row] for row in sources.donors])
        case Replacement.GOLD_TEXT:
            return read(sources.gold)
        case Replacement.TRANSLATION:
            return read(sources.translations)


def answers_with(
    reasoner: Reasoner, task: Task, traced: Traced, latent_inputs: Tensor, where: Tensor | None = None
) -> list[str | None]:
    """N answers after `latent_inputs` [N, K, d] replace the thoughts `where` [N, K].

    None means the causally active thoughts. Later thoughts are recomputed unless they are replaced as well.
    """
    chains = reasoner.think(traced.questions, Patch(latent_inputs, traced.active if where is None else where))
    return [answer_of(reasoner, task, output) for output in chains.outputs]


def kept(answers: Sequence[str | None], own: Sequence[str | None]) -> Floats:
    """[N] 1 where the answer is the model's own; a missing answer counts as lost."""
    same = [a is not None and a == b for a, b in zip(answers, own, strict=True)]
    return np.array(same, dtype=np.float64)


def kept_all(reasoner: Reasoner, task: Task, traced: Traced, latent_inputs: Tensor) -> Floats:
    """[N] whether the answer stays with all causally active thoughts replaced; see `Traced.usable`."""
    return kept(answers_with(reasoner, task, traced, latent_inputs), traced.answers)


@dataclass(frozen=True)
class KeptEach:
    """Answers after single replacements.

    Attributes:
        rows: M row numbers.
        thoughts: M thought numbers k.
        kept: [M] 1 where the answer stayed.
    """

    rows: list[int]
    thoughts: list[int]
    kept: Floats


def kept_each(reasoner: Reasoner, task: Task, traced: Traced, latent_inputs: Tensor) -> KeptEach:
    """Whether the answer stays when one causally active thought is replaced, for each such thought in turn.

    Later thoughts are recomputed.
    """
    rows, thoughts = (index.tolist() for index in traced.active.nonzero(as_tuple=True))
    single = traced.take(rows)
    answers = answers_with(reasoner, task, single, latent_inputs[rows], only(thoughts, reasoner.n_thoughts))
    return KeptEach(rows, thoughts, kept(answers, single.answers))


def only(thoughts: Sequence[int], n_thoughts: int) -> Tensor:
    """[M, K] bool, in row i true at `thoughts[i]` alone."""
    return torch.tensor(thoughts, dtype=torch.long)[:, None] == torch.arange(n_thoughts)
