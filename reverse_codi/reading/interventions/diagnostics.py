"""Plain ablations of a reasoner's thoughts, and how much of the question a translation reveals.

Shapes: N problems, K thoughts, d width, V problems that are compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reverse_codi.reading.interventions.replace import kept, kept_each
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.tasks.answers import answer_of
from reverse_codi.tasks.base import Task
from reverse_codi.utils.bootstrap import Floats


def step_ablation(reasoner: Reasoner, task: Task, traced: Traced, means: Tensor) -> Floats:
    """[N, K] whether the answer stays when the training mean replaces thought k alone; `means` is [K, d].

    Every thought is tried, causally active or not; later ones are recomputed.
    """
    every = dataclasses.replace(traced, active=torch.ones_like(traced.active))
    single = kept_each(reasoner, task, every, means.expand_as(traced.latent_inputs))
    return single.kept.reshape(len(traced), -1)


def early_decoding(
    reasoner: Reasoner, task: Task, questions: Sequence[str], answers: Sequence[str | None]
) -> Floats:
    """[N, K + 1] whether the model gives its final answer already after m = 0..K thoughts.

    Args:
        reasoner: the frozen model.
        task: reads its answers.
        questions: N questions.
        answers: the N answers after all thoughts; a row without one is 0 throughout.
    """
    columns = []
    for m in range(reasoner.n_thoughts + 1):
        outputs = reasoner.think(questions, n_thoughts=m).outputs
        columns.append(kept([answer_of(reasoner, task, output) for output in outputs], answers))
    return np.stack(columns, axis=1)


def prompt_reconstruction(
    reasoner: Reasoner,
    chains: Sequence[str],
    questions: Sequence[str],
    among: int = 64,
    limit: int | None = None,
) -> Floats:
    """[V] 1 where a text reveals its question: among the questions of its block it fits its own best.

    A text fits best the question after which it is most likely in CoT mode. A tie counts against it, so
    an empty text never hits and a constant one hits in one row a block at most; chance is 1 / `among`.

    Args:
        reasoner: the frozen model; must have a CoT mode.
        chains: N texts, the translation of a whole chain each.
        questions: their N questions.
        among: rows a block; `among` ** 2 likelihoods are computed for each.
        limit: largest number of blocks to compute.

    Returns:
        Hits of the first V rows, in order; rows after the last full block are left out, since fewer
        questions are easier.

    Raises:
        ValueError: there is not one full block.
    """
    n_blocks = len(questions) // among
    if not n_blocks:
        raise ValueError(f"{len(questions)} questions make no block of {among}; give more or lower `among`")
    if limit is not None:
        n_blocks = min(n_blocks, limit)
    blocks = [slice(b * among, (b + 1) * among) for b in range(n_blocks)]
    hits = [_fits_own_best(reasoner, chains[block], questions[block]) for block in blocks]
    return np.concatenate(hits) if hits else np.empty(0)


def _fits_own_best(reasoner: Reasoner, texts: Sequence[str], questions: Sequence[str]) -> Floats:
    pairs = [(text, question) for text in texts for question in questions]
    # Equal pairs are computed once: rounding that differs by batch must not break their tie.
    place = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
    nll = reasoner.nll([text for text, _ in place], [question for _, question in place])
    table = nll[[place[pair] for pair in pairs]].view(len(texts), len(questions))
    own = table.diagonal().clone()
    others = table.clone().fill_diagonal_(torch.inf)
    hits: Floats = (own < others.min(1).values).numpy().astype(np.float64)
    return hits
