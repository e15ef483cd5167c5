"""The content of a translation against the content of its thought.

Texts are compared as multisets of their items, by recall and precision. A text that lists numbers recalls the
right one and loses precision for the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reading.lens_names import named_by
from reverse_codi.tasks.claims import PartialClaim, claims_of, parse_claims, result_of
from reverse_codi.tasks.equations import Equation
from reverse_codi.tasks.listings import listing_results


class Part(StrEnum):
    """The parts of a statement that are compared separately."""

    CLAIMS = "claims"
    RESULTS = "results"
    OPERANDS = "operands"
    OPERATORS = "operators"


@dataclass(frozen=True)
class Stated:
    """What a text states, in order.

    Attributes:
        claims: canonical claims, "12 + 5 = 17".
        results: their results; for a listing, which makes no claim, all its numbers.
        operands: the numbers of each claim's left-hand side, ("12", "5"); the subject of a sentence. A
            partial claim ("= 17") has none.
        operators: the operators of each equation, ("+",); sentences have none.
    """

    claims: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    operands: tuple[tuple[str, ...], ...] = ()
    operators: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Overlap:
    """How many items two multisets share.

    An empty side has nothing in common with a side that is not empty: no text is neither complete nor
        precise.

    Attributes:
        common: items of both.
        stated: items of the text.
        gold: items of the gold text.
    """

    common: int
    stated: int
    gold: int

    @property
    def recall(self) -> float:
        """Share of the gold items that the text states."""
        return self._share(self.gold)

    @property
    def precision(self) -> float:
        """Share of the stated items that are gold."""
        return self._share(self.stated)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision; 1 exactly if both sides are equal."""
        return 2 * self.common / (self.stated + self.gold) if self.stated + self.gold else 1.0

    def _share(self, of: int) -> float:
        return self.common / of if of else float(self.stated == self.gold)


def stated(text: str) -> Stated:
    """What a text states; a listing or a bare list of numbers states only results (see `tasks.listings`)."""
    parsed = parse_claims(text)
    if not parsed:
        return Stated(results=tuple(number for latent in listing_results(text) for number in latent))
    return Stated(
        claims=tuple(t.claim for t in parsed),
        results=tuple(t.result for t in parsed),
        operands=tuple(t.operands for t in parsed if t.operands),
        operators=tuple(t.operators for t in parsed if isinstance(t, Equation)),
    )


def gold_stated(claims: Sequence[str]) -> Stated:
    """What the gold claims of a thought state; no claim, or "(no step)" alone, states nothing.

    A claim that cannot be parsed ("Tom likes Amy") has no parts. It stays in `claims`, where it counts as
    missed; without it, an empty text would be right.
    """
    found = stated(".\n".join(claims))  # a partial claim is a sentence of its own
    known = {NO_STEP, *found.claims}
    words = [claim for claim in claims if not known.intersection([claim, *_canonical(claim)])]
    return Stated((*found.claims, *words), found.results, found.operands, found.operators)


def _canonical(claim: str) -> list[str]:
    return claims_of(claim)


def recall_precision(stated: Stated, gold: Stated) -> dict[Part, Overlap]:
    """Multiset overlap of each part; operands and operators are compared claim by claim, in their order."""
    return {part: _overlap(getattr(stated, part), getattr(gold, part)) for part in Part}


def f1(text: str, claims: Sequence[str]) -> dict[Part, float]:
    """One thought's figure for each part: F1 of recall and precision against its gold claims.

    >>> f1("10 + 7 = 17", ["12 + 5 = 17"])[Part.RESULTS]
    1.0
    """
    overlaps = recall_precision(stated(text), gold_stated(claims))
    return {part: overlap.f1 for part, overlap in overlaps.items()}


def unsupported(text: str, supports: Iterable[str]) -> tuple[int, int]:
    """Number of claims stated that the trace does not support, and number of claims stated.

    A partial claim ("= 17") is supported by any claim with its result.

    Args:
        text: a translation.
        supports: canonical claims that support the trace: gold ones and the model's own.
    """
    claims = parse_claims(text)
    if not claims:
        return 0, 0
    known = {*supports}
    known |= {PartialClaim(result_of(claim)).claim for claim in known}
    return sum(claim.claim not in known for claim in claims), len(claims)


def lens_hit(tokens: Sequence[str], result: str, k: int) -> bool:
    """Whether a canonical result, number or class, is among the first `k` logit-lens tokens.

    A number of several tokens is among none; see `reading.lens_names`.
    """
    return any(named_by(token, result) for token in tokens[:k])


def implied_answer(texts: Sequence[str]) -> str | None:
    """The result of the last claim that the translations of a trace's thoughts state, or None."""
    results = [parsed.result for text in texts for parsed in parse_claims(text)]
    return results[-1] if results else None


def _overlap(stated: Sequence[Hashable], gold: Sequence[Hashable]) -> Overlap:
    common = Counter(stated) & Counter(gold)
    return Overlap(common.total(), len(stated), len(gold))
