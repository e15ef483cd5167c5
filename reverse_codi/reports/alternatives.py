"""What else a thought may say: sampled texts, those of equal claims counted together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reverse_codi.reading.claims import claimed, stated


@dataclass(frozen=True)
class Alternative:
    """One content.

    Attributes:
        text: in the words of the greedy text, else in those that occur most, of equals the shortest.
        count: how many samples say it.
        greedy: whether the greedy text says it.
        claims: whether it makes a claim, or is "(no step)".
    """

    text: str
    count: int
    greedy: bool
    claims: bool


def alternatives(greedy: str, samples: Sequence[str]) -> list[Alternative]:
    """The contents of a greedy text and of samples: the greedy one first, then by count, no claim last.

    Samples that claim nothing are counted together, unless they are the greedy text.

    >>> found = alternatives("12 + 5 = 17.", ["12+5=17", "9 + 9 = 18.", "9 + 9 = 18", "so", "no", "so"])
    >>> [(each.text, each.count, each.claims) for each in found]
    [('12 + 5 = 17.', 1, True), ('9 + 9 = 18', 2, True), ('so', 3, False)]
    """
    own = stated(greedy)
    words: dict[object, Counter[str]] = {own: Counter()}
    for text in samples:
        of = stated(text)
        words.setdefault(of if of == own or claimed(text) is not None else None, Counter())[text] += 1
    found = [
        Alternative(text, spelled.total(), of == own, claimed(text) is not None)
        for of, spelled in words.items()
        for text in [greedy if of == own else _commonest(spelled)]
    ]
    return sorted(found, key=lambda each: (not each.greedy, not each.claims, -each.count))


def _commonest(spelled: Counter[str]) -> str:
    return min(spelled, key=lambda text: (-spelled[text], len(text), text))
