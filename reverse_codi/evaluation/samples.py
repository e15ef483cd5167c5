"""`reverse-codi samples [RECIPE|VERBALIZER|embedded]`: what best-of-N gains and costs.

A proxy chooses the nearest of many texts. For each number of samples the table has two rules: the nearest of
all texts, and that of `reading.best_of` with each margin. It counts rows without a claim, active thoughts
whose claims are the gold ones, thoughts that hold nothing and get "(no step)", and rows that are trusted and
wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.reading.best_of import best_of, candidates, matches
from reverse_codi.reading.claims import NO_STEP, EncodedSteps, claimed
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.schema import Recipe
from reverse_codi.tasks.base import Split
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.verbalize.thoughts import Thoughts, target_sites, thoughts_of
from reverse_codi.verbalize.translations.record import Translation
from reverse_codi.verbalize.translations.sharing import sharing_of
from reverse_codi.verbalize.translations.translate import match_and_trust
from reverse_codi.verbalize.translator import Translator

Choice = Callable[[list[str], dict[str, float]], str]
"""Texts of one thought, the greedy one first, and their matches in; one text out."""


@dataclass(frozen=True)
class Tried:
    """The texts that were tried for N thoughts.

    Attributes:
        thoughts: the thoughts.
        texts: of each thought the greedy text, then the samples in order.
        match: of each thought the match of its distinct texts.
    """

    thoughts: Thoughts
    texts: list[list[str]]
    match: list[dict[str, float]]

    def chosen(self, samples: int, choice: Choice) -> list[str]:
        """Of each thought's greedy and first `samples` sampled texts the chosen one."""
        pairs = zip(self.texts, self.match, strict=True)
        return [choice(texts[: samples + 1], match) for texts, match in pairs]


def tried(
    translator: Translator, metric: ThoughtMetric, thoughts: Thoughts, samples: int, seed: int
) -> Tried:
    """Write and read the greedy text and `samples` samples of each thought."""
    greedy, sampled = translator.greedy(thoughts.slots), translator.sampled(thoughts.slots, samples, seed)
    texts = [[first, *others] for first, others in zip(greedy, sampled, strict=True)]
    distinct = [list(dict.fromkeys(of_thought)) for of_thought in texts]
    found = matches(distinct, thoughts.targets, thoughts.sites, thoughts.questions, metric)
    match = [dict(zip(own, values, strict=True)) for own, values in zip(distinct, found, strict=True)]
    return Tried(thoughts, texts, match)


def nearest_of_all(texts: list[str], match: dict[str, float]) -> str:
    """The proxy alone."""
    return max(texts, key=match.__getitem__)


def by_margin(margin: float) -> Choice:
    """The rule of `Translator.reranked`."""

    def choice(texts: list[str], match: dict[str, float]) -> str:
        known = candidates(texts)
        return best_of(known, [match[text] for text in known], texts[0], margin) if known else texts[0]

    return choice


def counts(
    references: Mapping[Site, Sequence[str]], metric: ThoughtMetric, thoughts: Thoughts, texts: Sequence[str]
) -> tuple[int, float, float, int]:
    """Rows without a claim; shares of active and of other thoughts that are right; rows trusted and wrong."""
    right = [claimed(text) == claimed(gold) for text, gold in zip(texts, thoughts.gold, strict=True)]
    active = [gold != NO_STEP for gold in thoughts.gold]
    wrong = 0
    for site in sorted(set(thoughts.sites)):
        rows = [row for row, other in enumerate(thoughts.sites) if other == site]
        of_site = thoughts.take(rows)
        own = [texts[row] for row in rows]
        sharing = sharing_of(references, site, own)
        match, trusts = match_and_trust(metric, site, of_site.targets, of_site.questions, own, sharing)
        for i, row in enumerate(rows):
            verdict = Translation("", "", own[i], match[i], trusts[i], [], "", None, sharing.shares[i])
            wrong += bool(verdict.trusted and not right[row])

    def share(of: bool) -> float:
        hits = [hit for hit, holds in zip(right, active, strict=True) if holds == of]
        return sum(hits) / max(1, len(hits))

    return sum(claimed(text) is None for text in texts), share(True), share(False), wrong


def held_out(
    recipe: Recipe, folder: Path, problems: int, seed: int, out: Path
) -> tuple[Translator, ThoughtMetric, Thoughts]:
    """The verbalizer, and the thoughts of held-out problems.

    Raises:
        UserError: the verbalizer writes whole traces, of which no thought is inactive.
    """
    reasoner = load_reasoner(recipe.reasoner)
    metric = ThoughtMetric.load(folder, reasoner)
    if ANSWER in metric.maps:
        raise UserError(f"{folder} writes one text a trace; give a verbalizer of single thoughts")
    encoded = EncodedSteps.load(folder)
    out = out / f"heldout-{problems}-{seed}"
    asked = replace(TraceRequest.of_evaluation(recipe, Split.HELDOUT, problems, seed, out), writes=False)
    traces = collect(reasoner, recipe.task.build(), asked)
    sites = target_sites(recipe.reading.spec.target, reasoner.n_thoughts)
    translator = Translator(reasoner, folder, recipe.grpo.max_new_tokens)
    return translator, metric, thoughts_of(traces, sites, encoded)
