"""The network of a reconstructor: first layers of a language model with a LoRA, and a head for each site.

Shapes: B texts, T tokens, w the language model's width, d the thoughts' width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from reverse_codi.errors import UserError
from reverse_codi.reasoners.sites import Site
from reverse_codi.utils.config import Section

# Heads start this near 0: the first prediction is the site's mean, and gradients still reach the LoRA.
HEAD_STD = 1e-3


class ReconstructorError(UserError):
    """A reconstructor does not fit the reasoner or the sites that it is used with."""


class ReconstructorSection(Section):
    """A reader that is trained beside the verbalizer."""

    layers: int = Field(default=0, ge=0)
    """Number of first transformer layers that are kept; 0 means all."""
    rank: int = Field(default=16, gt=0)
    """LoRA rank."""
    alpha: int = Field(default=32, gt=0)
    """LoRA alpha."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of AdamW. It is constant, because the texts never stop changing."""
    batch_size: int = Field(default=128, gt=0)
    """Texts in one forward pass, and in one step of fitting before RL."""
    steps: int = Field(default=500, ge=0)
    """Steps of fitting before RL; steps during RL do not count."""
    seed: int = 0
    """Seed of the first weights and of the data order."""


class ReconstructorNetwork(nn.Module):
    """Token ids to standardized thoughts.

    Args:
        lm: the language model to copy; it stays as it is.
        sites: one head each.
        width: d.
        section: layers, LoRA and seed.

    Raises:
        ReconstructorError: the language model has fewer layers than `section.layers`.
    """

    def __init__(
        self, lm: PreTrainedModel, sites: Sequence[Site], width: int, section: ReconstructorSection
    ) -> None:
        super().__init__()
        lora = LoraConfig(
            r=section.rank,
            lora_alpha=section.alpha,
            target_modules="all-linear",
            task_type="FEATURE_EXTRACTION",
        )
        self.d = width
        with torch.random.fork_rng():  # keep the caller's random state
            torch.manual_seed(section.seed)
            self.lm = get_peft_model(first_layers(lm, section.layers), lora)
            heads = {str(site): nn.Linear(2 * lm.config.hidden_size, width) for site in sites}
            for head in heads.values():
                nn.init.normal_(head.weight, std=HEAD_STD)
                nn.init.zeros_(head.bias)
        self.heads = nn.ModuleDict(heads).to(lm.device)
        # Also in training: with dropout a text's score would depend on chance.
        self.eval()

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """LoRA and heads, by name."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The last token's state and the mean over tokens, each with mean 0 and variance 1.

        Args:
            ids: [B, T] token ids, padded on the left.
            mask: [B, T] 1 where a token is real.

        Returns:
            [B, 2w].
        """
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.lm(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        states = out.last_hidden_state  # [B, T, w]
        real = mask[..., None].to(states.dtype)
        parts = [states[:, -1], (states * real).sum(1) / real.sum(1)]
        return torch.cat([F.layer_norm(part, part.shape[-1:]) for part in parts], -1)

    def forward(self, features: Tensor, sites: Sequence[Site]) -> Tensor:
        """Thoughts [B, d], standardized by their sites, of features [B, 2w]."""
        out = features.new_empty(len(sites), self.d)
        for site in dict.fromkeys(sites):
            rows = [row for row, other in enumerate(sites) if other == site]
            out[rows] = self.heads[str(site)](features[rows])
        return out


def first_layers(lm: PreTrainedModel, n: int) -> PreTrainedModel:
    """A float32 copy of a language model without output head and without layers after the n-th; all if 0.

    The norm after the last layer stays.

    Raises:
        ReconstructorError: it has fewer layers, or keeps them in no list of modules.
    """
    base = cast(PreTrainedModel, copy.deepcopy(lm.base_model).float())
    total = base.config.num_hidden_layers
    if n > total:
        raise ReconstructorError(f"layers = {n}: this language model has {total}; ask for at most that")
    for name, module in base.named_children():
        if isinstance(module, nn.ModuleList) and len(module) == total:
            setattr(base, name, module[: n or total])
            base.config.num_hidden_layers = n or total
            return base
    raise ReconstructorError(f"{type(base).__name__} has no list of its {total} layers; only such can be cut")
