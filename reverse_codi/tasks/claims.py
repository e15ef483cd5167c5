"""What a text claims: sums ("12 + 5 = 17") or who belongs where ("Every wumpus is a tumpus").

All code that compares texts by content uses `parse_claims`. Both kinds of claim have a canonical `claim`, a
`result`, `operands`, and `slots`: the parts that a thought must hold if it encodes the claim.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reverse_codi.tasks.equations import Equation, parse_equations
from reverse_codi.tasks.steps import sentence_step, sentences

# "There is a pile" states nothing about a class.
_BELONGING = re.compile(
    r"(?:^|(?<=[.!?:\n]))\s*(?:Every\s+(?P<low>[a-z][\w'-]*)|(?!There\b|Here\b)(?P<name>[A-Z][\w'-]*))"
    r"\s+is\s+an?\s+(?P<high>[a-z][\w'-]*)\s*(?=[.!?\n]|$)"
)


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


Claim = Equation | Belonging


def parse_belongings(text: str) -> list[Belonging]:
    """The sentences "A is a B" that a text states, in order; a question states none.

    >>> [each.claim for each in parse_belongings("Tom is an impus. Every impus is a gorp. Is Tom a gorp?")]
    ['Tom is a impus', 'Every impus is a gorp']
    """
    return [Belonging(m["low"] or m["name"], m["high"]) for m in _BELONGING.finditer(text)]


def parse_claims(text: str) -> Sequence[Claim]:
    """The claims of a text, in order: its equations, or if it has none, its sentences "A is a B"."""
    return parse_equations(text) or parse_belongings(text)


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
    equations = [equation.claim for equation in parse_equations(text)]
    return equations or [sentence_step(sentence).claim for sentence in sentences(text)]


def result_of(claim: str) -> str:
    """The result of a claim.

    >>> result_of("12 + 5 = 17"), result_of("Every wumpus is a tumpus")
    ('17', 'tumpus')
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
    """A claim from its slots.

    >>> of_slots(["12", "+", "5", "17"]), of_slots(["wumpus", "tumpus"])
    ('12 + 5 = 17', 'Every wumpus is a tumpus')
    """
    if len(slots) == 2:
        return Belonging(*slots).claim
    first, operators, last, result = slots
    return f"{first} {operators} {last} = {result}"
