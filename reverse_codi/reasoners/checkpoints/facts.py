"""Facts that a checkpoint's files do not hold: from the recipe, or from the table of known checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.known import KNOWN, Fact, known
from reverse_codi.recipe.reasoner import LayoutName, Source

_GIVEN = "given in the recipe"


@dataclass(frozen=True)
class Facts:
    """The facts of one checkpoint.

    Attributes:
        layout: the recipe's, else the known one, else `auto`.
        n_thoughts: K; None if neither source has it.
        lora_alpha: alpha of the LoRA; None if neither source has it.
    """

    layout: str
    n_thoughts: Fact[int] | None
    lora_alpha: Fact[float] | None

    def thoughts(self, checkpoint: str) -> int:
        """K.

        Raises:
            CheckpointError: neither the recipe nor the table of known checkpoints says it.
        """
        if self.n_thoughts is None:
            raise CheckpointError(
                f"reasoner.n_thoughts is missing: {checkpoint} does not hold how many thoughts it was "
                f"trained with, and it is none of the known checkpoints; give the number ({_examples()})"
            )
        return self.n_thoughts.value

    def alpha(self, checkpoint: str) -> float:
        """Alpha of the LoRA.

        Raises:
            CheckpointError: neither the recipe nor the table of known checkpoints says it.
        """
        if self.lora_alpha is None:
            raise CheckpointError(
                f"reasoner.lora_alpha is missing: {checkpoint} has a LoRA and does not hold its alpha, and "
                "it is none of the known checkpoints; give the one of its training (32 in CODI's scripts)"
            )
        return self.lora_alpha.value

    def values(self) -> tuple[str, int | None, float | None]:
        """Layout, K and alpha, without their sources."""
        thoughts, alpha = self.n_thoughts, self.lora_alpha
        return self.layout, thoughts.value if thoughts else None, alpha.value if alpha else None

    def named(self, lora: bool) -> dict[str, str]:
        """Name of each fact -> its value and source, for a report."""
        facts: dict[str, Fact[int] | Fact[float] | None]
        facts = {"n_thoughts": self.n_thoughts, "lora_alpha": self.lora_alpha if lora else None}
        return {name: f"{fact.value:g} ({fact.source})" for name, fact in facts.items() if fact is not None}


def facts_of(source: Source) -> Facts:
    """Take each fact from the recipe, else from the table of known checkpoints."""
    found = known(source.path)
    layout = source.layout
    thoughts: Fact[int] | None = None
    alpha: Fact[float] | None = None
    if found is not None:
        layout = found.layout.value if layout == LayoutName.AUTO else layout
        thoughts, alpha = found.n_thoughts, found.lora_alpha
    if source.n_thoughts is not None:
        other = thoughts if thoughts is not None and thoughts.value != source.n_thoughts else None
        more = f"; it was trained with {other.value}, {other.source}" if other else ""
        thoughts = Fact(source.n_thoughts, _GIVEN + more)
    if source.lora_alpha is not None:
        alpha = Fact(source.lora_alpha, _GIVEN)
    return Facts(layout, thoughts, alpha)


def _examples() -> str:
    counts: dict[int, list[str]] = {}
    for name, facts in KNOWN.items():
        if facts.n_thoughts is not None:
            counts.setdefault(facts.n_thoughts.value, []).append(name)
    return ", ".join(f"{count} for {names[0]}" for count, names in counts.items())
