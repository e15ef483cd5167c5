"""Generated English word problems of 1 to 4 dependent steps.

The operations do not commute (sums, products, shares, remainders), so a problem cannot be solved
without its intermediate results. Prototypes with signed sums alone never computed such results.
Train and held-out are disjoint by *signature* (operations and numbers), not only by wording.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reverse_codi.tasks.answers import CUE, stated
from reverse_codi.tasks.base import Problem, Split, Step, TaskError, split_by_hash
from reverse_codi.tasks.numbers import canonical_number

NAMES = (
    "Ann Ben Cara Dan Eva Finn Gina Hugo Ida Jack Kira Liam Maya Noah Olga Paul Rosa Sam Tina Umar "
    "Vera Will Yara Zoe"
).split()
FEMALE = frozenset("Ann Cara Eva Gina Ida Kira Maya Olga Rosa Tina Vera Yara Zoe".split())
OBJECTS = (
    "apples pears coins cards books shells stamps beads marbles pens cups nuts stones toys plums "
    "balls flowers tickets stickers eggs"
).split()

OPENINGS = (
    "{name} has {n} {objs}.",
    "{name} starts with {n} {objs}.",
    "There are {n} {objs} on the table of {name}.",
    "{name} owns {n} {objs}.",
)
QUERIES = (
    "How many {objs} does {name} have now?",
    "How many {objs} are left?",
    "How many {objs} is that in the end?",
)
# op -> operand (None: any) -> wordings; {p} is the pronoun, {f} a friend, {b} the operand.
EVENTS: Mapping[str, Mapping[int | None, tuple[str, ...]]] = {
    "+": {
        None: (
            "{P} buys {b} more.",
            "{P} finds {b} more.",
            "{P} gets {b} from {f}.",
            "{f} brings {b} more.",
            "{P} wins {b} {objs}.",
            "Then {p} picks {b} more.",
        )
    },
    "-": {
        None: (
            "{P} loses {b}.",
            "{P} gives {b} to {f}.",
            "{P} sells {b} of them.",
            "{f} takes {b} away.",
            "{P} throws {b} {objs} out.",
            "Then {p} drops {b}.",
        )
    },
    "*": {
        None: ("{P} gets {b} times as many.", "Then {p} makes it {b} times as many."),
        2: ("{P} doubles the pile.", "Then the pile doubles.", "{P} gets twice as many."),
        3: ("{P} triples the pile.", "Then the pile triples."),
    },
    "/": {
        None: ("{P} shares them among {b} and keeps one part.", "{P} keeps one of {b} equal parts."),
        2: ("{P} gives half to {f}.", "Then {p} sells half of them.", "{P} keeps half."),
        3: ("{P} keeps a third.", "Only a third is left."),
    },
    "%": {
        None: ("{P} fills bags of {b} and keeps the rest.", "{f} takes all full packs of {b}."),
    },
}
OPERATIONS = tuple(EVENTS)
# Shares and remainders shrink values, so they are rarer; otherwise most answers would be below 10.
_OP_WEIGHTS = {"+": 3.0, "-": 2.5, "*": 2.0, "/": 1.5, "%": 0.7}


@dataclass(frozen=True)
class Chain:
    """The numbers of a problem without its words: a start value and (operation, operand) pairs."""

    start: int
    events: tuple[tuple[str, int], ...]

    @property
    def signature(self) -> str:
        """Identity of the problem whatever its wording, e.g. "12+5*2"."""
        return str(self.start) + "".join(f"{op}{b}" for op, b in self.events)

    def values(self) -> list[int]:
        """The value after each step; [start, r1, ..., rn]."""
        values = [self.start]
        for op, b in self.events:
            values.append(_apply(op, values[-1], b))
        return values


def _apply(op: str, a: int, b: int) -> int:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return a // b
        case "%":
            return a % b
    raise ValueError(f"unknown operation {op!r}; known: {' '.join(OPERATIONS)}")


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Word problems whose steps depend on one another.

    Attributes:
        max_value: largest number that may occur, start and results included.
        max_operand: largest number that is added or subtracted.
        step_weights: number of steps -> relative frequency.
        heldout_percent: share of signatures, in percent, that are held out.
    """

    max_value: int = 60
    max_operand: int = 20
    step_weights: tuple[tuple[int, float], ...] = ((1, 0.2), (2, 0.3), (3, 0.3), (4, 0.2))
    heldout_percent: int = 10

    def __post_init__(self) -> None:
        """Refuse settings under which a split is empty or a chain has no next step."""
        if not 0 < self.heldout_percent < 100:
            raise TaskError(f"arithmetic: heldout_percent is {self.heldout_percent}; set it to 1..99")
        if self.max_value < 10 or self.max_operand < 2:
            raise TaskError(
                f"arithmetic: max_value {self.max_value} and max_operand {self.max_operand} leave chains "
                "without a next step; set them to at least 10 and 2"
            )

    def operands(self, op: str, value: int) -> list[int]:
        """Operands for which `value op b` is a whole number from 2 to `max_value`."""
        match op:
            case "+":
                return list(range(2, min(self.max_operand, self.max_value - value) + 1))
            case "-":
                return list(range(2, min(self.max_operand, value - 2) + 1))
            case "*":
                return [b for b in range(2, 6) if value * b <= self.max_value]
            case "/":
                return [b for b in range(2, 6) if value % b == 0 and value // b >= 2]
            case _:
                return [b for b in range(3, 10) if value > b and value % b >= 2]

    def split_of(self, signature: str) -> Split:
        """The split of a signature: decided by a hash, the same for every seed."""
        return split_by_hash(signature, self.heldout_percent)

    def chain(self, rng: random.Random, n_steps: int) -> Chain:
        """Draw a chain of `n_steps` operations from either split."""
        value = start = rng.randint(3, min(30, self.max_value))
        events: list[tuple[str, int]] = []
        for _ in range(n_steps):
            options = {op: bs for op in OPERATIONS if (bs := self.operands(op, value))}
            op = rng.choices(list(options), [_OP_WEIGHTS[op] for op in options])[0]
            b = rng.choice(options[op])
            events.append((op, b))
            value = _apply(op, value, b)
        return Chain(start, tuple(events))

    def stream(self, split: Split, seed: int, n_steps: int | None = None) -> Iterator[Problem]:
        """Endless problems of one split; `n_steps` fixes their length."""
        rng = random.Random(f"{seed}/{split}")
        lengths, weights = zip(*self.step_weights, strict=True)
        while True:
            length = n_steps or rng.choices(lengths, weights)[0]
            chain = self.chain(rng, length)
            if self.split_of(chain.signature) is split:
                yield word(chain, rng.randrange(2**32))

    def problems(self, split: Split, n: int, seed: int, n_steps: int | None = None) -> list[Problem]:
        """Return `n` problems of one split (the `Task` protocol)."""
        stream = self.stream(split, seed, n_steps)
        return [next(stream) for _ in range(n)]

    def minimal_pairs(
        self, split: Split, n: int, seed: int, n_steps: int | None = None
    ) -> list[tuple[Problem, Problem]]:
        """Return pairs of one split: the same words except for one number, and different answers."""
        rng = random.Random(f"{seed}/{split}/pairs")
        lengths, weights = zip(*self.step_weights, strict=True)
        pairs: list[tuple[Problem, Problem]] = []
        while len(pairs) < n:
            chain = self.chain(rng, n_steps or rng.choices(lengths, weights)[0])
            if self.split_of(chain.signature) is not split:
                continue
            other = self._changed(chain, rng, split)
            if other is not None:
                wording = rng.randrange(2**32)
                pairs.append((word(chain, wording), word(other, wording)))
        return pairs

    def _changed(self, chain: Chain, rng: random.Random, split: Split) -> Chain | None:
        """`chain` with one number changed, still valid and in `split`; None if none is found."""
        candidates = [Chain(start, chain.events) for start in range(3, self.max_value + 1)]
        for i, (op, b) in enumerate(chain.events):
            # Words such as "doubles" or "half" contain their operand, so changing it changes the words.
            if b in EVENTS[op]:
                continue
            for new in range(2, self.max_operand + 1):
                if new not in EVENTS[op]:
                    events = (*chain.events[:i], (op, new), *chain.events[i + 1 :])
                    candidates.append(Chain(chain.start, events))
        rng.shuffle(candidates)
        answer = chain.values()[-1]
        for other in candidates:
            if (
                self._valid(other)
                and other.values()[-1] != answer
                and self.split_of(other.signature) is split
            ):
                return other
        return None

    def _valid(self, chain: Chain) -> bool:
        value = chain.start
        for op, b in chain.events:
            if b not in self.operands(op, value):
                return False
            value = _apply(op, value, b)
        return True

    def extract_answer(self, text: str, cue: str = CUE) -> str | None:
        """The number that a text states (the `Task` protocol); see `answers.stated`."""
        return stated(text, canonical_number, cue)

    def vocabulary(self) -> list[str]:
        """Every word and mark that questions, claims and answers are made of, numbers last."""
        texts = [*NAMES, *OBJECTS, *OPENINGS, *QUERIES, "She He she he", "The answer is:", "(no step)"]
        texts += [line for kinds in EVENTS.values() for lines in kinds.values() for line in lines]
        words = {w for t in texts for w in split_words(re.sub(r"\{\w+\}", " ", t))}
        words |= {*OPERATIONS, "=", ".", "?", ":"}
        return sorted(words) + [str(i) for i in range(self.max_value + 1)]


def split_words(text: str) -> list[str]:
    """Split into words, numbers and single marks, as the tokenizer of the embedded model does."""
    return re.findall(r"\w+|[^\w\s]", text)


def word(chain: Chain, seed: int) -> Problem:
    """Put a chain into English; the same seed gives the same words for chains of one shape."""
    rng = random.Random(seed)
    name, friend = rng.sample(NAMES, 2)
    objs = rng.choice(OBJECTS)
    pronoun = "She" if name in FEMALE else "He"
    blanks = {"name": name, "f": friend, "objs": objs}
    sentences = [rng.choice(OPENINGS).format(n=chain.start, **blanks)]
    values = chain.values()
    steps: list[Step] = []
    for i, (op, b) in enumerate(chain.events):
        kinds = EVENTS[op]
        # A special wording ("doubles") in half of the cases that have one.
        lines = kinds[b] if b in kinds and rng.random() < 0.5 else kinds[None]
        subject = rng.choice((pronoun, name))
        line = rng.choice(lines)
        sentences.append(line.format(P=subject, p=pronoun.lower(), b=b, **blanks))
        claim = f"{values[i]} {op} {b} = {values[i + 1]}"
        steps.append(Step(f"{name} has {claim} {objs}.", claim, str(values[i + 1])))
    sentences.append(rng.choice(QUERIES).format(**blanks))
    return Problem(" ".join(sentences), str(values[-1]), tuple(steps), chain.signature)
