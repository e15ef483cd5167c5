"""The tensors of a CODI model: a causal language model and the projection that closes the loop.

CODI: Shen et al. 2025, arXiv 2502.21074. Shapes: B questions, T tokens, K thoughts, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin


@dataclass
class CachedContext:
    """What later positions may attend to.

    Attributes:
        cache: keys and values of every position so far.
        mask: [B, T] 1 where a position is real and visible, 0 where padded or hidden.
        position: [B] position id of the next token (padding does not count).
    """

    cache: DynamicCache
    mask: Tensor
    position: Tensor

    def fork(self) -> CachedContext:
        """A copy that grows independently; it shares the tensors so far, with their gradients."""
        layers = cast(list[CacheLayerMixin], self.cache.layers)  # no linear attention here
        pairs = [(layer.keys, layer.values) for layer in layers]
        return CachedContext(DynamicCache(ddp_cache_data=pairs), self.mask, self.position)

    def taken(self, rows: Tensor) -> CachedContext:
        """The context of some rows [M], each as often as it is named."""
        forked = self.fork()
        forked.cache.batch_select_indices(rows)
        return CachedContext(forked.cache, self.mask[rows], self.position[rows])


@dataclass
class ForwardStep:
    """The result of extending a context.

    Attributes:
        last: [B, T, d] final hidden states, after the model's last norm.
        layers: embeddings and the output of every layer, each [B, T, d]; empty unless asked for.
    """

    last: Tensor
    layers: tuple[Tensor, ...]


@dataclass
class LatentPass:
    """One latent chain.

    Attributes:
        hidden_states: [B, K + 1, d], h0..hK.
        latent_inputs: [B, K, d], z0..z(K-1).
        context: question, begin-of-thought token and the K thoughts.
    """

    hidden_states: Tensor
    latent_inputs: Tensor
    context: CachedContext


def projection(width: int, hidden: int, dropout: float = 0.0) -> nn.Module:
    """CODI's `prj`: keys `1.*`, `3.*` and `ln.*`, as in the public checkpoints.

    With hidden width 0 there is no projection: the hidden state is the next input (Coconut, arXiv
        2412.06769).
    """
    if hidden == 0:
        return nn.Identity()
    prj = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
    prj.add_module("ln", nn.LayerNorm(width))
    return prj


class LatentLM(nn.Module):
    """A causal LM that can feed its last hidden state back as the next input embedding.

    Args:
        lm: any Hugging Face causal LM; its embedding table holds bot and eot.
        prj: maps a hidden state [*, d] to a latent input [*, d].
        n_thoughts: K, the number of latent passes.
        bot_id: begin-of-thought token id.
        eot_id: end-of-thought token id.
    """

    def __init__(self, lm: PreTrainedModel, prj: nn.Module, n_thoughts: int, bot_id: int, eot_id: int):
        super().__init__()
        self.lm = lm
        self.prj = prj
        self.n_thoughts = n_thoughts
        self.bot_id = bot_id
        self.eot_id = eot_id

    @property
    def width(self) -> int:
        """d, the width of hidden states and latent inputs."""
        return int(self.lm.config.hidden_size)

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids [B, T] to embeddings [B, T, d]."""
        embedded: Tensor = self.lm.get_input_embeddings()(ids)
        return embedded

    def logits(self, states: Tensor) -> Tensor:
        """Final hidden states [*, d] to next-token logits [*, V]."""
        head = self.lm.get_output_embeddings()
        scores: Tensor = head(states)
        return scores

    def start(
        self, ids: Tensor, mask: Tensor, count_padding: bool = False
    ) -> tuple[ForwardStep, CachedContext]:
        """Read left-padded ids [B, T] with mask [B, T] from an empty context.

        Args:
            ids: [B, T] token ids.
            mask: [B, T] 1 at real positions.
            count_padding: padding takes positions, as in CODI's published code; otherwise no result depends
                on it.
        """
        empty = CachedContext(
            DynamicCache(),
            mask.new_zeros(len(ids), 0),
            torch.zeros(len(ids), dtype=torch.long, device=ids.device),
        )
        context = empty
        if not count_padding:
            return self.extend(context, self.embed(ids), mask), context
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        step = self.extend(context, self.embed(ids), mask, positions=positions)
        context.position = torch.full_like(context.position, ids.shape[1])
        return step, context

    def extend(
        self,
        context: CachedContext,
        embeds: Tensor,
        mask: Tensor | None = None,
        layers: bool = False,
        positions: Tensor | None = None,
    ) -> ForwardStep:
        """Append embeddings [B, T, d] to `context`, which grows in place.

        Args:
            context: what the new positions may attend to.
            embeds: [B, T, d] input embeddings.
            mask: [B, T] 1 at real positions; padding may stand on either side. All real if None.
            layers: also return every layer's states.
            positions: [B, T] position ids; those of the real positions, in order, if None.
        """
        if mask is None:
            mask = context.mask.new_ones(embeds.shape[:2])
        if positions is None:
            positions = context.position[:, None] + mask.cumsum(1) - 1
        context.mask = torch.cat([context.mask, mask], dim=1)
        context.position = context.position + mask.sum(1)
        out = self.lm.base_model(
            inputs_embeds=embeds,
            attention_mask=context.mask,
            position_ids=positions.clamp(min=0),
            past_key_values=context.cache,
            use_cache=True,
            output_hidden_states=layers,
        )
        return ForwardStep(out.last_hidden_state, tuple(out.hidden_states) if layers else ())

    def think(
        self,
        context: CachedContext,
        patch: Tensor | None = None,
        patched: Tensor | None = None,
        n_thoughts: int | None = None,
        see_padding: bool = False,
    ) -> LatentPass:
        """Read the begin-of-thought token, then think K times.

        Args:
            context: the question (and any prefix before bot); grows in place.
            patch: [B, K, d] vectors that replace the model's own.
            patched: [B, K] bool, where `patch` applies; later thoughts are recomputed.
            n_thoughts: number of thoughts; K if None.
            see_padding: positions after bot see the question's padding, as in CODI's published code.
        """
        bot = torch.full((len(context.mask), 1), self.bot_id, device=context.mask.device)
        hidden_states = [self.extend(context, self.embed(bot)).last]  # [B, 1, d]
        if see_padding:
            context.mask = torch.ones_like(context.mask)
        fed: list[Tensor] = []
        for k in range(self.n_thoughts if n_thoughts is None else n_thoughts):
            z = self.prj(hidden_states[-1])  # [B, 1, d]
            if patch is not None and patched is not None:
                z = torch.where(patched[:, k, None, None], patch[:, k : k + 1].to(z.dtype), z)
            fed.append(z)
            hidden_states.append(self.extend(context, z).last)
        d = hidden_states[0]
        latent_inputs = torch.cat(fed, 1) if fed else d.new_zeros(len(d), 0, d.shape[-1])
        return LatentPass(torch.cat(hidden_states, 1), latent_inputs, context)

    @torch.no_grad()
    def greedy(
        self, context: CachedContext, first: Tensor, stop_id: int, max_new: int, unwritten: Sequence[int] = ()
    ) -> list[list[int]]:
        """Decode greedily from `first` [B] token ids until `stop_id` or `max_new` tokens a row.

        Tokens in `unwritten` are never chosen.

        Returns the new token ids of each row, without `first` and without the stop token.
        """
        token, done = first, torch.zeros_like(first, dtype=torch.bool)
        rows: list[list[int]] = [[] for _ in range(len(first))]
        for _ in range(max_new):
            last = self.extend(context, self.embed(token[:, None])).last[:, -1]
            scores = self.logits(last)
            scores[:, list(unwritten)] = -torch.inf
            token = scores.argmax(-1)
            done |= token == stop_id
            for row, new in enumerate(token.tolist()):
                if not done[row]:
                    rows[row].append(new)
            if bool(done.all()):
                break
        return rows

    def forward(self, **kwargs: Any) -> Any:
        """Forward pass of the language model on plain tokens (CoT mode)."""
        return self.lm(**kwargs)
