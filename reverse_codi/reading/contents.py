"""What a thought holds where probes leave it open: the content whose text tells most about it.

Probes go from thoughts to labels, and blur where a thought holds much: of two planted steps they read the
worst parts at .50 and .31, and the second result at .88, which would make the thought "= 34". A map from read
texts to thoughts has no such trouble. Each candidate is written down for some hundred traces, a map is
fitted, and the candidate that leaves least of the thoughts unexplained, rows left out, is what they hold. On
traces of the embedded reasoner it is the right one at every site.

Time: a candidate is read once for each number of steps, by 400 texts. Solving takes little beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from torch import Tensor

from reverse_codi.reading.affine import RIDGES
from reverse_codi.reading.claims import LEAST, Content, EncodedSteps
from reverse_codi.reading.fit import within_memory
from reverse_codi.reading.reader import Reader
from reverse_codi.reading.ridge import ridge
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import MEMORY_GIB
from reverse_codi.traces.store import TraceStore

log = logging.getLogger(__name__)

# Traces of one number of steps that contents are compared on; too few are joined by the next lengths'. The
# right content wins from about 300 on; of 100, results win over whole steps because they have fewer words.
ROWS = 400

Key = tuple[Site, int]


def choose_contents(
    reader: Reader,
    encoded: EncodedSteps,
    train: TraceStore,
    claims: Sequence[Sequence[str]],
    memory_gib: float = MEMORY_GIB,
) -> EncodedSteps:
    """Let texts decide what sites hold of which probes read several steps, or a result alone.

    Args:
        reader: reads texts as the maps will.
        encoded: what probes read.
        train: N training traces.
        claims: their N lists of claims.
        memory_gib: see `fit.fit_metric`.

    Returns:
        What probes read, with `chosen`.
    """
    open_ = {key: found for key in encoded.accuracy if len(found := candidates(encoded, *key)) > 1}
    shared: dict[tuple[int, ...], list[Key]] = {}
    for key in open_:
        shared.setdefault(tuple(_rows(claims, key[1])), []).append(key)
    chosen = {}
    for rows, keys in shared.items():
        wanted = dict.fromkeys(content for key in keys for content in open_[key])
        of = train.select(rows)
        thoughts = {site: of.vectors(site) for site, _ in keys}
        missed = unexplained(reader, wanted, thoughts, of, [claims[row] for row in rows], memory_gib)
        for site, n in keys:
            left = {content: missed[content, site] for content in open_[site, n]}
            best = chosen[site, n] = min(left, key=left.__getitem__)
            if best != (before := encoded.content(site, n)):
                log.info(
                    f"{site}, problems of {n} steps: {best}, not {before}: its text leaves "
                    f"{left[best]:.2f} of the thoughts unexplained, the other's {left[before]:.2f}"
                )
    return replace(encoded, chosen=chosen)


def candidates(encoded: EncodedSteps, site: Site, n_steps: int) -> list[Content]:
    """What a site may hold, what probes say first; that alone where they leave nothing open."""
    said = encoded.content(site, n_steps)
    results = [slots[-1] for slots in encoded.parts.get((site, n_steps), ())]
    steps = sorted({step for step, score in enumerate(results) if score >= LEAST} | set(said.steps))
    if not said.steps or (said.whole and tuple(steps) == said.steps):
        return [said]
    some = [of for size in (1, 2) for of in combinations(steps, size)]
    return list(dict.fromkeys([said, *(Content(of, whole) for of in some for whole in (True, False))]))


def unexplained(
    reader: Reader,
    contents: Iterable[Content],
    thoughts: Mapping[Site, Tensor],
    traces: TraceStore,
    claims: Sequence[Sequence[str]],
    memory_gib: float = MEMORY_GIB,
) -> dict[tuple[Content, Site], float]:
    """The share of the thoughts' variance that a map from each content's texts misses, rows left out.

    Every dimension counts alike. A map that says less than the mean leaves more than 1.

    Args:
        reader: reads texts.
        contents: to be compared.
        thoughts: site -> [N, d].
        traces: N, for their questions.
        claims: N lists.
        memory_gib: see `fit.fit_metric`.
    """
    targets = {site: _standardized(found.double()) for site, found in thoughts.items()}
    texts = {content: [content.text(of) for of in claims] for content in contents}
    reader = within_memory(reader, texts, traces.questions, memory_gib * 2**30)
    missed = {}
    for content, said in texts.items():
        features = reader.features(said, traces.questions).double()
        scaled = features - features.mean(0) if reader.basis is not None else _standardized(features)
        strengths = [1e-3 * strength * len(said) for strength in RIDGES]
        solved = ridge(scaled, list(targets.values()), strengths)
        for (site, target), one in zip(targets.items(), solved, strict=True):
            missed[content, site] = float(one.left_out.square().sum() / target.square().sum())
    return missed


def _standardized(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / x.std(0).clamp(min=1e-6)


def _rows(claims: Sequence[Sequence[str]], n_steps: int) -> list[int]:
    """Traces of `n_steps` steps, and of as few other lengths as make up for too few, the nearest first."""
    by_length: dict[int, list[int]] = {}
    for row, of in enumerate(claims):
        by_length.setdefault(len(of), []).append(row)
    found: list[int] = []
    for n in sorted(by_length, key=lambda n: (abs(n - n_steps), n)):
        if n and len(found) < ROWS:
            found += by_length[n][: ROWS - len(found)]
    return sorted(found)
