"""Texts of thoughts without training: the result from the logit lens, the operands from the question.

In the manner of arXiv 2604.04902: a step's result is among the five likeliest words of its hidden state, its
operands are the result before it and numbers of the question. The first step that fits is the text. No label,
map or written step is used, but the question is: under another one a thought finds other operands or none.

Time and memory are those of the lens: 2 * d * V operations a thought, and 256 rows of V logits at once. At
d = 2,048, V = 128,256 and 6 thoughts, 7,000 traces are 22 TFLOP, and the logits are 131 MB in float32. The
search itself takes about 1 ms a thought on one thread.

Shapes: N thoughts, d width, V words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from reverse_codi.errors import UserError
from reverse_codi.reading.claims import NO_STEP, claims_text
from reverse_codi.reading.lens import lens
from reverse_codi.reading.lens_names import LensNames
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.tasks.claims import with_result
from reverse_codi.tasks.numbers import whole_number
from reverse_codi.tasks.possible_steps import FETCHED, PossibleStep, has_numbers, possible_steps
from reverse_codi.verbalize.thoughts import Thoughts

RANK = 0.5
"""Cost of each word that is likelier: two of them weigh as much as a number of the question passed over.

Measured on traces of training problems of the arithmetic task, whole claims of 1,500 right ones and the
share of 500 wrong ones that end in the model's own answer: .975 and .042 at .5, .972 and .066 at 1, .964 and
.202 at 4, .959 and .270 at 100, where a likelier word always wins.
"""
LEADS = 1
"""Cost of a word that is only the first token of a result."""


@dataclass(frozen=True)
class Found:
    """What the search found for one thought.

    Attributes:
        text: the step, "12 + 5 = 17.", or "(no step)".
        fitting: how many steps the lens' word allows, this one included: from 2 on the text is a choice.
        rank: place of that word among the lens' five, 0 for the likeliest; None without a step.
        likeliest: the result that the likeliest word names; None without a step, and where that word is the
            first token of the text's result.
    """

    text: str
    fitting: int
    rank: int | None
    likeliest: str | None = field(default=None, compare=False)

    @property
    def as_said(self) -> str:
        """The text with the likeliest word for its result, a false sum where the model errs: "25 + 16 = 43.".

        The operands are as plausible as before, and the result is what the thought says. Measured as for
        `RANK`: .936 of whole claims instead of .975, and .542 of the model's own answers instead of .042.
        """
        if not self.rank or self.likeliest is None:
            return self.text
        return claims_text([with_result(self.text.rstrip("."), self.likeliest)])


NOTHING = Found(NO_STEP, 0, None)


def lens_search(reasoner: CodiReasoner, thoughts: Thoughts, rank_cost: float = RANK) -> list[Found]:
    """One step for each of N thoughts, in their order.

    Thoughts of one problem are looked up together, in the order of their sites, because the result of a step
    is an operand of the next. A thought without those before it has the question's numbers alone. A thought
    gets "(no step)" if its likeliest word is no number (or class), if that word is the result of the thought
    before, which the model hands on, or if no step fits. In the last case, the number still counts as the
    result before.

    Args:
        reasoner: whose thoughts they are.
        thoughts: hidden states of its last layer; gold texts and claims are not looked at.
        rank_cost: see `RANK`; the greater, the more the thought decides and the less the question.

    Raises:
        UserError: a site is no hidden state of a thought.
    """
    for site in thoughts.sites:
        if site.kind != "h" or site.layer is not None:
            raise UserError(
                f"lens search reads the hidden states of single thoughts, and {site} is none; "
                "set reading.spec.target to thought"
            )
    words = lens(reasoner, thoughts.targets)
    names = LensNames(reasoner)
    found = [NOTHING] * len(thoughts)
    for rows in _chains(thoughts):
        search = _Search(thoughts.questions[rows[0]], names, rank_cost)
        for row in rows:
            found[row] = search.next(words[row])
    return found


def ambiguity(found: Iterable[Found]) -> tuple[int, int]:
    """How many thoughts got a step, and how many of these could have got another."""
    spoken = [each.fitting for each in found if each.fitting]
    return len(spoken), sum(fitting > 1 for fitting in spoken)


def _chains(thoughts: Thoughts) -> list[list[int]]:
    """Rows of each problem in the order of the sites; a second thought of one site begins another chain."""
    place = [(problem, site.index) for problem, site in zip(thoughts.problems, thoughts.sites, strict=True)]
    chains: dict[tuple[int, int], list[int]] = {}
    met: Counter[tuple[int, int]] = Counter()
    for row in sorted(range(len(thoughts)), key=place.__getitem__):
        chains.setdefault((thoughts.problems[row], met[place[row]]), []).append(row)
        met[place[row]] += 1
    return list(chains.values())


@dataclass
class _Search:
    """One problem's steps, thought by thought.

    Attributes:
        question: the problem.
        names: which words name a result of several tokens.
        rank_cost: see `RANK`.
        results: what the thoughts before gave.
        used: numbers of the question that their steps used.
    """

    question: str
    names: LensNames
    rank_cost: float
    results: list[str] = field(default_factory=list)
    used: set[int] = field(default_factory=set)

    def next(self, words: list[str]) -> Found:
        """The step of the next thought, from its lens words, likeliest first."""
        words = [word.strip() for word in words]
        number = whole_number(words[0])
        if number is None and has_numbers(self.question):
            return NOTHING
        before = self.results[-1] if self.results else None
        possible = possible_steps(self.question, self.results, self.used)
        steps = [step for step in possible if step.result != before]
        named = [self._named(word, steps) for word in words]
        handed_on = before is not None and self._handed_on(words[0], before, named[0])
        if handed_on or (number is None and not named[0]):
            return NOTHING
        choices = [
            (cost + self.rank_cost * rank, rank, step)
            for rank, of_word in enumerate(named)
            for step, cost in of_word
        ]
        if not choices:
            self.results += [number] if number is not None else []
            return NOTHING
        _, rank, step = min(choices, key=lambda choice: choice[:2])
        self.results.append(step.result)
        self.used |= step.places
        begins = words[0] in self.names.leading_grouped(step.result)
        said = None if begins else number or words[0]
        return Found(claims_text([step.claim]), len(named[rank]), rank, said)

    def _cost(self, word: str, number: str | None, result: str) -> int | None:
        """What it costs to take a word, read as `number`, for a result; None if it does not name it."""
        if result in (word, number):
            return 0
        return LEADS if word in self.names.leading_grouped(result) else None

    def _named(self, word: str, steps: list[PossibleStep]) -> list[tuple[PossibleStep, int]]:
        """The steps whose result a word names, with what that costs in all."""
        number = whole_number(word)
        costs = ((step, self._cost(word, number, step.result)) for step in steps)
        return [(step, step.cost + cost) for step, cost in costs if cost is not None]

    def _handed_on(self, word: str, before: str, named: list[tuple[PossibleStep, int]]) -> bool:
        """Whether the likeliest word only repeats the result before.

        A first token can be of either: of 12 handed on, or of 17 = 12 + 5. It is taken for the next step
        where that step needs nothing far-fetched.
        """
        cost = self._cost(word, whole_number(word), before)
        if cost is None:
            return False
        return cost == 0 or all(step.cost >= FETCHED for step, _ in named)
