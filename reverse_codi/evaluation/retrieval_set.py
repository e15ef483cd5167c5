"""The texts that a translation must beat in retrieval: hard ones first, none with equal content.

They are made from gold claims alone, so they are the same for every method.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Sequence

from reverse_codi.evaluation.counterfactual import near_claims
from reverse_codi.evaluation.defaults import AMONG
from reverse_codi.reading.claims import claims_text
from reverse_codi.tasks.claims import PartialClaim, claims_of, parse_belongings, parse_claims, result_of
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.verbalize.thoughts import Thoughts

EACH = 16


class RetrievalSet:
    """Draws the other 63 texts of each thought.

    Args:
        thoughts: the thoughts of the evaluation set.
        steps: for each, indices of the steps that it holds; where its gold text names their results alone, so
            do the other texts.
        knows: whether the tokenizer knows every word of a text.
        seed: of all draws.
    """

    def __init__(
        self, thoughts: Thoughts, steps: Sequence[Sequence[int]], knows: Callable[[str], bool], seed: int = 0
    ) -> None:
        self.thoughts = thoughts
        self.steps = steps
        self.knows = knows
        self.seed = seed
        self._near: dict[tuple[str, str], list[str]] = {}
        self._gold = [text for text, of_row in zip(thoughts.gold, steps, strict=True) if of_row]
        self._of_kind: dict[tuple[str, ...], list[str]] = {}
        for text in dict.fromkeys(self._gold):
            self._of_kind.setdefault(_operators(text), []).append(text)

    @property
    def enough(self) -> bool:
        """Whether there are enough different gold texts to draw from."""
        return _enough(self._gold)

    def of(self, row: int, own: str) -> list[str]:
        """63 texts for thought `row` whose own text is `own`; what states the same as `own` is left out.

        Up to 16 each of: the other steps of the problem and near misses of them; near misses of its own gold
        step (see `near_claims`); gold texts with the same operations elsewhere; gold texts at random, which
        also fill up what is missing.
        """
        rng = random.Random(f"{self.seed}/{row}")
        gold = self.thoughts.gold[row]
        claims = self.thoughts.claims[row]
        if _of_results(gold):
            claims = [PartialClaim(result_of(claim)).claim for claim in claims]
        question = self.thoughts.questions[row]
        rest = [claim for step, claim in enumerate(claims) if step not in self.steps[row]]
        near = [text for step in self.steps[row] for text in self._near_texts(claims[step], question)]
        kinds = [
            [claims_text([c]) for c in rest]
            + _drawn([text for c in rest for text in self._near_texts(c, question)], rng),
            _drawn(near, rng),
            _drawn(self._of_kind[_operators(gold)], rng),
        ]
        own_content = _content(own)
        found: dict[str, None] = {}
        for kind in kinds:
            new = [
                text for text in dict.fromkeys(kind) if text not in found and _content(text) != own_content
            ]
            found.update(dict.fromkeys(new[:EACH]))
        for text in _endless(self._gold, rng):
            if len(found) == AMONG - 1:
                break
            if _content(text) != own_content:
                found.setdefault(text)
        return list(found)

    def _near_texts(self, claim: str, question: str) -> list[str]:
        """Near misses of a claim, as texts; remembered, since claims recur."""
        key = claim, question if parse_belongings(claim) else ""
        if key not in self._near:
            self._near[key] = [claims_text([near]) for near in near_claims(claim, self.knows, question)]
        return self._near[key]


def _of_results(text: str) -> bool:
    """Whether a text names results alone."""
    return any(isinstance(claim, PartialClaim) for claim in parse_claims(text))


def _enough(texts: Sequence[str]) -> bool:
    return len(set(texts)) >= AMONG + EACH


def _drawn(texts: Sequence[str], rng: random.Random) -> list[str]:
    return rng.sample(texts, len(texts))


def _endless(texts: Sequence[str], rng: random.Random) -> Iterator[str]:
    if not _enough(texts):
        raise ValueError(f"{len(set(texts))} different gold texts are too few to draw from; raise --problems")
    while True:
        yield rng.choice(texts)


@functools.cache
def _content(text: str) -> tuple[str, ...]:
    """What a text claims; one that claims nothing is only equal to itself."""
    return tuple(claims_of(text)) or (text.strip(),)


def _operators(text: str) -> tuple[str, ...]:
    return tuple(operator for e in parse_equations(text) for operator in e.operators)
