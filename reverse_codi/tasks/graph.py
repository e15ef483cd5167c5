"""Generated problems of the kind of ProsQA: which of two classes does someone belong to?

Two chains of invented classes, one under each of two people, end in the two classes that the question names.
Other classes hang below and above them. By construction the person in question reaches exactly one of the two
classes, by exactly one path, which is the gold solution. Both sides are made in the same way, so neither
depth nor the number of links distinguishes them. Train and held-out are disjoint by graph: if training asks
about one person of a graph, no test asks about the other.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from reverse_codi.tasks.answers import CUE, canonical_class, canonical_sentence, stated
from reverse_codi.tasks.arithmetic import NAMES, split_words
from reverse_codi.tasks.base import Problem, Split, Step, TaskError, split_by_hash
from reverse_codi.tasks.corpus import signature_of

# All begin with a consonant: their article is "a".
CLASSES = (
    "bolim catop darvel dulk fimmer fosk galtin gorp hellip jandle jorum kelpin lastor lurg mavick mimsor "
    "nattle pendra plish quorl ravin rindle sorvet sunk talvor tirp velm vorpal wendle yorn zabbet zimp"
).split()

_FACT = "{name} is a {cls}."
_RULE = "Every {low} is a {high}."
_QUERY = "Is {name} a {first} or {second}?"


@dataclass(frozen=True)
class Side:
    """One person's part of a graph.

    Attributes:
        path: the classes from the person up to the one that the question names.
        others: further classes of the person, which lead to neither class in the question.
    """

    path: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class Puzzle:
    """A problem without its words.

    Attributes:
        sides: one for each of the two people.
        rules: (low, high) for "Every low is a high.", those of the paths included.
        asked: index of the side in question.
    """

    sides: tuple[Side, Side]
    rules: tuple[tuple[str, str], ...]
    asked: int = 0

    @property
    def graph(self) -> str:
        """The graph and its two classes, without the person: "bolim>dulk|fosk,zimp>gorp|bolim<dulk"."""
        sides = sorted(f"{','.join(sorted((s.path[0], *s.others)))}>{s.path[-1]}" for s in self.sides)
        rules = sorted(f"{low}<{high}" for low, high in self.rules)
        return "|".join([*sides, *rules])

    @property
    def signature(self) -> str:
        """Identity of the problem whatever its wording: the graph and the answer."""
        return signature_of(f"{self.graph}?{self.sides[self.asked].path[-1]}")

    def twin(self) -> Puzzle:
        """The puzzle with the two people exchanged, which has the other answer."""
        return replace(self, asked=1 - self.asked)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Reachability in random graphs of invented classes.

    Attributes:
        step_weights: number of gold steps (hops) -> relative frequency.
        distractors: classes on neither path.
        extra_links: links beyond those that attach every class.
        sentence: answer "Ann is a bolim", as ProsQA does; otherwise the class alone. CODI distils at the
            token before the answer, and only a class there depends on thinking.
        heldout_percent: share of graphs, in percent, that are held out.
    """

    step_weights: tuple[tuple[int, float], ...] = ((2, 0.3), (3, 0.4), (4, 0.3))
    distractors: int = 4
    extra_links: int = 2
    sentence: bool = False
    heldout_percent: int = 10

    def __post_init__(self) -> None:
        """Refuse settings under which a split is empty or the class names run out."""
        if not 0 < self.heldout_percent < 100:
            raise TaskError(f"graph: heldout_percent is {self.heldout_percent}; set it to 1..99")
        if self.distractors < 0 or self.extra_links < 0:
            raise TaskError(
                f"graph: distractors {self.distractors} and extra_links {self.extra_links} must be 0 or more"
            )
        if not self.step_weights or any(steps < 1 or weight <= 0 for steps, weight in self.step_weights):
            raise TaskError(
                f"graph: step_weights is {self.step_weights}; give pairs of steps >= 1 and weight > 0"
            )
        needed = 2 * max(steps for steps, _ in self.step_weights) + self.distractors
        if needed > len(CLASSES):
            raise TaskError(
                f"graph: step_weights and distractors need {needed} classes of {len(CLASSES)}; set them lower"
            )

    def split_of(self, puzzle: Puzzle) -> Split:
        """The split of a puzzle: the same for every seed, and for its twin."""
        return split_by_hash(puzzle.graph, self.heldout_percent)

    def puzzle(self, rng: random.Random, n_steps: int) -> Puzzle:
        """Draw a puzzle whose gold solution has `n_steps` steps, from either split."""
        names = rng.sample(CLASSES, 2 * n_steps + self.distractors)
        paths = names[:n_steps], names[n_steps : 2 * n_steps]
        links = _Links(rng, paths, names[2 * n_steps :])
        for _ in range(self.extra_links):
            links.add_any()
        sides = [Side(tuple(path), tuple(others)) for path, others in zip(paths, links.facts, strict=True)]
        return Puzzle((sides[0], sides[1]), tuple(links.rules), rng.randrange(2))

    def _puzzles(self, rng: random.Random, split: Split, n_steps: int | None) -> Iterator[Puzzle]:
        lengths, weights = zip(*self.step_weights, strict=True)
        while True:
            puzzle = self.puzzle(rng, n_steps or rng.choices(lengths, weights)[0])
            if self.split_of(puzzle) is split:
                yield puzzle

    def stream(self, split: Split, seed: int, n_steps: int | None = None) -> Iterator[Problem]:
        """Endless problems of one split; `n_steps` fixes their length."""
        rng = random.Random(f"{seed}/{split}")
        for puzzle in self._puzzles(rng, split, n_steps):
            yield word(puzzle, rng.randrange(2**32), self.sentence)

    def problems(self, split: Split, n: int, seed: int, n_steps: int | None = None) -> list[Problem]:
        """Return `n` problems of one split (the `Task` protocol)."""
        stream = self.stream(split, seed, n_steps)
        return [next(stream) for _ in range(n)]

    def minimal_pairs(
        self, split: Split, n: int, seed: int, n_steps: int | None = None
    ) -> list[tuple[Problem, Problem]]:
        """Return pairs of one split: the statements exchange the two people, and the question stays."""
        rng = random.Random(f"{seed}/{split}/pairs")
        puzzles = self._puzzles(rng, split, n_steps)
        pairs: list[tuple[Problem, Problem]] = []
        while len(pairs) < n:
            puzzle, wording = next(puzzles), rng.randrange(2**32)
            pairs.append((word(puzzle, wording, self.sentence), word(puzzle.twin(), wording, self.sentence)))
        return pairs

    def extract_answer(self, text: str, cue: str = CUE) -> str | None:
        """The class, or the sentence, that a text states (the `Task` protocol); see `answers.stated`."""
        return stated(text, canonical_sentence if self.sentence else canonical_class, cue)

    def vocabulary(self) -> list[str]:
        """Every word and mark of questions, claims, answers and the questions of controls."""
        blanks = dict.fromkeys(("name", "cls", "low", "high", "first", "second"), "")
        lines = [line.format(**blanks) for line in (_FACT, _RULE, _QUERY)]
        texts = [*NAMES, *CLASSES, *lines, "The answer is:", "(no step)", "= ?", *"123456789"]
        return sorted({token for text in texts for token in split_words(text)})


