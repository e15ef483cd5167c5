"""What a text claims: sums ("12 + 5 = 17") or who belongs where ("Every wumpus is a tumpus").

All code that compares texts by content uses `parse_claims`. Every kind of claim has a canonical `claim`, a
`result`, `operands`, and `slots`: the parts that a thought must hold if it encodes the claim. A partial
claim, "= 17", states a result and leaves open what it was made from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reverse_codi.tasks.equations import Equation, parse_equations
from reverse_codi.tasks.numbers import DECIMAL, canonical_number
from reverse_codi.tasks.steps import sentence_step, sentences

# "There is a pile" states nothing about a class. A line break begins a sentence, so blanks before one are of
# the same line: of many empty lines each would be read to the last.
_BELONGING = re.compile(
    r"(?:^|(?<=[.!?:\n]))[^\S\n]*(?:Every\s+(?P<low>[a-z][\w'-]*)|(?!There\b|Here\b)(?P<name>[A-Z][\w'-]*))"
    r"\s+is\s+an?\s+(?P<high>[a-z][\w'-]*)\s*(?=[.!?\n]|$)"
)

# A sentence of its own, so that the end of a longer equation is none: "x = 17", "12 + 5 = 17 = 34", and a
# line that goes on ("12 + 5\n= 17"). Units may follow the number, as in an equation.
_PARTIAL = re.compile(
    rf"(?:\A|(?<=[.!?]))\s*=\s*"
    rf"(?:(?P<number>[-−–]?\s?[$€£]?{DECIMAL})\s?%?(?:\s+[^\W\d_]+)*|(?P<name>[a-z][\w'-]+))"
    r"\s*(?=[.!?](?!\d)|\n|\Z)"
)


@dataclass(frozen=True)
class PartialClaim:
    """One stated "= 17": a result without what it was made from.

    Attributes:
        result: the result, a canonical number or a class.
    """

    result: str

    @property
    def claim(self) -> str:
        """As texts state it, "= 17"."""
        return f"= {self.result}"

    @property
    def operands(self) -> tuple[str, ...]:
        """None are stated."""
        return ()

    @property
    def slots(self) -> tuple[str, ...]:
        """Those of an equation (or of "A is a B"), empty but for the result."""
        return ("", self.result) if self.result[0].isalpha() else ("", "", "", self.result)


@dataclass(frozen=True)
class Belonging:
    """One stated "Tom is a wumpus" or "Every wumpus is a tumpus".

    Attributes:
        subject: a person, "Tom", or in lower case a class, whose members all belong to the result.
        result: the class that the subject belongs to.
    """

    subject: str
    result: str

    @property
    def claim(self) -> str:
        """The sentence without its full stop, with the article "a" as in canonical answers."""
        every = "Every " if self.subject.islower() else ""
        return f"{every}{self.subject} is a {self.result}"

    @property
    def operands(self) -> tuple[str, ...]:
        """The subject alone."""
        return (self.subject,)

    @property
    def slots(self) -> tuple[str, ...]:
        """Subject and result."""
        return self.subject, self.result

    def near(self, text: str) -> list[Belonging]:
        """Claims with one part replaced by another of its kind that a text names, results first.

        >>> [near.claim for near in Belonging("Tom", "wumpus").near("Tom is a wumpus. Amy is a lempus.")]
        ['Tom is a lempus', 'Amy is a wumpus']
        """
        named = sorted({part for parsed in parse_belongings(text) for part in parsed.slots} - {*self.slots})
        alike = [name for name in named if name.islower() == self.subject.islower()]
        results = [replace(self, result=name) for name in named if name.islower()]
        return results + [replace(self, subject=name) for name in alike]


Claim = Equation | Belonging | PartialClaim


def parse_belongings(text: str) -> list[Belonging]:
    """The sentences "A is a B" that a text states, in order; a question states none.

    >>> [each.claim for each in parse_belongings("Tom is an impus. Every impus is a gorp. Is Tom a gorp?")]
    ['Tom is a impus', 'Every impus is a gorp']
    """
    return [Belonging(m["low"] or m["name"], m["high"]) for m in _BELONGING.finditer(text)]


def parse_claims(text: str) -> Sequence[Claim]:
    """The claims of a text, in order: its equations, or if it has none, its sentences "A is a B".

    A sentence that consists of an equals sign and a result is a partial claim.

    >>> [each.claim for each in parse_claims("12 + 5 = 17. = 34.")], parse_claims("so = 17")
    (['12 + 5 = 17', '= 34'], [])
    """
    return _parse_sums(text) or _parse_sentences(text)


def _parse_sums(text: str) -> list[Equation | PartialClaim]:
    """Equations, and partial claims of numbers."""
    found: list[Equation | PartialClaim] = []
    for between, partial in _around_partials(text, "number"):
        found += parse_equations(between)
        found += [PartialClaim(canonical_number(partial) or partial)] if partial else []
    return found


def _parse_sentences(text: str) -> list[Belonging | PartialClaim]:
    """Sentences "A is a B", and partial claims of classes."""
    found: list[Belonging | PartialClaim] = []
    for between, partial in _around_partials(text, "name"):
        found += parse_belongings(between)
        found += [PartialClaim(partial)] if partial else []
    return found


def _around_partials(text: str, kind: str) -> Iterator[tuple[str, str]]:
    """Each run of text up to a partial claim of a kind, with that claim's result; "" at the text's end."""
    start = 0
    for match in _PARTIAL.finditer(text):
        if match[kind]:
            yield text[start : match.start()], match[kind]
            start = match.end()
    yield text[start:], ""


def claims_of(text: str) -> list[str]:
    """What a text claims, each claim in its canonical form.

    >>> claims_of("12+5 = 17. 17*2 = 34."), claims_of("Tom is an ox."), claims_of("who knows")
    (['12 + 5 = 17', '17 * 2 = 34'], ['Tom is a ox'], [])
    """
    return [parsed.claim for parsed in parse_claims(text)]


def stated(text: str) -> list[str]:
    """The equations that a text states; without any, each of its sentences word for word, whatever it is of.

    For tasks whose steps are free sentences, of which `claims_of` knows a few only.

    >>> stated("12+5 = 17. It is late."), stated("Tom is an ox. It is late.")
    (['12 + 5 = 17'], ['Tom is an ox', 'It is late'])
    """
    sums = [parsed.claim for parsed in _parse_sums(text)]
    return sums or [sentence_step(sentence).claim for sentence in sentences(text)]


def result_of(claim: str) -> str:
    """The result of a claim.

    >>> result_of("12 + 5 = 17"), result_of("= 17"), result_of("Every wumpus is a tumpus")
    ('17', '17', 'tumpus')
    """
    parsed = parse_belongings(claim)
    return parsed[0].result if parsed else claim.rpartition("=")[2].strip()


def with_result(claim: str, result: str) -> str:
    """The claim with another result; a sentence "A is a B" takes only a class ("True" leaves it as it is).

    >>> with_result("12 + 5 = 17", "19"), with_result("Every wumpus is a tumpus", "lempus")
    ('12 + 5 = 19', 'Every wumpus is a lempus')
    """
    parsed = parse_belongings(claim)
    if parsed:
        return replace(parsed[0], result=result).claim if result.islower() else claim
    left, equals, _ = claim.rpartition("= ")
    return f"{left}{equals}{result}"


def of_slots(slots: Sequence[str]) -> str:
    """A claim from its slots; without any but the result it is partial.

    >>> of_slots(["12", "+", "5", "17"]), of_slots(["wumpus", "tumpus"]), of_slots(["", "", "", "17"])
    ('12 + 5 = 17', 'Every wumpus is a tumpus', '= 17')
    """
    if not any(slots[:-1]):
        return PartialClaim(slots[-1]).claim
    if len(slots) == 2:
        return Belonging(*slots).claim
    first, operators, last, result = slots
    return f"{first} {operators} {last} = {result}"
