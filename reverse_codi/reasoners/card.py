"""The card of a reasoner in the own format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import ModelCardData

from reverse_codi.reasoners.hashing import tokenizer_hash, weights_hash
from reverse_codi.storage.cards import LIBRARY, card, markdown_table

if TYPE_CHECKING:
    from reverse_codi.reasoners.codi import CodiReasoner

TEMPLATE = Path(__file__).parent / "templates" / "reasoner.md.jinja"


def reasoner_card(
    reasoner: CodiReasoner, path: str, license: str | None = None, base_model: str | None = None
) -> str:
    """The card of a reasoner.

    Args:
        reasoner: loaded.
        path: folder or hub id that it will be loaded from.
        license: as the hub names it.
        base_model: hub id of the language model that it was made from.
    """
    config, lm = reasoner.config, reasoner.lm.config
    facts = {
        # Of the weights that are written now; the reasoner's own property keeps the first that was asked for.
        "content hash": f"`{weights_hash(reasoner.model.state_dict(), config.recorded())}`",
        "tokenizer": f"hash `{tokenizer_hash(reasoner.tokenizer)}`, {len(reasoner.tokenizer):,} tokens",
        "language model": f"`{lm.model_type}`, {lm.num_hidden_layers} layers of width {reasoner.width}",
        "parameters": f"{sum(weight.numel() for weight in reasoner.model.parameters()):,}",
        "thoughts": f"{reasoner.n_thoughts}, begun by token {config.bot_id} and ended by {config.eot_id}",
        "projection": f"hidden width {config.projection_width}" if config.projection_width else "none",
        "question": f"`{config.question_format}`",
        "answer cue": f"`{config.cue}`" if config.cue else "none: the answer stands alone",
    }
    return card(
        TEMPLATE,
        ModelCardData(
            library_name=LIBRARY,
            tags=[LIBRARY, "latent-reasoning"],
            license=license,
            base_model=base_model,
        ),
        name=Path(path).name,
        path=path,
        reasoner=reasoner,
        method="CODI, arXiv 2502.21074" if config.projection_width else "Coconut, arXiv 2412.06769",
        facts=markdown_table(["", ""], [[name, fact] for name, fact in facts.items()]),
        projection=", its projection `projection.safetensors`" if config.projection_width else "",
        licence=licence_sentence(license),
    )


def licence_sentence(license: str | None) -> str:
    """What a card says of the licence."""
    if license is None:
        return (
            "None is named. What was made from a model or from data is also under their licences; look there "
            "before you use this."
        )
    return f"`{license}`. What was made from a model or from data is also under their licences."
