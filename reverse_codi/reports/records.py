"""What a report holds of traces: plain records, without a word of HTML, for a page or an app to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reverse_codi.reading.interventions.replace import Replacement
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.verbalize.translations.record import Translation


class Control(StrEnum):
    """A text that knows less of a thought than its translation: what its match must be compared with."""

    OTHER = "other"
    """What the verbalizer says of another thought of the site."""
    LENS = "lens"
    """The likeliest word of the logit lens, where it is a number."""
    SEARCH = "search"
    """The step that fits the lens: its result from there, its operands from the question."""
    CONSTANT = "constant"
    """One claim, whatever the thought."""
    EMPTY = "empty"
    """No text."""


@dataclass(frozen=True)
class Option:
    """One content that the verbalizer gives a thought.

    Attributes:
        text: in the words of the greedy text, else in those that occur most.
        count: how many samples say it.
        share: of all samples; None where none were taken.
        match: of the text with the thought.
        greedy: whether the greedy text says it.
        claims: whether it makes a claim, or is "(no step)"; all others are counted together.
    """

    text: str
    count: int
    share: float | None
    match: float
    greedy: bool
    claims: bool


@dataclass(frozen=True)
class ControlText:
    """A control's text for one thought.

    Attributes:
        kind: which control.
        text: what was read.
        match: of the text with the thought.
    """

    kind: Control
    text: str
    match: float


@dataclass(frozen=True)
class Effect:
    """The answer after one thought was replaced; later thoughts are computed anew.

    Attributes:
        kind: what replaced it; None for an edit of its translation.
        text: the text that was read in its place; None for a vector.
        answer: what the model then answers; None where it states no answer.
        expected: what it should answer: its own answer, of an edit what the edit implies, None for neither.
        met: whether it does; of a replacement, whether the answer stays.
    """

    kind: Replacement | None
    text: str | None
    answer: str | None
    expected: str | None
    met: bool


@dataclass(frozen=True)
class ThoughtCard:
    """One thought.

    Attributes:
        row: translation, match, trust, the reason of both, logit lens.
        options: what samples say, the greedy text first, then by share.
        controls: other texts, best match first.
        effects: what replacing the thought does; empty for a verbalizer of whole traces.
    """

    row: Translation
    options: Sequence[Option]
    controls: Sequence[ControlText]
    effects: Sequence[Effect]


@dataclass(frozen=True)
class MatchMap:
    """How well each text of a trace fits each of its thoughts.

    Attributes:
        sites: the thoughts, columns.
        texts: of translations and alternatives, rows.
        match: a row for each text, a column for each thought.
        greedy: the same shape, whether the text is the thought's translation.
        left_out: texts that were read and are not shown.
    """

    sites: Sequence[str]
    texts: Sequence[str]
    match: Sequence[Sequence[float]]
    greedy: Sequence[Sequence[bool]]
    left_out: int


@dataclass(frozen=True)
class TraceCard:
    """One trace.

    Attributes:
        question: what was asked.
        source: store and row; None where the model thought anew.
        output: what the model wrote after its thoughts.
        answer: the answer that it states there, None for none.
        gold: the gold answer, None where unknown.
        chain: the trace as one text.
        thoughts: its thoughts, in order.
        heat: match by thought and text.
    """

    question: str
    source: str | None
    output: str
    answer: str | None
    gold: str | None
    chain: str
    thoughts: Sequence[ThoughtCard]
    heat: MatchMap

    @property
    def right(self) -> bool | None:
        """Whether the answer is the gold one, None where that is unknown."""
        return None if self.gold is None else self.answer == self.gold

    @property
    def trusted(self) -> int:
        """How many of its thoughts are trusted."""
        return sum(card.row.trusted is True for card in self.thoughts)


class PointKind(StrEnum):
    """What a point of the map is."""

    REFERENCE = "reference"
    """A training thought that encodes a step."""
    THOUGHT = "thought"
    TEXT = "text"
    """The thought that a translation predicts."""


@dataclass(frozen=True)
class Point:
    """A vector on the map.

    Attributes:
        kind: what it is.
        site: its site.
        x: first principal component.
        y: second one.
        trace: index of its trace, None for a reference.
        text: the translation, "" for a reference.
    """

    kind: PointKind
    site: str
    x: float
    y: float
    trace: int | None = None
    text: str = ""


@dataclass(frozen=True)
class ThoughtMap:
    """Thoughts and what their texts predict, on two principal components.

    Attributes:
        points: the points.
        explained: the shares of the variance of thoughts and references on each axis.
    """

    points: Sequence[Point]
    explained: tuple[float, float]


@dataclass(frozen=True)
class Asked:
    """What a report of traces does at most; see `reports.cost`.

    Attributes:
        traces: how many traces.
        thoughts: K thoughts each.
        samples: texts sampled a thought beside the greedy one.
        effects: whether thoughts are replaced.
    """

    traces: int
    thoughts: int
    samples: int
    effects: bool

    @property
    def written(self) -> int:
        """Texts that the verbalizer writes."""
        return self.traces * self.thoughts * (1 + self.samples)

    @property
    def read(self) -> int:
        """Texts that are read at most: those written and one a control; what replaces thoughts is among them.

        Edits of translations are one more a thought.
        """
        return self.written + self.traces * self.thoughts * (len(Control) + self.effects)

    @property
    def thought(self) -> int:
        """Chains that the model thinks at most: its own twice, and one a replacement."""
        return self.traces * (1 + (1 + self.thoughts * (N_REPLACEMENTS + 1) if self.effects else 0))


REPLACEMENTS = (
    Replacement.TRANSLATION,
    Replacement.OTHER_TEXT,
    Replacement.EMPTY_TEXT,
    Replacement.OTHER,
    Replacement.MEAN,
)
"""What replaces a thought: texts that are read, another thought of the site, the mean thought."""
N_REPLACEMENTS = len(REPLACEMENTS)


@dataclass(frozen=True)
class TraceReport:
    """A report of traces.

    Attributes:
        traces: those that are shown.
        given: how many there were.
        asked: what was computed.
        map: thoughts and text states; None with fewer than three vectors.
        figures: of all shown traces together, by key (`reports.summary`).
        seconds: that it took.
    """

    traces: Sequence[TraceCard]
    given: int
    asked: Asked
    map: ThoughtMap | None
    figures: Mapping[str, Interval]
    seconds: float

    @property
    def left_out(self) -> int:
        """Traces that are not shown."""
        return self.given - len(self.traces)

    @property
    def sites(self) -> list[str]:
        """The sites of all thoughts, in order."""
        return list(dict.fromkeys(card.row.site for trace in self.traces for card in trace.thoughts))
