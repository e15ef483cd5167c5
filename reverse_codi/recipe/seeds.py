"""One seed for all that a run trains."""

from __future__ import annotations

from typing import Any

from reverse_codi.recipe.reinforce import ReinforceStage
from reverse_codi.recipe.schema import Recipe


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with one seed in its warm start, in all of its stages and in GRPO; traces keep theirs."""
    return recipe.model_copy(
        update={
            "warm_start": recipe.warm_start.model_copy(update={"seed": seed}),
            "reinforce": [_entry(entry, seed) for entry in recipe.reinforce],
            "grpo": recipe.grpo.model_copy(update={"seed": seed}),
        }
    )


def _entry(entry: ReinforceStage, seed: int) -> ReinforceStage:
    sections = {"search": entry.search, "distil": entry.distil}
    changed: dict[str, Any] = {
        name: section.model_copy(update={"seed": seed}) for name, section in sections.items() if section
    }
    if entry.grpo is not None:  # these keys lie over the section grpo, its seed too
        changed["grpo"] = {**entry.grpo, "seed": seed}
    return entry.model_copy(update=changed)
