"""Edits of a text that must change its reading, and paraphrases that must not.

A reading that cannot distinguish an edited claim from the true one, or that distinguishes a paraphrase from
the original, does not read claims.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from decimal import Decimal

from reverse_codi.tasks.claims import Belonging, parse_belongings
from reverse_codi.tasks.equations import parse_equations

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
# Both sides of a claim's "=": its last operand and its result.
_CLAIM = re.compile(rf"({_NUMBER.pattern})(\s*=\s*)({_NUMBER.pattern})")

# The generated task's closed vocabulary has the words of the first three.
TEMPLATES = (
    "She gets {claim} now.",
    "Then the pile has {claim}.",
    "He makes {claim} in the end.",
    "Now {left} is {result}.",
    "That is {claim} in all.",
    "We find that {left} equals {result}.",
)


def number_changed(text: str, rng: random.Random) -> str:
    """Change one number by 1 to 3 units of its last digit; a text without numbers stays as it is."""
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return text
    chosen = rng.choice(numbers)
    value = Decimal(chosen.group().replace(",", ""))
    unit = Decimal(1).scaleb(int(value.as_tuple().exponent))
    deltas = [unit * step for step in (-3, -2, -1, 1, 2, 3) if value + unit * step >= 0]
    moved = format(value + rng.choice(deltas), ",f" if "," in chosen.group() else "f")
    return text[: chosen.start()] + moved + text[chosen.end() :]


def result_swapped(text: str, rng: random.Random) -> str:
    """Exchange the result and the last operand of one claim: the same parts, another claim.

    >>> result_swapped("Every wumpus is a tumpus.", random.Random(0))
    'Every tumpus is a wumpus.'
    """
    claims = list(_CLAIM.finditer(text))
    if not claims:
        return _turned(text, rng)
    claim = rng.choice(claims)
    operand, equals, result = claim.groups()
    return text[: claim.start()] + result + equals + operand + text[claim.end() :]


def _turned(text: str, rng: random.Random) -> str:
    """Reverse one "Every a is a b"; a text without any stays as it is."""
    rules = [parsed for parsed in parse_belongings(text) if parsed.subject.islower()]
    if not rules:
        return text
    parsed = rng.choice(rules)
    return text.replace(parsed.claim, Belonging(parsed.result, parsed.subject).claim)


def shuffled(text: str, rng: random.Random) -> str:
    """The words in another order."""
    words = text.split()
    rng.shuffle(words)
    return " ".join(words)


def paraphrases(text: str, knows: Callable[[str], bool]) -> list[str]:
    """Paraphrases of all the claims of `text`, one for each template, always the same ones.

    Args:
        text: a translation; without an equation it has no paraphrase.
        knows: whether the reader's tokenizer knows every word of a text. A paraphrase with an unknown word is
            left out, because that word alone would change its reading.

    >>> paraphrases("12 + 5 = 17. 17 * 2 = 34.", lambda text: "pile" in text or "Now" in text)
    ['Then the pile has 12 + 5 = 17. Then the pile has 17 * 2 = 34.', 'Now 12 + 5 is 17. Now 17 * 2 is 34.']
    """
    equations = parse_equations(text)
    if not equations:
        return []
    worded = (
        " ".join(template.format(claim=e.claim, left=e.left, result=e.result) for e in equations)
        for template in TEMPLATES
    )
    return [wording for wording in worded if knows(wording)]
