"""On which machines and GPUs of a cluster the actors of a run are put."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from reverse_codi.utils.config import Section

Kind = Literal["rollout", "reward", "trainer"]


class PlacementSection(Section):
    """How Ray places the actors of a run: all at once, as one placement group, or not at all."""

    strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = "PACK"
    """PACK: on as few machines as possible; SPREAD: on as many as possible; STRICT_PACK: on one machine;
    STRICT_SPREAD: each actor on a machine of its own."""
    colocate: list[Kind] = []
    """Kinds that share machines and GPUs: [rollout, reward] puts the first actor of each together, the second
    of each, and so on. Their shares of a GPU are of the same GPU, so they must make 1 at most, or whole GPUs.
    trainer is this process, beside the first of each. Empty puts every actor by itself."""
    trainer_cpus: float = Field(default=0, ge=0)
    """CPUs that are kept free for the trainer on its machine; of each trainer, where there are several
    (train.workers), which get 1 where this is 0."""
    trainer_gpus: float = Field(default=0, ge=0)
    """GPUs, or the share of one, that are kept free for the trainer on its machine; of each trainer, where
    there are several."""

    @field_validator("colocate")
    @classmethod
    def _of_two(cls, kinds: list[Kind]) -> list[Kind]:
        if len(kinds) == 1 or len(set(kinds)) < len(kinds):
            raise ValueError("name at least two kinds, each once, as [rollout, reward]; or none")
        return kinds
