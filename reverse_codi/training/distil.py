"""Distillation of the best texts into the verbalizer: which pairs are taught, and how often each."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import TrainerCallback

from reverse_codi.reading.claims import NO_STEP
from reverse_codi.recipe.reinforce import DistilSection
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.tasks.base import Split
from reverse_codi.training.best_texts import BestTexts, Found
from reverse_codi.training.prepare import Prepared
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts
from reverse_codi.verbalize.warm_start import SftJob, SftPairs, fine_tune


def distil(
    policy: Policy,
    examples: SftPairs,
    section: DistilSection,
    out: Path,
    on_point: Callable[[int], None],
    reporting: Sequence[TrainerCallback] = (),
) -> None:
    """Fine-tune a policy in place; optimizer and schedule are new, unless a signal stopped it before.

    Args:
        policy: the verbalizer.
        examples: thoughts with texts, see `pairs`.
        section: hyperparameters.
        out: folder of the trainer's logs.
        on_point: called with the step every `eval_steps` and at the end.
        reporting: callbacks that send the trainer's figures to trackers.
    """
    job = SftJob(title="distillation", reporting=reporting, resumable=True)
    fine_tune(policy, examples, _fine_tuning(section), out, job, on_point=on_point)


def _fine_tuning(section: DistilSection) -> WarmStartSection:
    """The hyperparameters of the fine-tuning."""
    names = set(DistilSection.model_fields) & set(WarmStartSection.model_fields)
    return WarmStartSection(**{name: getattr(section, name) for name in names})


def chosen(store: BestTexts, section: DistilSection) -> list[Found]:
    """The best text of each thought, in their order, without the share `drop` of the lowest rewards."""
    best = list(store.best().values())
    dropped = int(section.drop * len(best))
    worst = set(sorted(range(len(best)), key=lambda row: best[row].reward)[:dropped])
    return [found for row, found in enumerate(best) if row not in worst]


def times_shown(best: Sequence[Found], weight: str) -> list[int]:
    """How often each text is shown: once, or 1 to 4 times by the quarter that its rank lies in."""
    if weight == "none":
        return [1] * len(best)
    values = [found.reward if weight == "reward" else max(found.lead, 0.0) for found in best]
    times = [0] * len(best)
    for rank, row in enumerate(sorted(range(len(best)), key=values.__getitem__)):
        times[row] = 1 + 4 * rank // len(best)
    return times


def empty_thoughts(prepared: Prepared) -> Thoughts | None:
    """The training thoughts that encode no step; None where there are none."""
    thoughts = prepared.thoughts(Split.TRAIN, active_only=False)
    rows = [row for row, text in enumerate(thoughts.gold) if text == NO_STEP]
    return thoughts.take(rows) if rows else None


def pairs(
    policy: Policy,
    store: BestTexts,
    section: DistilSection,
    active: Thoughts,
    empty: Thoughts | None,
    replayed: tuple[Thoughts, Sequence[str]] | None,
) -> SftPairs:
    """The examples of one distillation.

    Args:
        policy: its configuration makes the vectors.
        store: the best texts found so far.
        section: what is chosen of them.
        active: training thoughts that encode a step, whose rows the store names.
        empty: training thoughts that encode none; None where there are none.
        replayed: thoughts and texts of the warm start; None where it has none.
    """
    best = chosen(store, section)
    rows = [
        found.thought
        for found, n in zip(best, times_shown(best, section.weight), strict=True)
        for _ in range(n)
    ]
    text_of = {found.thought: found.text for found in best}
    slots, texts = [active.slots[rows]], [text_of[row] for row in rows]
    rng = random.Random(section.seed)
    n_searched = len(rows)
    left = 1 - section.empty - section.replay
    if empty is not None and (n := min(len(empty), round(n_searched * section.empty / left))):
        slots.append(empty.slots[sorted(rng.sample(range(len(empty)), n))])
        texts += [NO_STEP] * n
    if replayed is not None and section.replay:
        thoughts, taught = replayed
        again = [rng.randrange(len(taught)) for _ in range(round(n_searched * section.replay / left))]
        slots.append(thoughts.slots[again])
        texts += [taught[row] for row in again]
    return SftPairs(policy.verbalizer_config.inject(torch.cat(slots)), texts)
