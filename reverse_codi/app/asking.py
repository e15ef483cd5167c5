"""What the page asks of a verbalizer, without the page.

Shapes: N = 1 question, K thoughts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.reasoners.question_checks import understood
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.reports.alternatives import alternatives
from reverse_codi.storage.files import strict_json, write_whole
from reverse_codi.verbalize.counterfactual import Counterfactual
from reverse_codi.verbalize.questions import Question
from reverse_codi.verbalize.translations.given import Given
from reverse_codi.verbalize.translations.record import Translation
from reverse_codi.verbalize.verbalizer import Verbalizer


@dataclass(frozen=True)
class Thinking:
    """A question that was thought about.

    Attributes:
        verbalizer: who translates.
        question: what was asked.
        given: the thoughts, K sites of one row.
        rows: their translations, in order; fewer than K while they are written.
    """

    verbalizer: Verbalizer
    question: str
    given: Given
    rows: Sequence[Translation] = ()

    @classmethod
    def about(cls, verbalizer: Verbalizer, question: str) -> Thinking:
        """Let the reasoner think.

        Raises:
            QuestionError: the question cannot be asked.
        """
        understood(verbalizer.reasoner, [Question(question, "")], "error", "the question")
        return cls(verbalizer, question, verbalizer.thoughts_about([question]))

    @property
    def answer(self) -> str:
        """What the reasoner answered."""
        return self.given.answers[0] or ""

    @property
    def sites(self) -> list[Site]:
        """The thoughts, in order."""
        return list(self.given.slots)

    def one_by_one(self) -> Iterator[Thinking]:
        """The same, each time with one translation more."""
        rows: list[Translation] = []
        for site in self.sites:
            rows += self.verbalizer.translate_given(self.given.at(site))
            yield replace(self, rows=tuple(rows))

    def edits(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Those of the texts, by site, that differ from the translation; an empty one is no edit."""
        own = {row.site: row.text for row in self.rows}
        return {site: text for site, text in texts.items() if text.strip() and text != own.get(site, text)}

    def with_edits(self, edits: Mapping[str, str]) -> Counterfactual:
        """The question thought about again, with texts in the place of some thoughts.

        Raises:
            UserError: this verbalizer reads no text as a single thought.
        """
        if ANSWER in self.verbalizer.sites:
            raise UserError("this verbalizer writes one text for all thoughts; none can be edited alone")
        return self.verbalizer.counterfactual(self.question, edits)

    def samples(self, site: Site, n: int) -> list[tuple[str, float]]:
        """What `n` samples of a thought say, with the share of each content."""
        slots, translator = self.given.slots[site], self.verbalizer.translator
        [greedy], [texts] = translator.greedy(slots), translator.sampled(slots, n)
        return [(each.text, each.count / n) for each in alternatives(greedy, texts)]

    def save(self, file: Path) -> Path:
        """Write question, answer, translations and hidden states as JSON; returns the file."""
        rows = self.verbalizer.translate_given(self.given).to_dicts()
        for row, site in zip(rows, self.sites, strict=True):
            vector = self.given.targets.get(site)
            row["hidden_state"] = None if vector is None else vector[0].tolist()
        kept = {"question": self.question, "answer": self.answer, "thoughts": rows}
        write_whole(file, strict_json(kept, indent=1) + "\n")
        return file


def compared(verbalizers: Mapping[str, Verbalizer], question: str) -> list[list[str]]:
    """A row a thought: its site, and what each verbalizer says."""
    texts = {
        name: {row.site: row.text for row in each.translate(question)} for name, each in verbalizers.items()
    }
    sites = list(dict.fromkeys(site for of in texts.values() for site in of))
    return [[site, *(of.get(site, "") for of in texts.values())] for site in sites]
