"""Thoughts whose content is known by construction: they tell a broken reading from an empty thought.

A planted thought is a fixed random map of the read states of a text, and noise. What a site is planted with
differs: a step, nothing, a result alone, two steps. Preparation (probes and maps) must find that again, at
the width of the model that will be read.

Shapes: N problems, K thoughts, F features, d width.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.claims import NO_STEP, Content
from reverse_codi.reading.cross_check import AMONG, distinct, site_check
from reverse_codi.reading.fit import retrieval, within_memory
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.schema import Recipe
from reverse_codi.tasks.base import Problem, Split
from reverse_codi.traces.imports import import_arrays
from reverse_codi.traces.store import TraceStore
from reverse_codi.training.prepare import Prepared, Traces, fit_reading

PLANTS = (
    Content((0,)),
    Content(()),
    Content((1,), whole=False),
    Content((0, 1)),
    Content((1,)),
    Content((0,), whole=False),
)
"""What sites are planted with in turn."""


@dataclass(frozen=True)
class Planting:
    """Planted thoughts, and the map that made them.

    Attributes:
        thoughts: of each site [N, d], of size 1 but for the noise.
        optimum: of each site that holds something, the map that made its thoughts, with its noise.
        reader: read the texts for it.
    """

    thoughts: dict[Site, Tensor]
    optimum: dict[Site, AffineMap]
    reader: Reader


@dataclass(frozen=True)
class Planted:
    """Planted traces of training and held-out problems.

    Attributes:
        train: for preparation.
        heldout: for its figures.
        contents: what each site holds.
        planting: what made them.
    """

    train: TraceStore
    heldout: TraceStore
    contents: dict[Site, Content]
    planting: Planting


@dataclass(frozen=True)
class PlantedRow:
    """What preparation made of one site.

    Attributes:
        site: the site.
        plant: what it was planted with.
        held: share of problems whose gold text at the site is what was planted.
        retrieval: share of held-out thoughts whose planted text is the nearest of 64, by the fitted map.
        optimum: the same by the map that made the thoughts. None where nothing is planted, or too little.
        match: mean match of the planted texts, by the fitted map.
    """

    site: Site
    plant: Content
    held: float
    retrieval: float | None
    optimum: float | None
    match: float | None


def plant(
    recipe: Recipe,
    reasoner: CodiReasoner,
    problems: tuple[Sequence[Problem], Sequence[Problem]],
    folder: Path,
    noise: float,
    seed: int = 0,
) -> Planted:
    """Make planted traces of training and held-out problems.

    Args:
        recipe: how texts are read (`reading`).
        reasoner: reads them; its own thoughts are not used.
        problems: training and held-out.
        folder: gets the two trace stores.
        noise: standard deviation of the noise, where that of the planted states is 1.
        seed: of maps and noise.
    """
    sites = [Site("h", k) for k in range(reasoner.n_thoughts)]
    contents = {site: PLANTS[k % len(PLANTS)] for k, site in enumerate(sites)}
    both = [*problems[0], *problems[1]]
    texts = {site: [content.text(problem.claims) for problem in both] for site, content in contents.items()}
    texts[Site("h", reasoner.n_thoughts)] = [NO_STEP] * len(both)  # the end of a chain, which no text states
    planting = plant_texts(recipe, reasoner, texts, [problem.question for problem in both], noise, seed)
    hidden = torch.stack(list(planting.thoughts.values()), 1).numpy()
    cut = len(problems[0])
    train, heldout = (
        _store(folder / name, reasoner, both[start:stop], hidden[start:stop])
        for name, start, stop in (("traces", 0, cut), ("traces-heldout", cut, len(both)))
    )
    return Planted(train, heldout, contents, planting)


def plant_texts(
    recipe: Recipe,
    reasoner: CodiReasoner,
    texts: Mapping[Site, Sequence[str]],
    questions: Sequence[str],
    noise: float,
    seed: int = 0,
) -> Planting:
    """Make thoughts that hold texts.

    Args:
        recipe: how texts are read (`reading`).
        reasoner: reads them.
        texts: what each site holds, N each; "(no step)" is nothing.
        questions: N questions.
        noise: standard deviation of the noise, where that of the planted states is 1.
        seed: of maps and noise.
    """
    memory = recipe.reading.memory_gib * 2**30
    reader = within_memory(Reader(reasoner, recipe.reading.spec), texts, questions, memory)
    generator = torch.Generator().manual_seed(seed)
    thoughts, optimum = {}, {}
    for site, of in texts.items():
        thoughts[site], found = _planted(reader, of, questions, noise, generator)
        if found is not None:
            optimum[site] = found
    return Planting(thoughts, optimum, reader)


def _planted(
    reader: Reader, texts: Sequence[str], questions: Sequence[str], noise: float, generator: torch.Generator
) -> tuple[Tensor, AffineMap | None]:
    """Thoughts [N, d] that hold the texts, and the map that made them; None where no text says anything."""
    width = reader.reasoner.width
    says = torch.tensor([text != NO_STEP for text in texts])
    # What holds nothing is as large as what holds something.
    thoughts = (1 + noise**2) ** 0.5 * torch.randn(len(texts), width, generator=generator)
    if not bool(says.any()):
        return thoughts, None
    rows = says.nonzero()[:, 0].tolist()
    features = reader.features([texts[row] for row in rows], [questions[row] for row in rows])
    mean, deviation = features.mean(0), features.std(0).clamp(min=1e-6)
    if reader.basis is not None:  # its features' scales count
        deviation = torch.ones_like(deviation)
    weight = torch.randn(features.shape[1], width, generator=generator) / deviation[:, None]
    weight = weight / ((features - mean) @ weight).std()
    drawn = torch.randn(len(rows), width, generator=generator)
    thoughts[says] = (features - mean) @ weight + noise * drawn
    whitener = torch.eye(width) / max(noise, 1e-3)
    return thoughts, AffineMap(weight, -mean @ weight, torch.zeros(width), whitener, torch.empty(0, width))


def _store(
    folder: Path, reasoner: CodiReasoner, problems: Sequence[Problem], hidden: np.ndarray
) -> TraceStore:
    """A trace store of planted thoughts; every answer is right."""
    return import_arrays(
        folder,
        {"hidden_states": hidden, "latent_inputs": hidden[:, :-1]},
        {
            "questions": [problem.question for problem in problems],
            "gold": [problem.answer for problem in problems],
            "claims": [list(problem.claims) for problem in problems],
            "answers": [problem.answer for problem in problems],
            "reasoner_hash": reasoner.content_hash,
            "tokenizer_hash": reasoner.tokenizer_hash,
        },
    )


def recovered(recipe: Recipe, reasoner: CodiReasoner, planted: Planted, folder: Path) -> list[PlantedRow]:
    """Let preparation find what was planted, and compare.

    Args:
        recipe: its section `reading` is used as it stands, but on gold steps.
        reasoner: as for `plant`.
        planted: the traces.
        folder: gets probes and maps.
    """
    reading = recipe.reading.model_copy(update={"fit_on": "gold"})
    sites = list(planted.contents)
    traces = Traces(reasoner, planted.train, None, planted.train.claims, planted.heldout, sites)
    # Swaps would say what the reasoner's own thoughts do.
    prepared = fit_reading(recipe.model_copy(update={"reading": reading}), traces, folder, swaps=False)
    return [_row(prepared, planted, site) for site in sites]


def _row(prepared: Prepared, planted: Planted, site: Site) -> PlantedRow:
    what, heldout = planted.contents[site], planted.heldout
    texts = [what.text(claims) for claims in heldout.claims]
    found = [prepared.encoded.text(site, claims) for claims in heldout.claims]
    held = sum(one == other for one, other in zip(texts, found, strict=True)) / len(texts)
    rows = distinct(texts)
    if len(rows) < AMONG:
        return PlantedRow(site, what, held, None, None, None)
    check, best = site_check(prepared.metric, site, heldout, texts, rows), planted.planting.optimum[site]
    said, asked = [texts[row] for row in rows], [heldout.questions[row] for row in rows]
    predicted = best.predict(planted.planting.reader.features(said, asked))
    optimum = retrieval(best, heldout.vectors(site)[rows], predicted, AMONG)
    return PlantedRow(site, what, held, check.retrieval, optimum, check.match)


def problems_of(recipe: Recipe, n: int, n_heldout: int) -> tuple[list[Problem], list[Problem]]:
    """Training and held-out problems with steps, in a random order."""
    task = recipe.task.build()
    both = tuple(
        [p for p in task.problems(split, count, recipe.trace.seed) if p.claims]
        for split, count in ((Split.TRAIN, n), (Split.HELDOUT, n_heldout))
    )
    for problems in both:
        random.Random(recipe.trace.seed).shuffle(problems)
    return both[0], both[1]
