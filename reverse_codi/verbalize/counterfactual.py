"""What if a thought had said something else? A text takes its place, and the reasoner goes on from it.

The text is read by the frozen model, its map predicts the hidden state, and the projection of that is fed.

Shapes: N texts, K thoughts, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.base import Patch
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.reading import Prefix
from reverse_codi.utils.notebook import data_frame, html_line, html_table
from reverse_codi.verbalize.thoughts import slots_at
from reverse_codi.verbalize.translations.given import Given
from reverse_codi.verbalize.translations.translations import Translations

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]


@dataclass(frozen=True)
class Counterfactual:
    """One question, thought about twice: as it is, and with some thoughts replaced.

    Attributes:
        edits: thought -> the text that took its place.
        before: the reasoner's own thoughts, translated.
        after: the thoughts with the edits in place, translated anew from their vectors.
    """

    edits: Mapping[str, str]
    before: Translations
    after: Translations

    @property
    def answers(self) -> tuple[str, str]:
        """What the reasoner answers: by itself, and after the edits."""
        return self.before[0].answer or "", self.after[0].answer or ""

    def to_pandas(self) -> pandas.DataFrame:
        """A row a thought: thought, before, edit (None where it is the reasoner's own), after."""
        return data_frame([dict(zip(_COLUMNS, row, strict=True)) for row in self._rows()])

    def __repr__(self) -> str:
        """The thoughts before and after, and the answers."""
        lines = [f"  {site}  {old}  ->  {new}" for site, old, _, new in self._rows()]
        edits = ", ".join(f"{site} says {text!r}" for site, text in self.edits.items())
        return "\n".join([f"Counterfactual: {edits}", *lines, f"  {'  ->  '.join(self.answers)}"])

    def _repr_html_(self) -> str:
        """The same, for notebooks."""
        question, (old, new) = self.before[0].question or "", self.answers
        rows = [*self._rows(), ("", old, None, new)]
        return html_line(question, bold=True) + html_table(_COLUMNS, rows)

    def _rows(self) -> list[tuple[str, str, str | None, str]]:
        pairs = zip(self.before, self.after, strict=True)
        return [(old.site, old.text, self.edits.get(old.site), new.text) for old, new in pairs]


_COLUMNS = ("thought", "before", "edit", "after")


def edited_sites(metric: ThoughtMetric, names: Sequence[str | Site]) -> list[Site]:
    """The thoughts that are to say something else.

    Raises:
        UserError: there is none, one is no hidden state that has a map, or one is named twice.
    """
    try:
        sites = [name if isinstance(name, Site) else Site.parse(name) for name in names]
    except ValueError as error:
        raise UserError(str(error)) from None
    known = [site for site in metric.sites if site != ANSWER]
    for site in sites:
        if site not in known:
            choose = f"choose from {' '.join(map(str, known))}" if known else "it reads whole traces only"
            raise UserError(f"site {site}: this verbalizer reads no text as that thought; {choose}")
    if not sites or len(set(sites)) < len(sites):
        raise UserError(f"edits of {' '.join(map(str, sites)) or 'no thought'}; name each thought once")
    return sites


def read_as(
    metric: ThoughtMetric, texts: Sequence[str], sites: Sequence[Site], questions: Sequence[str] | None
) -> Tensor:
    """The hidden states [N, d] that texts predict, each at its own thought.

    Raises:
        UserError: the maps read a text after its question, and there is not one for each.
    """
    given = 0 if questions is None else len(questions)
    if given != len(texts) and (questions is not None or metric.reader.spec.prefix is Prefix.QUESTION):
        raise UserError(
            f"{given} questions for {len(texts)} texts; give one for each, after which the text is read"
        )
    return metric.predict(texts, sites, questions)


def thoughts_with(
    reasoner: CodiReasoner, metric: ThoughtMetric, question: str, texts: Mapping[Site, str]
) -> Given:
    """The thoughts about a question where some say other texts, to be translated.

    What an edited thought's translation is compared with is the hidden state that its text predicts: that of
    the reasoner itself, from which no later thought follows, would be the wrong one.
    """
    sites = list(texts)
    predicted = read_as(metric, list(texts.values()), sites, [question] * len(texts))  # [N, d]
    latent_inputs = torch.zeros(1, reasoner.n_thoughts, reasoner.width)
    where = torch.zeros(1, reasoner.n_thoughts, dtype=torch.bool)
    thoughts = [site.index for site in sites]
    latent_inputs[0, thoughts], where[0, thoughts] = reasoner.project(predicted), True
    chains = reasoner.think([question], Patch(latent_inputs, where))
    hidden_states = chains.hidden_states.clone()  # [1, K + 1, d]
    hidden_states[0, thoughts] = predicted
    return Given(
        {site: slots_at(chains.latent_inputs, site) for site in metric.sites},
        {site: hidden_states[:, site.index] for site in metric.sites},
        [question],
        chains.outputs,
        [None],
    )
