"""What the page asks of a verbalizer, without the page.

Shapes: N = 1 question, K thoughts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.reasoners.question_checks import understood
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.reports.alternatives import alternatives
from reverse_codi.utils.errors import UserError
from reverse_codi.utils.files import strict_json, write_whole
from reverse_codi.verbalize.counterfactual import Counterfactual
from reverse_codi.verbalize.questions import Question
from reverse_codi.verbalize.translations.given import Given
from reverse_codi.verbalize.translations.record import Translation
from reverse_codi.verbalize.verbalizer import Verbalizer


@dataclass(frozen=True)
class Thinking:
    """A question that was thought about.

    Attributes:
        question: what was asked.
        given: the thoughts, K sites of one row.
    """

    question: str
    given: Given

    @classmethod
    def about(cls, verbalizer: Verbalizer, question: str) -> Thinking:
        """Let the reasoner think.

        Raises:
            QuestionError: the question cannot be asked.
        """
        understood(verbalizer.reasoner, [Question(question, "")], "error", "the question")
        return cls(question, verbalizer.thoughts_about([question]))

    @property
    def answer(self) -> str:
        """What the reasoner answered."""
        return self.given.answers[0] or ""

    @property
    def sites(self) -> list[Site]:
        """The thoughts, in order."""
        return list(self.given.slots)

    def at(self, site: Site) -> Given:
        """One thought of it."""
        targets = {site: self.given.targets[site]} if site in self.given.targets else {}
        given = self.given
        return Given({site: given.slots[site]}, targets, given.questions, given.answers, given.sources)


def one_by_one(verbalizer: Verbalizer, thinking: Thinking) -> Iterator[list[Translation]]:
    """The translations so far, one more each time."""
    rows: list[Translation] = []
    for site in thinking.sites:
        rows += verbalizer.translate_given(thinking.at(site))
        yield list(rows)


def sampled(verbalizer: Verbalizer, thinking: Thinking, site: Site, n: int) -> list[tuple[str, float]]:
    """What `n` samples of a thought say, with the share of each content."""
    slots = thinking.given.slots[site]
    [greedy], [texts] = verbalizer.translator.greedy(slots), verbalizer.translator.sampled(slots, n)
    return [(each.text, each.count / n) for each in alternatives(greedy, texts)]


def compared(verbalizers: Mapping[str, Verbalizer], question: str) -> list[list[str]]:
    """A row a thought: its site, and what each verbalizer says."""
    texts = {
        name: {row.site: row.text for row in each.translate(question)} for name, each in verbalizers.items()
    }
    sites = list(dict.fromkeys(site for of in texts.values() for site in of))
    return [[site, *(of.get(site, "") for of in texts.values())] for site in sites]


def edited(verbalizer: Verbalizer, question: str, site: str, text: str) -> Counterfactual:
    """The question thought about again, with a text in a thought's place.

    Raises:
        UserError: no thought is chosen, or the text is empty.
    """
    if ANSWER in verbalizer.sites:
        raise UserError("this verbalizer writes one text for all thoughts; none can be edited alone")
    if not text.strip():
        raise UserError("the text is empty; write what the thought shall say, as 12 + 6 = 18.")
    return verbalizer.counterfactual(question, {site: text})


def save(verbalizer: Verbalizer, thinking: Thinking, file: Path) -> Path:
    """Write question, answer, translations and hidden states as JSON; returns the file."""
    rows = verbalizer.translate_given(thinking.given).to_dicts()
    for row, site in zip(rows, thinking.sites, strict=True):
        vector = thinking.given.targets.get(site)
        row["hidden_state"] = None if vector is None else vector[0].tolist()
    kept = {"question": thinking.question, "answer": thinking.answer, "thoughts": rows}
    write_whole(file, strict_json(kept, indent=1) + "\n")
    return file
