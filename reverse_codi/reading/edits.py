"""Edits of a text that must change its reading, and paraphrases that must not.

A reading that cannot distinguish an edited claim from the true one, or that distinguishes a paraphrase from
the original, does not read claims.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import pairwise

from reverse_codi.tasks.claims import Belonging, parse_belongings, parse_claims
from reverse_codi.tasks.equations import Equation
from reverse_codi.tasks.spellings import numbers_in

# What stands between the last operand and the result of a claim.
_EQUALS = re.compile(r"\s*(?:%\s*)?=\s*")

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
    """Change one number by 1 to 3 units of its last digit; a text without numbers stays as it is.

    Spelling and sign stay: "1,600" becomes "1,602", ".50" becomes ".53", "5%" becomes "4%".
    """
    numbers = list(numbers_in(text))
    if not numbers:
        return text
    chosen = rng.choice(numbers)
    value, unit = chosen.value, chosen.unit
    changed = [value + unit * step for step in (-3, -2, -1, 1, 2, 3)]
    same_sign = [other for other in changed if (other < 0 if chosen.negative else other >= 0)]
    return text[: chosen.digits] + chosen.respelled(rng.choice(same_sign)) + text[chosen.end :]


def result_swapped(text: str, rng: random.Random) -> str:
    """Exchange the result and the last operand of one claim: the same parts, another claim.

    >>> result_swapped("Every wumpus is a tumpus.", random.Random(0))
    'Every tumpus is a wumpus.'
    """
    numbers = list(numbers_in(text))
    claims = [
        (operand, result)
        for operand, result in pairwise(numbers)
        if _EQUALS.fullmatch(text, operand.end, result.start) and operand.value != result.value
    ]
    if not claims:
        return _turned(text, rng)
    operand, result = rng.choice(claims)
    between = text[operand.end : result.start]
    swapped = text[result.start : result.end] + between + text[operand.start : operand.end]
    return text[: operand.start] + swapped + text[result.end :]


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
        text: a translation; without an equation, or with a partial claim, it has no paraphrase.
        knows: whether the reader's tokenizer knows every word of a text. A paraphrase with an unknown word is
            left out, because that word alone would change its reading.

    >>> paraphrases("12 + 5 = 17. 17 * 2 = 34.", lambda text: "pile" in text or "Now" in text)
    ['Then the pile has 12 + 5 = 17. Then the pile has 17 * 2 = 34.', 'Now 12 + 5 is 17. Now 17 * 2 is 34.']
    """
    claims = parse_claims(text)
    equations = [claim for claim in claims if isinstance(claim, Equation)]
    if not equations or len(equations) < len(claims):
        return []
    worded = (
        " ".join(template.format(claim=e.claim, left=e.left, result=e.result) for e in equations)
        for template in TEMPLATES
    )
    return [wording for wording in worded if knows(wording)]
