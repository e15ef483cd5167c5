"""The cards of what a run keeps on its way to a verbalizer, in place of PEFT's and TRL's blank ones."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCardData

from reverse_codi.storage.cards import LIBRARY, card
from reverse_codi.verbalize.config import VerbalizerConfig

TEMPLATES = Path(__file__).parent / "templates"
TAGS = [LIBRARY, "latent-reasoning", "interpretability", "thought-verbalizer"]


def adapter_card(config: VerbalizerConfig) -> str:
    """The card of a policy that a run keeps on its way: a warm start, the best so far, a checkpoint."""
    return _adapter_card(
        config,
        "Adapter of a verbalizer in training",
        "A LoRA that a run of the Python package `reverse_codi` keeps on its way to a verbalizer, which says "
        "in words what a thought of a latent reasoning model holds. It is not the finished verbalizer.",
    )


def checkpoints_card(config: VerbalizerConfig) -> str:
    """The card of a folder of GRPO checkpoints."""
    return _adapter_card(
        config,
        "Checkpoints of a verbalizer in training",
        "What a run of the Python package `reverse_codi` goes on from after a stop (`reverse-codi train "
        "RECIPE --resume`): policy, optimizer and state of TRL's GRPO. None of them is the finished "
        "verbalizer.",
    )


def _adapter_card(config: VerbalizerConfig, title: str, what: str) -> str:
    head = ModelCardData(library_name=LIBRARY, tags=[*TAGS, "peft", "lora"])
    return card(TEMPLATES / "adapter.md.jinja", head, title=title, what=what, config=config)
