"""What is translated: thoughts that the model has now, that a trace store holds, or vectors from anywhere.

What enters the verbalizer is the latent input z_k; what a text is compared with is the hidden state h_k. A
hidden state gives its latent input (`Reasoner.project`), a latent input does not give its hidden state: its
text cannot be scored.

Shapes: N rows, K thoughts, S slots, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.base import Patch
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.thoughts import slots_at
from reverse_codi.verbalize.translations.vectors import Vectors


@dataclass(frozen=True)
class Given:
    """N rows of thoughts, the same sites in each.

    Attributes:
        slots: for each name of a site, what enters the verbalizer, [N, S, d]. Names are those of the rows: z2
            where only the latent input of thought 2 is known.
        targets: what a site's texts are compared with, [N, d]; a site without a hidden state is left out.
        questions: N questions, None where unknown.
        answers: what the model answered, None where unknown.
        sources: file or store and row; None where the model thought anew.
    """

    slots: Mapping[Site, Tensor]
    targets: Mapping[Site, Tensor]
    questions: Sequence[str | None]
    answers: Sequence[str | None]
    sources: Sequence[str | None]

    def __len__(self) -> int:
        """N."""
        return len(self.questions)

    def take(self, rows: Sequence[int]) -> Given:
        """The given rows, in order."""
        index = list(rows)
        return Given(
            {site: slots[index] for site, slots in self.slots.items()},
            {site: vectors[index] for site, vectors in self.targets.items()},
            [self.questions[row] for row in index],
            [self.answers[row] for row in index],
            [self.sources[row] for row in index],
        )

    def at(self, site: Site) -> Given:
        """One site of every row."""
        targets = {site: self.targets[site]} if site in self.targets else {}
        return replace(self, slots={site: self.slots[site]}, targets=targets)


def map_site(site: Site) -> Site:
    """The site whose map reads texts for `site`: a latent input's thought is read as its hidden state's."""
    return Site("h", site.index) if site.kind == "z" else site


def thought_now(reasoner: CodiReasoner, questions: Sequence[str], metric: ThoughtMetric) -> Given:
    """The thoughts that the model has about questions, at every site that has a map."""
    chains = reasoner.think(questions)
    states = {ANSWER: reasoner.answer_states(questions)} if ANSWER in metric.sites else {}
    return Given(
        {site: slots_at(chains.latent_inputs, site) for site in metric.sites},
        {site: states[site] if site == ANSWER else chains.at(site) for site in metric.sites},
        questions,
        chains.outputs,
        [None] * len(questions),
    )


def stored(store: TraceStore, name: str, reasoner: CodiReasoner, metric: ThoughtMetric) -> Given:
    """The thoughts of a trace store as they lie there, at every site that has a map; nothing is thought anew.

    Args:
        store: opened with its reasoner, which checks the content hash.
        name: of the store, for rows.
        reasoner: whose traces they are.
        metric: has the maps.
    """
    if ANSWER in metric.sites:
        store = store.with_answer_states(reasoner)
    return Given(
        {site: slots_at(store.latent_inputs, site) for site in metric.sites},
        {site: store.vectors(site) for site in metric.sites},
        store.questions,
        [output or answer for output, answer in zip(store.outputs, store.answers, strict=True)],
        [f"{name}[{row}]" for row in range(len(store))],
    )


def given_vectors(vectors: Vectors, reasoner: CodiReasoner, metric: ThoughtMetric) -> Given:
    """Vectors from a file, at the sites that they were given for.

    Raises:
        UserError: a site is none of this verbalizer's.
    """
    latent_inputs = {site: _latent_inputs(reasoner, site, vectors.at(site)) for site in vectors.sites}
    if ANSWER in metric.sites:
        wanted = [site.index for site in vectors.sites]
        if wanted != list(range(reasoner.n_thoughts)):
            last = reasoner.n_thoughts - 1
            raise UserError(
                "this verbalizer writes one text for all thoughts of a trace: give "
                f"z0..z{last} or h0..h{last} side by side, not {' '.join(map(str, vectors.sites))}"
            )
        slots = torch.stack(list(latent_inputs.values()), 1)
        asked = [question for question in vectors.questions if question is not None]
        targets: dict[Site, Tensor] = {}
        if len(asked) == len(slots):  # the target is a state after the question
            targets = {ANSWER: reasoner.answer_states(asked, Patch.all(slots))}
        return Given({ANSWER: slots}, targets, vectors.questions, vectors.answers, vectors.sources)
    for site in vectors.sites:
        if map_site(site) not in metric.maps:
            known = " ".join(f"{known} z{known.index}" for known in metric.sites)
            never = ", the last hidden state is never fed" if site.index == reasoner.n_thoughts else ""
            raise UserError(
                f"site {site}: this verbalizer knows no such thought{never}; choose from: {known}"
            )
    same = reasoner.config.projection_width == 0  # Coconut feeds its hidden states as they are
    targets = {site: vectors.at(site) for site in vectors.sites if same or site.kind == "h"}
    return Given(
        {site: latent_inputs[site][:, None] for site in vectors.sites},
        targets,
        vectors.questions,
        vectors.answers,
        vectors.sources,
    )


def _latent_inputs(reasoner: CodiReasoner, site: Site, vectors: Tensor) -> Tensor:
    """What is fed of N vectors.

    Raises:
        UserError: a hidden state is so large that its projection is not finite.
    """
    if site.kind == "z":
        return vectors
    latent_inputs = reasoner.project(vectors)
    bad = (~latent_inputs.isfinite().all(-1)).nonzero().flatten().tolist()
    if bad:
        largest = float(vectors[bad[0]].abs().max())
        raise UserError(
            f"row {bad[0]} ({site}): values up to {largest:g} are too large: the reasoner's projection of "
            "them is not finite; check their scale"
        )
    return latent_inputs
