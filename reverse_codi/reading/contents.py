"""What a thought holds where probes leave it open: the content whose text explains most of it.

Probes go from thoughts to labels, and blur where a thought holds much: of two planted steps they read the
worst parts at .50 and .31, and the second result at .88, which would make the thought "= 34". A map from read
texts to thoughts has no such trouble. Each candidate is written down for some hundred traces, a map is
fitted, and the candidate that leaves least of the thoughts unexplained, rows left out, is what they hold. On
traces of the embedded reasoner it is the right one at every site. Where swaps say that the model does not use
a thought, nothing is open.

Time: a candidate is read once for each number of steps, by 400 texts. Solving takes little beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from torch import Tensor

from reverse_codi.processes.memory import GIB
from reverse_codi.reading.basis import fit_bytes
from reverse_codi.reading.claims import LEAST, Content, EncodedSteps
from reverse_codi.reading.reader import Reader
from reverse_codi.reading.ridge import ridge, standardized
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import MEMORY_GIB
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.console import progress

log = logging.getLogger(__name__)

# Traces of one number of steps that contents are compared on; too few are joined by the next lengths'. The
# right content wins from about 300 on; of 100, results win over whole steps because they have fewer words.
ROWS = 400

# Ridge strengths, relative to the number of features; leave-one-out error chooses.
STRENGTHS = (1e-5, 1e-3, 1e-1)
# Share of the thoughts' variance that a text must explain where probes say that nothing is held.
ENOUGH = 0.3

Key = tuple[Site, int]


def choose_contents(
    reader: Reader,
    encoded: EncodedSteps,
    train: TraceStore,
    claims: Sequence[Sequence[str]],
    memory_gib: float = MEMORY_GIB,
) -> EncodedSteps:
    """Let texts decide what sites hold where probes read several steps, a result alone, or too little.

    Args:
        reader: reads texts as the maps will.
        encoded: what probes read.
        train: N training traces.
        claims: their N lists of claims.
        memory_gib: what a comparison may hold; fewer traces are compared where states are too wide for it.

    Returns:
        What probes read, with `chosen`.
    """
    open_ = {key: found for key in encoded.accuracy if len(found := candidates(encoded, *key)) > 1}
    if not open_:
        return encoded
    n_features = reader.features(["1 + 1 = 2."], train.questions[:1]).shape[1]
    most = max(2, min(ROWS, int(memory_gib * GIB / fit_bytes(1, n_features))))
    shared: dict[tuple[int, ...], list[Key]] = {}
    for key in open_:
        shared.setdefault(tuple(_rows(claims, key[1], most)), []).append(key)
    chosen: dict[Key, Content] = {}
    changes: dict[tuple[Site, Content, Content], list[int]] = {}
    for rows, keys in shared.items():
        wanted = dict.fromkeys(content for key in keys for content in open_[key] if content.steps)
        of = train.select(rows)
        thoughts = {site: of.vectors(site) for site, _ in keys}
        missed = unexplained(reader, wanted, thoughts, of, [claims[row] for row in rows])
        for site, n in keys:
            left = {content: missed.get((content, site), 1 - ENOUGH) for content in open_[site, n]}
            best, before = min(left, key=left.__getitem__), encoded.content(site, n)
            if left[best] >= 1:  # no text says anything, so probes have the word
                continue
            chosen[site, n] = best
            if best != before:
                changes.setdefault((site, best, before), []).append(n)
    for (site, best, before), lengths in sorted(changes.items(), key=lambda item: item[0][0]):
        steps = ", ".join(map(str, sorted(lengths)))
        log.info(f"{site}, problems of {steps} steps: {best} explains more of the thoughts than {before}")
    return replace(encoded, chosen=chosen)


def candidates(encoded: EncodedSteps, site: Site, n_steps: int) -> list[Content]:
    """What a site may hold, what probes say first; that alone where they leave nothing open."""
    said = encoded.content(site, n_steps)
    results = [slots[-1] for slots in encoded.parts.get((site, n_steps), ())]
    steps = sorted({step for step, score in enumerate(results) if score >= LEAST} | set(said.steps))
    unused = not said.steps and (site, n_steps) in encoded.moved
    if unused or (said.whole and tuple(steps) == said.steps):
        return [said]
    some = [of for size in (1, 2) for of in combinations(steps, size)]
    return list(dict.fromkeys([said, *(Content(of, whole) for of in some for whole in (True, False))]))


def unexplained(
    reader: Reader,
    contents: Iterable[Content],
    thoughts: Mapping[Site, Tensor],
    traces: TraceStore,
    claims: Sequence[Sequence[str]],
) -> dict[tuple[Content, Site], float]:
    """The share of the thoughts' variance that a map from each content's texts misses, rows left out.

    Every dimension counts alike. A map that predicts worse than the mean leaves more than 1.

    Args:
        reader: reads texts.
        contents: to be compared.
        thoughts: site -> [N, d].
        traces: N, for their questions.
        claims: N lists.
    """
    targets = {site: standardized(found.double()) for site, found in thoughts.items()}
    missed, every = {}, list(contents)
    with progress("contents", len(every)) as advance:
        for content in every:
            features = reader.features([content.text(of) for of in claims], traces.questions)
            scaled = standardized(features.double())
            strengths = [strength * features.shape[1] for strength in STRENGTHS]
            solved = ridge(scaled, list(targets.values()), strengths)
            for (site, target), one in zip(targets.items(), solved, strict=True):
                missed[content, site] = float(one.left_out.square().sum() / target.square().sum())
            advance(1)
    return missed


def _rows(claims: Sequence[Sequence[str]], n_steps: int, most: int) -> list[int]:
    """Up to `most` traces of `n_steps` steps; other lengths make up for too few, the nearest first."""
    by_length: dict[int, list[int]] = {}
    for row, of in enumerate(claims):
        by_length.setdefault(len(of), []).append(row)
    found: list[int] = []
    for n in sorted(by_length, key=lambda n: (abs(n - n_steps), n)):
        if n and len(found) < most:
            found += by_length[n][: most - len(found)]
    return sorted(found)
