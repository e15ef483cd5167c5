"""From thoughts to rows: what each one says, how well, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reading.affine import trust
from reverse_codi.reading.claims import claimed
from reverse_codi.reading.lens import lens
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import Prefix
from reverse_codi.verbalize.translations.given import Given, map_site
from reverse_codi.verbalize.translations.record import NO_HIDDEN_STATE, NO_QUESTION, Translation
from reverse_codi.verbalize.translations.sharing import Sharing, sharing_of
from reverse_codi.verbalize.translator import Translator


def translate(
    translator: Translator,
    metric: ThoughtMetric,
    references: Mapping[Site, Sequence[str]],
    given: Given,
    samples: int = 0,
) -> list[list[Translation]]:
    """A row for every thought, trace by trace, sites in order.

    Args:
        translator: verbalizer and engine.
        metric: reads the texts.
        references: what the verbalizer says of other thoughts (`reference_texts`).
        given: N traces of thoughts.
        samples: candidates beside the greedy text, reranked by the reader.

    Raises:
        UserError: samples of thoughts that no text can be compared with.
    """
    unscored = _unscored(metric, given)
    if samples and unscored:
        first, why = next(iter(unscored.items()))
        raise UserError(f"samples {samples}: {first} is {why}; leave samples out")
    rows: list[list[Translation]] = [[] for _ in given.questions]
    for site, texts in _texts(translator, metric, given, samples).items():
        sharing = sharing_of(references, site, texts)
        match, trusts, tops = _scores(translator, metric, given, site, texts, sharing, site in unscored)
        for i, text in enumerate(texts):
            rows[i].append(
                Translation(
                    given.questions[i],
                    str(site),
                    text,
                    match[i],
                    trusts[i],
                    tops[i],
                    given.answers[i],
                    given.sources[i],
                    sharing.shares[i],
                )
            )
    return rows


def _texts(
    translator: Translator, metric: ThoughtMetric, given: Given, samples: int
) -> dict[Site, list[str]]:
    """N texts of each site; greedy ones of all sites are written together."""
    if not samples:
        texts = iter(translator.greedy(torch.cat(list(given.slots.values()))))
        return {site: list(islice(texts, len(given))) for site in given.slots}
    known = [question or "" for question in given.questions]
    return {
        site: translator.reranked(
            slots, samples, given.targets[site], [map_site(site)] * len(given), known, metric
        )
        for site, slots in given.slots.items()
    }


def _unscored(metric: ThoughtMetric, given: Given) -> dict[Site, str]:
    """The sites whose texts cannot be compared with anything, and why."""
    asks = metric.reader.spec.prefix is Prefix.QUESTION and None in given.questions
    return {
        site: NO_QUESTION if site in given.targets else NO_HIDDEN_STATE
        for site in given.slots
        if asks or site not in given.targets
    }


def _scores(
    translator: Translator,
    metric: ThoughtMetric,
    given: Given,
    site: Site,
    texts: list[str],
    sharing: Sharing,
    unscored: bool,
) -> tuple[Sequence[float | None], Sequence[float | None], Sequence[list[str] | None]]:
    """Match, trust and lens of N texts at one site; None for what cannot be known."""
    nothing: list[None] = [None] * len(texts)
    targets = given.targets.get(site)
    tops: Sequence[list[str] | None] = nothing if targets is None else lens(translator.reasoner, targets)
    if unscored or targets is None:
        return nothing, nothing, tops
    questions = [question or "" for question in given.questions]
    match, trusts = match_and_trust(metric, map_site(site), targets, questions, texts, sharing)
    return match, trusts, tops


def match_and_trust(
    metric: ThoughtMetric,
    site: Site,
    targets: Tensor,
    questions: Sequence[str],
    texts: Sequence[str],
    sharing: Sharing,
) -> tuple[list[float], list[float]]:
    """Match and trust of N texts for N thoughts [N, d] of one site; a text without a claim earns no trust."""
    sites = [site] * len(texts)
    predicted = metric.predict(texts, sites, questions)
    match = metric.match(targets, predicted, sites)
    trusts = sharing.discount(trust(metric.map_of(site), targets, predicted, sharing.alike))
    trusts = trusts * torch.tensor([claimed(text) is not None for text in texts])  # else nothing to trust
    return match.tolist(), trusts.tolist()