class _Links:
    """Links of a growing puzzle. No link opens a second way into a path.

    A distractor is *above* (only others of its kind lead to it, so nobody belongs to it, and it may lead
    anywhere) or *below* (it leads only to others of its kind). Ranks keep the graph free of cycles.

    Args:
        rng: source of chance.
        paths: the two chains, from the person upwards.
        distractors: the other classes.
    """

    def __init__(
        self, rng: random.Random, paths: tuple[list[str], list[str]], distractors: list[str]
    ) -> None:
        self.rng = rng
        self.facts: tuple[list[str], list[str]] = ([], [])
        self.rules: list[tuple[str, str]] = [pair for path in paths for pair in pairwise(path)]
        length = len(paths[0])
        self.rank: dict[str, float] = {name: i for path in paths for i, name in enumerate(path, start=1)}
        self.above: set[str] = set()
        self.below: set[str] = set()
        for name in distractors:
            if rng.random() < 0.5:
                self.above.add(name)
                self.rank[name] = rng.uniform(0, length)
            else:
                self.below.add(name)
                self.rank[name] = rng.uniform(0, length + 1)
        for name in distractors:
            ends = [pair for pair in self._allowed() if (pair[0] if name in self.above else pair[1]) == name]
            self._add(rng.choice(ends))

    def _allowed(self) -> list[tuple[str | int, str]]:
        """Links that may still be drawn, from a class or from a person (0, 1)."""
        pairs: list[tuple[str | int, str]] = [
            (low, high)
            for high in self.rank
            for low in self.rank
            if self.rank[low] < self.rank[high]
            and (low in self.above or high in self.below)
            and not (high in self.above and low not in self.above)
            and (low, high) not in self.rules
        ]
        pairs += [(i, high) for i in (0, 1) for high in self.below if high not in self.facts[i]]
        # Sets have no order of their own.
        return sorted(pairs, key=lambda pair: (str(pair[0]), pair[1]))

    def _add(self, pair: tuple[str | int, str]) -> None:
        low, high = pair
        if isinstance(low, int):
            self.facts[low].append(high)
        else:
            self.rules.append((low, high))

    def add_any(self) -> None:
        """Draw one more link, if there is room."""
        pairs = self._allowed()
        if pairs:
            self._add(self.rng.choice(pairs))


def word(puzzle: Puzzle, seed: int, sentence: bool = False) -> Problem:
    """Put a puzzle into English; the same seed gives the same words for a puzzle and its twin."""
    rng = random.Random(seed)
    asked, other = rng.sample(NAMES, 2)
    lines = [
        _FACT.format(name=asked if i == puzzle.asked else other, cls=cls)
        for i, side in enumerate(puzzle.sides)
        for cls in (side.path[0], *side.others)
    ]
    lines += [_RULE.format(low=low, high=high) for low, high in puzzle.rules]
    rng.shuffle(lines)
    first, second = rng.sample([side.path[-1] for side in puzzle.sides], 2)
    lines.append(_QUERY.format(name=asked, first=first, second=second))
    path = puzzle.sides[puzzle.asked].path
    solution = [_FACT.format(name=asked, cls=path[0])]
    solution += [_RULE.format(low=low, high=high) for low, high in pairwise(path)]
    steps = tuple(Step(line, line.removesuffix("."), cls) for line, cls in zip(solution, path, strict=True))
    answer = f"{asked} is a {path[-1]}" if sentence else path[-1]
    return Problem(" ".join(lines), answer, steps, puzzle.signature)
